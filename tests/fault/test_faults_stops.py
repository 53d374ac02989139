"""Whoever stops a call gets away soon, even from a partition that is silent.

Ctrl-C, a cancelled task, an early end of a stream, an error in the caller's own code:
the statements end, and the next answers are right.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from plproxy_py import Error, Int4, _connections
from tests.both import face, lent, next_row, wait_until
from tests.fault.kinds import KINDS, VICTIM, Calls, check_truth, connect
from tests.fix_network import Fault, FaultProxy
from tests.fix_router import Driver
from tests.fix_servers import Servers, check_silence, usable

# psycopg's own way out of a silent partition takes 11 s.
SOON = 1.0
SIZE = len(KINDS)
NUMBERS = f"{VICTIM} * 1000000 + g FROM generate_series(1, n) g"


def freeze(servers: Servers, proxy: FaultProxy) -> None:
    servers[VICTIM].freeze()


def stall_in_a_row(servers: Servers, proxy: FaultProxy) -> None:
    proxy.fault(Fault("stall", "answer", 50_000))


def half_open(servers: Servers, proxy: FaultProxy) -> None:
    proxy.fault(Fault("swallow"))


SILENCES = pytest.mark.parametrize("silence", [freeze, stall_in_a_row, half_open])
Silence = Callable[[Servers, FaultProxy], None]

SYNC = pytest.mark.parametrize("make_router", ["sync"], indirect=True)
ASYNC = pytest.mark.parametrize("make_router", ["async"], indirect=True)


def after(
    driver: Driver, servers: Servers, proxy: FaultProxy, name: str, stopped: int
) -> None:
    """Let the fault end: nothing runs on, and the answers are right.

    ``stopped``: how many statements the silent server was asked to cancel, at least.
    """
    wait_until(lambda: proxy.cancels >= stopped)
    proxy.heal()
    servers.heal()
    check_silence(servers, name)
    kinds = ("plain", "all", "stream")
    told = Calls(driver).together(kinds)
    assert [told[kind].error for kind in kinds] == [None] * 3
    check_truth(servers, told.values())


@SYNC
@SILENCES
def test_ctrl_c(
    fault_proxy: FaultProxy,
    servers: Servers,
    make_proxied: Callable[..., Driver],
    silence: Silence,
) -> None:
    """In every kind of call that waits for the silent partition."""
    driver = make_proxied(application_name="ctrl_c", pool_size=SIZE)
    calls = Calls(driver)
    connect(driver, servers, SIZE, range(4))
    silence(servers, fault_proxy)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for kind in KINDS:
            if kind == "first_elsewhere":
                continue
            signal.setitimer(signal.ITIMER_REAL, 0.15)
            started = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                calls.start(kind, 60, f"ctrl_c {kind}", 0.0, 300_000)
            assert time.monotonic() - started < SOON, kind
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    after(driver, servers, fault_proxy, "ctrl_c", SIZE - 1)


@ASYNC
@SILENCES
def test_cancelled_tasks(
    fault_proxy: FaultProxy,
    servers: Servers,
    make_proxied: Callable[..., Driver],
    silence: Silence,
) -> None:
    driver = make_proxied(application_name="cancelled", pool_size=SIZE)
    calls = Calls(driver)
    connect(driver, servers, SIZE, range(4))
    silence(servers, fault_proxy)

    async def main() -> None:
        tasks = [
            asyncio.ensure_future(calls.start(kind, 60, f"task {kind}", 0.0, 300_000))
            for kind in KINDS
            if kind != "first_elsewhere"
        ]
        await asyncio.sleep(0.15)
        started = time.monotonic()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert time.monotonic() - started < SOON
        assert [type(end) for end in ended] == [asyncio.CancelledError] * len(tasks)

    driver.run(main())
    after(driver, servers, fault_proxy, "cancelled", SIZE - 1)


@SYNC
def test_ctrl_c_while_connecting(
    fault_proxy: FaultProxy, servers: Servers, make_proxied: Callable[..., Driver]
) -> None:
    driver = make_proxied(application_name="connecting", pool_size=1)
    calls = Calls(driver)
    fault_proxy.fault(Fault("stall"))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for kind in ("plain", "all", "many", "stream", "partial"):
            signal.setitimer(signal.ITIMER_REAL, 0.15)
            started = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                calls.start(kind, 60, f"connecting {kind}", 0.0, 0)
            assert time.monotonic() - started < SOON, kind
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    after(driver, servers, fault_proxy, "connecting", 0)


class Own(Exception):
    """The caller's."""


@pytest.mark.parametrize(
    ("silence", "ordered", "is_error"),
    [
        (freeze, False, False),
        (freeze, True, True),
        (stall_in_a_row, False, True),
        (half_open, True, False),
    ],
)
def test_a_stream_that_is_left_early(
    fault_proxy: FaultProxy,
    servers: Servers,
    make_proxied: Callable[..., Driver],
    silence: Silence,
    ordered: bool,
    is_error: bool,
) -> None:
    """By break, or by an exception of the loop's own, where rows are on their way."""
    driver = make_proxied(application_name="left early", pool_size=1)
    order: dict[str, Any] = {"order_by": ("1",)} if ordered else {}
    numbers = face(driver, Iterator[Int4], {"n": Int4}, select=NUMBERS, **order)
    stream = numbers(300_000)
    first = [next_row(driver, stream) for _ in range(3)]
    silence(servers, fault_proxy)
    started = time.monotonic()
    with pytest.raises(Own) if is_error else contextlib.nullcontext():
        leave(driver, stream, is_error)
    assert time.monotonic() - started < SOON
    assert len(set(first)) == (1 if ordered else 3)
    after(driver, servers, fault_proxy, "left early", 1)


def leave(driver: Driver, stream: Any, is_error: bool) -> None:
    """Read one row more, and leave the loop."""

    async def read() -> None:
        async with stream:
            async for _ in stream:
                if is_error:
                    raise Own
                break

    if driver.is_async:
        driver.run(read())
        return
    with stream:
        for _ in stream:
            if is_error:
                raise Own
            break


def test_a_forgotten_stream_of_a_silent_partition(
    fault_proxy: FaultProxy, servers: Servers, make_proxied: Callable[..., Driver]
) -> None:
    """Nobody closes it; the collector does."""
    driver = make_proxied(application_name="forgotten", pool_size=1)
    numbers = face(driver, Iterator[Int4], {"n": Int4}, select=NUMBERS)
    stream = numbers(300_000)
    next_row(driver, stream)
    servers[VICTIM].freeze()
    started = time.monotonic()
    del stream
    assert time.monotonic() - started < SOON
    driver.run(asyncio.sleep(0.2)) if driver.is_async else time.sleep(0.2)
    after(driver, servers, fault_proxy, "forgotten", 1)


@pytest.mark.parametrize("error", [None, Own])
def test_a_loaned_connection_given_back_to_a_silent_partition(
    fault_proxy: FaultProxy,
    servers: Servers,
    make_proxied: Callable[..., Driver],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Own] | None,
) -> None:
    """It can't be made as new in time, so it is closed."""
    monkeypatch.setattr(_connections, "CLEAN_TIMEOUT", 0.3)
    driver = make_proxied(application_name="loaned", pool_size=1)
    started = time.monotonic()
    with (
        pytest.raises(error) if error else contextlib.nullcontext(),
        lent(driver, "userdb", partition=VICTIM) as connection,
    ):
        driver.run(connection.execute("SELECT 7"))
        driver.run(connection.commit())
        servers[VICTIM].freeze()
        if error:
            raise error
    assert time.monotonic() - started < 2 * SOON
    servers.heal()
    assert usable(driver)
    check_silence(servers, "loaned")


@pytest.mark.parametrize("how", ["cut", "reset"])
def test_a_loaned_connection_that_is_lost(
    fault_proxy: FaultProxy, make_proxied: Callable[..., Driver], how: Any
) -> None:
    """The error is psycopg's, as for any connection of its own; the pool goes on."""
    driver = make_proxied(pool_size=1)
    assert usable(driver)

    def ask() -> None:
        with lent(driver, "userdb", partition=VICTIM) as connection:
            fault_proxy.fault(Fault(how, "request"))
            driver.run(connection.execute("SELECT 7"))

    with pytest.raises(psycopg.OperationalError) as caught:
        ask()
    assert not isinstance(caught.value, Error)
    fault_proxy.heal()
    assert usable(driver)


def test_stops_of_many_at_once(
    fault_proxy: FaultProxy, servers: Servers, make_proxied: Callable[..., Driver]
) -> None:
    """All fail by one deadline; the next answers belong to the next calls."""
    driver = make_proxied(application_name="many at once", pool_size=SIZE)
    calls = Calls(driver)
    connect(driver, servers, SIZE, range(4))
    fault_proxy.fault(Fault("stall"), "old")
    told = calls.together(["plain", "all", "split", "execute", "many"], 0.2)
    assert all(VICTIM in about.errors for about in told.values())
    check_truth(servers, told.values())
    fault_proxy.heal()
    numbers = [
        lambda n=n: driver.router.execute("userdb", "SELECT $1::int4", n)
        for n in range(40)
    ]
    answers = driver.together(*numbers)
    assert answers == [{place: [(n,)] for place in range(4)} for n in range(40)]
    check_silence(servers, "many at once")
