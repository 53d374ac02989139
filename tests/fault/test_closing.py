"""Closing a router while calls are in flight, and using it afterwards."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from psycopg.errors import QueryCanceled

from plproxy_py import AsyncRouter, ConnectionLost, Error, Router, RouterClosed
from tests.both import backends, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg
from tests.fix_servers import Servers

NAME = "plproxy closing"
SLOW = "SELECT pg_sleep(30)"
THREAD = "plproxy_py connector"


def caught(call: Callable[[], Any]) -> BaseException | None:
    """Return what a call raises."""
    try:
        call()
    except Error as error:
        return error
    return None


class Closing:
    """A router of either kind with calls in flight, which is closed meanwhile."""

    def __init__(self, driver: Driver, connstrs: list[str], pg: Pg) -> None:
        self.driver = driver
        self.router: Any = driver.router
        self.pg = pg
        self.partitions = len(connstrs)

    def during(
        self, sql: str, callers: int, timeout: float, busy: int
    ) -> list[BaseException | None]:
        """Close with ``timeout`` once so many sessions are busy; return the errors."""
        if self.driver.is_async:
            return self._during_async(sql, callers, timeout, busy)
        with ThreadPoolExecutor(callers) as threads:
            calls: list[Future[BaseException | None]] = [
                threads.submit(caught, lambda: self.router.execute("userdb", sql))
                for _ in range(callers)
            ]
            wait_until(lambda: backends(self.pg, NAME, "active") >= busy)
            self.router.close(timeout)
            return [call.result(5) for call in calls]

    def _during_async(
        self, sql: str, callers: int, timeout: float, busy: int
    ) -> list[BaseException | None]:
        async def main() -> list[BaseException | None]:
            calls = [
                asyncio.create_task(self.router.execute("userdb", sql))
                for _ in range(callers)
            ]
            await asyncio.to_thread(
                wait_until, lambda: backends(self.pg, NAME, "active") >= busy
            )
            await self.router.close(timeout)
            async with asyncio.timeout(5):
                results = await asyncio.gather(*calls, return_exceptions=True)
            return [one if isinstance(one, BaseException) else None for one in results]

        result: list[BaseException | None] = self.driver.run(main())
        return result


@pytest.fixture
def closing(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> Closing:
    driver = make_router({"userdb": databases4}, pool_size=2, application_name=NAME)
    return Closing(driver, databases4, pg)


def test_calls_that_end_in_time_end_well(closing: Closing) -> None:
    assert closing.during("SELECT pg_sleep(0.3)", 2, 10, 8) == [None, None]
    wait_until(lambda: backends(closing.pg, NAME) == 0)


def test_calls_that_do_not_are_cancelled(closing: Closing) -> None:
    """And those that still waited for a slot are told at once."""
    started = time.monotonic()
    errors = closing.during(SLOW, 5, 0.3, 8)
    assert time.monotonic() - started < 10
    in_flight = []
    for error in errors:
        assert isinstance(error, RouterClosed)
        if error.sent:
            in_flight.append(error)
            states = [error.outcomes[n].state for n in range(4)]
            assert states == ["failed"] * 4
            assert "the router was closed" in str(error)
    assert len(in_flight) == 2
    wait_until(lambda: backends(closing.pg, NAME) == 0)


def test_a_server_that_does_not_answer(
    make_router: Callable[..., Driver],
    databases4: list[str],
    servers: Servers,
    pg: Pg,
) -> None:
    connstrs = [*databases4[:1], servers.unix(3)]
    driver = make_router({"userdb": connstrs}, application_name=NAME)
    driver.execute("userdb", "SELECT 1")
    servers[3].freeze()
    (error,) = Closing(driver, connstrs, pg).during(SLOW, 1, 0.2, 1)
    assert isinstance(error, (RouterClosed, ConnectionLost))
    assert error.outcomes[0].state == "failed"
    assert error.outcomes[1].state == "unknown"


def test_a_connection_on_loan(databases4: list[str], pg: Pg) -> None:
    """It stays its user's; the statement that runs on it does not."""
    router = Router({"userdb": databases4}, application_name=NAME)
    with (
        ThreadPoolExecutor(1) as threads,
        router.connection("userdb", partition=1) as connection,
    ):
        running = threads.submit(connection.execute, SLOW)
        wait_until(lambda: backends(pg, NAME, "active") == 1)
        router.close(0.1)
        with pytest.raises(QueryCanceled):
            running.result(10)
        connection.rollback()
        assert connection.execute("SELECT 7").fetchone() == (7,)
    wait_until(lambda: backends(pg, NAME) == 0)


def test_use_after_close(closing: Closing) -> None:
    driver = closing.driver
    driver.execute("userdb", "SELECT 1")
    call = driver.define(
        "CREATE FUNCTION one() RETURNS int4 LANGUAGE plproxy AS "
        "$$ CLUSTER 'userdb'; RUN ON 0; SELECT 1; $$"
    )
    for _ in range(3):
        assert call() == 1
    driver.close()
    driver.close()
    for use in (call, lambda: driver.execute("userdb", "SELECT 1")):
        with pytest.raises(RouterClosed) as caught:
            use()
        assert not caught.value.sent


def test_nothing_is_left(make_router: Callable[..., Driver], pg: Pg) -> None:
    def threads() -> int:
        return sum(thread.name == THREAD for thread in threading.enumerate())

    before = threads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        driver = make_router({"userdb": [pg.connstr("part00")]}, application_name=NAME)
        driver.execute("userdb", "SELECT 1")
        assert threads() == before + 1
        driver.close()
    assert threads() == before
    wait_until(lambda: backends(pg, NAME) == 0)


def test_a_closed_router_that_never_called(databases4: list[str]) -> None:
    Router({"userdb": databases4}).close()
    asyncio.run(AsyncRouter({"userdb": databases4}).close())
