"""Plain statements on a cluster's partitions, in nobody's name: `execute`, `ping`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from plproxy_py import _rows
from plproxy_py._conversations import Conversations
from plproxy_py._exchange import Exchange, Statement, rows_by_partition
from plproxy_py._observing import reached
from plproxy_py._preparing import Preparer
from plproxy_py._scalars import plain_str
from plproxy_py._scatter import scatter
from plproxy_py._steps import Steps
from plproxy_py._waiting import INFINITE
from plproxy_py.errors import Error, RemoteError, RoutingError, placed
from plproxy_py.function import Opaque
from plproxy_py.language.body import RunAll, RunAny, RunNumber
from plproxy_py.options import Options
from plproxy_py.tagging import RunOn, tag

# Their number is two bytes in the protocol's Bind message.
MOST_PARAMS = 65535


class Plain:
    """What a router does without a function."""

    def __init__(self, preparer: Preparer, exchange: Exchange) -> None:
        self._preparer = preparer
        self._exchange = exchange

    def ping(self, cluster: str, timeout: float | None) -> Steps[dict[int, Any]]:
        """Ask each partition for nothing; return the seconds, or the error."""
        started = time.monotonic()
        Options(timeout=timeout)
        deadline = started + (timeout or INFINITE)
        try:
            yield from self._preparer.refresh(deadline)
            wired = yield from self._preparer.cluster(cluster, deadline)
        except Error as error:
            error.cluster = cluster
            raise placed(error, "ping") from None
        partitions = tag(RunAll(), (), wired.config, self._preparer.routing.pick)
        reached = partitions.partitions
        statement = Statement("ping", b"SELECT", [()] * len(reached), deadline)

        def read(talk: Conversations) -> dict[int, Any]:
            return {
                partition: outcome.error or outcome.seconds
                for partition, outcome in talk.outcomes().items()
            }

        steps = scatter(
            self._exchange, wired, reached, statement, lambda link, result: [], read
        )
        return (yield from steps)

    def execute(
        self,
        cluster: str,
        sql: str,
        params: Sequence[Any],
        run_on: str | int,
        timeout: float | None,
    ) -> Steps[dict[int, list[Any]]]:
        """Run one statement; return rows by partition."""
        started = time.monotonic()
        Options(timeout=timeout)
        if not isinstance(sql, str):
            raise TypeError(f"execute takes SQL as a str, not {type(sql).__name__}")
        try:
            text = plain_str(sql).encode()
        except ValueError as error:
            raise ValueError(f"execute: the SQL has a {error}") from None
        if len(params) > MOST_PARAMS:
            raise ValueError(
                f"execute: {len(params)} parameters, and a statement takes "
                f"{MOST_PARAMS} at most"
            )
        deadline = started + (timeout or INFINITE)
        yield from self._preparer.refresh(deadline)
        try:
            wired = yield from self._preparer.cluster(cluster, deadline)
            routing = self._preparer.routing
            pick = routing.reachable(wired)
            tags = tag(_run_on(run_on), (), wired.config, pick)
            reached("execute", wired, tags.partitions, is_set=True)
            values = [None if param is None else Opaque(param) for param in params]
            sent = _rows.dump_params(
                values, routing.adapters, lambda n: f"execute: parameter ${n + 1}"
            )
            timeout = timeout or wired.config.query_timeout or INFINITE
            statement = Statement(
                "execute",
                text,
                [sent] * len(tags.partitions),
                started + timeout,
            )
            rows = yield from self._exchange.run(
                wired, tags.partitions, statement, _rows_of
            )
        except Error as error:
            error.cluster = cluster
            raise placed(error, "execute") from None
        return rows


def _rows_of(talk: Conversations) -> dict[int, list[Any]]:
    for index, link in enumerate(talk.links):
        is_open = link is not None and not link.connection.closed
        if is_open and talk.ended[index] and talk.states[index] == "unknown":
            # Its connection is closed next, and the server rolls back.
            talk.states[index] = "failed"
            talk.errors[index] = RemoteError(
                "the statement left a transaction open, which was rolled back: each "
                "statement of execute() is a transaction by itself; connection() lends "
                "a connection for several",
                sqlstate="25001",
            )
    return rows_by_partition(talk)


def _run_on(run_on: object) -> RunOn:
    if run_on == "ALL":
        return RunAll()
    if run_on == "ANY":
        return RunAny()
    if isinstance(run_on, bool) or not isinstance(run_on, int) or run_on < 0:
        raise RoutingError("run_on is 'ALL', 'ANY' or a partition's number")
    return RunNumber(run_on, 1)
