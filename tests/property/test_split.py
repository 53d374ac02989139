"""SPLIT sends every row to just its tagged partitions, in order."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plproxy_py.config import cluster_config
from plproxy_py.query import RemoteQuery
from plproxy_py.tagging import RunHash, RunHome, tag_split

# Partitions of clusters of different sizes, some of them one database.
CLUSTERS = [
    cluster_config("c", [f"dbname=part{n % different}" for n in range(count)])
    for count, different in ((1, 1), (4, 4), (8, 3), (16, 16))
]
# A row: its number, and its hashes.
ROWS = st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4), max_size=20)


def never(count: int) -> int:
    raise AssertionError("nothing is left to chance here")


@given(st.sampled_from(CLUSTERS), ROWS, st.booleans())
def test_every_row_goes_to_just_its_partitions(
    cluster: Any, rows: list[list[int]], at_home: bool
) -> None:
    numbers = list(range(len(rows)))
    nullable = [None if number % 3 else number for number in numbers]
    run_on: RunHash | RunHome = RunHash(lambda args: rows[args[2]], setof=True)
    if at_home:
        run_on = RunHome(RemoteQuery(b"", ()), None, setof=True)
    args = [nullable, "note", numbers, [1, 2]]
    tags = tag_split(run_on, args, (2, 0), cluster, never, rows if at_home else None)
    assert tags.hashes == tuple(hash for hashes in rows for hash in hashes)

    def targets(number: int) -> set[object]:
        return {cluster.target(cluster.partition_of(hash)) for hash in rows[number]}

    assert tags.arguments is not None
    reached = [cluster.target(partition) for partition in tags.partitions]
    assert len(set(reached)) == len(reached)
    assert set(reached) == set().union(*map(targets, numbers))
    for target, own in zip(reached, tags.arguments, strict=True):
        # Nothing else, nothing twice, in order; the arrays still side by side.
        assert own[2] == [number for number in numbers if target in targets(number)]
        assert own[0] == [nullable[number] for number in own[2]]
        assert (own[1], own[3]) == ("note", [1, 2])
    # Partitions come in the order of their first row.
    first = [own[2][0] for own in tags.arguments]
    assert first == sorted(first)
    assert args == [nullable, "note", numbers, [1, 2]]
