"""Golden hashes, taken from a PostgreSQL 18; 15 gives the same where it has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from plproxy_py.hashing import (
    KNOWN,
    KnownHash,
    hash_numeric,
    hash_numeric_extended,
    hashchar,
    hashcharextended,
    hashfloat4,
    hashtext,
    hashtextextended,
    jsonb_hash,
    jsonb_hash_extended,
    mask_partition,
    modular_partition,
    timetz_hash,
    timetz_hash_extended,
)

SEED = 0x0123456789ABCDEF
INDIA = timezone(timedelta(hours=5, minutes=30))

# Of the first 0, 1, 2 ... 40 characters, so that each length of a tail occurs.
PANGRAM = "The quick brown fox jumps over the lazy dog"
HASHTEXT = """
    -1477818771 189977564 -1032424723 -2092041454 -529746819 1319395734
    2048143525 105174900 -461557097 916841358 1490567601 2124940397 82921656
    -1857862021 -435097191 1349080213 -807732534 1801273035 2125926248
    -287177489 -685456130 300619715 -1262620514 -1236432247 -1217470220
    1370806276 2038649153 1771424372 1000863782 -1372205352 1474626926
    1482680789 -2097643709 1270545934 282202191 646838985 -542547460 1430556688
    -1835488606 1690460682 -1767799431
"""
HASHTEXTEXTENDED = """
    5714803967801994901 8792632492724849583 -2363182740970948361
    8002779588898525197 5410763462506996156 5950326521348373651
    3963057732101152385 5078416493131429934 4950310369887154785
    8599459483138225411 -793753146465820368 5951539711052503355
    1014272991485057561 2557231074522563402 -8315401493096984784
    8903410928350258346 -6376245483652467824 7216780231207532392
    -118553172379492685 757679747875697006 2855406535360494431
    6798412444082178615 -7477120817359202525 7022879359876581220
    2908118672008254739 -2862620936841090002 851271067913553842
    2207527606812005608 6310041860141761814 -2528376015154323241
    -2843735912868912442 -8177055039494108869 -6108087809745559926
    -6356892958936599941 2904186283706962774 -455629878734131018
    5933720869129704444 4997922352550649383 -95018137718915157
    3646756821958272005 -1664396080596085234
"""

# By type: a value, its hash, and its extended hash with SEED.
GOLDEN: dict[str, list[tuple[Any, int, int]]] = {
    "text": [
        ("", -1477818771, 5714803967801994901),
        ("marko", 1416933399, 3368259184929004766),
        ("Grüße", -1972371110, -5663019153285653831),
        ("中文 🐘", -831533897, 9058370558734653262),
        ("a\u0301", 2075443549, -6686972677475859279),
    ],
    "name": [
        ("pg_class", -267801108, -2563863281837726313),
        ("x" * 62 + "é", -1436631694, 1485560718178397020),
        ("x" * 70, 1580591788, -1495343227159853742),
    ],
    "bpchar": [
        ("", -1477818771, 5714803967801994901),
        ("  marko", -612999310, -1124417671181640461),
        ("marko ", 1416933399, 3368259184929004766),
        ("marko\u00a0", 384417885, 2510182216494300794),
    ],
    "char": [
        ("", -272711505, -9056972805875950176),
        ("a", 463612535, 7220421328998886244),
        ("\x7f", -197710279, 7535735903300251246),
    ],
    "bytea": [
        (b"", -1477818771, 5714803967801994901),
        (b"\0\xff", -389432742, -3459160886771612201),
        (bytes(range(24)), 673122964, 8191319518126633303),
    ],
    "bool": [
        (False, -272711505, -9056972805875950176),
        (True, -1905060026, -2002263800794802243),
    ],
    "int2": [
        (0, -272711505, -9056972805875950176),
        (-1, 385747274, -5497670744723922960),
        (2**15 - 1, 1289782602, 2199064302524228836),
        (-(2**15), 193646934, -320284983272125356),
    ],
    "int4": [
        (0, -272711505, -9056972805875950176),
        (-1, 385747274, -5497670744723922960),
        (2**31 - 1, -96758253, -2924246970129791737),
        (-(2**31), -1524351049, -2589617623708073286),
    ],
    "int8": [
        (0, -272711505, -9056972805875950176),
        (-1, 385747274, -5497670744723922960),
        (2**31, -1524351049, -2589617623708073286),
        (-(2**31) - 1, -96758253, -2924246970129791737),
        (2**63 - 1, -1524351049, -2589617623708073286),
        (-(2**63), -96758253, -2924246970129791737),
    ],
    "oid": [
        (0, -272711505, -9056972805875950176),
        (1259, -215855226, 9190407772369720184),
        (2**32 - 1, 385747274, -5497670744723922960),
    ],
    "float4": [
        (0.0, 0, 81985529216486895),
        (-0.0, 0, 81985529216486895),
        (0.1, -222057114, -954825158449737007),
        (-math.inf, -1377680656, -8228863818917905274),
        (math.nan, -1275764840, -741358926595859656),
    ],
    "float8": [
        (0.0, 0, 81985529216486895),
        (-0.0, 0, 81985529216486895),
        (0.1, -573871567, 2155376186205079090),
        (math.inf, -2133226302, 7849377357119307872),
        (math.nan, -1275764840, -741358926595859656),
        (-math.nan, -1275764840, -741358926595859656),
    ],
    "numeric": [
        (Decimal("0"), -1, 81985529216486894),
        (Decimal("-0.00"), -1, 81985529216486894),
        (Decimal("1"), 1324868424, 5670060925411286940),
        (Decimal("-1"), 1324868424, 5670060925411286940),
        (Decimal("10000"), 1324868425, 5670060925411286941),
        (Decimal("0.0001"), -1324868425, -5670060925411286941),
        (Decimal("12345.6789"), -2041232919, 4337196105593348639),
        (Decimal("9999"), 1699550555, -963683816969029033),
        (Decimal("1234.5678"), 1449191577, 6130354690129443149),
        (Decimal("0.000123456789"), 2041232919, -4337196105593348639),
        (Decimal("-12e30"), 1856132695, 8819522674558919447),
        (Decimal("1e-7"), 1143929984, -7001555412955921367),
        (Decimal("NaN"), 0, 81985529216486895),
        (Decimal("Infinity"), 0, 81985529216486895),
    ],
    "uuid": [
        (UUID(int=0), 1353656403, -4255118771157931313),
        (UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), -54382947, 9171517522757614495),
    ],
    "timestamp": [
        (datetime(2000, 1, 1), -272711505, -9056972805875950176),
        (datetime(1999, 12, 31, 23, 59, 59, 999999), 385747274, -5497670744723922960),
        (datetime.max, 633324798, 8974664445357074786),
    ],
    "timestamptz": [
        (datetime(2000, 1, 1, tzinfo=UTC), -272711505, -9056972805875950176),
        (datetime(2026, 1, 31, 1, tzinfo=INDIA), 1724457622, -4173668423223584077),
    ],
    "date": [
        (date(2000, 1, 1), -272711505, -9056972805875950176),
        (date(1999, 12, 31), 385747274, -5497670744723922960),
        (date.max, 39749528, -25347604761974112),
    ],
    "time": [
        (time.min, -272711505, -9056972805875950176),
        (time(23, 59, 59, 999999), 38296624, 4714462973355219082),
    ],
    "timetz": [
        (time(1, tzinfo=UTC), -1815795074, -6933081297478149023),
        (time(1, 2, 3, tzinfo=INDIA), -645463563, 8197080758039373261),
    ],
    "interval": [
        (timedelta(0), -272711505, -9056972805875950176),
        (timedelta(days=30), 1574789525, -3849918591235574121),
        (timedelta(microseconds=-1), 385747274, -5497670744723922960),
        (timedelta.max, 2041787223, 1527713580028694512),
    ],
    "jsonb": [
        ([], 0, 81985529216486895),
        ({}, 0, 81985529216486895),
        (None, -2147483647, -9141386509785772560),
        (True, -2147483646, 7221108238207457213),
        (False, -2147483644, 166399233126309280),
        ("marko", -730550249, -5855112849778287394),
        (1.5, -1454515754, -9059933618855278861),
        ([1, None], -1645230448, -7186775398527044920),
        (
            {"b": [True, {}], "aa": "", "a": Decimal("1.0")},
            487352126,
            -3120084140975169703,
        ),
    ],
}
# Functions without an extended twin.
SINGLE: list[tuple[str, str, Any, int]] = [
    ("mmh3", "text", "", 0),
    ("mmh3", "text", "marko", -1014612699),
    ("mmh3", "text", "Grüße", 1791607040),
    ("mmh3", "text", "中文 🐘", 2100614825),
    ("mmh3", "bytea", b"\0\xff", -582037868),
    ("mmh3", "text", "abcdefghijk", 1597711839),
    ("crc32", "bytea", b"", 0),
    ("crc32", "bytea", b"123456789", 3421780262),
    ("crc32", "bytea", bytes(range(256)), 688229491),
    ("crc32c", "bytea", b"", 0),
    ("crc32c", "bytea", b"123456789", 3808858755),
    ("crc32c", "bytea", bytes(range(256)), 2621708363),
]
ENTRIES = {
    (entry.name, *entry.parameters): entry
    for entries in KNOWN.values()
    for entry in entries
}


def twins(type: str) -> tuple[KnownHash, KnownHash]:
    """Return the hash of a type and its extended twin."""
    single = {name for name, *_ in SINGLE}
    (plain,) = (
        e for e in ENTRIES.values() if e.parameters == (type,) and e.name not in single
    )
    (seeded,) = (e for e in ENTRIES.values() if e.parameters == (type, "int8"))
    return plain, seeded


@pytest.mark.parametrize("type", GOLDEN)
def test_golden(type: str) -> None:
    """The values hash as on the server, with and without a seed."""
    plain, seeded = twins(type)
    ours = [(v, plain.call(v), seeded.call(v, SEED)) for v, _, _ in GOLDEN[type]]
    assert ours == GOLDEN[type]


@pytest.mark.parametrize("type", GOLDEN)
def test_seed_zero(type: str) -> None:
    """With seed 0 the low half is the hash itself: PostgreSQL's rule for extended."""
    _, seeded = twins(type)
    for value, hash, _ in GOLDEN[type]:
        extended = seeded.call(value, 0)
        assert -(2**63) <= extended < 2**63
        assert (extended - hash) % 2**32 == 0


@pytest.mark.parametrize(("name", "type", "value", "hash"), SINGLE)
def test_golden_single(name: str, type: str, value: Any, hash: int) -> None:
    """A hash that takes no seed is the server's, mmh3 that of its SQL twin."""
    assert ENTRIES[name, type].call(value) == hash


def test_text_of_each_length() -> None:
    """No length of the last block goes wrong."""
    texts = [PANGRAM[:length] for length in range(41)]
    assert list(map(hashtext, texts)) == [int(hash) for hash in HASHTEXT.split()]
    extended = [hashtextextended(text, SEED) for text in texts]
    assert extended == [int(hash) for hash in HASHTEXTEXTENDED.split()]


def test_registry_is_covered() -> None:
    """Each entry of KNOWN has golden values here."""
    covered = {
        (entry.name, *entry.parameters) for type in GOLDEN for entry in twins(type)
    }
    assert covered | {row[:2] for row in SINGLE} == ENTRIES.keys()


def test_registry_is_keyed_by_name() -> None:
    """A name leads to its own entries, with one result type."""
    for name, entries in KNOWN.items():
        assert {entry.name for entry in entries} == {name}
        assert {entry.returns for entry in entries} <= {"int4", "int8"}


def test_registry_tells_what_is_new() -> None:
    """PostgreSQL 18 gave names to hashes that only its indexes had before."""
    new = {
        *("crc32", "crc32c", "hashbytea", "hashbyteaextended"),
        *("hashbool", "hashboolextended", "hashdate", "hashdateextended"),
        *("timestamptz_hash", "timestamptz_hash_extended"),
    }
    for name, entries in KNOWN.items():
        assert {entry.since for entry in entries} == {18 if name in new else 0}


def test_registry_is_closed() -> None:
    """Nobody adds to it at run time."""
    with pytest.raises(TypeError):
        KNOWN["hashtext"] = ()  # type: ignore[index]


@pytest.mark.parametrize("part_count", [1, 2, 4, 16, 1024])
def test_mask_partition_is_in_range(part_count: int) -> None:
    """The index is one of the partitions and congruent to the hash."""
    for hash in (0, 1, -1, -5, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)):
        index = mask_partition(hash, part_count)
        assert 0 <= index < part_count
        assert (hash - index) % part_count == 0


@pytest.mark.parametrize(
    ("hash", "part_count", "partition"),
    [(-1, 4, 3), (-5, 4, 3), (5, 4, 1), (-(2**31), 16, 0), (7, 1, 0)],
)
def test_mask_partition(hash: int, part_count: int, partition: int) -> None:
    """Negative hashes are masked in two's complement."""
    assert mask_partition(hash, part_count) == partition


@pytest.mark.parametrize(
    ("hash", "partition"),
    [
        *((0, 0), (1, 1), (2, 2), (3, 0), (4, 1), (-1, 1), (-2, 2), (-3, 0), (-4, 1)),
        *((2**63 - 1, 1), (-(2**63), 2), (2**31 - 1, 1), (-(2**31), 2)),
    ],
)
def test_modular_partition(hash: int, partition: int) -> None:
    """Three partitions, with C's remainder made positive."""
    assert modular_partition(hash, 3) == partition


@pytest.mark.parametrize("value", ["1", "1.0", "1.00", "10e-1", "0.1e1"])
def test_numeric_scale_does_not_matter(value: str) -> None:
    """Equal numbers hash alike."""
    assert hash_numeric(Decimal(value)) == hash_numeric(Decimal(1))


def test_numeric_edges_of_the_seed() -> None:
    """Zero with the lowest seed wraps around; a huge exponent costs nothing."""
    assert hash_numeric_extended(Decimal(0), -(2**63)) == 2**63 - 1
    assert hash_numeric(Decimal("1e400000000")) == 1324868424 ^ 100000000


def test_jsonb_order_of_keys_does_not_matter() -> None:
    """Keys are taken by length, then by bytes; values by what they are."""
    assert jsonb_hash({"b": 1, "a": 2.0}) == jsonb_hash({"a": 2, "b": Decimal("1.00")})
    assert jsonb_hash((1, "x")) == jsonb_hash([1, "x"])


def test_jsonb_scalar_is_an_array_of_one() -> None:
    """The server stores it so, and hashes it so."""
    assert jsonb_hash("marko") == jsonb_hash(["marko"])


@pytest.mark.parametrize(
    "hash", [jsonb_hash, lambda value: jsonb_hash_extended(value, 1)]
)
@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({1: 2}, TypeError),
        ([object()], TypeError),
        (b"bytes", TypeError),
        ([math.nan], ValueError),
        ([math.inf], ValueError),
        ({"a": Decimal("NaN")}, ValueError),
    ],
)
def test_jsonb_refuses(
    hash: Callable[[object], int], value: object, error: type[Exception]
) -> None:
    """What JSON can't hold has no hash."""
    with pytest.raises(error):
        hash(value)


@pytest.mark.parametrize("value", ["ab", "é", "\x80"])
def test_char_refuses_more_than_ascii(value: str) -> None:
    """Beyond ASCII the hash would depend on the server's platform."""
    with pytest.raises(ValueError, match="one ASCII character"):
        hashchar(value)
    with pytest.raises(ValueError, match="one ASCII character"):
        hashcharextended(value, SEED)


def test_timetz_refuses_no_offset() -> None:
    """A naive time is no timetz."""
    with pytest.raises(ValueError, match="without an offset"):
        timetz_hash(time(1))
    with pytest.raises(ValueError, match="without an offset"):
        timetz_hash_extended(time(1), SEED)


def test_float4_is_rounded_first() -> None:
    """A float8 is hashed as the float4 that the server makes of it, ties to even."""
    assert hashfloat4(1 + 2**-24) == hashfloat4(1.0)
    assert hashfloat4(1 + 3 * 2**-24) == hashfloat4(1 + 2**-22)
    with pytest.raises(OverflowError):
        hashfloat4(1e39)


def test_lone_surrogate_is_refused() -> None:
    """UTF-8 has no bytes for it."""
    with pytest.raises(UnicodeEncodeError):
        hashtext("\ud800")
