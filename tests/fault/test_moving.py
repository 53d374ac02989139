"""A reload that moves a partition: the old target's calls end before the new one's."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from plproxy_py import ConfigError, QueryTimeout, Router
from tests.both import lent, wait_until
from tests.fix_router import Driver

WHERE = "SELECT right(current_database()::text, 2)::int4 FROM pg_sleep(%s)"


class Moving:
    """A cluster of two partitions, the second of which moves to another database."""

    def __init__(self, driver: Driver, databases: list[str]) -> None:
        self.driver = driver
        self.before = databases[:2]
        self.after = [databases[0], databases[2]]

    def where(self, partition: int, seconds: float = 0, timeout: float = 20) -> int:
        """Return the number of the database that served a partition's call."""
        sql = WHERE % seconds
        rows = self.driver.execute("userdb", sql, run_on=partition, timeout=timeout)
        number: int = rows[partition][0][0]
        return number

    def move(self) -> None:
        self.driver.router.configure({"userdb": self.after})


@pytest.fixture
def moving(make_router: Callable[..., Driver], databases4: list[str]) -> Moving:
    moving = Moving(make_router({"userdb": databases4[:2]}), databases4)
    assert [moving.where(n) for n in range(2)] == [0, 1]
    return moving


def test_calls_in_flight_end_first(moving: Moving) -> None:
    with lent(moving.driver, "userdb", partition=1):
        moving.move()
        # Other partitions are not held up, and whoever waits is told in time.
        assert moving.where(0) == 0
        with pytest.raises(QueryTimeout, match="former target") as caught:
            moving.where(1, timeout=0.2)
        assert caught.value.partition == 1
        assert not caught.value.sent
        assert moving.where(0) == 0
    assert moving.where(1) == 2
    assert moving.where(0) == 0


def test_a_target_that_serves_others_as_well(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    """The old target stays in use by another cluster, the new one was before."""
    others = {"others": databases4}
    driver = make_router({"userdb": databases4[:2], **others})
    moving = Moving(driver, databases4)
    assert [moving.where(n) for n in range(2)] == [0, 1]
    driver.execute("others", "SELECT 1")
    with lent(driver, "userdb", partition=1):
        driver.router.configure({"userdb": moving.after, **others})
        with pytest.raises(QueryTimeout, match="former target"):
            moving.where(1, timeout=0.2)
        assert len(driver.execute("others", "SELECT 1", timeout=9)) == 4
    assert moving.where(1) == 2


def test_nothing_in_flight_holds_up_nothing(moving: Moving) -> None:
    moving.move()
    assert [moving.where(n) for n in range(2)] == [0, 2]


def test_who_waits_goes_on_as_soon_as_they_ended(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    """Under load, in threads: no call of the new target begins before."""
    driver = make_router({"userdb": databases4[:2]})
    if driver.is_async:
        return
    moving = Moving(driver, databases4)
    ended = 0.0

    def old() -> int:
        nonlocal ended
        number = moving.where(1, 0.5)
        ended = time.monotonic()
        return number

    def new() -> tuple[int, float]:
        return moving.where(1), time.monotonic()

    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(old)
        pool = driver.router._preparer.clusters.current("userdb").pools[1]  # type: ignore[union-attr]
        wait_until(lambda: pool.in_use == 1)
        moving.move()
        later: list[Future[Any]] = [threads.submit(new) for _ in range(8)]
        assert first.result(20) == 1
        for one in later:
            number, at = one.result(20)
            assert number == 2
            assert at > ended


# A call on partition 1 that chose its target before a reload and got no slot until it
# was over: what partitions are then, and who may serve it.
LATE = {
    "moved": ([0, 2], 2),
    "duplicate entries": ([0, 1, 0, 1], 1),
    "doubled and moved": ([0, 1, 0, 2], None),
    "fewer": ([0], None),
}


@pytest.mark.parametrize("name", LATE)
def test_who_waited_for_the_former_target(databases4: list[str], name: str) -> None:
    """Where partitions were divided, only one target of all its parts is right."""
    numbers, served = LATE[name]
    with (
        Router({"userdb": databases4[:2]}, pool_size=1) as router,
        ThreadPoolExecutor(1) as thread,
    ):
        with router.connection("userdb", partition=1):
            late = thread.submit(router.execute, "userdb", WHERE % 0, run_on=1)
            pools = list(router._pools._pools.values())
            wait_until(lambda: any(pool.waiting for pool in pools))
            router.configure({"userdb": [databases4[number] for number in numbers]})
        if served is not None:
            assert late.result(20) == {1: [(served,)]}
            return
        with pytest.raises(
            ConfigError, match="while the call was on its way"
        ) as caught:
            late.result(20)
        assert (caught.value.partition, caught.value.sent) == (1, False)


def test_many_calls_that_waited(databases4: list[str]) -> None:
    """Two functions of one cluster, before and after: each to where it is now."""
    define = (
        "CREATE FUNCTION where_is(n int4) RETURNS int4 LANGUAGE plproxy AS $$ CLUSTER "
        "'userdb'; RUN ON n; SELECT right(current_database()::text, 2)::int4; $$"
    )
    with (
        Router({"userdb": databases4[:2]}, pool_size=1) as router,
        ThreadPoolExecutor(1) as thread,
    ):
        where = router.define(define)
        with router.connection("userdb", partition=1):
            late = thread.submit(where.call_many, [(n % 2,) for n in range(50)])
            pools = list(router._pools._pools.values())
            wait_until(lambda: any(pool.waiting for pool in pools))
            router.configure({"userdb": [databases4[0], databases4[2]]})
        assert late.result(20) == [0, 2] * 25
