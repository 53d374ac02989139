"""However rows are spread over partitions, what is combined is the same."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plproxy_py.aggregates import divided
from plproxy_py.combine import Combination, Combiner, compile_combine
from plproxy_py.signature import parse_columns

_int8s = st.integers(-(2**63), 2**63 - 1)
_decimals = st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent),
    st.integers(-(10**12), 10**12),
    st.integers(-40, 0),
)
_rows = st.lists(
    st.tuples(
        st.none() | st.sampled_from(["1", "1.0", "2"]),
        st.none() | _int8s,
        st.none() | _decimals,
        st.none() | st.integers(0, 9),
    ),
    max_size=12,
)


def texts(row: Sequence[Any]) -> list[bytes | None]:
    return [
        None
        if value is None
        else (format(value, "f") if isinstance(value, Decimal) else str(value)).encode()
        for value in row
    ]


def combined(combiner: Combiner, rows: Sequence[Sequence[Any]]) -> list[Any]:
    def keys(row: Sequence[Any]) -> list[Any]:
        wire = texts(row)
        return [text and key(text) for n, key in combiner.keys for text in [wire[n]]]

    return combiner((row, keys(row)) for row in rows)


COLUMNS = parse_columns("k numeric, n int8, num numeric, c int8")
EVERYTHING: Combination = {
    "n": "sum",
    "low": ("avg", "n", "c"),
    "num": "max",
    "mean": ("avg", "num", "c"),
    "c": "count",
}


@given(_rows)
def test_aggregates_are_the_arithmetic_ones(rows: list[Any]) -> None:
    ((n, low, greatest, mean, c),) = combined(
        compile_combine(EVERYTHING, (), COLUMNS), rows
    )
    numbers = [row[1] for row in rows if row[1] is not None]
    decimals = [row[2] for row in rows if row[2] is not None]
    count = sum(row[3] or 0 for row in rows)
    assert n == (sum(numbers) if numbers else None)
    assert greatest == max(decimals, default=None)
    assert c == count
    for found, values in ((low, numbers), (mean, decimals)):
        if not values or not count:
            assert found is None
        else:
            total = sum(map(Fraction, values), Fraction())
            assert_nearest(found, total / count)


@given(_rows, st.lists(st.integers(0, 12), max_size=4))
def test_partitions_in_between_change_nothing(rows: list[Any], cuts: list[int]) -> None:
    """Sums of sums are sums: exact, so that where partitions end does not show."""
    rule: Combination = {"n": "sum", "num": "sum", "c": "count"}
    columns = parse_columns("k numeric, n numeric, num numeric, c int8")
    combiner = compile_combine(rule, ["k"], columns)
    bounds = [0, *sorted(cuts), len(rows)]
    partial = [
        row
        for start, end in pairwise(bounds)
        for row in combined(combiner, rows[start:end])
    ]
    assert combined(combiner, partial) == combined(combiner, rows)


@given(_rows)
def test_groups_are_the_distinct_keys(rows: list[Any]) -> None:
    grouped = combined(compile_combine(EVERYTHING, ["k"], COLUMNS), rows)
    alone = parse_columns("k numeric")
    distinct = combined(compile_combine("distinct", (), alone), [r[:1] for r in rows])
    assert [row[:1] for row in grouped] == distinct
    values = [row[0] and Decimal(row[0]) for row in rows]
    assert [row[0] and Decimal(row[0]) for row in distinct] == list(
        dict.fromkeys(values)
    )
    sums = [row[1] for row in grouped if row[1] is not None]
    assert sum(sums) == sum(row[1] or 0 for row in rows)


@given(_decimals, st.integers(1, 10**20))
def test_a_quotient_is_the_nearest(total: Decimal, count: int) -> None:
    found = divided(total, count)
    assert_nearest(found, Fraction(total) / count)
    # At least as many digits as a float8 has, and never fewer than the total's.
    exponent = int(found.as_tuple().exponent)
    assert exponent <= min(0, int(total.as_tuple().exponent))
    assert not found or found.adjusted() - exponent >= 15


def assert_nearest(found: Decimal, wanted: Fraction) -> None:
    step = Fraction(10) ** int(found.as_tuple().exponent)
    assert abs(Fraction(found) - wanted) <= step / 2
    assert not found.is_signed() or found < 0
