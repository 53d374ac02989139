"""What a router knows and decides without waiting.

Functions by name, clusters with their pools, and the course of a call: plan, check
out, talk, collect. Whatever has to be waited for is yielded (see `_calls`), so that
`Router` and `AsyncRouter` share every line of it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg.adapt import AdaptersMap

from plproxy_py import _explain, _rows, sources
from plproxy_py._calls import Conversations, Steps
from plproxy_py._catalog import Catalog
from plproxy_py._notices import Notice, log_notice
from plproxy_py._pools import Pools, Wired
from plproxy_py._waiting import INFINITE
from plproxy_py.config import ClusterConfig, nearest
from plproxy_py.errors import (
    ConfigError,
    Error,
    NoSuchCluster,
    Outcome,
    ParseError,
    RoutingError,
    placed,
)
from plproxy_py.function import Opaque, Plan, ProxyFunction
from plproxy_py.language.body import RunAll, RunAny, RunNumber
from plproxy_py.result import Answer
from plproxy_py.tagging import RunOn, Tags, tag

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

SETTLE = 1.0
REMEDY_TIMEOUT = 1.0


class RouterBase:
    """The part of a router that `Router` and `AsyncRouter` share."""

    def __init__(
        self,
        clusters: Mapping[str, Any] | None = None,
        *,
        hashes: Mapping[str, Callable[..., Any]] | None = None,
        pool_size: int = 8,
        max_waiting: int = 1000,
        application_name: str = "plproxy_py",
        on_notice: Callable[[Notice], None] | None = None,
    ) -> None:
        if pool_size < 1 or max_waiting < 0:
            raise ConfigError("pool_size is at least 1 and max_waiting at least 0")
        self.adapters = AdaptersMap(psycopg.adapters)
        self._catalog = Catalog(hashes or {})
        self._pools = Pools(self.adapters, pool_size, max_waiting, application_name)
        self._on_notice = on_notice or log_notice
        self._clusters: dict[str, Wired] | None = None
        self._connects: dict[str, Wired] = {}
        self._remedies: dict[str, str] = {}
        self._pick = random.SystemRandom().randrange
        if clusters is not None:
            self.configure(clusters)

    @classmethod
    def from_config(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """Return a router with the clusters and functions of a TOML file.

        ``options``: the constructor's keywords. Raise `ConfigError` for the file, a
        `DeclarationError` for a function.
        """
        router = cls(**options)
        router.configure(path)
        return router

    def configure(self, source: Mapping[str, Any] | str | os.PathLike[str]) -> None:
        """Define the clusters, once: a mapping of clusters, or a TOML file's path.

        Opens no connection. Raise `ConfigError`, or `PartitionCountError`.
        """
        if self._clusters is not None:
            raise ConfigError("this router is configured already")
        if isinstance(source, Mapping):
            configs, functions = sources.from_mapping(source), tuple[Path, ...]()
        else:
            configs, functions = sources.from_file(Path(source))
        for file in functions:
            self._catalog.load(file)
        self._clusters = {
            name: self._pools.wire(config) for name, config in configs.items()
        }

    @property
    def clusters(self) -> Mapping[str, ClusterConfig]:
        """The configured clusters by name."""
        return {name: wired.config for name, wired in (self._clusters or {}).items()}

    def _cluster(self, name: str) -> Wired:
        if self._clusters is None:
            raise ConfigError("this router has no configuration yet: call configure()")
        try:
            return self._clusters[name]
        except KeyError:
            raise NoSuchCluster(
                f"cluster not found: {name}{nearest(name, self._clusters)}",
                cluster=name,
            ) from None

    def _connect(self, connstr: str) -> Wired:
        wired = self._connects.get(connstr)
        if wired is None:
            wired = self._pools.wire(sources.private_cluster(connstr))
            self._connects[connstr] = wired
        return wired

    # The course of a call

    def _route(
        self, function: ProxyFunction, normals: list[Any]
    ) -> tuple[Wired, list[bytes | Opaque | None], Tags]:
        try:
            if function.connect is not None:
                wired = self._connect(function.connect)
            else:
                wired = self._cluster(function.cluster_name(normals))
            params = function.params(normals, wired.config.timezone)
            tags = function.tag(normals, wired.config, self._pick)
        except Error as error:
            raise placed(error, function.label) from None
        return wired, params, tags

    def _plan(
        self, function: ProxyFunction, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Plan:
        normals = function.arguments(args, kwargs)
        wired, _, tags = self._route(function, normals)
        return Plan(
            function.label,
            wired.config.name,
            function.query.sql.decode(),
            tuple(normals[index] for index in function.query.feeds),
            tags.partitions,
            tags.hashes,
            tuple(wired.config.target(i).redacted for i in tags.partitions),
        )

    def _call(
        self,
        function: ProxyFunction,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> Steps[Any]:
        """One call of a function, as steps."""
        started = time.monotonic()
        normals = function.arguments(args, kwargs)
        if function.strict and None in normals:
            return [] if function.signature.setof else None
        wired, params, tags = self._route(function, normals)
        try:
            sent = _rows.dump_params(params, self.adapters)
        except TypeError as error:
            raise TypeError(f"{function.label}: {error}") from None
        timeout = next(
            (t for t in (timeout, function.timeout, wired.config.query_timeout) if t),
            INFINITE,
        )
        try:
            rows = yield from self._ask(
                wired,
                tags.partitions,
                function.query.sql,
                sent,
                function.answer,
                started + timeout,
                function.label,
            )
            try:
                return function.answer.collect(list(rows.values()))
            except Error as error:
                # What the rows are worth was decided after all had committed.
                error.sent, error.outcomes = True, _committed(rows)
                raise
        except Error as error:
            error.cluster = wired.config.name
            lacking = _explain.lacking_partition(function, error)
            if lacking is not None:
                hint = yield from self._remedy(function, wired, lacking)
                error.args = (f"{error}\nHINT: {hint}",)
            raise placed(error, function.label) from None

    def _remedy(
        self, function: ProxyFunction, wired: Wired, partition: int
    ) -> Steps[str]:
        """Ask the partition, once for each function, which declaration would fit."""
        key = function.signature.key
        if key not in self._remedies:
            deadline = time.monotonic() + REMEDY_TIMEOUT
            params = _explain.candidates_params(function)
            try:
                rows = yield from self._ask(
                    wired,
                    (partition,),
                    _explain.CANDIDATES,
                    params,
                    None,
                    deadline,
                    function.label,
                )
            except Error as error:
                return f"the partition's catalog could not be asked: {error}"
            self._remedies[key] = _explain.remedy(function, rows[partition])
        return self._remedies[key]

    def _define(self, sql: str) -> ProxyFunction:
        functions = self._catalog.define(sql)
        if len(functions) != 1:
            raise ParseError(
                "define takes one CREATE FUNCTION … LANGUAGE plproxy, the text has "
                f"{len(functions)}; load reads files of them"
            )
        return functions[0]

    def _execute(
        self,
        cluster: str,
        sql: str,
        params: Sequence[Any],
        run_on: str | int,
        timeout: float | None,
    ) -> Steps[dict[int, list[Any]]]:
        started = time.monotonic()
        try:
            wired = self._cluster(cluster)
            tags = tag(_run_on(run_on), (), wired.config, self._pick)
        except Error as error:
            error.cluster = cluster
            raise placed(error, "execute") from None
        values = [None if param is None else Opaque(param) for param in params]
        timeout = timeout or wired.config.query_timeout or INFINITE
        sent = _rows.dump_params(values, self.adapters)
        deadline = started + timeout
        try:
            rows = yield from self._ask(
                wired, tags.partitions, sql.encode(), sent, None, deadline, "execute"
            )
        except Error as error:
            error.cluster = cluster
            raise placed(error, "execute") from None
        return rows

    def _ask(
        self,
        wired: Wired,
        partitions: Sequence[int],
        sql: bytes,
        params: Sequence[bytes | None],
        answer: Answer | None,
        deadline: float,
        label: str,
    ) -> Steps[dict[int, list[Any]]]:
        """Run one statement on the tagged partitions; return rows by partition.

        ``answer`` None: whatever columns come, as `Row`. Raise the error of the first
        partition that failed, in tag order, with the outcomes of all.
        """
        loan = yield from self._pools.lend(wired, partitions, deadline)
        links = loan.links
        labels = [wired.config.target(partition).label for partition in partitions]
        talk = Conversations(links, partitions, deadline, SETTLE, label, labels)
        try:
            for link, partition in zip(links, partitions, strict=True):
                link.notice = Notice.sink(self._on_notice, label, partition)
            yield from talk.hold(sql, params, self._pools.connector)
            return self._collect(talk, answer)
        finally:
            loan.give_back(filter(talk.reusable, range(len(links))), talk.close)

    def _collect(
        self, talk: Conversations, answer: Answer | None
    ) -> dict[int, list[Any]]:
        outcomes = talk.outcomes()
        failed = talk.error(outcomes)
        if failed is not None:
            raise failed
        results: list[PGresult] = [results[-1] for results in talk.results if results]
        try:
            if answer is not None:
                answer.check_count(sum(result.ntuples for result in results))
            rows = {}
            for link, partition, result in zip(
                talk.links, talk.partitions, results, strict=True
            ):
                rows[partition] = _rows.load_rows(link, result, answer)
                outcomes[partition].rows.extend(rows[partition])
        except Error as error:
            error.sent, error.outcomes = True, outcomes
            raise
        return rows


def _run_on(run_on: object) -> RunOn:
    if run_on == "ALL":
        return RunAll()
    if run_on == "ANY":
        return RunAny()
    if isinstance(run_on, bool) or not isinstance(run_on, int) or run_on < 0:
        raise RoutingError("run_on is 'ALL', 'ANY' or a partition's number")
    return RunNumber(run_on, 1)


def _committed(rows: Mapping[int, list[Any]]) -> dict[int, Outcome[object]]:
    return {
        partition: Outcome("committed", answered, None, True, 0.0)
        for partition, answered in rows.items()
    }
