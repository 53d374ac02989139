"""Rows as they come: order, ends, errors, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import pytest

from plproxy_py import (
    AsyncRouter,
    Int4,
    Router,
    RouterClosed,
    Row,
    _connector,
)
from tests.both import backends, check_idle, close, face, next_row, rows, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

PLACE = "right(current_database()::text, 2)::int4"
SPREAD = f"{PLACE} * 10000 + g FROM generate_series(1, n) g"
PARTITIONS = [f"part{number:02}" for number in range(4)]
# A server sends what fills 8 KB, and the first chunk has 8 rows.
NAPS = "repeat('x', 9000) || pg_sleep(CASE WHEN g > 9 THEN 20 ELSE 0 END)::text "
NAPS += "FROM generate_series(1, 99) g"
MANY = "g::int4 FROM generate_series(1, 200000) g"


@pytest.fixture
def driver(
    make_router: Callable[..., Driver],
    databases4: list[str],
    request: pytest.FixtureRequest,
) -> Driver:
    """One connection for each partition: one that is not given back is missed."""
    return make_router(
        {"userdb": databases4}, pool_size=1, application_name=request.node.name[:50]
    )


@pytest.fixture
def is_idle(driver: Driver, pg: Pg) -> Callable[[], None]:
    """What waits until no session works any more, and calls each partition again."""
    return lambda: check_idle(driver, pg)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 3000])
def test_rows_keep_their_order_within_a_partition(driver: Driver, count: int) -> None:
    numbers = face(driver, Iterator[Int4], {"n": Int4}, select=SPREAD)
    for _ in range(2):  # with chunks of another size the second time
        got = rows(driver, numbers(count))
        assert len(got) == 4 * count
        for place in range(4):
            own = [number for number in got if number // 10000 == place]
            assert own == [place * 10000 + g for g in range(1, count + 1)]


def test_one_partition_streams_as_well(driver: Driver) -> None:
    numbers = face(driver, Iterator[Int4], {"n": Int4}, select=SPREAD, run_on=2)
    assert rows(driver, numbers(n=3)) == [20001, 20002, 20003]
    assert rows(driver, driver.run(driver.router.call(numbers.__name__, 2))) == [
        20001,
        20002,
    ]


class Item(NamedTuple):
    id: Int4
    note: str | None


def test_rows_are_what_the_hint_says(driver: Driver) -> None:
    items = face(
        driver,
        Iterator[Item],
        select="g AS id, nullif('x', 'x') AS note FROM generate_series(1, 2) g",
        run_on=1,
    )
    assert rows(driver, items()) == [Item(1, None), Item(2, None)]
    anything = face(
        driver, Iterator[Row], {"q": str}, "f(q text) RETURNS SETOF record", run_on=1
    )
    driver.execute(
        "userdb",
        "CREATE OR REPLACE FUNCTION f(q text) RETURNS SETOF record LANGUAGE plpgsql "
        "AS 'BEGIN RETURN QUERY EXECUTE q; END'",
        run_on=1,
    )
    listed = anything.returning("a int4, b text")
    (row,) = rows(driver, listed("SELECT 1, 'x'::text"))
    assert (row.a, row["b"]) == (1, "x")


@pytest.mark.parametrize(
    ("limit", "offset"), [(None, 0), (10, 0), (0, 0), (10, 5), (700, 300), (None, 2500)]
)
@pytest.mark.parametrize("count", [0, 7, 700])
def test_an_ordered_stream_is_the_sorted_union(
    driver: Driver, count: int, limit: int | None, offset: int
) -> None:
    """Runs of equal values, an empty partition, and one that has all the smallest."""
    select = (
        f"CASE {PLACE} WHEN 0 THEN g / 3 WHEN 1 THEN g - 100000 ELSE g * 7 %% 501 END "
        f"FROM generate_series(1, n) g WHERE {PLACE} <> 2"
    ).replace("%%", "%")
    numbers = face(
        driver,
        Iterator[Int4],
        {"n": Int4},
        select=select,
        order_by=("1 desc",),
        limit=limit,
        offset=offset,
    )
    answers = driver.execute(
        "userdb", f"SELECT {select.replace('n)', '$1::int4)')}", count
    )
    union = sorted(
        (value for own in answers.values() for (value,) in own), reverse=True
    )
    end = None if limit is None else offset + limit
    for _ in range(2):
        assert rows(driver, numbers(count)) == union[offset:end]


def test_nothing_is_sent_before_the_first_row_is_asked_for(
    driver: Driver, pg: Pg, request: pytest.FixtureRequest
) -> None:
    numbers = face(driver, Iterator[Int4], {"n": Int4}, select=SPREAD)
    stream = numbers(5)
    assert backends(pg, request.node.name[:50]) == 0
    close(driver, stream)
    assert rows(driver, stream) == []
    assert backends(pg, request.node.name[:50]) == 0


def test_wrong_arguments_are_refused(driver: Driver) -> None:
    numbers = face(driver, Iterator[Int4], {"n": Int4}, select=SPREAD)
    for wrong in ((), ("x",), (2**31,), (1, 2)):
        with pytest.raises((TypeError, ValueError), match=r"public\.face\d+\(1\)"):
            rows(driver, numbers(*wrong))


@pytest.mark.parametrize("ordered", [False, True])
def test_leaving_early_stops_all_partitions(
    driver: Driver, is_idle: Callable[[], None], ordered: bool
) -> None:
    order = {"order_by": ("1",)} if ordered else {}
    numbers = face(driver, Iterator[Int4], select=MANY, **order)
    stream = numbers()
    assert [next_row(driver, stream) for _ in range(3)]
    close(driver, stream)
    close(driver, stream)
    with pytest.raises(StopIteration):
        next_row(driver, stream)
    is_idle()


@pytest.mark.parametrize("how", ["break", "error", "with", "error in with"])
def test_a_loop_left_early_stops_all_partitions(
    driver: Driver, is_idle: Callable[[], None], how: str
) -> None:
    numbers = face(driver, Iterator[Int4], select=MANY)

    def loop() -> None:
        if "with" in how:
            with numbers() as stream:
                for _ in stream:
                    if "error" in how:
                        raise ArithmeticError
                    break
            return
        for _ in numbers():
            if how == "error":
                raise ArithmeticError
            break

    async def async_loop() -> None:
        if "with" in how:
            async with numbers() as stream:
                async for _ in stream:
                    if "error" in how:
                        raise ArithmeticError
                    break
            return
        async for _ in numbers():
            if how == "error":
                raise ArithmeticError
            break

    if "error" in how:
        with pytest.raises(ArithmeticError):
            driver.run(async_loop() if driver.is_async else loop())
    else:
        driver.run(async_loop() if driver.is_async else loop())
    is_idle()


def test_a_stream_left_to_the_garbage_collector_is_stopped(
    driver: Driver, is_idle: Callable[[], None]
) -> None:
    """Even in a cycle of references, which only the collector finds."""
    numbers = face(driver, Iterator[Int4], select=MANY)
    streams: list[Any] = [numbers()]
    next_row(driver, streams[0])
    streams.append(streams)
    del streams
    gc.collect()
    is_idle()


def test_the_collector_may_come_at_any_moment(
    driver: Driver, is_idle: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the thread just hands work to the background."""
    stream: Any = face(driver, Iterator[Int4], select=MANY)()
    next_row(driver, stream)
    cycle: list[Any] = [stream]
    cycle.append(cycle)
    hand_over = _connector.spawn

    def collect_first(*args: Any) -> Any:
        # Once: where there are many objects it takes a second, on either thread.
        monkeypatch.setattr(_connector, "spawn", hand_over)
        gc.collect()
        return hand_over(*args)

    monkeypatch.setattr(_connector, "spawn", collect_first)
    del stream, cycle
    pools = driver.router._pools
    opening = pools.connector.open(next(iter(pools._pools)), "collected")
    opening.result(timeout=60).close()
    is_idle()


def test_ctrl_c_stops_a_stream(databases4: list[str], pg: Pg) -> None:
    with Router(
        {"userdb": databases4}, pool_size=1, application_name="ctrl_c stream"
    ) as router:

        @router.proxy(
            cluster="userdb",
            run_on="ALL",
            select=NAPS,
        )
        def naps() -> Iterator[str]: ...

        stream = naps()
        next(stream)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            list(stream)
        wait_until(lambda: backends(pg, "ctrl_c stream", "active") == 0)
        assert list(stream) == []
        assert len(router.execute("userdb", "SELECT 7 AS seven", timeout=3)) == 4


def test_a_cancelled_task_stops_its_stream(databases4: list[str], pg: Pg) -> None:
    async def main() -> None:
        async with AsyncRouter(
            {"userdb": databases4}, pool_size=1, application_name="task stream"
        ) as router:

            @router.proxy(
                cluster="userdb",
                run_on="ALL",
                select=NAPS,
            )
            def naps() -> AsyncIterator[str]: ...

            async def read() -> None:
                async for _ in naps():
                    pass

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(read(), 0.3)
            wait_until(lambda: backends(pg, "task stream", "active") == 0)
            answers = await router.execute("userdb", "SELECT 7", timeout=3)
            assert len(answers) == 4

    asyncio.run(main())


def test_a_stream_is_read_on_another_thread_than_made_it(databases4: list[str]) -> None:
    got: list[int] = []
    with Router({"userdb": databases4}) as router:

        @router.proxy(cluster="userdb", run_on="ALL", select=SPREAD)
        def numbers(n: Int4) -> Iterator[Int4]: ...

        stream = numbers(1000)
        got.append(next(stream))
        thread = threading.Thread(target=lambda: got.extend(stream))
        thread.start()
        thread.join(5)
        assert len(set(got)) == 4000


def test_a_closed_router_streams_no_more(driver: Driver) -> None:
    numbers = face(driver, Iterator[Int4], {"n": Int4}, select=SPREAD)
    before = numbers(5)
    driver.close()
    for stream in (before, numbers(5)):
        with pytest.raises(RouterClosed):
            rows(driver, stream)


def test_what_is_streaming_at_close_comes_to_its_end(driver: Driver) -> None:
    numbers = face(driver, Iterator[Int4], {"n": Int4}, select=SPREAD)
    stream = numbers(9000)
    first = next_row(driver, stream)
    driver.run(driver.router.close(timeout=0.05))
    assert len({first, *rows(driver, stream)}) == 36000


def test_a_stream_can_be_closed_after_its_router(driver: Driver, pg: Pg) -> None:
    stream = face(driver, Iterator[Int4], select=MANY)()
    next_row(driver, stream)
    driver.run(driver.router.close(timeout=0.05))
    close(driver, stream)
    name = driver.router._pools.connector._application_name
    wait_until(lambda: backends(pg, name) == 0)
