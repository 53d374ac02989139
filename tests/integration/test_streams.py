"""Rows as they come: order, ends, errors, and what is left behind."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import psycopg
import pytest

from plproxy_py import (
    AsyncRouter,
    Error,
    Int4,
    QueryTimeout,
    RemoteError,
    ResultError,
    Router,
    RouterClosed,
    Row,
)
from tests.both import backends, close, drained, face, next_row, rows, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

PLACE = "right(current_database()::text, 2)::int4"
SPREAD = f"{PLACE} * 10000 + g FROM generate_series(1, n) g"
PARTITIONS = [f"part{number:02}" for number in range(4)]
# A server sends what fills 8 KB, and the first chunk has 8 rows.
NAPS = "repeat('x', 9000) || pg_sleep(CASE WHEN g > 9 THEN 20 ELSE 0 END)::text "
NAPS += "FROM generate_series(1, 99) g"
MANY = "g::int4 FROM generate_series(1, 1000000) g"


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
def is_idle(
    driver: Driver, pg: Pg, request: pytest.FixtureRequest
) -> Callable[[], None]:
    """What waits until no session works any more, and calls each partition again."""

    def check() -> None:
        name = request.node.name[:50]
        wait_until(lambda: backends(pg, name, "active") == 0)
        answers = driver.execute("userdb", "SELECT 7 AS seven", timeout=3)
        assert [answers[place] for place in range(4)] == [[(7,)]] * 4
        wait_until(lambda: backends(pg, name) == 4)

    return check


def states(error: Error) -> dict[int, str]:
    return {part: outcome.state for part, outcome in error.outcomes.items()}


def all_committed_but(failed: int) -> dict[int, str]:
    return {**dict.fromkeys(range(4), "committed"), failed: "failed"}


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
    name = driver.router._pools._application_name
    wait_until(lambda: backends(pg, name) == 0)


KEEP = """
CREATE TABLE IF NOT EXISTS parents (id int4 PRIMARY KEY);
CREATE TABLE IF NOT EXISTS streamed (id int4 PRIMARY KEY,
    parent int4 REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
TRUNCATE streamed, parents;
CREATE OR REPLACE FUNCTION keep_many(n int4, orphan int4, fail int4)
    RETURNS SETOF int4 LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY INSERT INTO streamed SELECT g,
        CASE WHEN right(current_database()::text, 2)::int4 = orphan THEN 99 END
        FROM generate_series(1, n) g RETURNING id;
    IF right(current_database()::text, 2)::int4 = fail THEN
        RAISE EXCEPTION 'no room' USING ERRCODE = '53100';
    END IF;
END $$;
"""


def held(pg: Pg) -> dict[int, int]:
    """Return how many rows each partition holds."""
    return {
        number: pg.execute(name, "SELECT count(*) FROM streamed")[0][0]
        for number, name in enumerate(PARTITIONS)
    }


@pytest.fixture
def keep_many(driver: Driver, pg: Pg) -> Any:
    for name in PARTITIONS:
        pg.execute(name, KEEP)
    return face(
        driver,
        Iterator[Int4],
        {"n": Int4, "orphan": Int4 | None, "fail": Int4 | None},
        name="keep_many",
    )


@pytest.mark.parametrize("count", [3, 2000])
def test_a_commit_that_fails_behind_the_rows_is_raised_at_the_end(
    driver: Driver, pg: Pg, keep_many: Any, is_idle: Callable[[], None], count: int
) -> None:
    stream = keep_many(count, 2, None)
    got, error = drained(driver, stream)
    assert len(got) == 4 * count
    assert isinstance(error, RemoteError)
    assert isinstance(error, psycopg.errors.ForeignKeyViolation)
    assert (error.partition, error.sent, error.cluster) == (2, True, "userdb")
    assert states(error) == {
        0: "committed",
        1: "committed",
        2: "failed",
        3: "committed",
    }
    assert held(pg) == {0: count, 1: count, 2: 0, 3: count}
    assert f"{4 * count} rows had been delivered" in str(error)
    with pytest.raises(StopIteration):
        next_row(driver, stream)
    is_idle()


def test_a_function_that_fails_before_its_first_row(
    driver: Driver, pg: Pg, keep_many: Any, is_idle: Callable[[], None]
) -> None:
    got, error = drained(driver, keep_many(5, None, 3))
    assert isinstance(error, RemoteError)
    assert isinstance(error, psycopg.errors.DiskFull)
    assert states(error) == {
        0: "committed",
        1: "committed",
        2: "committed",
        3: "failed",
    }
    assert held(pg) == {0: 5, 1: 5, 2: 5, 3: 0}
    assert len(got) <= 15
    is_idle()
    alone = keep_many(0, None, 1)
    with pytest.raises(psycopg.errors.DiskFull) as caught:
        next_row(driver, alone)
    assert "delivered" not in str(caught.value)


def test_an_error_in_the_middle_says_how_many_rows_came(
    driver: Driver, is_idle: Callable[[], None]
) -> None:
    select = "(1000 / (1500 - g))::int4 FROM generate_series(1, 9999) g"
    got, error = drained(
        driver, face(driver, Iterator[Int4], select=select, run_on=1)()
    )
    assert isinstance(error, psycopg.errors.DivisionByZero)
    assert got == [1000 // (1500 - g) for g in range(1, len(got) + 1)]
    assert 0 < len(got) < 1500
    assert f"{len(got)} rows had been delivered" in str(error)
    is_idle()


def test_a_broken_order_ends_an_ordered_stream(
    driver: Driver, is_idle: Callable[[], None]
) -> None:
    """Without one partition's rows nobody knows what comes next."""
    select = f"(1000 / (1500 - g + {PLACE} % 2 * 9999))::int4 + g AS r " + (
        "FROM generate_series(1, 9999) g"
    )
    numbers = face(driver, Iterator[Int4], select=select, order_by=("r",))
    stream = numbers()
    with pytest.raises(psycopg.errors.DivisionByZero):
        rows(driver, stream)
    is_idle()


@pytest.mark.parametrize("ordered", [False, True])
def test_a_value_that_python_cannot_hold(
    driver: Driver, is_idle: Callable[[], None], ordered: bool
) -> None:
    """The calls went out; the error must not look as if nothing had been sent."""
    dates = face(
        driver,
        Iterator[dt.date],
        select=f"CASE {PLACE} WHEN 3 THEN 'infinity' ELSE date '2026-01-01' END AS r",
        **({"order_by": ("r",)} if ordered else {}),
    )
    with pytest.raises(ResultError, match="Python can't hold") as caught:
        rows(driver, dates())
    error = caught.value
    assert (error.partition, error.sent, error.cluster) == (3, True, "userdb")
    assert states(error)[3] == "committed"
    assert sorted(states(error)) == [0, 1, 2, 3]
    is_idle()


def test_null_where_the_hint_forbids_it(
    driver: Driver, is_idle: Callable[[], None]
) -> None:
    names = face(driver, Iterator[str], select="NULL::text", run_on=1)
    with pytest.raises(ResultError, match="NULL came") as caught:
        rows(driver, names())
    assert caught.value.sent
    assert sorted(caught.value.outcomes) == [1]
    is_idle()


def test_a_stream_that_times_out(driver: Driver, is_idle: Callable[[], None]) -> None:
    naps = face(
        driver,
        Iterator[str],
        select=f"pg_sleep(CASE {PLACE} WHEN 3 THEN 30 ELSE 0 END)::text",
    )
    got, error = drained(driver, naps.with_options(timeout=0.3)())
    assert isinstance(error, QueryTimeout)
    assert got == ["", "", ""]
    assert (error.partition, error.phase, error.sqlstate) == (3, "read", "57014")
    assert states(error) == {
        0: "committed",
        1: "committed",
        2: "committed",
        3: "failed",
    }
    assert "3 rows had been delivered" in str(error)
    is_idle()


def test_a_stream_that_finds_no_connection_sends_nothing(driver: Driver) -> None:
    numbers = face(driver, Iterator[Int4], select=MANY)
    first, second = numbers(), numbers.with_options(timeout=0.1)()
    next_row(driver, first)
    with pytest.raises(QueryTimeout) as caught:
        next_row(driver, second)
    assert (caught.value.phase, caught.value.sent) == ("checkout", False)
    close(driver, first)
    close(driver, second)
