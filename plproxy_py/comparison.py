"""How PostgreSQL compares values of a type, told from the text that it sends.

A key turns a value's wire text into something that Python compares, or only hashes,
as the type's default operators do. Values that psycopg loaded are left alone: a user's
adapter must not change an order. The texts are those of PostgreSQL 14 and later in a
UTF8 session with DateStyle ISO, IntervalStyle postgres and bytea_output hex; TimeZone
may differ between sessions. Source: PostgreSQL utils/adt, the ``_cmp`` function of each
type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from plproxy_py.errors import ResultError, SignatureError
from plproxy_py.language.sqltokens import Cursor, words
from plproxy_py.pgtypes import PgType

Key = Callable[[bytes], Any]

# Each sorts by the bytes of its UTF-8, whatever the server's platform.
BYTEWISE = ("C", "POSIX", "ucs_basic")

_DATE = r"(\d{4,})-(\d\d)-(\d\d)"
_TIME = r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?"
_OFFSET = r"([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?"


@cache
def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode())


_MOMENT = r"(\d{4,})(-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d{1,6})?)?)( BC)?"
_TIMESTAMPTZ = f"{_DATE} {_TIME}{_OFFSET}( BC)?"
_TIMETZ = _TIME + _OFFSET
_INTERVAL = (
    r"(?:([+-]?\d+) years? ?)?(?:([+-]?\d+) mons? ?)?(?:([+-]?\d+) days? ?)?"
    r"(?:([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?"
)
_FIRST_DAY = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INFINITE = {b"infinity": math.inf, b"-infinity": -math.inf}

# One object each: tuples take a NaN for equal to itself only if it is the same one.
_NAN = (True, math.nan)
_NUMERIC_NAN = (True, Decimal("NaN"))


def _float(text: bytes) -> tuple[bool, float]:
    value = float(text)
    return _NAN if math.isnan(value) else (False, value)


def _numeric(text: bytes) -> tuple[bool, Decimal]:
    value = Decimal(text.decode())
    return _NUMERIC_NAN if value.is_nan() else (False, value)


def _bpchar(text: bytes) -> bytes:
    return text.rstrip(b" ")


def _bytea(text: bytes) -> bytes:
    if not text.startswith(b"\\x"):
        raise _unreadable("bytea", "bytea_output is not hex")
    return text


def _moment(text: bytes) -> tuple[float, bytes]:
    """Return the year, below 0 for BC, and the rest, whose bytes are in order."""
    if match := _compiled(_MOMENT).fullmatch(text):
        year, rest, bc = match.groups()
        return (-int(year) if bc else int(year)), rest
    return _infinite(text, "date or timestamp", "DateStyle is not ISO"), b""


def _timestamptz(text: bytes) -> float:
    """Return microseconds from the first day of year 1 on, in UTC."""
    try:
        # 3 us a value; the fields by themselves take 12.
        return (datetime.fromisoformat(text.decode()) - _FIRST_DAY) // _MICROSECOND
    except ValueError:
        # Years before 1 and behind 9999 are none of Python's.
        match = _compiled(_TIMESTAMPTZ).fullmatch(text)
    if not match:
        return _infinite(text, "timestamptz", "DateStyle is not ISO")
    year, month, day, *clock, bc = match.groups()
    days = _days(1 - int(year) if bc else int(year), int(month), int(day))
    return days * 86_400_000_000 + _microseconds(*clock[:4]) - _offset(*clock[4:])


def _timetz(text: bytes) -> tuple[int, int]:
    """Return the time in UTC; of equal ones, the zone further east comes first."""
    if match := _compiled(_TIMETZ).fullmatch(text):
        clock = match.groups()
        offset = _offset(*clock[4:])
        return _microseconds(*clock[:4]) - offset, -offset
    raise _unreadable("timetz", "DateStyle is not ISO")


def _interval(text: bytes) -> float:
    """Return microseconds, where a month has 30 days and a day 24 hours."""
    if match := _compiled(_INTERVAL).fullmatch(text):
        years, months, days, sign, *clock = match.groups()
        time = _microseconds(*clock)
        days = int(years or 0) * 360 + int(months or 0) * 30 + int(days or 0)
        return days * 86_400_000_000 + (-time if sign == b"-" else time)
    return _infinite(text, "interval", "IntervalStyle is not postgres")


def _days(year: int, month: int, day: int) -> int:
    """Return the days since the first of year 1; 0 is 1 BC."""
    # A year that begins in March has its leap day at the end.
    year, month = year - (month < 3), (month + 9) % 12
    leap_days = year // 4 - year // 100 + year // 400
    return 365 * year + leap_days + (153 * month + 2) // 5 + day - 307


def _microseconds(
    hours: bytes | None,
    minutes: bytes | None,
    seconds: bytes | None,
    rest: bytes | None,
) -> int:
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole * 1_000_000 + int((rest or b"0").ljust(6, b"0"))


def _offset(sign: bytes, hours: bytes, minutes: bytes, seconds: bytes) -> int:
    size = _microseconds(hours, minutes, seconds, None)
    return -size if sign == b"-" else size


def _infinite(text: bytes, type: str, reason: str) -> float:
    if text in _INFINITE:
        return _INFINITE[text]
    raise _unreadable(type, reason)


def _unreadable(type: str, reason: str) -> ResultError:
    return ResultError(f"a {type} that can't be compared came: the session's {reason}")


_KEYS: dict[str, Key] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), int),
    **dict.fromkeys(("float4", "float8"), _float),
    **dict.fromkeys(("date", "timestamp"), _moment),
    # Digits in lower case, and prefixes first: bytes are in order.
    **dict.fromkeys(("uuid", "time"), bytes),
    "numeric": _numeric,
    "bool": b"t".__eq__,
    "bytea": _bytea,
    "timestamptz": _timestamptz,
    "timetz": _timetz,
    "interval": _interval,
}
_TEXT_KEYS: dict[str, Key] = {
    **dict.fromkeys(("text", "varchar", "name"), bytes),
    "bpchar": _bpchar,
}
# Equal values of these have equal texts, on all servers and in arrays too.
_CANONICAL = words(
    """
    int2 int4 int8 oid bool text varchar name "char" uuid bytea date time timestamp
    inet cidr macaddr macaddr8 "bit" varbit
    """
)


def comparable(type: PgType, collation: str | None = None) -> Key:
    """Return a key that sorts as the type's default btree does.

    ``collation`` is an unquoted name, for text only; a ``name`` has "C" by itself.
    Raise `SignatureError` where only a server knows the order.
    """
    if type.is_array or type.name not in _KEYS | _TEXT_KEYS:
        raise SignatureError(
            f"{type.cast} can't be sorted here, only its server knows how: let the "
            "function return a sort key of another type"
        )
    if type.name not in _TEXT_KEYS:
        if collation is not None:
            raise SignatureError(f"{type.cast} has no collations")
        return _KEYS[type.name]
    if collation is None and type.name != "name":
        raise SignatureError(
            f"{type.cast} is sorted by a collation that only its server knows: write "
            'COLLATE "C", or let the function return a sort key'
        )
    if collation is not None and collation not in BYTEWISE:
        raise SignatureError(
            f'collation "{collation}" is known to its server only: write COLLATE "C", '
            "or let the function return a sort key"
        )
    return _TEXT_KEYS[type.name]


def distinguishable(type: PgType) -> Key:
    """Return a hashable key that is equal where PostgreSQL's ``=`` says so.

    Texts are equal if their bytes are, as under any deterministic collation. Raise
    `SignatureError` for types without equality, and where only a server knows it.
    """
    if type.name in _CANONICAL:
        return bytes
    if type.is_array or type.name not in _KEYS | _TEXT_KEYS:
        reason = (
            "has no equality" if type.name == "json" else "is known to servers only"
        )
        raise SignatureError(
            f"{type.cast} can't be told apart here, since its equality "
            f"{reason}: let the function return a key of another type"
        )
    return (_KEYS | _TEXT_KEYS)[type.name]


def read_collation(cursor: Cursor) -> str | None:
    """Take ``COLLATE name`` if it comes next; return the name, unquoted."""
    if not cursor.accept("collate"):
        return None
    name = cursor.label()
    if name == "pg_catalog" and cursor.accept("."):
        name = cursor.label()
    return name
