"""Forked children: connections of their own, and the parent's are left alone."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import OperationalError

from plproxy_py import AsyncRouter, Int4, Router
from tests.both import backends, face, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

NAME = "plproxy fork"


@pytest.fixture
def router(databases4: list[str]) -> Iterator[Router]:
    with Router({"userdb": databases4}, pool_size=2, application_name=NAME) as router:
        yield router


def pids(router: Router) -> dict[int, int]:
    """Return the backend of each partition that serves the next call."""
    answers = router.execute("userdb", "SELECT pg_backend_pid()", timeout=20)
    return {partition: rows[0][0] for partition, rows in answers.items()}


def forked(work: Callable[[], object], end: Callable[[], object] | None = None) -> int:
    """Run something in a forked child; return the child's pid.

    ``end``: how it exits, by os._exit unless said.
    """
    with warnings.catch_warnings():
        # Since 3.12 Python warns where there are threads, as a router's is.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
        if end is not None:
            end()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def check_ended_well(*children: int) -> None:
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)


def run_exit_functions() -> None:
    """Do what Python does at its end, where it is not left by os._exit."""
    import atexit
    import gc

    atexit._run_exitfuncs()
    gc.collect()


@pytest.mark.parametrize("end", [None, run_exit_functions], ids=["_exit", "exit"])
def test_a_child_has_connections_of_its_own(
    router: Router, pg: Pg, end: Callable[[], object] | None
) -> None:
    before = pids(router)

    def work() -> None:
        own = pids(router)
        assert set(own.values()).isdisjoint(before.values())
        assert pids(router) == own
        router.close()

    check_ended_well(forked(work, end))
    assert pids(router) == before
    wait_until(lambda: backends(pg, NAME) == 4)


@pytest.mark.parametrize("end", [None, run_exit_functions], ids=["_exit", "exit"])
def test_a_child_that_does_not_use_it(
    router: Router, end: Callable[[], object] | None
) -> None:
    before = pids(router)
    check_ended_well(forked(lambda: None, end))
    assert pids(router) == before


def test_a_child_that_closes_it(router: Router) -> None:
    before = pids(router)
    check_ended_well(forked(router.close))
    assert pids(router) == before


def test_workers_that_were_forked_before_and_after_use(router: Router, pg: Pg) -> None:
    """A server that forks its workers, all of whom call at once, as the parent does."""
    before = pids(router)
    reading, writing = os.pipe()

    def work() -> None:
        for _ in range(20):
            own = pids(router)
        os.write(writing, " ".join(map(str, own.values())).encode() + b"\n")
        router.close()

    children = [forked(work) for _ in range(4)]
    for _ in range(20):
        assert pids(router) == before
    check_ended_well(*children)
    os.close(writing)
    with open(reading) as lines:
        seen = [int(pid) for line in lines for pid in line.split()]
    assert len(set(seen)) == 16
    assert set(seen).isdisjoint(before.values())
    assert pids(router) == before
    wait_until(lambda: backends(pg, NAME) == 4)


def work_elsewhere(router: Router, before: dict[int, int]) -> None:
    assert set(pids(router).values()).isdisjoint(before.values())


def test_multiprocessing(router: Router) -> None:
    before = pids(router)
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = context.Process(target=work_elsewhere, args=(router, before))
        child.start()
    child.join(30)
    assert child.exitcode == 0
    assert pids(router) == before


def test_calls_of_other_threads_do_not_hold_up_a_child(router: Router, pg: Pg) -> None:
    """They hold all slots, and any lock, at whatever moment the fork comes."""
    started = threading.Event()
    is_over = False

    def call() -> None:
        while not is_over:
            started.set()
            router.execute("userdb", "SELECT pg_sleep(0.002)")

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        started.wait(10)
        for _ in range(5):
            check_ended_well(forked(lambda: pids(router)))
    finally:
        is_over = True
        for thread in threads:
            thread.join()
    assert len(pids(router)) == 4


def test_what_is_on_loan_is_dead_in_the_child(router: Router) -> None:
    driver = Driver(router, None)  # type: ignore[arg-type]
    stream: Any = face(
        driver, Iterator[Int4], {"n": Int4}, select="generate_series(1, n)", run_on="0"
    )
    rows = stream(100_000)
    assert next(rows) == 1
    with router.connection("userdb", partition=1) as connection:
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or ()

        def work() -> None:
            with pytest.raises(OperationalError):
                list(rows)
            with pytest.raises(OperationalError):
                connection.execute("SELECT 1")
            assert len(pids(router)) == 4

        check_ended_well(forked(work))
        assert connection.execute("SELECT pg_backend_pid()").fetchone() == (pid,)
    assert sum(1 for _ in rows) == 100_000 - 1


def test_an_async_router_in_a_child(databases4: list[str], pg: Pg) -> None:
    router = AsyncRouter({"userdb": databases4}, application_name=NAME)
    statement = "SELECT pg_backend_pid()"

    async def in_parent() -> None:
        before = await router.execute("userdb", statement)

        def work() -> None:
            # In the child no loop runs, whatever the parent's thread is in.
            asyncio.events._set_running_loop(None)
            asyncio.run(in_child(before))

        check_ended_well(forked(work))
        assert await router.execute("userdb", statement) == before
        await router.close()

    async def in_child(before: Any) -> None:
        own = await router.execute("userdb", statement, timeout=20)
        assert {rows[0][0] for rows in own.values()}.isdisjoint(
            {rows[0][0] for rows in before.values()}
        )
        await router.close()

    asyncio.run(in_parent())
    wait_until(lambda: backends(pg, NAME) == 0)
