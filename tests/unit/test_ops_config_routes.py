"""Exact shares of keys, against every hash of a period counted one by one."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from plproxy_py.config import ClusterConfig, cluster_config
from plproxy_py.ops.configuration.comparing import compare, differences
from plproxy_py.ops.configuration.routes import Places, arrivals


def cluster(hosts: str, *, modular: bool = False) -> ClusterConfig:
    """Return a cluster of one database on each host; a letter is a host."""
    return cluster_config(
        "userdb",
        {
            "partitions": [f"host={host} dbname=x" for host in hosts],
            "modular_mapping": modular,
        },
    )


def counted(old: ClusterConfig, new: ClusterConfig) -> list[Fraction]:
    """Return the missing share of each new partition, hash by hash."""
    period = math.lcm(old.part_count, new.part_count)
    missing = [0] * new.part_count
    hashes = [sign * hash for sign in (1, -1) for hash in range(1, period + 1)]
    for hash in hashes:
        to = new.partition_of(hash)
        missing[to] += old.target(old.partition_of(hash)) != new.target(to)
    return [Fraction(count, len(hashes)) for count in missing]


PAIRS = [
    ("abcd", "abcdabcd", False, False),
    ("abcd", "abcdefgh", False, False),
    ("abcd", "abcx", False, False),
    ("abcd", "badc", False, False),
    ("abcdefgh", "abcd", False, False),
    ("abcd", "abcd", False, True),
    ("abcd", "abcd", True, False),
    ("aabb", "ab", False, False),
    ("abc", "abcabc", True, True),
    ("abc", "abcde", True, True),
    ("abcdef", "abcdabcd", True, False),
    ("abab", "abcab", False, True),
    ("a", "aaaa", False, False),
]


@pytest.mark.parametrize(("before", "after", "was", "is_"), PAIRS)
def test_shares_are_those_of_every_hash(
    before: str, after: str, was: bool, is_: bool
) -> None:
    old, new = cluster(before, modular=was), cluster(after, modular=is_)
    found = arrivals(old, new)
    assert [arrival.missing for arrival in found] == counted(old, new)
    assert [arrival.partition for arrival in found] == list(range(new.part_count))


@pytest.mark.parametrize(("before", "after", "was", "is_"), PAIRS)
def test_homes_are_where_the_rows_are(
    before: str, after: str, was: bool, is_: bool
) -> None:
    old, new = cluster(before, modular=was), cluster(after, modular=is_)
    period = math.lcm(old.part_count, new.part_count)
    homes: list[set[int]] = [set() for _ in range(new.part_count)]
    for hash in range(-period, period + 1):
        homes[new.partition_of(hash)].add(old.partition_of(hash))
    for arrival in arrivals(old, new):
        assert arrival.homes == tuple(sorted(homes[arrival.partition]))
        away = [
            number
            for number in arrival.homes
            if old.target(number) != new.target(arrival.partition)
        ]
        assert arrival.strangers == len(away)
        assert arrival.first_strangers == tuple(away[:3])


def many(count: int, *, modular: bool) -> ClusterConfig:
    return cluster_config(
        "userdb",
        {
            "partitions": [f"host=h{number} dbname=x" for number in range(count)],
            "modular_mapping": modular,
        },
    )


def test_a_thousand_partitions() -> None:
    """Counts without a common divisor: a common multiple of a million."""
    old, new = many(1024, modular=False), many(1023, modular=True)
    missing = sum(arrival.missing for arrival in arrivals(old, new))
    # In place stays who has the same number on both sides: 1023 of the 1024 times 1023
    # pairs of positive hashes, and as many of negative ones.
    assert missing == 1 - Fraction(1023, 1024 * 1023)
    assert arrivals(old, many(512, modular=False))[511].first_strangers == (1023,)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("host=a dbname=x", "host=a port=5432 dbname=x user=app sslmode=require", True),
        ("host=a dbname=x", "postgresql://app:pw@a:5432/x?connect_timeout=3", True),
        ("host=a dbname=x", "host=a,b dbname=x target_session_attrs=read-write", True),
        ("host=a,b port=1,2 dbname=x", "host=b port=2 dbname=x", True),
        ("host=a,b port=1,2 dbname=x", "host=b port=1 dbname=x", False),
        ("host=a dbname=x", "host=a hostaddr=10.0.0.1 dbname=x", True),
        ("hostaddr=10.0.0.1 dbname=x", "host=a hostaddr=10.0.0.1 dbname=x", True),
        ("host=a user=x", "host=a dbname=x", True),
        ("service=s", "service=s dbname=y", False),
        ("host=a dbname=x", "host=a dbname=y", False),
        ("host=a dbname=x", "host=b dbname=x", False),
    ],
)
def test_what_is_one_database(old: str, new: str, same: bool) -> None:
    before, after = cluster_config("c", [old]), cluster_config("c", [new])
    assert (arrivals(before, after)[0].missing == 0) is same
    places = Places([before.target(0), after.target(0)])
    assert (places.of(before.target(0)) == places.of(after.target(0))) is same


def test_nothing_differs() -> None:
    assert compare(cluster("abcd"), cluster("abcd")) == []


def test_a_doubling_with_the_old_targets_twice_is_safe() -> None:
    (found,) = compare(cluster("abcd"), cluster("abcdabcd"))
    assert (found.subject, found.old, found.new) == ("partitions", 4, 8)
    assert found.moved_percent == 0
    assert found.problem is None


def test_a_doubling_onto_new_targets_is_not() -> None:
    total, *moved = compare(cluster("abcd"), cluster("abcdefgh"))
    assert total.moved_percent == 50
    assert "list the 4 connect strings 2 times over" in str(total.problem)
    subjects = [(found.subject, found.moved_percent) for found in moved]
    assert subjects == [(f"partition {number}", 12.5) for number in (4, 5, 6, 7)]
    assert "rows of the old partition 0 here" in str(moved[0].problem)
    assert moved[0].old == "dbname=x host=a"


def test_a_moved_partition() -> None:
    total, moved = compare(cluster("abcd"), cluster("abcx"))
    assert (total.subject, total.moved_percent) == ("partitions", 25)
    assert "move these rows first" in str(total.problem)
    assert (moved.subject, moved.old) == ("partition 3", "dbname=x host=d")
    assert moved.new == "dbname=x host=x"


def test_who_connects_moves_no_rows() -> None:
    old = cluster_config("c", ["host=a user=x password=one", "host=b user=x"])
    new = cluster_config("c", ["host=a user=x password=two", "host=b user=x port=5432"])
    changed, passwords = compare(old, new)
    assert (changed.subject, changed.moved_percent) == ("partition 1", 0)
    assert changed.problem is None
    assert (passwords.subject, passwords.new) == (
        "passwords",
        "other ones: partitions 0",
    )


def test_many_old_partitions_are_named_by_three() -> None:
    _, _, first, *_ = compare(many(16, modular=False), many(15, modular=True))
    assert "rows of the old partitions 1, 2, 3 and 12 more here" in str(first.problem)
    assert str(first.old).endswith("host=h3 and 12 more")


def test_clusters_that_come_and_go() -> None:
    added, removed = differences({"old": cluster("ab")}, {"new": cluster("a")})
    assert (added.cluster, added.new, added.problem) == ("new", "1 partition", None)
    assert (removed.cluster, removed.old) == ("old", "2 partitions")
    assert "no such cluster" in str(removed.problem)


def test_options() -> None:
    old = cluster("ab")
    new = cluster_config(
        "userdb",
        {
            "partitions": ["host=a dbname=x", "host=b dbname=x"],
            "query_timeout": 5,
            "timezone": "UTC",
        },
    )
    found = [(each.subject, each.old, each.new) for each in compare(old, new)]
    assert found == [("query_timeout", None, 5.0), ("timezone", None, "UTC")]
