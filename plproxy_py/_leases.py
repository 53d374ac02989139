"""Who may use which connection: a state machine without I/O, clock or lock.

A call asks for one slot in each pool that it will reach, and gets all of them in one
step or waits: slots taken piecemeal deadlock, in whatever order. Whoever waits is
served in order of arrival as soon as all its slots are free; a caller that needs none
of the scarce pools passes, so that one slow target holds up nobody else. Idle
connections are given out last in, first out.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Generic, TypeVar

C = TypeVar("C")

_arrivals = itertools.count()


class Slots(Generic[C]):
    """One pool's state. ``in_use`` never exceeds ``size``."""

    __slots__ = ("idle", "in_use", "size", "waiting")

    def __init__(self, size: int) -> None:
        self.size = size
        self.in_use = 0
        self.idle: list[C] = []
        self.waiting: deque[Lease[C]] = deque()


class Lease(Generic[C]):
    """A caller's slots, one for each pool; ``connections`` by position.

    A connection is None where none was idle: the caller opens one in its slot.
    ``granted`` turns true once, and ``wake`` is then called by whoever granted it;
    ``arrival`` grows from lease to lease.
    """

    __slots__ = ("arrival", "connections", "granted", "pools", "wake")

    def __init__(self, pools: Sequence[Slots[C]]) -> None:
        self.arrival = next(_arrivals)
        self.pools = pools
        self.connections: list[C | None] = []
        self.granted = False
        self.wake: Callable[[], None] | None = None


def request(pools: Sequence[Slots[C]]) -> Lease[C]:
    """Take all slots at once, or queue for them. ``pools``: no pool twice."""
    lease = Lease(pools)
    if not _grant(lease):
        for pool in pools:
            pool.waiting.append(lease)
    return lease


def take(pools: Sequence[Slots[C]]) -> list[C] | None:
    """Take a slot with its idle connection in each pool; None, and none, if one lacks.

    Only where nobody waits for them.
    """
    for pool in pools:
        if not pool.idle or pool.in_use >= pool.size:
            return None
    taken = []
    for pool in pools:
        pool.in_use += 1
        taken.append(pool.idle.pop())
    return taken


def put(pools: Sequence[Slots[C]], connections: Sequence[C]) -> None:
    """Give back what `take` gave. Only where nobody waits for them."""
    for pool, connection in zip(pools, connections, strict=True):
        pool.in_use -= 1
        pool.idle.append(connection)


def take_one(pool: Slots[C]) -> C:
    """Take a slot with its idle connection. Only where there is one, and nobody waits.

    That a connection is idle tells that a slot is free.
    """
    pool.in_use += 1
    return pool.idle.pop()


def put_one(pool: Slots[C], connection: C) -> None:
    """Give back what `take_one` gave. Only where nobody waits for it."""
    pool.in_use -= 1
    pool.idle.append(connection)


def granted(pools: Sequence[Slots[C]], connections: Sequence[C]) -> Lease[C]:
    """Return the lease of slots that `take` gave."""
    lease = Lease(pools)
    lease.connections += connections
    lease.granted = True
    return lease


def release(lease: Lease[C], kept: Sequence[C | None]) -> list[Lease[C]]:
    """Give the slots back, with the connections that are still good.

    ``kept`` by position, None where the connection is gone. Return the leases granted
    by it; the caller wakes them.
    """
    for pool, connection in zip(lease.pools, kept, strict=True):
        pool.in_use -= 1
        if connection is not None:
            pool.idle.append(connection)
    return _grant_waiting([pool for pool in lease.pools if pool.waiting])


def give_up(lease: Lease[C]) -> None:
    """Leave the queues. The lease must not have been granted."""
    for pool in lease.pools:
        pool.waiting.remove(lease)


def take_idle(pools: Iterable[Slots[C]]) -> list[C]:
    """Take every idle connection out, to close it."""
    taken: list[C] = []
    for pool in pools:
        taken += pool.idle
        pool.idle.clear()
    return taken


def _grant(lease: Lease[C]) -> bool:
    for pool in lease.pools:
        if pool.in_use >= pool.size:
            return False
    for pool in lease.pools:
        pool.in_use += 1
        lease.connections.append(pool.idle.pop() if pool.idle else None)
    lease.granted = True
    return True


def _grant_waiting(pools: Sequence[Slots[C]]) -> list[Lease[C]]:
    """Grant what fits, in order of arrival across the queues."""
    granted: list[Lease[C]] = []
    queues = [list(pool.waiting) for pool in pools]
    for lease in heapq.merge(*queues, key=attrgetter("arrival")):
        if all(pool.in_use >= pool.size for pool in pools):
            break
        # One that waits in several queues comes along several times.
        if not lease.granted and _grant(lease):
            give_up(lease)
            granted.append(lease)
    return granted
