"""``timeout`` holds in each phase of a call: checkout, name, connect, send, wait, read.

Connecting and reading are in test_faults_matrix too, where the network fails them.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from plproxy_py import ConnectError, Int4, PoolTimeout, QueryTimeout
from tests.both import face, lent, rows
from tests.fault.kinds import (
    KINDS,
    LATE,
    OTHERS,
    SCATTERED,
    VICTIM,
    WHOLE,
    Calls,
    Told,
    check_truth,
    connect,
)
from tests.fix_network import Fault, FaultProxy
from tests.fix_router import Driver
from tests.fix_servers import Servers, check_silence, usable

TIMEOUT = 0.3
TRIES = 8
SIZE = len(KINDS)


def in_time(
    attempt: Callable[[], dict[str, Told]], *, others_serve: bool = True
) -> dict[str, Told]:
    """Return what calls told; the best of some attempts must not be late."""
    for _ in range(TRIES):
        told = attempt()
        late = [
            about
            for about in told.values()
            if (
                about.is_late(TIMEOUT)
                if others_serve
                else about.seconds > TIMEOUT + LATE
            )
        ]
        if not late:
            return told
    pytest.fail(f"late: {[(about.token, about.seconds) for about in late]}")


def errors(told: dict[str, Told], kinds: Any = KINDS) -> list[Any]:
    return [told[kind].errors[VICTIM] for kind in kinds if kind != "first_elsewhere"]


def test_checkout(servers: Servers, make_router: Callable[..., Driver]) -> None:
    """All connections are another's."""
    driver = make_router({"userdb": servers.connstrs()}, pool_size=SIZE)
    calls = Calls(driver)
    connect(driver, servers, SIZE, range(4))
    with ExitStack() as stack:
        for _ in KINDS:
            stack.enter_context(lent(driver, "userdb", partition=VICTIM))
        told = in_time(lambda: calls.together(KINDS, TIMEOUT))
    check_truth(servers, told.values())
    for error in errors(told):
        assert isinstance(error, PoolTimeout)
        assert (error.phase, error.partition) == ("checkout", VICTIM)
    assert not any(told[kind].error.sent for kind in WHOLE)  # type: ignore[union-attr]
    assert not any(about.sent.get(VICTIM) for about in told.values())
    assert usable(driver)


@pytest.fixture
def hanging_name(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A host name whose resolver does not answer until the test ends."""
    over = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "hangs.example":
            over.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield "hangs.example"
    over.set()


def test_name_resolution(
    hanging_name: str, servers: Servers, make_router: Callable[..., Driver]
) -> None:
    """Of one partition; the names of others are found meanwhile."""
    zero, _, two, three = servers.connstrs(servers.tcp(VICTIM, host=hanging_name))
    one = servers.tcp(1, host="localhost")
    driver = make_router({"userdb": [zero, one, two, three]}, pool_size=SIZE)
    calls = Calls(driver)
    connect(driver, servers, SIZE, (0, 2))
    told = in_time(lambda: calls.together(KINDS, TIMEOUT))
    check_truth(servers, told.values())
    for error in errors(told):
        assert isinstance(error, QueryTimeout)
        # A busy machine may notice the deadline before it looks at the connection.
        assert error.phase in ("connect", "checkout")
        assert error.partition == VICTIM
    assert calls.together(["elsewhere"], 2)["elsewhere"].error is None
    assert not any(told[kind].error.sent for kind in WHOLE)  # type: ignore[union-attr]
    started = time.monotonic()
    driver.run(driver.router.close(timeout=0.2))
    assert time.monotonic() - started < 2, "closing does not wait for name servers"


def test_send(
    fault_proxy: FaultProxy, servers: Servers, make_proxied: Callable[..., Driver]
) -> None:
    """A large argument, and nobody takes it."""
    driver = make_proxied(application_name="send")
    select = "length(value)"
    hints = {"value": str}
    large = "x" * 15_000_000
    plain = face(driver, Int4, hints, select=select, run_on=VICTIM)
    stream = face(driver, Iterator[Int4], hints, select=select, run_on=VICTIM)
    for call in (plain, stream):
        assert usable(driver)
        fault_proxy.fault(Fault("stall"))
        limited = call.with_options(timeout=TIMEOUT)
        with pytest.raises(QueryTimeout) as caught:
            rows(driver, limited(large)) if call is stream else driver.run(
                limited(large)
            )
        assert (caught.value.phase, caught.value.partition) == ("send", VICTIM)
        assert caught.value.sent
        assert caught.value.outcomes[VICTIM].state == "unknown"
        fault_proxy.heal()
        check_silence(servers, "send")
    assert driver.run(plain(large)) == len(large)


def test_wait(servers: Servers, make_router: Callable[..., Driver]) -> None:
    """All servers are well, and their statements take too long."""
    driver = make_router(
        {"userdb": servers.connstrs()}, application_name="wait", pool_size=SIZE
    )
    calls = Calls(driver)
    connect(driver, servers, SIZE, range(4))
    told = in_time(
        lambda: calls.together(KINDS, TIMEOUT, seconds=30), others_serve=False
    )
    for partition in range(4):
        check_silence(servers, "wait", partition)
    check_truth(servers, told.values())
    for error in errors(told):
        assert isinstance(error, QueryTimeout)
        assert (error.phase, error.sqlstate) == ("read", "57014")
    # Pipelined calls are not cancelled one by one.
    assert set(told["many"].states.values()) == {"unknown"}
    # A server that is well says that it cancelled: nobody is left in doubt.
    for kind in set(KINDS) - {"first_elsewhere", "first_there", "plain", "many"}:
        assert set(told[kind].states.values()) == {"failed"}, told[kind]
    after = calls.together()
    assert [about.error for about in after.values()] == [None] * len(KINDS)


SILENT = [
    Fault("stall"),
    Fault("stall", "answer", 20),
    Fault("swallow"),
    Fault("drip", tick=0.02),
]
LOST = [Fault("cut", "request"), Fault("reset", "answer", 20)]


@pytest.mark.parametrize("fault", SILENT + LOST, ids=lambda fault: str(fault)[12:30])
def test_prepared_calls(
    fault_proxy: FaultProxy,
    servers: Servers,
    make_proxied: Callable[..., Driver],
    fault: Fault,
) -> None:
    """Calls that are sent at once, on connections with their statements prepared."""
    driver = make_proxied(pool_size=1, application_name="prepared")
    calls = Calls(driver)

    def attempt() -> dict[str, Told]:
        told: dict[str, Told] = {}
        for kind in ("plain", "all"):
            for _ in range(3):
                assert calls.together([kind])[kind].error is None
            fault_proxy.fault(fault)
            told |= calls.together([kind], TIMEOUT)
            fault_proxy.heal()
            check_silence(servers, "prepared")
        return told

    told = in_time(attempt)
    check_truth(servers, told.values())
    for about in told.values():
        error = about.error
        assert error is about.errors[VICTIM]
        assert about.states[VICTIM] == "unknown"
        assert "unknown: sent, and its end was not seen" in str(error)
        if fault in SILENT:
            assert isinstance(error, QueryTimeout)
            assert error.phase == "read"
    assert [told["all"].states[partition] for partition in OTHERS] == ["committed"] * 3


def test_a_connection_whose_cancel_was_not_seen_to_end_serves_nobody(
    fault_proxy: FaultProxy, make_proxied: Callable[..., Driver]
) -> None:
    """Its cancel request is still on the way: it would hit the next call."""
    driver = make_proxied(pool_size=1)

    def execute(sql: str, timeout: float) -> Any:
        return driver.execute("userdb", sql, run_on=VICTIM, timeout=timeout)

    before = execute("SELECT pg_backend_pid()", 3)
    fault_proxy.fault(Fault("stall"), "cancels")
    # Its answer comes in the moment of grace, if this machine is not busy elsewhere.
    with suppress(QueryTimeout):
        assert execute("SELECT pg_sleep(0.34)", 0.3) == {VICTIM: [("",)]}
    assert execute("SELECT pg_backend_pid()", 3) != before
    late = threading.Timer(0.1, fault_proxy.heal)
    late.start()
    assert execute("SELECT pg_sleep(0.3)", 3) == {VICTIM: [("",)]}
    late.join()
    assert fault_proxy.cancels >= 1


def test_a_silent_partition_takes_no_place_from_the_others(
    fault_proxy: FaultProxy, make_proxied: Callable[..., Driver]
) -> None:
    """More callers than connections wait for it; other partitions serve at once.

    Callers that gave up leave no connects behind that pile up.
    """
    driver = make_proxied(pool_size=2)
    fault_proxy.fault(Fault("stall"))

    def execute(run_on: int, timeout: float) -> Callable[[], Any]:
        return lambda: driver.router.execute(
            "userdb", "SELECT 7", run_on=run_on, timeout=timeout
        )

    waiting = [execute(VICTIM, 1.0) for _ in range(8)]
    served = [execute(number % 3, 0.9) for number in range(16)]
    connected = driver.together(*[execute(number % 3, 30) for number in range(16)])
    assert all(isinstance(end, dict) for end in connected)
    for _ in range(2):
        ended = driver.together(*waiting, *served)
        assert all(isinstance(end, QueryTimeout | ConnectError) for end in ended[:8])
        assert [list(end.values()) for end in ended[8:]] == [[[(7,)]]] * 16
    assert fault_proxy.open <= 2


def test_where_the_answer_is_no_nobody_waits(
    fault_proxy: FaultProxy, servers: Servers, make_proxied: Callable[..., Driver]
) -> None:
    fault_proxy.fault(Fault("refuse"))
    calls = Calls(make_proxied())
    for _ in range(3):
        told = calls.together(KINDS, 60)
        assert all(about.seconds < 30 for about in told.values())
        check_truth(servers, told.values())
        assert {type(error) for error in errors(told)} == {ConnectError}
        scattered = [kind for kind in SCATTERED if not kind.startswith("first")]
        assert all(told[kind].error is None for kind in scattered)
