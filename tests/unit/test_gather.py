"""Rows of all partitions, gathered: merged, combined, one behind the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from plproxy_py.clauses import Clauses
from plproxy_py.gather import Combined, Ordered, compile_gather
from plproxy_py.result import record_answer
from plproxy_py.signature import parse_columns

COLUMNS = parse_columns("id int, name text, total numeric")
SENT = record_answer(COLUMNS, setof=True)

Rows = list[tuple[Any, ...]]


def gathered(partitions: list[Rows], **given: Any) -> Rows:
    """Return what becomes of rows of wire texts."""
    gather = compile_gather(Clauses(**given), COLUMNS, SENT)
    assert isinstance(gather, (Ordered, Combined))
    keyed = [
        [
            (tuple(key(row[column]) for column, key in gather.keys), row)
            for row in partition
        ]
        for partition in partitions
    ]
    return [tuple(row) for row in gather.rows(keyed)]


@pytest.mark.parametrize("partitions", [[], [[]], [[], []]])
@pytest.mark.parametrize(
    "given",
    [{"limit": 1}, {"order_by": ["id"]}, {"combine": "sum", "group_by": ["name"]}],
    ids=str,
)
def test_no_rows(partitions: list[Rows], given: dict[str, Any]) -> None:
    if "combine" in given:
        columns = {"combine": {"id": "sum"}, "group_by": ["name"]}
        assert gathered(partitions, **columns) == []
    else:
        assert gathered(partitions, **given) == []


A, B, C, N = (
    (b"1", b"a", b"1"),
    (b"2", b"a", b"2"),
    (b"10", b"b", b"4"),
    (None, b"b", None),
)


def test_in_tag_order() -> None:
    assert gathered([[C, A], [], [B]], limit=5) == [C, A, B]


def test_without_an_order_nobody_is_asked_before_his_turn() -> None:
    def late() -> Iterator[Any]:
        raise AssertionError("asked")
        yield

    rows = Ordered(()).rows([iter([((), A)]), late()])
    assert next(rows) == A


def test_in_order() -> None:
    assert gathered([[A, C], [B, N]], order_by=["id"]) == [A, B, C, N]
    assert gathered([[C, A], [N, B]], order_by=["id desc"]) == [N, C, B, A]


def test_combined() -> None:
    """Keys of NULL are None, whatever the rule."""
    rows = gathered(
        [[A, C], [B, N]], combine={"id": "max", "total": "sum"}, group_by=["name"]
    )
    assert [(name, int(str(total))) for name, _, total in rows] == [
        (b"a", 3),
        (b"b", 4),
    ]
    assert [row[1] for row in rows] == [b"2", b"10"]
    assert gathered([[N], [N]], combine={"total": "sum"}) == [(None,)]
