"""sql/guard.sql: where a hash belongs, and a CHECK that keeps rows from elsewhere.

On the embedded server and on the one with the real PL/Proxy.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import errors

from plproxy_py.config import ClusterConfig, Partition, parse_connstr
from plproxy_py.hashing import hashtext
from tests.fix_plproxy import PARTS, PROXY, Plproxy
from tests.fix_proxydb import ProxyDb
from tests.snippets import ROOT

EDGES = [0, 1, -1, -4, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]
USERS = [f"user{number}" for number in range(200)]
INT8 = st.integers(-(2**63), 2**63 - 1)
HASHES = st.lists(INT8 | st.integers(-(2**31), 2**31 - 1), max_size=20)

MASKED = "SELECT plproxy.partition_of(h, %s) FROM unnest(%s::int8[]) AS h"
MODULAR = "SELECT plproxy.modular_partition_of(h, %s) FROM unnest(%s::int8[]) AS h"


def library(hashes: list[int], count: int, modular: bool) -> list[tuple[int]]:
    partitions = (Partition(0, (parse_connstr("dbname=x"),)),) * count
    cluster = ClusterConfig("c", partitions, modular_mapping=modular)
    return [(cluster.partition_of(hash),) for hash in hashes]


def mine(partition: int, count: int) -> str:
    """Return the users of a partition, as rows of VALUES."""
    names = [name for name in USERS if hashtext(name) & (count - 1) == partition]
    return ", ".join(f"('{name}')" for name in names)


def guard(db: ProxyDb, **options: object) -> None:
    """Run the file with psql."""
    variables = [f"{name}={value}" for name, value in options.items()]
    db.psql("guard.sql", *(word for text in variables for word in ("-v", text)))


@pytest.fixture
def db(proxydb: ProxyDb) -> ProxyDb:
    """A database with a table of users, those of partition 3 of 4."""
    proxydb.run("CREATE SCHEMA shop; CREATE TABLE shop.users (username text)")
    proxydb.run(f"INSERT INTO shop.users VALUES {mine(3, 4)}")
    return proxydb


OF_USERS = {"table": "shop.users", "run_on": "hashtext(username)"}
VALID = "SELECT convalidated FROM pg_constraint WHERE conname = 'plproxy_guard'"


def test_the_functions_are_the_routers_own(db: ProxyDb) -> None:
    guard(db)
    with db.connect() as conn:

        @settings(max_examples=60)
        @given(HASHES, st.integers(0, 12), st.integers(1, 4096))
        def check(hashes: list[int], power: int, count: int) -> None:
            masked = conn.execute(MASKED, [2**power, hashes]).fetchall()
            assert masked == library(hashes, 2**power, modular=False)
            modular = conn.execute(MODULAR, [count, hashes]).fetchall()
            assert modular == library(hashes, count, modular=True)

        check()
        for count in (1, 4, 65536):
            masked = conn.execute(MASKED, [count, EDGES]).fetchall()
            assert masked == library(EDGES, count, modular=False)
        for count in (1, 3, 1000):
            modular = conn.execute(MODULAR, [count, EDGES]).fetchall()
            assert modular == library(EDGES, count, modular=True)


def test_the_functions_are_pl_proxys_own(plproxy: Plproxy) -> None:
    psql = [str(Path("/usr/lib/postgresql/15/bin/psql")), "-X", "-q", "-f"]
    file = str(ROOT / "sql" / "guard.sql")
    connstr = plproxy.server.connstr(PROXY)
    subprocess.run([*psql, file, connstr], check=True, capture_output=True)
    plproxy.everywhere(
        "create or replace function guard_place(h int8) returns text language sql as "
        "'select current_database()::text'"
    )
    plproxy.cluster("guard3", PARTS[:3], modular_mapping=1)
    hashes = [*EDGES, *range(-9, 10), hashtext("marko"), hashtext("sven")]
    for cluster, function, count in (
        ("parts", "partition_of", 4),
        ("guard3", "modular_partition_of", 3),
    ):
        plproxy.admin(
            PROXY,
            "create or replace function guard_place(h int8) returns text "
            f"language plproxy as $$ cluster '{cluster}'; run on h; $$",
        )
        found = plproxy.admin(
            PROXY,
            f"select guard_place(h), plproxy.{function}(h, {count}) "
            "from unnest(%s::int8[]) as h",
            hashes,
        )
        assert [place for place, _ in found] == [PARTS[number] for _, number in found]
        assert {number for _, number in found} == set(range(count))


def test_what_there_can_not_be(db: ProxyDb) -> None:
    guard(db)
    for call in (
        *("partition_of(5, 0)", "partition_of(5, -4)", "partition_of(5, 3)"),
        *("partition_of(NULL, 4)", "partition_of(5, NULL)"),
        *("modular_partition_of(5, 0)", "modular_partition_of(NULL, 4)"),
    ):
        assert db.run(f"SELECT plproxy.{call}") == [(None,)]
    volatility = "SELECT provolatile FROM pg_proc WHERE proname LIKE '%partition_of'"
    assert {kind for (kind,) in db.run(volatility)} == {"i"}


def test_no_row_comes_in_that_belongs_elsewhere(db: ProxyDb) -> None:
    guard(db, **OF_USERS, partition=3, partitions=4)
    assert db.run(VALID) == [(True,)]
    other = mine(2, 4).split(", ")[0]
    for statement in (
        f"INSERT INTO shop.users VALUES {other}",
        "INSERT INTO shop.users VALUES (NULL)",
        f"UPDATE shop.users SET username = {other}",
    ):
        with pytest.raises(errors.CheckViolation, match="plproxy_guard"):
            db.run(statement)
    # As pg_restore has it.
    db.run(f"SET search_path = ''; INSERT INTO shop.users VALUES {mine(3, 4)}")


def test_rows_that_lie_there_already(db: ProxyDb) -> None:
    strays = mine(2, 4).split(", ")[:5]
    db.run(f"INSERT INTO shop.users VALUES {', '.join(strays)}")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        guard(db, **OF_USERS, partition=3, partitions=4)
    assert "is violated by some row" in caught.value.stderr
    # It guards nevertheless.
    assert db.run(VALID) == [(False,)]
    with pytest.raises(errors.CheckViolation):
        db.run(f"INSERT INTO shop.users VALUES {strays[0]}")
    db.run(f"DELETE FROM shop.users WHERE username IN ({', '.join(strays)})")
    guard(db, **OF_USERS, partition=3, partitions=4)
    assert db.run(VALID) == [(True,)]


def test_a_database_that_is_two_partitions(db: ProxyDb) -> None:
    guard(db, **OF_USERS, partition=3, partitions=4)
    guard(db, **OF_USERS, partition="3, 7", partitions=8)
    db.run(f"INSERT INTO shop.users VALUES {mine(7, 8)}")
    # Partition 7 has moved.
    with pytest.raises(subprocess.CalledProcessError):
        guard(db, **OF_USERS, partition=3, partitions=8)
    db.run(
        "DELETE FROM shop.users WHERE plproxy.partition_of(hashtext(username), 8) = 7"
    )
    guard(db, **OF_USERS, partition=3, partitions=8)
    with pytest.raises(errors.CheckViolation):
        db.run(f"INSERT INTO shop.users VALUES {mine(7, 8)}")


def test_modular_mapping(db: ProxyDb) -> None:
    db.run("DELETE FROM shop.users")
    guard(db, **OF_USERS, partition=2, partitions=3, modular="on")
    for name in USERS[:50]:
        statement = f"INSERT INTO shop.users VALUES ('{name}')"
        if abs(hashtext(name)) % 3 == 2:
            db.run(statement)
            continue
        with pytest.raises(errors.CheckViolation):
            db.run(statement)


def test_beside_unique_ids(db: ProxyDb) -> None:
    """Both files have a function of this name, of other arguments."""
    db.psql("ids.sql")
    guard(db)
    db.psql("ids.sql")
    assert db.run(
        "SELECT plproxy.partition_of(1027), plproxy.partition_of(1027, 4)"
    ) == [(3, 3)]


def test_it_does_not_queue_behind_a_long_transaction(db: ProxyDb) -> None:
    with db.connect() as other:
        other.autocommit = False
        other.execute("SELECT 1 FROM shop.users LIMIT 1")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            guard(db, **OF_USERS, partition=3, partitions=4)
        assert "lock timeout" in caught.value.stderr
    assert db.run(VALID) == []


def test_who_may_insert_may_be_checked(db: ProxyDb) -> None:
    guard(db, **OF_USERS, partition=3, partitions=4)
    with db.connect() as conn:
        conn.autocommit = False
        conn.execute("CREATE ROLE plproxy_py_test_guard")
        conn.execute("GRANT USAGE ON SCHEMA shop TO plproxy_py_test_guard")
        conn.execute("GRANT INSERT ON shop.users TO plproxy_py_test_guard")
        conn.execute("SET LOCAL ROLE plproxy_py_test_guard")
        name = mine(3, 4).split(", ")[0]
        conn.execute(psycopg.sql.SQL(f"INSERT INTO shop.users VALUES {name}"))
        conn.rollback()
