"""Values of any Python type → what is hashed, and what is sent."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Context, Decimal, localcontext
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Json, Jsonb

from plproxy_py.pgtypes import parse_type
from plproxy_py.values import codec, localized

EAST = timezone(timedelta(hours=5, minutes=30))
A_UUID = UUID("123e4567-e89b-12d3-a456-426614174000")


class Colour(IntEnum):
    RED = 7


class Word(StrEnum):
    FIRST = "first"


class OldWord(str, Enum):  # noqa: UP042 - what StrEnum has put right
    """Its str() is OldWord.FIRST."""

    FIRST = "first"


class Shouting(str):
    def __str__(self) -> str:
        return self.upper()


class Seven:
    def __index__(self) -> int:
        return 7


class Nowhere(tzinfo):
    """A zone that does not know its own offset."""

    def utcoffset(self, moment: datetime | None, /) -> None:
        return None


def encoded(declared: str, value: object) -> tuple[Any, str]:
    found = codec(parse_type(declared))
    assert found is not None
    normal = found.normal(value)
    return normal, found.text(normal)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("declared", "value", "normal", "text"),
    [
        # text, and what else a text is made of without a doubt
        ("text", "", "", ""),
        ("text", "a'b\\c\n", "a'b\\c\n", "a'b\\c\n"),
        ("text", "é😀", "é😀", "é😀"),
        ("text", 7, "7", "7"),
        ("text", Colour.RED, "7", "7"),
        ("text", Word.FIRST, "first", "first"),
        ("text", OldWord.FIRST, "first", "first"),
        ("text", Shouting("ä"), "ä", "ä"),
        ("varchar(2)", "long", "long", "long"),
        ("varchar", A_UUID, str(A_UUID), str(A_UUID)),
        ("char(5)", "a  ", "a  ", "a  "),
        # a name ends after 63 bytes, and not in the midst of a character
        ("name", "n" * 64, "n" * 63, "n" * 63),
        ("name", "n" * 62 + "é", "n" * 62, "n" * 62),
        ('"char"', "", "", ""),
        ('"char"', "a", "a", "a"),
        # integers
        ("int2", 2**15 - 1, 32767, "32767"),
        ("int2", -(2**15), -32768, "-32768"),
        ("int4", 2**31 - 1, 2147483647, "2147483647"),
        ("int4", -(2**31), -(2**31), "-2147483648"),
        ("int8", -(2**63), -(2**63), "-9223372036854775808"),
        ("int8", 2**63 - 1, 2**63 - 1, "9223372036854775807"),
        ("int4", "7", 7, "7"),
        ("int4", " +07 ", 7, "7"),
        ("int4", Colour.RED, 7, "7"),
        ("int4", Seven(), 7, "7"),
        ("oid", 2**32 - 1, 4294967295, "4294967295"),
        # numbers
        ("float8", 1, 1.0, "1.0"),
        ("float8", "1e5", 1e5, "100000.0"),
        ("float8", ".5", 0.5, "0.5"),
        ("float8", "5.", 5.0, "5.0"),
        ("float8", Decimal("0.1"), 0.1, "0.1"),
        ("float8", -0.0, -0.0, "-0.0"),
        ("float8", 5e-324, 5e-324, "5e-324"),
        ("float8", math.inf, math.inf, "Infinity"),
        ("float8", "-inf", -math.inf, "-Infinity"),
        ("float8", Decimal("Infinity"), math.inf, "Infinity"),
        ("float4", 0.1, 0.10000000149011612, "0.10000000149011612"),
        ("float4", -math.inf, -math.inf, "-Infinity"),
        ("numeric(5,2)", Decimal("1.0"), Decimal("1.0"), "1.0"),
        ("numeric", "1.10", Decimal("1.10"), "1.10"),
        ("numeric", 0.1, Decimal("0.1"), "0.1"),
        ("numeric", 10**40, Decimal(10**40), "1" + "0" * 40),
        ("numeric", Decimal("-1E+131071"), Decimal("-1E+131071"), "-1E+131071"),
        ("numeric", Decimal("1E-16383"), Decimal("1E-16383"), "1E-16383"),
        ("numeric", Decimal("0E+999999"), Decimal(0), "0"),
        ("numeric", Decimal("0E-999999"), Decimal(0), "0"),
        ("numeric", math.inf, Decimal("Infinity"), "Infinity"),
        ("numeric", "-Infinity", Decimal("-Infinity"), "-Infinity"),
        # bool
        ("bool", True, True, "t"),
        ("bool", False, False, "f"),
        ("bool", " Yes ", True, "t"),
        ("bool", "off", False, "f"),
        # bytea
        ("bytea", b"", b"", "\\x"),
        ("bytea", b"\0\xff", b"\0\xff", "\\x00ff"),
        ("bytea", bytearray(b"ab"), b"ab", "\\x6162"),
        ("bytea", memoryview(b"abcd")[::2], b"ac", "\\x6163"),
        ("bytea", "\\x00FF", b"\0\xff", "\\x00ff"),
        # moments
        ("date", date(2007, 3, 12), date(2007, 3, 12), "2007-03-12"),
        ("date", " 2007-03-12 ", date(2007, 3, 12), "2007-03-12"),
        ("date", date.min, date.min, "0001-01-01"),
        ("date", "Infinity", "infinity", "infinity"),
        ("time", time(1, 2, 3, 4), time(1, 2, 3, 4), "01:02:03.000004"),
        (
            "timestamp(0)",
            "2007-03-12T01:02:03.5",
            datetime(2007, 3, 12, 1, 2, 3, 500000),
            "2007-03-12T01:02:03.500000",
        ),
        ("timestamp", "-INFINITY", "-infinity", "-infinity"),
        (
            "timestamptz",
            datetime(2007, 3, 12, 5, 30, tzinfo=EAST),
            datetime(2007, 3, 12, tzinfo=UTC),
            "2007-03-12T00:00:00+00:00",
        ),
        (
            "timestamptz",
            "2007-03-12T00:00Z",
            datetime(2007, 3, 12, tzinfo=UTC),
            "2007-03-12T00:00:00+00:00",
        ),
        (
            "timestamptz",
            datetime(2007, 3, 12),
            datetime(2007, 3, 12),
            "2007-03-12T00:00:00",
        ),
        ("timetz", time(1, tzinfo=EAST), time(1, tzinfo=EAST), "01:00:00+05:30"),
        (
            "interval",
            timedelta(days=-1, microseconds=1),
            timedelta(days=-1, microseconds=1),
            "-1 days +0.000001 seconds",
        ),
        (
            "interval",
            timedelta.max,
            timedelta.max,
            "999999999 days +86399.999999 seconds",
        ),
        ("interval", "1 mon", "1 mon", "1 mon"),
        # uuid, as PostgreSQL reads one
        ("uuid", A_UUID, A_UUID, str(A_UUID)),
        ("uuid", A_UUID.hex.upper(), A_UUID, str(A_UUID)),
        ("uuid", "{" + str(A_UUID) + "}", A_UUID, str(A_UUID)),
        ("uuid", "123e4567e89b-12d3a456-426614174000", A_UUID, str(A_UUID)),
        # JSON
        ("jsonb", [], "[]", "[]"),
        ("jsonb", {}, "{}", "{}"),
        ("jsonb", "7", '"7"', '"7"'),
        (
            "jsonb",
            {"é": [None, True, 1.5, {"b": "\\u0000"}]},
            '{"é": [null, true, 1.5, {"b": "\\\\u0000"}]}',
            '{"é": [null, true, 1.5, {"b": "\\\\u0000"}]}',
        ),
        ("json", {1: "\0"}, '{"1": "\\u0000"}', '{"1": "\\u0000"}'),
        ("jsonb", Jsonb({"a": 1}), '{"a": 1}', '{"a": 1}'),
        ("json", Json([1]), "[1]", "[1]"),
        # arrays
        ("int4[]", [], [], "{}"),
        ("int4[]", (1, None, "3"), [1, None, 3], '{"1",NULL,"3"}'),
        ("int4[]", [[1, 2], (3, None)], [[1, 2], [3, None]], '{{"1","2"},{"3",NULL}}'),
        ("int4[]", [[], []], [[], []], "{{},{}}"),
        ("int4[]", nested(6), nested(6), '{{{{{{"1"}}}}}}'),
        (
            "text[]",
            ['a"b', "c\\d", "{,}", "", "NULL", None],
            ['a"b', "c\\d", "{,}", "", "NULL", None],
            '{"a\\"b","c\\\\d","{,}","","NULL",NULL}',
        ),
        ("bytea[]", [b"\x01"], [b"\x01"], '{"\\\\x01"}'),
        (
            "jsonb[]",
            [[1, 2], None, {"a": "b"}],
            ["[1, 2]", None, '{"a": "b"}'],
            '{"[1, 2]",NULL,"{\\"a\\": \\"b\\"}"}',
        ),
        ("jsonb[]", [[1], [2, 3]], ["[1]", "[2, 3]"], '{"[1]","[2, 3]"}'),
    ],
)
def test_fits(declared: str, value: object, normal: object, text: str) -> None:
    found, found_text = encoded(declared, value)
    assert (found, type(found)) == (normal, type(normal))
    assert found_text == text


@pytest.mark.parametrize("value", [math.nan, "nan", Decimal("NaN"), Decimal("sNaN")])
def test_nan(value: object) -> None:
    for declared in ("float4", "float8"):
        normal, text = encoded(declared, value)
        assert math.isnan(normal)
        assert text == "NaN"
    if not (isinstance(value, Decimal) and value.is_snan()):
        normal, text = encoded("numeric", value)
        assert normal.is_nan()
    assert text == "NaN"


def test_json_is_what_its_text_says() -> None:
    value = {"b": [1, 1.5, "x", None, True, {}], "a": {"c": -0.0}}
    assert json.loads(encoded("jsonb", value)[1]) == value


def test_the_callers_decimal_context_does_not_matter() -> None:
    with localcontext(Context(prec=1, Emax=1, Emin=-1, traps=[])):
        assert encoded("numeric", "123.45")[1] == "123.45"
        assert encoded("numeric", Decimal("1E+5"))[1] == "1E+5"
        assert encoded("float8", 10**40)[1] == "1e+40"
        assert encoded("float4", 1e30)[1] == "1.0000000150474662e+30"
        for declared in ("numeric", "float8"):
            with pytest.raises(ValueError, match="out of range"):
                encoded(declared, "1e99999999999999999999")


class Nanoseconds(datetime):
    """As pandas' own: it writes more digits than are hashed."""

    def isoformat(self, *args: Any) -> str:
        return super().isoformat(*args) + "999"


class BareId(UUID):
    def __str__(self) -> str:
        return self.hex


def test_a_subclass_has_no_word_of_its_own() -> None:
    moment = Nanoseconds(2007, 3, 12, 0, 0, 0, 1)
    assert encoded("timestamp", moment)[1] == "2007-03-12T00:00:00.000001"
    for declared in ("uuid", "text"):
        assert encoded(declared, BareId(int=7))[1] == str(UUID(int=7))


def test_psycopgs_json_may_bring_its_own_dumps() -> None:
    assert encoded("jsonb", Jsonb(None))[1] == "null"
    for dumped in ('{"a": 1.10}', b'{"a": 1.10}'):
        value = Jsonb(object(), dumps=lambda obj, dumped=dumped: dumped)
        assert encoded("jsonb", value)[1] == '{"a": 1.10}'
    with pytest.raises(ValueError, match="NUL"):
        encoded("jsonb", Jsonb(object(), dumps=lambda obj: '"\\u0000"'))


def test_backslashes_are_read_in_linear_time() -> None:
    """A quadratic reader would be at it for minutes."""
    assert len(encoded("jsonb", "\\" * 500_000)[1]) == 1_000_002


def test_naive_datetimes_are_placed_by_the_cluster() -> None:
    naive = datetime(2007, 7, 1, 2)
    placed = datetime(2007, 7, 1, 0, tzinfo=UTC)
    assert localized(naive, "Europe/Berlin") == placed
    assert localized([naive, None, [placed]], "Europe/Berlin") == [
        placed,
        None,
        [placed],
    ]
    assert localized(placed, None) is placed
    assert localized("infinity", None) == "infinity"
    assert localized(datetime.max, "UTC") == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "timezone", "reason"),
    [
        (datetime(2007, 3, 12), None, "naive datetime for timestamptz"),
        ([[datetime(2007, 3, 12)]], None, "naive datetime for timestamptz"),
        (datetime(2007, 3, 12, tzinfo=Nowhere()), None, "naive datetime"),
        (datetime.max, "America/New_York", "out of range for a datetime in UTC"),
    ],
)
def test_naive_datetimes_without_a_place(
    value: object, timezone: str | None, reason: str
) -> None:
    normal, _ = encoded(
        "timestamptz[]" if isinstance(value, list) else "timestamptz", value
    )
    with pytest.raises(ValueError, match=reason):
        localized(normal, timezone)
