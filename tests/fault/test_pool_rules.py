"""What holds for pools: order, limits, and which idle connections are trusted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from plproxy_py import (
    ConnectError,
    ConnectionLost,
    Int4,
    PoolTimeout,
    RemoteError,
    Router,
)
from tests.both import backends, face, lent, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg
from tests.fix_servers import Servers

NAME = "plproxy rules"
PID = "SELECT pg_backend_pid()"


def pids(driver: Driver) -> list[int]:
    """Return the backend of each partition that serves the next call."""
    answers = driver.execute("userdb", PID, timeout=20)
    return [answers[partition][0][0] for partition in sorted(answers)]


def test_the_same_targets_in_opposite_order(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    """Whose callers would each hold what the other waits for."""
    driver = make_router({"there": databases4, "back": databases4[::-1]}, pool_size=1)

    def call(name: str) -> Callable[[], object]:
        def many() -> object:
            if driver.is_async:
                return many_async()
            for _ in range(40):
                driver.router.execute(name, "SELECT 1", timeout=20)
            return name

        async def many_async() -> str:
            for _ in range(40):
                await driver.router.execute(name, "SELECT 1", timeout=20)  # type: ignore[misc]
            return name

        return many

    names = ["there", "back"] * 3
    assert driver.together(*map(call, names)) == names


def test_a_restart_while_idle_costs_no_call(
    make_router: Callable[..., Driver], servers: Servers
) -> None:
    driver = make_router({"userdb": servers.connstrs()}, pool_size=3)
    one = face(driver, Int4, {"k": Int4}, select="k + 1", run_on="k")
    every = face(driver, list[Int4], {"k": Int4}, select="k + 1")
    for _ in range(3):  # opened and prepared
        assert driver.run(every(1)) == [2] * 4
        assert [driver.run(one(k)) for k in range(4)] == [1, 2, 3, 4]
    for partition, end in enumerate(["stop", "crash", "kill", "stop"]):
        getattr(servers[partition], end)()
        servers[partition].start()
        assert driver.run(one(partition)) == partition + 1
    for server in servers.servers:
        server.stop()
        server.start()
    assert driver.run(every(1)) == [2] * 4


def test_who_waits_is_served_in_order_of_arrival(databases4: list[str]) -> None:
    order: list[int] = []
    with Router({"userdb": databases4}, pool_size=1) as router:
        (pool,) = router._pools.wire(router.clusters["userdb"]).pools[:1]

        def call(number: int) -> None:
            with router.connection("userdb", partition=0, timeout=30):
                order.append(number)

        with (
            ThreadPoolExecutor(64) as threads,
            router.connection("userdb", partition=0),
        ):
            for number in range(64):
                threads.submit(call, number)
                wait_until(lambda: len(pool.waiting) == number + 1)  # noqa: B023
        assert order == list(range(64))


def test_limits_under_64_threads(databases4: list[str], pg: Pg) -> None:
    """Counted by the server; a connection that ends is there a moment longer."""
    is_over = threading.Event()
    seen: list[int] = []

    def watch() -> None:
        with psycopg.connect(pg.connstr(), autocommit=True) as conn:
            while not is_over.wait(0.005):
                found = conn.execute(
                    "SELECT coalesce(max(count), 0) FROM (SELECT count(*) FROM "
                    "pg_stat_activity WHERE application_name LIKE %s || '%%' "
                    "GROUP BY datname) AS each",
                    [NAME],
                ).fetchone()
                assert found is not None
                seen.append(found[0])

    options = {"pool_size": 3, "application_name": NAME}
    with Router({"userdb": databases4}, **options) as router:

        def call(number: int) -> None:
            for _ in range(5):
                where = "ALL" if number % 8 == 0 else number % 4
                router.execute("userdb", "SELECT 7", run_on=where, timeout=30)

        with ThreadPoolExecutor(65) as threads:
            watcher = threads.submit(watch)
            for done in [threads.submit(call, number) for number in range(64)]:
                done.result(60)
            is_over.set()
            watcher.result(10)
    assert 1 <= max(seen) <= 3


def test_a_lost_connection_ends_the_idle_ones_to_its_server(
    make_router: Callable[..., Driver], servers: Servers
) -> None:
    # Two targets on server 3, and one on each of two others.
    connstrs = [
        servers.unix(0),
        servers.unix(1),
        servers.unix(3),
        servers.unix(3, dbname="postgres"),
    ]
    driver = make_router({"userdb": connstrs}, application_name=NAME)
    before = pids(driver)
    with pytest.raises(ConnectionLost) as caught:
        driver.execute(
            "userdb", "SELECT pg_terminate_backend(pg_backend_pid())", run_on=2
        )
    assert caught.value.sqlstate == "57P01"
    count = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s || '%%'"
    )
    wait_until(lambda: servers.execute(3, count, [NAME]) == [(0,)])
    after = pids(driver)
    assert after[:2] == before[:2]
    assert set(after[2:]).isdisjoint(before[2:])


def test_an_error_in_a_statement_ends_none(userdb: Driver) -> None:
    before = pids(userdb)
    with pytest.raises(RemoteError):
        userdb.execute("userdb", "SELECT 1 / 0", run_on=2)
    assert pids(userdb) == before


def test_an_old_primary_that_is_a_standby_now(
    make_router: Callable[..., Driver], servers: Servers, tmp_path: Path
) -> None:
    """25006: its connections are dropped, and the map is looked at at once."""
    path = tmp_path / "plproxy.toml"

    def write(options: str) -> None:
        path.write_text(
            f'[clusters.userdb]\npartitions = ["{servers.unix(3, options=options)}"]\n'
        )

    servers.execute(3, "DELETE FROM kept WHERE token = 'standby'")
    write("-c default_transaction_read_only=on")
    driver = make_router(application_name=NAME)
    driver.router.configure(path)
    insert = "INSERT INTO kept VALUES ('standby')"
    (before,) = pids(driver)
    write("-c default_transaction_read_only=off")
    with pytest.raises(RemoteError) as caught:
        driver.execute("userdb", insert)
    assert caught.value.sqlstate == "25006"
    driver.execute("userdb", insert)  # within the file's second
    count = "SELECT count(*) FROM kept WHERE token = 'standby'"
    assert servers.execute(3, count) == [(1,)]
    assert pids(driver) != [before]


def test_no_slot_in_time_says_who_and_how_many(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router({"userdb": databases4}, pool_size=1)
    one = face(driver, Int4, {"k": Int4}, select="k", run_on="k", timeout=0.2)
    with lent(driver, "userdb", partition=2), pytest.raises(PoolTimeout) as caught:
        driver.run(one(2))
    text = str(caught.value)
    assert "public.face" in text
    assert "cluster userdb" in text
    assert "1 of 1 connections in use, 0 waiting" in text
    assert (caught.value.cluster, caught.value.partition) == ("userdb", 2)
    assert not caught.value.sent


def test_any_passes_over_what_is_down(
    make_router: Callable[..., Driver], servers: Servers
) -> None:
    driver = make_router({"userdb": servers.connstrs()}, pool_size=1)
    anywhere = face(driver, Int4, {"k": Int4}, select="k + 1", run_on="ANY", timeout=9)
    assert len(pids(driver)) == 4
    # A pause may be anything; this one is longer than the test.
    driver.router._pools.connector._knocking._spread = lambda low, high: 60.0
    servers[3].stop()
    with pytest.raises(ConnectError) as caught:
        driver.execute("userdb", "SELECT 1", run_on=3, timeout=9)
    assert not caught.value.sent
    answers = [driver.run(anywhere(k)) for k in range(40)]
    assert answers == list(range(1, 41))


def test_backends_go_with_their_router(databases4: list[str], pg: Pg) -> None:
    with Router({"userdb": databases4}, application_name=NAME) as router:
        router.execute("userdb", "SELECT 1")
        assert backends(pg, NAME) == 4
    wait_until(lambda: backends(pg, NAME) == 0)
