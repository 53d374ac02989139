"""Calls: plan, check out, talk, collect.

The course of a call of a function, and of `execute`. Whatever has to be waited for is
yielded (see `_steps`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plproxy_py import _explain, _rows
from plproxy_py._catalog import Catalog
from plproxy_py._clusters import Clusters
from plproxy_py._exchange import Exchange, Statement
from plproxy_py._home import Home, RowTypes
from plproxy_py._home_clusters import HomeClusters
from plproxy_py._links import Connector
from plproxy_py._pools import Wired
from plproxy_py._routing import Routing
from plproxy_py._steps import Steps
from plproxy_py._waiting import INFINITE
from plproxy_py.errors import ConfigError, Error, RoutingError, SignatureError, placed
from plproxy_py.function import Opaque, Plan, ProxyFunction
from plproxy_py.language.body import RunAll, RunAny, RunNumber
from plproxy_py.tagging import RunOn, tag

REMEDY_TIMEOUT = 1.0


class Calls:
    """What a router does for each call.

    ``clusters``: where they are looked up, None before `configure`; ``reflected``:
    what else keeps functions current. ``config_ttl`` as on the router.
    """

    def __init__(
        self,
        catalog: Catalog,
        routing: Routing,
        exchange: Exchange,
        connector: Connector,
    ) -> None:
        self.clusters: Clusters | None = None
        self.reflected: HomeClusters | None = None
        self.config_ttl = 1.0
        self._catalog = catalog
        self._routing = routing
        self._exchange = exchange
        self._connector = connector
        self._row_types: RowTypes | None = None
        self._remedies: dict[str, str] = {}

    def cluster(self, name: str, deadline: float = INFINITE) -> Steps[Wired]:
        if self.clusters is None:
            raise ConfigError("this router has no configuration yet: call configure()")
        return (yield from self.clusters.get(name, deadline))

    def plan(
        self,
        find: Callable[[], ProxyFunction],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Steps[Plan]:
        yield from self.refresh(INFINITE)
        function = yield from self._described(find(), INFINITE)
        routing = self._routing
        normals = yield from routing.arguments(function, args, kwargs, INFINITE)
        started = time.monotonic()
        routed = yield from routing.route(
            function, normals, self.cluster, started, None
        )
        config, tags = routed.wired.config, routed.tags
        return Plan(
            function.label,
            config.name,
            function.query.sql.decode(),
            tuple(normals[index] for index in function.query.feeds),
            tags.partitions,
            tags.hashes,
            tuple(config.target(partition).redacted for partition in tags.partitions),
        )

    def refresh(self, deadline: float) -> Steps[None]:
        for source in (self.clusters, self.reflected):
            if source is not None:
                yield from source.refresh(deadline)

    def _described(
        self, function: ProxyFunction, deadline: float
    ) -> Steps[ProxyFunction]:
        """Return the function with its row type's columns, which home may know."""
        home = self._routing.home
        if function.row_type is None or home is None:
            return function
        if self._row_types is None:
            self._row_types = RowTypes(
                Home(home, self._exchange),
                self._connector,
                self.config_ttl,
                self._catalog.describe,
            )
        return (yield from self._row_types.described(function, deadline))

    def call(
        self,
        find: Callable[[], ProxyFunction],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> Steps[Any]:
        """One call of a function, as steps. ``find`` gives it, of the map in force."""
        started = time.monotonic()
        deadline = started + (timeout or INFINITE)
        yield from self.refresh(deadline)
        function = find()
        timeout = timeout or function.options.timeout
        deadline = started + (timeout or INFINITE)
        function = yield from self._described(function, deadline)
        answer = function.answer
        if answer is None:
            raise SignatureError(
                f"{function.label} returns records: list their columns, returning()",
                sqlstate="42601",
            )
        normals = yield from self._routing.arguments(function, args, kwargs, deadline)
        if function.strict and any(normal is None for normal in normals):
            return [] if answer.setof else None
        routed = yield from self._routing.route(
            function, normals, self.cluster, started, timeout
        )
        config = routed.wired.config
        statement = Statement(
            function.label, function.query.sql, routed.params, routed.deadline
        )
        partitions = routed.tags.partitions
        try:
            if not partitions:
                answer.check_count(0)
                return answer.collect(())
            return (
                yield from self._exchange.call(
                    routed.wired, partitions, statement, answer
                )
            )
        except Error as error:
            error.cluster = config.name
            lacking = _explain.lacking_partition(function, error)
            if lacking is not None:
                hint = yield from self._remedy(function, routed.wired, lacking)
                error.args = (f"{error}\nHINT: {hint}",)
            raise placed(error, function.label) from None

    def _remedy(
        self, function: ProxyFunction, wired: Wired, partition: int
    ) -> Steps[str]:
        """Ask the partition, once for each function, which declaration would fit."""
        key = function.signature.key
        if key not in self._remedies:
            statement = Statement(
                function.label,
                _explain.CANDIDATES,
                [_explain.candidates_params(function)],
                time.monotonic() + REMEDY_TIMEOUT,
            )
            try:
                rows = yield from self._exchange.rows(
                    wired, (partition,), statement, None
                )
            except Error as error:
                return f"the partition's catalog could not be asked: {error}"
            self._remedies[key] = _explain.remedy(function, rows[partition])
        return self._remedies[key]

    def execute(
        self,
        cluster: str,
        sql: str,
        params: Sequence[Any],
        run_on: str | int,
        timeout: float | None,
    ) -> Steps[dict[int, list[Any]]]:
        started = time.monotonic()
        deadline = started + (timeout or INFINITE)
        yield from self.refresh(deadline)
        try:
            wired = yield from self.cluster(cluster, deadline)
            tags = tag(_run_on(run_on), (), wired.config, self._routing.pick)
            values = [None if param is None else Opaque(param) for param in params]
            sent = _rows.dump_params(values, self._routing.adapters)
            timeout = timeout or wired.config.query_timeout or INFINITE
            statement = Statement(
                "execute",
                sql.encode(),
                [sent] * len(tags.partitions),
                started + timeout,
            )
            rows = yield from self._exchange.rows(
                wired, tags.partitions, statement, None
            )
        except Error as error:
            error.cluster = cluster
            raise placed(error, "execute") from None
        return rows


def _run_on(run_on: object) -> RunOn:
    if run_on == "ALL":
        return RunAll()
    if run_on == "ANY":
        return RunAny()
    if isinstance(run_on, bool) or not isinstance(run_on, int) or run_on < 0:
        raise RoutingError("run_on is 'ALL', 'ANY' or a partition's number")
    return RunNumber(run_on, 1)
