"""What a test can script of a fake cluster, and what becomes of its own mistakes."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest

from plproxy_py import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    NoSuchCluster,
    QueryTimeout,
    RemoteError,
    SignatureError,
)
from plproxy_py.testing import Call, FakeCluster
from tests.both import close, face, lent, next_row
from tests.fix_fake import declare
from tests.fix_router import Driver


@pytest.fixture
def driver(make_router: Callable[..., Driver]) -> Driver:
    return make_router()


@pytest.fixture
def fake(driver: Driver) -> Iterator[FakeCluster]:
    with FakeCluster(driver.router, {"userdb": 4}) as fake:
        yield fake


def test_the_latest_holds_and_times_come_first(
    driver: Driver, fake: FakeCluster
) -> None:
    f = declare(driver, "f")
    fake.answer("f", "everywhere")
    fake.answer("f", "one", partition=1)
    fake.answer("f", "another", partition=2)
    assert f(1) == "one"
    fake.answer("f", "first", times=1)
    fake.fail("f", "40001", times=2)
    fake.answer("f", "elsewhere", cluster="userdb", partition=0, times=1)
    assert f(2) == "first"
    for _ in range(2):
        with pytest.raises(psycopg.errors.SerializationFailure):
            f(3)
    assert f(4) == "one"
    fake.answer("f", "everywhere again")
    assert f(5) == "everywhere again"
    assert fake.calls == [Call("userdb", 1, "f", (x,)) for x in (1, 2, 3, 3, 4, 5)]
    fake.calls.clear()
    assert fake.calls_of("f") == []


def test_a_callable_gets_declared_values(driver: Driver, fake: FakeCluster) -> None:
    text = (
        "CREATE FUNCTION app.add(a int4, b numeric, note jsonb, at timestamptz) "
        "RETURNS text AS $$ CLUSTER 'userdb'; RUN ON 0; "
        "SELECT app.add(note, b); $$ LANGUAGE plproxy;"
    )
    add = driver.define(text)
    fake.answer("app.add", lambda b, note: f"{b!r} {note!r}")
    answer = add("7", 1, {"k": [None]}, "2024-01-02T03:04:05Z")
    assert answer == "Decimal('1') {'k': [None]}"
    assert fake.calls[0].function == "app.add"


def test_an_error_of_psycopgs_is_the_partitions(
    driver: Driver, fake: FakeCluster
) -> None:
    f = declare(driver, "f")

    def refuse(x: int) -> str:
        raise psycopg.errors.CheckViolation("too small")

    fake.answer("f", refuse)
    with pytest.raises(psycopg.errors.CheckViolation, match="too small") as caught:
        f(1)
    assert isinstance(caught.value, RemoteError)
    assert caught.value.outcomes[1].state == "failed"


@pytest.mark.parametrize("is_noticed", [True, False])
def test_an_error_of_a_callable_is_raised_at_the_end(
    driver: Driver, is_noticed: bool
) -> None:
    f = declare(driver, "f", list[str])

    def broken(x: int) -> Iterator[str]:
        yield "a"
        raise LookupError("my own")

    with (  # noqa: PT012
        pytest.raises(LookupError, match="my own") as caught,
        FakeCluster(driver.router, {"userdb": 4}) as fake,
    ):
        fake.answer("f", broken)
        if is_noticed:
            with pytest.raises(RemoteError, match=r"f\(int8\) raised .*my own"):
                f(1)
        else:
            f(1)
    if not is_noticed:
        assert isinstance(caught.value.__context__, RemoteError)


def test_what_a_test_says_itself_comes_first(driver: Driver) -> None:
    f = declare(driver, "f")
    with (  # noqa: PT012
        pytest.raises(KeyError, match="of the test"),
        FakeCluster(driver.router, {"userdb": 4}) as fake,
    ):
        fake.answer("f", lambda x: 1 / 0)
        with pytest.raises(RemoteError):
            f(1)
        raise KeyError("of the test")


@pytest.mark.parametrize(
    ("returns", "value", "match"),
    [
        (int, "seven", r"public.f\(1\): the answer 'seven' does not fit int8"),
        (int, 2**63, "does not fit int8: out of range"),
        (list[int], 7, r"public.f\(1\): 7 is no list of rows"),
        (list[int], "77", "no list of rows"),
        (list[int], [1, None, "x"], "the answer 'x' does not fit int8"),
        (list[int], iter([1]), "an iterator serves one call only"),
        (None, 1, "does not fit void"),
        (datetime, datetime(2024, 1, 2), "does not fit timestamptz: naive datetime"),
        (str, b"x", "does not fit text: expected str, got bytes"),
    ],
)
def test_answers_that_do_not_fit(
    driver: Driver, fake: FakeCluster, returns: Any, value: Any, match: str
) -> None:
    f = declare(driver, "f", returns)
    with pytest.raises((TypeError, ValueError), match=match):
        fake.answer("f", value)
    if not isinstance(value, Iterator):
        fake.answer("f", lambda x: value)
        with pytest.raises(RemoteError, match=match):
            f(1)
        with pytest.raises((TypeError, ValueError), match=match):
            fake.__exit__(None, None, None)
        fake.__enter__()


@pytest.mark.parametrize("row", [(1,), {"a": 1}, {"a": 1, "b": 2, "c": 3}, 5])
def test_rows_of_other_columns(driver: Driver, fake: FakeCluster, row: Any) -> None:
    driver.router.define(
        "CREATE FUNCTION r(OUT a int, OUT b int) AS "
        "$$ CLUSTER 'userdb'; $$ LANGUAGE plproxy;"
    )
    with pytest.raises(TypeError, match="is no row of the columns a, b"):
        fake.answer("r", row)


def test_what_can_not_be_scripted(driver: Driver, fake: FakeCluster) -> None:
    f = declare(driver, "get_user")

    async def later(x: int) -> str:
        return "x"

    with pytest.raises(SignatureError, match="did you mean 'get_user'"):
        fake.answer("get_usr", 1)
    with pytest.raises(NoSuchCluster, match="did you mean 'userdb'"):
        fake.answer("get_user", "x", cluster="userbd")
    with pytest.raises(ValueError, match="no partition 4"):
        fake.fail("get_user", "23505", partition=4)
    with pytest.raises(ValueError, match="no SQLSTATE"):
        fake.fail("get_user", "2350")
    with pytest.raises(ValueError, match="at least 1"):
        fake.answer("get_user", "x", times=0)
    with pytest.raises(ValueError, match="0 or more"):
        fake.delay("get_user", math.nan)
    with pytest.raises(TypeError, match="no async def"):
        fake.answer("get_user", later)
    with pytest.raises(ConfigError, match="number of them"):
        FakeCluster(driver.router, {"userdb": ["dbname=x"]})  # type: ignore[dict-item]
    with pytest.raises(RemoteError, match="nothing is scripted for"):
        f(1)


def test_sql_that_nobody_declared(driver: Driver, fake: FakeCluster) -> None:
    f = declare(driver, "f")
    fake.answer("f", "x")
    for sql in ("DROP TABLE users", "SELECT 1; SELECT 2", "'", "\x01", "é" * 99999):
        with pytest.raises(RemoteError, match=r"scripted are: public.f\(int8\)") as it:
            driver.execute("userdb", sql, run_on=1)
        assert it.value.sqlstate == "42883"
        assert f(1) == "x"
    with pytest.raises(RemoteError, match="no declared function sends"):
        driver.execute("userdb", "SELECT public.f($1::int8)", 1, run_on=1)


def test_down_is_before_sending(driver: Driver, fake: FakeCluster) -> None:
    f = declare(driver, "f", list[str], run_on="ALL")
    fake.answer("f", ["x"])
    f(1)
    fake.calls.clear()
    fake.down(3)
    for _ in range(2):
        with pytest.raises(ConnectError) as caught:
            f(1)
        assert (caught.value.sent, caught.value.partition) == (False, 3)
        states = [(o.state, o.sent) for o in caught.value.outcomes.values()]
        assert states == [("failed", False)] * 4
    assert fake.calls == []
    fake.up(3)
    assert f(1) == ["x"] * 4


@pytest.mark.parametrize("executed", [True, False])
def test_disconnect_is_after_sending(
    driver: Driver, fake: FakeCluster, executed: bool
) -> None:
    """Whether it was executed only the partition knows: the caller can't."""
    f = declare(driver, "f", list[str], run_on="ALL")
    done: list[int] = []
    fake.answer("f", ["x"])
    fake.answer("f", lambda x: [done.append(x) or "x"], partition=2)
    for warm in range(3):
        f(warm)
    fake.disconnect("f", executed=executed, partition=2, times=1)
    with pytest.raises(ConnectionLost) as caught:
        f(7)
    outcomes = caught.value.outcomes
    assert [outcomes[place].state for place in range(4)] == [
        *("committed", "committed", "unknown", "committed")
    ]
    assert (outcomes[2].sent, caught.value.sent) == (True, True)
    assert (7 in done) is executed
    asked = {call.partition for call in fake.calls_of("f") if call.args == (7,)}
    assert asked == ({0, 1, 2, 3} if executed else {0, 1, 3})
    assert f(8) == ["x"] * 4


def test_down_while_calls_are_under_way(driver: Driver, fake: FakeCluster) -> None:
    f = declare(driver, "f")
    fake.answer("f", "x")
    fake.delay("f", math.inf)
    threading.Timer(0.3, fake.down, [1]).start()
    with pytest.raises(ConnectionLost) as caught:
        f(1)
    assert caught.value.outcomes[1].state == "unknown"


def test_a_cancelled_call_is_not_executed(driver: Driver, fake: FakeCluster) -> None:
    f = face(driver, str, {"x": int}, name="f", run_on=1)
    done: list[int] = []
    fake.answer("f", lambda x: done.append(x) or "x")
    assert driver.run(f(0)) == "x"
    fake.delay("f", math.inf, times=1)
    with pytest.raises(QueryTimeout) as caught:
        driver.run(f.with_options(timeout=0.2)(1))
    assert caught.value.outcomes[1].state == "failed"
    assert driver.run(f(2)) == "x"
    assert done == [0, 2]


def test_a_stream_without_end(driver: Driver, fake: FakeCluster) -> None:
    stream = face(driver, Iterator[int], {"x": int}, name="f", run_on="ALL")
    fake.answer("f", lambda x: itertools.count(x))
    for _ in range(2):
        rows = stream(5)
        assert sorted({next_row(driver, rows) for _ in range(9)})[0] == 5
        close(driver, rows)
    assert driver.execute("userdb", "SELECT").keys() == {0, 1, 2, 3}


def test_many_functions_on_one_connection(driver: Driver, fake: FakeCluster) -> None:
    """More than are kept prepared: the oldest are forgotten on both sides."""
    functions = [declare(driver, f"f{n}", int, cluster="userdb") for n in range(120)]
    for n in range(120):
        fake.answer(f"f{n}", n)
    for _ in range(3):
        assert [function(0) for function in functions] == list(range(120))
    with lent(driver, "userdb", partition=1) as connection:
        fake.sql("SELECT $1", lambda x: [{"x": x}])
        cursor = driver.run(connection.execute("SELECT %s", ["ä"]))
        assert driver.run(cursor.fetchall()) == [("ä",)]
    assert functions[119](0) == 119


def test_equal_names(driver: Driver, fake: FakeCluster) -> None:
    by_key = [driver.define(overloaded(type)) for type in ("int4", "text")]
    fake.answer("g(int4)", "number")
    fake.answer("g(text)", "text")
    assert [g(7) for g in by_key] == ["number", "text"]
    with pytest.raises(SignatureError, match="overloaded"):
        fake.answer("g", "x")
    assert [call.args for call in fake.calls] == [(7,), ("7",)]


def overloaded(type: str) -> str:
    return (
        f"CREATE FUNCTION g(x {type}) RETURNS text AS "
        "$$ CLUSTER 'userdb'; RUN ON 3; $$ LANGUAGE plproxy;"
    )


def test_a_replaced_declaration_is_scripted_as_a_callable(
    driver: Driver, fake: FakeCluster
) -> None:
    earlier = face(driver, int, {"x": int}, name="f", run_on=0)
    declare(driver, "f", str)
    fake.answer(earlier, 5)
    assert driver.run(earlier(1)) == 5
