"""The Python twin of `_speedups`: hashes, rows dealt to partitions, packed arrays.

Where the compiled part was not built, or is not wanted, this is in its place; both give
the same bytes. Lists hold normal forms of one type (str, bytes or int) and None.

Hashes of many rows are int8s, places of rows int4s without a sign, both in the
machine's own byte order.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from itertools import chain
from types import NoneType
from typing import Any

from plproxy_py._lanes import MOST, hash_int8s, hash_keys
from plproxy_py._lookup3 import MASK32, fold, hash_uint32
from plproxy_py._lookup3 import hash_bytes as _hash_bytes

_HEADER = struct.Struct(">iiIii")
_EMPTY = struct.Struct(">iiI")
_INT4 = struct.Struct(">i")
_NULL = _INT4.pack(-1)
_INT_FORMATS = {2: "h", 4: "i", 8: "q"}


def hashtext(value: str, /) -> int:
    """Return an int4 hash. Source: PostgreSQL hashfunc.c, hashtext."""
    return _hash_bytes(value.encode())


def hashint4(value: int, /) -> int:
    """Return an int4 hash. Source: PostgreSQL hashfunc.c, hashint4."""
    return hash_uint32(value & MASK32)


def hashint8(value: int, /) -> int:
    """Return an int4 hash, the same as hashint4 where value fits an int4.

    Source: PostgreSQL hashfunc.c, hashint8.
    """
    return hash_uint32(fold(value))


def hash_bytes(data: bytes, /) -> int:
    """Return an int4 hash. Source: PostgreSQL common/hashfn.c, hash_bytes."""
    return _hash_bytes(data)


def hash_all(items: list[Any], /) -> bytes | None:
    """Return hashtext, hashint8 or hash_bytes of all items, None if one is None."""
    types = set(map(type, items))
    if NoneType in types:
        return None
    hashes = array("q")
    for start in range(0, len(items), MOST):
        some = items[start : start + MOST]
        if str in types:
            some = list(map(str.encode, some))
        hashes.extend(hash_int8s(some) if int in types else hash_keys(some))
    return hashes.tobytes()


def are_texts(items: list[Any], /) -> bool:
    """Tell whether all items are None, or str that PostgreSQL's text can hold.

    No subclass of it, without NUL and without lone surrogates.
    """
    if not {str, NoneType}.issuperset(map(type, items)):
        return False
    text = "".join(filter(None, items))
    if "\0" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def are_ints(items: list[Any], low: int, high: int, /) -> bool:
    """Tell whether all items are None, or int, no subclass, within these limits."""
    if not {int, NoneType}.issuperset(map(type, items)):
        return False
    numbers = [item for item in items if item is not None]
    return not numbers or (low <= min(numbers) and max(numbers) <= high)


def deal(hashes: bytes, part_count: int, modular: bool, /) -> tuple[list[int], bytes]:
    """Return the partitions of hashes, as first seen, and each row's place therein."""
    each = memoryview(hashes).cast("q")
    if modular:
        partitions = [abs(hash) % part_count for hash in each]
    else:
        mask = part_count - 1
        partitions = [hash & mask for hash in each]
    places = {seen: place for place, seen in enumerate(dict.fromkeys(partitions))}
    return list(places), array("I", map(places.__getitem__, partitions)).tobytes()


def divide(items: Sequence[Any], places: bytes, count: int) -> list[list[Any]]:
    """Return the items of each place, in order; all places are below ``count``."""
    parts: list[list[Any]] = [[] for _ in range(count)]
    add = [part.append for part in parts]
    for place, item in zip(memoryview(places).cast("I"), items, strict=True):
        add[place](item)
    return parts


def renumber(places: bytes, numbers: Sequence[int]) -> bytes:
    """Return the places with ``numbers[place]`` for each."""
    each = memoryview(places).cast("I")
    return array("I", map(numbers.__getitem__, each)).tobytes()


def pack(
    items: list[Any], oid: int, width: int, places: bytes, count: int, /
) -> list[bytes]:
    """Return the items of each place as an array in PostgreSQL's binary format.

    ``oid``: the elements' type, ``width``: how many bytes an int has.
    Source: PostgreSQL arrayfuncs.c, array_recv.
    """
    return [_packed(part, oid, width) for part in divide(items, places, count)]


def _packed(items: list[Any], oid: int, width: int) -> bytes:
    if not items:
        return _EMPTY.pack(0, 0, oid)
    types = set(map(type, items))
    header = _HEADER.pack(1, NoneType in types, oid, len(items), 1)
    if NoneType in types:
        return header + b"".join([_element(item, width) for item in items])
    if int in types:
        return header + _packed_ints(items, width)
    data = list(map(str.encode, items)) if str in types else items
    sizes = map(_SIZES.__getitem__, map(len, data))
    return header + b"".join(chain.from_iterable(zip(sizes, data, strict=True)))


def _element(item: Any, width: int) -> bytes:
    if item is None:
        return _NULL
    if isinstance(item, int):
        data = item.to_bytes(width, "big", signed=True)
    else:
        data = item.encode() if isinstance(item, str) else item
    return _SIZES[len(data)] + data


def _packed_ints(items: list[int], width: int) -> bytes:
    # Byte by byte of all elements at once: 0.1 µs for each of them, and 0.25 by a
    # to_bytes for each.
    stride = 4 + width
    data = struct.pack(f">{len(items)}{_INT_FORMATS[width]}", *items)
    packed = bytearray(stride * len(items))
    packed[3::stride] = bytes((width,)) * len(items)
    for place in range(width):
        packed[4 + place :: stride] = data[place::width]
    return bytes(packed)


class _Sizes(dict[int, bytes]):
    """Lengths as they stand before an element."""

    def __missing__(self, size: int) -> bytes:
        return _INT4.pack(size)


_SIZES = _Sizes((size, _INT4.pack(size)) for size in range(256))
