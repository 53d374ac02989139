"""Answers in spite of missing partitions, and what became of each partition."""

from __future__ import annotations

import asyncio
import datetime as dt
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from plproxy_py import (
    ConnectError,
    Int4,
    Partial,
    PoolTimeout,
    QueryTimeout,
    RemoteError,
    ResultError,
    RoutingError,
)
from tests.both import backends, face, lent, rows, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

PLACE = "right(current_database()::text, 2)::int4"
PARTITIONS = [f"part{number:02}" for number in range(4)]

# Leaves a row, and then does what the text says: fail, orphan, sleep N, or nothing.
REMOTE = """
CREATE TABLE IF NOT EXISTS partly_parents (id int4 PRIMARY KEY);
CREATE TABLE IF NOT EXISTS partly (id int4,
    parent int4 REFERENCES partly_parents DEFERRABLE INITIALLY DEFERRED);
TRUNCATE partly, partly_parents;
CREATE OR REPLACE FUNCTION act(what text[]) RETURNS SETOF int4
    LANGUAGE plpgsql AS $$
DECLARE
    place int4 := right(current_database()::text, 2)::int4;
    deed text := what[1 + place];
BEGIN
    INSERT INTO partly VALUES (place, CASE deed WHEN 'orphan' THEN 99 END);
    IF deed LIKE 'fail%' THEN
        PERFORM pg_sleep(CASE deed WHEN 'fail late' THEN 0.2 ELSE 0 END);
        RAISE EXCEPTION 'no room' USING ERRCODE = '53100';
    ELSIF deed LIKE 'sleep %' THEN
        PERFORM pg_sleep(substr(deed, 7)::float8);
    ELSIF deed = 'stubborn' THEN
        BEGIN
            PERFORM pg_sleep(30);
        EXCEPTION WHEN query_canceled THEN
        END;
    END IF;
    RETURN NEXT place;
END $$;
"""


@pytest.fixture
def driver(make_router: Callable[..., Driver], databases4: list[str], pg: Pg) -> Driver:
    for name in PARTITIONS:
        pg.execute(name, REMOTE)
    return make_router({"userdb": databases4}, pool_size=1, application_name="partly")


def acting(driver: Driver, returns: Any = list[Int4], **keywords: Any) -> Any:
    """Declare ``act``; each partition does its own of four deeds."""
    return face(driver, returns, {"what": list[str]}, name="act", **keywords)


def held(pg: Pg) -> list[int]:
    """Return the partitions that hold a row."""
    return [
        number
        for number, name in enumerate(PARTITIONS)
        if pg.execute(name, "SELECT 1 FROM partly")
    ]


def committed(outcomes: Any) -> list[int]:
    return [part for part, out in outcomes.items() if out.state == "committed"]


def check_usable(driver: Driver, pg: Pg) -> None:
    """Nothing runs any more, and every connection is there for the next call."""
    wait_until(lambda: backends(pg, "partly", "active") == 0)
    assert len(driver.execute("userdb", "SELECT 7", timeout=3)) == 4


def test_a_whole_answer_misses_nothing(driver: Driver, pg: Pg) -> None:
    for act in (
        acting(driver, Partial[Int4]),
        acting(driver).with_options(on_error="partial"),
    ):
        answer = driver.run(act(["", "", "", ""]))
        assert type(answer) is Partial
        assert (answer, answer.missing, answer.errors) == ([0, 1, 2, 3], (), {})
    back = acting(driver, Partial[Int4]).with_options(on_error="raise")
    assert type(driver.run(back(["", "", "", ""]))) is list


@pytest.mark.parametrize("deed", ["fail", "orphan"])
def test_what_fails_is_missing_and_named(driver: Driver, pg: Pg, deed: str) -> None:
    answer = driver.run(acting(driver, Partial[Int4])(["", deed, "", deed]))
    assert (answer, answer.missing) == ([0, 2], (1, 3))
    assert held(pg) == [0, 2]
    assert sorted(answer.errors) == [1, 3]
    for number, error in answer.errors.items():
        assert isinstance(error, RemoteError)
        assert error.sqlstate == ("53100" if deed == "fail" else "23503")
        assert (error.partition, error.sent) == (number, True)
        assert (error.cluster, error.function) == ("userdb", "public.act(1)")
        assert f"part{number:02}] REMOTE ERROR" in str(error)
    again = pickle.loads(pickle.dumps(answer))
    assert (again, again.missing) == ([0, 2], (1, 3))
    assert str(again.errors[1]) == str(answer.errors[1])
    check_usable(driver, pg)


def test_where_all_fail_it_raises(driver: Driver, pg: Pg) -> None:
    with pytest.raises(psycopg.errors.DiskFull) as caught:
        driver.run(acting(driver, Partial[Int4])(["fail"] * 4))
    assert isinstance(caught.value, RemoteError)
    assert (caught.value.partition, committed(caught.value.outcomes)) == (0, [])
    assert held(pg) == []


@pytest.mark.parametrize("by_option", [False, True])
def test_need_is_the_least_that_must_answer(
    driver: Driver, pg: Pg, by_option: bool
) -> None:
    if by_option:
        act = acting(driver, Partial[Int4]).with_options(need=3)
    else:
        act = acting(driver, Partial[Int4], need=3)
    assert driver.run(act(["", "", "", "fail"])).missing == (3,)
    with pytest.raises(RemoteError) as caught:
        driver.run(act(["", "fail", "", "fail"]))
    error = caught.value
    assert error.partition == 1
    assert committed(error.outcomes) == [0, 2]
    check_usable(driver, pg)


def test_need_beyond_what_a_call_reaches(driver: Driver, pg: Pg) -> None:
    for need, run_on in ((5, "ALL"), (2, "1")):
        act = acting(driver, Partial[Int4], need=need, run_on=run_on)
        with pytest.raises(RoutingError, match=f"need={need}") as caught:
            driver.run(act(["", "", "", ""]))
        assert not caught.value.sent
    assert held(pg) == []


def test_partial_is_for_lists(driver: Driver) -> None:
    one = face(driver, int, select="1", run_on=0).with_options(on_error="partial")
    with pytest.raises(TypeError, match="list"):
        driver.run(one())
    stream = face(driver, Iterator[Int4], select="1")
    with pytest.raises(TypeError, match="list"):
        rows(driver, stream.with_options(on_error="partial")())


def test_missing_and_deadline(driver: Driver, pg: Pg) -> None:
    """What is there by then is the answer; the rest is cancelled."""
    act = acting(driver, Partial[Int4]).with_options(timeout=1.0)
    started = time.monotonic()
    answer = driver.run(act(["", "sleep 30", "", "sleep 30"]))
    assert time.monotonic() - started < 10
    assert (answer, answer.missing) == ([0, 2], (1, 3))
    for error in answer.errors.values():
        assert isinstance(error, QueryTimeout)
        assert error.sent
    check_usable(driver, pg)
    assert held(pg) == [0, 2]


def test_what_commits_in_the_last_moment_counts(driver: Driver, pg: Pg) -> None:
    """Our cancel is caught by the function, which then returns its row."""
    act = acting(driver, Partial[Int4]).with_options(timeout=1.0)
    answer = driver.run(act(["", "stubborn", "sleep 30", ""]))
    assert (answer, answer.missing) == ([0, 1, 3], (2,))
    assert held(pg) == [0, 1, 3]
    outcomes = driver.run(act.call_outcomes(["", "stubborn", "sleep 30", ""]))
    assert committed(outcomes) == [0, 1, 3]
    assert outcomes[2].state == "failed"
    assert isinstance(outcomes[2].error, QueryTimeout)
    assert pg.execute("part01", "SELECT count(*) FROM partly") == [(2,)]
    assert pg.execute("part02", "SELECT count(*) FROM partly") == [(0,)]


@pytest.mark.parametrize(
    ("settle", "answered"), [(0, [0]), (5.0, [0, 1, 3]), (None, [0, 1, 3])]
)
def test_settle(
    driver: Driver, pg: Pg, settle: float | None, answered: list[int]
) -> None:
    """How long the others get when one fails and the call is not partial."""
    act = acting(driver).with_options(settle=settle)
    with pytest.raises(psycopg.errors.DiskFull) as caught:
        driver.run(act(["", "sleep 0.4", "fail", "sleep 0.4"]))
    error = caught.value
    assert isinstance(error, RemoteError)
    assert error.partition == 2
    # A quick one may have been a moment too slow for settle=0.
    assert set(committed(error.outcomes)) <= set(answered)
    assert set(committed(error.outcomes)) >= set(answered) - {0}
    check_usable(driver, pg)
    assert held(pg) == committed(error.outcomes)


def test_a_late_commit_is_told_after_settle(driver: Driver, pg: Pg) -> None:
    act = acting(driver).with_options(settle=0)
    with pytest.raises(psycopg.errors.DiskFull) as caught:
        driver.run(act(["sleep 30", "stubborn", "fail late", "sleep 30"]))
    error = caught.value
    assert isinstance(error, RemoteError)
    assert committed(error.outcomes) == [1]
    assert {error.outcomes[0].state, error.outcomes[3].state} == {"failed"}
    assert held(pg) == [1]


def test_a_partition_that_cannot_be_reached_is_missing(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg, driver: Driver
) -> None:
    """The others are asked nevertheless, other than in a whole call."""
    nowhere = make_conninfo(pg.connstr("postgres"), dbname="nowhere", password="s3cr")
    driver = make_router({"userdb": [*databases4[:3], nowhere]})
    answer = driver.run(acting(driver, Partial[Int4])(["", "", "", ""]))
    assert (answer, answer.missing) == ([0, 1, 2], (3,))
    error = answer.errors[3]
    assert isinstance(error, ConnectError)
    assert (error.partition, error.sent, error.cluster) == (3, False, "userdb")
    assert "s3cr" not in str(error) + repr(answer)
    assert held(pg) == [0, 1, 2]


@pytest.mark.parametrize("timeout", [0.4, None])
def test_a_full_pool_holds_up_no_other_partition(
    make_router: Callable[..., Driver],
    databases4: list[str],
    pg: Pg,
    driver: Driver,
    timeout: float | None,
) -> None:
    act = acting(driver, Partial[Int4]).with_options(timeout=timeout)
    seen: list[list[int]] = []
    with lent(driver, "userdb", partition=1):
        look = threading.Timer(0.25, lambda: seen.append(held(pg)))
        look.start()
        if timeout:
            answer = driver.run(act(["", "", "", ""]))
            assert (answer, answer.missing) == ([0, 2, 3], (1,))
            error = answer.errors[1]
            assert isinstance(error, PoolTimeout)
            assert (error.partition, error.sent) == (1, False)
            assert "1 of 1 connections in use" in str(error)
        look.join()
    if timeout is None:
        assert driver.run(act(["", "", "", ""])) == [0, 1, 2, 3]
    else:
        assert seen == [[0, 2, 3]]
    check_usable(driver, pg)


def test_partial_calls_with_one_connection_each_do_not_lock_up(
    driver: Driver, pg: Pg
) -> None:
    act = acting(driver, Partial[Int4])
    answers = driver.together(*[lambda: act(["", "sleep 0.02", "", ""])] * 12)
    assert answers == [[0, 1, 2, 3]] * 12
    check_usable(driver, pg)


def test_a_connection_that_changes_hands_does_not_change_the_rows(
    driver: Driver, pg: Pg
) -> None:
    """One partition answered long ago; its connection is lent, altered and closed."""
    moments = face(
        driver,
        Partial[dt.datetime],
        select=f"timestamptz '2026-01-02 03:04:05.678+00' FROM pg_sleep({PLACE} * 0.2)",
    )
    with_text = face(
        driver, Partial[str], select=f"'žluť' FROM pg_sleep({PLACE} * 0.2)"
    )
    other = "SET client_encoding = 'LATIN2'"

    def spoil() -> None:
        time.sleep(0.2)
        if driver.is_async:
            return
        with driver.router.connection("userdb", partition=0) as connection:
            connection.execute(other)
            time.sleep(0.6)
            connection.close()

    async def spoil_async() -> None:
        await asyncio.sleep(0.2)
        async with driver.router.connection("userdb", partition=0) as connection:
            await connection.execute(other)
            await asyncio.sleep(0.6)
            await connection.close()

    for call in (moments, with_text):
        answer, _ = driver.together(call, spoil_async if driver.is_async else spoil)
        assert isinstance(answer, Partial), answer
        assert answer.missing == ()
        assert len(set(answer)) == 1
        assert answer[0] in (
            "žluť",
            dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC),
        )
    check_usable(driver, pg)


def test_outcomes_are_what_the_partitions_hold(driver: Driver, pg: Pg) -> None:
    act = acting(driver)
    outcomes = driver.run(act.call_outcomes(["", "fail", "orphan", ""]))
    assert list(outcomes) == [0, 1, 2, 3]
    assert {n: out.state for n, out in outcomes.items()} == {
        0: "committed",
        1: "failed",
        2: "failed",
        3: "committed",
    }
    assert held(pg) == [0, 3]
    assert [out.rows for out in outcomes.values()] == [[0], [], [], [3]]
    assert all(out.sent and out.seconds > 0 for out in outcomes.values())
    errors = [out.error for out in outcomes.values()]
    assert errors[0] is errors[3] is None
    assert isinstance(errors[1], psycopg.errors.DiskFull)
    assert isinstance(errors[2], psycopg.errors.ForeignKeyViolation)
    for number in (1, 2):
        error = outcomes[number].error
        assert (error.cluster, error.partition) == ("userdb", number)


def test_outcomes_of_a_call_that_no_partition_can_take(
    make_router: Callable[..., Driver], pg: Pg
) -> None:
    nowhere = make_conninfo(pg.connstr("postgres"), dbname="nowhere")
    driver = make_router({"userdb": [nowhere]})
    (outcome,) = driver.run(acting(driver).call_outcomes(["", "", "", ""])).values()
    assert (outcome.state, outcome.sent, outcome.rows) == ("failed", False, [])
    assert isinstance(outcome.error, ConnectError)


def test_outcomes_with_a_value_that_python_cannot_hold(driver: Driver) -> None:
    """It was committed; only its rows can't be had."""
    dates = face(
        driver,
        list[dt.date],
        select=f"CASE {PLACE} WHEN 2 THEN 'infinity' ELSE date '2026-01-01' END",
    )
    outcomes = driver.run(dates.call_outcomes())
    assert committed(outcomes) == [0, 1, 2, 3]
    assert outcomes[0].rows == [dt.date(2026, 1, 1)]
    assert (outcomes[2].rows, type(outcomes[2].error)) == ([], ResultError)
    error = outcomes[2].error
    assert (error.partition, error.sent, error.cluster) == (2, True, "userdb")
    partial = dates.with_options(on_error="partial")
    with pytest.raises(ResultError) as caught:
        driver.run(partial())
    assert caught.value.sent
    assert committed(caught.value.outcomes) == [0, 1, 2, 3]


def test_outcomes_raise_for_arguments_and_routes(driver: Driver) -> None:
    with pytest.raises(TypeError):
        driver.run(acting(driver).call_outcomes(5))
    nowhere = face(driver, list[int], select="1", run_on=9)
    with pytest.raises(RoutingError):
        driver.run(nowhere.call_outcomes())


def test_outcomes_of_one_row_functions_count_no_rows(driver: Driver) -> None:
    """Each partition's own answer, whatever the rule about one row says."""
    one = face(driver, int, select="g FROM generate_series(1, 2) g", run_on=3)
    assert driver.run(one.call_outcomes())[3].rows == [1, 2]


def test_outcomes_and_a_full_pool(driver: Driver, pg: Pg) -> None:
    act = acting(driver).with_options(timeout=1.0)
    with lent(driver, "userdb", partition=0):
        outcomes = driver.run(act.call_outcomes(["", "", "sleep 30", ""]))
    assert {n: (out.state, out.sent) for n, out in outcomes.items()} == {
        0: ("failed", False),
        1: ("committed", True),
        2: ("failed", True),
        3: ("committed", True),
    }
    assert isinstance(outcomes[0].error, PoolTimeout)
    check_usable(driver, pg)
    assert held(pg) == [1, 3]
