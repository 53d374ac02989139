"""One kind of call after another on the same connections, and one answer for all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plproxy_py import Error, Int4, ResultError
from tests.both import backends, face, rows, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg


@pytest.fixture
def driver(make_router: Callable[..., Driver], databases4: list[str]) -> Driver:
    return make_router({"userdb": databases4}, pool_size=1, application_name="mixed")


def test_many_calls_after_a_stream(driver: Driver) -> None:
    """libpq would have given their first rows out as the stream's chunks."""
    stream = face(
        driver, Iterator[Int4], {"n": Int4}, select="g FROM generate_series(1, n) g"
    )
    one = face(driver, Int4, {"k": Int4}, select="k + 1", run_on="k")
    for _ in range(3):
        assert len(rows(driver, stream(3))) == 12
        assert driver.run(one.call_many((k,) for k in range(8))) == list(range(1, 9))


KILLED = "(SELECT 1 FROM pg_sleep(20))::int4"


@pytest.mark.parametrize("warm", [False, True], ids=["first", "prepared"])
@pytest.mark.parametrize("way", ["call", "outcomes", "stream"])
def test_a_killed_backend_says_so_in_every_way(
    driver: Driver, pg: Pg, way: str, warm: bool
) -> None:
    returns: Any = Iterator[Int4] if way == "stream" else list[Int4]
    select = f"CASE WHEN wait > 0 THEN {KILLED} ELSE 0 END"
    call = face(driver, returns, {"wait": Int4}, select=select, run_on=0)

    def run(wait: int) -> Any:
        if way == "stream":
            return rows(driver, call(wait))
        if way == "call":
            return driver.run(call(wait))
        return driver.run(call.call_outcomes(wait))

    for _ in range(3 if warm else 0):
        run(0)

    def kill() -> None:
        wait_until(lambda: backends(pg, "mixed", "active") == 1)
        pg.execute(
            "part00",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'mixed%' AND state = 'active'",
        )

    killer = threading.Thread(target=kill)
    killer.start()
    if way == "outcomes":
        outcome = run(5)[0]
    else:
        with pytest.raises(Error) as caught:
            run(5)
        outcome = caught.value.outcomes[0]
    killer.join()
    assert outcome.error.sqlstate == "57P01"
    assert outcome.state == "failed"
    assert run(0)


def test_what_the_others_returned_stands_in_the_outcomes(driver: Driver) -> None:
    place = "right(current_database()::text, 2)::int4"
    call = face(driver, list[Int4], {"bad": Int4}, select=f"10 / ({place} - bad)")
    with pytest.raises(Error) as caught:
        driver.run(call(2))
    outcomes = caught.value.outcomes
    found = {number: (one.state, one.rows) for number, one in outcomes.items()}
    assert found == {
        0: ("committed", [-5]),
        1: ("committed", [-10]),
        2: ("failed", []),
        3: ("committed", [10]),
    }


def test_a_callable_that_raises_is_an_error_in_its_place(driver: Driver) -> None:
    def divided(answers: list[Any]) -> int:
        return 12 // (answers[0] - 1)

    text = "shared(k int4) RETURNS int4"
    call = face(driver, Int4, {"k": Int4}, text, select="k", combine=divided)
    with pytest.raises(
        ResultError, match="combine= raised ZeroDivisionError"
    ) as caught:
        driver.run(call(1))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert {one.state for one in caught.value.outcomes.values()} == {"committed"}
    first, second, third = driver.run(call.call_many([(2,), (1,), (3,)]))
    assert (first, third) == (12, 6)
    assert isinstance(second, ResultError)


def test_sql_is_a_text(driver: Driver) -> None:
    with pytest.raises(TypeError, match="execute takes SQL as a str, not int"):
        driver.execute("userdb", 5)
