"""Tagging against its rules: in range, each target once, in the order first seen."""

from __future__ import annotations

from typing import Any, NoReturn

from hypothesis import given, settings
from hypothesis import strategies as st

from plproxy_py.config import ClusterConfig, cluster_config
from plproxy_py.errors import RoutingError
from plproxy_py.language.body import RunAll, RunAny, RunNumber
from plproxy_py.tagging import RunHash, RunOn, Tags, hashes_of, tag
from tests.strategies import anything

few = settings(max_examples=50)

HASHES = st.integers(-(2**63), 2**63 - 1)


@st.composite
def clusters(draw: st.DrawFn) -> ClusterConfig:
    """Draw a cluster in which several partitions may have the same target."""
    count = draw(st.integers(1, 9))
    modular = count & (count - 1) != 0 or draw(st.booleans())
    names = st.sampled_from(["a", "b", "c", *"0123456789"])
    partitions = [f"dbname={draw(names)}" for _ in range(count)]
    return cluster_config("c", {"partitions": partitions, "modular_mapping": modular})


def never(count: int) -> NoReturn:
    raise AssertionError("nothing is left to chance here")


def tagged(run_on: RunOn, cluster: ClusterConfig) -> Tags:
    return tag(run_on, (), cluster, never)


@few
@given(clusters(), HASHES)
def test_a_hash_stays_in_range(cluster: ClusterConfig, hash: int) -> None:
    partition = cluster.partition_of(hash)
    assert 0 <= partition < cluster.part_count
    # C's remainder and Python's agree on the size of the distance to a multiple.
    if cluster.modular_mapping:
        assert partition == abs(hash) % cluster.part_count
    else:
        assert (hash - partition) % cluster.part_count == 0
    assert tagged(RunHash(lambda args: hash, False), cluster).partitions == (partition,)


@few
@given(clusters(), st.lists(HASHES, max_size=12) | st.none())
def test_each_target_once_in_the_order_first_seen(
    cluster: ClusterConfig, hashes: list[int] | None
) -> None:
    if hashes is None:
        wanted = list(range(cluster.part_count))
        tags = tagged(RunAll(), cluster)
    else:
        wanted = [cluster.partition_of(hash) for hash in hashes]
        tags = tagged(RunHash(lambda args: hashes, True), cluster)
        assert tags.hashes == tuple(hashes)
    targets = [cluster.target(partition) for partition in tags.partitions]
    assert len(set(targets)) == len(targets)
    assert set(targets) == {cluster.target(partition) for partition in wanted}
    # Each is the first in which its target was seen, and they stand in that order.
    first = [wanted.index(partition) for partition in tags.partitions]
    assert first == sorted(first)
    for partition, place in zip(tags.partitions, first, strict=True):
        before = {cluster.target(earlier) for earlier in wanted[:place]}
        assert cluster.target(partition) not in before


@few
@given(clusters(), st.integers(-3, 12))
def test_a_number_is_a_partition_or_refused(
    cluster: ClusterConfig, number: int
) -> None:
    try:
        assert tagged(RunNumber(number, 1), cluster) == Tags((number,))
    except RoutingError:
        assert not 0 <= number < cluster.part_count
    else:
        assert 0 <= number < cluster.part_count


@few
@given(clusters(), st.data())
def test_any_is_what_chance_says(cluster: ClusterConfig, data: st.DataObject) -> None:
    def pick(count: int) -> int:
        return data.draw(st.integers(0, count - 1))

    (partition,) = tag(RunAny(), (), cluster, pick).partitions
    assert 0 <= partition < cluster.part_count


@few
@given(anything, st.booleans())
def test_anything_is_a_hash_or_refused(value: Any, setof: bool) -> None:
    try:
        hashes = hashes_of(value, setof)
    except RoutingError as error:
        reason = str(error)
        hashes = (0,)
    else:
        reason = ""
        assert all(type(hash) is not bool and isinstance(hash, int) for hash in hashes)
    assert setof or len(hashes) == 1
    # No value in the text, and so no secret.
    assert len(reason) < 80
