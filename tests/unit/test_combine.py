"""Rules and their columns: what comes out, row by row, and what can't be combined."""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from plproxy_py.aggregates import divided
from plproxy_py.combine import Combination, Combiner, compile_combine
from plproxy_py.errors import ResultError, SignatureError
from plproxy_py.pgtypes import parse_type
from plproxy_py.signature import parse_columns

COLUMNS = parse_columns(
    "k int, name text, n int8, small int2, num numeric(10,2), f float8, f4 float4, "
    "ok bool, tags text[], at timestamptz, j json, code char(3)"
)
NAMES = [name for name, _ in COLUMNS]


def combined(combiner: Combiner, rows: Sequence[Sequence[str | None]]) -> Any:
    """Combine rows of wire texts, which stand for the loaded values as well."""
    found = combiner(
        (
            row,
            [
                None if (text := row[column]) is None else key(text.encode())
                for column, key in combiner.keys
            ],
        )
        for row in rows
    )
    return [row[0] for row in found] if len(combiner.aggregates) == 1 else found


def scalar(rule: str, declared: str, *texts: str | None) -> Any:
    combiner = compile_combine(rule, (), parse_type(declared))
    assert combiner.setof is (rule == "distinct")
    found = combined(combiner, [(text,) for text in texts])
    return found if combiner.setof else found[0]


@pytest.mark.parametrize(
    ("rule", "declared", "texts", "result"),
    [
        ("sum", "int8", ["9223372036854775807", None, "1"], 2**63),
        ("SUM", "int2", ["-3", "1"], -2),
        ("sum", "int4", [None], None),
        ("sum", "int4", [], None),
        ("sum", "numeric", ["1.5", "2.500", "3"], Decimal("7.000")),
        ("sum", "numeric", ["1e40", "1e-40"], Decimal(f"1{'0' * 40}.{'0' * 39}1")),
        ("sum", "numeric", ["Infinity", "1"], Decimal("Infinity")),
        ("sum", "numeric", ["Infinity", "-Infinity"], Decimal("NaN")),
        ("sum", "numeric", ["NaN", "1"], Decimal("NaN")),
        ("sum", "float8", ["1e308", "-1e308", "1"], 1.0),
        ("sum", "float8", ["1", "1e308", "-1e308"], 0.0),
        ("sum", "float8", ["-0"], -0.0),
        ("sum", "float8", ["Infinity", "1e308"], math.inf),
        ("sum", "float8", ["Infinity", "-Infinity"], math.nan),
        ("sum", "float4", ["0.1", "0.2"], 0.3),
        ("sum", "float4", ["1.6777216e+07", "1"], 16777216.0),
        ("sum", "float4", ["NaN", "1"], math.nan),
        ("sum", "float4", [], None),
        ("count", "int8", ["3", None, "4"], 7),
        ("count", "int4", [None], 0),
        ("count", "int8", [], 0),
        ("min", "int4", ["10", None, "9"], "9"),
        ("max", "int4", ["9", "10"], "10"),
        ("max", "numeric", ["NaN", "Infinity"], "NaN"),
        ("min", "numeric", ["1.0", "1.00"], "1.00"),
        ("max", "float8", ["0", "-0", None], "-0"),
        (
            "min",
            "timestamptz",
            ["2024-01-01 00:00:00+00"] * 2,
            "2024-01-01 00:00:00+00",
        ),
        ("min", "date", [], None),
        ("max", "date", [None], None),
        ('min collate "C"', "text", ["a", "B"], "B"),
        ('MAX COLLATE pg_catalog."C"', "varchar", ["a", "B"], "a"),
        ('max collate "C"', "char(3)", ["a  ", "a"], "a  "),
        ('min collate "C"', "char(3)", ["a", "a  "], "a"),
        ("bool_and", "bool", ["t", None, "t"], True),
        ("bool_and", "bool", ["t", "f"], False),
        ("bool_or", "bool", ["f", "t"], True),
        ("bool_or", "bool", ["f", None], False),
        ("bool_or", "bool", [None], None),
        ("array_agg", "int4", ["2", None, "1"], ["2", None, "1"]),
        ("array_agg", "json", ["{}"], ["{}"]),
        ("array_agg", "int4", [], None),
        ("distinct", "int4", ["2", None, "1", None, "2"], ["2", None, "1"]),
        ("distinct", "numeric", ["1.0", "1.00", "NaN", "NaN"], ["1.0", "NaN"]),
        ("distinct", "text", [], []),
    ],
)
def test_a_scalar(
    rule: str, declared: str, texts: list[str | None], result: Any
) -> None:
    # repr tells 1.0 from 1.00 and 0.0 from -0.0, and takes NaN for equal.
    assert repr(scalar(rule, declared, *texts)) == repr(result)


@pytest.mark.parametrize(
    ("declared", "texts"),
    [
        ("float8", ["1.7e308", "1.7e308"]),
        ("float4", ["3e+38", "3e+38"]),
        ("float4", ["-3e+38", "-3e+38", "Infinity"]),
    ],
)
def test_a_sum_overflows_as_the_servers_does(declared: str, texts: list[str]) -> None:
    with pytest.raises(ResultError, match="value out of range: overflow") as raised:
        scalar("sum", declared, *texts)
    assert raised.value.sqlstate == "22003"


def test_the_threads_context_says_nothing() -> None:
    with decimal.localcontext(decimal.Context(prec=3, Emax=5)):
        assert scalar("sum", "numeric", "123456.5", "1") == Decimal("123457.5")
        assert divided(Decimal("1000000"), 3) == Decimal("333333.333333333333")


@pytest.mark.parametrize(
    ("total", "count", "quotient"),
    [
        # Digits that select_div_scale of PostgreSQL's numeric.c leaves.
        ("1", 3, "0.33333333333333333333"),
        ("2", 3, "0.66666666666666666667"),
        ("-2", 3, "-0.66666666666666666667"),
        ("1", 1, "1.00000000000000000000"),
        ("10", 4, "2.5000000000000000"),
        ("100000", 3, "33333.333333333333"),
        ("12345678901234567890", 7, "1763668414462081127"),
        ("0", 7, "0.00000000000000000000"),
        ("0.000", 7, "0.00000000000000000000"),
        ("1.00000000000000000000000", 1, "1.00000000000000000000000"),
        ("1e-1200", 3, "0." + "0" * 1000),
        ("-1e-1200", 3, "0." + "0" * 1000),
        ("Infinity", 3, "Infinity"),
        ("-Infinity", 3, "-Infinity"),
        ("NaN", 3, "NaN"),
    ],
)
def test_divided(total: str, count: int, quotient: str) -> None:
    found = divided(Decimal(total), count)
    assert format(found, "f") == quotient


def test_half_is_rounded_away_from_zero() -> None:
    tiny = Decimal(1).scaleb(-1000)
    assert divided(tiny, 2) == tiny
    assert divided(-tiny, 2) == -tiny
    assert divided(tiny, 3) == 0


@pytest.mark.parametrize(
    ("declared", "rows", "mean"),
    [
        ("int8", [("7", "2"), (None, "0"), ("1", "1")], Decimal("2.6666666666666667")),
        ("int8", [("7", None), ("1", "1")], Decimal("8.0000000000000000")),
        ("numeric", [("7.5", "2"), ("0", "1")], Decimal("2.5000000000000000")),
        ("numeric", [("NaN", "2")], Decimal("NaN")),
        ("float8", [("7.5", "2"), ("0", "1")], 2.5),
        # As float8 a float4 has more digits.
        ("float4", [("0.1", "1")], 0.10000000149011612),
        ("int8", [("7", "0")], None),
        ("int8", [(None, "3")], None),
        ("int8", [], None),
    ],
)
def test_avg(
    declared: str, rows: list[tuple[str | None, str | None]], mean: Any
) -> None:
    columns = parse_columns(f"total {declared}, n int8")
    combiner = compile_combine({"mean": ("avg", "total", "n")}, (), columns)
    type = "float8" if declared.startswith("float") else "numeric"
    assert combiner.columns == parse_columns(f"mean {type}")
    assert repr(combined(combiner, rows)) == repr([mean])


def run(
    combine: Combination, group_by: Sequence[str], declared: str, *rows: Sequence[Any]
) -> list[tuple[Any, ...]]:
    combiner = compile_combine(combine, group_by, parse_columns(declared))
    assert combiner.setof is bool(group_by or combine == "distinct")
    found: list[tuple[Any, ...]] = combined(combiner, rows)
    return found


def test_a_rule_is_for_every_column() -> None:
    assert run("sum", (), "a int, b numeric", ("1", "1.5"), ("2", None)) == [
        (3, Decimal("1.5"))
    ]
    assert run("count", (), "a int, b int") == [(0, 0)]


def test_groups_come_by_their_first_row() -> None:
    rows = [("b", "1"), (None, "2"), ("a", "3"), (None, "4"), ("b", None)]
    assert run("sum", ["k"], "k text, n int", *rows) == [("b", 1), (None, 6), ("a", 3)]
    assert run("sum", ["k"], "k text, n int") == []
    # As declared, and the value of the first row.
    rows = [("1", "1.0"), ("2", "1.00"), ("3", "2")]
    assert run("sum", ["k"], "n int, k numeric", *rows) == [(3, "1.0"), (3, "2")]


def test_a_mapping_says_what_comes_out() -> None:
    given: Combination = {
        "at": "max",
        "mean": ("avg", "num", "n"),
        "n": "count",
        "num": "sum",
    }
    combiner = compile_combine(given, ["name", "k"], COLUMNS)
    assert combiner.columns == parse_columns(
        "name text, k int, at timestamptz, mean numeric, n int8, num numeric"
    )
    assert combiner.setof
    # Each column's key once.
    columns = [NAMES[column] for column, _ in combiner.keys]
    assert sorted(columns) == ["at", "k", "n", "name", "num"]


@pytest.mark.parametrize(
    ("rule", "declared", "type"),
    [
        ("sum", "int2", "int8"),
        ("sum", "numeric(4,1)", "numeric"),
        ("sum", "float4", "float4"),
        ("sum", "float8", "float8"),
        ("count", "int4", "int8"),
        ("min", "numeric(4,1)", "numeric(4,1)"),
        ("bool_or", "bool", "bool"),
        ("array_agg", "varchar(3)", "varchar(3)[]"),
        ("array_agg", "int4[]", "int4[]"),
        ("distinct", "varchar(3)", "varchar(3)"),
    ],
)
def test_types_that_come_out(rule: str, declared: str, type: str) -> None:
    combiner = compile_combine(rule, (), parse_type(declared))
    assert combiner.columns == parse_type(type)


def test_arrays_are_put_together() -> None:
    combiner = compile_combine("array_agg", (), parse_type("int4[]"))
    assert combiner.keys == ()
    arrays: list[Any] = [[1, None], None, [], [2]]
    before = [list(array or ()) for array in arrays]
    assert combiner([((array,), ()) for array in arrays]) == [([1, None, 2],)]
    # The partitions' own are left as they are.
    assert [list(array or ()) for array in arrays] == before
    assert combiner([((None,), ())]) == [(None,)]
    with pytest.raises(ResultError, match=r"array_agg: int4\[\] came as str"):
        combiner([(("{1,2}",), ())])


def test_all_columns_together_are_distinct() -> None:
    rows = [("1", "1.0"), ("1", None), ("2", "1.0"), ("1", "1.00"), ("1", None)]
    assert run("distinct", (), "a int, b numeric", *rows) == rows[:3]


@pytest.mark.parametrize(
    ("combine", "group_by", "reason"),
    [
        (
            "summ",
            (),
            "combine 'summ': unknown rule; did you mean 'sum'.; there are sum",
        ),
        ("frobnicate", (), "unknown rule; there are sum, count, "),
        ("avg", (), r"in a mapping, write \(\"avg\", total column, count column\)"),
        ("", (), "combine '': syntax error at end of input"),
        ("sum(n)", (), r'syntax error at or near "\("'),
        ('sum collate "C"', (), "sum has no collation, only min and max"),
        ({"n": 'count collate "C"'}, (), "count has no collation"),
        (
            "sum",
            (),
            "combine sum, column 'name': it can be of int2, .* not of text",
        ),
        ("sum", NAMES, "combine: no column is left for sum"),
        ("distinct", ["k"], "combine: distinct goes with no group_by"),
        ("distinct", (), "combine distinct, column 'num|combine distinct, column 'j'"),
        ({}, (), "combine: the mapping is empty"),
        ({"n": "sum"}, ["kk"], "group_by: no column 'kk'; did you mean 'k'"),
        ({"n": "sum"}, ["k", "k"], "group_by: a column stands there twice"),
        ({"n": "sum"}, ["j"], "group_by, column 'j': json can't be told apart"),
        ({"nam": 'min collate "C"'}, (), "combine min: no column 'nam'; .* 'name'"),
        ({"k": "sum"}, ["k"], "combine: column 'k' is in group_by, and has a rule"),
        ({"n": "distinct"}, (), "combine distinct, column 'n': it is about whole rows"),
        ({"n": "avg"}, (), "write"),
        ({"n": ("avg", "n")}, (), "column 'n': write \\(\"avg\", total column, count"),
        ({"n": ("sum", "n", "k")}, (), "column 'n': write"),
        ({"n": 3}, (), "combine 3, column 'n': a rule is a text, or a tuple for avg"),
        ({"m": ("avg", "x", "n")}, (), "combine 'm': no column 'x'"),
        ({"m": ("avg", "n", "k")}, ["k"], "column 'm': a column of group_by can't be"),
        ({"m": ("avg", "name", "n")}, (), "its sum can be of .* not of text"),
        ({"m": ("avg", "n", "f")}, (), "its count can be of .* not of float8"),
        (
            {"m": ("avg", "n", "num")},
            (),
            "its count can be of int2, int4, int8, not of numeric",
        ),
        (
            {"at": "sum"},
            (),
            "combine sum, column 'at': it can be of .* not of timestamptz",
        ),
        (
            {"num": "count"},
            (),
            "combine count, column 'num': it can be of int2, int4, int8, not of num",
        ),
        (
            {"n": "bool_and"},
            (),
            "combine bool_and, column 'n': it can be of bool, not of int8",
        ),
        (
            {"tags": "sum"},
            (),
            r"combine sum, column 'tags': it can be of .* not of text\[\]",
        ),
        (
            {"name": "min"},
            (),
            "combine min, column 'name': text is sorted by a collation",
        ),
        (
            {"n": 'max collate "C"'},
            (),
            "combine max, column 'n': int8 has no collations",
        ),
        ({"j": "max"}, (), "combine max, column 'j': json can't be sorted here"),
        ({"tags": "min"}, (), r"column 'tags': text\[\] can't be sorted here"),
    ],
)
def test_what_cannot_be_combined(
    combine: Any, group_by: Sequence[str], reason: str
) -> None:
    with pytest.raises(SignatureError, match=reason) as raised:
        compile_combine(combine, group_by, COLUMNS)
    assert raised.value.sqlstate == "42P13"


@pytest.mark.parametrize(
    ("combine", "group_by", "reason"),
    [
        ({"r": "sum"}, (), "the result is no record, so only a rule by itself fits"),
        ("sum", ["r"], "the result is no record, so only a rule by itself fits"),
        ("sum", (), "combine sum, column 'r': it can be of .* not of text"),
    ],
)
def test_a_scalar_that_cannot(
    combine: Any, group_by: Sequence[str], reason: str
) -> None:
    with pytest.raises(SignatureError, match=reason):
        compile_combine(combine, group_by, parse_type("text"))


@pytest.mark.parametrize("rule", ["sum", "distinct"])
def test_a_record_needs_columns(rule: str) -> None:
    with pytest.raises(SignatureError, match=f"no column is left for {rule}"):
        compile_combine(rule, (), ())
