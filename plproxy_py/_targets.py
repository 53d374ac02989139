"""Which pools there are: by target, as clusters name them, and on which servers.

Knows when a pool is given up and what an error tells of the idle links to a server; how
a call borrows links is `_pools`' affair.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence

from plproxy_py import _leases
from plproxy_py._connector import Connector
from plproxy_py._forks import renew_in_children
from plproxy_py._links import Link, Session
from plproxy_py._loans import Loan
from plproxy_py._moves import Moves
from plproxy_py._promises import Promise
from plproxy_py._servers import Servers, server_of
from plproxy_py._stats import TargetStats
from plproxy_py.config import ClusterConfig, Partition
from plproxy_py.errors import ConfigError, Error

# A server that shuts down or is killed; a transaction that may not write.
GONE = ("57P01", "57P02", "57P03")
READ_ONLY = "25006"


class Pool(_leases.Slots[Link]):
    """The connections to one target, under one session profile."""

    __slots__ = ("encoding", "session", "stats", "users")

    def __init__(self, session: Session, size: int) -> None:
        super().__init__(size)
        self.session = session
        self.stats = TargetStats()
        self.users = 0  # partitions that are wired to it
        self.encoding: str | None = None  # the database's own, once it was seen


class Wired:
    """A cluster and the pool of each of its partitions.

    ``successor``: what has taken its place, set while no slot can be taken. ``mask``:
    of a hash, for its partition; None where it is found by modulus. ``parts``, of what
    was put together from several: where each partition comes from.
    """

    __slots__ = ("config", "mask", "parts", "pools", "successor")

    def __init__(
        self,
        config: ClusterConfig,
        pools: tuple[Pool, ...],
        parts: Sequence[tuple[Wired, int]] = (),
    ) -> None:
        self.config = config
        self.mask = None if config.modular_mapping else config.part_count - 1
        self.pools = pools
        self.parts = parts
        self.successor: Wired | None = None

    def now(self, partition: int) -> Pool:
        """Return where a partition is now, of which a call has learnt before.

        Raise `ConfigError` where its number may mean something else by now.
        """
        if self.parts:
            wired, number = self.parts[partition]
            return wired.now(number)
        latest, config = self, self.config
        while latest.successor is not None:
            latest = latest.successor
        there, count = latest.config, latest.config.part_count
        if (there.modular_mapping, count) == (
            config.modular_mapping,
            config.part_count,
        ):
            return latest.pools[partition]
        # Its keys are those of all that it was divided into: as long as these are one
        # target, it is the right one.
        pool = self.pools[partition]
        divided = range(partition, count, config.part_count)
        is_divided = not (there.modular_mapping or config.modular_mapping) and divided
        if is_divided and all(latest.pools[number] is pool for number in divided):
            return pool
        raise ConfigError(
            f"the cluster came to have {count} partitions while the call was on its "
            "way: nothing was sent",
            partition=partition,
        )


class Targets:
    """The pools of a router, by target."""

    def __init__(
        self,
        connector: Connector,
        pool_size: int,
        max_waiting: int,
        most: int | None = None,
    ) -> None:
        self.connector = connector
        self._size = pool_size
        self._max_waiting = max_waiting
        self._servers = Servers(most)
        self._pools: dict[Session, Pool] = {}
        self.on_stale: Callable[[], None] | None = None
        self._drained: Promise[None] | None = None
        self.is_stopping = False  # it was closed, and what runs is cancelled
        self.moves = Moves()
        self._begin()
        renew_in_children(self)

    def _begin(self) -> None:
        # Again by the same thread where the collector finds a stream.
        self._lock = threading.RLock()
        # By stream: one that is forgotten must not take along, as garbage, the
        # connections on which it will be stopped.
        self.streaming: weakref.WeakKeyDictionary[object, Loan] = (
            weakref.WeakKeyDictionary()
        )
        # At exit, or when the router is forgotten; a forked child has its own.
        self._finalize = weakref.finalize(
            self, _close_idle, self._pools, self.connector, os.getpid()
        )

    def after_fork(self) -> None:
        """Begin anew in a forked child: links and loans are the parent's."""
        self._finalize.detach()
        self._begin()
        self.moves.clear()
        for pool in self._pools.values():
            pool.begin()

    def wire(self, config: ClusterConfig) -> Wired:
        """Find or make the pool of each partition; `unwire` gives them back."""
        with self._lock:
            pools = []
            for partition in config.partitions:
                session = _session(partition, config)
                if session not in self._pools:
                    pool = self._pools[session] = Pool(session, self._size)
                    self._servers.join(pool, partition.target, self._pools.values())
                self._pools[session].users += 1
                pools.append(self._pools[session])
        return Wired(config, tuple(pools))

    def is_too_wide(self, wired: Wired, partitions: Sequence[int]) -> bool:
        """Whether a server's limit does not allow them all at a time."""
        return self._servers.is_too_wide([wired.pools[one] for one in partitions])

    def waves(self, wired: Wired, partitions: Sequence[int]) -> list[list[int]]:
        """Return which of them, by position, can be lent together."""
        return self._servers.waves([wired.pools[one] for one in partitions])

    def move(self, before: Wired, after: Wired) -> None:
        """Let calls wait where a cluster's partition has another target than before.

        Until those that are under way on its former one have ended. Calls that know
        the old one, and have no connection yet, go to the new one.
        """
        if before is after:
            return
        with self._lock:
            before.successor = after
            for old, new in zip(before.pools, after.pools, strict=False):
                if old is not new:
                    self.moves.begin(after.config.name, old, new)

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

    def note_end(self, pool: Pool, seconds: float, error: Error | None) -> None:
        """Count a conversation with a target."""
        pool.stats.record(seconds, None if error is None else error.sqlstate)

    def note_error(self, pool: Pool, error: Error) -> None:
        """Draw conclusions from a partition's error for what is idle.

        A lost connection (08xxx, 57P0x) tells of a server that went away: none to it
        is trusted. So does 25006, of an old primary that came back as a standby, and
        then the clusters are asked for anew.
        """
        sqlstate = error.sqlstate or ""
        is_lost = sqlstate[:2] == "08" or sqlstate in GONE
        if not is_lost and sqlstate != READ_ONLY:
            return
        pool.stats.lost += is_lost
        server = server_of(pool.session.target)
        with self._lock:
            idle = _leases.take_idle(
                other
                for other in self._pools.values()
                if server_of(other.session.target) == server
            )
        for link in idle:
            link.close()
        if sqlstate == READ_ONLY and self.on_stale is not None:
            self.on_stale()

    def _wanted(self, pool: _leases.Slots[Link]) -> bool:
        given_up = isinstance(pool, Pool) and pool.users == 0
        return self._drained is None and not given_up

    def _note_drained(self) -> None:
        if self._drained is None or self._drained.done():
            return
        if not any(pool.in_use > len(pool.unwanted) for pool in self._pools.values()):
            self._drained.set_result(None)


def _session(partition: Partition, config: ClusterConfig) -> Session:
    return Session(partition.target, config.timezone, config.pooler, partition)


def _close_idle(pools: dict[Session, Pool], connector: Connector, pid: int) -> None:
    if os.getpid() == pid:
        for link in _leases.take_idle(pools.values()):
            link.close()
        connector.close()
