"""Values of declared types, as a server writes and reads them.

What is scripted is held to the declared type by the codec of its arguments, and
written in PostgreSQL's output form, modifiers applied: ``numeric(20,10)`` comes with
ten digits behind the point. Types without a codec go through psycopg's adapters.
"""

from __future__ import annotations

import functools
import json
import math
import re
import reprlib
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap, PyFormat, Transformer

from plproxy_py import _rows, values
from plproxy_py.function import Opaque
from plproxy_py.pgtypes import PgType
from plproxy_py.testing._protocol import Param

TEXT_OID, TEXTS_OID, VOID_OID, CHAR_OID, CHARS_OID = 25, 1009, 2278, 18, 1002
# Of whatever type is not built in.
UNKNOWN_OID = 16384

_BINARY = PyFormat.as_pq(PyFormat.BINARY)
_TEXTS = PgType("text", is_array=True)


class Values:
    """Values of a router's types, both ways."""

    def __init__(self, adapters: AdaptersMap) -> None:
        # psycopg's AdaptContext: no connection, so moments come in UTC.
        self.adapters = adapters
        self.connection = None

    def oid(self, type: PgType) -> int | None:
        """Return a type's oid, None for one that is not known here."""
        if type.name == "void":
            return VOID_OID
        if type.name == '"char"':
            return CHARS_OID if type.is_array else CHAR_OID
        info = self.adapters.types.get(type.name.strip('"'))
        if info is None:
            return None
        return info.array_oid if type.is_array else info.oid

    def oid_of(self, value: Any) -> int:
        """Return the oid of a value of an unknown type.

        A domain's values come as those of its base type, all others as they are.
        """
        if isinstance(value, (str, tuple)) or value is None:
            return UNKNOWN_OID
        try:
            return Transformer(self).get_dumper(value, PyFormat.TEXT).oid or UNKNOWN_OID
        except psycopg.ProgrammingError:
            return UNKNOWN_OID

    def load(self, type: PgType, param: Param) -> Any:
        """Return a parameter; what Python can't hold stays a text."""
        if param.data is None:
            return None
        oid = self.oid(type)
        if oid is None:
            return param.data.decode()
        transformer = Transformer(self)
        if param.is_binary:
            return transformer.get_loader(oid, _BINARY).load(param.data)
        if not type.is_array:
            return self._load(type.name, oid, param.data.decode())
        # Item by item, since what can't be held is but one of them.
        texts = transformer.get_loader(TEXTS_OID, _rows.TEXT).load(param.data)
        oid = self.oid(type.element) or TEXT_OID
        return _each(texts, lambda text: self._load(type.name, oid, text))

    def _load(self, name: str, oid: int, text: str) -> Any:
        if name == "interval":
            # As it is written for servers, psycopg does not read it.
            return _timedelta(text)
        try:
            return Transformer(self).get_loader(oid, _rows.TEXT).load(text.encode())
        except (psycopg.Error, ValueError, ArithmeticError):
            return text

    def dump_any(self, value: Any) -> bytes | None:
        """Return the text of a value whose type nobody declared."""
        if value is None or isinstance(value, str):
            return None if value is None else value.encode()
        return _rows.dump_params(
            [Opaque(value)], self.adapters, lambda _: "FakeCluster"
        )[0]

    def dump(self, type: PgType, value: Any) -> bytes | None:
        """Return a value's text. Raise TypeError or ValueError, naming value and type.

        The declared type's own codec decides what fits.
        """
        try:
            return self._dump(type, value)
        except (TypeError, ValueError, ArithmeticError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            text = f"{reprlib.repr(value)} does not fit {type.declared}: {error}"
            raise kind(text) from None

    def _dump(self, type: PgType, value: Any) -> bytes | None:
        if type.name == "void":
            if value is not None:
                raise TypeError("void is answered by None")
            return b""
        if value is None:
            return None
        write = _writer(type)
        if write is None:
            return self.dump_any(values.opaque(value, type.is_array))
        return write(value)


@functools.lru_cache(maxsize=1024)
def _writer(type: PgType) -> Callable[[Any], bytes] | None:
    """Return what makes a server's text of a value, None for types without a codec."""
    codec = values.codec(type)
    if codec is None:
        return None
    normal, text, array = codec.normal, _output(type), values.codec(_TEXTS)
    assert array is not None
    encode_array = array.encode
    if type.name == "interval":
        normal = _refusing_text(normal)
    elif type.name == "timestamptz":
        normal = _placed(normal)
    if not type.is_array:
        return lambda value: text(normal(value)).encode()

    def write_array(value: Any) -> bytes:
        items = normal(value)
        return encode_array(_each(items, text) if _has_items(items) else [])

    return write_array


def _placed(normal: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: values.localized(normal(value), None)


def _refusing_text(normal: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        if _has_text(value):
            # Servers write an interval otherwise than people do.
            raise TypeError("expected timedelta, got str")
        return normal(value)

    return checked


def _has_text(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_text, value))
    return isinstance(value, str)


def _has_items(value: Any) -> bool:
    """Whether there is more than lists; without, an array has no dimensions."""
    return not isinstance(value, list) or any(map(_has_items, value))


def _each(value: Any, of: Callable[[Any], Any]) -> Any:
    """Return a value, or all items of an array, turned into something else."""
    if isinstance(value, list):
        return [_each(item, of) for item in value]
    return None if value is None else of(value)


_INTERVAL = re.compile(r"(-?\d+) days \+(\d+)\.(\d{6}) seconds")


def _timedelta(text: str) -> timedelta | str:
    """Read a timedelta as its codec writes it; any other text stays one."""
    found = _INTERVAL.fullmatch(text)
    if found is None:
        return text
    days, seconds, micros = map(int, found.groups())
    return timedelta(days, seconds, micros)


def _output(type: PgType) -> Callable[[Any], str]:
    """Return what makes a scalar's normal form PostgreSQL's output."""
    name = type.name
    limits = [int(number) for number in re.findall(r"-?\d+", type.modifiers)]
    if name == "numeric":
        return lambda value: _numeric(value, limits)
    if name == "varchar" and limits:
        return lambda value: value[: limits[0]]
    if name == "bpchar" and limits:
        return lambda value: value[: limits[0]].ljust(limits[0])
    if name in ("timestamp", "timestamptz"):
        return lambda value: _moment(value, limits)
    if name in _OUTPUT:
        return _OUTPUT[name]
    scalar = values.codec(PgType(name))
    assert scalar is not None
    return scalar.text


def _numeric(value: Decimal, limits: list[int]) -> str:
    if limits and not value.is_nan():
        precision, scale = (*limits, 0)[:2]
        context = Context(prec=2000, rounding=ROUND_HALF_UP)
        if value.is_finite():
            value = value.quantize(Decimal(1).scaleb(-scale), context=context)
        if value.is_infinite() or (value and value.adjusted() >= precision - scale):
            raise ValueError("numeric field overflow")
    # The server knows no negative zero.
    return format(value if value else abs(value), "f")


def _moment(value: datetime | str, limits: list[int]) -> str:
    if isinstance(value, str):
        return value
    if limits and limits[0] < 6:
        unit = 10 ** (6 - limits[0])
        # Halves go away from the year 2000, where the server counts from.
        half = unit // 2 - (value.replace(tzinfo=None) < datetime(2000, 1, 1))
        value += timedelta(microseconds=half)
        value = value.replace(microsecond=value.microsecond // unit * unit)
    return value.isoformat(" ")


def _interval(value: timedelta) -> str:
    hours, seconds = divmod(value.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    micros = f"{value.microseconds:06}"
    return f"{value.days} days {hours:02}:{minutes:02}:{seconds:02}.{micros}"


def _float4(value: float) -> str:
    scalar = values.codec(PgType("float4"))
    assert scalar is not None
    if not math.isfinite(value) or not value:
        return scalar.text(value)
    # The server writes as few digits as are nearer to it than to its neighbours.
    exact = abs(value)
    (bits,) = struct.unpack("i", struct.pack("f", exact))
    below, above = (
        struct.unpack("f", struct.pack("i", bits + step))[0] - exact for step in (-1, 1)
    )
    above = -below if math.isinf(above) else above
    shortest = exact
    for digits in range(1, 10):
        shortest = float(f"{exact:.{digits}g}")
        if below < 2 * (shortest - exact) < above:
            break
    return scalar.text(math.copysign(shortest, value))


def _jsonb(value: str) -> str:
    """Write JSON as jsonb does: numbers are numerics, and keys have an order."""
    read = json.loads(
        value, parse_int=Decimal, parse_float=Decimal, object_pairs_hook=_keys_in_order
    )
    return _json_text(read)


def _keys_in_order(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    def order(pair: tuple[str, Any]) -> tuple[int, bytes]:
        data = pair[0].encode()
        return len(data), data

    return dict(sorted(dict(pairs).items(), key=order))


def _json_text(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{_json_text(key)}: {_json_text(value[key])}" for key in value)
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_json_text, value))}]"
    if isinstance(value, Decimal):
        return _numeric(value, [])
    return json.dumps(value, ensure_ascii=False)


_OUTPUT: dict[str, Callable[[Any], str]] = {
    "interval": _interval,
    "float4": _float4,
    "jsonb": _jsonb,
}
