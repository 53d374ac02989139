"""Who may use which connection: a state machine without I/O, clock or lock.

A call asks for one slot in each pool that it will reach, and gets all of them in one
step or waits: slots taken piecemeal deadlock, in whatever order. Whoever waits is
served in order of arrival as soon as all its slots are free; a caller that needs none
of the scarce pools passes, so that one slow target holds up nobody else. Idle
connections are given out last in, first out.

A slot is an object, and in one place at a time: free in its pool, or with whoever took
it. Nothing is counted, so an interruption between two steps leaves no wrong count; and
for a slot that was forgotten, by whoever was interrupted, another is made. There is no
finalizer: it could be interrupted as well.
"""

from __future__ import annotations

import heapq
import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar


class Connection(Protocol):
    """What takes up a slot from when it is opened until it is closed."""

    slot: Any


C = TypeVar("C", bound=Connection)

_arrivals = itertools.count()


class Slot:
    """The right to have one connection to a target."""

    __slots__ = ("__weakref__",)


class Server(Generic[C]):
    """A server with several pools, which may have so many connections in all."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.pools: list[Slots[C]] = []

    @property
    def in_use(self) -> int:
        return sum([pool.in_use for pool in self.pools])

    @property
    def idle(self) -> list[Slots[C]]:
        """Its pools with idle connections, each as often as it has some."""
        return [pool for pool in self.pools for _ in pool.idle]


class Slots(Generic[C]):
    """One pool's state: ``size`` slots, of which some are ``in_use``.

    That a connection is ``idle`` tells that its slot is free. Where nobody waits, it
    may be popped, and appended again, without more.

    ``spare`` and ``idle``: those that are free, without and with a connection.
    ``moves`` counts the leases that were given back. ``server``: None if it has no
    limit of its own.
    """

    __slots__ = (
        "_made",
        "idle",
        "moves",
        "server",
        "size",
        "spare",
        "unwanted",
        "waiting",
    )

    def __init__(self, size: int) -> None:
        self.size = size
        self.server: Server[C] | None = None
        self.begin()

    def begin(self) -> None:
        """Begin with all slots free; those that are out are of no pool any more."""
        self.idle: list[C] = []
        self.spare: list[Slot] = []
        self.moves = 0
        # Those for which a connection is being opened that nobody waits for any longer.
        self.unwanted: weakref.WeakSet[Slot] = weakref.WeakSet()
        # Weakly: one whose caller was interrupted and forgotten must get nothing.
        self.waiting: deque[weakref.ref[Lease[C]]] = deque()
        self._made: list[weakref.ref[Slot]] = [weakref.ref(Slot())] * self.size

    def taken(self) -> list[Slot]:
        """Return the slots that somebody has."""
        free = [*self.spare, *[connection.slot for connection in self.idle]]
        made = [found() for found in self._made]
        return [slot for slot in made if slot is not None and slot not in free]

    def owns(self, slot: Slot) -> bool:
        """Whether the slot is one of this pool's, not of one that a fork ended."""
        return any(made() is slot for made in self._made)

    @property
    def in_use(self) -> int:
        alive = sum([made() is not None for made in self._made])
        return alive - len(self.idle) - len(self.spare)

    @property
    def is_full(self) -> bool:
        return not (self.idle or self.spare or self._make())

    def _make(self) -> bool:
        """Make slots in the place of those that are no more; tell whether there are."""
        for number, made in enumerate(self._made):
            if made() is None:
                slot = Slot()
                self._made[number] = weakref.ref(slot)
                self.spare.append(slot)
        return bool(self.spare)


class Lease(Generic[C]):
    """A caller's slots, one for each pool; ``connections`` by position.

    A connection is None where none was idle: the caller opens one in its slot.
    ``slots`` is None until the lease is granted, and again once it was released.
    ``wake`` is called by whoever granted it; ``arrival`` grows from lease to lease.
    ``servers``: how many slots it has on each that has a limit; ``crowded_out``: idle
    connections that had to make room, to be closed.
    """

    __slots__ = (
        "__weakref__",
        "arrival",
        "connections",
        "crowded_out",
        "pools",
        "servers",
        "slots",
        "wake",
    )

    def __init__(self, pools: Sequence[Slots[C]]) -> None:
        self.arrival = next(_arrivals)
        self.pools = pools
        self.connections: list[C | None] = []
        self.slots: list[Slot | None] | None = None
        self.wake: Callable[[], None] | None = None
        self.servers: dict[Server[C], int] = {}
        self.crowded_out: list[C] = []
        for pool in pools:
            if pool.server is not None:
                self.servers[pool.server] = self.servers.get(pool.server, 0) + 1

    @property
    def queues(self) -> list[Slots[C]]:
        """The pools in whose queues it waits.

        With a server's limit, all of that server's: nobody is to pass by any of them.
        """
        queues = list(self.pools)
        for server in self.servers:
            queues += [pool for pool in server.pools if pool not in queues]
        return queues

    @property
    def granted(self) -> bool:
        return self.slots is not None

    def occupy(self, index: int, connection: C) -> None:
        """Let the connection, just opened, take up its slot."""
        assert self.slots is not None
        connection.slot = self.slots[index]
        self.connections[index] = connection

    def withhold(self, index: int) -> Slot:
        """Take out a slot for which a connection is still being opened."""
        assert self.slots is not None
        slot = self.slots[index]
        assert slot is not None
        self.slots[index] = None
        return slot

    def vacate(self, index: int) -> C | None:
        """Take the connection out of its slot, to close it."""
        connection = self.connections[index]
        self.connections[index] = None
        if connection is not None:
            connection.slot = None
        return connection


def request(lease: Lease[C]) -> None:
    """Take all slots at once, or queue for them. No pool twice."""
    queues = lease.queues
    waiting = _in_order(queues) if lease.servers else ()
    if _blocked(waiting) & lease.servers.keys() or not _grant(lease):
        for pool in queues:
            pool.waiting.append(weakref.ref(lease))


def take(pools: Sequence[Slots[C]]) -> list[C] | None:
    """Take a slot with its idle connection in each pool; None, and none, if one lacks.

    Only where nobody waits for them.
    """
    for pool in pools:
        if not pool.idle:
            return None
    return [pool.idle.pop() for pool in pools]


def put(pools: Sequence[Slots[C]], connections: Sequence[C]) -> None:
    """Give back what `take` gave. Only where nobody waits for them."""
    for pool, connection in zip(pools, connections, strict=True):
        pool.idle.append(connection)


def granted(pools: Sequence[Slots[C]], connections: Sequence[C]) -> Lease[C]:
    """Return the lease of slots that `take` gave."""
    lease = Lease(pools)
    lease.connections += connections
    lease.slots = [connection.slot for connection in connections]
    return lease


def release(lease: Lease[C], kept: Sequence[C | None]) -> list[Lease[C]]:
    """Give the slots back, with the connections that are still good.

    ``kept`` by position, None where the connection is gone. Return the leases granted
    by it; the caller wakes them. Once is enough: then it does nothing.
    """
    slots, connections = lease.slots, lease.connections
    if slots is None:
        return []
    lease.slots, lease.connections = None, []
    for pool, slot, connection, good in zip(
        lease.pools, slots, connections, kept, strict=True
    ):
        pool.moves += 1
        if slot is None or not pool.owns(slot):
            continue
        if good is not None:
            pool.idle.append(good)
        else:
            if connection is not None:
                connection.slot = None
            pool.spare.append(slot)
    return grant_waiting([pool for pool in lease.pools if pool.waiting])


def put_spare(pool: Slots[C], slot: Slot, connection: C | None) -> list[Lease[C]]:
    """Give back a slot that was withheld, with the connection that came meanwhile.

    Return the leases granted by it; the caller wakes them.
    """
    if connection is None:
        pool.spare.append(slot)
    else:
        connection.slot = slot
        pool.idle.append(connection)
    return grant_waiting([pool]) if pool.waiting else []


def give_up(lease: Lease[C]) -> list[Lease[C]]:
    """Leave the queues. Return the leases granted by it: those that were not to pass.

    The caller wakes them.
    """
    leave_queues(lease)
    if not lease.servers:
        return []
    return grant_waiting([pool for pool in lease.queues if pool.waiting])


def leave_queues(lease: Lease[C]) -> None:
    """Leave the queues, as far as the lease stands in them; `give_up` comes later."""
    for pool in lease.queues:
        _leave(pool, weakref.ref(lease))


def take_idle(pools: Iterable[Slots[C]], most: int | None = None) -> list[C]:
    """Take idle connections out of their slots, ``most`` of them."""
    taken: list[C] = []
    for pool in pools:
        while pool.idle and len(taken) != most:
            connection = pool.idle.pop()
            slot, connection.slot = connection.slot, None
            pool.spare.append(slot)
            taken.append(connection)
    return taken


def grant_waiting(pools: Sequence[Slots[C]]) -> list[Lease[C]]:
    """Grant what fits, in order of arrival across the queues."""
    granted: list[Lease[C]] = []
    blocked: set[Server[C]] = set()
    for lease in _in_order(pools):
        if not lease.servers and all(pool.is_full for pool in pools):
            break
        # One that waits in several queues comes along several times.
        if lease.granted or blocked & lease.servers.keys():
            continue
        if _grant(lease):
            granted.append(lease)
        blocked |= _blocked([lease])
    for lease in granted:
        leave_queues(lease)
    return granted


def _in_order(pools: Iterable[Slots[C]]) -> Iterator[Lease[C]]:
    """Yield who waits for any of the pools, in order of arrival."""
    return heapq.merge(*[_living(pool) for pool in pools], key=attrgetter("arrival"))


def _blocked(waiting: Iterable[Lease[C]]) -> set[Server[C]]:
    """Return the servers for which somebody waits, so that nobody may pass.

    Else many that need few connections would never leave enough for one that needs
    many.
    """
    blocked: set[Server[C]] = set()
    for lease in waiting:
        if not lease.granted and not _has_room(lease):
            blocked |= lease.servers.keys()
    return blocked


def _has_room(lease: Lease[C]) -> bool:
    return all(
        server.in_use + wanted <= server.limit
        for server, wanted in lease.servers.items()
    )


def _living(pool: Slots[C]) -> Iterator[Lease[C]]:
    """Yield who waits for a pool; take out of its queue who does so no longer."""
    for found in list(pool.waiting):
        lease = found()
        if lease is None or lease.granted:
            _leave(pool, found)
        else:
            yield lease


def _leave(pool: Slots[C], found: weakref.ref[Lease[C]]) -> None:
    with suppress(ValueError):
        pool.waiting.remove(found)


def _grant(lease: Lease[C]) -> bool:
    for pool in lease.pools:
        if pool.is_full:
            return False
    if lease.servers and not _has_room(lease):
        return False
    connections: list[C | None] = []
    slots: list[Slot | None] = []
    for pool in lease.pools:
        if pool.idle:
            connection = pool.idle.pop()
            connections.append(connection)
            slots.append(connection.slot)
        else:
            connections.append(None)
            slots.append(pool.spare.pop())
    lease.connections, lease.slots = connections, slots
    for server in lease.servers:
        idle = server.idle
        while server.in_use + len(idle) > server.limit:
            pool = idle.pop()
            connection = pool.idle.pop(0)
            slot, connection.slot = connection.slot, None
            pool.spare.append(slot)
            lease.crowded_out.append(connection)
    return True
