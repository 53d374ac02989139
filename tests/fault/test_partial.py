"""Partial answers, outcomes and searches where servers are frozen, dead or slow."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from plproxy_py import (
    AsyncRouter,
    ConnectError,
    ConnectionLost,
    Int4,
    Partial,
    QueryTimeout,
    Router,
)
from plproxy_py._embedded import Server
from tests.both import backends, face, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

PLACE = "right(current_database()::text, 2)::int4"
KEEP = f"{PLACE} FROM pg_sleep(seconds * ({PLACE} / 3)) AS s"


def places(driver: Driver, returns: Any = Partial[Int4], **keywords: Any) -> Any:
    return face(driver, returns, {"seconds": float}, select=KEEP, **keywords)


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_frozen_server_holds_a_partial_call_up_to_its_deadline(
    mixed: Driver, own: Server, is_connected: bool
) -> None:
    call = places(mixed).with_options(timeout=0.5)
    if is_connected:
        assert mixed.run(call(0)) == [0, 1, 2, 3]
    own.freeze()
    started = time.monotonic()
    answer = mixed.run(call(0))
    assert 0.4 < time.monotonic() - started < 1.5
    assert (answer, answer.missing) == ([0, 1, 2], (3,))
    error = answer.errors[3]
    assert isinstance(error, QueryTimeout)
    # A frozen postmaster's kernel still takes connections, so nobody has read it.
    assert (error.sent, error.phase) == (
        (True, "read") if is_connected else (False, "connect")
    )
    outcomes = mixed.run(call.call_outcomes(0))
    assert [outcomes[number].state for number in range(3)] == ["committed"] * 3
    assert outcomes[3].state == "failed"
    assert not outcomes[3].sent  # the connection that was lost is opened anew
    own.thaw()
    assert mixed.run(call(0)) == [0, 1, 2, 3]


def test_what_was_sent_to_a_frozen_server_is_unknown(
    mixed: Driver, own: Server
) -> None:
    call = places(mixed).with_options(timeout=0.4)
    assert mixed.run(call(0)) == [0, 1, 2, 3]
    own.freeze()
    outcomes = mixed.run(call.call_outcomes(0))
    assert [out.state for out in outcomes.values()] == [*["committed"] * 3, "unknown"]
    assert [out.rows for out in outcomes.values()] == [[0], [1], [2], []]
    assert (outcomes[3].sent, type(outcomes[3].error)) == (True, QueryTimeout)


def test_a_dead_server_is_missing_at_once(mixed: Driver, own: Server) -> None:
    call = places(mixed)
    assert mixed.run(call(0)) == [0, 1, 2, 3]
    own.crash()
    answer = mixed.run(call(0))
    assert (answer, answer.missing) == ([0, 1, 2], (3,))
    assert isinstance(answer.errors[3], ConnectError)
    own.start()
    assert mixed.run(call(0)) == [0, 1, 2, 3]


def test_a_server_that_dies_in_the_middle(mixed: Driver, own: Server) -> None:
    call = places(mixed)
    assert mixed.run(call(0)) == [0, 1, 2, 3]
    killer = threading.Timer(0.3, own.kill)
    killer.start()
    answer = mixed.run(call(30))
    killer.join()
    assert (answer, answer.missing) == ([0, 1, 2], (3,))
    assert isinstance(answer.errors[3], ConnectionLost)
    assert answer.errors[3].sent


def test_a_search_does_not_wait_for_a_frozen_server(mixed: Driver, own: Server) -> None:
    call = face(
        mixed,
        list[Int4],
        {"seconds": float},
        select=f"{KEEP} WHERE {PLACE} = 1",
        first=True,
        idempotent=True,
    )
    for _ in range(2):  # connected, and to be connected
        own.freeze()
        started = time.monotonic()
        assert mixed.run(call(0)) == [1]
        assert time.monotonic() - started < 2
        assert mixed.execute("userdb", "SELECT 7", run_on=1, timeout=3)[1] == [(7,)]
        own.thaw()
        assert len(mixed.execute("userdb", "SELECT 7", timeout=5)) == 4


def test_ping_tells_frozen_from_well(mixed: Driver, own: Server) -> None:
    assert len(mixed.run(mixed.router.ping("userdb"))) == 4
    own.freeze()
    started = time.monotonic()
    answers = mixed.run(mixed.router.ping("userdb", timeout=0.4))
    assert time.monotonic() - started < 1.5
    assert isinstance(answers.pop(3), QueryTimeout)
    assert all(0 < seconds < 0.4 for seconds in answers.values())


def test_settle_none_waits_and_a_deadline_ends_it(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    driver = make_router({"userdb": databases4}, application_name="settle none")
    select = f"1 / {PLACE} FROM pg_sleep(CASE {PLACE} WHEN 3 THEN 30 ELSE 0 END)"
    call = face(driver, list[Int4], select=select, settle=None)
    started = time.monotonic()
    with pytest.raises(Exception, match="division by zero") as caught:
        driver.run(call.with_options(settle=None, timeout=1.5)())
    assert 1.4 < time.monotonic() - started < 4
    outcomes = caught.value.outcomes  # type: ignore[attr-defined]
    states = [outcome.state for outcome in outcomes.values()]
    assert states == ["failed", "committed", "committed", "failed"]
    wait_until(lambda: backends(pg, "settle none", "active") == 0)


def test_ctrl_c_stops_a_partial_call(databases4: list[str], pg: Pg) -> None:
    with Router(
        {"userdb": databases4}, pool_size=1, application_name="ctrl_c partial"
    ) as router:

        @router.proxy(cluster="userdb", run_on="ALL", select="pg_sleep(30)::text")
        def naps() -> Partial[str]: ...

        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            naps()
        wait_until(lambda: backends(pg, "ctrl_c partial", "active") == 0)
        assert len(router.execute("userdb", "SELECT 7", timeout=3)) == 4


def test_a_cancelled_task_stops_a_partial_call(databases4: list[str], pg: Pg) -> None:
    async def main() -> None:
        async with AsyncRouter(
            {"userdb": databases4}, pool_size=1, application_name="task partial"
        ) as router:

            @router.proxy(cluster="userdb", run_on="ALL", select="pg_sleep(30)::text")
            async def naps() -> Partial[str]: ...

            waiting = [asyncio.create_task(naps()) for _ in range(3)]
            await asyncio.sleep(0.3)
            for task in reversed(waiting):
                task.cancel()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(end) for end in ended] == [asyncio.CancelledError] * 3
            wait_until(lambda: backends(pg, "task partial", "active") == 0)
            assert len(await router.execute("userdb", "SELECT 7", timeout=3)) == 4

    asyncio.run(main())


def test_a_partial_call_while_its_router_is_closed(
    databases4: list[str], pg: Pg
) -> None:
    """Those that wait for a connection are told; those that run come to their end."""
    router = Router(
        {"userdb": databases4}, pool_size=1, application_name="closing partial"
    )

    @router.proxy(cluster="userdb", run_on="ALL", select="pg_sleep(0.6)::text")
    def naps() -> Partial[str]: ...

    answers: dict[int, Any] = {}

    def call(number: int) -> None:
        try:
            answers[number] = naps()
        except Exception as error:
            answers[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.15)
    router.close(timeout=5)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert answers[0] == [""] * 4
    wait_until(lambda: backends(pg, "closing partial") == 0)
