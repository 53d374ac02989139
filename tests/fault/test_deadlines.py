"""Time limits and stops where somebody does not answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from plproxy_py import AsyncRouter, Error, QueryTimeout, Router, RouterClosed
from plproxy_py._embedded import EmbeddedError, Server
from tests.fix_router import Driver
from tests.fix_server import no_server

ROOT = Path(__file__).parents[2]
SPOT = (
    "CREATE FUNCTION spot(n int4) RETURNS text LANGUAGE plproxy AS "
    "$$ CLUSTER 'userdb'; RUN ON %s; SELECT current_database()::text; $$"
)


@pytest.fixture(scope="module")
def frozen_home(databases4: list[str]) -> Iterator[Server]:
    """A server of its own for the home database, which tests freeze and thaw."""
    try:
        server = Server()
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        with psycopg.connect(server.connstr(), autocommit=True) as conn:
            conn.execute((ROOT / "sql/config_tables.sql").read_text().encode())
            conn.execute("SELECT plproxy.set_cluster('userdb', %s)", [databases4])
            conn.execute(
                "INSERT INTO plproxy.cluster_config VALUES"
                " ('userdb', 'query_timeout', '1')"
            )
            conn.execute(
                "CREATE FUNCTION slow_hash(n int4) RETURNS int4 LANGUAGE sql AS "
                "'SELECT n FROM pg_sleep(5)'"
            )
        yield server


@pytest.mark.parametrize("ttl", [0.0, 1.0])
def test_a_silent_home_does_not_outlast_the_timeout(
    make_router: Callable[..., Driver], frozen_home: Server, ttl: float
) -> None:
    """At the first load, and where the version is asked in each call."""
    driver = make_router(database=frozen_home.connstr(), config_ttl=ttl)
    driver.router.define(SPOT % "n")
    spot = driver.router.functions["public.spot(int4)"].with_options(timeout=0.5)
    if ttl == 0:
        assert driver.run(spot(1)).endswith("part01")
    frozen_home.freeze()
    try:
        started = time.monotonic()
        with pytest.raises(QueryTimeout) as caught:
            driver.run(spot(1))
        assert time.monotonic() - started < 2
    finally:
        frozen_home.thaw()
    assert not caught.value.sent
    assert driver.run(spot(1)).endswith("part01")


def test_query_timeout_holds_while_home_hashes(frozen_home: Server) -> None:
    with Router.from_database(frozen_home.connstr()) as router:
        spot = router.define(SPOT % "slow_hash(n)")
        started = time.monotonic()
        with pytest.raises(QueryTimeout, match=r"public\.spot\(1\)") as caught:
            spot(1)
        assert time.monotonic() - started < 3
        assert not caught.value.sent


def test_a_call_that_close_cancels_tells_the_truth(databases4: list[str]) -> None:
    """It was sent, and the server said that nothing of it is there."""
    router = Router({"userdb": databases4})
    caught: list[Error] = []

    def call() -> None:
        try:
            router.execute("userdb", "SELECT pg_sleep(3)", run_on=0, timeout=2.9)
        except Error as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.3)
    router.close(timeout=0.1)
    thread.join(10)
    (error,) = caught
    assert isinstance(error, RouterClosed)
    assert error.sent
    assert error.outcomes[0].state == "failed"


def test_a_task_cancelled_while_it_closes_is_cancelled(databases4: list[str]) -> None:
    async def main() -> None:
        router = AsyncRouter({"userdb": databases4})
        task = asyncio.create_task(
            router.execute("userdb", "SELECT pg_sleep(3)", run_on=0)
        )
        await asyncio.sleep(0.3)
        closing = asyncio.create_task(router.close(timeout=5))
        await asyncio.sleep(0.1)
        task.cancel()
        await closing
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
