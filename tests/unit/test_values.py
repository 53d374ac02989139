"""Values of any Python type → what is hashed, and what is sent."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Context, Decimal, localcontext
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

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
        ("int4", -(2**31), -(2**31), "-2147483648"),
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


@pytest.mark.parametrize(
    ("declared", "value", "reason"),
    [
        *(
            (declared, True, "got bool")
            for declared in "text int2 int4 int8 oid float4 float8 numeric".split()
        ),
        *(
            (declared, object(), "got object")
            for declared in (
                'text varchar bpchar name "char" int2 int4 int8 oid float4 float8 '
                "numeric bool bytea date time timetz timestamp timestamptz interval "
                "uuid int4[] jsonb[]"
            ).split()
        ),
        ("text", 1.5, "expected str, got float"),
        ("text", b"a", "expected str, got bytes"),
        ("int4", 1.0, "expected int, got float"),
        ("int4", Decimal(1), "expected int, got Decimal"),
        ("float8", "".join, "expected float, got builtin_function"),
        ("bool", 1, "expected bool, got int"),
        ("bytea", "ab", "expected bytes, got str"),
        ("date", datetime(2007, 3, 12), "expected date, got datetime"),
        ("timestamp", date(2007, 3, 12), "expected datetime, got date"),
        ("uuid", 7, "expected UUID, got int"),
        ("jsonb", {1, 2}, "a value that JSON does not know"),
        ("jsonb", {(1,): 2}, "a value that JSON does not know"),
        ("jsonb", Decimal(1), "a value that JSON does not know"),
        ("int4[]", "{1}", r"expected a list for int4\[\], got str"),
        ("int4[]", [[1], 2], r"expected a list for int4\[\], got int"),
        ("int4[]", [[1], None], r"expected a list for int4\[\], got NoneType"),
        ("jsonb[]", {}, r"expected a list for jsonb\[\], got dict"),
    ],
)
def test_another_type(declared: str, value: object, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        encoded(declared, value)


@pytest.mark.parametrize(
    ("declared", "value", "reason"),
    [
        ("text", "a\0b", "NUL character"),
        ("interval", "1\0", "NUL character"),
        ("text", "a\ud800", "lone surrogate at character 1"),
        ("name", "\ud83d\ude00", "lone surrogate at character 0"),
        ("interval", "\udfff", "lone surrogate at character 0"),
        ("json", ["\ud800"], "lone surrogate at character 2"),
        ("jsonb", {"\ud800": 1}, "lone surrogate at character 2"),
        ("text[]", ["\ud800"], "lone surrogate"),
        ('"char"', "ab", "more than the one byte"),
        ('"char"', "é", "more than the one byte"),
        ("int2", 2**15, "out of range for type int2"),
        ("int4", -(2**31) - 1, "out of range for type int4"),
        ("int8", 2**63, "out of range for type int8"),
        ("oid", -1, "out of range for type oid"),
        ("int4", "9" * 5000, "out of range for type int4"),
        ("int4", "", "not an integer of type int4"),
        ("int4", "1.0", "not an integer of type int4"),
        ("int4", "1_0", "not an integer of type int4"),
        ("int4", "\u0663", "not an integer of type int4"),
        ("float8", "", "not a number"),
        ("float8", "1_0", "not a number"),
        ("numeric", "0x10", "not a number"),
        # what the server refuses, and Python would make zero or infinity
        ("float8", "1e400", "out of range for type float8"),
        ("float8", "-1e-400", "out of range for type float8"),
        ("float8", Decimal("1e400"), "out of range for type float8"),
        ("float8", 10**400, "out of range for type float8"),
        ("float8", "1e99999999999999999999", "out of range"),
        ("float4", 1e39, "out of range for type float4"),
        ("float4", -1e39, "out of range for type float4"),
        ("float4", 1e-50, "out of range for type float4"),
        ("numeric", Decimal("1e131072"), "out of range for type numeric"),
        ("numeric", Decimal("1e-16384"), "out of range for type numeric"),
        ("numeric", Decimal("1.5e-16383"), "out of range for type numeric"),
        ("numeric", "1e99999999999999999999", "out of range"),
        ("bool", "maybe", "not a boolean"),
        ("bytea", "\\xfg", "hexadecimal"),
        ("date", "12.3.2007", "not an ISO 8601 value of type date"),
        ("time", "infinity", "not an ISO 8601 value of type time"),
        ("timestamp", "yesterday", "not an ISO 8601 value of type timestamp"),
        ("time", time(1, tzinfo=UTC), "a time zone for a type without one"),
        ("timestamp", "2007-03-12T00:00Z", "a time zone for a type without one"),
        ("timetz", time(1), "without a fixed offset"),
        ("timetz", time(1, tzinfo=ZoneInfo("Europe/Berlin")), "without a fixed offset"),
        ("timetz", time(1, tzinfo=timezone(timedelta(hours=16))), "can't hold"),
        ("timetz", time(1, tzinfo=timezone(timedelta(hours=-16))), "can't hold"),
        ("timetz", time(1, tzinfo=timezone(timedelta(microseconds=1))), "can't hold"),
        ("timestamptz", datetime.min.replace(tzinfo=EAST), "out of range"),
        ("uuid", "", "not a uuid"),
        ("uuid", "urn:uuid:" + str(A_UUID), "not a uuid"),
        ("uuid", "{" + str(A_UUID), "not a uuid"),
        ("uuid", "1_3e4567e89b12d3a456426614174000", "not a uuid"),
        ("uuid", "12-3e4567e89b12d3a456426614174000", "not a uuid"),
        ("jsonb", math.nan, "which JSON can't hold"),
        ("jsonb", [math.inf], "which JSON can't hold"),
        ("jsonb", 10**5000, "which JSON can't hold"),
        ("jsonb", ["\0"], "NUL character, which jsonb can't hold"),
        ("jsonb", {"\\\0": 1}, "NUL character, which jsonb can't hold"),
        ("json", nested(100_000), "nested too deep"),
        ("int4[]", [[1], [2, 3]], "sub-arrays of different lengths"),
        ("int4[]", [[[1]], [[2, 3]]], "sub-arrays of different lengths"),
        ("int4[]", [[1], [[2]]], "sub-arrays of different lengths"),
        ("int4[]", nested(7), "more than 6 dimensions"),
        ("int4[]", nested(100_000), "more than 6 dimensions"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_out_of_range(declared: str, value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        encoded(declared, value)
    # Nobody wants to find a key in a log, least of all a secret one.
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("declared", ["int4[]", "json", "jsonb"])
def test_a_list_within_itself(declared: str) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match=r"itself|dimensions"):
        encoded(declared, endless)


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
