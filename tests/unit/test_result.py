"""Rows to the one answer: columns by name, the one-row rule, the rows themselves."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from plproxy_py.errors import ColumnMismatch, NoDataFound, ResultError, TooManyRows
from plproxy_py.pgtypes import PgType
from plproxy_py.result import Answer, Row, record_answer, row_class, scalar_answer
from plproxy_py.signature import VOID

INT, TEXT = PgType("int4"), PgType("text")


def record(*names: str, setof: bool = False) -> Answer:
    return record_answer(tuple((name, TEXT) for name in names), setof=setof)


def test_a_row() -> None:
    row = row_class(("id", "Z z", "class", "_x", "count", "id"))((1, 2, 3, 4, 5, 6))
    assert (row.id, row["Z z"], row["_x"], row.count) == (1, 2, 4, 5)
    assert (row["id"], row[5], row[-1], row[1:3]) == (1, 6, 6, (2, 3))
    assert getattr(row, "class") == 3
    assert row == (1, 2, 3, 4, 5, 6)
    assert hash(row) == hash((1, 2, 3, 4, 5, 6))
    assert row._fields == ("id", "Z z", "class", "_x", "count", "id")
    assert repr(row_class(("a", "Z z"))((1, "x"))) == "Row(a=1, Z z='x')"
    assert row_class(("a", "b"))((1, 2))._asdict() == {"a": 1, "b": 2}
    assert row_class(("a",)) is row_class(("a",))
    assert isinstance(row, Row)
    assert isinstance(row, tuple)
    for missing in ("nobody", "_y"):
        with pytest.raises(KeyError, match=missing):
            row[missing]
    assert not hasattr(row, "nobody")
    with pytest.raises(AttributeError):
        row.id = 7


@pytest.mark.parametrize("columns", [("a", "Z z"), ()])
def test_a_row_pickles(columns: tuple[str, ...]) -> None:
    row = row_class(columns)(range(len(columns)))
    for found in (pickle.loads(pickle.dumps(row)), copy.deepcopy(row), copy.copy(row)):
        assert found == row
        assert type(found) is type(row)


@pytest.mark.parametrize(
    ("declared", "came", "positions"),
    [
        ("a b c", "a b c", None),
        ("a b c", "c a b", (1, 2, 0)),
        ("a b c", "a c b", (0, 2, 1)),
        # in its own place, else the first of its name
        ("a b b", "b a b", (1, 0, 2)),
        ("b a b", "a b b", (1, 0, 2)),
        # one that came may feed two
        ("b b a", "a b x", (1, 1, 0)),
        ("a b b", "b x a", (2, 0, 0)),
    ],
)
def test_columns_by_name(
    declared: str, came: str, positions: tuple[int, ...] | None
) -> None:
    assert record(*declared.split()).positions(came.split()) == positions


@pytest.mark.parametrize("came", ["a B x", "x a B", "B x a"])
def test_no_column_of_that_name(came: str) -> None:
    names = ", ".join(came.split())
    with pytest.raises(ColumnMismatch, match=f"column 'b' is missing, .* {names}"):
        record("a", "b", "x").positions(came.split())


@pytest.mark.parametrize("came", [[], ["a"], ["a", "b", "c"]])
def test_count_of_columns(came: list[str]) -> None:
    with pytest.raises(ColumnMismatch, match=f"2 columns expected, {len(came)} came"):
        record("a", "b").positions(came)


@pytest.mark.parametrize("type", [INT, VOID])
def test_a_scalar_is_one_column_of_any_name(type: PgType) -> None:
    answer = scalar_answer(type, setof=False)
    assert answer.positions(["whatever"]) is None
    for came in ([], ["r", "r"]):
        with pytest.raises(ColumnMismatch, match=f"one column expected, {len(came)}"):
            answer.positions(came)


def test_made_rows() -> None:
    assert scalar_answer(INT, setof=False).make_row((7,)) == 7
    assert scalar_answer(VOID, setof=False).make_row(("",)) is None
    assert record("a", "b").make_row((1, 2))._asdict() == {"a": 1, "b": 2}
    assert record_answer((("a", INT),), setof=False, make_row=list).make_row((1,)) == [
        1
    ]
    assert scalar_answer(VOID, setof=False).void
    assert not scalar_answer(INT, setof=False).void
    assert not record("a", "b").void


@pytest.mark.parametrize(
    ("setof", "optional", "count", "error"),
    [
        (False, False, 0, NoDataFound),
        (False, False, 1, None),
        (False, False, 2, TooManyRows),
        (False, True, 0, None),
        (False, True, 1, None),
        (False, True, 2, TooManyRows),
        (True, False, 0, None),
        (True, False, 2, None),
    ],
)
def test_one_row(
    setof: bool, optional: bool, count: int, error: type[ResultError] | None
) -> None:
    answer = Answer(None, (INT,), list, setof, optional)
    if error is None:
        answer.check_count(count)
    else:
        with pytest.raises(error, match=f"gives 1 row, got {count}"):
            answer.check_count(count)


class Vector:
    """Compares each element, as numpy's arrays do."""

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None


@pytest.mark.parametrize(
    ("setof", "nullable", "partitions", "collected"),
    [
        (False, True, [[], [7]], 7),
        (False, True, [[7], []], 7),
        (False, True, [[None]], None),
        (False, True, [[]], None),
        (False, False, [], None),
        (False, False, [[0]], 0),
        (True, True, [], []),
        (True, True, [[3, None], [], [1]], [3, None, 1]),
        (True, False, [[3], [1, 2]], [3, 1, 2]),
    ],
)
def test_collected(
    setof: bool, nullable: bool, partitions: list[list[Any]], collected: object
) -> None:
    answer = Answer(None, (INT,), list, setof, nullable=nullable)
    assert answer.collect(partitions) == collected


@pytest.mark.parametrize(
    ("setof", "partitions"), [(False, [[], [None]]), (True, [[1], [2, None]])]
)
def test_null_where_the_hint_has_none(setof: bool, partitions: list[list[Any]]) -> None:
    answer = Answer(None, (INT,), list, setof, nullable=False)
    with pytest.raises(ResultError, match=r"write `\| None`") as caught:
        answer.collect(partitions)
    assert caught.value.sqlstate == "22004"


def test_null_is_looked_for_without_comparing() -> None:
    vector = Vector()
    answer = Answer(None, (INT,), list, setof=True, nullable=False)
    assert answer.collect([[vector]])[0] is vector
