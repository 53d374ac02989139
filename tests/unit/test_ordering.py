"""ORDER BY: items and their SQL, keys in both directions, merging, windows."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import count, islice, pairwise
from typing import Any

import pytest

from plproxy_py.errors import ResultError, SignatureError
from plproxy_py.ordering import OutOfOrder, merged, parse_order_by, window
from plproxy_py.pgtypes import parse_type
from plproxy_py.signature import parse_columns

COLUMNS = parse_columns(
    'id int, name varchar(3), "Odd Name" numeric(10,1), "desc" date, nulls text, '
    'j json, n name, "Id" bool'
)


@pytest.mark.parametrize(
    ("item", "column", "sql"),
    [
        ("id", 0, "id"),
        ("ID", 0, "id"),
        ("id asc", 0, "id"),
        ("Id DESC", 0, "id DESC"),
        ('"Id"', 7, '"Id"'),
        ("id nulls last", 0, "id"),
        ("id NULLS FIRST", 0, "id NULLS FIRST"),
        ("id desc nulls first", 0, "id DESC"),
        ("id desc nulls last", 0, "id DESC NULLS LAST"),
        ("id asc -- comment", 0, "id"),
        ("1", 0, "id"),
        ("3 desc", 2, '"Odd Name" DESC'),
        ('"Odd Name"', 2, '"Odd Name"'),
        ('"desc" desc', 3, '"desc" DESC'),
        ('name collate "C"', 1, 'name::varchar(3) COLLATE "C"'),
        ('2 collate "POSIX" desc', 1, 'name::varchar(3) COLLATE "POSIX" DESC'),
        ("name collate ucs_basic", 1, "name::varchar(3) COLLATE ucs_basic"),
        ('name collate pg_catalog."C"', 1, 'name::varchar(3) COLLATE "C"'),
        ('nulls collate "C" nulls first', 4, 'nulls::text COLLATE "C" NULLS FIRST'),
        ("n", 6, "n"),
    ],
)
def test_an_item(item: str, column: int, sql: str) -> None:
    (key,) = parse_order_by([item], COLUMNS)
    assert (key.column, key.sql) == (column, sql)


@pytest.mark.parametrize("item", ["r", "R", "1", '"r"', "id"])
def test_a_scalar_is_called_r(item: str) -> None:
    (key,) = parse_order_by([item], parse_type("int8"), ["id"])
    assert (key.column, key.sql) == (0, "r")
    with pytest.raises(SignatureError, match='"id" does not exist; there are: r'):
        parse_order_by(["id"], parse_type("int8"))


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([], "order_by: no item is in it"),
        (["id", "ID desc"], "order_by 'ID desc': the column stands there already"),
        (["id", "1"], "order_by '1': the column stands there already"),
        (
            ["nobody"],
            "order_by 'nobody': column \"nobody\" does not exist; .* id, name",
        ),
        (["Odd Name"], "no 'Name'; for any other order let the function return"),
        (["lower(name)"], r"order_by 'lower\(name\)': .* no '\('"),
        (["f.id"], r"no '\.'"),
        (["id + 1"], r"no '\+'"),
        (["id using <"], "no 'using'"),
        (["id, name"], "no ','"),
        (["id desc asc"], "no 'asc'"),
        (["id nulls last desc"], "no 'desc'"),
        (["id collate"], "order_by 'id collate': syntax error at end of input"),
        (["id nulls"], "order_by 'id nulls': syntax error at end of input"),
        (["id nulls 3"], 'syntax error at or near "3"'),
        (["-1"], 'syntax error at or near "-"'),
        (["'id'"], "syntax error at or near \"'id'\""),
        ([""], "order_by '': syntax error at end of input"),
        (['"id'], "unterminated quoted identifier"),
        (["0"], "0 is none of the columns' numbers, 1 to 8"),
        (["9"], "9 is none of the columns' numbers"),
        (["1.0"], "1.0 is none of the columns' numbers"),
        (["name"], "order_by 'name': varchar is sorted by a collation that"),
        (['id collate "C"'], "order_by 'id collate \"C\"': int4 has no collations"),
        (["name collate c"], 'collation "c" is known to its server only'),
        (["j"], "order_by 'j': json can't be sorted here"),
    ],
)
def test_no_order(items: list[str], reason: str) -> None:
    with pytest.raises(SignatureError, match=reason) as raised:
        parse_order_by(items, COLUMNS)
    assert raised.value.sqlstate == "42P13"


def test_names_must_tell_columns_apart() -> None:
    twice = (("id", parse_type("int4")), ("id", parse_type("int8")))
    for item in ("id", "1"):
        with pytest.raises(SignatureError, match='column "id" is ambiguous'):
            parse_order_by([item], twice)
    with pytest.raises(SignatureError, match='"id" does not exist; there are: none'):
        parse_order_by(["id"], ())


@pytest.mark.parametrize(
    ("item", "order"),
    [
        ("id", [b"-1", b"2", b"10", None]),
        ("id nulls first", [None, b"-1", b"2", b"10"]),
        ("id desc", [None, b"10", b"2", b"-1"]),
        ("id desc nulls last", [b"10", b"2", b"-1", None]),
        ('"Odd Name" desc', [None, b"NaN", b"Infinity", b"1.0", b"-Infinity"]),
    ],
)
def test_keys_are_in_ascending_order(item: str, order: list[bytes | None]) -> None:
    (key,) = parse_order_by([item], COLUMNS)
    keys = [key.key(text) for text in order]
    for low, high in pairwise(keys):
        assert low < high
        assert not high < low
    assert [key.key(text) for text in order] == keys


def test_one_key_beside_another() -> None:
    """What is equal by a descending key is told apart by the next one."""
    keys = parse_order_by(["3 desc", "id"], COLUMNS)
    rows = [(b"2.0", b"1"), (b"1.0", b"1"), (b"1.00", b"2"), (b"1.0", b"3")]
    found = [(keys[0].key(odd), keys[1].key(id)) for odd, id in rows]
    assert sorted(found) == found
    assert found[0] != found[1]


def keyed(*rows: tuple[int, str]) -> list[tuple[tuple[int], str]]:
    return [((key,), row) for key, row in rows]


def test_equal_rows_come_by_source() -> None:
    sources = [
        keyed((1, "a1"), (2, "a2"), (2, "a3")),
        [],
        keyed((0, "c0"), (1, "c1"), (1, "c2"), (3, "c3")),
        keyed((2, "d2")),
    ]
    rows = ["c0", "a1", "c1", "c2", "a2", "a3", "d2", "c3"]
    assert list(merged(sources)) == rows
    assert list(merged([])) == []


def test_rows_are_never_compared() -> None:
    sources = [[((1,), object())], [((1,), object())]]
    assert len(list(merged(sources))) == 2


def test_an_inversion_is_told_before_its_row() -> None:
    sources = [keyed((1, "a1"), (5, "a5")), keyed((2, "b2"), (4, "b4"), (3, "b3"))]
    rows = merged(sources)
    assert list(islice(rows, 2)) == ["a1", "b2"]
    with pytest.raises(OutOfOrder, match="row 3 of source 1 sorts before") as raised:
        next(rows)
    assert isinstance(raised.value, ResultError)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (copy.source, copy.row, str(copy)) == (1, 3, str(raised.value))


def test_sources_are_read_one_row_ahead() -> None:
    read = [0, 0]

    def source(place: int) -> Iterator[tuple[tuple[int], tuple[int, int]]]:
        for number in count():
            read[place] += 1
            yield (number,), (place, number)

    rows = merged([source(0), source(1)])
    assert read == [0, 0]
    for pulled in range(1, 7):
        place, number = next(rows)
        assert (place, number) == ((pulled - 1) % 2, (pulled - 1) // 2)
        assert read == [1 + (pulled + 1) // 2, 1 + pulled // 2]


@pytest.mark.parametrize(
    ("offset", "limit", "rows", "pulled"),
    [
        (0, None, [0, 1, 2, 3, 4], 5),
        (2, None, [2, 3, 4], 5),
        (9, None, [], 5),
        (0, 2, [0, 1], 2),
        (1, 3, [1, 2, 3], 4),
        (4, 9, [4], 5),
        (3, 0, [], 0),
        (2**63 - 1, 2**63 - 1, [], 5),
        (0, 2**63 - 1, [0, 1, 2, 3, 4], 5),
    ],
)
def test_window(offset: int, limit: int | None, rows: list[int], pulled: int) -> None:
    seen: list[int] = []

    def source() -> Iterator[Any]:
        for number in range(5):
            seen.append(number)
            yield number

    assert list(window(source(), offset, limit)) == rows
    assert len(seen) == pulled
