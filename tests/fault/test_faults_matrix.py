"""Each fault with each kind of call: what is told, when, and what others see of it.

Partition 3 is the victim; its connections lead through the fault proxy, or straight to
its server where the fault is the server's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from plproxy_py import ConnectError, ConnectionLost, Error, QueryTimeout
from tests.both import wait_until
from tests.fault.kinds import (
    KINDS,
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
from tests.fix_servers import Servers, back_again, check_silence

TIMEOUT = 0.3
SIZE = len(KINDS)
# What is late by itself is late each time; a machine that has other things to do made
# calls late three times in a row.
ATTEMPTS = 8

Break = Callable[[Servers, FaultProxy], None]


@dataclass(frozen=True)
class Case:
    """A fault, and what calls are to tell of it.

    ``connected``: whether connections are open when it begins. ``after``: it begins so
    many seconds after the calls, which take ``seconds``. ``error`` None: nobody sees
    it. ``apart``: each kind of call by itself, since after the first error the others
    would have new connections.
    """

    name: str
    begin: Break
    error: type[Error] | None = QueryTimeout
    sqlstates: tuple[str, ...] = ("57014",)
    phase: str | None = "read"
    states: tuple[str, ...] = ("unknown",)
    connected: bool = True
    via: str = "proxy"
    width: int = 0
    timeout: float = TIMEOUT
    after: float = 0.0
    seconds: float = 0.0
    apart: bool = False


def network(*given: Any, scopes: tuple[Any, ...] = ()) -> Break:
    return lambda servers, proxy: proxy.fault(Fault(*given), *scopes)


def server(how: str) -> Break:
    return lambda servers, proxy: getattr(servers[VICTIM], how)()


IN_A_ROW = ("answer", 50_000)
WIDE: dict[str, Any] = {"width": 300_000}
LOST: dict[str, Any] = {
    "error": ConnectionLost,
    "sqlstates": ("08006",),
    "phase": None,
    "timeout": 5.0,
    "apart": True,
}
UNREACHED: dict[str, Any] = {
    "error": ConnectError,
    "sqlstates": ("08001",),
    "phase": None,
    "states": ("failed",),
    "connected": False,
    "timeout": 5.0,
}
NOT_IN_TIME: dict[str, Any] = {
    "phase": "connect",
    "states": ("failed",),
    "connected": False,
}
NOT_SEEN: dict[str, Any] = {"error": None, "timeout": 5.0}
DYING: dict[str, Any] = {**LOST, "apart": False, "after": 0.3, "seconds": 0.8}
# A server that has a moment for it says why it ends.
FATAL: dict[str, Any] = {"sqlstates": ("57P01", "57P02", "57P03", "08006")}

CASES = [
    Case("silent", network("stall")),
    Case("silent, cancels pass", network("stall", scopes=("old",))),
    Case("silent in a row", network("stall", *IN_A_ROW), **WIDE),
    Case("silent to cancels", network("stall", scopes=("old", "cancels"))),
    Case("half-open", network("swallow")),
    Case("half-open, cancels pass", network("swallow", scopes=("old",))),
    Case("slow drip", network("drip"), width=20_000),
    Case("frozen", server("freeze"), via="unix"),
    Case("frozen over TCP", server("freeze"), via="tcp"),
    Case("connect: packets lost", network("drop"), **NOT_IN_TIME),
    Case("connect: silent", network("stall"), **NOT_IN_TIME),
    Case("connect: half-open", network("swallow"), **NOT_IN_TIME),
    Case("connect: frozen", server("freeze"), **NOT_IN_TIME, via="unix"),
    Case("connect: refused", network("refuse"), **UNREACHED),
    Case("connect: cut", network("cut"), **UNREACHED),
    Case("connect: reset", network("reset"), **UNREACHED),
    Case("connect: stopped", server("stop"), **UNREACHED, via="unix"),
    Case("connect: power cut", server("kill"), **UNREACHED, via="tcp"),
    Case("cut on request", network("cut", "request"), **LOST),
    Case("reset on request", network("reset", "request"), **LOST),
    Case("cut in a row", network("cut", *IN_A_ROW), **LOST, **WIDE),
    Case("reset in a row", network("reset", *IN_A_ROW), **LOST, **WIDE),
    Case("cut at rest", network("cut", scopes=("old",)), **NOT_SEEN),
    Case("reset at rest", network("reset", scopes=("old",)), **NOT_SEEN),
    Case("stopped", server("stop"), via="unix", **{**DYING, **FATAL}),
    Case("crashed", server("crash"), via="tcp", **{**DYING, **FATAL}),
    Case("power cut", server("kill"), via="unix", **DYING),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fault(
    fault_proxy: FaultProxy,
    servers: Servers,
    make_router: Callable[..., Driver],
    make_proxied: Callable[..., Driver],
    request: pytest.FixtureRequest,
    case: Case,
) -> None:
    name = f"matrix {request.node.callspec.id}"[:50]
    options = {"pool_size": SIZE, "application_name": name}
    if case.via == "proxy":
        driver = make_proxied(**options)
    else:
        last = servers.unix(VICTIM) if case.via == "unix" else servers.tcp(VICTIM)
        driver = make_router({"userdb": servers.connstrs(last)}, **options)
    calls = Calls(driver)
    told: dict[str, Told] = {}
    if not case.apart:
        connect(driver, servers, SIZE, range(4) if case.connected else OTHERS)
        kinds = [*KINDS, "elsewhere"]
        told = broken(calls, servers, fault_proxy, case, kinds)
    for attempt in range(ATTEMPTS):
        # Each by itself, also in case that this machine was busy with something else.
        again = [kind for kind in told if told[kind].is_late(case.timeout)]
        if told and not again:
            break
        time.sleep(0.1 * attempt)
        for kind in again if told else KINDS:
            if case.connected:
                connect(driver, servers, 1 if case.apart else SIZE, range(4))
            told |= broken(calls, servers, fault_proxy, case, [kind])
    late = [kind for kind in told if told[kind].is_late(case.timeout)]
    assert not late, [(kind, told[kind].seconds, told[kind]) for kind in late]
    for kind, about in told.items():
        check(case, kind, about)
    check_silence(servers, name)
    check_truth(servers, told.values())
    if not case.connected:
        back_again(driver)
    after = calls.together()
    assert [about.error for about in after.values()] == [None] * len(KINDS)
    assert not any(about.errors for about in after.values()), after
    check_truth(servers, after.values())
    connect(driver, servers, SIZE, (VICTIM,))
    driver.close()
    wait_until(lambda: not any(servers.sessions(name, place) for place in range(4)))


def broken(
    calls: Calls,
    servers: Servers,
    proxy: FaultProxy,
    case: Case,
    kinds: Sequence[str],
) -> dict[str, Told]:
    """Make calls under the fault, and mend it; return what they told."""
    timer = threading.Timer(case.after, case.begin, (servers, proxy))
    if case.after:
        timer.start()
    else:
        case.begin(servers, proxy)
    try:
        return calls.together(kinds, case.timeout, case.seconds, case.width)
    finally:
        timer.cancel()
        if case.after:
            timer.join()
        proxy.heal()
        servers.heal()


def check(case: Case, kind: str, told: Told) -> None:
    if case.error is None or kind.endswith("elsewhere"):
        assert told.error is None, (kind, told)
        assert not told.errors, (kind, told)
        return
    was_sent = case.states != ("failed",)
    error = told.errors[VICTIM]
    assert isinstance(error, case.error), (kind, error)
    assert error.sqlstate in case.sqlstates, (kind, error)
    assert getattr(error, "phase", None) == case.phase, (kind, error)
    assert (error.partition, error.cluster) == (VICTIM, "userdb"), (kind, error)
    assert error.function, (kind, error)
    assert told.sent[VICTIM] == was_sent, (kind, error)
    assert told.states[VICTIM] in (
        ("failed", "unknown") if error.sqlstate.startswith("57P") else case.states
    ), (kind, told)
    if kind in WHOLE or kind == "first_there":
        assert isinstance(told.error, case.error), (kind, told)
        assert told.error.partition == VICTIM, (kind, told)
        assert told.error.sent == any(told.sent.values()), (kind, told)
    else:
        assert told.error is None, (kind, told)
    if kind != "plain":
        committed = was_sent or kind in SCATTERED
        expected = "committed" if committed else "failed"
        assert [told.states[p] for p in OTHERS] == [expected] * 3, (kind, told)
