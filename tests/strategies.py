"""Hypothesis strategies, all in one place."""

from __future__ import annotations

import math
import string
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from plproxy_py.language.body import (
    ArgumentValue,
    Body,
    Expression,
    Literal,
    Part,
    Reference,
    RunAll,
    RunAny,
    RunNumber,
)
from plproxy_py.pgtypes import PgType

# The arguments of the function whose body is generated: their names, the arrays.
BODY_NAMES = ["a", "Key", None, "tags", "t.c", "target"]
BODY_ARRAYS = [False, False, True, True, False, False]

_LINE = st.just(0)
_indexes = st.integers(0, len(BODY_NAMES) - 1)
_names = st.sampled_from(["x", "nobody", "s.f", "x . y", "é", "_1", "x\n.\ty", "E"])
_values = st.builds(ArgumentValue, _indexes, _LINE)
_storable = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_literals = st.builds(Literal, st.text(_storable, max_size=9), _LINE)

_pieces = _indexes.map(Reference) | st.sampled_from(
    [
        *("x", "y.z", "y . z", "all", "1", "1.5.", "é", "e5"),
        *("''", "'it''s ; $1  a'", "E'\\'; $1'", '"a  ""; b"', '"a\\"'),
        *("$$ ; ' $a$  $$", "$a$ $$ a ; $a$", "B'101'"),
    ]
)
# Not "-", "/" and "*": side by side they would be comments.
# A dot behind a space begins a part, and so does a space behind a dot.
_gaps = st.sampled_from(
    [
        *(
            (" ",),
            ("  ",),
            ("   ",),
            (", ",),
            ("(",),
            (") ",),
            ("||",),
            ("::",),
            (")[",),
        ),
        *((" ", "."), (" ", ".", " "), ("  ", ".", "  ")),
    ]
)


@st.composite
def _expressions(draw: st.DrawFn, heads: list[str]) -> Expression:
    """Draw SQL text in which a gap stands before each piece."""
    parts: list[Part] = [draw(st.sampled_from(heads))]
    for gap, piece in draw(st.lists(st.tuples(_gaps, _pieces), min_size=1, max_size=6)):
        _join(parts, gap[0])
        parts.extend(gap[1:])
        _join(parts, piece)
    return Expression(tuple(parts), 0)


def _join(parts: list[Part], part: Part) -> None:
    last = parts[-1]
    if isinstance(part, str) and isinstance(last, str):
        parts[-1] = last + part
    else:
        parts.append(part)


_calls = _expressions(["f(", "hashtext  (", "s . f\n(", "any(", "a(", "select . x("])
_selects = _expressions(["select", "SELECT", "SeLect"])
_bare = st.builds(Expression, st.tuples(_names), _LINE)
_run_on = st.one_of(
    st.just(RunAll()),
    st.just(RunAny()),
    st.builds(RunNumber, st.integers(0, 2**31 - 1), _LINE),
    _values,
    _bare,
    _calls,
)


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """Draw what a body over `BODY_NAMES` can say; all lines are 0."""
    arrays = [index for index, array in enumerate(BODY_ARRAYS) if array]
    split_all = draw(st.booleans())
    chosen = st.lists(st.sampled_from(arrays), min_size=1, unique=True).map(tuple)
    is_connect = draw(st.booleans())
    target, select = draw(
        st.tuples(st.none(), st.none() | _selects) | st.tuples(_names, st.none())
    )
    return Body(
        connect=draw(_literals | _values | _bare | _calls) if is_connect else None,
        cluster=None if is_connect else draw(_literals | _calls),
        run_on=RunAny() if is_connect else draw(_run_on),
        split=tuple(arrays) if split_all else draw(st.none() | chosen),
        split_all=split_all,
        target=target,
        select=select,
    )


_fragments = st.sampled_from(
    [
        *("CLUSTER", "connect", "RUN ON", "run", "On", "ALL", "any", "SPLIT", "target"),
        *("select", "SELECT (", "'c'", "'a''b'", "'", '"', '"q"', "E'\\''", "E'", "\\"),
        *("a", "KEY", "tags", "t.c", "t . c", "x", "é", "\u212a", "\xa0", "e5", "f("),
        *(
            "hashtext (",
            "(",
            ")",
            "$1",
            "$3",
            "$0",
            "$99",
            "$",
            "$$",
            "$a$",
            "7",
            "1e5",
        ),
        *(
            "4294967296",
            ";",
            ";",
            ";",
            ",",
            ".",
            "--",
            "-- c ;\n",
            "/*",
            "*/",
            "/* ; */",
        ),
        *("/", "*", "-", "|", "`", " ", "  ", "\n", "\r\n", "\t", "\f", "\0", "\ud800"),
        *(
            "cluster 'c';",
            "connect $2;",
            "run on all;",
            "run on f(a) + 1;",
            "split all;",
        ),
        *("split tags;", "split $3;", "target s.f;", "select 1, a;", "cluster f(a) ;"),
    ]
)
body_texts = st.lists(
    _fragments | st.text(st.characters(), max_size=5), max_size=12
).map("".join) | st.lists(_fragments, max_size=12).map(" ".join)


# Values that fit a declared type, whatever their Python type.


class Number(IntEnum):
    """An int whose str() is none of a number's in older Pythons."""

    SEVEN = 7
    LESS = -1


class Word(StrEnum):
    """A str that is more than a str."""

    NAME = "marko"
    EMPTY = ""


class Shouting(str):
    """A str that says something else when it is asked."""

    def __str__(self) -> str:
        return self.upper()


class Index:
    """Not an int, but as good as one."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    def __repr__(self) -> str:
        return f"Index({self.value})"


texts = st.text(_storable, max_size=40)
_any_text = texts | texts.map(Shouting) | st.sampled_from(Word)
_offsets = st.integers(-15 * 60, 15 * 60).map(lambda n: timezone(timedelta(minutes=n)))
_ascii = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=1)


def _spelt(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return numbers | numbers.map(str) | numbers.map(lambda number: f"  {number} ")


def _integers(bits: int) -> st.SearchStrategy[Any]:
    # Hypothesis likes small numbers: all magnitudes, and the ends.
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    numbers = st.integers(low, high) | st.sampled_from([low, high, -1, 0])
    return _spelt(numbers) | numbers.map(Index) | st.sampled_from(Number)


_decimals = st.decimals(allow_nan=False, allow_infinity=False).filter(
    lambda number: not number or -9000 < number.adjusted() < 9000
) | st.builds(
    lambda digits, exponent, sign: Decimal((sign, digits, exponent)),
    st.lists(st.sampled_from([0, 0, 1, 9]), min_size=1, max_size=40).map(tuple),
    st.integers(-60, 60),
    st.integers(0, 1),
)
_small = 2.0**-149
_floats = {
    "float8": st.floats(allow_nan=True),
    "float4": st.floats(width=32)
    | st.floats(-3e38, 3e38).filter(lambda number: not 0 < abs(number) < 2 * _small),
}
_json_texts = st.text(_storable, max_size=9)
_jsons = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _json_texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(_json_texts, inner, max_size=4)
    ),
    max_leaves=12,
)
_moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31))
_infinities = st.sampled_from(["infinity", "-Infinity"])

FITTING: dict[str, st.SearchStrategy[Any]] = {
    "text": _any_text | st.integers() | st.uuids(),
    "varchar": _any_text,
    "bpchar": _any_text | texts.map(lambda text: text + "   "),
    "name": _any_text | st.text(_storable, min_size=20, max_size=90),
    '"char"': _ascii,
    "int2": _integers(16),
    "int4": _integers(32),
    "int8": _integers(64),
    "oid": _spelt(st.integers(0, 2**32 - 1)),
    "float4": _floats["float4"] | st.integers(-(2**60), 2**60),
    "float8": _spelt(_floats["float8"])
    | st.integers()
    | _decimals.filter(lambda number: not number or abs(number.adjusted()) < 300),
    "numeric": _spelt(_decimals)
    | st.integers()
    | st.floats()
    | st.sampled_from([Decimal("NaN"), "1.0", "-0.00", "1e131071", "1E-16383"]),
    "bool": st.booleans() | st.sampled_from(["t", "FALSE", " yes", "0"]),
    "bytea": st.binary() | st.binary().map(bytearray) | st.binary().map(memoryview),
    "date": st.dates() | st.dates().map(str) | _infinities,
    "time": st.times() | st.times().map(str),
    "timetz": st.times(timezones=_offsets),
    "timestamp": st.datetimes() | st.datetimes().map(str) | _infinities,
    "timestamptz": st.builds(
        lambda at, zone: at.replace(tzinfo=zone), _moments, _offsets
    )
    | _moments.map(lambda at: f"{at}Z")
    | _infinities,
    "interval": st.timedeltas() | st.sampled_from([timedelta.min, timedelta.max]),
    "uuid": st.uuids() | st.uuids().map(str) | st.uuids().map(lambda uuid: uuid.hex),
    "json": _jsons,
    "jsonb": _jsons,
}


@st.composite
def fitting(draw: st.DrawFn, type: PgType) -> Any:
    """Draw a value for a type: for an array one of up to three dimensions."""
    scalars = FITTING[type.name]
    if not type.is_array:
        return draw(scalars)
    items = scalars | st.none()
    if type.name in ("json", "jsonb"):
        return draw(st.lists(items, max_size=3))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        size = draw(st.integers(0, 3))
        items = st.lists(items, min_size=size, max_size=size)
    return draw(items)


_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([400, 5000]).map(lambda digits: 10**digits)
    | st.sampled_from([2**63, -(2**63) - 1, 2**31, -(2**31) - 1])
    | st.floats()
    | st.complex_numbers()
    | st.decimals()
    | st.text(st.characters())
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.times(timezones=st.none() | st.just(UTC))
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([object(), int, len, Number.SEVEN, Word.NAME, Index(7), math])
    | st.sampled_from([time(1, tzinfo=timezone(timedelta(hours=23, microseconds=1)))])
    | st.sampled_from([datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))])
)
# What somebody may pass for an argument.
anything = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=2)
        | st.dictionaries(st.none() | st.integers() | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


# Passwords, and connect strings that hold them.

CORE = "S3cretC0re"
_nasty = st.text(
    st.sampled_from("""'"\\ @/?#:%&=$*{}[],;\t""" + string.ascii_letters)
) | (
    st.sampled_from(["@?host=", " dbname=", "%zz", "@h/", "/x@y", "://", "${X}", "12/"])
)
# Whatever stands around it, no text may ever show the core.
passwords = st.builds(lambda before, after: before + CORE + after, _nasty, _nasty)


def keyword_connstr(password: str) -> str:
    """Return a connect string of keywords that holds the password, well quoted."""
    return make_conninfo("", host="h", dbname="d", user="u", password=password)


def uri_connstr(password: str) -> str:
    """Return a URI that holds the password, well encoded."""
    return f"postgresql://u:{quote(password, safe='')}@h/d"
