"""What an ``on_call=`` is told of each call, and that it can't break one."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from plproxy_py import (
    AsyncRouter,
    Called,
    ConnectError,
    Error,
    NoDataFound,
    Partial,
    QueryTimeout,
    Router,
    log_slow_calls,
)
from tests.both import close, face, next_row, rows
from tests.fix_router import Driver
from tests.fix_server import Pg

REMOTE = """
CREATE OR REPLACE FUNCTION tell(place text, n int8) RETURNS SETOF int8
LANGUAGE plpgsql AS $$
BEGIN
    IF right(current_database(), 2) = ANY (string_to_array(place, ',')) THEN
        RAISE EXCEPTION 'full' USING ERRCODE = '53100';
    END IF;
    RETURN QUERY SELECT generate_series(1, n);
END $$;
"""
HINTS = {"place": str, "n": int}


@pytest.fixture
def seen() -> list[Called]:
    return []


@pytest.fixture
def driver(
    make_router: Callable[..., Driver],
    seen: list[Called],
    pg: Pg,
    databases4: list[str],
) -> Driver:
    for number in range(4):
        pg.execute(f"part{number:02}", REMOTE)
    return make_router({"userdb": databases4}, on_call=seen.append)


def declared(driver: Driver, returns: Any = list[int], **keywords: Any) -> Any:
    return face(driver, returns, HINTS, name="tell", **keywords)


ALL = Called(
    function="public.tell(2)",
    cluster="userdb",
    partitions=(0, 1, 2, 3),
    seconds=0.0,
    rows=8,
    outcome="committed",
    sqlstate=None,
    error=None,
)
ONE = replace(ALL, partitions=(1,), rows=2)


def last(seen: list[Called], count: int) -> Called:
    """Return the last of so many calls, its seconds looked at and set to 0."""
    assert len(seen) == count
    assert 0 < seen[-1].seconds < 60
    return replace(seen[-1], seconds=0.0)


@pytest.mark.parametrize(("run_on", "told"), [("ALL", ALL), (1, ONE), ("n", ONE)])
def test_calls(driver: Driver, seen: list[Called], run_on: Any, told: Called) -> None:
    """The short way, from the third call on, tells the same."""
    call = declared(driver, run_on=run_on)
    n = 1 if run_on == "n" else 2
    told = replace(told, rows=n * len(told.partitions))
    for count in range(1, 6):
        assert len(driver.run(call("", n))) == told.rows
        assert last(seen, count) == told
    assert json.loads(json.dumps(asdict(seen[0])))["rows"] == told.rows
    with pytest.raises(Error):
        driver.run(call("01", n))
    failed = replace(told, rows=0, outcome="failed", sqlstate="53100", error="DiskFull")
    assert last(seen, 6) == failed
    assert "01" not in repr(failed)


def test_one_value(driver: Driver, seen: list[Called]) -> None:
    call = declared(driver, int | None, run_on=0)
    for count, n in enumerate((1, 0, 1, 0, 1, 0), 1):
        driver.run(call("", n))
        assert last(seen, count).rows == n
    strict = declared(driver, int, run_on=0)
    with pytest.raises(NoDataFound):
        driver.run(strict("", 0))
    told = last(seen, 7)
    assert (told.outcome, told.error) == ("committed", "NoDataFound")


def test_one_value_of_many_parts(driver: Driver, seen: list[Called], pg: Pg) -> None:
    """A JSON object or an array is one row, not several."""
    pg.execute(
        "part00",
        "CREATE OR REPLACE FUNCTION doc() RETURNS jsonb LANGUAGE sql AS "
        '$$ SELECT jsonb \'{"a": 1, "b": []}\' $$;'
        "CREATE OR REPLACE FUNCTION arr() RETURNS int8[] LANGUAGE sql AS "
        "'SELECT array[1, 2, 3]::int8[]'",
    )
    doc = face(driver, dict, {}, "doc() returns jsonb", run_on=0)
    arr = driver.router.define(
        "CREATE FUNCTION arr() RETURNS int8[] LANGUAGE plproxy AS "
        "$$ CLUSTER 'userdb'; RUN ON 0; $$"
    )
    for count in (1, 3, 5, 7):
        assert driver.run(doc()) == {"a": 1, "b": []}
        assert last(seen, count).rows == 1
        assert driver.run(arr()) == [1, 2, 3]
        assert last(seen, count + 1).rows == 1


def test_what_led_nowhere(driver: Driver, seen: list[Called]) -> None:
    call = declared(driver)
    with pytest.raises(TypeError):
        driver.run(call("", "x" * 3, 5))
    told = replace(ALL, cluster=None, partitions=(), rows=0, outcome="not sent")
    assert last(seen, 1) == replace(told, error="TypeError")
    missing = declared(driver, cluster="nosuch")
    with pytest.raises(Error):
        driver.run(missing("", 1))
    assert last(seen, 2) == replace(told, error="NoSuchCluster", sqlstate="F0000")


def test_a_partition_that_is_down(
    make_router: Callable[..., Driver], seen: list[Called], pg: Pg
) -> None:
    there = {"userdb": [pg.connstr("part00"), "host=127.0.0.1 port=1 dbname=x"]}
    driver = make_router(there, on_call=seen.append)
    with pytest.raises(ConnectError):
        driver.run(declared(driver)("", 1))
    told = last(seen, 1)
    assert (told.partitions, told.outcome) == ((0, 1), "not sent")
    assert (told.sqlstate, told.error) == ("08001", "ConnectError")
    driver.run(declared(driver, Partial[int])("", 1))
    told = last(seen, 2)
    assert (told.rows, told.outcome, told.error) == (1, "failed", "ConnectError")


def test_other_calls(driver: Driver, seen: list[Called]) -> None:
    driver.run(driver.router.execute("userdb", "SELECT 1"))
    assert last(seen, 1) == replace(ALL, function="execute", rows=4)
    call = declared(driver)
    driver.run(driver.router.call("tell", "", 2))
    assert last(seen, 2) == ALL
    driver.run(call.call_outcomes("03", 2))
    lost = {"outcome": "failed", "sqlstate": "53100", "error": "DiskFull"}
    assert last(seen, 3) == replace(ALL, rows=6, **lost)
    driver.run(call.call_each({1: ("", 2)}))
    assert last(seen, 4) == ONE
    driver.run(call.with_options(on_error="partial")("03", 2))
    assert last(seen, 5) == replace(ALL, rows=6, **lost)
    retried = declared(driver, retry=2)
    driver.run(retried("", 2))
    assert last(seen, 6) == ALL
    # What makes no call is none.
    driver.run(call.plan("", 1))
    driver.run(driver.router.ping("userdb"))
    assert len(seen) == 6


def test_streams_are_told_of_at_their_end(driver: Driver, seen: list[Called]) -> None:
    stream = declared(driver, Iterator[int])
    assert len(rows(driver, stream("", 2))) == 8
    assert last(seen, 1) == ALL
    early = stream("", 10**6)
    next_row(driver, early)
    assert len(seen) == 1
    close(driver, early)
    told = last(seen, 2)
    assert told.outcome in ("failed", "unknown")
    assert told.rows > 0
    with pytest.raises(Error):
        rows(driver, stream("02", 2))
    told = last(seen, 3)
    assert (told.outcome, told.sqlstate, told.rows) == ("failed", "53100", 6)
    close(driver, stream("", 1))
    assert len(seen) == 3


def test_a_deadline(driver: Driver, seen: list[Called]) -> None:
    nap = face(
        driver, None, {"n": float}, "pg_sleep(n float8) returns void", run_on=0,
        schema="pg_catalog", timeout=1.0,
    )  # fmt: skip
    driver.run(nap(0.0))  # connected: what is told below was sent
    with pytest.raises(QueryTimeout):
        driver.run(nap(30.0))
    told = last(seen, 2)
    assert (told.error, told.partitions) == ("QueryTimeout", (0,))
    assert told.outcome in ("failed", "unknown")


def test_an_exception_in_it_is_logged(
    make_router: Callable[..., Driver],
    databases4: list[str],
    driver: Driver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(called: Called) -> None:
        raise LookupError("not today")

    driver = make_router({"userdb": databases4}, on_call=fail)
    call = declared(driver)
    for _ in range(4):
        assert driver.run(call("", 1)) == [1] * 4
    with pytest.raises(Error, match="full"):
        driver.run(call("01", 1))
    assert caplog.text.count("LookupError: not today") == 5
    assert {record.name for record in caplog.records} == {"plproxy_py"}


def test_what_is_no_callback() -> None:
    async def on_call(called: Called) -> None: ...

    for kind in (Router, AsyncRouter):
        for bad in (on_call, "x"):
            with pytest.raises(TypeError, match="on_call is a plain function"):
                kind(on_call=bad)  # type: ignore[arg-type]


def test_slow_calls_are_logged(
    make_router: Callable[..., Driver],
    databases4: list[str],
    driver: Driver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    never = make_router({"userdb": databases4}, on_call=log_slow_calls(3600))
    never.run(declared(never)("", 1))
    assert caplog.text == ""
    every = make_router({"userdb": databases4}, on_call=log_slow_calls(0))
    every.run(declared(every)("", 1))
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("plproxy_py", "WARNING")
    text = r"public\.tell\(2\): slow call: \d+\.\d{3} s, cluster userdb, "
    text += "partition 0, 1, 2, 3, committed, 4 rows"
    assert re.fullmatch(text, record.getMessage())
    with pytest.raises(Error):
        every.run(declared(every)("01", 1))
    assert caplog.records[-1].getMessage().endswith("failed, 0 rows, DiskFull 53100")


def test_without_it_nothing_is_wrapped(make_router: Callable[..., Driver]) -> None:
    """A call costs what it did: the callable calls the short way itself."""
    driver = make_router({"userdb": ["dbname=x"]})
    call = declared(driver)
    cells = dict(zip(call.__code__.co_freevars, call.__closure__, strict=True))
    assert type(cells["go"].cell_contents.__self__).__name__ == "Direct"
    driver.router._calls.observers.add(lambda watch: None)
    assert type(cells["go"].cell_contents.__self__).__name__ == "Observed"
