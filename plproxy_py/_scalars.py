"""The codec of each scalar type: its normal form, and the text that is sent.

Knows how PostgreSQL reads each type, as far as a Python value can say it, and no
arrays. Whatever a codec makes can be sent: it holds neither NUL nor half a surrogate
pair, and its text is within the type's range. A value is never quoted in an error.
"""

from __future__ import annotations

import json
import math
import operator
import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, InvalidOperation
from functools import cache
from typing import Any
from uuid import UUID

from plproxy_py._record import record


class OutOfRange(ValueError):
    """A number or a moment that the type can't hold."""


@record
class Codec:
    """``normal``: a value, never None, to its normal form; ``text``: that to text.

    ``encode``: the text as it is sent.
    """

    normal: Callable[[Any], Any]
    text: Callable[[Any], str]
    encode: Callable[[Any], bytes]


def by_text(normal: Callable[[Any], Any], text: Callable[[Any], str]) -> Codec:
    """Return a codec whose text is sent as it is."""
    return Codec(normal, text, lambda value: text(value).encode())


def refusal(expected: str, value: object) -> TypeError:
    """Return the error for a value of a type that does not fit."""
    return TypeError(f"expected {expected}, got {type(value).__name__}")


def plain_str(value: str) -> str:
    """Return a str that PostgreSQL's text can hold. Raise ValueError."""
    if "\0" in value:
        raise ValueError("NUL character, which PostgreSQL's text can't hold")
    # A str subclass, an Enum member for one, may have a __str__ of its own.
    text = value if type(value) is str else str.__str__(value)
    if not text.isascii():
        _encoded(text)
    return text


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        # The original error holds the value.
        raise ValueError(f"lone surrogate at character {error.start}") from None


def _text(value: object) -> str:
    if type(value) is str and value.isascii() and "\0" not in value:
        return value
    if isinstance(value, str):
        return plain_str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, UUID):
        return str(_uuid(value))
    raise refusal("str", value)


def _name(value: object) -> str:
    # The server cuts a name at 63 bytes, between characters.
    return _text(value).encode()[:63].decode(errors="ignore")


def _char(value: object) -> str:
    text = _text(value)
    if len(text) > 1 or not text.isascii():
        raise ValueError('more than the one byte that "char" holds')
    return text


_INTEGER = re.compile(r"[+-]?[0-9]+")


def _integer(low: int, high: int, name: str) -> Callable[[object], int]:
    def normal(value: object) -> int:
        if isinstance(value, bool):
            raise refusal("int", value)
        if isinstance(value, str):
            if not _INTEGER.fullmatch(stripped := value.strip(" ")):
                raise ValueError(f"not an integer of type {name}")
            # Python refuses to read more than 4,300 digits, with a text of its own.
            number = int(stripped) if len(stripped) < 40 else high + 1
        else:
            try:
                number = operator.index(value)  # type: ignore[arg-type]
            except TypeError:
                raise refusal("int", value) from None
        if not low <= number <= high:
            raise OutOfRange(f"out of range for type {name}")
        return number

    return normal


# The caller's own context may make NaN of an exponent that is too large.
_TRAPPING = Context(traps=[InvalidOperation])


@cache
def _number_form() -> re.Pattern[str]:
    return re.compile(
        r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
        r"|[+-]?inf(?:inity)?|nan",
        re.IGNORECASE,
    )


def _number(value: object, expected: str) -> Decimal:
    """Return a value of any numeric type, or a text of one, as it is written."""
    if isinstance(value, str):
        if not _number_form().fullmatch(stripped := value.strip(" ")):
            raise ValueError("not a number")
        try:
            return Decimal(stripped, _TRAPPING)
        except InvalidOperation:
            raise OutOfRange("out of range for any numeric type") from None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise refusal(expected, value)
    return Decimal(float.__repr__(value) if isinstance(value, float) else value)


def _float8(value: object) -> float:
    if isinstance(value, float):
        return float(value)
    number = _number(value, "float")
    if number.is_nan():
        return math.nan
    narrowed = float(number)
    _check_kept(number, narrowed, "float8")
    return narrowed


def _float4(value: object) -> float:
    number = _float8(value)
    # The server keeps 24 bits: hash what it keeps.
    narrowed: float = struct.unpack("f", struct.pack("f", number))[0]
    _check_kept(number, narrowed, "float4")
    return narrowed


def _check_kept(number: Decimal | float, narrowed: float, name: str) -> None:
    # The server refuses what would become zero or infinity, and so do we.
    if (narrowed == 0 or math.isinf(narrowed)) and number != narrowed:
        raise OutOfRange(f"out of range for type {name}")


def _float_text(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _numeric(value: object) -> Decimal:
    number = _number(value, "Decimal")
    if number.is_nan():
        return Decimal("NaN")
    if number.is_infinite():
        return number
    # numeric.c: 131072 digits before the decimal point, 16383 after it.
    exponent = int(number.as_tuple().exponent)
    if number and not (exponent >= -16383 and number.adjusted() < 131072):
        raise OutOfRange("out of range for type numeric")
    return number if -16383 <= exponent < 131072 else Decimal(0)


_BOOLS = dict.fromkeys(("t", "true", "y", "yes", "on", "1"), True) | dict.fromkeys(
    ("f", "false", "n", "no", "off", "0"), False
)


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise refusal("bool", value)
    try:
        return _BOOLS[value.strip(" ").lower()]
    except KeyError:
        raise ValueError("not a boolean") from None


def _bytea(value: object) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str) and value.startswith("\\x"):
        return bytes.fromhex(value[2:])
    raise refusal("bytes", value)


_INFINITIES = ("infinity", "-infinity")


def _moment(
    cls: type[Any], name: str, check: Callable[[Any], Any]
) -> Callable[[object], Any]:
    """Make the normal form of a date or time type; a str is read as ISO 8601."""

    def normal(value: object) -> Any:
        if isinstance(value, str):
            text = value.strip(" ")
            if cls is not time and text.lower() in _INFINITIES:
                return text.lower()
            try:
                value = cls.fromisoformat(text)
            except ValueError:
                raise ValueError(f"not an ISO 8601 value of type {name}") from None
        # A datetime is a date to Python: its hours would be lost without a word.
        elif not isinstance(value, cls) or (
            cls is date and isinstance(value, datetime)
        ):
            raise refusal(cls.__name__, value)
        return check(value)

    return normal


def _naive(value: Any) -> Any:
    if value.tzinfo is not None:
        raise ValueError("a time zone for a type without one")
    return value


def utc(value: datetime) -> datetime:
    """Return an aware datetime in UTC; a naive one can't be placed here."""
    if value.utcoffset() is None:
        return value
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise OutOfRange("out of range for a datetime in UTC") from None


_WIDEST_OFFSET = timedelta(hours=16)


def _offset(value: time) -> time:
    offset = value.utcoffset()
    if offset is None:
        raise ValueError("a time without a fixed offset for timetz")
    if abs(offset) >= _WIDEST_OFFSET or offset.microseconds:
        raise ValueError("an offset that timetz can't hold")
    return value


def _iso(cls: type[Any]) -> Callable[[Any], str]:
    # A subclass may write more digits than are hashed: pandas has nanoseconds.
    return lambda value: value if isinstance(value, str) else cls.isoformat(value)


def _interval(value: object) -> timedelta | str:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return plain_str(value)
    raise refusal("timedelta", value)


def _interval_text(value: timedelta | str) -> str:
    if isinstance(value, str):
        return value
    # Without the plus, a session of the SQL standard's style takes the sign of the
    # days for that of the whole.
    return f"{value.days} days +{value.seconds}.{value.microseconds:06} seconds"


# Python would also read underscores, and hyphens anywhere.
_UUID = re.compile(r"(\{)?[0-9a-fA-F]{4}(?:-?[0-9a-fA-F]{4}){7}(?(1)\})")


def _uuid(value: object) -> UUID:
    if isinstance(value, UUID):
        return value if type(value) is UUID else UUID(int=value.int)
    if not isinstance(value, str):
        raise refusal("UUID", value)
    if not _UUID.fullmatch(value):
        raise ValueError("not a uuid")
    return UUID(value)


_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _json(value: Any) -> str:
    if type(value).__module__ == "psycopg.types.json":
        # Json(...) and Jsonb(...) say what we know already, but for how to dump.
        if value.dumps is not None:
            text = value.dumps(value.obj)
            return plain_str(text if isinstance(text, str) else text.decode())
        value = value.obj
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except TypeError:
        raise TypeError("a value that JSON does not know") from None
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    except ValueError:
        raise ValueError(
            "a value within itself, NaN, infinity or thousands of digits, which JSON "
            "can't hold"
        ) from None
    return plain_str(text)


def _jsonb(value: Any) -> str:
    text = _json(value)
    if _ESCAPED_NUL.search(text):
        raise ValueError("NUL character, which jsonb can't hold")
    return text


def _same(value: str) -> str:
    return value


SCALARS = {
    "text": Codec(_text, _same, str.encode),
    "varchar": Codec(_text, _same, str.encode),
    "bpchar": Codec(_text, _same, str.encode),
    "name": Codec(_name, _same, str.encode),
    '"char"': by_text(_char, _same),
    "int2": Codec(_integer(-(2**15), 2**15 - 1, "int2"), str, b"%d".__mod__),
    "int4": Codec(_integer(-(2**31), 2**31 - 1, "int4"), str, b"%d".__mod__),
    "int8": Codec(_integer(-(2**63), 2**63 - 1, "int8"), str, b"%d".__mod__),
    "oid": by_text(_integer(0, 2**32 - 1, "oid"), str),
    "float4": by_text(_float4, _float_text),
    "float8": by_text(_float8, _float_text),
    "numeric": by_text(_numeric, str),
    "bool": by_text(_bool, lambda value: "t" if value else "f"),
    "bytea": by_text(_bytea, lambda value: "\\x" + value.hex()),
    "date": by_text(_moment(date, "date", lambda value: value), _iso(date)),
    "time": by_text(_moment(time, "time", _naive), _iso(time)),
    "timetz": by_text(_moment(time, "timetz", _offset), _iso(time)),
    "timestamp": by_text(_moment(datetime, "timestamp", _naive), _iso(datetime)),
    "timestamptz": by_text(_moment(datetime, "timestamptz", utc), _iso(datetime)),
    "interval": by_text(_interval, _interval_text),
    "uuid": by_text(_uuid, str),
    "json": by_text(_json, _same),
    "jsonb": by_text(_jsonb, _same),
}
