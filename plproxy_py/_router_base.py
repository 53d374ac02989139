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
from plproxy_py._calls import Steps
from plproxy_py._catalog import Catalog, Entry
from plproxy_py._clusters import ClusterMap, Clusters, FileClusters, FixedClusters
from plproxy_py._exchange import Exchange, Statement
from plproxy_py._home import Home, RowTypes
from plproxy_py._home_clusters import HomeClusters
from plproxy_py._notices import Notice, log_notice
from plproxy_py._pools import Pools, Wired
from plproxy_py._routing import Routing
from plproxy_py._waiting import INFINITE
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import (
    ConfigError,
    Error,
    ParseError,
    RoutingError,
    SignatureError,
    placed,
)
from plproxy_py.function import Opaque, Plan, ProxyFunction
from plproxy_py.language.body import RunAll, RunAny, RunNumber
from plproxy_py.tagging import RunOn, tag

if TYPE_CHECKING:
    pass

REMEDY_TIMEOUT = 1.0


class RouterBase:
    """The part of a router that `Router` and `AsyncRouter` share."""

    def __init__(
        self,
        clusters: Mapping[str, Any] | None = None,
        *,
        home: str | None = None,
        hashes: Mapping[str, Callable[..., Any]] | None = None,
        pool_size: int = 8,
        max_waiting: int = 1000,
        allow_connect: Sequence[str] | bool = (),
        application_name: str = "plproxy_py",
        on_notice: Callable[[Notice], None] | None = None,
    ) -> None:
        if pool_size < 1 or max_waiting < 0:
            raise ConfigError("pool_size is at least 1 and max_waiting at least 0")
        self.adapters = AdaptersMap(psycopg.adapters)
        self._catalog = Catalog(hashes or {})
        self._pools = Pools(self.adapters, pool_size, max_waiting, application_name)
        self._exchange = Exchange(self._pools, on_notice or log_notice)
        self._pick = random.SystemRandom().randrange
        self._routing = Routing(
            self._pools, self._exchange, self.adapters, self._pick, allow_connect
        )
        if home is not None:
            self._routing.home = self._pools.wire(sources.private_cluster(home))
        self._map = ClusterMap(self._pools)
        self._clusters: Clusters | None = None
        self._reflected: HomeClusters | None = None
        self._row_types: RowTypes | None = None
        self._config_ttl = 1.0
        self._remedies: dict[str, str] = {}
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

    @classmethod
    def from_database(
        cls, connstr: str, *, config_ttl: float = 1.0, **options: Any
    ) -> Self:
        """Return a router with the clusters that a PL/Proxy database defines.

        SQL/MED servers first, else plproxy.get_cluster_*(). That database is also the
        ``home`` of expressions. ``config_ttl``: seconds for which a definition is taken
        as current; 0 asks in each call. ``options``: the constructor's keywords. Opens
        no connection.
        """
        router = cls(home=connstr, **options)
        router._config_ttl = config_ttl
        router._clusters = router._home_clusters()
        return router

    def _home_clusters(self) -> HomeClusters:
        if self._routing.home is None:
            raise ConfigError("there is no home database to ask: give home=")
        return HomeClusters(
            self._map,
            self._catalog,
            Home(self._routing.home, self._exchange),
            self._pools.connector,
            self._config_ttl,
        )

    def _reflect(self) -> Steps[list[Entry]]:
        """Declare the home database's functions."""
        clusters = self._clusters
        if not isinstance(clusters, HomeClusters):
            if self._reflected is None:
                self._reflected = self._home_clusters()
            clusters = self._reflected
        return (yield from clusters.reflect())

    def configure(self, source: Mapping[str, Any] | str | os.PathLike[str]) -> None:
        """Define the clusters: a mapping of clusters, or a TOML file's path.

        Opens no connection. A second call puts a new map in the place of the first,
        while calls go on. Raise `ConfigError`, or `PartitionCountError`.
        """
        if isinstance(source, Mapping):
            configs = sources.from_mapping(source)
            self._refuse_home()
            self._clusters = FixedClusters(self._map, configs)
        else:
            home = sources.home_of(Path(source))
            if home is not None and self._routing.home is None:
                self._routing.home = self._pools.wire(home)
            self._refuse_home()
            self._clusters = FileClusters(self._map, self._catalog, Path(source))

    def _refuse_home(self) -> None:
        if self._routing.home is None:
            self._catalog.refuse_home()
        else:
            self._catalog.homeless = False

    @property
    def clusters(self) -> Mapping[str, ClusterConfig]:
        """The clusters by name, as far as they are known without asking anybody."""
        return {} if self._clusters is None else self._clusters.configs()

    def stats(self) -> Mapping[str, Any]:
        """Return what the router knows of itself.

        ``config``: ``source``, ``age`` (seconds since the map in force was last seen
        to be current) and ``error`` (why a newer one is not in force, or None).
        """
        return {"config": {} if self._clusters is None else self._clusters.stats()}

    def _cluster(self, name: str, deadline: float = INFINITE) -> Steps[Wired]:
        if self._clusters is None:
            raise ConfigError("this router has no configuration yet: call configure()")
        return (yield from self._clusters.get(name, deadline))

    # The course of a call

    def _plan(
        self,
        find: Callable[[], ProxyFunction],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Steps[Plan]:
        yield from self._refresh(INFINITE)
        function = yield from self._described(find(), INFINITE)
        routing = self._routing
        normals = yield from routing.arguments(function, args, kwargs, INFINITE)
        started = time.monotonic()
        routed = yield from routing.route(
            function, normals, self._cluster, started, None
        )
        config, tags = routed.wired.config, routed.tags
        return Plan(
            function.label,
            config.name,
            function.query.sql.decode(),
            tuple(normals[index] for index in function.query.feeds),
            tags.partitions,
            tuple(tags.hashes),
            tuple(config.target(partition).redacted for partition in tags.partitions),
        )

    def _refresh(self, deadline: float) -> Steps[None]:
        for source in (self._clusters, self._reflected):
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
                self._pools.connector,
                self._config_ttl,
                self._catalog.describe,
            )
        return (yield from self._row_types.described(function, deadline))

    def _call(
        self,
        find: Callable[[], ProxyFunction],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None = None,
    ) -> Steps[Any]:
        """One call of a function, as steps. ``find`` gives it, of the map in force."""
        started = time.monotonic()
        deadline = started + (timeout or INFINITE)
        yield from self._refresh(deadline)
        function = find()
        timeout = timeout or function.timeout
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
            function, normals, self._cluster, started, timeout
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

    def _find(self, name: str) -> Callable[[], ProxyFunction]:
        return lambda: self._catalog.find(name).current()

    def _define(self, sql: str) -> Entry:
        functions = self._catalog.read(sql)
        if len(functions) != 1:
            raise ParseError(
                "define takes one CREATE FUNCTION … LANGUAGE plproxy, the text has "
                f"{len(functions)}; load reads files of them"
            )
        return self._catalog.add(functions[0])

    def _execute(
        self,
        cluster: str,
        sql: str,
        params: Sequence[Any],
        run_on: str | int,
        timeout: float | None,
    ) -> Steps[dict[int, list[Any]]]:
        started = time.monotonic()
        deadline = started + (timeout or INFINITE)
        yield from self._refresh(deadline)
        try:
            wired = yield from self._cluster(cluster, deadline)
            tags = tag(_run_on(run_on), (), wired.config, self._pick)
            values = [None if param is None else Opaque(param) for param in params]
            sent = _rows.dump_params(values, self.adapters)
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
