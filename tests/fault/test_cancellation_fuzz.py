"""Interruptions at random moments: Ctrl-C by timer signals, cancels of tasks.

After each, the next answers are right: every call has a token of its own. In the end
each pool has all its slots, no server works on anything, and no socket is left.
``PLPROXY_TEST_TIMES`` multiplies the interruptions, which are 1,000 otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import random
import signal
import sys
import threading
import types
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn

import pytest

from plproxy_py import AsyncRouter, Router
from tests.both import backends, face, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

NAMES = [f"fuzz{number}" for number in range(4)]
POOL_SIZE = 2
INTERRUPTIONS = 100
PATIENCE = 60.0  # of a call in seconds: what was lost ends a test, and does not hang it
ROWS = 400

REMOTE = """
CREATE OR REPLACE FUNCTION echo(v text) RETURNS text LANGUAGE sql AS 'SELECT v';
CREATE OR REPLACE FUNCTION nap(v text) RETURNS text LANGUAGE plpgsql
    AS $$ BEGIN PERFORM pg_sleep(0.003); RETURN v; END $$;
CREATE OR REPLACE FUNCTION everywhere(v text) RETURNS SETOF text LANGUAGE sql
    AS $$ SELECT v || ' ' || current_database() FROM pg_sleep(random() * 0.003) $$;
CREATE OR REPLACE FUNCTION numbers(v text, n int4) RETURNS SETOF text LANGUAGE sql
    AS $$ SELECT v || ' ' || i FROM generate_series(1, n) i $$;
CREATE OR REPLACE FUNCTION meet(v text, guests int4) RETURNS text LANGUAGE plpgsql
    AS $$ BEGIN
        PERFORM pg_advisory_lock_shared(4711);
        WHILE (SELECT count(*) < guests FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database
                            WHERE datname = current_database())) LOOP
            PERFORM pg_sleep(0.005);
        END LOOP;
        -- The others must see it too.
        PERFORM pg_sleep(0.05);
        PERFORM pg_advisory_unlock_shared(4711);
        RETURN v;
    END $$;
"""

_tokens = itertools.count()


@pytest.fixture(scope="module")
def targets(pg: Pg) -> list[str]:
    targets = pg.connstrs(NAMES)
    for name in NAMES:
        pg.execute(name, REMOTE)
    return targets


def sockets() -> int:
    """Return how many sockets this process has."""
    count = 0
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(entry.path).startswith("socket:")
    return count


class Acts:
    """What is interrupted. Each act takes a token, and gives what was wrong."""

    def __init__(self, router: Router | AsyncRouter, runner: asyncio.Runner) -> None:
        driver = Driver(router, runner)

        def declare(returns: Any, name: str, **keywords: Any) -> Any:
            parameters = keywords.pop("parameters", {"v": str})
            keywords = {"name": name, "timeout": PATIENCE, **keywords}
            return face(driver, returns, parameters, **keywords)

        key = "hashtext(v)"
        self.echo = declare(str, "echo", run_on=key)
        self.nap = declare(str, "nap", run_on=key)
        self.everywhere = declare(list[str], "everywhere")
        self.meet = declare(
            list[str],
            "meet",
            text="meet(v text, guests int4)",
            parameters={"v": str, "guests": int},
        )
        self.numbers = declare(
            Iterator[str],
            "numbers",
            text="numbers(v text, n int4)",
            parameters={"v": str, "n": int},
        )


def right_everywhere(token: str) -> list[str]:
    return [f"{token} {name}" for name in NAMES]


def check_rows(token: str, rows: list[str], whole: bool) -> None:
    assert {row.split(" ")[0] for row in rows} <= {token}
    assert len(rows) == (4 * ROWS if whole else 50)


def sync_acts(acts: Acts) -> dict[str, Callable[[str], None]]:
    """Return the acts by name; each raises AssertionError for another's answer."""

    def call(token: str) -> None:
        assert acts.echo(token) == token

    def nap(token: str) -> None:
        assert acts.nap(token) == token

    def everywhere(token: str) -> None:
        assert sorted(acts.everywhere(token)) == right_everywhere(token)

    def many(token: str) -> None:
        items = [f"{token}.{number}" for number in range(60)]
        assert acts.nap.call_many([(item,) for item in items[:8]]) == items[:8]
        assert acts.echo.call_many([(item,) for item in items]) == items

    def stream(token: str) -> None:
        with acts.numbers(token, ROWS) as rows:
            check_rows(token, list(rows), whole=True)
        with acts.numbers(token, 10 * ROWS) as rows:
            check_rows(token, list(itertools.islice(rows, 50)), whole=False)

    return {f.__name__: f for f in (call, nap, everywhere, many, stream)}


def async_acts(acts: Acts) -> dict[str, Callable[[str], Awaitable[None]]]:
    """Return the acts of `sync_acts` as coroutines."""

    async def call(token: str) -> None:
        assert await acts.echo(token) == token

    async def nap(token: str) -> None:
        assert await acts.nap(token) == token

    async def everywhere(token: str) -> None:
        assert sorted(await acts.everywhere(token)) == right_everywhere(token)

    async def many(token: str) -> None:
        items = [f"{token}.{number}" for number in range(60)]
        assert await acts.nap.call_many([(item,) for item in items[:8]]) == items[:8]
        assert await acts.echo.call_many([(item,) for item in items]) == items

    async def stream(token: str) -> None:
        async with acts.numbers(token, ROWS) as rows:
            check_rows(token, [row async for row in rows], whole=True)
        async with acts.numbers(token, 10 * ROWS) as rows:
            some = []
            async for row in rows:
                some.append(row)
                if len(some) == 50:
                    break
            check_rows(token, some, whole=False)

    return {f.__name__: f for f in (call, nap, everywhere, many, stream)}


ACTS = ["call", "nap", "everywhere", "many", "stream"]
# Most moments are early ones: there are the steps that only Python takes.
LONGEST = {"call": 0.001, "nap": 0.005, "everywhere": 0.005, "many": 0.02}


def moment(rng: random.Random, act: str) -> float:
    """Return after how many seconds to interrupt."""
    early: float = rng.random() ** 1.5
    return LONGEST.get(act, 0.04) * early + 0.00002


def new_token() -> str:
    return f"token{next(_tokens)}"


def interrupted(act: Callable[[str], None], delay: float) -> bool:
    """Run an act, with Ctrl-C after so many seconds; return whether it was heard."""

    def stop(_: int, frame: types.FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    token = new_token()
    before = signal.signal(signal.SIGALRM, stop)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, delay)
            act(token)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    finally:
        signal.signal(signal.SIGALRM, before)
    return False


def check_slots(router: Router | AsyncRouter) -> None:
    """All slots come back, be it a moment later, when a cancel was answered."""
    gc.collect()  # a slot that was forgotten is whoever's
    pools = router._pools._pools.values()
    for pool in pools:
        # One that is there twice would be lent to two callers.
        assert len({id(link) for link in pool.idle}) == len(pool.idle)
    wait_until(lambda: not any(pool.in_use or pool.waiting for pool in pools))


def check_meeting(acts: Acts) -> None:
    """As many calls at once on each partition as its pool is to have connections."""
    answers: list[Any] = []

    def guest() -> None:
        answers.append(acts.meet("guest", POOL_SIZE))

    threads = [threading.Thread(target=guest) for _ in range(POOL_SIZE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [["guest"] * 4] * POOL_SIZE


@pytest.fixture
def name(request: pytest.FixtureRequest, pg: Pg) -> Iterator[str]:
    """The application's name; in the end, nothing of it may be left."""
    name = f"fuzz {request.node.name}"[:50]
    gc.collect()
    before, threads = sockets(), threading.active_count()
    yield name
    wait_until(lambda: backends(pg, name) == 0)
    gc.collect()
    wait_until(lambda: threading.active_count() <= threads)
    assert sockets() == before


@pytest.fixture
def _unraisable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is interrupted in a finalizer be forgotten, as Python does.

    pytest would keep its traceback, and with it whatever stood in those frames. What
    was just made and is left to the collector also says so there.
    """
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)


@pytest.mark.usefixtures("_unraisable")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("waits", [False, True], ids=["alone", "waiting"])
@pytest.mark.parametrize("act", ACTS)
def test_ctrl_c(
    targets: list[str], pg: Pg, name: str, times: int, act: str, waits: bool
) -> None:
    """``waits``: others want the same connections, so that calls wait for theirs."""
    rng = random.Random(name)
    over = threading.Event()
    errors: list[BaseException] = []
    heard = 0
    with (
        asyncio.Runner() as runner,
        Router({"userdb": targets}, pool_size=POOL_SIZE, application_name=name) as db,
    ):
        acts = Acts(db, runner)
        other_acts, do = sync_acts(acts), sync_acts(acts)[act]

        def crowd() -> None:
            try:
                while not over.is_set():
                    other_acts["everywhere"](new_token())
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=crowd) for _ in range(3 if waits else 0)]
        for thread in threads:
            thread.start()
        try:
            for round in itertools.count(1):
                heard += interrupted(do, moment(rng, act) * (1 + 2 * waits))
                do(new_token())
                if heard >= INTERRUPTIONS * times // 2:
                    break
                assert round < 20 * INTERRUPTIONS * times
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert not errors
        check_slots(db)
        wait_until(lambda: backends(pg, name, "active") == 0)
        check_meeting(acts)
        do(new_token())


@pytest.mark.parametrize("act", ACTS)
def test_cancelled_tasks(
    targets: list[str], pg: Pg, name: str, times: int, act: str
) -> None:
    """Five tasks at a time want two connections of each partition."""
    rng = random.Random(name)

    async def main() -> None:
        runner = asyncio.Runner()
        router = AsyncRouter(
            {"userdb": targets}, pool_size=POOL_SIZE, application_name=name
        )
        async with router:
            acts = Acts(router, runner)
            do = async_acts(acts)[act]
            cancelled = 0

            async def one() -> None:
                nonlocal cancelled
                while cancelled < INTERRUPTIONS * times:
                    task = asyncio.ensure_future(do(new_token()))
                    await asyncio.sleep(moment(rng, act) * 4)
                    task.cancel()
                    try:
                        await task
                    except asyncio.CancelledError:
                        cancelled += 1
                    await do(new_token())

            await asyncio.gather(*(one() for _ in range(5)))
            check_slots(router)
            guests = (acts.meet("guest", POOL_SIZE) for _ in range(POOL_SIZE))
            assert await asyncio.gather(*guests) == [["guest"] * 4] * POOL_SIZE
            wait_until(lambda: backends(pg, name, "active") == 0)
            await do(new_token())

    asyncio.run(main())
