"""The hashes that all elements of an array get at once, as SPLIT needs them.

Knows which functions of `hashing` have such a twin, and no SPLIT.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias
from uuid import UUID

from plproxy_py import hashing
from plproxy_py._native import hash_all

HashMany: TypeAlias = Callable[[list[Any]], bytes | None]
"""Hash all items: int8s in the machine's own order, None if one item is None."""


def ints(items: list[int | None]) -> bytes | None:
    """Take ints for the hashes that they are. See `HashMany`."""
    return _packed(items)


def _uuids(items: list[UUID | None]) -> bytes | None:
    return hash_all([item and item.bytes for item in items])


def _mmh3(items: list[str | bytes | None]) -> bytes | None:
    return _packed(None if item is None else hashing.mmh3(item) for item in items)


def _packed(hashes: Iterable[int | None]) -> bytes | None:
    try:
        return array("q", hashes).tobytes()  # type: ignore[type-var]
    except TypeError:
        return None


MANY: Mapping[Callable[..., int], HashMany] = MappingProxyType(
    {
        hashing.hashtext: hash_all,
        hashing.hashbytea: hash_all,
        hashing.hashint2: hash_all,
        hashing.hashint4: hash_all,
        hashing.hashint8: hash_all,
        hashing.uuid_hash: _uuids,
        hashing.mmh3: _mmh3,
    }
)
