"""RUN ON, resolved to partitions: ranges, order, equal targets, bad hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import pytest

from plproxy_py.config import cluster_config
from plproxy_py.errors import RoutingError
from plproxy_py.language.body import RunAll, RunAny, RunNumber
from plproxy_py.query import RemoteQuery
from plproxy_py.tagging import RunHash, RunHome, RunOn, Tags, hashes_of, tag

FOUR = cluster_config("four", [f"dbname=part{n}" for n in range(4)])
THREE = cluster_config(
    "three",
    {"partitions": [f"dbname=part{n}" for n in range(3)], "modular_mapping": True},
)
# Two databases, the second weighing thrice as much; the word order does not matter.
DOUBLE = cluster_config(
    "double",
    ["host=h dbname=a", "host=h dbname=b", "dbname=b host=h", "postgresql://h/b"],
)


def never(count: int) -> NoReturn:
    raise AssertionError("nothing is left to chance here")


def last(count: int) -> int:
    return count - 1


def of(*hashes: Any, setof: bool = False) -> RunHash:
    """Return RUN ON a function that gives these, whatever the arguments."""
    value = list(hashes) if setof else hashes[0]
    return RunHash(lambda args: value, setof)


@pytest.mark.parametrize(
    ("run_on", "cluster", "partitions", "hashes"),
    [
        (RunAll(), FOUR, (0, 1, 2, 3), ()),
        (RunAll(), THREE, (0, 1, 2), ()),
        (RunAll(), DOUBLE, (0, 1), ()),
        (RunNumber(0, 1), FOUR, (0,), ()),
        (RunNumber(3, 1), FOUR, (3,), ()),
        (RunNumber(3, 1), DOUBLE, (3,), ()),
        # masked
        (of(0), FOUR, (0,), (0,)),
        (of(-1), FOUR, (3,), (-1,)),
        (of(-5), FOUR, (3,), (-5,)),
        (of(2**63 - 1), FOUR, (3,), (2**63 - 1,)),
        (of(-(2**63)), FOUR, (0,), (-(2**63),)),
        # by modulus, as C has it
        (of(-1), THREE, (1,), (-1,)),
        (of(-4), THREE, (1,), (-4,)),
        (of(-(2**63)), THREE, (2,), (-(2**63),)),
        # several hashes, each partition and each target once, as first seen
        (of(3, 0, 3, 1, setof=True), FOUR, (3, 0, 1), (3, 0, 3, 1)),
        (of(2, 1, 0, setof=True), DOUBLE, (2, 0), (2, 1, 0)),
        (of(7, setof=True), FOUR, (3,), (7,)),
        (of(setof=True), FOUR, (), ()),
    ],
)
def test_tags(
    run_on: RunOn, cluster: Any, partitions: tuple[int, ...], hashes: tuple[int, ...]
) -> None:
    assert tag(run_on, (), cluster, never) == Tags(partitions, hashes)


def test_any_is_picked_among_all() -> None:
    assert tag(RunAny(), (), FOUR, last) == Tags((3,))
    assert tag(RunAny(), (), DOUBLE, last) == Tags((3,))


def test_the_hash_is_taken_from_the_arguments() -> None:
    def second(args: Sequence[Any]) -> Any:
        return args[1]

    assert tag(RunHash(second, False), (7, 6), FOUR, never) == Tags((2,), (6,))


def test_hashes_that_home_gave() -> None:
    home = RunHome(RemoteQuery(b"", ()), None, setof=True)
    assert tag(home, (), FOUR, never, [7, 0]) == Tags((3, 0), (7, 0))
    assert tag(home, (), FOUR, never, []) == Tags((), ())
    one = RunHome(RemoteQuery(b"", ()), None, setof=False)
    assert tag(one, (), FOUR, never, [7]) == Tags((3,), (7,))
    for given, reason in (([None], "is NULL"), ([], "0 hashes"), ([1, 2], "2 hashes")):
        with pytest.raises(RoutingError, match=reason):
            tag(one, (), FOUR, never, given)


@pytest.mark.parametrize("number", [4, 2**31 - 1, -1])
def test_partition_out_of_range(number: int) -> None:
    with pytest.raises(RoutingError, match=f"partition {number} is out of range"):
        tag(RunNumber(number, 1), (), FOUR, never)


@pytest.mark.parametrize("setof", [False, True])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the hash is NULL"),
        (True, "must be an int, RUN ON gave bool"),
        ("7", "must be an int, RUN ON gave str"),
        (7.0, "must be an int, RUN ON gave float"),
        (iter([7]), "must be an int, RUN ON gave list_iterator"),
        (2**63, "out of range for int8"),
        (-(2**63) - 1, "out of range for int8"),
        ([None], "the hash is NULL"),
        ([0, None], "the hash is NULL"),
        ([0, False], "must be an int, RUN ON gave bool"),
        ([[0]], "must be an int, RUN ON gave list"),
    ],
)
def test_no_hash(value: object, reason: str, setof: bool) -> None:
    with pytest.raises(RoutingError, match=reason) as caught:
        tag(RunHash(lambda args: value, setof), (), FOUR, never)
    assert caught.value.sqlstate == "22023"
    assert caught.value.sent is False


@pytest.mark.parametrize("value", [[], [0, 0], (1, 2), frozenset({1, 2})])
def test_several_hashes_need_a_set(value: Any) -> None:
    with pytest.raises(RoutingError, match=f"set-returning function .* {len(value)} h"):
        hashes_of(value, setof=False)
    assert hashes_of(value, setof=True) == tuple(value)


def test_one_hash_in_a_list_is_one_hash() -> None:
    assert hashes_of([5], setof=False) == (5,)
