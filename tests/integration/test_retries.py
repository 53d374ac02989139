"""Calls that are made again: only where nothing of them is there, and in time."""

from __future__ import annotations

import asyncio
import pickle
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from plproxy_py import (
    AsyncRouter,
    ConnectError,
    ConnectionLost,
    Error,
    Int4,
    Partial,
    PoolTimeout,
    QueryTimeout,
    ResultError,
    SignatureError,
)
from tests.both import face, lent, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

PARTITIONS = [f"part{number:02}" for number in range(4)]

# nextval survives a rollback: it counts the attempts.
REMOTE = """
CREATE TABLE IF NOT EXISTS done (place text);
CREATE SEQUENCE IF NOT EXISTS attempts;
CREATE OR REPLACE FUNCTION flaky(place text, fails int4, state text)
RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO done VALUES (current_database());
    IF nextval('attempts') <= fails
        AND right(current_database(), 2) = ANY (string_to_array(place, ','))
    THEN
        IF state = 'lost' THEN
            PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(5);
        END IF;
        RAISE EXCEPTION 'not this time' USING ERRCODE = state;
    END IF;
    RETURN NEXT right(current_database(), 2);
END $$;
CREATE TABLE IF NOT EXISTS counted (n int4);
-- It naps, so that calls at the same time are in each other's way.
CREATE OR REPLACE FUNCTION count_one() RETURNS int4 LANGUAGE sql AS
    'SELECT pg_sleep(0.005); UPDATE counted SET n = n + 1 RETURNING n';
"""
HINTS = {"place": str, "fails": Int4, "state": str}


@pytest.fixture(autouse=True)
def _remote(pg: Pg, databases4: list[str]) -> None:
    for name in PARTITIONS:
        pg.execute(name, REMOTE + "TRUNCATE done, counted; SELECT 1")
        pg.execute(name, "ALTER SEQUENCE attempts RESTART")


def flaky(driver: Driver, returns: Any = list[str], **keywords: Any) -> Any:
    call = face(driver, returns, HINTS, name="flaky", **keywords)
    return lambda *args: driver.run(call(*args))


def done(pg: Pg) -> list[int]:
    """Return how many calls each partition has committed."""
    return [
        pg.execute(name, "SELECT count(*)::int FROM done")[0][0] for name in PARTITIONS
    ]


def attempts(pg: Pg) -> list[int]:
    """Return how many attempts each partition has seen."""
    query = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END::int FROM attempts"
    return [pg.execute(name, query)[0][0] for name in PARTITIONS]


def states(error: Error) -> str:
    return " ".join(outcome.state for outcome in error.outcomes.values())


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_what_rolled_back_is_called_again(userdb: Driver, pg: Pg, state: str) -> None:
    """Rows of those that have committed are kept, and nobody is called twice."""
    call = flaky(userdb, retry=3)
    assert call("02", 2, state) == ["00", "01", "02", "03"]
    assert done(pg) == [1, 1, 1, 1]
    assert attempts(pg) == [1, 1, 3, 1]


def test_once_it_is_prepared(userdb: Driver, pg: Pg) -> None:
    """The short way ends in the same retries."""
    call = flaky(userdb, retry=1)
    for _ in range(4):
        assert call("", 0, "") == ["00", "01", "02", "03"]
    one = flaky(userdb, str, run_on=1, retry=1)
    for _ in range(4):
        assert one("", 0, "") == "01"
    for name in PARTITIONS:
        pg.execute(name, "ALTER SEQUENCE attempts RESTART")
        pg.execute(name, "TRUNCATE done")
    assert call("00,03", 1, "40001") == ["00", "01", "02", "03"]
    pg.execute("part01", "ALTER SEQUENCE attempts RESTART")
    assert one("01", 1, "40001") == "01"
    assert done(pg) == [1, 2, 1, 1]


def test_none_unless_asked_for(userdb: Driver, pg: Pg) -> None:
    for keywords in ({}, {"retry": 0}, {"retry": None}):
        with pytest.raises(psycopg.errors.SerializationFailure) as caught:
            flaky(userdb, **keywords)("02", 1, "40001")
        assert "attempts" not in str(caught.value)
        pg.execute("part02", "ALTER SEQUENCE attempts RESTART")
    assert done(pg) == [3, 3, 0, 3]


def test_the_last_error_tells_of_all_attempts(userdb: Driver, pg: Pg) -> None:
    with pytest.raises(psycopg.errors.SerializationFailure) as caught:
        flaky(userdb, retry=2)("01,02", 9, "40001")
    error = caught.value
    assert isinstance(error, Error)
    assert str(error).startswith("public.flaky(3): [")
    assert "partition 0, 3: committed" in str(error)
    assert str(error).endswith("\n3 attempts were made")
    assert states(error) == "committed failed failed committed"
    assert (error.partition, error.sent, error.cluster) == (1, True, "userdb")
    assert [out.rows for out in error.outcomes.values()] == [["00"], [], [], ["03"]]
    assert [out.sent for out in error.outcomes.values()] == [True] * 4
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), states(again)) == (str(error), states(error))
    assert (done(pg), attempts(pg)) == ([1, 0, 0, 1], [1, 3, 3, 1])


def test_other_failures_are_not_called_again(userdb: Driver, pg: Pg) -> None:
    with pytest.raises(psycopg.errors.DiskFull):
        flaky(userdb, retry=5, idempotent=True)("02", 1, "53100")
    assert attempts(pg) == [1, 1, 1, 1]


def test_what_was_lost_is_called_again_if_idempotent(userdb: Driver, pg: Pg) -> None:
    with pytest.raises(ConnectionLost) as caught:
        flaky(userdb, retry=5)("03", 1, "lost")
    assert states(caught.value) == "committed committed committed failed"
    assert done(pg) == [1, 1, 1, 0]
    pg.execute("part03", "ALTER SEQUENCE attempts RESTART")
    call = flaky(userdb, retry=5, idempotent=True)
    assert call("03", 2, "lost") == ["00", "01", "02", "03"]
    assert done(pg) == [2, 2, 2, 1]


def test_partitions_that_were_cancelled_for_a_failure(userdb: Driver, pg: Pg) -> None:
    """They rolled back because another did: they are called again with it."""
    for name in PARTITIONS:
        pg.execute(
            name,
            "CREATE OR REPLACE FUNCTION slow_once(n int4) RETURNS SETOF int4 "
            "LANGUAGE plpgsql AS $$ BEGIN INSERT INTO done VALUES (''); "
            "IF nextval('attempts') = 1 THEN IF current_database() LIKE '%00' THEN "
            "RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END IF; "
            "PERFORM pg_sleep(30); END IF; RETURN NEXT n; END $$",
        )
    call = face(
        userdb, list[int], {"n": Int4}, "slow_once(n int4) returns setof int4",
        settle=0.05, retry=1, timeout=10,
    )  # fmt: skip
    assert userdb.run(call(7)) == [7] * 4
    assert done(pg) == [1, 1, 1, 1]


def test_real_conflicts(make_router: Callable[..., Driver], pg: Pg) -> None:
    """Threads and tasks count up one row, REPEATABLE READ: no count is lost."""
    pg.execute("part00", "INSERT INTO counted VALUES (0)")
    options = "-c default_transaction_isolation=repeatable\\ read"
    connstr = make_conninfo(pg.connstr("part00"), options=options)
    driver = make_router({"userdb": [connstr]})
    call = face(driver, int, {}, "count_one() returns int4", run_on=0, retry=200)
    answers = driver.together(*[call] * 8)
    answers += driver.together(*[call] * 8)
    assert sorted(answers) == list(range(1, 17))
    # Without, somebody loses.
    bare = call.with_options(retry=0)
    answers = [one for _ in range(20) for one in driver.together(*[bare] * 8)]
    lost = [one for one in answers if isinstance(one, Exception)]
    assert lost
    assert all(isinstance(one, psycopg.errors.SerializationFailure) for one in lost)


def test_a_partition_that_comes_back(
    make_router: Callable[..., Driver], pg: Pg
) -> None:
    """A connection that can't be made is tried again: nothing was sent."""
    gone = make_conninfo(pg.connstr("part01"), dbname="plproxy_py_test_gone")
    driver = make_router({"userdb": [pg.connstr("part00"), gone]})
    call = flaky(driver, retry=2)
    with pytest.raises(ConnectError) as caught:
        call("", 0, "")
    assert str(caught.value).endswith("\n3 attempts were made")
    assert not caught.value.sent
    assert states(caught.value) == "failed failed"
    assert done(pg)[0] == 0


def test_the_map_may_change_between_attempts(
    make_router: Callable[..., Driver], pg: Pg
) -> None:
    """An attempt goes where the partition is by then."""
    gone = make_conninfo(pg.connstr("part01"), dbname="plproxy_py_test_gone")
    driver = make_router({"userdb": [pg.connstr("part00"), gone]})
    call = flaky(driver, retry=40, timeout=20)
    moved = {"userdb": [pg.connstr("part00"), pg.connstr("part01")]}
    with ThreadPoolExecutor(1) as threads:
        moving = threads.submit(
            lambda: (time.sleep(0.05), driver.router.configure(moved))
        )
        assert call("", 0, "") == ["00", "01"]
        moving.result()


def test_what_was_committed_stays_told(
    make_router: Callable[..., Driver], pg: Pg
) -> None:
    """A later attempt that can't connect leaves the truth of the earlier ones."""
    driver = make_router({"userdb": pg.connstrs(PARTITIONS)})
    call = flaky(driver, retry=3, idempotent=True)

    name = psycopg.conninfo.conninfo_to_dict(pg.connstr("part02"))["dbname"]
    allow = f"ALTER DATABASE {name} ALLOW_CONNECTIONS "
    call("", 0, "")
    pg.execute("part02", "ALTER SEQUENCE attempts RESTART")
    pg.execute("postgres", allow + "false")
    try:
        with pytest.raises(ConnectError) as caught:
            call("02", 9, "lost")
    finally:
        pg.execute("postgres", allow + "true")
    error = caught.value
    assert states(error) == "committed committed failed committed"
    assert (error.partition, error.sent, error.outcomes[2].sent) == (2, True, True)
    assert str(error).count("[part02]") <= 1
    assert done(pg) == [2, 2, 1, 2]


def test_never_past_the_deadline(userdb: Driver) -> None:
    call = flaky(userdb, retry=10**6, timeout=1.0)
    started = time.monotonic()
    with pytest.raises(psycopg.errors.SerializationFailure, match="attempts were made"):
        call("02", 10**6, "40001")
    assert time.monotonic() - started < 5


def test_a_full_pool(make_router: Callable[..., Driver], pg: Pg) -> None:
    """Nothing was sent: the call waits its turn again, as long as it may."""
    driver = make_router({"userdb": [pg.connstr("part00")]}, pool_size=1, max_waiting=0)
    call = flaky(driver, retry=3)
    with (
        lent(driver, "userdb", partition=0),
        pytest.raises(PoolTimeout, match="4 attempts were made"),
    ):
        call("", 0, "")
    timed = flaky(driver, retry=3, timeout=0.1)
    with lent(driver, "userdb", partition=0), pytest.raises(PoolTimeout):
        timed("", 0, "")
    assert call("", 0, "") == ["00"]


def test_partial_answers_get_complete(userdb: Driver, pg: Pg) -> None:
    call = flaky(userdb, Partial[str], retry=2)
    answer = call("00,02", 2, "40001")
    assert (list(answer), answer.missing) == (["00", "01", "02", "03"], ())
    for name in PARTITIONS:
        pg.execute(name, "ALTER SEQUENCE attempts RESTART")
    answer = call("00,02", 3, "40001")
    assert (list(answer), answer.missing) == (["01", "03"], (0, 2))
    assert answer.errors[2].partition == 2
    assert attempts(pg) == [3, 1, 3, 1]
    # One that can't be helped holds up no other.
    pg.execute("part00", "ALTER SEQUENCE attempts RESTART")
    answer = call("00", 1, "53100")
    assert answer.missing == (0,)


def test_outcomes_of_all_attempts(userdb: Driver, pg: Pg) -> None:
    call = face(userdb, list[str], HINTS, name="flaky", retry=1)
    outcomes = userdb.run(call.call_outcomes("01,03", 1, "40001"))
    assert {out.state for out in outcomes.values()} == {"committed"}
    assert [out.rows for out in outcomes.values()] == [["00"], ["01"], ["02"], ["03"]]
    pg.execute("part03", "ALTER SEQUENCE attempts RESTART")
    outcomes = userdb.run(call.call_outcomes("03", 2, "40001"))
    assert [out.state for out in outcomes.values()] == ["committed"] * 3 + ["failed"]
    assert outcomes[3].error.sqlstate == "40001"


def test_each_partition_its_own_arguments(userdb: Driver, pg: Pg) -> None:
    call = face(userdb, list[str], HINTS, name="flaky", retry=2)
    each = {0: ("00", 1, "40001"), 2: ("02", 2, "40P01"), 3: ("", 0, "")}
    assert userdb.run(call.call_each(each)) == ["00", "02", "03"]
    assert done(pg) == [1, 0, 1, 1]


def test_a_search(userdb: Driver, pg: Pg) -> None:
    search = flaky(userdb, str, first=True, idempotent=True, retry=2)
    assert search("00,01,02,03", 2, "40001") in {"00", "01", "02", "03"}
    one = flaky(userdb, str, run_on=2, retry=1)
    pg.execute("part02", "ALTER SEQUENCE attempts RESTART")
    assert one("02", 1, "40001") == "02"


def test_an_answer_that_does_not_fit_is_not_called_again(
    userdb: Driver, pg: Pg
) -> None:
    """It is committed, and the error says so."""

    def refuse(answers: list[list[str]]) -> str:
        raise LookupError(str(answers))

    text = "flaky(place text, fails int4, state text) returns setof text"
    call = face(userdb, str, HINTS, text, combine=refuse, retry=2)
    with pytest.raises(ResultError, match=r"'01'.*\n2 attempts were made") as caught:
        userdb.run(call("01", 1, "40001"))
    assert states(caught.value) == "committed committed committed committed"
    assert done(pg) == [1, 1, 1, 1]


def test_an_interruption_tells_of_earlier_attempts(
    databases4: list[str], pg: Pg
) -> None:
    router = AsyncRouter({"userdb": databases4})

    @router.proxy(cluster="userdb", run_on="ALL", retry=10**6)
    async def flaky(place: str, fails: Int4, state: str) -> list[str]: ...

    async def call() -> list[str]:
        try:
            await flaky("02", 10**6, "40001")
        except asyncio.CancelledError as error:
            return error.__notes__
        return []

    async def main() -> list[str]:
        async with router:
            task = asyncio.create_task(call())
            await asyncio.to_thread(wait_until, lambda: attempts(pg)[2] >= 3)
            task.cancel()
            return await task

    notes = asyncio.run(main())
    pattern = (
        r"public\.flaky\(3\): broken off in attempt \d+; committed before it: "
        r"partition 0, 1, 3"
    )
    assert [note for note in notes if re.fullmatch(pattern, note)]


def test_options_of_one_callable(userdb: Driver, pg: Pg) -> None:
    call = face(userdb, list[str], HINTS, name="flaky")
    assert len(userdb.run(call.with_options(retry=1)("01", 1, "40001"))) == 4
    pg.execute("part01", "ALTER SEQUENCE attempts RESTART")
    again = call.with_options(retry=1, idempotent=True)
    assert len(userdb.run(again("01", 1, "lost"))) == 4
    # By name, the declaration's options hold.
    face(userdb, list[str], HINTS, name="flaky", retry=1)
    pg.execute("part01", "ALTER SEQUENCE attempts RESTART")
    assert len(userdb.run(userdb.router.call("flaky", "01", 1, "40001"))) == 4


def test_streams_and_many_calls_refuse_it(userdb: Driver) -> None:
    with pytest.raises(SignatureError, match="retry= does not go with streams"):
        face(userdb, Iterator[str], HINTS, name="flaky", retry=1)
    stream = face(userdb, Iterator[str], HINTS, name="flaky")
    with pytest.raises(SignatureError, match="retry= does not go with streams"):
        stream.with_options(retry=1)
    call = face(userdb, list[str], HINTS, name="flaky", retry=1)
    for many in (call.call_many, call.iter_many):
        with pytest.raises(TypeError, match=r"with_options\(retry=0\)"):
            userdb.run(many([("", 0, "")]))
    (rows,) = userdb.run(call.with_options(retry=0).call_many([("", 0, "")]))
    assert rows == ["00", "01", "02", "03"]


def test_a_timeout_is_not_called_again(userdb: Driver, pg: Pg) -> None:
    naps = face(
        userdb, None, {"n": float}, "pg_sleep(n float8) returns void",
        run_on=0, schema="pg_catalog", retry=5, idempotent=True, timeout=1.0,
    )  # fmt: skip
    with pytest.raises(QueryTimeout) as caught:
        userdb.run(naps(30.0))
    assert "attempts" not in str(caught.value)
