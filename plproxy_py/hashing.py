"""PostgreSQL's hash functions re-stated in Python, bit by bit, and hash to partition.

A value comes in the normal form of its type (str, int, float, Decimal, bool, bytes,
datetime, date, time, timedelta, UUID; for jsonb what `json.loads` returns) and within
its type's range: whether it fits is decided elsewhere. An int4 is from -2**31 to
2**31-1, an int8 from -2**63 to 2**63-1; a seed is an int8. Text is hashed as by a UTF8
database, under a deterministic collation.

This file knows no server, no signature and no cluster. `KNOWN` is closed: functions
of one's own are given to a router, not added here.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from uuid import UUID

from mmh3 import hash as _murmur3_x86_32

from plproxy_py import _hash_numbers as _numbers
from plproxy_py import _native
from plproxy_py._lookup3 import (
    MASK32,
    fold,
    hash_bytes_extended,
    hash_uint32_extended,
    int8,
)
from plproxy_py._native import hash_bytes
from plproxy_py._record import record

_NAME_BYTES = 63
_EPOCH = datetime(2000, 1, 1)
_EPOCH_UTC = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)

hashtext = _native.hashtext
hashint4 = _native.hashint4
hashint8 = _native.hashint8
hashfloat4 = _numbers.hashfloat4
hashfloat4extended = _numbers.hashfloat4extended
hashfloat8 = _numbers.hashfloat8
hashfloat8extended = _numbers.hashfloat8extended
hash_numeric = _numbers.hash_numeric
hash_numeric_extended = _numbers.hash_numeric_extended
jsonb_hash = _numbers.jsonb_hash
jsonb_hash_extended = _numbers.jsonb_hash_extended


def mask_partition(hash: int, part_count: int) -> int:
    """Return hash & (part_count - 1), for any sign. part_count: a power of two.

    Source: PL/Proxy src/execute.c, tag_part.
    """
    return hash & (part_count - 1)


def modular_partition(hash: int, part_count: int) -> int:
    """Return abs(hash % part_count) as C computes it: -4 and 3 give 1.

    Source: PL/Proxy src/execute.c, tag_part.
    """
    # C truncates towards zero, so the remainder's size does not depend on the sign.
    return abs(hash) % part_count


def hashtextextended(value: str, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL hashfunc.c, hashtextextended."""
    return hash_bytes_extended(value.encode(), seed)


def hashname(value: str) -> int:
    """Return an int4 hash. Source: PostgreSQL hashfunc.c, hashname."""
    return hash_bytes(_name(value))


def hashnameextended(value: str, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL hashfunc.c, hashnameextended."""
    return hash_bytes_extended(_name(value), seed)


def hashbpchar(value: str) -> int:
    """Return an int4 hash. Source: PostgreSQL varchar.c, hashbpchar."""
    return hash_bytes(value.rstrip(" ").encode())


def hashbpcharextended(value: str, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL varchar.c, hashbpcharextended."""
    return hash_bytes_extended(value.rstrip(" ").encode(), seed)


def hashchar(value: str) -> int:
    """Return an int4 hash. Source: PostgreSQL hashfunc.c, hashchar.

    Raise `ValueError` unless value is empty or one ASCII character: above that, the
    hash depends on whether the server's C compiler has a signed char.
    """
    return hashint4(_char(value))


def hashcharextended(value: str, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL hashfunc.c, hashcharextended.

    Raise `ValueError` as `hashchar` does.
    """
    return hash_uint32_extended(_char(value), seed)


def hashbytea(value: bytes) -> int:
    """Return an int4 hash. Source: PostgreSQL hashfunc.c, hashbytea."""
    return hash_bytes(value)


def hashbyteaextended(value: bytes, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL hashfunc.c, hashbyteaextended."""
    return hash_bytes_extended(value, seed)


def hashbool(value: bool) -> int:
    """Return an int4 hash. Source: PostgreSQL bool.c, hashbool."""
    return hashint4(int(value))


def hashboolextended(value: bool, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL bool.c, hashboolextended."""
    return hash_uint32_extended(int(value), seed)


def hashint2(value: int) -> int:
    """Return an int4 hash. Source: PostgreSQL hashfunc.c, hashint2."""
    return hashint4(value)


def hashint2extended(value: int, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL hashfunc.c, hashint2extended."""
    return hash_uint32_extended(value & MASK32, seed)


def hashint4extended(value: int, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL hashfunc.c, hashint4extended."""
    return hash_uint32_extended(value & MASK32, seed)


def hashint8extended(value: int, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL hashfunc.c, hashint8extended."""
    return hash_uint32_extended(fold(value), seed)


def hashoid(value: int) -> int:
    """Return an int4 hash. Source: PostgreSQL hashfunc.c, hashoid."""
    return hashint4(value)


def hashoidextended(value: int, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL hashfunc.c, hashoidextended."""
    return hash_uint32_extended(value, seed)


def uuid_hash(value: UUID) -> int:
    """Return an int4 hash. Source: PostgreSQL uuid.c, uuid_hash."""
    return hash_bytes(value.bytes)


def uuid_hash_extended(value: UUID, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL uuid.c, uuid_hash_extended."""
    return hash_bytes_extended(value.bytes, seed)


def timestamp_hash(value: datetime) -> int:
    """Return an int4 hash of a naive datetime.

    Source: PostgreSQL timestamp.c, timestamp_hash.
    """
    return hashint8((value - _EPOCH) // _MICROSECOND)


def timestamp_hash_extended(value: datetime, seed: int) -> int:
    """Return an int8 hash of a naive datetime.

    Source: PostgreSQL timestamp.c, timestamp_hash_extended.
    """
    return hashint8extended((value - _EPOCH) // _MICROSECOND, seed)


def timestamptz_hash(value: datetime) -> int:
    """Return an int4 hash of an aware datetime's instant.

    Source: PostgreSQL timestamp.c, timestamptz_hash.
    """
    return hashint8((value - _EPOCH_UTC) // _MICROSECOND)


def timestamptz_hash_extended(value: datetime, seed: int) -> int:
    """Return an int8 hash of an aware datetime's instant.

    Source: PostgreSQL timestamp.c, timestamptz_hash_extended.
    """
    return hashint8extended((value - _EPOCH_UTC) // _MICROSECOND, seed)


def hashdate(value: date) -> int:
    """Return an int4 hash. Source: PostgreSQL date.c, hashdate."""
    return hashint4(value.toordinal() - _EPOCH_DAY)


def hashdateextended(value: date, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL date.c, hashdateextended."""
    return hashint4extended(value.toordinal() - _EPOCH_DAY, seed)


def time_hash(value: time) -> int:
    """Return an int4 hash. Source: PostgreSQL date.c, time_hash."""
    return hashint8(_microseconds(value))


def time_hash_extended(value: time, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL date.c, time_hash_extended."""
    return hashint8extended(_microseconds(value), seed)


def timetz_hash(value: time) -> int:
    """Return an int4 hash of an aware time.

    Raise `ValueError` without an offset. Source: PostgreSQL date.c, timetz_hash.
    """
    return hashint8(_microseconds(value)) ^ hashint4(_zone(value))


def timetz_hash_extended(value: time, seed: int) -> int:
    """Return an int8 hash of an aware time.

    Raise `ValueError` without an offset.
    Source: PostgreSQL date.c, timetz_hash_extended.
    """
    time_part = hashint8extended(_microseconds(value), seed)
    return time_part ^ hashint4extended(_zone(value), seed)


def interval_hash(value: timedelta) -> int:
    """Return an int4 hash. Source: PostgreSQL timestamp.c, interval_hash."""
    return hashint8(int8(value // _MICROSECOND))


def interval_hash_extended(value: timedelta, seed: int) -> int:
    """Return an int8 hash.

    Source: PostgreSQL timestamp.c, interval_hash_extended.
    """
    return hashint8extended(int8(value // _MICROSECOND), seed)


def crc32(value: bytes) -> int:
    """Return a CRC-32, from 0 to 2**32-1. Source: PostgreSQL pg_crc.c, crc32_bytea."""
    return zlib.crc32(value)


def crc32c(value: bytes) -> int:
    """Return a CRC-32C, 0 to 2**32-1. Source: PostgreSQL pg_crc.c, crc32c_bytea."""
    crc = MASK32
    for byte in value:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ MASK32


def mmh3(value: str | bytes) -> int:
    """Return MurmurHash3 x86 32-bit with seed 0, an int4; a str is hashed as UTF-8.

    Source: sql/mmh3.sql, plproxy.mmh3.
    """
    return _murmur3_x86_32(value)


def _name(value: str) -> bytes:
    # A type name can't hold more, and a character is kept whole or not at all.
    return value.encode()[:_NAME_BYTES].decode(errors="ignore").encode()


def _char(value: str) -> int:
    if len(value) > 1 or not value.isascii():
        raise ValueError('not the one ASCII character that is hashed for "char"')
    return ord(value or "\0")


def _microseconds(value: time) -> int:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return seconds * 1_000_000 + value.microsecond


def _zone(value: time) -> int:
    offset = value.utcoffset()
    if offset is None:
        raise ValueError("a time without an offset can't be hashed as timetz")
    # The server counts westward.
    return -offset // _SECOND


def _crc32c_step(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (crc & 1) * 0x82F63B78
    return crc


_CRC32C = tuple(map(_crc32c_step, range(256)))


@record
class KnownHash:
    """One SQL function that is computed here, by its signature.

    ``parameters`` are types as pg_type.typname has them, ``returns`` is int4 or int8,
    ``since`` the first PostgreSQL major version that has it, 0 for all supported.
    """

    name: str
    parameters: tuple[str, ...]
    returns: str
    call: Callable[..., int]
    since: int = 0


_HASHES: tuple[tuple[str, int, Callable[..., int], Callable[..., int]], ...] = (
    ("text", 0, hashtext, hashtextextended),
    ("name", 0, hashname, hashnameextended),
    ("bpchar", 0, hashbpchar, hashbpcharextended),
    ("char", 0, hashchar, hashcharextended),
    ("bytea", 18, hashbytea, hashbyteaextended),
    ("bool", 18, hashbool, hashboolextended),
    ("int2", 0, hashint2, hashint2extended),
    ("int4", 0, hashint4, hashint4extended),
    ("int8", 0, hashint8, hashint8extended),
    ("oid", 0, hashoid, hashoidextended),
    ("float4", 0, hashfloat4, hashfloat4extended),
    ("float8", 0, hashfloat8, hashfloat8extended),
    ("numeric", 0, hash_numeric, hash_numeric_extended),
    ("uuid", 0, uuid_hash, uuid_hash_extended),
    ("timestamp", 0, timestamp_hash, timestamp_hash_extended),
    ("timestamptz", 18, timestamptz_hash, timestamptz_hash_extended),
    ("date", 18, hashdate, hashdateextended),
    ("time", 0, time_hash, time_hash_extended),
    ("timetz", 0, timetz_hash, timetz_hash_extended),
    ("interval", 0, interval_hash, interval_hash_extended),
    ("jsonb", 0, jsonb_hash, jsonb_hash_extended),
)

# Closed, and filled from this file alone: by name, one entry for each signature.
KNOWN: Mapping[str, tuple[KnownHash, ...]] = MappingProxyType(
    {
        "mmh3": (
            KnownHash("mmh3", ("text",), "int4", mmh3),
            KnownHash("mmh3", ("bytea",), "int4", mmh3),
        ),
        "crc32": (KnownHash("crc32", ("bytea",), "int8", crc32, since=18),),
        "crc32c": (KnownHash("crc32c", ("bytea",), "int8", crc32c, since=18),),
        **{
            plain.__name__: (KnownHash(plain.__name__, (type,), "int4", plain, since),)
            for type, since, plain, _ in _HASHES
        },
        **{
            seeded.__name__: (
                KnownHash(seeded.__name__, (type, "int8"), "int8", seeded, since),
            )
            for type, since, _, seeded in _HASHES
        },
    }
)
