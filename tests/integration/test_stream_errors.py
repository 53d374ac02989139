"""How a stream ends when something is wrong, and what the error says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from plproxy_py import Error, Int4, QueryTimeout, RemoteError, ResultError
from tests.both import check_idle, close, drained, face, next_row, rows
from tests.fix_router import Driver
from tests.fix_server import Pg

PLACE = "right(current_database()::text, 2)::int4"
PARTITIONS = [f"part{number:02}" for number in range(4)]
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


def states(error: Error) -> dict[int, str]:
    return {part: outcome.state for part, outcome in error.outcomes.items()}


def all_committed_but(failed: int) -> dict[int, str]:
    return {**dict.fromkeys(range(4), "committed"), failed: "failed"}


KEEP = """
CREATE TABLE IF NOT EXISTS streamed_parents (id int4 PRIMARY KEY);
CREATE TABLE IF NOT EXISTS streamed (id int4 PRIMARY KEY,
    parent int4 REFERENCES streamed_parents DEFERRABLE INITIALLY DEFERRED);
TRUNCATE streamed, streamed_parents;
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
    got, error = drained(driver, naps.with_options(timeout=1.0)())
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
