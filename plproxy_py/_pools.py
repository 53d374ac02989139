"""Connections by target: how a call borrows them and gives them back.

A call borrows one link for each tagged partition, all slots in one step, looks at idle
links and has missing ones opened. Nothing is sent here. Whatever has to be waited for
is yielded (see `_steps`).
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

from plproxy_py import _leases
from plproxy_py._connector import Connector
from plproxy_py._links import Link, Session
from plproxy_py._steps import Arrival, Steps
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import (
    Error,
    Outcome,
    PoolTimeout,
    QueryTimeout,
    RouterClosed,
)


class Pool(_leases.Slots[Link]):
    """The connections to one target, under one session profile."""

    __slots__ = ("encoding", "session", "users")

    def __init__(self, session: Session, size: int) -> None:
        super().__init__(size)
        self.session = session
        self.users = 0  # partitions that are wired to it
        self.encoding: str | None = None  # the database's own, once it was seen


@dataclass(frozen=True, slots=True)
class Wired:
    """A cluster and the pool of each of its partitions."""

    config: ClusterConfig
    pools: tuple[Pool, ...]


class Pools:
    """All pools of a router. Thread-safe."""

    def __init__(
        self,
        connector: Connector,
        pool_size: int,
        max_waiting: int,
        max_connections_per_server: int | None = None,
    ) -> None:
        self.connector = connector
        self._size = pool_size
        self._max_waiting = max_waiting
        self._most_per_server = max_connections_per_server
        # Again by the same thread where the collector finds a stream.
        self._lock = threading.RLock()
        self._pools: dict[Session, Pool] = {}
        # Held for streams: one that is forgotten must not take along, as garbage, the
        # connections on which it will be stopped.
        self.streaming: set[Loan] = set()
        self._drained: Future[None] | None = None
        # At exit, or when the router is forgotten; never in a forked child, whose
        # sockets are its parent's.
        self._finalize = weakref.finalize(
            self, _close_idle, self._pools, self.connector, os.getpid()
        )

    def wire(self, config: ClusterConfig) -> Wired:
        """Find or make the pool of each partition; `unwire` gives them back."""
        with self._lock:
            pools = []
            for partition in config.partitions:
                session = Session(partition.target, config.timezone, config.pooler)
                if session not in self._pools:
                    self._pools[session] = Pool(session, self._size)
                self._pools[session].users += 1
                pools.append(self._pools[session])
        return Wired(config, tuple(pools))

    def unwire(self, wired: Wired) -> None:
        """Take a cluster's pools back; those that no other needs are given up.

        Their idle links are closed, those on loan as they come back.
        """
        idle: list[Link] = []
        with self._lock:
            for pool in wired.pools:
                pool.users -= 1
                if pool.users == 0:
                    self._pools.pop(pool.session, None)
                    idle += _leases.take_idle([pool])
        for link in idle:
            link.close()

    def take(
        self, pools: Sequence[Pool], now: float, lifetime: float | None
    ) -> list[Link] | None:
        """Borrow a good idle link of each at once, None if there is one too few.

        Nobody who waits for a pool is passed. ``lifetime`` in seconds.
        """
        with self._lock:
            if self._drained is not None:
                return None
            for pool in pools:
                if pool.waiting or not pool.users:
                    return None
            links = _leases.take(pools)
        if links is None:
            return None
        for link in links:
            if not link.usable(now, lifetime):
                break
        else:
            return links
        kept = [link if link.usable(now, lifetime) else None for link in links]
        for link, good in zip(links, kept, strict=True):
            if good is None:
                link.close()
        self.release(_leases.granted(pools, links), kept)
        return None

    def take_one(self, pool: Pool, now: float, lifetime: float | None) -> Link | None:
        """Do what `take` does for one pool; loops over one cost a call 3 µs in all."""
        with self._lock:
            if (
                self._drained is not None
                or pool.waiting
                or not pool.users
                or not pool.idle
            ):
                return None
            link = _leases.take_one(pool)
        if link.usable(now, lifetime):
            return link
        link.close()
        self.release(_leases.granted((pool,), (link,)), [None])
        return None

    def put_one(self, pool: Pool, link: Link) -> None:
        """Give back what `take_one` gave."""
        with self._lock:
            if not pool.waiting and pool.users and self._drained is None:
                _leases.put_one(pool, link)
                return
        self.release(_leases.granted((pool,), (link,)), [link])

    def put(self, pools: Sequence[Pool], links: Sequence[Link]) -> None:
        """Give back what `take` gave."""
        with self._lock:
            for pool in pools:
                if pool.waiting or not self._wanted(pool):
                    break
            else:
                _leases.put(pools, links)
                return
        self.release(_leases.granted(pools, links), links)

    def lend(
        self, wired: Wired, partitions: Sequence[int], deadline: float
    ) -> Steps[Loan]:
        """Borrow a good link to each partition, by position.

        Raise `PoolTimeout`, `QueryTimeout`, `ConnectError` or `ConfigError` naming the
        partition; nothing was sent then.
        """
        lease = yield from self._lease(wired, partitions, deadline)
        loan = Loan(self, lease)
        try:
            yield from self._complete(lease, wired, partitions, deadline)
        except BaseException:
            loan.give_back(range(len(partitions)))
            raise
        return loan

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
        except BaseException:
            if self._abandon(lease):
                Loan(self, lease).give_back(range(len(pools)))
            raise
        if not self._abandon(lease):
            raise self._timeout(pools, partitions, crowded)
        return lease

    def _abandon(self, lease: _leases.Lease[Link]) -> bool:
        """Leave the queues unless the lease was granted; return whether it was."""
        with self._lock:
            if not lease.granted:
                _leases.give_up(lease)
            return lease.granted

    def _timeout(
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

    def _complete(
        self,
        lease: _leases.Lease[Link],
        wired: Wired,
        partitions: Sequence[int],
        deadline: float,
    ) -> Steps[None]:
        """Look at the leased links, replace what is not good, open what is missing."""
        now = time.monotonic()
        if now >= deadline:
            error = QueryTimeout(
                "the time was up before anything was sent", phase="checkout"
            )
            error.outcomes = _not_sent(partitions, error)
            raise error
        lifetime = wired.config.connection_lifetime
        opening: dict[int, Future[Link]] = {}
        for index, link in enumerate(lease.connections):
            if link is None or not link.usable(now, lifetime):
                if link is not None:
                    lease.connections[index] = None
                    link.close()
                opening[index] = self.connector.open(
                    wired.pools[partitions[index]].session, wired.config.name
                )
        if not opening:
            return
        try:
            yield Arrival(list(opening.values()), deadline)
            for index, future in opening.items():
                if future.done():
                    link = lease.connections[index] = future.result()
                    wired.pools[partitions[index]].encoding = link.server_encoding
            for index, future in opening.items():
                if not future.done():
                    label = wired.config.target(partitions[index]).label
                    raise QueryTimeout(
                        f"[{label}] no connection in time", phase="connect"
                    )
        except CancelledError:
            raise RouterClosed("the router was closed meanwhile") from None
        except Error as error:
            error.partition = partitions[index]
            error.outcomes = _not_sent(partitions, error)
            raise
        finally:
            for index, future in opening.items():
                if lease.connections[index] is None:
                    future.add_done_callback(_close_late)

    def release(self, lease: _leases.Lease[Link], kept: Sequence[Link | None]) -> None:
        """Give slots back and wake whoever was granted them."""
        with self._lock:
            kept = list(kept)
            for index, (link, pool) in enumerate(zip(kept, lease.pools, strict=True)):
                if link is not None and not self._wanted(pool):
                    link.close()
                    kept[index] = None
            woken = _leases.release(lease, kept)
            self._note_drained()
        for waiting in woken:
            if waiting.wake is not None:
                waiting.wake()

    def _wanted(self, pool: _leases.Slots[Link]) -> bool:
        given_up = isinstance(pool, Pool) and pool.users == 0
        return self._drained is None and not given_up

    def _note_drained(self) -> None:
        if self._drained is None or self._drained.done():
            return
        if not any(pool.in_use for pool in self._pools.values()):
            self._drained.set_result(None)

    def close(self, timeout: float) -> Steps[None]:
        """Refuse new loans, wait for those that are out, close all links."""
        with self._lock:
            if self._drained is None:
                self._drained = Future()
            self._note_drained()
        yield Arrival([self._drained], time.monotonic() + timeout)
        self._finalize()


class Loan:
    """Links by position, to be given back."""

    @classmethod
    def of(cls, pools: Pools, taken: Sequence[Pool], links: Sequence[Link]) -> Loan:
        """Return the loan of links that `Pools.take` gave."""
        return cls(pools, _leases.granted(taken, links))

    def __init__(self, pools: Pools, lease: _leases.Lease[Link]) -> None:
        self._pools = pools
        self._lease = lease

    @property
    def links(self) -> list[Link]:
        return [link for link in self._lease.connections if link is not None]

    def give_back(
        self, good: Iterable[int], close: Callable[[int], None] | None = None
    ) -> None:
        """Return the links at these positions to their pools, ``close`` the others."""
        kept: list[Link | None] = [None] * len(self._lease.pools)
        for index in good:
            kept[index] = self._lease.connections[index]
        for index, link in enumerate(self._lease.connections):
            if close is not None and link is not None and kept[index] is None:
                close(index)
        self._pools.release(self._lease, kept)


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
