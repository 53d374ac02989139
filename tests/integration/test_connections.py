"""Connections: when they open, when they are replaced, how a router ends."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import threading
import time
from collections.abc import Callable

import pytest

from plproxy_py import AsyncRouter, ConfigError, Router, RouterClosed
from tests.fix_router import Driver
from tests.fix_server import Pg

PID = "SELECT pg_backend_pid() AS pid"


def pids(driver: Driver) -> dict[int, int]:
    answers = driver.execute("userdb", PID)
    return {partition: rows[0].pid for partition, rows in answers.items()}


def test_connections_open_lazily_and_are_kept(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    driver = make_router({"userdb": databases4}, application_name="lazy")
    seen = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lazy userdb'"
    )
    assert pg.execute("postgres", seen) == [(0,)]
    driver.execute("userdb", "SELECT 1", run_on=2)
    assert pg.execute("postgres", seen) == [(1,)]
    assert pids(driver) == pids(driver)
    assert pg.execute("postgres", seen) == [(4,)]


def test_a_connection_closed_by_the_server_costs_no_call(
    userdb: Driver, pg: Pg
) -> None:
    """The farewell lies readable in the socket: a look finds it, no round trip."""
    before = pids(userdb)
    for pid in before.values():
        pg.execute("postgres", "SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert not set(pids(userdb).values()) & set(before.values())


def test_connection_lifetime_replaces_connections(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router(
        {"userdb": {"partitions": databases4, "connection_lifetime": 0.2}}
    )
    before = pids(driver)
    time.sleep(0.25)
    assert not set(pids(driver).values()) & set(before.values())


def test_no_thread_per_partition(
    make_router: Callable[..., Driver], databases16: list[str]
) -> None:
    before = threading.active_count()
    driver = make_router({"userdb": databases16})
    assert len(pids(driver)) == 16
    assert threading.active_count() - before <= 1
    driver.close()
    assert threading.active_count() == before


def test_partitions_run_at_the_same_time(
    make_router: Callable[..., Driver], databases16: list[str]
) -> None:
    """Sixteen naps of 0.25 s: one after another they would take 4 s."""
    driver = make_router({"userdb": databases16})
    pids(driver)
    started = time.monotonic()
    driver.execute("userdb", "SELECT pg_sleep(0.25)")
    assert time.monotonic() - started < 2


def test_sessions_are_made_to_speak_what_psycopg_reads(
    make_router: Callable[..., Driver], pg: Pg
) -> None:
    """Another DateStyle and IntervalStyle of the database's own are set right."""
    odd = pg.connstr("odd_session")
    for setting in ("datestyle = 'German'", "intervalstyle = 'sql_standard'"):
        name = odd.split("dbname=")[1].split()[0]
        pg.execute("odd_session", f'ALTER DATABASE "{name}" SET {setting}')
    driver = make_router({"userdb": {"partitions": [odd], "timezone": "Asia/Tokyo"}})
    row = driver.execute(
        "userdb",
        "SELECT date '2026-02-03' AS d, interval '1 day 2 hours' AS i, "
        "current_setting('TimeZone') AS z",
    )[0][0]
    assert row.d == dt.date(2026, 2, 3)
    assert row.i == dt.timedelta(days=1, hours=2)
    assert row.z == "Asia/Tokyo"
    behind = make_router({"userdb": {"partitions": [odd], "pooler": True}})
    with pytest.raises(ConfigError, match=r"DateStyle.*ALTER ROLE"):
        behind.execute("userdb", "SELECT 1")


def test_a_closed_router_says_so(userdb: Driver) -> None:
    pids(userdb)
    userdb.close()
    with pytest.raises(RouterClosed) as caught:
        pids(userdb)
    assert caught.value.sqlstate == "08003"
    userdb.close()


def test_closing_waits_for_calls_under_way(databases4: list[str]) -> None:
    router = Router({"userdb": databases4})
    answers: list[object] = []
    thread = threading.Thread(
        target=lambda: answers.append(router.execute("userdb", "SELECT pg_sleep(0.5)"))
    )
    thread.start()
    time.sleep(0.2)
    router.close()
    thread.join()
    assert len(answers) == 1


def test_many_threads_share_few_connections(databases4: list[str], pg: Pg) -> None:
    """Each caller gets its own answer, and the limit is kept."""
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(20):
            token = number * 1000 + turn
            rows = router.execute("userdb", "SELECT $1::int AS token", token)
            if [row.token for (row,) in rows.values()] != [token] * 4:
                wrong.append(rows)

    with Router(
        {"userdb": databases4}, pool_size=2, application_name="crowd"
    ) as router:
        threads = [threading.Thread(target=work, args=[n]) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counted = pg.execute(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name LIKE 'crowd%'",
        )
    assert wrong == []
    assert counted[0][0] <= 8


def active(pg: Pg, marker: str) -> int:
    rows: list[tuple[int]] = pg.execute(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE state = 'active' AND query LIKE %s",
        [f"%{marker}%"],
    )
    return rows[0][0]


def test_ctrl_c_stops_every_partition(databases4: list[str], pg: Pg) -> None:
    with Router({"userdb": databases4}) as router:
        router.execute("userdb", "SELECT 1")
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            router.execute("userdb", "SELECT 'ctrl_c', pg_sleep(20)")
        assert time.monotonic() - started < 3
        assert active(pg, "ctrl_c") == 0
        assert router.execute("userdb", "SELECT 7 AS seven", run_on=0)[0] == [(7,)]


def test_a_cancelled_task_stops_every_partition(databases4: list[str], pg: Pg) -> None:
    async def main() -> None:
        async with AsyncRouter({"userdb": databases4}) as router:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await router.execute("userdb", "SELECT 'task', pg_sleep(20)")
            assert active(pg, "'task'") == 0
            rows = await router.execute("userdb", "SELECT 7 AS seven", run_on=0)
            assert rows[0] == [(7,)]

    asyncio.run(main())
