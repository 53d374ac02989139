"""Values that nobody should pass: extreme, endless, of the wrong type, or lying.

Each is made anew by its factory, since a generator serves only once. What may become
of one: psycopg's own answer, or an error that names function and argument.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

import psycopg
from psycopg.types.json import Json

from plproxy_py import Error

Factories = dict[str, Callable[[], Any]]

TYPES = (
    'text varchar bpchar name "char" int2 int4 int8 oid float4 float8 numeric bool '
    "bytea date time timetz timestamp timestamptz interval uuid json jsonb text[] "
    "int4[] int8[] float8[] numeric[] bytea[] uuid[] date[] jsonb[]"
).split()
# Their values go through psycopg's adapters, and texts as they are.
FOREIGN_TYPES = "inet point int4range xml int4range[]".split()


def raising(*names: str) -> Any:
    """Return the methods of a class that raise whenever they are asked."""

    def method(*_: Any) -> NoReturn:
        raise RuntimeError("a value that does not want to be looked at")

    return dict.fromkeys(names, method)


_LOOKS = "__str__ __repr__ __eq__ __hash__ __index__ __bool__ __iter__ __len__ __int__"
Boom = type("Boom", (), raising(*_LOOKS.split(), "__float__", "__format__"))
RaisingStr = type(
    "RaisingStr", (str,), raising("__contains__", "strip", "isascii", "encode", "lower")
)
RaisingInt = type("RaisingInt", (int,), raising("__le__", "__ge__", "__index__"))
RaisingFloat = type("RaisingFloat", (float,), raising("__float__", "__repr__"))
RaisingDecimal = type(
    "RaisingDecimal", (Decimal,), raising("as_tuple", "is_nan", "adjusted", "__bool__")
)
RaisingBytes = type("RaisingBytes", (bytes,), raising("__bytes__", "hex", "__len__"))
RaisingList = type("RaisingList", (list,), raising("__iter__", "__len__"))
RaisingDict = type("RaisingDict", (dict,), raising("items", "__iter__", "__len__"))
RaisingDate = type("RaisingDate", (date,), raising("isoformat", "__str__"))
RaisingZone = type("RaisingZone", (tzinfo,), raising("utcoffset", "dst", "tzname"))


class LyingStr(str):
    def __str__(self) -> str:
        return "another"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 5


class LyingInt(int):
    def __str__(self) -> str:
        return "99"

    __repr__ = __str__


class LyingFloat(float):
    def __repr__(self) -> str:
        return "nonsense"


class LyingDecimal(Decimal):
    def __str__(self) -> str:
        return "nonsense"


class LyingBytes(bytes):
    def hex(self, *_: Any) -> str:
        return "zz"


class LyingList(list[Any]):
    def __len__(self) -> int:
        return 10**9


class LyingUUID(UUID):
    def __str__(self) -> str:
        return "nonsense"


class HugeIndex:
    def __index__(self) -> int:
        return 2**100


class TextIndex:
    def __index__(self) -> Any:
        return "7"


class FarZone(tzinfo):
    """PostgreSQL and Python end at other offsets than this."""

    def utcoffset(self, moment: datetime | None, /) -> timedelta:
        return timedelta(days=5)

    dst = utcoffset

    def tzname(self, moment: datetime | None, /) -> str:
        return "far"


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def endless_list() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def endless_dict() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["within"] = value
    return value


EAST = timezone(timedelta(hours=14))
VALUES: Factories = {
    "NUL": lambda: "a\0b",
    "lone surrogate": lambda: "a\ud800",
    "two surrogates": lambda: "\ud83d\ude00",
    "astral": lambda: "\U0001f600\u0301",
    "a thousand letters": lambda: "x" * 1000,
    "quotes": lambda: "'\"\\{},NULL()$$;--",
    "empty text": str,
    "10,000 digits": lambda: Decimal("7" * 10_000),
    "10,000 digits in a text": lambda: "7" * 10_000,
    "10,000 digits of an int": lambda: 10**9_999,
    "10,000 decimals": lambda: Decimal("0." + "3" * 10_000),
    "1e400": lambda: Decimal("1e400"),
    "1e131072": lambda: Decimal("1e131072"),
    "signalling NaN": lambda: Decimal("sNaN"),
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "-inf": lambda: -math.inf,
    "-0.0": lambda: -0.0,
    "least float": lambda: 5e-324,
    "1e308": lambda: 1e308,
    "2**15": lambda: 2**15,
    "2**31": lambda: 2**31,
    "2**63": lambda: 2**63,
    "-2**63": lambda: -(2**63),
    "true": lambda: True,
    "infinity": lambda: "infinity",
    "-infinity": lambda: "-infinity",
    "BC": lambda: "0044-03-15 BC",
    "year 10000": lambda: "10000-01-01",
    "first date": lambda: date.min,
    "last date": lambda: date.max,
    "first moment": lambda: datetime.min,
    "first moment in the east": lambda: datetime.min.replace(tzinfo=EAST),
    "last moment": lambda: datetime.max.replace(tzinfo=timezone.utc),  # noqa: UP017
    "offset of five days": lambda: datetime(2000, 1, 1, tzinfo=FarZone()),
    "time in the east": lambda: time(23, 59, 59, 999_999, EAST),
    "longest": lambda: timedelta.max,
    "longest back": lambda: timedelta.min,
    "generator": lambda: (number for number in range(3)),
    "map": lambda: map(str, [1]),
    "range": lambda: range(3),
    "set": lambda: {1, 2},
    "type": lambda: int,
    "function": lambda: print,
    "ellipsis": lambda: ...,
    "NotImplemented": lambda: NotImplemented,
    "an exception": lambda: ValueError("x"),
    "complex": lambda: 1j,
    "object": object,
    "bytes": lambda: b"\xff\x00",
    "bytearray": lambda: bytearray(b"\xff\x00"),
    "every second byte": lambda: memoryview(b"abcdef")[::2],
    "memoryview of ints": lambda: memoryview(bytearray(8)).cast("I"),
    "huge index": HugeIndex,
    "index of text": TextIndex,
    "lying str": lambda: LyingStr("7"),
    "lying int": lambda: LyingInt(7),
    "lying float": lambda: LyingFloat(1.5),
    "lying Decimal": lambda: LyingDecimal("1.5"),
    "lying bytes": lambda: LyingBytes(b"ab"),
    "lying list": lambda: LyingList([1, 2]),
    "lying UUID": lambda: LyingUUID(int=5),
    "empty list": list,
    "list of NULL": lambda: [None],
    "ragged": lambda: [[1], [2, 3]],
    "empty lists": lambda: [[], []],
    "NaN in a list": lambda: [math.nan, math.inf],
    "NUL in a list": lambda: ["a", "\0"],
    "surrogate in a list": lambda: ["a", "\ud800"],
    "7 levels": lambda: nested(7),
    "500 levels": lambda: nested(500),
    "10,000 levels": lambda: nested(10_000),
    "900 objects": lambda: json.loads('{"a":' * 900 + "1" + "}" * 900),
    "list within itself": endless_list,
    "dict within itself": endless_dict,
    "no JSON": lambda: {"a": object()},
    "keys of JSON": lambda: {(1, 2): 3},
}
# Each raises an error of its own as soon as it is looked at.
RAISING: Factories = {
    "everything": Boom,
    "list of it": lambda: [Boom()],
    "str": lambda: RaisingStr("7"),
    "int": lambda: RaisingInt(7),
    "float": lambda: RaisingFloat(1.5),
    "Decimal": lambda: RaisingDecimal("1.5"),
    "bytes": lambda: RaisingBytes(b"ab"),
    "list": lambda: RaisingList([1, 2]),
    "dict": lambda: RaisingDict(a=1),
    "date": lambda: RaisingDate(2000, 1, 1),
    "datetime": lambda: datetime(2000, 1, 1, tzinfo=RaisingZone()),
    "time": lambda: time(1, tzinfo=RaisingZone()),
}
# What we make of values that psycopg can't dump.
BETTER = {
    ('"char"', "lying int"): "7",
    ("float4", "lying Decimal"): "1.5",
    ("float8", "lying Decimal"): "1.5",
    ("numeric", "lying Decimal"): "1.5",
    ("bytea", "every second byte"): "\\x616365",
}


def by_psycopg(session: psycopg.Connection[Any], type: str, value: Any) -> Any:
    """Return the type's text of a value as psycopg sends it, None where it can't."""
    if type in ("json", "jsonb"):
        value = Json(value)
    elif type == "jsonb[]" and isinstance(value, list):
        value = [None if item is None else Json(item) for item in value]
    try:
        row = session.execute(f"SELECT %s::{type}::text".encode(), [value]).fetchone()
    except Exception:
        return None
    assert row is not None
    return row[0]


def same(type: str, left: str, right: str) -> bool:
    """Whether two texts of the type are one value, written in two ways."""
    if type == "json":
        return bool(json.loads(left) == json.loads(right))
    # psycopg sends a float as a float8, which the server cuts to 15 digits.
    return type == "numeric" and (
        Decimal(left) == Decimal(right) or float(left) == float(right)
    )


def check(
    answer: Any, type: str, name: str, session: psycopg.Connection[Any] | None
) -> str | None:
    """Return what is wrong with an answer."""
    if isinstance(answer, Error):
        return None
    if isinstance(answer, (TypeError, ValueError)):
        text = str(answer)
        if text.startswith("public.f(1): argument v (") and len(text) < 250:
            return None
        return f"{type}, {name}: {text[:250]}"
    if isinstance(answer, Exception):
        return f"{type}, {name}: {answer.__class__.__name__}"
    assert session is not None
    right = by_psycopg(session, type, VALUES[name]())
    if right is None:
        right = BETTER.get((type, name))
    if right is not None and (answer == right or same(type, answer, right)):
        return None
    return f"{type}, {name}: {answer[:50]!r} and not {str(right)[:50]!r}"
