"""``first=True``: the first partition that answers with a row ends the call."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from plproxy_py import (
    ConnectError,
    Int4,
    NoDataFound,
    PoolTimeout,
    QueryTimeout,
    RemoteError,
    ResultError,
    TooManyRows,
)
from tests.both import backends, face, lent, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

PLACE = "right(current_database()::text, 2)::int4"


@pytest.fixture
def driver(make_router: Callable[..., Driver], databases4: list[str]) -> Driver:
    return make_router({"userdb": databases4}, pool_size=1, application_name="search")


def search(driver: Driver, returns: Any, select: str, **keywords: Any) -> Any:
    """Declare a search; ``wanted`` is where the row is, 9 is nowhere."""
    given = {"first": True, "idempotent": True, **keywords}
    return face(driver, returns, {"wanted": Int4}, select=select, **given)


def check_usable(driver: Driver, pg: Pg) -> None:
    wait_until(lambda: backends(pg, "search", "active") == 0)
    assert len(driver.execute("userdb", "SELECT 7", timeout=3)) == 4


# The one that has it answers at once, the others would take half a minute. The
# condition needs the nap's row: else no partition would have to sleep.
SLOW = (
    f"{PLACE} FROM pg_sleep(CASE WHEN {PLACE} = wanted OR wanted = 9 THEN 0 "
    f"ELSE 30 END) AS s WHERE {PLACE} + length(s::text) = wanted"
)


@pytest.mark.parametrize("returns", [list[Int4], Int4, Int4 | None])
@pytest.mark.parametrize("where", [0, 3])
def test_the_first_row_ends_the_call(
    driver: Driver, pg: Pg, returns: Any, where: int
) -> None:
    started = time.monotonic()
    answer = driver.run(search(driver, returns, SLOW)(where))
    assert time.monotonic() - started < 3
    assert answer == ([where] if returns == list[Int4] else where)
    check_usable(driver, pg)


def test_a_row_nowhere(driver: Driver, pg: Pg) -> None:
    assert driver.run(search(driver, list[Int4], SLOW)(9)) == []
    assert driver.run(search(driver, Int4 | None, SLOW)(9)) is None
    with pytest.raises(NoDataFound) as caught:
        driver.run(search(driver, Int4, SLOW)(9))
    assert caught.value.sent
    assert {out.state for out in caught.value.outcomes.values()} == {"committed"}
    check_usable(driver, pg)


class Found(NamedTuple):
    place: Int4
    note: str


NULLS = f"CASE WHEN {PLACE} = wanted THEN {PLACE} END"


def test_null_is_no_row_of_a_function_that_returns_one(driver: Driver) -> None:
    assert driver.run(search(driver, Int4 | None, NULLS)(2)) == 2
    assert driver.run(search(driver, Int4, NULLS)(2)) == 2
    assert driver.run(search(driver, Int4 | None, NULLS)(9)) is None
    with pytest.raises(NoDataFound):
        driver.run(search(driver, Int4, NULLS)(9))


def test_a_record_of_nulls_is_no_row_either(driver: Driver) -> None:
    select = f"{NULLS} AS place, {NULLS}::text AS note"
    assert driver.run(search(driver, Found | None, select)(1)) == Found(1, "1")
    assert driver.run(search(driver, Found | None, select)(9)) is None
    with pytest.raises(NoDataFound):
        driver.run(search(driver, Found, select)(9))


def test_null_is_a_row_of_a_set(driver: Driver) -> None:
    select = f"NULL::int4 WHERE {PLACE} = wanted"
    assert driver.run(search(driver, list[Int4 | None], select)(2)) == [None]


def test_a_set_comes_whole_from_one_partition(driver: Driver) -> None:
    select = f"{PLACE} FROM generate_series(1, 500)"
    answer = driver.run(search(driver, list[Int4], select)(0))
    assert len(answer) == 500
    assert len(set(answer)) == 1


def test_a_second_row_is_one_too_many(driver: Driver) -> None:
    select = f"g FROM generate_series(1, 2) g WHERE {PLACE} = wanted"
    with pytest.raises(TooManyRows):
        driver.run(search(driver, Int4, select)(1))


def test_a_row_that_python_cannot_hold(driver: Driver, pg: Pg) -> None:
    select = f"date 'infinity' WHERE {PLACE} = wanted"
    with pytest.raises(ResultError, match="can't hold") as caught:
        driver.run(search(driver, dt.date, select)(1))
    assert caught.value.sent
    assert caught.value.outcomes[1].state == "committed"
    check_usable(driver, pg)


@pytest.mark.parametrize("returns", [list[Int4], Int4, Int4 | None])
def test_a_failure_counts_only_where_no_row_is(driver: Driver, returns: Any) -> None:
    """Partition 2 fails at once; the row of another comes later."""
    select = f"CASE {PLACE} WHEN 2 THEN 1 / ({PLACE} - 2) ELSE 1 END FROM "
    select += f"pg_sleep(CASE {PLACE} WHEN 2 THEN 0 ELSE 0.2 END) AS s "
    select += f"WHERE {PLACE} + length(s::text) IN (2, wanted)"
    answer = driver.run(search(driver, returns, select)(3))
    assert answer == ([1] if returns == list[Int4] else 1)
    with pytest.raises(psycopg.errors.DivisionByZero) as caught:
        driver.run(search(driver, returns, select)(9))
    error = caught.value
    assert isinstance(error, RemoteError)
    assert error.partition == 2
    states = {number: out.state for number, out in error.outcomes.items()}
    assert states == {0: "committed", 1: "committed", 2: "failed", 3: "committed"}


def test_a_partition_that_is_away(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    nowhere = make_conninfo(pg.connstr("postgres"), dbname="nowhere")
    driver = make_router({"userdb": [nowhere, *databases4[1:]]})
    found = search(driver, Int4 | None, SLOW)
    assert driver.run(found(3)) == 3
    with pytest.raises(ConnectError) as caught:
        driver.run(found(9))
    assert (caught.value.partition, caught.value.sent) == (0, True)


def test_a_deadline(driver: Driver, pg: Pg) -> None:
    select = f"{PLACE} FROM pg_sleep(CASE {PLACE} WHEN 1 THEN 30 ELSE 0 END) "
    select += "AS s WHERE length(s::text) = wanted"
    found = search(driver, list[Int4], select).with_options(timeout=1.0)
    with pytest.raises(QueryTimeout) as caught:
        driver.run(found(9))
    assert caught.value.partition == 1
    check_usable(driver, pg)


def test_a_full_pool_holds_up_no_search(driver: Driver, pg: Pg) -> None:
    found = search(driver, Int4 | None, SLOW)
    with lent(driver, "userdb", partition=1):
        assert driver.run(found(2)) == 2
        assert driver.run(found.with_options(timeout=3)(0)) == 0
        with pytest.raises(PoolTimeout) as caught:
            driver.run(found.with_options(timeout=0.2)(9))
        assert caught.value.partition == 1
    check_usable(driver, pg)


def test_many_searches_at_once(driver: Driver, pg: Pg) -> None:
    found = search(driver, Int4 | None, NULLS)
    calls = [lambda n=n: found(n % 5 if n % 5 < 4 else 9) for n in range(20)]
    answers = driver.together(*calls)
    assert answers == [0, 1, 2, 3, None] * 4
    check_usable(driver, pg)


def test_nothing_is_kept_of_the_losers(driver: Driver, pg: Pg) -> None:
    """Each connection carries the next search, and no cancel of an earlier one."""
    found = search(driver, Int4 | None, SLOW)
    for _ in range(5):
        for where in range(4):
            assert driver.run(found(where)) == where
    check_usable(driver, pg)


def test_a_search_takes_no_partial_answer(driver: Driver) -> None:
    found = search(driver, list[Int4], SLOW).with_options(on_error="partial")
    with pytest.raises(TypeError, match="does not go with first="):
        driver.run(found(1))
