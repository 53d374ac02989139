"""Many calls where partitions are slow, dead, or die: what is told is what is there."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from plproxy_py import (
    AsyncRouter,
    ConnectError,
    ConnectionLost,
    Error,
    PoolTimeout,
    QueryTimeout,
    Results,
    Router,
)
from plproxy_py._embedded import Server
from tests.both import backends, rows, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg
from tests.fix_servers import usable
from tests.many import MAKE, PARTITIONS, REMOTE, call_many, check_truth, first, held

DEAD = "host=127.0.0.1 port=1 dbname=none"


@pytest.fixture(autouse=True)
def _remote(pg: Pg, databases4: list[str]) -> None:
    for name in PARTITIONS:
        pg.execute(name, REMOTE)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)[:50]


@pytest.fixture
def driver(
    make_router: Callable[..., Driver], databases4: list[str], name: str
) -> Driver:
    """One connection for each partition: one that is not given back is missed."""
    return make_router({"userdb": databases4}, pool_size=1, application_name=name)


@pytest.fixture
def make(driver: Driver) -> Any:
    return driver.router.define(MAKE)


@pytest.fixture
def made(own: Server) -> None:
    """The table and function on the server that breaks."""
    with psycopg.connect(own.connstr("part03"), autocommit=True) as conn:
        conn.execute(REMOTE.encode())


def there(pg: Pg, own: Server) -> set[int]:
    """Return the ids that the partitions of `mixed` hold."""
    with psycopg.connect(own.connstr("part03")) as conn:
        found = conn.execute("SELECT id FROM made").fetchall()
    return held(pg, PARTITIONS[:3]) | {id for (id,) in found}


def test_a_slow_partition(driver: Driver, make: Any, pg: Pg) -> None:
    """It sets the pace of the whole, and changes nothing else; no item runs ahead."""
    ahead = most = 0

    def items() -> Iterator[Any]:
        nonlocal ahead, most
        for id in range(1200):
            ahead += 1
            most = max(most, ahead)
            yield id, "nap 0.01" if id % 4 == 2 else "x"

    results = []
    if driver.is_async:
        results = rows(driver, make.iter_many(items()))
    else:
        for result in make.iter_many(items()):
            ahead -= 1
            results.append(result)
        assert most <= 1024
    told = check_truth(results, range(1200), held(pg))
    assert told == {"committed": 1200, "failed": 0, "unknown": 0}
    assert usable(driver)


def test_a_dead_partition(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    """Only its own calls fail, and they were not sent."""
    driver = make_router({"userdb": [*databases4[:3], DEAD]}, pool_size=1)
    make = driver.router.define(MAKE)
    results = call_many(driver, make, [(id, "x") for id in range(2000)])
    told = check_truth(results, range(2000), held(pg))
    assert told == {"committed": 1500, "failed": 500, "unknown": 0}
    for index, error in results.errors.items():
        assert isinstance(error, ConnectError)
        assert (error.partition, error.sent, error.cluster) == (3, False, "userdb")
        assert error.outcomes[3].error is error
        assert not error.outcomes[3].sent
        assert index % 4 == 3
    assert str(results[3]).startswith("public.make(2): [")


def test_a_dead_partition_of_calls_on_all(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    """Nothing is sent to the others, as for a single call."""
    driver = make_router({"userdb": [*databases4[:3], DEAD]}, pool_size=1)
    everywhere = driver.router.define(
        "CREATE FUNCTION make(id int4, how text) RETURNS SETOF text LANGUAGE plproxy "
        "AS $$ CLUSTER 'userdb'; RUN ON ALL; $$"
    )
    results = call_many(driver, everywhere, [(id, "x") for id in range(50)])
    assert len(results.errors) == 50
    assert all(isinstance(error, ConnectError) for error in results)
    assert not any(error.sent for error in results)
    assert list(results[0].outcomes) == [0, 1, 2, 3]
    assert held(pg) == set()


def test_a_dead_partition_of_some_calls(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    """Calls that share a partition with those that fail are made all the same."""
    driver = make_router({"userdb": [*databases4[:3], DEAD]}, pool_size=1)
    marks = driver.router.define(
        "CREATE FUNCTION make_all(ids int4[]) RETURNS SETOF text LANGUAGE plproxy "
        "AS $$ CLUSTER 'userdb'; SPLIT ids; RUN ON ids; $$"
    )
    pairs = [([id * 4 + id % 3, id * 4 + id % 3 + 1],) for id in range(60)]
    results = call_many(driver, marks, pairs)
    failed = {id for id in range(60) if id % 3 == 2}
    assert set(results.errors) == failed
    assert held(pg) == {i for id, (ids,) in enumerate(pairs) for i in ids} - {
        i for id in failed for i in pairs[id][0]
    }


def test_a_backend_that_dies(driver: Driver, make: Any, pg: Pg) -> None:
    """What was sent to it is unknown, what was not goes over another connection."""
    items = [(id, "die" if id == 2402 else "x") for id in range(6000)]
    results = call_many(driver, make, items)
    told = check_truth(results, range(6000), held(pg))
    assert told["failed"] == 0
    assert 1 <= told["unknown"] <= 128
    assert isinstance(results[2402], ConnectionLost)
    # The server's own last words, where libpq read them before it saw the end.
    assert results[2402].sqlstate in ("57P01", "08006")
    assert "partition 2: unknown" in str(results[2402])
    for index, error in results.errors.items():
        assert isinstance(error, ConnectionLost)
        assert index % 4 == 2
        assert abs(index - 2402) < 4 * 128
        assert error.sent
    assert results[5998] == "5998 x"
    assert usable(driver)


def test_every_call_kills_its_backend(driver: Driver, make: Any, pg: Pg) -> None:
    results = call_many(driver, make, [(id * 4, "die") for id in range(5)])
    assert all(isinstance(result, ConnectionLost) for result in results)
    check_truth(results, [id * 4 for id in range(5)], held(pg))
    assert usable(driver)


@pytest.mark.parametrize("seed", range(4))
def test_backends_killed_at_random(
    driver: Driver, make: Any, pg: Pg, name: str, seed: int
) -> None:
    """With large results, so that some connections wait for others to be read."""
    over = threading.Event()
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name LIKE %s || '%%' AND pid <> pg_backend_pid()"
    )

    def killer() -> None:
        rng = random.Random(seed)
        while not over.wait(rng.uniform(0.01, 0.1)):
            pg.execute(
                PARTITIONS[rng.randrange(4)],
                kill + " AND datname = current_database()",
                [name],
            )

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        how = ["big 500000" if id % 70 == 3 else "x" for id in range(5000)]
        results = call_many(driver, make, list(enumerate(how)))
    finally:
        over.set()
        thread.join()
    told = check_truth(results, range(5000), held(pg))
    assert told["committed"]
    wait_until(lambda: usable(driver))


def test_calls_that_run_out_of_time(
    driver: Driver, make: Any, pg: Pg, name: str
) -> None:
    """Those that were sent are unknown; the window is small, so they are few."""
    items = [(id, "nap 10" if id == 203 else "x") for id in range(800)]
    started = time.monotonic()
    results = call_many(driver, make.with_options(timeout=0.5), items)
    assert time.monotonic() - started < 5
    wait_until(lambda: backends(pg, name, "active") == 0)
    told = check_truth(results, range(800), held(pg))
    assert 1 <= told["unknown"] <= 16
    assert told["committed"] == 800 - told["unknown"]
    error = results[203]
    assert isinstance(error, QueryTimeout)
    assert (error.phase, error.sent, error.partition) == ("read", True, 3)
    assert isinstance(error, TimeoutError)
    assert usable(driver)


def test_no_connection_in_time(databases4: list[str], pg: Pg, name: str) -> None:
    """Another call has the only one; the calls of other partitions go on."""
    with Router({"userdb": databases4}, pool_size=1, application_name=name) as router:
        make = router.define(MAKE).with_options(timeout=0.5)
        busy = threading.Thread(
            target=router.execute,
            args=("userdb", "SELECT pg_sleep(1.5)"),
            kwargs={"run_on": 1},
        )
        busy.start()
        wait_until(lambda: backends(pg, name, "active") == 1)
        results = make.call_many([(id, "x") for id in range(40)])
        busy.join()
    told = check_truth(results, range(40), held(pg))
    assert told == {"committed": 30, "failed": 10, "unknown": 0}
    assert all(isinstance(error, PoolTimeout) for error in results.errors.values())
    assert not any(error.sent for error in results.errors.values())


@pytest.mark.usefixtures("made")
def test_a_partition_that_freezes(mixed: Driver, own: Server, pg: Pg) -> None:
    make = mixed.router.define(MAKE).with_options(timeout=0.5)
    assert len(call_many(mixed, make, [(id, "x") for id in range(100)]).errors) == 0
    own.freeze()
    started = time.monotonic()
    results = call_many(mixed, make, [(id, "x") for id in range(100, 300)])
    assert time.monotonic() - started < 10
    own.thaw()
    wait_until(lambda: mixed.execute("userdb", "SELECT 7", run_on=3)[3] == [(7,)])
    told = check_truth(results, range(100, 300), there(pg, own))
    assert told["committed"] == 150
    assert told["unknown"] >= 1
    assert all(isinstance(error, QueryTimeout) for error in results.errors.values())


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("way", ["crash", "kill"])
def test_a_server_that_dies(mixed: Driver, own: Server, pg: Pg, way: str) -> None:
    make = mixed.router.define(MAKE)
    thread = threading.Timer(0.5, getattr(own, way))
    thread.start()
    items = [(id, "nap 20" if id == 1003 else "x") for id in range(9000)]
    results = call_many(mixed, make, items)
    thread.join()
    own.start()
    told = check_truth(results, range(9000), there(pg, own))
    assert told["committed"] >= 6750
    assert 1 <= told["unknown"] <= 128
    assert told["failed"] >= 1, "the next window finds nobody there"
    assert mixed.execute("userdb", "SELECT 7", timeout=5)[3] == [(7,)]


def test_results_that_nobody_takes(
    driver: Driver, make: Any, pg: Pg, name: str
) -> None:
    """A consumer that leaves while large results are on their way: nobody is stuck."""
    items = [(id, "x" if id < 16 else "big 10000000") for id in range(80)]
    assert len(first(driver, make.iter_many(iter(items)), 18)) == 18
    wait_until(lambda: backends(pg, name, "active") == 0)
    there = held(pg)
    assert usable(driver)
    assert held(pg) == there


def test_ctrl_c(databases4: list[str], pg: Pg, name: str) -> None:
    with Router({"userdb": databases4}, pool_size=1, application_name=name) as router:
        make = router.define(MAKE)
        make.call_many([(id, "x") for id in range(4)])
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.4, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        started = time.monotonic()
        items = [(id, "nap 5" if id == 302 else "x") for id in range(100, 800)]
        with pytest.raises(KeyboardInterrupt) as caught:
            make.call_many(items)
        assert time.monotonic() - started < 3
        check_note(caught.value, 4, pg)
        wait_until(lambda: backends(pg, name, "active") == 0)
        assert len(
            make.call_many([(id, "x") for id in range(1000, 1400)]).raise_first()
        )


def check_note(error: BaseException, before: int, pg: Pg) -> None:
    """Hold the note of what is known against what is there."""
    (note,) = error.__notes__
    words = note.replace(",", "").split()
    committed, unknown = int(words[5]), int(words[9])
    assert committed <= len(held(pg)) - before <= committed + unknown
    assert unknown


def test_a_task_that_is_cancelled(databases4: list[str], pg: Pg, name: str) -> None:
    async def main() -> None:
        async with AsyncRouter(
            {"userdb": databases4}, pool_size=1, application_name=name
        ) as router:
            make = router.define(MAKE)
            await make.call_many([(id, "x") for id in range(4)])
            items = [(id, "nap 5" if id == 302 else "x") for id in range(100, 800)]
            task = asyncio.create_task(make.call_many(items))
            await asyncio.sleep(0.4)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            check_note(caught.value, 4, pg)
            await asyncio.to_thread(
                wait_until, lambda: backends(pg, name, "active") == 0
            )
            again = await make.call_many([(id, "x") for id in range(1000, 1400)])
            assert isinstance(again, Results)
            again.raise_first()

    asyncio.run(main())


def test_a_closed_router(databases4: list[str], pg: Pg) -> None:
    router = Router({"userdb": databases4})
    make = router.define(MAKE)
    source = make.iter_many((id, "x") for id in range(1000))
    results = [next(source)]
    router.close()
    results += list(source)
    told = check_truth(results, range(1000), held(pg))
    assert told == {"committed": 16, "failed": 984, "unknown": 0}
    assert isinstance(results[-1], Error)
    assert results[-1].sqlstate == "08003"
