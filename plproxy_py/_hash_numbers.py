"""PostgreSQL's hashes of float4, float8, numeric and jsonb, whose numbers are numeric.

It knows how these types lie in a server's memory, as far as their hashes read it, and
no others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from struct import Struct, pack
from typing import TypeAlias

from plproxy_py._lookup3 import (
    MASK32,
    MASK64,
    hash_bytes_extended,
    hash_uint32_extended,
    int4,
    int8,
)
from plproxy_py._native import hash_bytes

_FLOAT4 = Struct("<f")
_FLOAT8 = Struct("<d")

# What a jsonb is hashed from: an int opens a container, the rest are keys and scalars.
_Token: TypeAlias = "int | bytes | Decimal | bool | None"
_ARRAY = 0x40000000
_OBJECT = 0x20000000


def hashfloat4(value: float) -> int:
    """Return an int4 hash of value as a float4. Raise `OverflowError` beyond those.

    Source: PostgreSQL hashfunc.c, hashfloat4.
    """
    return hashfloat8(_float4(value))


def hashfloat4extended(value: float, seed: int) -> int:
    """Return an int8 hash of value as a float4. Raise `OverflowError` beyond those.

    Source: PostgreSQL hashfunc.c, hashfloat4extended.
    """
    return hashfloat8extended(_float4(value), seed)


def hashfloat8(value: float) -> int:
    """Return an int4 hash. Source: PostgreSQL hashfunc.c, hashfloat8."""
    return hash_bytes(_float8_bytes(value)) if value else 0


def hashfloat8extended(value: float, seed: int) -> int:
    """Return an int8 hash. Source: PostgreSQL hashfunc.c, hashfloat8extended."""
    return hash_bytes_extended(_float8_bytes(value), seed) if value else seed


def hash_numeric(value: Decimal) -> int:
    """Return an int4 hash, the same for 1, -1 and 1.00; 0 for NaN and infinity.

    Source: PostgreSQL numeric.c, hash_numeric.
    """
    if not value.is_finite():
        return 0
    if not value:
        return -1
    digits, weight = _numeric_digits(value)
    return hash_bytes(digits) ^ weight


def hash_numeric_extended(value: Decimal, seed: int) -> int:
    """Return an int8 hash, the same for 1, -1 and 1.00; seed for NaN and infinity.

    Source: PostgreSQL numeric.c, hash_numeric_extended.
    """
    if not value.is_finite():
        return seed
    if not value:
        return int8(seed - 1)
    digits, weight = _numeric_digits(value)
    return hash_bytes_extended(digits, seed) ^ weight


def jsonb_hash(value: object) -> int:
    """Return an int4 hash of what `json.loads` returns, with float or Decimal.

    Raise `TypeError` for another value or a key that is no str, and `ValueError` for
    NaN and infinity. Source: PostgreSQL jsonb_op.c, jsonb_hash.
    """
    hash = 0
    for token in _jsonb_tokens(value):
        match token:
            case None:
                scalar = 1
            case bool():
                scalar = 2 if token else 4
            case int():
                hash ^= token
                continue
            case bytes():
                scalar = hash_bytes(token)
            case _:
                scalar = hash_numeric(token)
        hash = (hash << 1 | hash >> 31) & MASK32 ^ scalar & MASK32
    return int4(hash)


def jsonb_hash_extended(value: object, seed: int) -> int:
    """Return an int8 hash of what `jsonb_hash` takes. Raise as it does.

    Source: PostgreSQL jsonb_op.c, jsonb_hash_extended.
    """
    tokens = _jsonb_tokens(value)
    if not tokens:
        return seed
    hash = 0
    for token in tokens:
        match token:
            case None:
                scalar = seed + 1
            case bool() if seed:
                scalar = hash_uint32_extended(token, seed)
            case bool():
                scalar = 2 if token else 4
            case int():
                hash ^= token << 32 | token
                continue
            case bytes():
                scalar = hash_bytes_extended(token, seed)
            case _:
                scalar = hash_numeric_extended(token, seed)
        # The halves are rotated apart.
        hash = hash << 1 & 0xFFFFFFFE_FFFFFFFE | hash >> 31 & 0x00000001_00000001
        hash ^= scalar & MASK64
    return int8(hash)


def _float4(value: float) -> float:
    narrowed: float = _FLOAT4.unpack(_FLOAT4.pack(value))[0]
    return narrowed


def _float8_bytes(value: float) -> bytes:
    # All NaNs are one to the server; Python's may have any payload.
    return _FLOAT8.pack(math.nan if math.isnan(value) else value)


def _numeric_digits(value: Decimal) -> tuple[bytes, int]:
    """Return base-10000 digits without zeros at the ends, and the first one's weight.

    The weight is the power of 10000 that the digit counts.
    """
    digits = "".join(map(str, value.as_tuple().digits)).rstrip("0")
    last_power = value.adjusted() - len(digits) + 1
    digits += "0" * (last_power % 4)
    count = (len(digits) + 3) // 4
    digits = digits.zfill(count * 4)
    groups = [int(digits[at : at + 4]) for at in range(0, count * 4, 4)]
    return pack(f"<{count}h", *groups), last_power // 4 + count - 1


def _jsonb_tokens(value: object) -> list[_Token]:
    """Return the tokens in a jsonb's own order, none for an empty array or object."""
    if not isinstance(value, (dict, list, tuple)):
        # The server stores a bare scalar as an array of one.
        value = [value]
    return list(_walk(value)) if value else []


def _walk(value: object) -> Iterator[_Token]:
    if isinstance(value, dict):
        yield _OBJECT
        for key, item in sorted(map(_encoded, value.items()), key=_key_order):
            yield key
            yield from _walk(item)
    elif isinstance(value, (list, tuple)):
        yield _ARRAY
        for item in value:
            yield from _walk(item)
    elif isinstance(value, str):
        yield value.encode()
    elif value is None or isinstance(value, bool):
        yield value
    else:
        yield _number(value)


def _encoded(member: tuple[object, object]) -> tuple[bytes, object]:
    key, item = member
    if not isinstance(key, str):
        raise TypeError(f"a JSON key is a str, not {type(key).__name__}")
    return key.encode(), item


def _key_order(member: tuple[bytes, object]) -> tuple[int, bytes]:
    return len(member[0]), member[0]


def _number(value: object) -> Decimal:
    if isinstance(value, float):
        # Its digits are those that the JSON text has.
        value = Decimal(float.__repr__(value))
    if not isinstance(value, (int, Decimal)):
        raise TypeError(f"{type(value).__name__} is not a JSON value")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError("JSON has no NaN and no infinity")
    return number
