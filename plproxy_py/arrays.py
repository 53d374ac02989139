"""Arrays of built-in types, all elements at once: normal forms, and binary format.

What `values` does element by element, for lists that hold what they should already; of
such a list a million elements take 0.02 s in place of a second. Knows the types whose
oids are the same everywhere, and leaves all others to their text.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any
from uuid import UUID

from plproxy_py._native import are_ints, are_texts, pack
from plproxy_py._record import record


class Binary(bytes):
    """A parameter in PostgreSQL's binary format; other bytes are a text."""

    __slots__ = ()


Packer = Callable[[list[Any], bytes, int], Sequence[Any]]
"""Return the items of each place in the form that a partition gets."""


@record
class Elements:
    """A type's elements.

    ``are_normal``: whether all items of a list are normal forms or None. ``encode``: a
    normal form → bytes, where it is no str, bytes or int. ``width``: of an int, in
    bytes.
    """

    oid: int
    are_normal: Callable[[list[Any]], bool]
    encode: Callable[[Any], bytes] | None = None
    width: int = 8

    def pack(self, items: list[Any], places: bytes, count: int) -> list[Binary]:
        """Return the items of each place as an array; see `_pure.pack`."""
        if self.encode is not None:
            encode = self.encode
            items = [None if item is None else encode(item) for item in items]
        packed = pack(items, self.oid, self.width, places, count)
        return [Binary(array) for array in packed]


def _only(kind: type[Any]) -> Callable[[list[Any]], bool]:
    types = {kind, NoneType}
    return lambda items: types.issuperset(map(type, items))


def _ints(oid: int, width: int) -> Elements:
    limit = 2 ** (8 * width - 1)
    return Elements(oid, lambda items: are_ints(items, -limit, limit - 1), width=width)


_pack_float8 = struct.Struct(">d").pack


def _float8(value: float) -> bytes:
    # A NaN has many forms, and the text that is sent otherwise has one.
    return _pack_float8(math.nan if math.isnan(value) else value)


ELEMENTS = {
    "text": Elements(25, are_texts),
    "varchar": Elements(1043, are_texts),
    "bpchar": Elements(1042, are_texts),
    "int2": _ints(21, 2),
    "int4": _ints(23, 4),
    "int8": _ints(20, 8),
    "float8": Elements(701, _only(float), _float8),
    "bool": Elements(16, _only(bool), lambda value: b"\1" if value else b"\0"),
    "bytea": Elements(17, _only(bytes)),
    "uuid": Elements(2950, _only(UUID), lambda value: value.bytes),
}
