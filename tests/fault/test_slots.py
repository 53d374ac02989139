"""Ctrl-C between any two steps of Python: no slot of a pool is lost by it.

Two ways: at each step of one call in turn, so that none is left out, and by a timer's
signal at random moments, as it happens. ``PLPROXY_TEST_INTERRUPTS`` asks for so many of
the latter, and for each of the first, where otherwise some are passed over.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType

import pytest

from plproxy_py import AsyncRouter, Int4, Router, _leases
from tests.both import backends, face, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

INTERRUPTS = int(os.environ.get("PLPROXY_TEST_INTERRUPTS", "25"))
STRIDE = 1 if "PLPROXY_TEST_INTERRUPTS" in os.environ else 17
KINDS = ["call", "all", "many", "stream", "partial", "loan"]
POOL_SIZE = 2

# A coroutine that was just made is left to the collector, which says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited:RuntimeWarning"
)


@pytest.fixture(autouse=True)
def _nobody_keeps_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt within ``__del__`` is told to a hook; pytest's keeps its frames."""
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)


class Calls:
    """Calls of each kind on one router; each looks at its own answer."""

    def __init__(self, router: Router) -> None:
        self.router = router
        driver = Driver(router, None)  # type: ignore[arg-type]
        one = face(driver, Int4, {"k": Int4}, select="k + 1", run_on="k")
        every = face(driver, list[Int4], {"k": Int4}, select="k + 1")
        stream = face(driver, Iterator[Int4], {"k": Int4}, select="k + 1")
        self._tokens = itertools.count(step=4)  # all of them on partition 0
        self._one, self._every, self._stream = one, every, stream
        self.timely = every.with_options(timeout=10)

    def run(self, kind: str) -> None:
        """Make one call; a wrong answer is an AssertionError."""
        token = next(self._tokens)
        wanted = [token + 1] * 4
        if kind == "call":
            assert self._one(token) == token + 1
        elif kind == "all":
            assert self._every(token) == wanted
        elif kind == "many":
            keys = range(token, token + 8)
            assert self._one.call_many([(k,) for k in keys]) == [k + 1 for k in keys]
        elif kind == "stream":
            with self._stream(token) as rows:
                assert list(rows) == wanted
        elif kind == "partial":
            assert self._every.with_options(on_error="partial")(token) == wanted
        elif kind == "loan":
            with self.router.connection("userdb", partition=1) as connection:
                row = connection.execute("SELECT %s", [token]).fetchone()
                assert row == (token,)

    def in_use(self) -> list[int]:
        return [pool.in_use for pool in self.router._pools._pools.values()]

    def check_whole(self, pg: Pg, name: str) -> None:
        """Look whether all slots are there, and nothing runs on the server."""
        gc.collect()
        wait_until(lambda: not any(self.in_use()))
        wait_until(lambda: backends(pg, name, "active") == 0)
        # As many at a time as there are slots, and none waits for long.
        barrier = threading.Barrier(POOL_SIZE)

        def hold(number: int) -> None:
            with self.router.connection("userdb", partition=number, timeout=10) as one:
                barrier.wait(10)
                assert one.execute("SELECT 7").fetchone() == (7,)

        for partition in range(4):
            with ThreadPoolExecutor(POOL_SIZE) as threads:
                list(threads.map(hold, [partition] * POOL_SIZE))
        assert self.timely(1) == [2] * 4
        wait_until(lambda: backends(pg, name) <= 4 * POOL_SIZE)


@pytest.fixture
def calls(databases4: list[str]) -> Iterator[Calls]:
    router = Router(
        {"userdb": databases4}, pool_size=POOL_SIZE, application_name="plproxy slots"
    )
    with router:
        yield Calls(router)


class Interrupter:
    """Raises KeyboardInterrupt at a step of this thread's Python code.

    At the places where a signal's handler can run: as a function begins, and as a
    function that is written in C has returned.
    """

    # What reports an exception that nobody could be given.
    APART = ("_pytest", "traceback.py", "linecache.py", "warnings.py", "tokenize.py")

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        file = frame.f_code.co_filename
        if event in ("call", "c_return") and not any(
            name in file for name in self.APART
        ):
            self.left -= 1
            if self.left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("kind", "is_cold"),
    [(kind, is_cold) for kind in KINDS for is_cold in (False, True)],
)
def test_an_interrupt_at_each_step(
    calls: Calls, pg: Pg, kind: str, is_cold: bool
) -> None:
    """Where all is prepared on idle connections, and where none is open."""
    pools = calls.router._pools._pools.values()
    calls.run(kind)
    for step in itertools.chain(range(1, 60), itertools.count(60, STRIDE)):
        if is_cold:
            for link in _leases.take_idle(pools):
                link.close()
        else:
            for _ in range(3):
                calls.run(kind)
        interrupter = Interrupter(step)
        try:
            sys.setprofile(interrupter)
            calls.run(kind)
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(None)
        # Nor is one there twice.
        if any(calls.in_use()):
            gc.collect()
            wait_until(lambda: not any(calls.in_use()))
        if interrupter.left > 0:
            break
    assert step > 40
    calls.check_whole(pg, "plproxy slots")


@pytest.fixture
def interrupted() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Return what makes calls until Ctrl-C ends one of them."""
    dice = random.Random(7)
    has_come = False

    def come(number: int, frame: FrameType | None) -> None:
        nonlocal has_come
        has_come = True
        raise KeyboardInterrupt

    def until_interrupted(call: Callable[[], None]) -> None:
        nonlocal has_come
        has_come = False
        try:
            signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.0005, 0.004))
            # In `__del__` it is swallowed.
            while not has_come:
                call()
        except KeyboardInterrupt:
            pass

    before = signal.signal(signal.SIGALRM, come)
    yield until_interrupted
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", KINDS)
def test_interrupts_at_random(
    calls: Calls,
    pg: Pg,
    interrupted: Callable[[Callable[[], None]], None],
    kind: str,
) -> None:
    for _ in range(3):
        calls.run(kind)
    for _ in range(INTERRUPTS):
        interrupted(lambda: calls.run(kind))
    calls.check_whole(pg, "plproxy slots")


def test_interrupts_while_others_call(
    calls: Calls, pg: Pg, interrupted: Callable[[Callable[[], None]], None]
) -> None:
    """More threads than slots: this one is interrupted while it waits for one, too."""
    is_over = False

    def call() -> None:
        while not is_over:
            assert calls.timely(5) == [6] * 4

    with ThreadPoolExecutor(2 * POOL_SIZE) as threads:
        others = [threads.submit(call) for _ in range(2 * POOL_SIZE)]
        for _ in range(INTERRUPTS):
            interrupted(partial(calls.run, "all"))
        is_over = True
        for other in others:
            other.result(20)
    calls.check_whole(pg, "plproxy slots")


def test_interrupts_before_anything_is_open(
    databases4: list[str],
    pg: Pg,
    interrupted: Callable[[Callable[[], None]], None],
) -> None:
    """The background thread starts, and connections open, with the first call."""
    for _ in range(INTERRUPTS):
        router = Router(
            {"userdb": databases4},
            pool_size=POOL_SIZE,
            application_name="plproxy slots",
        )
        with router:
            calls = Calls(router)
            interrupted(partial(calls.run, "all"))
            assert calls.timely(1) == [2] * 4
    wait_until(lambda: backends(pg, "plproxy slots") == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_tasks(databases4: list[str], pg: Pg, kind: str) -> None:
    dice = random.Random(7)

    async def main() -> None:
        router = AsyncRouter(
            {"userdb": databases4},
            pool_size=POOL_SIZE,
            application_name="plproxy slots",
        )
        async with router:
            driver = Driver(router, None)  # type: ignore[arg-type]
            one = face(driver, Int4, {"k": Int4}, select="k + 1", run_on="k")
            every = face(driver, list[Int4], {"k": Int4}, select="k + 1")
            stream = face(driver, Iterator[Int4], {"k": Int4}, select="k + 1")

            async def call(token: int) -> None:
                wanted = [token + 1] * 4
                if kind == "call":
                    assert await one(token) == token + 1
                elif kind == "all":
                    assert await every(token) == wanted
                elif kind == "many":
                    keys = range(token, token + 8)
                    answers = await one.call_many([(k,) for k in keys])
                    assert answers == [k + 1 for k in keys]
                elif kind == "stream":
                    async with stream(token) as rows:
                        assert [row async for row in rows] == wanted
                elif kind == "partial":
                    assert await every.with_options(on_error="partial")(token) == wanted
                else:
                    async with router.connection("userdb", partition=1) as connection:
                        cursor = await connection.execute("SELECT %s", [token])
                        assert await cursor.fetchone() == (token,)

            tokens = itertools.count()

            async def forever() -> None:
                while True:
                    await call(next(tokens))

            # More tasks than slots: some are cancelled while they wait for one.
            for _ in range(INTERRUPTS):
                tasks = [asyncio.create_task(forever()) for _ in range(2 * POOL_SIZE)]
                await asyncio.sleep(dice.uniform(0.0005, 0.01))
                for task in tasks:
                    task.cancel()
                for result in await asyncio.gather(*tasks, return_exceptions=True):
                    assert isinstance(result, asyncio.CancelledError), result
            timely = every.with_options(timeout=10)
            together = [timely(1) for _ in range(2 * POOL_SIZE)]
            assert await asyncio.gather(*together) == [[2] * 4] * 2 * POOL_SIZE
            assert not any(pool.in_use for pool in router._pools._pools.values())
            wait_until(lambda: backends(pg, "plproxy slots", "active") == 0)

    asyncio.run(asyncio.wait_for(main(), 60))
