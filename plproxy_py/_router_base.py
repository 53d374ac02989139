"""What a router knows and decides without waiting.

Functions by name, clusters with their pools, and the course of a call: plan, check
out, talk, collect. Whatever has to be waited for is yielded (see `_calls`), so that
`Router` and `AsyncRouter` share every line of it.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg.adapt import AdaptersMap

from plproxy_py import _leases, _rows, sources
from plproxy_py._calls import Arrival, Conversations, Steps
from plproxy_py._catalog import Catalog
from plproxy_py._links import Connector, Link, Session
from plproxy_py._notices import Notice, log_notice
from plproxy_py._waiting import INFINITE
from plproxy_py.config import ClusterConfig, nearest
from plproxy_py.errors import (
    ConfigError,
    Error,
    NoSuchCluster,
    Outcome,
    ParseError,
    PoolTimeout,
    QueryTimeout,
    RouterClosed,
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


class Pool(_leases.Slots[Link]):
    """The connections to one target, under one session profile."""

    __slots__ = ("session",)

    def __init__(self, session: Session, size: int) -> None:
        super().__init__(size)
        self.session = session


@dataclass(frozen=True, slots=True)
class Wired:
    """A cluster and the pool of each of its partitions."""

    config: ClusterConfig
    pools: tuple[Pool, ...]


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
        self._pool_size = pool_size
        self._max_waiting = max_waiting
        self._application_name = application_name
        self._on_notice = on_notice or log_notice
        self._lock = threading.Lock()
        self._connector = Connector(self.adapters)
        self._pools: dict[Session, Pool] = {}
        self._clusters: dict[str, Wired] | None = None
        self._connects: dict[str, Wired] = {}
        self._pick = random.SystemRandom().randrange
        self._drained: Future[None] | None = None
        # At exit or when the router is forgotten; never in a forked child, whose
        # sockets are its parent's.
        self._finalize = weakref.finalize(
            self, _close_idle, self._pools, self._connector, os.getpid()
        )
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
        self._clusters = {name: self._wire(config) for name, config in configs.items()}

    @property
    def clusters(self) -> Mapping[str, ClusterConfig]:
        """The configured clusters by name."""
        return {name: wired.config for name, wired in (self._clusters or {}).items()}

    def _wire(self, config: ClusterConfig) -> Wired:
        pools = []
        with self._lock:
            for partition in config.partitions:
                session = Session(partition.target, config.timezone, config.pooler)
                pool = self._pools.get(session)
                if pool is None:
                    pool = self._pools[session] = Pool(session, self._pool_size)
                pools.append(pool)
        return Wired(config, tuple(pools))

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
            wired = self._wire(sources.private_cluster(connstr))
            self._connects[connstr] = wired
        return wired

    # The course of a call

    def _route(
        self, function: ProxyFunction, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Wired, list[Any], list[bytes | Opaque | None], Tags]:
        try:
            normals = function.arguments(args, kwargs)
            if function.connect is not None:
                wired = self._connect(function.connect)
            else:
                wired = self._cluster(function.cluster_name(normals))
            params = function.params(normals, wired.config.timezone)
            tags = function.tag(normals, wired.config, self._pick)
        except Error as error:
            raise placed(error, function.label) from None
        return wired, normals, params, tags

    def _plan(
        self, function: ProxyFunction, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Plan:
        wired, normals, _, tags = self._route(function, args, kwargs)
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
        wired, normals, params, tags = self._route(function, args, kwargs)
        if function.strict and None in normals:
            return [] if function.signature.setof else None
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
            return function.answer.collect(list(rows.values()))
        except Error as error:
            error.cluster = wired.config.name
            raise placed(error, function.label) from None

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
        wired = self._cluster(cluster)
        if run_on not in ("ALL", "ANY") and not isinstance(run_on, int):
            raise RoutingError("run_on is 'ALL', 'ANY' or a partition's number")
        where: RunOn = RunAll() if run_on == "ALL" else RunAny()
        if isinstance(run_on, int):
            where = RunNumber(run_on, 1)
        tags = tag(where, (), wired.config, self._pick)
        values = [None if param is None else Opaque(param) for param in params]
        timeout = timeout or wired.config.query_timeout or INFINITE
        return (
            yield from self._ask(
                wired,
                tags.partitions,
                sql.encode(),
                _rows.dump_params(values, self.adapters),
                None,
                started + timeout,
                "execute",
            )
        )

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
        lease = yield from self._lease(wired, partitions, deadline)
        links: list[Link] = []
        talk: Conversations | None = None
        try:
            links = yield from self._links(lease, wired, partitions, deadline)
            labels = [wired.config.target(partition).label for partition in partitions]
            talk = Conversations(links, partitions, deadline, SETTLE, label, labels)
            for link, partition in zip(links, partitions, strict=True):
                link.notice = Notice.sink(self._on_notice, label, partition)
            yield from talk.hold(sql, params, self._connector)
            return self._collect(talk, answer)
        finally:
            self._give_back(lease, links, talk)

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

    def _lease(
        self, wired: Wired, partitions: Sequence[int], deadline: float
    ) -> Steps[_leases.Lease[Link]]:
        pools = [wired.pools[partition] for partition in partitions]
        with self._lock:
            if self._drained is not None:
                raise RouterClosed("the router is closed")
            lease = _leases.request(pools)
            if lease.granted:
                return lease
            granted: Future[None] = Future()
            lease.wake = lambda: granted.set_result(None)
            crowded = any(len(pool.waiting) > self._max_waiting for pool in pools)
        try:
            if not crowded:
                yield Arrival([granted], deadline)
        finally:
            with self._lock:
                if not lease.granted:
                    _leases.give_up(lease)
            if lease.granted and not granted.done():
                granted.set_result(None)
        if not lease.granted:
            raise self._pool_timeout(pools, partitions, crowded)
        return lease

    def _pool_timeout(
        self, pools: Sequence[Pool], partitions: Sequence[int], crowded: bool
    ) -> Error:
        index = next((i for i, pool in enumerate(pools) if pool.in_use >= pool.size), 0)
        pool = pools[index]
        reason = (
            f"{len(pool.waiting)} callers wait already, max_waiting is "
            f"{self._max_waiting}"
            if crowded
            else "no connection became free in time"
        )
        error = PoolTimeout(
            f"[{pool.session.target.label}] {reason} ({pool.in_use} of {pool.size} "
            f"connections in use, {len(pool.waiting)} waiting)",
            partition=partitions[index],
        )
        error.outcomes = _not_sent(partitions, error)
        return error

    def _links(
        self,
        lease: _leases.Lease[Link],
        wired: Wired,
        partitions: Sequence[int],
        deadline: float,
    ) -> Steps[list[Link]]:
        """Look at the leased connections, open what is missing; return all links."""
        now = time.monotonic()
        lifetime = wired.config.connection_lifetime
        opening: dict[int, Future[Link]] = {}
        try:
            for index, link in enumerate(lease.connections):
                if link is not None and not link.usable(now, lifetime):
                    lease.connections[index] = None
                    link.close()
                if lease.connections[index] is None:
                    opening[index] = self._connector.open(
                        wired.pools[partitions[index]].session,
                        f"{self._application_name} {wired.config.name}",
                    )
            if opening:
                yield Arrival(list(opening.values()), deadline)
            for index, future in opening.items():
                if future.done():
                    lease.connections[index] = future.result()
                else:
                    raise QueryTimeout(
                        f"[{wired.config.target(partitions[index]).label}] no "
                        "connection in time",
                        phase="connect",
                        partition=partitions[index],
                    )
        except Error as error:
            if error.partition is None:
                error.partition = partitions[index]
            error.outcomes = _not_sent(partitions, error)
            raise
        finally:
            for index, future in opening.items():
                if lease.connections[index] is None:
                    future.add_done_callback(_close_late)
        return [link for link in lease.connections if link is not None]

    def _give_back(
        self,
        lease: _leases.Lease[Link],
        links: Sequence[Link],
        talk: Conversations | None,
    ) -> None:
        kept = list(lease.connections)
        if talk is not None:
            for index in range(len(links)):
                if not talk.reusable(index):
                    talk.close(index)
                    kept[index] = None
        with self._lock:
            if self._drained is not None:
                for index, unwanted in enumerate(kept):
                    if unwanted is not None:
                        unwanted.close()
                        kept[index] = None
            woken = _leases.release(lease, kept)
            over = self._drained is not None and not any(
                pool.in_use for pool in self._pools.values()
            )
        for waiting in woken:
            if waiting.wake is not None:
                waiting.wake()
        if over and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _close(self, timeout: float) -> Steps[None]:
        """Refuse new calls, wait for those under way, close all connections."""
        with self._lock:
            if self._drained is None:
                self._drained = Future()
            busy = any(pool.in_use for pool in self._pools.values())
            if not busy and not self._drained.done():
                self._drained.set_result(None)
            for link in _leases.take_idle(self._pools.values()):
                link.close()
        yield Arrival([self._drained], time.monotonic() + timeout)
        self._finalize()


def _not_sent(partitions: Sequence[int], error: Error) -> dict[int, Outcome[object]]:
    return {
        partition: Outcome("failed", [], error, False, 0.0) for partition in partitions
    }


def _close_late(future: Future[Link]) -> None:
    """Close a link that came after its caller had left."""
    if not future.cancelled() and future.exception() is None:
        future.result().close()


def _close_idle(pools: dict[Session, Pool], connector: Connector, pid: int) -> None:
    if os.getpid() == pid:
        for link in _leases.take_idle(pools.values()):
            link.close()
        connector.close()
