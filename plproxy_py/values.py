"""The one normal form of an argument, both hashed and sent.

A `Codec` turns any Python value that fits a declared type into the type's normal
form (``normal``: what hash functions take) and that form into the text which
PostgreSQL reads behind ``$n::type`` (``text``). Since both the partition and the
parameter come from the same form, Python and the server agree on where a key lives.
Types that only a server or an adapter knows have no codec: a str passes as it is,
anything else waits for psycopg's adapters.

Knows no function and no argument name: whoever calls adds them to the TypeError or
ValueError raised here.
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from plproxy_py.pgtypes import PgType


@dataclass(frozen=True, slots=True)
class Codec:
    """``normal``: a value, never None, to its normal form; ``text``: that to text."""

    normal: Callable[[Any], Any]
    text: Callable[[Any], str]


def codec(type: PgType) -> Codec | None:
    """Return the codec of a declared type, None for types only a server knows."""
    base = _CODECS.get(type.name)
    if base is None or not type.is_array:
        return base
    return Codec(_array_normal(type, base.normal), _array_text(base.text))


def opaque(value: Any, is_array: bool = False) -> Any:
    """Return the value for a type without a codec; a str is checked for NUL.

    A dataclass becomes the tuple of its fields, which adapters dump as a composite, a
    tuple for an array type a list.
    """
    if isinstance(value, str):
        return _plain_str(value)
    if is_array and isinstance(value, (list, tuple)):
        return [opaque(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return tuple(opaque(getattr(value, field.name)) for field in fields)
    return value


def wire(text: str) -> bytes:
    """Return the bytes to send. Raise ValueError where UTF-8 can't hold the text."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        # The original error would quote the value.
        raise ValueError(f"lone surrogate at character {error.start}") from None


def localized(value: Any, timezone: str | None) -> Any:
    """Return a timestamptz normal form with naive datetimes placed in ``timezone``.

    Raise ValueError where there is none: on two sessions a naive one would be two
    instants.
    """
    if isinstance(value, list):
        return [localized(item, timezone) for item in value]
    if not isinstance(value, datetime) or value.tzinfo is not None:
        return value
    if timezone is None:
        raise ValueError(
            "naive datetime for timestamptz: give it a tzinfo, or set the "
            "cluster's timezone"
        )
    return _utc(value.replace(tzinfo=ZoneInfo(timezone)))


def _refuse(expected: str, value: object) -> TypeError:
    return TypeError(f"expected {expected}, got {type(value).__name__}")


def _plain_str(value: str) -> str:
    if "\0" in value:
        raise ValueError("NUL character, which PostgreSQL's text can't hold")
    # A str subclass, an Enum member for one, may have a __str__ of its own.
    return value if type(value) is str else str.__str__(value)


def _text(value: object) -> str:
    if isinstance(value, str):
        return _plain_str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, UUID):
        return str(value)
    raise _refuse("str", value)


def _name(value: object) -> str:
    # The server cuts a name at 63 bytes, between characters.
    return wire(_text(value))[:63].decode(errors="ignore")


def _char(value: object) -> str:
    text = _text(value)
    if len(text) > 1 or not text.isascii():
        raise ValueError('more than the one byte that "char" holds')
    return text


_INTEGER = re.compile(r"[+-]?[0-9]+")


def _integer(low: int, high: int, name: str) -> Callable[[object], int]:
    def normal(value: object) -> int:
        if isinstance(value, bool):
            raise _refuse("int", value)
        if isinstance(value, str):
            if not _INTEGER.fullmatch(stripped := value.strip(" ")):
                raise ValueError(f"not an integer of type {name}")
            # Python refuses to read more than 4,300 digits, with a text of its own.
            number = int(stripped) if len(stripped) < 40 else high + 1
        else:
            try:
                number = operator.index(value)  # type: ignore[arg-type]
            except TypeError:
                raise _refuse("int", value) from None
        if not low <= number <= high:
            raise ValueError(f"out of range for type {name}")
        return number

    return normal


_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf(?:inity)?|nan",
    re.IGNORECASE,
)


def _float8(value: object) -> float:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(stripped := value.strip(" ")):
            raise ValueError("not a number")
        return float(stripped)
    if isinstance(value, bool) or not isinstance(value, (float, int, Decimal)):
        raise _refuse("float", value)
    try:
        return float(value)
    except OverflowError:
        raise ValueError("out of range for type float8") from None


def _float4(value: object) -> float:
    number = _float8(value)
    try:
        # The server keeps 24 bits: hash what it keeps.
        narrowed: float = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        raise ValueError("out of range for type float4") from None
    return narrowed


def _float_text(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _numeric(value: object) -> Decimal:
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _refuse("Decimal", value)
    elif isinstance(value, str):
        if not _NUMBER.fullmatch(stripped := value.strip(" ")):
            raise ValueError("not a number")
        number = _decimal(stripped)
    elif isinstance(value, float):
        number = Decimal(float.__repr__(value))
    else:
        number = Decimal(value)
    if number.is_nan():
        return Decimal("NaN")
    # numeric.c: 131072 digits before the decimal point, 16383 after it.
    if number.is_finite() and not -16383 <= number.adjusted() < 131072:
        if number:
            raise ValueError("out of range for type numeric")
        return Decimal(0)
    return number


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("out of range for type numeric") from None


_BOOLS = dict.fromkeys(("t", "true", "y", "yes", "on", "1"), True) | dict.fromkeys(
    ("f", "false", "n", "no", "off", "0"), False
)


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise _refuse("bool", value)
    try:
        return _BOOLS[value.strip(" ").lower()]
    except KeyError:
        raise ValueError("not a boolean") from None


def _bytea(value: object) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str) and value.startswith("\\x"):
        return bytes.fromhex(value[2:])
    raise _refuse("bytes", value)


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
                return check(cls.fromisoformat(text))
            except ValueError:
                raise ValueError(f"not an ISO 8601 value of type {name}") from None
        # A datetime is a date to Python: its hours would be lost without a word.
        if not isinstance(value, cls) or (cls is date and isinstance(value, datetime)):
            raise _refuse(cls.__name__, value)
        return check(value)

    return normal


def _naive(value: Any) -> Any:
    if value.tzinfo is not None:
        raise ValueError("a time zone for a type without one")
    return value


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        return value  # `localized` places it, once the cluster is known
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range for a datetime in UTC") from None


def _offset(value: time) -> time:
    if value.utcoffset() is None:
        raise ValueError("a time without a fixed offset for timetz")
    return value


def _iso(value: Any) -> str:
    return value if isinstance(value, str) else str(value.isoformat())


def _interval(value: object) -> timedelta | str:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return _plain_str(value)
    raise _refuse("timedelta", value)


def _interval_text(value: timedelta | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value.days} days {value.seconds}.{value.microseconds:06} seconds"


def _uuid(value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str):
        raise _refuse("UUID", value)
    try:
        return UUID(value)
    except ValueError:
        raise ValueError("not a uuid") from None


_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _json(value: Any) -> str:
    if type(value).__module__ == "psycopg.types.json":
        value = value.obj  # Json(...) and Jsonb(...) say what we know already
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except TypeError:
        raise TypeError("a value that JSON does not know") from None
    except RecursionError:
        raise ValueError("JSON nested too deep, or within itself") from None
    except ValueError:
        raise ValueError("NaN or infinity, or a value within itself") from None


def _jsonb(value: Any) -> str:
    text = _json(value)
    if _ESCAPED_NUL.search(text):
        raise ValueError("NUL character, which jsonb can't hold")
    return text


def _array_normal(
    type: PgType, normal: Callable[[Any], Any]
) -> Callable[[object], list[Any]]:
    def array(value: object) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise _refuse(f"a list for {type.cast}", value)
        nested = [isinstance(item, (list, tuple)) for item in value]
        if not any(nested):
            return [None if item is None else normal(item) for item in value]
        if not all(nested) or len({len(item) for item in value}) > 1:
            raise ValueError("sub-arrays of different lengths")
        return [array(item) for item in value]

    def json_array(value: object) -> list[Any]:
        # A list inside is a JSON array, not a second dimension.
        if not isinstance(value, (list, tuple)):
            raise _refuse(f"a list for {type.cast}", value)
        return [None if item is None else normal(item) for item in value]

    return json_array if type.name in ("json", "jsonb") else array


_QUOTED = str.maketrans({'"': '\\"', "\\": "\\\\"})


def _array_text(text: Callable[[Any], str]) -> Callable[[list[Any]], str]:
    def item_text(item: Any) -> str:
        if item is None:
            return "NULL"
        if isinstance(item, list):
            return array(item)
        return f'"{text(item).translate(_QUOTED)}"'

    def array(items: list[Any]) -> str:
        return "{" + ",".join([item_text(item) for item in items]) + "}"

    return array


def _same(value: str) -> str:
    return value


_CODECS = {
    "text": Codec(_text, _same),
    "varchar": Codec(_text, _same),
    "bpchar": Codec(_text, _same),
    "name": Codec(_name, _same),
    '"char"': Codec(_char, _same),
    "int2": Codec(_integer(-(2**15), 2**15 - 1, "int2"), str),
    "int4": Codec(_integer(-(2**31), 2**31 - 1, "int4"), str),
    "int8": Codec(_integer(-(2**63), 2**63 - 1, "int8"), str),
    "oid": Codec(_integer(0, 2**32 - 1, "oid"), str),
    "float4": Codec(_float4, _float_text),
    "float8": Codec(_float8, _float_text),
    "numeric": Codec(_numeric, str),
    "bool": Codec(_bool, lambda value: "t" if value else "f"),
    "bytea": Codec(_bytea, lambda value: "\\x" + value.hex()),
    "date": Codec(_moment(date, "date", lambda value: value), _iso),
    "time": Codec(_moment(time, "time", _naive), _iso),
    "timetz": Codec(_moment(time, "timetz", _offset), _iso),
    "timestamp": Codec(_moment(datetime, "timestamp", _naive), _iso),
    "timestamptz": Codec(_moment(datetime, "timestamptz", _utc), _iso),
    "interval": Codec(_interval, _interval_text),
    "uuid": Codec(_uuid, str),
    "json": Codec(_json, _same),
    "jsonb": Codec(_jsonb, _same),
}
