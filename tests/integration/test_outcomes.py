"""The truth after a failure: errors, outcomes, and what the partitions then hold."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from plproxy_py import (
    ConnectError,
    ConnectionLost,
    Error,
    PoolTimeout,
    QueryTimeout,
    RemoteError,
    ResultError,
    Router,
)
from tests.fix_router import Driver
from tests.fix_server import Pg

PARTITIONS = [f"part{number:02}" for number in range(4)]

REMOTE = """
CREATE TABLE IF NOT EXISTS parents (id int4 PRIMARY KEY);
CREATE TABLE IF NOT EXISTS kept (id int4 PRIMARY KEY,
    parent int4 REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
CREATE OR REPLACE FUNCTION keep(id int4, parent int4) RETURNS SETOF int4
    LANGUAGE sql AS 'INSERT INTO kept VALUES (id, parent) RETURNING id';
CREATE OR REPLACE FUNCTION fail_on(place text, id int4) RETURNS SETOF int4
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kept VALUES (id);
    IF current_database()::text LIKE '%' || place THEN
        RAISE EXCEPTION 'no room' USING ERRCODE = '53100', DETAIL = 'the disk',
            HINT = 'buy one', TABLE = 'kept';
    END IF;
    RETURN NEXT id;
END $$;
CREATE OR REPLACE FUNCTION nap(seconds float8, place text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
BEGIN
    IF current_database()::text LIKE '%' || place THEN
        PERFORM pg_sleep(seconds);
    END IF;
    RETURN NEXT current_database()::text;
END $$;
CREATE OR REPLACE FUNCTION suicide() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_terminate_backend(pg_backend_pid());
    PERFORM pg_sleep(5);
    RETURN '';
END $$;
"""


@pytest.fixture(autouse=True)
def _remote(pg: Pg, databases4: list[str]) -> None:
    for name in PARTITIONS:
        pg.execute(name, REMOTE + "TRUNCATE kept CASCADE")


def held(pg: Pg) -> list[int]:
    """Return the partitions that hold a row."""
    return [
        number
        for number, name in enumerate(PARTITIONS)
        if pg.execute(name, "SELECT 1 FROM kept")
    ]


def define(driver: Driver, head: str, body: str) -> Callable[..., object]:
    return driver.define(
        f"CREATE FUNCTION {head} LANGUAGE plproxy AS $fn$ CLUSTER 'userdb'; {body} $fn$"
    )


def states(error: Error) -> dict[int, str]:
    return {part: outcome.state for part, outcome in error.outcomes.items()}


def test_a_server_error_keeps_what_the_server_said(userdb: Driver, pg: Pg) -> None:
    """One partition fails; the others have committed, and the error says which."""
    fail_on = define(
        userdb, "fail_on(place text, id int4) RETURNS SETOF int4", "RUN ON ALL;"
    )
    with pytest.raises(psycopg.errors.DiskFull) as caught:
        fail_on("part02", 1)
    error = caught.value
    assert isinstance(error, RemoteError)
    assert (error.sqlstate, error.partition, error.sent) == ("53100", 2, True)
    assert (error.function, error.cluster) == ("public.fail_on(2)", "userdb")
    assert error.diag.table_name == "kept"
    text = str(error)
    assert text.startswith("public.fail_on(2): [")
    assert "part02] REMOTE ERROR: no room\nDETAIL: the disk\nHINT: buy one" in text
    assert "partition 0, 1, 3: committed" in text
    assert states(error) == {
        0: "committed",
        1: "committed",
        2: "failed",
        3: "committed",
    }
    assert held(pg) == [0, 1, 3]
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, psycopg.errors.DiskFull)
    assert (str(again), states(again)) == (text, states(error))


def test_committed_is_not_rows(userdb: Driver, pg: Pg) -> None:
    """A deferred constraint fails after the rows came: nothing was committed."""
    keep = define(
        userdb,
        "keep(id int4, parent int4) RETURNS SETOF int4",
        "RUN ON id;",
    )
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught:
        keep(1, 7)
    assert states(caught.value) == {1: "failed"}
    assert held(pg) == []
    assert keep(1, None) == [1]
    assert held(pg) == [1]


def test_the_first_failure_in_tag_order_is_raised(userdb: Driver) -> None:
    fail_on = define(
        userdb, "fail_on(place text, id int4) RETURNS SETOF int4", "RUN ON ALL;"
    )
    with pytest.raises(RemoteError) as caught:
        fail_on("", 1)
    assert caught.value.partition == 0
    assert set(states(caught.value).values()) == {"failed"}
    other = caught.value.outcomes[3].error
    assert other is not None
    assert (other.partition, other.sqlstate) == (3, "53100")


def test_a_deadline_cancels_what_is_still_running(userdb: Driver, pg: Pg) -> None:
    nap = define(
        userdb, "nap(seconds float8, place text) RETURNS SETOF text", "RUN ON ALL;"
    )
    nap = userdb.router.functions["public.nap(float8,text)"].with_options(timeout=1.0)
    started = time.monotonic()
    with pytest.raises(QueryTimeout) as caught:
        userdb.run(nap(30.0, "part03"))
    assert time.monotonic() - started < 5
    error = caught.value
    assert isinstance(error, TimeoutError)
    assert isinstance(error, psycopg.OperationalError)
    assert (error.sqlstate, error.phase, error.partition) == ("57014", "read", 3)
    assert states(error) == {
        0: "committed",
        1: "committed",
        2: "committed",
        3: "failed",
    }
    survivors = pg.execute(
        "postgres",
        "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s",
        ["%nap(%"],
    )
    assert len(survivors) == 0
    assert len(userdb.run(nap(0.0, ""))) == 4


def test_others_get_a_moment_to_settle(userdb: Driver, pg: Pg) -> None:
    """A failure stops the rest after settle seconds, and is itself what is raised."""
    sleepy = define(
        userdb,
        "sleepy() RETURNS SETOF text",
        "RUN ON ALL; SELECT CASE WHEN current_database()::text LIKE '%part01' "
        "THEN (1 / (SELECT count(*) - count(*) FROM pg_class))::text "
        "ELSE pg_sleep(30)::text END;",
    )
    started = time.monotonic()
    with pytest.raises(psycopg.errors.DivisionByZero) as caught:
        sleepy()
    assert 0.9 < time.monotonic() - started < 10
    assert states(caught.value) == dict.fromkeys(range(4), "failed")


def test_a_killed_backend_is_a_lost_connection(userdb: Driver) -> None:
    """The server's FATAL came: the transaction is over, and nothing of it is there."""
    suicide = define(userdb, "suicide() RETURNS text", "RUN ON 1;")
    with pytest.raises(ConnectionLost) as caught:
        suicide()
    assert caught.value.sqlstate == "57P01"
    assert states(caught.value) == {1: "failed"}
    assert userdb.execute("userdb", "SELECT 1 AS one", run_on=1) == {1: [(1,)]}


def test_an_unreachable_partition_is_named_and_nothing_is_sent(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    missing = make_conninfo(
        pg.connstr("postgres"), dbname="no_such_database", password="s3cret!"
    )
    driver = make_router({"userdb": [*databases4[:3], missing]})
    keep = define(
        driver, "keep(id int4, parent int4) RETURNS SETOF int4", "RUN ON ALL;"
    )
    with pytest.raises(ConnectError, match="no_such_database") as caught:
        keep(1, None)
    error = caught.value
    assert (error.partition, error.sent) == (3, False)
    assert states(error) == dict.fromkeys(range(4), "failed")
    assert not any(outcome.sent for outcome in error.outcomes.values())
    assert "s3cret!" not in str(error) + repr(error)
    assert held(pg) == []


def test_a_full_pool_is_a_pool_timeout(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    """Waiting for a connection counts against the timeout; the error has figures."""
    driver = make_router({"userdb": databases4}, pool_size=1, max_waiting=1)
    define(driver, "nap(seconds float8, place text) RETURNS SETOF text", "RUN ON 0;")
    nap = driver.router.functions["public.nap(float8,text)"]
    hurried = nap.with_options(timeout=0.5)
    slow, *others = driver.together(
        lambda: nap(2.0, ""), *[lambda: hurried(0.0, "")] * 3
    )
    assert isinstance(slow, list)
    assert len(slow) == 1
    assert [type(error) for error in others] == [PoolTimeout] * 3
    assert {error.phase for error in others} == {"checkout"}
    assert "1 of 1 connections in use" in str(others[0])
    assert sum("max_waiting is 1" in str(error) for error in others) == 2
    assert not any(error.sent for error in others)


def test_an_unknown_function_says_which_declaration_to_write(
    userdb: Driver,
) -> None:
    """What every newcomer meets first: int is int8, the partition has f(integer)."""
    keep = define(
        userdb, "keep(id int8, parent int4) RETURNS SETOF int4", "RUN ON ALL;"
    )
    with pytest.raises(psycopg.errors.UndefinedFunction) as caught:
        keep(1, None)
    assert (
        "HINT: the partition has keep(integer,integer): declare id as int4 "
        "(Int4 as a hint), not int8"
    ) in str(caught.value)
    missing = define(userdb, "never_made() RETURNS text", "RUN ON 0;")
    with pytest.raises(RemoteError, match=r"no function public\.never_made: create"):
        missing()


def test_an_answer_that_does_not_fit_was_committed(databases4: list[str]) -> None:
    """Only the hint forbids NULL: the call is done, and must not look repeatable."""
    with Router({"userdb": databases4}) as router:

        @router.proxy(cluster="userdb", run_on=1, select="NULL::text")
        def nothing() -> str: ...

        with pytest.raises(ResultError, match="NULL came") as caught:
            nothing()
    error = caught.value
    assert (error.sqlstate, error.sent, states(error)) == (
        "22004",
        True,
        {1: "committed"},
    )
    assert error.outcomes[1].seconds > 0
