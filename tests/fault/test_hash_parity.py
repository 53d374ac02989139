"""A server that hashes otherwise gets no calls; one that hashes right is asked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from plproxy_py import HashMismatch, Partial
from tests.both import face
from tests.fix_router import Driver
from tests.fix_server import Pg

# By its number a built-in function is found whatever the catalog says, so it must move.
WRONG = """
SET allow_system_table_mods = on;
ALTER FUNCTION pg_catalog.{0}({1}) RENAME TO {0}_before;
CREATE FUNCTION pg_catalog.{0}({1}) RETURNS int4 LANGUAGE sql AS 'SELECT 42';
"""
RIGHT = """
SET allow_system_table_mods = on;
DROP FUNCTION pg_catalog.{0}({1});
ALTER FUNCTION pg_catalog.{0}_before({1}) RENAME TO {0};
"""


def run(connstr: str, text: str) -> None:
    with psycopg.connect(connstr, autocommit=True) as connection:
        connection.execute(text.encode())


@pytest.fixture
def other(pg: Pg) -> Iterator[str]:
    """The connect string of a database to be spoilt."""
    name = sql.Identifier("hashes_otherwise")
    with psycopg.connect(pg.connstr(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield make_conninfo(pg.connstr(), dbname="hashes_otherwise")
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.mark.parametrize(
    ("name", "type"), [("hashtext", "text"), ("hashint4", "int4"), ("hashint8", "int8")]
)
def test_that_partition_refuses_calls_and_the_others_serve(
    make_router: Callable[..., Driver],
    databases4: list[str],
    other: str,
    name: str,
    type: str,
) -> None:
    run(other, WRONG.format(name, type))
    driver = make_router({"userdb": [*databases4[:3], other]})
    execute = driver.router.execute
    for _ in range(2):
        with pytest.raises(HashMismatch, match=rf"{name}\(.* is 42 on this") as info:
            driver.run(execute("userdb", "SELECT 7", run_on=3))
        assert (info.value.partition, info.value.cluster) == (3, "userdb")
        assert not info.value.sent
    assert driver.run(execute("userdb", "SELECT 7", run_on=1)) == {1: [(7,)]}
    answer = driver.run(face(driver, Partial[str], select="'here'::text")())
    assert (answer, answer.missing) == (["here"] * 3, (3,))
    # It is asked at every connect until it is right: no restart is needed.
    run(other, RIGHT.format(name, type))
    assert driver.run(execute("userdb", "SELECT 7", run_on=3)) == {3: [(7,)]}


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def other_encoding(pg: Pg, request: pytest.FixtureRequest) -> Iterator[str]:
    name = sql.Identifier(f"hashes_{request.param}")
    with psycopg.connect(pg.connstr(), autocommit=True) as connection:
        connection.execute(
            sql.SQL(
                "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'"
            ).format(name, request.param)
        )
        yield make_conninfo(pg.connstr(), dbname=name.as_string().strip('"'))
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_other_encodings_hash_ascii_alike(
    make_router: Callable[..., Driver], other_encoding: str
) -> None:
    driver = make_router({"c": [other_encoding]})
    assert driver.run(driver.router.execute("c", "SELECT 7")) == {0: [(7,)]}


def test_another_version_is_asked_anew(
    make_router: Callable[..., Driver], other: str
) -> None:
    """An upgrade behind a warm pool; here, what is known is of an older version."""
    driver = make_router({"c": [other]}, pool_size=1)
    end = (
        "SELECT pg_terminate_backend(pid, 9000) FROM pg_stat_activity "
        "WHERE datname = 'hashes_otherwise'"
    )
    call = partial(driver.router.execute, "c", "SELECT 7")
    assert driver.run(call()) == {0: [(7,)]}
    (session,) = driver.router._pools._pools
    manners = driver.router._pools.connector._knocking.door(session).manners
    run(other, WRONG.format("hashtext", "text"))
    for known, refused in ((manners.known, False), (90600, True)):
        manners.known = known
        run(make_conninfo(other, dbname="postgres"), end)
        if refused:
            with pytest.raises(HashMismatch):
                driver.run(call())
        else:
            assert driver.run(call()) == {0: [(7,)]}
