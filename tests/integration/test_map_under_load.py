"""A map that changes all the time, under a hundred callers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from plproxy_py import AsyncRouter, Router
from tests.fix_server import Pg

ROOT = Path(__file__).parents[2]
SECONDS = 3.0
CALLERS = 100
FUNCTION = """
CREATE FUNCTION spot(h int4) RETURNS int4 LANGUAGE plproxy AS
$$ CLUSTER 'moving'; RUN ON h; SELECT right(current_database()::text, 2)::int4; $$;
"""


@pytest.fixture
def maps(pg: Pg) -> Iterator[str]:
    """Return the home of a cluster that moves between two sets of databases.

    Databases a00 to a03 and b00 to b03: wherever partition n is, its name ends in n.
    Each 50 ms the cluster gets a new version, and its partitions other places.
    """
    places = [
        [pg.connstr(f"{side}{number:02}", application_name="moving") for side in "ab"]
        for number in range(4)
    ]
    home = pg.connstr("moving_home")
    with psycopg.connect(home, autocommit=True) as conn:
        conn.execute("DROP SCHEMA IF EXISTS plproxy CASCADE")
        conn.execute((ROOT / "sql/config_tables.sql").read_text().encode())
        stop = threading.Event()

        def move() -> None:
            turn = 0
            while not stop.is_set():
                chosen = [places[n][(turn >> n) & 1] for n in range(4)]
                conn.execute("SELECT plproxy.set_cluster('moving', %s)", [chosen])
                turn += 1
                stop.wait(0.05)

        move_once = threading.Thread(target=move)
        move_once.start()
        time.sleep(0.1)
        yield home
        stop.set()
        move_once.join()


def connections(pg: Pg) -> int:
    rows: list[tuple[int]] = pg.execute(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'moving'",
    )
    return rows[0][0]


def all_closed(pg: Pg) -> bool:
    """Wait, for a bounded time, until the server has seen the last one off."""
    deadline = time.monotonic() + 5
    while connections(pg) and time.monotonic() < deadline:
        time.sleep(0.05)
    return connections(pg) == 0


@pytest.mark.parametrize("ttl", [0.0, 0.05])
def test_threads(maps: str, pg: Pg, ttl: float) -> None:
    wrong: list[object] = []
    calls = [0] * CALLERS

    def work(me: int) -> None:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            hash = me * 7919 + calls[me]
            try:
                if (got := spot(hash)) != hash & 3:
                    wrong.append((hash, got))
            except Exception as error:
                wrong.append(error)
            calls[me] += 1

    with Router.from_database(maps, config_ttl=ttl, pool_size=2) as router:
        spot = router.define(FUNCTION)
        threads = [threading.Thread(target=work, args=[me]) for me in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        # 8 databases: what the last map does not name was given up.
        assert connections(pg) <= 16
        assert router.stats()["config"]["error"] is None
    assert wrong == []
    assert min(calls) > 0
    assert all_closed(pg)


@pytest.mark.parametrize("ttl", [0.0, 0.05])
def test_tasks(maps: str, pg: Pg, ttl: float) -> None:
    wrong: list[object] = []

    async def work(me: int) -> None:
        until = time.monotonic() + SECONDS
        turn = 0
        while time.monotonic() < until:
            hash = me * 7919 + turn
            if (got := await spot(hash)) != hash & 3:
                wrong.append((hash, got))
            turn += 1

    async def main() -> None:
        nonlocal spot
        async with AsyncRouter.from_database(
            maps, config_ttl=ttl, pool_size=2
        ) as router:
            spot = router.define(FUNCTION)
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                for me in range(CALLERS):
                    group.create_task(work(me))

    spot = None
    asyncio.run(main())
    assert wrong == []
    assert all_closed(pg)
