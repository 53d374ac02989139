"""Rows of several partitions, merged or combined, against one database with them all.

The same server plays all parts: each partition's rows are sorted or aggregated by a
query of their own, and the result must be that of one query over all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plproxy_py.aggregates import divided
from plproxy_py.combine import Combiner, compile_combine
from plproxy_py.comparison import comparable, distinguishable
from plproxy_py.errors import ResultError
from plproxy_py.ordering import SortKey, merged, parse_order_by, window
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.query import automatic_query
from plproxy_py.signature import Columns, parse_columns, parse_signature
from tests.one_database import (
    TEXT_TYPES,
    TYPES,
    ZONES,
    Cells,
    Database,
    collated,
    columns_of,
    inputs,
    source,
    spread,
    transposed,
)


@pytest.fixture(scope="module")
def database(pg: Any) -> Iterator[Database]:
    database = Database(pg.connstr("union"))
    yield database
    database.conn.close()


@pytest.mark.parametrize("type", TYPES)
@settings(max_examples=12)
@given(data=st.data())
def test_keys_compare_as_values_do(
    type: str, data: st.DataObject, database: Any
) -> None:
    """All pairs of some values, by ``<`` and ``=``; and ``=`` by both kinds of keys."""
    texts = data.draw(st.lists(inputs(type, database), max_size=12))
    zones = data.draw(st.lists(st.sampled_from(ZONES), min_size=2, max_size=2))
    declared = parse_type(type)
    collation = "C" if type in TEXT_TYPES else None
    key, equal = comparable(declared, collation), distinguishable(declared)
    sides = []
    for zone in zones:
        database.zone(zone)
        query = f"SELECT x::{type} FROM unnest($1::text[]) WITH ORDINALITY f(x, i)"
        sides.append([text for (text,) in database.texts(f"{query} ORDER BY i", texts)])
    side = f"SELECT i - 1 AS i, x::{type} AS {{}} FROM unnest($1::text[]) "
    side += "WITH ORDINALITY f(x, i)"
    pairs = database.texts(
        f"SELECT a.i, b.i, x{collated(type)} < y, x = y "
        f"FROM ({side.format('x')}) a, ({side.format('y')}) b",
        texts,
    )
    for one, other, less, same in pairs:
        left, right = sides[0][int(one)], sides[1][int(other)]
        assert (key(left) < key(right)) is (less == b"t"), (left, right)
        assert (key(left) == key(right)) is (same == b"t"), (left, right)
        assert (equal(left) == equal(right)) is (same == b"t"), (left, right)
        assert same == b"f" or hash(equal(left)) == hash(equal(right))


def sort_keys(keys: Sequence[SortKey], row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(key.key(row[key.column]) for key in keys)


@settings(max_examples=100)
@given(data=st.data())
def test_order_by(data: st.DataObject, database: Any) -> None:
    types = data.draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3))
    partitions = data.draw(spread(types, database))
    zones = [data.draw(st.sampled_from(ZONES)) for _ in partitions]
    items = [
        data.draw(st.sampled_from([f"c{n}", f'"c{n}"', str(n + 2)]))
        + collated(type)
        + data.draw(st.sampled_from(["", " asc", " DESC"]))
        + data.draw(st.sampled_from(["", " nulls first", " NULLS LAST"]))
        for n, type in data.draw(st.permutations(list(enumerate(types))))
    ]
    keys = parse_order_by(items, (("id", PgType("int4")), *columns_of(*types)))
    # Rows that are equal by these are told apart by id: merging keeps their order.
    order = ", ".join([*(key.sql for key in keys), "id"])
    outputs = ", ".join(f"c{n}::{type}" for n, type in enumerate(types))
    query = f"SELECT id::int4, {outputs} FROM {source(types)} ORDER BY {order}"
    offset = data.draw(st.integers(0, 12))
    limit = data.draw(st.none() | st.integers(0, 12))
    sources = []
    for rows, zone in zip(partitions, zones, strict=True):
        database.zone(zone)
        found = database.texts(query, *transposed(rows, len(types) + 1))
        sources.append([(sort_keys(keys, row), row[0]) for row in found])
    everything = [row for rows in partitions for row in rows]
    wanted = database.texts(
        f"{query} OFFSET {offset} LIMIT {'ALL' if limit is None else limit}",
        *transposed(everything, len(types) + 1),
    )
    assert list(window(merged(sources), offset, limit)) == [row[0] for row in wanted]


TEXTS = "unnest('{9,12,2,c,1}'::text[])"


@pytest.mark.parametrize(
    ("signature", "body", "columns", "items", "wanted"),
    [
        (
            "f(OUT x text) RETURNS SETOF text",
            f"SELECT {TEXTS}",
            PgType("text"),
            ['r collate "C"'],
            ["1", "12", "2", "9", "c"],
        ),
        (
            "f() RETURNS SETOF text",
            f"SELECT {TEXTS}",
            PgType("varchar", "(1)"),
            ['1 collate "C" desc'],
            ["c", "9", "2", "1", "1"],
        ),
        # Sorted by what it is cut to, 12 is no more than 1, ...
        (
            'f(OUT x text, OUT "desc" text) RETURNS SETOF record',
            f"SELECT x, x FROM {TEXTS} AS f(x)",
            parse_columns('x varchar(1), "desc" text'),
            ['x collate "C" desc', '"desc" collate "C"'],
            ["c c", "9 9", "2 2", "1 1", "1 12"],
        ),
        # ... and what is rounded to 1 is equal.
        (
            'f(OUT "Odd Name" numeric, OUT y int) RETURNS SETOF record',
            "VALUES (1.6, 7), (0.8, 1), (1.4, 2)",
            parse_columns('"Odd Name" numeric(9,0), y int'),
            ['"Odd Name"', "2 desc"],
            ["1 2", "1 1", "2 7"],
        ),
    ],
)
def test_the_generated_query_takes_the_keys(
    signature: str,
    body: str,
    columns: Columns | PgType,
    items: list[str],
    wanted: list[str],
    database: Any,
) -> None:
    keys = parse_order_by(items, columns)
    query = automatic_query(parse_signature(signature), columns).sql.decode()
    with database.conn.transaction(force_rollback=True):
        database.conn.execute(
            f"CREATE FUNCTION public.{signature} LANGUAGE sql AS $${body}$$"
        )
        rows = database.texts(f"{query} ORDER BY {', '.join(key.sql for key in keys)}")
    assert [b" ".join(row).decode() for row in rows] == wanted
    assert list(merged([[(sort_keys(keys, row), row) for row in rows]])) == rows


def combined(combiner: Combiner, rows: Sequence[tuple[Any, Any]]) -> Cells:
    """Combine pairs of a row's values and its wire texts."""
    return combiner(
        (values, [wire[n] if wire[n] is None else key(wire[n]) for n, key in keys])
        for keys in [combiner.keys]
        for values, wire in rows
    )


def exact(rows: Cells) -> list[str]:
    """Return rows in which 1.0 is not 1.00, and NaN equal to itself."""
    return sorted(map(repr, rows))


# A type, that of its sum, and what of it a server may still add up.
SUMMED = {
    "int2": "int8",
    "int4": "int8",
    "int8": "numeric",
    "numeric": "numeric",
    "numeric(10,1)": "numeric",
}


@pytest.mark.parametrize("type", SUMMED)
@settings(max_examples=25)
@given(data=st.data())
def test_partial_aggregates(type: str, data: st.DataObject, database: Any) -> None:
    """What each partition aggregates, by group or not, becomes the aggregate of all."""
    kinds = ["int4", type, "bool"]
    partitions = data.draw(spread(kinds, database))
    grouped = data.draw(st.booleans())
    partial = (
        "sum(x), count(x), min(x), max(x), bool_and(b), bool_or(b), "
        "array_agg(id ORDER BY id)"
    )
    cells = f"SELECT id, c0::int4 AS k, c1::{type} AS x, c2::bool AS b"
    given = f"FROM ({cells} FROM {source(kinds)} ORDER BY id) AS q"
    end = "GROUP BY k" if grouped else ""
    head = "SELECT k," if grouped else "SELECT 0::int4,"
    found = [
        row
        for rows in partitions
        for row in database.both(
            f"{head} {partial} {given} {end}", *transposed(rows, 4)
        )
    ]
    total = SUMMED[type]
    columns = columns_of("int4", total, "int8", type, type, "bool", "bool", "int4[]")
    combiner = compile_combine(
        {
            "c1": "sum",
            "mean": ("avg", "c1", "c2"),
            "c2": "count",
            "c3": "min",
            "c4": "max",
            "c5": "bool_and",
            "c6": "bool_or",
            "c7": "array_agg",
        },
        ["c0"] if grouped else [],
        columns,
    )
    whole = partial.replace("count", "avg(x), count")
    everything = [row for rows in partitions for row in rows]
    wanted = database.loaded(
        f"{head} {whole} {given} {end}", *transposed(everything, 4)
    )
    if not grouped:
        wanted = [row[1:] for row in wanted]
    assert exact(combined(combiner, found)) == exact(wanted)


# Two of the largest are too large.
FLOATS = {"float4": (3e38, st.floats(width=32)), "float8": (1.7e308, st.floats())}


@settings(max_examples=60)
@given(data=st.data(), type=st.sampled_from(sorted(FLOATS)))
def test_sums_of_floats(data: st.DataObject, type: str, database: Any) -> None:
    """Partial sums are added in tag order, like any other numbers in theirs."""
    large, any = FLOATS[type]
    numbers = (any | st.sampled_from([large, -large, -0.0])).map(repr)
    totals = data.draw(st.lists(st.none() | numbers, max_size=6))
    counts = [data.draw(st.sampled_from("0125")) for _ in totals]
    cells = f"SELECT i, x::{type}, n::int8"
    given = f"FROM ({cells} FROM unnest($1::text[], $2::text[]) WITH ORDINALITY "
    given += "f(x, n, i) ORDER BY i) AS q"
    rows = database.both(f"SELECT x, n {given}", totals, counts)
    columns = columns_of(type, "int8")
    add = compile_combine({"c0": "sum"}, (), columns)
    average = compile_combine({"c0": ("avg", "c0", "c1")}, (), columns)
    for combiner, asked in [
        (add, "sum(x)"),
        (average, "sum(x::float8) / nullif(sum(n), 0)::float8"),
    ]:
        try:
            wanted = exact(database.loaded(f"SELECT {asked} {given}", totals, counts))
        except psycopg.errors.NumericValueOutOfRange:
            with pytest.raises(ResultError) as raised:
                combined(combiner, rows)
            assert raised.value.sqlstate == "22003"
        else:
            assert exact(combined(combiner, rows)) == wanted


_scaled = st.builds(
    lambda digits, scale: digits.scaleb(-scale),
    st.integers(-(10**30), 10**30).map(Decimal)
    | st.sampled_from([0, 1, 9999, 10000, 10001, 99999999]).map(Decimal),
    st.integers(0, 30) | st.sampled_from([999, 1000, 1001, 1500]),
)


@settings(max_examples=25)
@given(pairs=st.lists(st.tuples(_scaled, st.integers(1, 10**18)), max_size=30))
def test_averages_have_the_servers_digits(pairs: Any, database: Any) -> None:
    totals = [format(total, "f") for total, _ in pairs]
    counts = [str(count) for _, count in pairs]
    query = "SELECT x::numeric / n::int8 FROM unnest($1::text[], $2::text[]) f(x, n)"
    wanted = database.loaded(query, totals, counts)
    found = [(divided(total, count),) for total, count in pairs]
    assert exact(found) == exact(wanted)


# Of these no released server has both aggregates.
NO_MINIMUM = ("bool", "uuid", "bytea", "name")


@pytest.mark.parametrize("type", [t for t in TYPES if t not in NO_MINIMUM])
@settings(max_examples=10)
@given(data=st.data())
def test_min_and_max(type: str, data: st.DataObject, database: Any) -> None:
    """Also of values that are equal and don't look so: 1.0 and 1.00."""
    partitions = data.draw(spread([type], database))
    value = f"c0::{type}{collated(type)}"
    query = f"SELECT min({value} ORDER BY id), max({value} ORDER BY id) "
    query += f"FROM {source([type])}"
    found = [
        row
        for rows in partitions
        for row in database.texts(query, *transposed(rows, 2))
    ]
    everything = [row for rows in partitions for row in rows]
    (wanted,) = database.texts(query, *transposed(everything, 2))
    collation = collated(type)
    combiner = compile_combine(
        {"c0": f"min{collation}", "c1": f"max{collation}"}, (), columns_of(type, type)
    )
    assert combined(combiner, [(row, row) for row in found]) == [wanted]


@settings(max_examples=60)
@given(data=st.data())
def test_distinct(data: st.DataObject, database: Any) -> None:
    """The rows that one database leaves, and of equal ones the first."""
    types = data.draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=2))
    partitions = data.draw(spread(types, database))
    outputs = ", ".join(f"c{n}::{type} AS o{n}" for n, type in enumerate(types))
    given = f"FROM {source(types)}"
    found = [
        ([row[0]] * len(types), row[1:])
        for rows in partitions
        for row in database.texts(
            f"SELECT id, {outputs} {given} ORDER BY id",
            *transposed(rows, len(types) + 1),
        )
    ]
    everything = [row for rows in partitions for row in rows]
    values = ", ".join(f"o{n}" for n in range(len(types)))
    wanted = database.texts(
        f"SELECT id FROM (SELECT DISTINCT ON ({values}) id, {outputs} {given} "
        f"ORDER BY {values}, id) AS q ORDER BY id",
        *transposed(everything, len(types) + 1),
    )
    combiner = compile_combine("distinct", (), columns_of(*types))
    assert [row[0] for row in combined(combiner, found)] == [row[0] for row in wanted]
