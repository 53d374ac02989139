"""LIMIT at the partitions and OFFSET here give what one sorted list would."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plproxy_py.clauses import Clauses
from plproxy_py.gather import Ordered
from plproxy_py.ordering import window
from tests.compiled import CLUSTER, define

ROWS = st.lists(st.lists(st.none() | st.integers(-9, 9)))
COUNT = st.none() | st.integers(0, 12)


def sort_key(number: int | None) -> tuple[bool, int]:
    """Sort NULLs last, as ascending order does."""
    return (number is None, number or 0)


@given(partitions=ROWS, limit=COUNT, offset=COUNT)
def test_rows_that_partitions_need_not_send(
    partitions: list[list[int | None]], limit: int | None, offset: int | None
) -> None:
    function = define(
        "f(l int, o int) returns setof int",
        CLUSTER + "RUN ON ALL;",
        clauses=Clauses(order_by=["r"], limit="l", offset="o"),
    )
    gather = function.gather
    assert isinstance(gather, Ordered)
    normals = function.arguments((limit, offset), {})
    *_, most = function.fed(normals)
    ((_, key),) = gather.keys

    def sent(rows: list[int | None]) -> list[tuple[tuple[Any, ...], list[Any]]]:
        texts = [None if row is None else b"%d" % row for row in rows]
        keyed = [((key(text),), [row]) for text, row in zip(texts, rows, strict=True)]
        return keyed[:most]

    merged = gather.rows([sent(sorted(rows, key=sort_key)) for rows in partitions])
    got = [value for (value,) in window(merged, *function.window(normals))]
    whole = sorted((row for rows in partitions for row in rows), key=sort_key)
    start = offset or 0
    assert got == whole[start : None if limit is None else start + limit]
