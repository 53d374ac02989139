"""Slots and leases: who gets what, who waits, who is next."""

from __future__ import annotations

import pytest

from plproxy_py._leases import Lease, Slots, give_up, release, request, take_idle


def pools(*sizes: int) -> list[Slots[str]]:
    return [Slots(size) for size in sizes]


def granted(*leases: Lease[str]) -> list[bool]:
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
    assert list(pool.waiting) == [third]


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
    assert list(one.waiting) == list(two.waiting) == [second]
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
        release(lease, ["a"])
