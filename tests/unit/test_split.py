"""SPLIT: each row of the split arrays goes to just its tagged partitions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, NoReturn

import pytest

from plproxy_py.config import cluster_config
from plproxy_py.errors import RoutingError
from plproxy_py.language.body import RunAll, RunAny, RunNumber
from plproxy_py.query import RemoteQuery
from plproxy_py.tagging import (
    RunHash,
    RunHome,
    RunOn,
    Tags,
    split_length,
    tag_split,
)

FOUR = cluster_config("four", [f"dbname=part{n}" for n in range(4)])
# Partitions 0 and 2 are one database, 1 and 3 another.
DOUBLE = cluster_config("double", ["dbname=a", "dbname=b"] * 2)
HOME = RunHome(RemoteQuery(b"", ()), RemoteQuery(b"", ()), setof=True)


def never(count: int) -> NoReturn:
    raise AssertionError("nothing is left to chance here")


def by(index: int, setof: bool = False) -> RunHash:
    """Return RUN ON an argument."""
    return RunHash(lambda args: args[index], setof)


def up_to(args: Sequence[Any]) -> list[int]:
    return list(range(args[0] + 1))


# PL/Proxy's own rows.
@pytest.mark.parametrize(
    ("run_on", "args", "split", "parts"),
    [
        (
            by(0),
            [[0, 1, 2, 3, 4, 5], ["a", None, "c", "d", "e", "f"]],
            (0, 1),
            {
                0: [[0, 4], ["a", "e"]],
                1: [[1, 5], [None, "f"]],
                2: [[2], ["c"]],
                3: [[3], ["d"]],
            },
        ),
        (
            by(0),
            [[3, 0, 3, 1], ["x", "y"]],
            (0,),
            {3: [[3, 3], ["x", "y"]], 0: [[0], ["x", "y"]], 1: [[1], ["x", "y"]]},
        ),
        (
            RunHash(up_to, setof=True),
            [[0, 1, 2, -1]],
            (0,),
            {0: [[0, 1, 2]], 1: [[1, 2]], 2: [[2]]},
        ),
        (RunNumber(2, 1), [[7, None], 5], (0,), {2: [[7, None], 5]}),
        (RunAll(), [["a"], None], (0,), {n: [["a"], None] for n in range(4)}),
        # by an argument that is not split
        (by(1), [["a", "b"], 3], (0,), {3: [["a", "b"], 3]}),
    ],
)
def test_parts(
    run_on: RunOn, args: list[Any], split: tuple[int, ...], parts: dict[int, list[Any]]
) -> None:
    before = [list(arg) if isinstance(arg, list) else arg for arg in args]
    tags = tag_split(run_on, args, split, FOUR, never)
    assert tags.arguments is not None
    assert dict(zip(tags.partitions, tags.arguments, strict=True)) == parts
    assert tags.partitions == tuple(parts)
    assert args == before


def test_any_is_picked_for_each_row() -> None:
    turn = count()
    tags = tag_split(
        RunAny(), [[5, 6, 7]], (0,), FOUR, lambda count: next(turn) % 2 + 2
    )
    assert tags == Tags((2, 3), (), ([[5, 7]], [[6]]))


def test_hashes_are_those_of_all_rows() -> None:
    assert tag_split(by(0), [[7, 7, -1]], (0,), FOUR, never).hashes == (7, 7, -1)


def test_equal_targets_get_a_row_once() -> None:
    """In the first-seen one's name, also where later rows tag its twin."""
    tags = tag_split(RunAll(), [[5, 6]], (0,), DOUBLE, never)
    assert tags == Tags((0, 1), (), ([[5, 6]], [[5, 6]]))
    tags = tag_split(by(0), [[2, 0, 3, 1]], (0,), DOUBLE, never)
    assert tags == Tags((2, 3), (2, 0, 3, 1), ([[2, 0]], [[3, 1]]))


def test_home_hashes_each_row() -> None:
    hashes = [[3, 0], [], [7]]
    tags = tag_split(HOME, [["a", "b", "c"]], (0,), FOUR, never, hashes)
    assert tags == Tags((3, 0), (3, 0, 7), ([["a", "c"]], [["a"]]))


@pytest.mark.parametrize("empty", [None, []])
@pytest.mark.parametrize("run_on", [by(0), RunAll(), RunAny(), RunNumber(9, 1), HOME])
def test_no_rows_go_nowhere(run_on: RunOn, empty: object) -> None:
    """RUN ON is not even looked at, whatever it says."""
    tags = tag_split(run_on, [empty, None, 5], (0, 1), FOUR, never, [])
    assert tags == Tags((), (), ())


@pytest.mark.parametrize(
    ("args", "split", "length"),
    [
        ([[1, 2], None], (0,), 2),
        ([None, []], (0, 1), 0),
        ([[None], ["a"]], (0, 1), 1),
        ([[1], [2], [3, 4]], (1, 0), 1),
        ([5], (), 0),
    ],
)
def test_lengths(args: list[Any], split: tuple[int, ...], length: int) -> None:
    assert split_length(args, split) == length


IDENTICAL, DIMENSIONS = "identical lengths", "multi-dimensional"


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ([[1], [1, 2]], IDENTICAL),
        ([[1], None], IDENTICAL),
        ([None, [1]], IDENTICAL),
        ([[], [1]], IDENTICAL),
        ([[[1]], [1]], DIMENSIONS),
        ([[1], [[1, 2]]], DIMENSIONS),
        # the dimensions of an argument count before its length
        ([[1], [[1], [2]]], DIMENSIONS),
        ([["a"], "{a}"], r"argument \$2 is split: pass a list"),
    ],
)
def test_arrays_that_can_not_be_split(args: list[Any], reason: str) -> None:
    for run_on in (by(0), RunAll(), HOME):
        with pytest.raises(RoutingError, match=reason) as caught:
            tag_split(run_on, args, (0, 1), FOUR, never)
        assert caught.value.sent is False


@pytest.mark.parametrize(
    ("run_on", "args", "reason"),
    [
        (by(0), [[1, None]], "the hash is NULL"),
        (by(0), [[1, 2**63]], "out of range"),
        (RunHash(lambda args: [1, 2], setof=False), [[1]], "may run on 2 hashes"),
        (RunNumber(4, 1), [[1]], "partition 4 is out of range"),
    ],
)
def test_one_bad_row_refuses_all(run_on: RunOn, args: list[Any], reason: str) -> None:
    with pytest.raises(RoutingError, match=reason):
        tag_split(run_on, args, (0,), FOUR, never)
