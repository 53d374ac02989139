"""Every known hash, against the server's own function of that name.

Random values with a fixed seed, so that a failure comes back; Hypothesis where the
edges are many. A hash that came to `KNOWN` without a generator here fails.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plproxy_py.hashing import KNOWN, KnownHash

MMH3_SQL = Path(__file__).parents[2] / "sql" / "mmh3.sql"

ENTRIES = [entry for entries in KNOWN.values() for entry in entries]
COUNTS = dict.fromkeys(
    ("hashtext", "hashint4", "hashint8", "uuid_hash", "timestamp_hash"), 100_000
)
COUNT = 5_000
BATCH = 20_000

ALPHABET = (
    "abcdefghijklmnopqrstuvwxyz0123456789 -_@.ABCXYZäöüßñéžøд中文字かな한€\u0301😀🐘"
)
DAY = 86_400_000_000
MICROSECONDS = 3_652_059 * DAY
SPACES = "  \t\n\u00a0\u3000"


def text(random: Random) -> str:
    if random.random() < 0.2:
        # Any character but NUL and the surrogates.
        points = [random.randrange(1, 0x10F800) for _ in range(random.randrange(12))]
        return "".join(chr(point + 0x800 * (point >= 0xD800)) for point in points)
    return "".join(random.choices(ALPHABET, k=random.randrange(41)))


def padded_text(random: Random) -> str:
    return text(random) + "".join(random.choices(SPACES, k=random.randrange(4)))


def long_text(random: Random) -> str:
    # On both sides of the 63 bytes of a name.
    return "".join(random.choices(ALPHABET, k=random.randrange(80)))


def char(random: Random) -> str:
    return random.choice(["", chr(random.randrange(1, 128))])


def integer(bits: int) -> Callable[[Random], int]:
    def draw(random: Random) -> int:
        # All magnitudes, not only the largest.
        return random.randrange(-(2**63), 2**63) >> random.randrange(64 - bits, 64)

    return draw


def float8(random: Random) -> float:
    special = (0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308)
    if random.random() < 0.02:
        return random.choice(special)
    drawn: float = struct.unpack("<d", random.randbytes(8))[0]
    return random.choice([drawn, random.uniform(-1e6, 1e6), float(integer(53)(random))])


def float4(random: Random) -> float:
    # Any bits of a float4, or a float8 that the server must round to one.
    drawn: float = struct.unpack("<f", random.randbytes(4))[0]
    return random.choice([drawn, random.uniform(-1e6, 1e6), 0.0, -0.0, math.nan])


def numeric(random: Random) -> Decimal:
    digits = tuple(random.choices(range(10), k=random.randrange(1, 30)))
    zeros = (0,) * random.choice([0, 0, 1, 2, 3, 4, 5, 9])
    return Decimal((random.randrange(2), digits + zeros, random.randrange(-40, 40)))


def timestamp(random: Random) -> datetime:
    return datetime.min + timedelta(microseconds=random.randrange(MICROSECONDS))


def fixed_zone(random: Random) -> timezone:
    return timezone(timedelta(minutes=random.randrange(-15 * 60, 15 * 60 + 1)))


def timestamptz(random: Random) -> datetime:
    # A day from the ends, so that each offset stays within Python's years.
    since = random.randrange(DAY, MICROSECONDS - DAY)
    moment = datetime.min.replace(tzinfo=UTC) + timedelta(microseconds=since)
    return moment.astimezone(fixed_zone(random))


def time_of_day(random: Random) -> time:
    return timestamp(random).time()


def timetz(random: Random) -> time:
    return time_of_day(random).replace(tzinfo=fixed_zone(random))


def interval(random: Random) -> timedelta:
    days = random.choice([0, 30, 10_000, 999_999_999])
    return random.choice([1, -1]) * timedelta(
        days=random.randint(0, days), microseconds=random.randrange(DAY)
    )


def jsonb(random: Random, depth: int = 3) -> object:
    kind = random.randrange(8 if depth else 6)
    if kind == 0:
        return random.choice([None, True, False])
    if kind == 1:
        return integer(64)(random)
    if kind == 2:
        return random.choice([random.uniform(-1e6, 1e6), -0.0, 1e22, 1e-7])
    if kind == 3:
        return numeric(random)
    if kind < 6:
        return text(random)
    items = [jsonb(random, depth - 1) for _ in range(random.randrange(6))]
    return items if kind == 6 else {text(random): item for item in items}


GENERATORS: dict[str, Callable[[Random], Any]] = {
    "text": text,
    "name": long_text,
    "bpchar": padded_text,
    "char": char,
    "bytea": lambda random: random.randbytes(random.randrange(50)),
    "bool": lambda random: random.random() < 0.5,
    "int2": integer(16),
    "int4": integer(32),
    "int8": integer(64),
    "oid": lambda random: random.randrange(2**32),
    "float4": float4,
    "float8": float8,
    "numeric": numeric,
    "uuid": lambda random: UUID(bytes=random.randbytes(16)),
    "timestamp": timestamp,
    "timestamptz": timestamptz,
    "date": lambda random: timestamp(random).date(),
    "time": time_of_day,
    "timetz": timetz,
    "interval": interval,
    "jsonb": jsonb,
}

# Each value once with every hash of its type, and as many seeds.
EDGES: dict[str, list[Any]] = {
    "text": ["", "marko", "\u00e9", "e\u0301", "x" * 11, "x" * 12, "x" * 13, "x" * 999],
    "name": ["", "x" * 63, "x" * 64, "x" * 62 + "\u00e9", "x" * 61 + "\u00e9"],
    "bpchar": ["", " ", "a ", " a", "a\t ", "a\u00a0 "],
    "char": ["", "a", "\x7f"],
    "bytea": [b"", b"\0", b"\xff" * 12],
    "bool": [False, True],
    "int2": [0, 1, -1, -(2**15), 2**15 - 1],
    "int4": [0, 1, -1, -(2**31), 2**31 - 1],
    "int8": [0, 1, -1, -(2**31) - 1, 2**31, 2**32, -(2**32), -(2**63), 2**63 - 1],
    "oid": [0, 1, 2**31, 2**32 - 1],
    "float4": [0.0, -0.0, 1.0, 0.1, 1 + 2**-24, 1e-45, math.inf, -math.inf, math.nan],
    "float8": [0.0, -0.0, 1.0, 0.1, 5e-324, math.inf, -math.inf, math.nan],
    "numeric": [
        *map(Decimal, ("0", "-0.00", "1", "1.0", "1.00", "-1", "NaN", "10000", "1e-4")),
        *map(
            Decimal, ("12345.6789", "0.00000001", "1e100", "1e-100", "9999", "1e131071")
        ),
    ],
    "uuid": [UUID(int=0), UUID(int=2**128 - 1)],
    "timestamp": [
        datetime(2000, 1, 1),
        datetime.min,
        datetime.max,
        datetime(1999, 12, 31),
    ],
    "timestamptz": [
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(2000, 1, 1, tzinfo=timezone(timedelta(hours=-11, minutes=-30))),
    ],
    "date": [date(2000, 1, 1), date(1999, 12, 31), date.min, date.max],
    "time": [time.min, time.max],
    "timetz": [time(1, tzinfo=UTC), time(1, tzinfo=timezone(timedelta(hours=-5)))],
    "interval": [timedelta(0), timedelta.min, timedelta.max, timedelta(days=30)],
    "jsonb": [
        *([], {}, [[]], [{}], {"": {}}, None, True, False, 0, -0.0, "", [0], [None]),
        {"b": 1, "aa": 2, "a": 3, "\u00e9": 4, "z": {"b": [], "a": {}}},
        [1, 1.0, Decimal("1.00"), "1", [1, [1]], {"1": 1}],
    ],
}
SEEDS = [0, 1, -1, 2**32, -(2**63), 2**63 - 1, 7, -7]


def name(entry: KnownHash) -> str:
    return f"{entry.name}({','.join(entry.parameters)})"


@pytest.fixture(scope="module")
def conn(pg: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(pg.connstr("hashes"), autocommit=True) as conn:
        conn.execute(MMH3_SQL.read_bytes())
        yield conn


def major(conn: psycopg.Connection[Any]) -> int:
    return conn.info.server_version // 10_000


def dumped(value: object) -> str:
    """Return a JSON text, in which a Decimal keeps all its digits."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        members = [f"{json.dumps(key)}:{dumped(item)}" for key, item in value.items()]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumped, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def servers(
    conn: psycopg.Connection[Any], entry: KnownHash, rows: Sequence[tuple[Any, ...]]
) -> list[int]:
    """Return the server's hashes of all rows, by one query."""
    schema = "plproxy" if entry.name == "mmh3" else "pg_catalog"
    columns = [f"c{n}" for n in range(len(entry.parameters))]
    arrays = [f'%s::pg_catalog."{type}"[]' for type in entry.parameters]
    params = [
        list(map(dumped, column)) if type == "jsonb" else list(column)
        for type, column in zip(entry.parameters, zip(*rows, strict=True), strict=True)
    ]
    call = f"{schema}.{entry.name}({', '.join(columns)})"
    query = (
        f"select array_agg({call} order by n) from unnest({', '.join(arrays)})"
        f" with ordinality as t({', '.join(columns)}, n)"
    )
    hashes: list[int] = conn.execute(query, params).fetchall()[0][0]
    return hashes


def differences(
    conn: psycopg.Connection[Any], entry: KnownHash, rows: Sequence[tuple[Any, ...]]
) -> list[tuple[tuple[Any, ...], int, int]]:
    """Return the first few rows that hash differently, with both hashes."""
    theirs = servers(conn, entry, rows)
    assert len(theirs) == len(rows)
    both = zip(rows, theirs, (entry.call(*row) for row in rows), strict=True)
    return [found for found in both if found[1] != found[2]][:5]


def random_rows(entry: KnownHash, count: int) -> Iterator[list[tuple[Any, ...]]]:
    random = Random(f"{name(entry)} 20070312")
    draws = [GENERATORS[type] for type in entry.parameters]
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        yield [tuple(draw(random) for draw in draws) for _ in range(size)]


@pytest.mark.parametrize("entry", ENTRIES, ids=name)
def test_exists_since(conn: psycopg.Connection[Any], entry: KnownHash) -> None:
    """The server has the signature exactly from the version that KNOWN tells."""
    types = ", ".join(f'pg_catalog."{type}"' for type in entry.parameters)
    schema = "plproxy" if entry.name == "mmh3" else "pg_catalog"
    found = conn.execute(
        "select prorettype::regtype::text, provolatile, proisstrict, proparallel"
        " from pg_proc where oid = to_regprocedure(%s)",
        [f"{schema}.{entry.name}({types})"],
    ).fetchall()
    result = {"int4": "integer", "int8": "bigint"}[entry.returns]
    exists = major(conn) >= entry.since
    assert found == [(result, "i", True, "s")] * exists


@pytest.mark.parametrize("entry", ENTRIES, ids=name)
def test_random_values(conn: psycopg.Connection[Any], entry: KnownHash) -> None:
    """Random values hash as on the server."""
    if major(conn) < entry.since:
        pytest.skip(f"PostgreSQL {major(conn)} has no {name(entry)}")
    for rows in random_rows(entry, COUNTS.get(entry.name, COUNT)):
        assert differences(conn, entry, rows) == []


@pytest.mark.parametrize("entry", ENTRIES, ids=name)
def test_edges(conn: psycopg.Connection[Any], entry: KnownHash) -> None:
    """Edge values hash as on the server, with each seed."""
    if major(conn) < entry.since:
        pytest.skip(f"PostgreSQL {major(conn)} has no {name(entry)}")
    values = EDGES[entry.parameters[0]]
    if len(entry.parameters) == 1:
        rows: list[tuple[Any, ...]] = [(value,) for value in values]
    else:
        rows = [(value, seed) for value in values for seed in SEEDS]
    assert differences(conn, entry, rows) == []


def test_infinite_numerics(conn: psycopg.Connection[Any]) -> None:
    """Infinities hash as on the server, where it has them."""
    if major(conn) < 14:
        pytest.skip("numeric has no infinity before PostgreSQL 14")
    infinities = [Decimal("Infinity"), Decimal("-Infinity")]
    for entry in KNOWN["hash_numeric"]:
        assert differences(conn, entry, [(value,) for value in infinities]) == []
    for entry in KNOWN["hash_numeric_extended"]:
        assert differences(conn, entry, [(value, 7) for value in infinities]) == []


NUMERICS = st.lists(
    st.decimals(allow_nan=False, allow_infinity=False).filter(
        lambda value: not value or -9000 < value.adjusted() < 9000
    )
    | st.integers(-(10**40), 10**40).map(Decimal)
    | st.builds(
        Decimal,
        st.tuples(
            st.integers(0, 1),
            st.lists(st.sampled_from([0, 0, 0, 1, 9]), min_size=1).map(tuple),
            st.integers(-30, 30),
        ),
    ),
    min_size=1,
)
STRINGS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | STRINGS,
    lambda inner: st.lists(inner) | st.dictionaries(STRINGS, inner),
)


@settings(derandomize=True, max_examples=300)
@given(values=NUMERICS)
def test_numeric_edges(conn: psycopg.Connection[Any], values: list[Decimal]) -> None:
    """Decimals of any scale and with zeros anywhere hash as on the server."""
    (entry,) = KNOWN["hash_numeric"]
    assert differences(conn, entry, [(value,) for value in values]) == []


@settings(derandomize=True, max_examples=100)
@given(
    values=st.lists(JSONS, min_size=1, max_size=8),
    seed=st.integers(-(2**63), 2**63 - 1),
)
def test_jsonb_edges(
    conn: psycopg.Connection[Any], values: list[object], seed: int
) -> None:
    """Any JSON value hashes as on the server, with and without a seed."""
    (plain,) = KNOWN["jsonb_hash"]
    (seeded,) = KNOWN["jsonb_hash_extended"]
    assert differences(conn, plain, [(value,) for value in values]) == []
    assert differences(conn, seeded, [(value, seed) for value in values]) == []


def test_mmh3_can_be_installed_again(conn: psycopg.Connection[Any]) -> None:
    """Running the file once more changes nothing."""
    conn.execute(MMH3_SQL.read_bytes())
    assert conn.execute("select plproxy.mmh3('')").fetchall() == [(0,)]
