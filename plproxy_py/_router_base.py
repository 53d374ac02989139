"""What a router knows and decides without waiting.

Functions by name, clusters with their pools, and where both come from. The course of a
call is `_calls`' affair; whatever has to be waited for is yielded (see `_steps`), so
that `Router` and `AsyncRouter` share every line of it.
"""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg

from plproxy_py import _figures, sources
from plproxy_py._calls import Calls
from plproxy_py._catalog import Catalog, Entry
from plproxy_py._clusters import ClusterMap, FileClusters, FixedClusters
from plproxy_py._connections import Borrowed, borrow
from plproxy_py._connector import Connector, Password
from plproxy_py._discreet import DiscreetNotices
from plproxy_py._exchange import Exchange
from plproxy_py._home import Home
from plproxy_py._links import Adapters
from plproxy_py._notices import Notice, log_notice
from plproxy_py._observing import Called
from plproxy_py._plain import Plain
from plproxy_py._pools import Pools
from plproxy_py._preparing import Callee, Preparer
from plproxy_py._routing import Routing
from plproxy_py._steps import OneLoop, Steps
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import ConfigError, ParseError

if TYPE_CHECKING:
    from plproxy_py._home_clusters import HomeClusters

T = TypeVar("T")


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
        max_connections_per_server: int | None = None,
        password: Password | None = None,
        allow_connect: Sequence[str] | bool = (),
        application_name: str = "plproxy_py",
        on_notice: Callable[[Notice], None] | None = None,
        on_call: Callable[[Called], None] | None = None,
    ) -> None:
        if pool_size < 1 or max_waiting < 0:
            raise ConfigError("pool_size is at least 1 and max_waiting at least 0")
        self.adapters = Adapters(psycopg.adapters)
        self._catalog = Catalog(hashes or {})
        self._pools = Pools(
            Connector(self.adapters, application_name, password),
            pool_size,
            max_waiting,
            max_connections_per_server,
        )
        self._notices = DiscreetNotices(on_notice or log_notice)
        self._exchange = Exchange(self._pools, self._notices)
        self._routing = Routing(
            self._pools,
            self._exchange,
            self.adapters,
            random.SystemRandom().randrange,
            allow_connect,
        )
        self._preparer = Preparer(self._catalog, self._routing, self._exchange)
        self._calls = Calls(self._preparer, self._exchange)
        self._plain = Plain(self._preparer, self._exchange)
        if on_call is not None:
            self._look_on(on_call)
        if home is not None:
            self._routing.home = self._pools.wire(sources.private_cluster(home))
        self._map = ClusterMap(self._pools)
        self._one_loop = OneLoop()  # AsyncRouter's
        if clusters is not None:
            self.configure(clusters)

    def _look_on(self, on_call: Callable[[Called], None]) -> None:
        if not callable(on_call) or inspect.iscoroutinefunction(on_call):
            raise TypeError("on_call is a plain function of one argument")
        self._calls.observers.add(lambda watch: on_call(watch.called()))

    def _watched(self, name: str, steps: Steps[T]) -> Steps[T]:
        return self._calls.observers.watched(name, steps)

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
        router._preparer.config_ttl = config_ttl
        router._preparer.clusters = router._home_clusters()
        return router

    def _home_clusters(self) -> HomeClusters:
        if self._routing.home is None:
            raise ConfigError("there is no home database to ask: give home=")
        from plproxy_py._home_clusters import HomeClusters

        return HomeClusters(
            self._map,
            self._catalog,
            Home(self._routing.home, self._exchange),
            self._pools.connector,
            self._preparer.config_ttl,
        )

    def _reflect(self) -> Steps[list[Entry]]:
        """Declare the home database's functions."""
        from plproxy_py._home_clusters import HomeClusters

        clusters = self._preparer.clusters
        if not isinstance(clusters, HomeClusters):
            clusters = self._preparer.reflected = (
                self._preparer.reflected or self._home_clusters()
            )
        return (yield from clusters.reflect())

    def configure(self, source: Mapping[str, Any] | str | os.PathLike[str]) -> None:
        """Define the clusters: a mapping of clusters, or a TOML file's path.

        Opens no connection. A second call puts a new map in the place of the first,
        while calls go on. Raise `ConfigError`, or `PartitionCountError`.
        """
        if isinstance(source, Mapping):
            configs = sources.from_mapping(source)
            self._refuse_home()
            self._preparer.clusters = FixedClusters(self._map, configs)
        else:
            home = sources.home_of(Path(source))
            if home is not None and self._routing.home is None:
                self._routing.home = self._pools.wire(home)
            self._refuse_home()
            self._preparer.clusters = FileClusters(
                self._map, self._catalog, Path(source)
            )

    def _refuse_home(self) -> None:
        if self._routing.home is None:
            self._catalog.refuse_home()
        else:
            self._catalog.homeless = False

    @property
    def clusters(self) -> Mapping[str, ClusterConfig]:
        """The clusters by name, as far as they are known without asking anybody."""
        return (
            {} if self._preparer.clusters is None else self._preparer.clusters.configs()
        )

    def stats(self) -> Mapping[str, Any]:
        """Return what the router knows of itself.

        ``config``: ``source``, ``age`` (seconds since the map in force was last seen
        to be current) and ``error`` (why a newer one is not in force, or None).
        ``targets``, by connect string without secrets: ``calls`` that ended there;
        ``errors``, counts by SQLSTATE class (its first two characters); ``latency``:
        ``bounds`` in seconds, ``counts`` of the calls below each of them and not below
        the one before, with one more count for the rest, and the ``sum`` of seconds;
        connections ``in_use``, ``idle`` and at most (``size``); callers ``waiting``;
        connections opened (``connects``) and ``lost``. Plain values, as JSON has them.
        """
        clusters = self._preparer.clusters
        return {
            "config": {} if clusters is None else clusters.stats(),
            "targets": _figures.targets(self._pools),
        }

    def _callee(self, name: str) -> Callee:
        return Callee(lambda: self._catalog.find(name).current())

    def _borrow(
        self,
        cluster: str,
        key: object,
        partition: int | None,
        hash: str | None,
        timeout: float | None,
    ) -> Steps[Borrowed]:
        return borrow(
            self._preparer,
            self._pools,
            self._catalog.hashes,
            cluster,
            key,
            partition,
            hash,
            timeout,
        )

    def _define(self, sql: str) -> Entry:
        functions = self._catalog.read(sql)
        if len(functions) != 1:
            raise ParseError(
                "define takes one CREATE FUNCTION … LANGUAGE plproxy, the text has "
                f"{len(functions)}; load reads files of them"
            )
        return self._catalog.add(functions[0])
