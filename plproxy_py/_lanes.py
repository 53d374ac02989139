"""Bob Jenkins' lookup3 of many keys at once, each in a lane of one large Python int.

A lane is 64 bits wide: 32 for the word, and 32 that catch what an addition or a shift
carries out of it. One operation on an int of 1,024 lanes is two thousand machine words
in C: a key of 16 bytes takes 0.4 µs, and 4.8 µs in `_lookup3`.

The words are little-endian, as there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from plproxy_py._lookup3 import START, hash_bytes

# So many that an int of them stays in the processor's first cache.
MOST = 1024
# Fewer keys of one number of blocks are hashed one by one.
_FEWEST = 4
_BLOCK = 12  # bytes
_ONES = int.from_bytes(b"\1\0\0\0\0\0\0\0" * MOST, "little")


def hash_keys(keys: Sequence[bytes]) -> Sequence[int]:
    """Return hash_bytes of each key, of `MOST` keys at the most."""
    by_blocks: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        blocks = len(key) // _BLOCK
        if blocks in by_blocks:
            by_blocks[blocks].append(place)
        else:
            by_blocks[blocks] = [place]
    if len(by_blocks) == 1:
        return _hash_alike(keys, blocks)
    hashes = [0] * len(keys)
    for blocks, places in by_blocks.items():
        found = _hash_alike([keys[place] for place in places], blocks)
        for place, hash in zip(places, found, strict=True):
            hashes[place] = hash
    return hashes


def hash_int8s(values: Sequence[int]) -> Sequence[int]:
    """Return hashint8 of each value, of `MOST` values at the most."""
    lanes = _Lanes(len(values))
    both = lanes.of(values)
    high, negative = both >> 32 & lanes.mask, both >> 63 & lanes.ones
    word = both & lanes.mask ^ high ^ ((negative << 32) - negative)
    start = lanes.ones * (START + 4)
    return lanes.hashes(start + word, start, start)


class _Lanes:
    """Constants for a number of lanes, and what ends all hashes."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.ones = _ONES & ((1 << 64 * count) - 1)
        self.mask = (self.ones << 32) - self.ones
        # A lane from which another was subtracted must not borrow from its neighbour.
        self.above = self.ones << 32

    def of(self, values: Iterable[int]) -> int:
        """Return int8s in lanes."""
        packed = struct.pack(f"<{self.count}q", *values)
        return int.from_bytes(packed, "little")

    def hashes(self, a: int, b: int, c: int) -> tuple[int, ...]:
        """Return the hashes of mixed words, whose sums may exceed 32 bits."""
        mask, above = self.mask, self.above
        a, b, c = a & mask, b & mask, c & mask
        c = ((c ^ b | above) - ((b << 14 | b >> 18) & mask)) & mask
        a = ((a ^ c | above) - ((c << 11 | c >> 21) & mask)) & mask
        b = ((b ^ a | above) - ((a << 25 | a >> 7) & mask)) & mask
        c = ((c ^ b | above) - ((b << 16 | b >> 16) & mask)) & mask
        a = ((a ^ c | above) - ((c << 4 | c >> 28) & mask)) & mask
        b = ((b ^ a | above) - ((a << 14 | a >> 18) & mask)) & mask
        c = ((c ^ b | above) - ((b << 24 | b >> 8) & mask)) & mask
        # A hash is signed: the sign fills the lane.
        negative = c >> 31 & self.ones
        c |= (negative << 64) - (negative << 32)
        return struct.unpack(f"<{self.count}q", c.to_bytes(8 * self.count, "little"))


def _hash_alike(keys: Sequence[bytes], blocks: int) -> Sequence[int]:
    """Return the hashes of keys that have this many whole blocks, and a tail."""
    if len(keys) < _FEWEST:
        return [hash_bytes(key) for key in keys]
    lanes = _Lanes(len(keys))
    mask, above = lanes.mask, lanes.above
    width = _BLOCK * (blocks + 1)
    table = memoryview(b"".join([key.ljust(width, b"\0") for key in keys])).cast("I")
    column = bytearray(8 * len(keys))
    low_words = memoryview(column).cast("I")[::2]

    def word(number: int) -> int:
        low_words[:] = table[number :: width // 4]
        return int.from_bytes(column, "little")

    a = b = c = lanes.of(map(len, keys)) + lanes.ones * START
    for first in range(0, 3 * blocks, 3):
        a = a + word(first) & mask
        b = b + word(first + 1) & mask
        c = c + word(first + 2) & mask
        a = ((a | above) - c ^ (c << 4 | c >> 28)) & mask
        c = c + b & mask
        b = ((b | above) - a ^ (a << 6 | a >> 26)) & mask
        a = a + c & mask
        c = ((c | above) - b ^ (b << 8 | b >> 24)) & mask
        b = b + a & mask
        a = ((a | above) - c ^ (c << 16 | c >> 16)) & mask
        c = c + b & mask
        b = ((b | above) - a ^ (a << 19 | a >> 13)) & mask
        a = a + c & mask
        c = ((c | above) - b ^ (b << 4 | b >> 28)) & mask
        b = b + a & mask
    # The lowest byte of the third word is the length's.
    tail = word(3 * blocks), word(3 * blocks + 1), word(3 * blocks + 2) << 8
    return lanes.hashes(a + tail[0], b + tail[1], c + tail[2])
