"""A partition's connection on loan: who gets it, and when it is given back."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from plproxy_py import (
    AsyncRouter,
    ConnectError,
    NoSuchCluster,
    PoolTimeout,
    Router,
    RouterClosed,
    RoutingError,
)
from tests.both import backends, face, lent, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

PLACE = "right(current_database()::text, 2)::int4"
PARTITIONS = [f"part{number:02}" for number in range(4)]


@pytest.fixture
def driver(make_router: Callable[..., Driver], databases4: list[str], pg: Pg) -> Driver:
    for name in PARTITIONS:
        pg.execute(name, "CREATE TABLE IF NOT EXISTS lent (id int4); TRUNCATE lent")
    return make_router(
        {"userdb": databases4},
        pool_size=1,
        application_name="lending",
    )


def held(pg: Pg, partition: int) -> list[int]:
    name = PARTITIONS[partition]
    return [id for (id,) in pg.execute(name, "SELECT id FROM lent ORDER BY id")]


def run(driver: Driver, connection: Any, sql: str, *params: Any) -> Any:
    """Run SQL on a lent connection; return its rows, if any."""
    cursor = driver.run(connection.execute(sql, params or None))
    return driver.run(cursor.fetchall()) if cursor.description else None


def test_it_is_a_connection_of_psycopg_to_that_partition(
    driver: Driver, databases4: list[str]
) -> None:
    kind = psycopg.AsyncConnection if driver.is_async else psycopg.Connection
    for number in range(4):
        with lent(driver, "userdb", partition=number) as connection:
            assert type(connection) is kind
            assert run(driver, connection, f"SELECT {PLACE}") == [(number,)]
            assert not connection.autocommit
            assert connection.info.dbname.endswith(f"part{number:02}")


@pytest.mark.parametrize("key", ["marko", "", "žluťoučký", 7, 0, -1, 2**40])
def test_a_key_leads_where_its_calls_go(driver: Driver, key: Any) -> None:
    by_text = isinstance(key, str)
    where = face(
        driver,
        int,
        {"key": str if by_text else int},
        select=f"{PLACE}::int8",
        run_on="hashtext(key)" if by_text else "hashint8(key)",
    )
    with lent(driver, "userdb", key=key) as connection:
        found = run(driver, connection, f"SELECT {PLACE}")
    assert found == [(driver.run(where(key)),)]


def test_another_hash(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router({"userdb": databases4}, hashes={"namehash": len})
    where = face(
        driver, int, {"key": str}, select=f"{PLACE}::int8", run_on="namehash(key)"
    )
    for key in ("a", "abc"):
        with lent(driver, "userdb", key=key, hash="namehash") as connection:
            assert run(driver, connection, f"SELECT {PLACE}") == [(len(key),)]
        assert driver.run(where(key)) == len(key)
    with lent(driver, "userdb", key=7, hash="hashint4") as connection:
        place = run(driver, connection, f"SELECT {PLACE}, hashint4(7) & 3")
    assert place[0][0] == place[0][1]


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ({}, RoutingError, "key= or partition="),
        ({"key": "a", "partition": 1}, RoutingError, "key= or partition="),
        ({"partition": 4}, RoutingError, "4"),
        ({"partition": -1}, RoutingError, "-1"),
        ({"partition": True}, RoutingError, "number"),
        ({"partition": "1"}, RoutingError, "number"),
        ({"partition": 1, "hash": "hashtext"}, RoutingError, "hash="),
        ({"key": "a", "hash": "hashtxt"}, RoutingError, "hashtxt"),
        ({"key": "a", "hash": "hashint8"}, (TypeError, ValueError), "int"),
        ({"key": 1.5}, TypeError, "str|text"),
        ({"key": "a\0b"}, ValueError, "NUL"),
    ],
)
def test_what_leads_nowhere(driver: Driver, given: Any, kind: Any, text: str) -> None:
    with pytest.raises(kind, match=text) as caught, lent(driver, "userdb", **given):
        pass
    if isinstance(caught.value, RoutingError):
        assert caught.value.cluster == "userdb"
        assert not caught.value.sent


def test_a_cluster_that_there_is_not(driver: Driver) -> None:
    with pytest.raises(NoSuchCluster) as caught, lent(driver, "userdc", partition=0):
        pass
    assert caught.value.cluster == "userdc"


def test_several_statements_are_one_transaction(driver: Driver, pg: Pg) -> None:
    with lent(driver, "userdb", partition=1) as connection:
        run(driver, connection, "INSERT INTO lent VALUES (1)")
        run(driver, connection, "INSERT INTO lent VALUES (2)")
        assert held(pg, 1) == []
    assert held(pg, 1) == [1, 2]


def test_an_exception_rolls_back(driver: Driver, pg: Pg) -> None:
    def work() -> None:
        with lent(driver, "userdb", partition=1) as connection:
            run(driver, connection, "INSERT INTO lent VALUES (1)")
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        work()
    assert held(pg, 1) == []
    assert driver.execute("userdb", "SELECT 7", run_on=1, timeout=3)[1] == [(7,)]


def test_a_commit_that_fails_is_raised(driver: Driver, pg: Pg) -> None:
    pg.execute(
        "part01",
        "CREATE TABLE IF NOT EXISTS lent_unique "
        "(id int4 UNIQUE DEFERRABLE INITIALLY DEFERRED); TRUNCATE lent_unique",
    )

    def work() -> None:
        with lent(driver, "userdb", partition=1) as connection:
            run(driver, connection, "INSERT INTO lent_unique VALUES (1), (1)")

    with pytest.raises(psycopg.errors.UniqueViolation):
        work()
    assert pg.execute("part01", "SELECT count(*) FROM lent_unique") == [(0,)]
    assert driver.execute("userdb", "SELECT 7", run_on=1, timeout=3)[1] == [(7,)]


def test_copy_and_psycopgs_own_transactions(driver: Driver, pg: Pg) -> None:
    with lent(driver, "userdb", partition=2) as connection:
        statement = "COPY lent FROM STDIN"

        async def copy_async() -> None:
            async with (
                connection.transaction(),
                connection.cursor() as cursor,
                cursor.copy(statement) as copy,
            ):
                for id in range(5):
                    await copy.write_row((id,))

        def copy() -> None:
            with (
                connection.transaction(),
                connection.cursor() as cursor,
                cursor.copy(statement) as copy,
            ):
                for id in range(5):
                    copy.write_row((id,))

        driver.run(copy_async() if driver.is_async else copy())
    assert held(pg, 2) == list(range(5))


def test_a_copy_left_in_the_middle(driver: Driver, pg: Pg) -> None:
    def work(text: str) -> None:
        with lent(driver, "userdb", partition=0) as connection:
            cursor = connection.cursor()
            copy = cursor.copy(text)
            if driver.is_async:
                driver.run(copy.__aenter__())
            else:
                copy.__enter__()

    for text in ("COPY lent FROM STDIN", "COPY pg_class TO STDOUT"):
        with pytest.raises(psycopg.Error):
            work(text)
        answers = driver.execute("userdb", "SELECT 7", run_on=0, timeout=3)
        assert answers[0] == [(7,)]
    wait_until(lambda: backends(pg, "lending") == 1)


def test_a_backend_killed_meanwhile(driver: Driver, pg: Pg) -> None:
    def work(then: type[Exception] | None) -> None:
        with lent(driver, "userdb", partition=0) as connection:
            ((pid,),) = run(driver, connection, "SELECT pg_backend_pid()")
            pg.execute("postgres", "SELECT pg_terminate_backend(%s, 5000)", [pid])
            if then is not None:
                raise then

    with pytest.raises(psycopg.OperationalError):
        work(None)
    assert driver.execute("userdb", "SELECT 7", run_on=0, timeout=3)[0] == [(7,)]


def test_the_borrowers_own_error_is_the_one_that_is_raised(
    driver: Driver, pg: Pg, caplog: pytest.LogCaptureFixture
) -> None:
    """Though nothing can be rolled back any more."""

    def work() -> None:
        with lent(driver, "userdb", partition=0) as connection:
            ((pid,),) = run(driver, connection, "SELECT pg_backend_pid()")
            pg.execute("postgres", "SELECT pg_terminate_backend(%s, 5000)", [pid])
            raise ArithmeticError("mine")

    with (
        caplog.at_level(logging.CRITICAL),
        pytest.raises(ArithmeticError, match="mine"),
    ):
        work()
    assert driver.execute("userdb", "SELECT 7", run_on=0, timeout=3)[0] == [(7,)]


def test_whoever_keeps_it_finds_it_closed(driver: Driver) -> None:
    with lent(driver, "userdb", partition=0) as connection:
        cursor = connection.cursor()
        driver.run(cursor.execute("SELECT 1"))
    assert connection.closed
    for attempt in (
        lambda: connection.execute("SELECT 1"),
        lambda: cursor.execute("SELECT 1"),
        lambda: connection.commit(),
        lambda: connection.rollback(),
    ):
        with pytest.raises(psycopg.Error):
            driver.run(attempt())
    driver.run(connection.close())
    assert driver.execute("userdb", "SELECT 7", run_on=0, timeout=3)[0] == [(7,)]


def test_statements_prepared_before_are_prepared_anew(driver: Driver) -> None:
    """The clean up forgets them; the router knows."""
    number = face(driver, int, {"n": int}, select="n + 1", run_on=0)
    for turn in range(8):
        assert driver.run(number(turn)) == turn + 1
        if turn % 3 == 2:
            with lent(driver, "userdb", partition=0) as connection:
                run(driver, connection, "DEALLOCATE ALL")


def test_the_routers_adapters_are_there(driver: Driver) -> None:
    driver.router.adapters.register_loader("int4", psycopg.types.string.TextLoader)
    with lent(driver, "userdb", partition=0) as connection:
        assert run(driver, connection, "SELECT 1::int4") == [("1",)]


def test_a_pool_that_is_used_up(driver: Driver) -> None:
    def work() -> None:
        with lent(driver, "userdb", partition=1, timeout=0.1):
            pass

    with lent(driver, "userdb", partition=1):
        with pytest.raises(PoolTimeout, match="1 of 1 connections in use") as caught:
            work()
        error = caught.value
        assert (error.partition, error.sent, error.cluster) == (1, False, "userdb")
        with lent(driver, "userdb", partition=2, timeout=3):
            pass
    work()


def test_a_partition_that_cannot_be_reached(
    make_router: Callable[..., Driver], pg: Pg
) -> None:
    nowhere = make_conninfo(pg.connstr("postgres"), dbname="nowhere")
    driver = make_router({"userdb": [nowhere]})
    with pytest.raises(ConnectError) as caught, lent(driver, "userdb", partition=0):
        pass
    assert (caught.value.cluster, caught.value.partition) == ("userdb", 0)


def test_a_closed_router_lends_nothing(driver: Driver) -> None:
    driver.close()
    with pytest.raises(RouterClosed), lent(driver, "userdb", partition=0):
        pass


def test_a_router_closed_meanwhile(driver: Driver, pg: Pg) -> None:
    with lent(driver, "userdb", partition=0) as connection:
        driver.run(driver.router.close(timeout=0.05))
        run(driver, connection, "INSERT INTO lent VALUES (1)")
    assert held(pg, 0) == [1]
    wait_until(lambda: backends(pg, "lending") == 0)


def test_behind_a_pooler_it_is_not_given_back(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    """Whatever was set there may be another client's by now: it is closed."""
    driver = make_router(
        {"userdb": {"partitions": databases4, "pooler": True}},
        application_name="lending",
    )
    with lent(driver, "userdb", partition=0) as connection:
        ((before,),) = run(driver, connection, "SELECT pg_backend_pid()")
    after = driver.execute("userdb", "SELECT pg_backend_pid()", run_on=0)[0][0][0]
    assert after != before


def test_a_connection_is_kept_where_it_can_be(driver: Driver) -> None:
    pids = set()
    for _ in range(3):
        with lent(driver, "userdb", partition=0) as connection:
            pids.add(run(driver, connection, "SELECT pg_backend_pid()")[0][0])
        pids.add(driver.execute("userdb", "SELECT pg_backend_pid()", run_on=0)[0][0][0])
    assert len(pids) == 1


def test_a_cancelled_task_leaves_the_queue(databases4: list[str]) -> None:
    async def main() -> None:
        async with AsyncRouter({"userdb": databases4}, pool_size=1) as router:

            async def wait_for_it() -> None:
                async with router.connection("userdb", partition=0):
                    pass

            async with router.connection("userdb", partition=0):
                task = asyncio.create_task(wait_for_it())
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            async with router.connection("userdb", partition=0, timeout=3) as own:
                assert not own.closed

    asyncio.run(main())


def test_a_task_cancelled_in_the_block(databases4: list[str], pg: Pg) -> None:
    pg.execute("part00", "CREATE TABLE IF NOT EXISTS lent (id int4); TRUNCATE lent")

    async def main() -> None:
        async with AsyncRouter({"userdb": databases4}, pool_size=1) as router:

            async def work() -> None:
                async with router.connection("userdb", partition=0) as own:
                    await own.execute("INSERT INTO lent VALUES (1)")
                    await own.execute("SELECT pg_sleep(30)")

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(work(), 0.3)
            answers = await router.execute("userdb", "SELECT 7", run_on=0, timeout=3)
            assert answers[0] == [(7,)]

    asyncio.run(main())
    assert pg.execute("part00", "SELECT count(*) FROM lent") == [(0,)]


def test_borrowers_wait_for_each_other(databases4: list[str], pg: Pg) -> None:
    pg.execute("part00", "CREATE TABLE IF NOT EXISTS lent (id int4); TRUNCATE lent")
    with Router({"userdb": databases4}, pool_size=2) as router:
        inside, most = [0], [0]
        lock = threading.Lock()

        def work(number: int) -> None:
            with router.connection("userdb", partition=0, timeout=10) as own:
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                own.execute("INSERT INTO lent VALUES (%s)", [number])
                time.sleep(0.01)
                with lock:
                    inside[0] -= 1

        threads = [threading.Thread(target=work, args=[n]) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == [2]
    assert pg.execute("part00", "SELECT count(*) FROM lent") == [(12,)]
