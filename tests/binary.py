"""Arrays in PostgreSQL's binary format, read as array_recv reads them."""

from __future__ import annotations

import struct


def unpacked(data: bytes) -> tuple[int, list[bytes | None]]:
    """Return the elements' type and the elements; check all that surrounds them."""
    dimensions, flags, oid = struct.unpack_from(">iiI", data)
    if dimensions == 0:
        assert (len(data), flags) == (12, 0)
        return oid, []
    length, lower = struct.unpack_from(">ii", data, 12)
    assert (dimensions, lower) == (1, 1)
    elements: list[bytes | None] = []
    at = 20
    for _ in range(length):
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
        elements.append(None if size == -1 else data[at : at + size])
        at += max(size, 0)
    assert at == len(data)
    assert flags == (None in elements)
    return oid, elements
