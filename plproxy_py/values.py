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
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from plproxy_py._scalars import SCALARS, Codec, by_text, plain_str, refusal, utc
from plproxy_py.arrays import ELEMENTS
from plproxy_py.pgtypes import PgType

MOST_DIMENSIONS = 6  # PostgreSQL's MAXDIM


def codec(type: PgType) -> Codec | None:
    """Return the codec of a declared type, None for types only a server knows."""
    scalar = SCALARS.get(type.name)
    if scalar is None or not type.is_array:
        return scalar
    return by_text(_array_normal(type, scalar.normal), _array_text(scalar.text))


def opaque(value: Any, is_array: bool = False) -> Any:
    """Return the value for a type without a codec; a str must be one that can be sent.

    A dataclass becomes the tuple of its fields, which adapters dump as a composite, a
    tuple for an array type a list. Raise ValueError.
    """
    if isinstance(value, str):
        return plain_str(value)
    if is_array and isinstance(value, (list, tuple)):
        return [opaque(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return tuple(opaque(getattr(value, field.name)) for field in fields)
    return value


def localized(value: Any, timezone: str | None) -> Any:
    """Return a timestamptz normal form with naive datetimes placed in ``timezone``.

    Raise ValueError where there is none: on two sessions a naive one would be two
    instants.
    """
    if isinstance(value, list):
        return [localized(item, timezone) for item in value]
    if not isinstance(value, datetime) or value.utcoffset() is not None:
        return value
    if timezone is None:
        raise ValueError(
            "naive datetime for timestamptz: give it a tzinfo, or set the "
            "cluster's timezone"
        )
    return utc(value.replace(tzinfo=ZoneInfo(timezone)))


def _array_normal(
    type: PgType, normal: Callable[[Any], Any]
) -> Callable[[object], list[Any]]:
    # A list inside is a JSON array, not a second dimension.
    is_json = type.name in ("json", "jsonb")
    elements = ELEMENTS.get(type.name)

    def array(value: object, depth: int = 1) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise refusal(f"a list for {type.cast}", value)
        if is_json or not any(isinstance(item, (list, tuple)) for item in value):
            return [None if item is None else normal(item) for item in value]
        if depth == MOST_DIMENSIONS:
            raise ValueError(f"more than {MOST_DIMENSIONS} dimensions")
        return [array(item, depth + 1) for item in value]

    def checked(value: object) -> list[Any]:
        if elements is not None and isinstance(value, (list, tuple)):
            # A copy, since the caller's list may change before it is sent.
            items = list(value)
            if elements.are_normal(items):
                return items
        items = array(value)
        _shape(items)
        return items

    return checked


def _shape(items: list[Any]) -> tuple[int, ...]:
    """Return the length in each dimension. Raise ValueError where they differ."""
    inner = {_shape(item) if isinstance(item, list) else () for item in items}
    if len(inner) > 1:
        raise ValueError("sub-arrays of different lengths")
    return (len(items), *(inner.pop() if inner else ()))


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
