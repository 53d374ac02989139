"""Tables whose rows lie where they belong, and tables with five that do not.

Databases placed00 to placed03. ``users`` and ``strays`` are placed by hashtext of
their username, 2,000 rows each; of the strays five lie on partition 1 that belong on 0
and 3. ``numbers`` are placed by hashint8, ``hashed`` by mmh3, ``skewed`` as chance
never would.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plproxy_py.hashing import hashint8, hashtext, mmh3
from tests.fix_server import Pg

USERS = [f"user{number}" for number in range(2000)]
STRAYS = [
    name for number in range(9000) if hashtext(name := f"s{number}") & 3 in (0, 3)
]
STRAYS = STRAYS[:5]

TABLES = """
DROP SCHEMA IF EXISTS "Odd.Schema" CASCADE;
DROP TABLE IF EXISTS users, strays, numbers, hashed, skewed, uuids;
CREATE TABLE users (username text PRIMARY KEY, note text);
CREATE TABLE strays (username varchar(20), at timestamptz);
CREATE TABLE numbers (id int4 PRIMARY KEY);
CREATE TABLE hashed (name text);
CREATE TABLE skewed (username text);
CREATE TABLE uuids (id uuid);
CREATE SCHEMA "Odd.Schema";
CREATE TABLE "Odd.Schema"."a ""table" ("100 % {key}" text);
"""
FILL = """
INSERT INTO users SELECT unnest(%(users)s::text[]);
INSERT INTO strays SELECT unnest(%(users)s::text[] || %(strays)s::text[]);
INSERT INTO numbers SELECT unnest(%(numbers)s::int4[]);
INSERT INTO hashed SELECT unnest(%(hashed)s::text[]);
INSERT INTO skewed SELECT 'x' FROM generate_series(1, %(skewed)s);
INSERT INTO "Odd.Schema"."a ""table" SELECT unnest(%(users)s::text[]);
"""
UNREACHABLE = "host=/nowhere dbname=placed03 password=sekret"


def on(partition: int, hash: object, keys: list[object]) -> list[object]:
    """Return the keys of which the hash, a function, says that they live there."""
    assert callable(hash)
    return [key for key in keys if hash(key) & 3 == partition]


def fill(pg: Pg, name: str, partition: int) -> None:
    """Make the tables of one partition."""
    pg.execute(name, TABLES)
    users: list[object] = list(USERS)
    rows = {
        "users": on(partition, hashtext, users),
        "strays": STRAYS if partition == 1 else [],
        "numbers": on(partition, hashint8, list(range(-500, 500))),
        "hashed": on(partition, mmh3, users),
        "skewed": 400 if partition == 3 else 200,
    }
    for statement in FILL.strip().split("\n"):
        used = {key: value for key, value in rows.items() if f"%({key})" in statement}
        pg.execute(name, statement, used)
    pg.execute(name, "ANALYZE")


@pytest.fixture(scope="session")
def placed(pg: Pg) -> list[str]:
    """The names of four databases with the tables."""
    names = [f"placed{number:02}" for number in range(4)]
    pg.connstrs(names)
    for partition, name in enumerate(names):
        fill(pg, name, partition)
    return names


@pytest.fixture(scope="session")
def placing(
    pg: Pg, placed: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A config file whose clusters lead to the four databases.

    ``doubled`` has each of them twice, ``reworded`` in other words the second time.
    The last partition of ``half`` can't be reached.
    """
    connstrs = pg.connstrs(placed)
    others = pg.connstrs(placed, connect_timeout=9)
    clusters = {
        "placed": connstrs,
        "doubled": connstrs * 2,
        "reworded": connstrs + others,
        "half": [*connstrs[:3], UNREACHABLE],
        "wide": connstrs * 8,
    }
    text = "".join(
        f"[clusters.{name}]\npartitions = {json.dumps(partitions)}\n"
        for name, partitions in clusters.items()
    )
    path = tmp_path_factory.mktemp("placing") / "plproxy.toml"
    path.write_text(
        f"{text}[clusters.modular]\nmodular_mapping = true\n"
        f"partitions = {json.dumps(connstrs[:3])}\n"
    )
    return path
