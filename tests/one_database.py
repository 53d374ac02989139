"""Rows for several partitions, and a session of the one database with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from hypothesis import strategies as st

from plproxy_py.pgtypes import parse_type
from plproxy_py.signature import Columns

Cells = list[tuple[Any, ...]]

# Sessions of partitions differ in what keys have to bear.
ZONES = ["UTC", "America/Caracas", "Europe/Berlin", "Asia/Kolkata", "Africa/Monrovia"]
TEXT_TYPES = ("text", "varchar", "bpchar", "varchar(3)", "bpchar(4)")

_integers = st.integers(-9, 9)
_clocks = st.builds(
    "{:02}:{:02}:{:02}.{:06}".format,
    st.integers(0, 23),
    st.sampled_from([0, 59]),
    st.sampled_from([0, 30, 59]),
    st.sampled_from([0, 1, 500000, 999999]),
)
_offsets = st.sampled_from(["+00", "+05:30", "-11", "+14", "-04:27:44", "+00:00:01"])
_years = ["0001 AD", "0001 BC", "0004 AD", "0004 BC", "4713 BC", "1582 AD", "1900 AD"]
_years += ["1999 AD", "2000 AD", "2023 AD", "9999 AD", "10000 AD", "120000 AD"]
_days = st.builds(
    "{0[0]}-{1:02}-{2:02} {0[1]}".format,
    st.sampled_from(_years).map(str.split),
    st.integers(1, 12),
    st.sampled_from([1, 28]),
)
_leap_days = st.sampled_from(
    ["2000-02-29", "2000-03-01", "0005-02-29 BC", "0004-12-31"]
)
_infinities = st.sampled_from(["infinity", "-infinity"])


def _moments(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Place BC last, where the server reads it."""

    def moment(day: str, *rest: str) -> str:
        date, _, era = day.partition(" ")
        return " ".join([date, "".join(rest), era])

    return st.builds(moment, _days | _leap_days, *parts) | _infinities


_numerics = st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "0", "-0.0", "1", "1.0", "1.00", "-1.5", "1e30"]
) | st.decimals(-100, 100, places=3).map(str)
_floats = st.floats(width=32).map(repr) | st.sampled_from(["-0", "0", "1e-30", "0.1"])
_words = st.text("aAbBzZ _-é\U0001f600\uffff~", max_size=4)

# What the server reads; it writes each as a partition would send it.
INPUTS: dict[str, st.SearchStrategy[str]] = {
    **dict.fromkeys(("int2", "int4", "int8"), _integers.map(str)),
    "oid": st.sampled_from(["0", "1", "10", "9", "4294967295"]),
    "float4": _floats,
    "float8": _floats | st.sampled_from(["1e308", "0.30000000000000004", "0.3"]),
    "numeric": _numerics,
    "bool": st.sampled_from(["t", "f"]),
    "date": _days | _leap_days | _infinities,
    "timestamp": _moments(_clocks),
    "timestamptz": _moments(_clocks, _offsets),
    "time": _clocks | st.just("24:00:00"),
    "timetz": st.builds("{}{}".format, _clocks | st.just("24:00:00"), _offsets),
    "interval": st.builds(
        "{} years {} mons {} days {} us".format,
        st.sampled_from([0, 0, 1, -3, 100000000]),
        *(st.sampled_from([0, 0, 1, -2, 12, -30]),) * 2,
        st.sampled_from([0, 1, -1, 86400000000, -2592000000000, 3600500000]),
    )
    | _infinities,
    "uuid": st.uuids().map(str),
    "bytea": st.binary(max_size=3).map(lambda value: "\\x" + value.hex()),
    **dict.fromkeys(("text", "varchar", "name"), _words),
    "bpchar": _words | _words.map(lambda text: text + "  "),
}
TYPES = [*INPUTS, "numeric(10,1)", "varchar(3)", "bpchar(4)", "timestamp(0)"]


class Database:
    """A session; rows go in as columns of texts, and come out as wire texts."""

    def __init__(self, connstr: str) -> None:
        self.conn = psycopg.connect(connstr, autocommit=True)
        self.version = self.conn.info.server_version

    def zone(self, name: str) -> None:
        self.conn.execute("SELECT set_config('timezone', %s, false)", [name])

    def cursor(self, query: str, columns: Sequence[Any]) -> psycopg.RawCursor[Any]:
        cursor = psycopg.RawCursor(self.conn)
        return cursor.execute(query.encode(), [list(column) for column in columns])

    def texts(self, query: str, *columns: Sequence[Any]) -> Cells:
        return texts_of(self.cursor(query, columns))

    def loaded(self, query: str, *columns: Sequence[Any]) -> Cells:
        return self.cursor(query, columns).fetchall()

    def both(self, query: str, *columns: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Return pairs: a row as psycopg loads it, and its wire texts."""
        cursor = self.cursor(query, columns)
        return list(zip(cursor.fetchall(), texts_of(cursor), strict=True))


def texts_of(cursor: psycopg.RawCursor[Any]) -> Cells:
    result = cursor.pgresult
    assert result is not None
    return [
        tuple(result.get_value(row, column) for column in range(result.nfields))
        for row in range(result.ntuples)
    ]


def inputs(type: str, database: Database) -> st.SearchStrategy[str]:
    """Return what a type's input function takes."""
    texts = INPUTS[parse_type(type).name]
    if type == "numeric(10,1)":
        return texts.filter(lambda text: "Inf" not in text and text != "1e30")
    if type == "interval" and database.version < 170000:
        return texts.filter(lambda text: "infinity" not in text)
    return texts


def collated(type: str) -> str:
    return ' COLLATE "C"' if type in TEXT_TYPES else ""


@st.composite
def spread(draw: st.DrawFn, types: list[str], database: Database) -> list[Cells]:
    """Draw the rows of up to five partitions: (id, a text or None for each type).

    Few values make many equal ones.
    """
    pools = [
        st.sampled_from(draw(st.lists(inputs(type, database), min_size=1, max_size=5)))
        for type in types
    ]
    row = st.tuples(*(st.none() | pool for pool in pools))
    sizes = draw(st.lists(st.sampled_from([0, 1, 3, 9]), max_size=5))
    numbers = iter(range(sum(sizes)))
    return [[(next(numbers), *draw(row)) for _ in range(size)] for size in sizes]


def source(types: Sequence[str]) -> str:
    """Return what stands in FROM for a function: id, c0, c1 ..., not yet cast."""
    arrays = ["$1::int[]", *(f"${n}::text[]" for n in range(2, len(types) + 2))]
    names = ["id", *(f"c{n}" for n in range(len(types)))]
    return f"unnest({', '.join(arrays)}) AS f({', '.join(names)})"


def transposed(rows: Cells, width: int) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(width)]


def columns_of(*types: str) -> Columns:
    return tuple((f"c{n}", parse_type(type)) for n, type in enumerate(types))
