"""Slots and leases: who gets what, who waits, who is next."""

from __future__ import annotations

import pytest

from plproxy_py import _leases
from plproxy_py._leases import Lease, Slots, give_up, grant_waiting, take_idle


class Line:
    """A connection, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slot: object = None

    def __eq__(self, other: object) -> bool:
        return self.name == other


def pools(*sizes: int) -> list[Slots[Line]]:
    return [Slots(size) for size in sizes]


def request(pools: list[Slots[Line]]) -> Lease[Line]:
    lease = Lease(pools)
    _leases.request(lease)
    return lease


def release(lease: Lease[Line], kept: list[str | None]) -> list[Lease[Line]]:
    """Give back connections of these names, opened where there was none."""
    for index, name in enumerate(kept):
        if name is not None and lease.connections[index] is None:
            lease.occupy(index, Line(name))
    links = [
        None if name is None else link
        for name, link in zip(kept, lease.connections, strict=True)
    ]
    return _leases.release(lease, links)


def granted(*leases: Lease[Line]) -> list[bool]:
    return [lease.granted for lease in leases]


def test_a_slot_without_a_connection() -> None:
    (pool,) = pools(1)
    lease = request([pool])
    assert lease.granted
    assert lease.connections == [None]
    assert pool.in_use == 1


def test_idle_connections_are_used_last_in_first_out() -> None:
    (pool,) = pools(2)
    one, two = request([pool]), request([pool])
    release(one, ["a"])
    release(two, ["b"])
    assert pool.idle == ["a", "b"]
    assert request([pool]).connections == ["b"]
    assert request([pool]).connections == ["a"]


def test_a_connection_that_is_gone() -> None:
    (pool,) = pools(1)
    release(request([pool]), [None])
    assert (pool.in_use, pool.idle) == (0, [])


def test_waiting_in_order_of_arrival() -> None:
    (pool,) = pools(1)
    first, second, third = (request([pool]) for _ in range(3))
    assert granted(first, second, third) == [True, False, False]
    assert second.connections == []
    assert release(first, ["a"]) == [second]
    assert second.connections == ["a"]
    assert granted(second, third) == [True, False]
    assert [found() for found in pool.waiting] == [third]


def test_all_or_none() -> None:
    one, two = pools(1, 1)
    holder = request([one])
    both = request([one, two])
    assert not both.granted
    # What is free meanwhile is for those who need no more than that.
    assert two.in_use == 0
    other = request([two])
    assert other.granted
    assert release(holder, ["a"]) == []
    assert release(other, ["b"]) == [both]
    assert both.connections == ["a", "b"]
    assert not one.waiting
    assert not two.waiting


def test_one_release_serves_all_that_fit() -> None:
    one, two = pools(1, 1)
    holder = request([one, two])
    first, second, late = request([one]), request([two]), request([one, two])
    assert release(holder, ["a", "b"]) == [first, second]
    assert granted(first, second, late) == [True, True, False]


def test_arrival_counts_across_queues() -> None:
    """Who came first is served first, whichever queue he stands in."""
    one, two = pools(1, 1)
    holder = request([one, two])
    early, late = request([two]), request([one, two])
    assert release(holder, [None, None]) == [early]
    assert not late.granted


def test_who_can_run_passes_who_can_not() -> None:
    one, two = pools(1, 1)
    holders = request([one]), request([two])
    both, single = request([one, two]), request([one])
    assert release(holders[0], ["a"]) == [single]
    assert granted(both, single) == [False, True]


def test_giving_up() -> None:
    one, two = pools(1, 1)
    holder = request([one, two])
    first, second = request([one, two]), request([one, two])
    give_up(first)
    for pool in (one, two):
        assert [found() for found in pool.waiting] == [second]
    assert release(holder, ["a", "b"]) == [second]
    assert not first.granted


def test_idle_connections_are_taken_out() -> None:
    one, two = pools(1, 1)
    release(request([one, two]), ["a", "b"])
    assert take_idle([one, two]) == ["a", "b"]
    assert take_idle([one, two]) == []
    assert request([one]).connections == [None]


def test_as_many_connections_as_slots() -> None:
    one, two = pools(1, 1)
    lease = request([one, two])
    with pytest.raises(ValueError, match="zip"):
        _leases.release(lease, [None])


def test_a_second_release_does_nothing() -> None:
    (pool,) = pools(1)
    lease = request([pool])
    release(lease, [None])
    assert _leases.release(lease, []) == []
    assert pool.in_use == 0


def test_a_lease_that_is_forgotten() -> None:
    one, two = pools(1, 1)
    lease = request([one, two])
    assert (one.in_use, two.in_use) == (1, 1)
    del lease
    assert (one.in_use, two.in_use) == (0, 0)
    assert request([one, two]).granted


def test_a_connection_that_is_forgotten() -> None:
    (pool,) = pools(1)
    release(request([pool]), ["a"])
    taken = _leases.take([pool])
    assert taken == ["a"]
    waiting = request([pool])
    assert not waiting.granted
    del taken
    # Nobody could tell: whoever waits has to look.
    assert grant_waiting([pool]) == [waiting]
    assert waiting.connections == [None]


def test_who_is_forgotten_gets_nothing() -> None:
    one, two = pools(1, 1)
    holder = request([one, two])
    forgotten, second = request([one, two]), request([two])
    del forgotten
    assert release(holder, ["a", "b"]) == [second]
    assert not one.waiting
    assert (one.in_use, two.in_use) == (0, 1)
