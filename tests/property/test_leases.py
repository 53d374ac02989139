"""Leases as a state machine, against a model that knows only the rules."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from plproxy_py._leases import (
    Lease,
    Server,
    Slots,
    give_up,
    grant_waiting,
    granted,
    put,
    release,
    request,
    take,
    take_idle,
)


class Line:
    """A connection, by its number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.slot: object = None


class Leases(RuleBasedStateMachine):
    """Callers ask, get, wait, give back and give up, in any order.

    The model: who holds slots, who waits in order of arrival, and where each
    connection that was ever opened is now.
    """

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.pools: list[Slots[Line]] = []
        self.held: list[Lease[Line]] = []
        self.waiting: list[Lease[Line]] = []
        self.limit: int | None = None
        self.opened = 0
        self.closed: set[int] = set()

    @initialize(
        sizes=st.lists(st.integers(1, 2), min_size=1, max_size=3),
        limit=st.none() | st.integers(1, 4),
    )
    def make_pools(self, sizes: list[int], limit: int | None) -> None:
        self.pools = [Slots(size) for size in sizes]
        self.limit = limit
        if limit is not None:
            server: Server[Line] = Server(limit)
            server.pools += self.pools
            for pool in self.pools:
                pool.server = server

    @rule(target=leases, data=st.data())
    def ask(self, data: st.DataObject) -> Lease[Line]:
        indexes = st.integers(0, len(self.pools) - 1)
        most = self.limit
        chosen = data.draw(st.lists(indexes, min_size=1, max_size=most, unique=True))
        pools = [self.pools[index] for index in chosen]
        # Where connections to the server are scarce, nobody passes whoever lacks some.
        could = all(self.free(pool) for pool in pools) and all(
            self.room() >= len(lease.pools) for lease in [*self.waiting, Lease(pools)]
        )
        lease = Lease(pools)
        request(lease)
        assert lease.granted == could
        if could:
            self.hold(lease)
        else:
            self.waiting.append(lease)
        return lease

    @rule(target=leases, lease=consumes(leases), data=st.data())
    def leave(self, lease: Lease[Line], data: st.DataObject) -> object:
        """Give back what is held, or give up waiting."""
        if not lease.granted:
            self.stop_waiting(lease)
            return multiple()
        kept: list[Line | None] = []
        for connection in lease.connections:
            assert connection is not None
            good = data.draw(st.booleans())
            kept.append(connection if good else None)
            if not good:
                self.closed.add(connection.number)
        self.held.remove(lease)
        expected = self.next_in_line()
        granted = release(lease, kept)
        assert granted == expected
        for next_lease in granted:
            self.waiting.remove(next_lease)
            self.hold(next_lease)
        return multiple()

    @rule(target=leases, data=st.data())
    def take_at_once(self, data: st.DataObject) -> object:
        """Take what is idle, where nobody waits: all of it, or nothing."""
        free = [pool for pool in self.pools if not pool.waiting]
        if not free:
            return multiple()
        pools = data.draw(st.lists(st.sampled_from(free), min_size=1, unique_by=id))
        could = all(pool.idle for pool in pools)
        if len(pools) == 1 and could:
            taken: list[Line] | None = [pools[0].idle.pop()]
        else:
            taken = take(pools)
        assert (taken is not None) == could
        if taken is None:
            return multiple()
        lease = granted(pools, taken)
        self.held.append(lease)
        return lease

    @rule(lease=consumes(leases))
    def put_back(self, lease: Lease[Line]) -> None:
        """Give back at once, where nobody waits; else as always."""
        if not lease.granted or any(pool.waiting for pool in lease.pools):
            self.leave_all(lease)
            return
        self.held.remove(lease)
        connections = [one for one in lease.connections if one is not None]
        lease.slots, lease.connections = None, []
        if len(connections) == 1:
            lease.pools[0].idle.append(connections[0])
        else:
            put(lease.pools, connections)

    def leave_all(self, lease: Lease[Line]) -> None:
        if not lease.granted:
            self.stop_waiting(lease)
            return
        self.held.remove(lease)
        for next_lease in release(lease, lease.connections):
            self.waiting.remove(next_lease)
            self.hold(next_lease)

    def stop_waiting(self, lease: Lease[Line]) -> None:
        """Give up; whoever was not to pass may be next."""
        self.waiting.remove(lease)
        expected = self.next_in_line()
        assert give_up(lease) == expected
        for next_lease in expected:
            self.waiting.remove(next_lease)
            self.hold(next_lease)

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Somebody takes slots, or waits for some, and is no more."""
        chosen = data.draw(
            st.lists(st.sampled_from(self.pools), max_size=self.limit, unique_by=id)
        )
        if not chosen:
            return
        lease = Lease(chosen)
        request(lease)
        self.closed.update(line.number for line in lease.connections if line)
        self.closed.update(line.number for line in lease.crowded_out)
        del lease
        # Nobody was told: those who wait look by themselves.
        granted = grant_waiting(self.pools)
        assert granted == []

    @rule(data=st.data())
    def close_idle(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self.pools))
        self.closed.update(line.number for line in take_idle([chosen]))

    def hold(self, lease: Lease[Line]) -> None:
        """Open what was not idle, as the caller does."""
        assert len(lease.connections) == len(lease.pools)
        self.held.append(lease)
        self.closed.update(line.number for line in lease.crowded_out)
        for index, connection in enumerate(lease.connections):
            if connection is None:
                lease.occupy(index, Line(self.opened))
                self.opened += 1

    def used(self, pool: Slots[Line]) -> int:
        return sum(pool in lease.pools for lease in self.held)

    def free(self, pool: Slots[Line]) -> bool:
        return self.used(pool) < pool.size

    def room(self) -> float:
        """Return how many slots the server has left."""
        if self.limit is None:
            return math.inf
        return self.limit - sum(len(lease.pools) for lease in self.held)

    def next_in_line(self) -> list[Lease[Line]]:
        """Return who is granted now: in order of arrival, each that fits."""
        left = {id(pool): pool.size - self.used(pool) for pool in self.pools}
        granted = []
        room = self.room()
        for lease in self.waiting:
            if room < len(lease.pools):
                break
            if all(left[id(pool)] > 0 for pool in lease.pools):
                granted.append(lease)
                room -= len(lease.pools)
                for pool in lease.pools:
                    left[id(pool)] -= 1
        return granted

    @invariant()
    def limits_hold(self) -> None:
        for pool in self.pools:
            assert pool.in_use == self.used(pool) <= pool.size
            assert pool.in_use + len(pool.idle) <= pool.size
        if self.limit is not None:
            open_now = sum(pool.in_use + len(pool.idle) for pool in self.pools)
            assert open_now <= self.limit

    @invariant()
    def all_or_nothing(self) -> None:
        for lease in self.waiting:
            assert not lease.granted
            assert lease.connections == []
        for lease in self.held:
            assert lease.granted

    @invariant()
    def nobody_waits_who_could_run(self) -> None:
        assert self.next_in_line() == []

    @invariant()
    def queues_are_in_order_of_arrival(self) -> None:
        for pool in self.pools:
            waiting = [lease for lease in self.waiting if pool in lease.queues]
            # One that was forgotten stands in it until somebody looks.
            queue = [found() for found in pool.waiting]
            assert [lease for lease in queue if lease is not None] == waiting

    @invariant()
    def no_connection_is_lost_or_lent_twice(self) -> None:
        places = [
            *self.closed,
            *(line.number for pool in self.pools for line in pool.idle),
            *(line.number for one in self.held for line in one.connections if line),
        ]
        assert sorted(places) == list(range(self.opened))


Leases.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
TestLeases = Leases.TestCase
