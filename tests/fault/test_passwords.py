"""Passwords from a callable: asked for each connection, told to nobody."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from plproxy_py import AsyncRouter, ConnectError, Router, _knocking
from plproxy_py._connector import Connector
from plproxy_py._embedded import EmbeddedError, Server
from plproxy_py._links import Adapters, Session
from plproxy_py.config import Partition, parse_connstr
from tests.fix_router import Driver
from tests.fix_server import no_server

SECRET = "s3kret-pass"
ONE = "SELECT 1 AS one"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that asks for a password, and writes down whom it refused."""
    try:
        server = Server(tcp=True)
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        with psycopg.connect(server.connstr(), autocommit=True) as conn:
            conn.execute(f"CREATE ROLE app LOGIN PASSWORD '{SECRET}'".encode())
        yield server


@pytest.fixture
def place(guarded: Server) -> str:
    """The connect string of the role, without any password."""
    return psycopg.conninfo.make_conninfo(
        "",
        host="127.0.0.1",
        port=guarded.port,
        user="app",
        dbname="postgres",
        sslmode="disable",
        gssencmode="disable",
    )


def refusals(server: Server) -> int:
    return server.log.read_text().count("password authentication failed")


def test_it_is_asked_for_every_connection(
    make_router: Callable[..., Driver], place: str
) -> None:
    asked: list[Partition] = []

    def password(partition: Partition) -> str:
        asked.append(partition)
        return SECRET

    driver = make_router({"c": [place]}, password=password)
    call = driver.router.execute
    answers = driver.together(*[lambda: call("c", "SELECT pg_sleep(0.3)")] * 3)
    assert [type(answer) for answer in answers] == [dict] * 3
    assert [partition.target.label for partition in asked] == ["postgres"] * 3


def test_it_is_told_the_partition(place: str) -> None:
    asked: list[Partition] = []

    def password(partition: Partition) -> str:
        asked.append(partition)
        return SECRET

    partition = Partition(5, (parse_connstr(place),))
    session = Session(partition.target, None, False, partition)
    connector = Connector(Adapters(psycopg.adapters), password=password)
    connector.open(session, "c").result(20).close()
    connector.close()
    assert asked == [partition]


def test_it_stands_in_the_place_of_a_written_one(
    make_router: Callable[..., Driver], place: str
) -> None:
    driver = make_router({"c": [f"{place} password=old"]}, password=lambda _: SECRET)
    assert driver.execute("c", ONE) == {0: [(1,)]}


def test_data_does_not_ride_on_it(place: str) -> None:
    """CONNECT with a wrong password gets nobody in, whatever the callable knows."""
    with Router({}, password=lambda _: SECRET, allow_connect=["127.0.0.1"]) as router:
        who = router.define(
            "CREATE FUNCTION who(c text) RETURNS text LANGUAGE plproxy AS "
            "$$ CONNECT c; SELECT current_user::text; $$"
        )
        with pytest.raises(ConnectError) as caught:
            who(f"{place} password=wrong")
        assert caught.value.sqlstate == "28P01"
        assert who(f"{place} password={SECRET}") == "app"


def test_an_async_callable_runs_where_its_clients_live(place: str) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def password(partition: Partition) -> str:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        return SECRET

    async def main() -> None:
        async with AsyncRouter({"c": [place]}, password=password) as router:
            assert await router.execute("c", ONE) == {0: [(1,)]}
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(main())


def test_an_async_callable_is_for_async_routers(place: str) -> None:
    async def password(partition: Partition) -> str:
        return SECRET

    with (
        Router({"c": [place]}, password=password) as router,
        pytest.raises(ConnectError, match=r"partition 0: .*an awaitable.*AsyncRouter"),
    ):
        router.execute("c", ONE)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "returned NoneType, not a text"),
        (SECRET.encode(), "returned bytes, not a text"),
        (f"{SECRET}\0", "returned a text with a NUL character"),
        (ValueError(SECRET), "raised ValueError"),
        (StopIteration(SECRET), "raised RuntimeError"),
    ],
)
def test_no_password(
    make_router: Callable[..., Driver], place: str, answer: object, text: str
) -> None:
    def password(partition: Partition) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    driver = make_router({"c": [place]}, password=password)
    with pytest.raises(ConnectError, match=rf"partition 0: .*{text}") as caught:
        driver.execute("c", ONE)
    assert caught.value.partition == 0
    assert not caught.value.sent
    assert SECRET not in everything_of(caught.value)


def test_a_slow_callable_holds_up_nobody_else(
    make_router: Callable[..., Driver], place: str
) -> None:
    released = threading.Event()

    def password(partition: Partition) -> str:
        if "fallback" in str(partition.target.parameters):
            released.wait(30)
        return SECRET

    slow = f"{place} fallback_application_name=fallback"
    driver = make_router({"slow": [slow], "c": [place]}, password=password)
    router = driver.router

    def call_c() -> Any:
        async def after() -> Any:
            await asyncio.sleep(0.2)
            answer = await router.execute("c", ONE)  # type: ignore[misc]
            released.set()
            return answer

        if driver.is_async:
            return after()
        time.sleep(0.2)
        answer = router.execute("c", ONE)
        released.set()
        return answer

    answers = driver.together(lambda: router.execute("slow", ONE), call_c)
    assert answers == [{0: [(1,)]}] * 2


def test_a_rotated_password_is_asked_for_once_more(
    make_router: Callable[..., Driver], place: str, guarded: Server
) -> None:
    given = iter(["stale", SECRET])
    driver = make_router({"c": [place]}, password=lambda _: next(given))
    before = refusals(guarded)
    assert driver.execute("c", ONE) == {0: [(1,)]}
    assert refusals(guarded) - before == 1


@pytest.mark.parametrize(("given", "knocks"), [(["same"] * 9, 1), ("abcdefghi", 2)])
def test_no_account_is_locked_out(
    make_router: Callable[..., Driver],
    place: str,
    guarded: Server,
    monkeypatch: pytest.MonkeyPatch,
    given: Any,
    knocks: int,
) -> None:
    """Twenty callers bring a wrong password: the server hears of one of them."""
    monkeypatch.setattr(_knocking.random, "uniform", lambda low, high: high)
    monkeypatch.setattr(_knocking, "FIRST_LOCKOUT_PAUSE", 60.0)
    words = iter(given)
    driver = make_router({"c": [place]}, password=lambda _: next(words))
    before = refusals(guarded)
    call = driver.router.execute
    errors = driver.together(*[lambda: call("c", ONE)] * 10)
    errors += driver.together(*[lambda: call("c", ONE)] * 10)
    assert {(type(error), error.sqlstate) for error in errors} == {
        (ConnectError, "28P01")
    }
    assert "the next try is in" in str(errors[-1])
    assert refusals(guarded) - before == knocks


def test_no_trace_of_it(
    make_router: Callable[..., Driver],
    place: str,
    guarded: Server,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In no text, log, repr or pickle of ours, nor in the frames of a traceback."""
    caplog.set_level(logging.DEBUG)
    driver = make_router({"c": [place]}, password=lambda _: f"not {SECRET}")
    with pytest.raises(ConnectError) as caught:
        driver.execute("c", ONE)
    assert caught.value.sqlstate == "28P01"
    told = everything_of(caught.value)
    told += repr(driver.router.stats()) + repr(vars(driver.router._pools.connector))
    told += repr(pickle.dumps(caught.value)) + caplog.text
    assert "app" in told
    assert SECRET not in told


def everything_of(error: BaseException) -> str:
    """Return all that a reporting tool would show, the variables of frames included.

    But for this file's own, where the test knows the secret.
    """
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in told.stack if frame.filename != __file__]
    told.stack = traceback.StackSummary.from_list(frames)
    chained = [error.__cause__, error.__context__]
    return "".join(told.format()) + "".join(
        everything_of(each) for each in chained if each is not None
    )
