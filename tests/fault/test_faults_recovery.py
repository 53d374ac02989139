"""What is left behind when a fault is over, and what a partition's absence costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from plproxy_py import ConnectError, Error, QueryTimeout, _connector
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
from tests.fix_servers import Servers, back_again, check_silence, usable

SIZE = len(KINDS)


def connstr(servers: Servers, way: str) -> str:
    if way == "unix":
        return servers.unix(VICTIM)
    return servers.tcp(VICTIM, sslmode=way.removeprefix("tcp "))


@pytest.mark.parametrize("way", ["unix", "tcp disable", "tcp prefer"])
def test_nothing_survives_a_thaw(
    servers: Servers,
    make_router: Callable[..., Driver],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """Statements were running when the server froze, and nobody waits for them.

    libpq 17 and later wait for a frozen server's word on TLS before they send a cancel
    request: there it is the server that notices that its client is gone.
    """
    # As long as a request to cancel may wait for the frozen server.
    monkeypatch.setattr(_connector, "CANCEL_TIMEOUT", 0.3)
    last = connstr(servers, way)
    driver = make_router(
        {"userdb": servers.connstrs(last)}, pool_size=SIZE, application_name=way
    )
    calls = Calls(driver)
    connect(driver, servers, SIZE, range(4))
    freeze = threading.Timer(0.25, servers[VICTIM].freeze)
    freeze.start()
    told = calls.together(KINDS, 0.6, seconds=60)
    freeze.join()
    for partition in OTHERS:
        check_silence(servers, way, partition)
    if way == "tcp prefer":
        time.sleep(0.5)  # until the requests to cancel were given up
    servers.heal()
    check_silence(servers, way)
    check_truth(servers, told.values())
    for kind in WHOLE:
        assert isinstance(told[kind].error, QueryTimeout)
        assert told[kind].states[VICTIM] == "unknown"
    assert usable(driver)


def restart(servers: Servers) -> None:
    servers[VICTIM].stop()
    servers[VICTIM].start()


def power_cut(servers: Servers) -> None:
    servers[VICTIM].kill()
    servers[VICTIM].start()


def terminate(servers: Servers) -> None:
    servers.terminate("at rest")


@pytest.mark.parametrize("ended", [restart, power_cut, terminate])
def test_idle_connections_that_ended_cost_no_call(
    servers: Servers,
    make_router: Callable[..., Driver],
    ended: Callable[[Servers], None],
) -> None:
    driver = make_router(
        {"userdb": servers.connstrs()}, pool_size=SIZE, application_name="at rest"
    )
    calls = Calls(driver)
    connect(driver, servers, SIZE, range(4))
    ended(servers)
    told = calls.together()
    assert [about.error for about in told.values()] == [None] * len(KINDS)
    assert not any(about.errors for about in told.values())
    check_truth(servers, told.values())


def check_down(told: dict[str, Told]) -> None:
    for kind, about in told.items():
        if kind == "first_elsewhere":
            assert about.error is None
            continue
        error = about.errors[VICTIM]
        assert isinstance(error, ConnectError)
        assert (error.partition, error.cluster) == (VICTIM, "userdb")
        assert not about.sent[VICTIM]
        if kind in WHOLE:
            assert isinstance(about.error, Error)
            assert not about.error.sent
        elif kind in SCATTERED and kind != "first_there":
            assert about.error is None


def test_down_at_the_start_and_for_a_while(
    servers: Servers, make_router: Callable[..., Driver]
) -> None:
    """The rest serve, RUN ON ANY too; calls work again without a restart."""
    servers[VICTIM].stop()
    driver = make_router({"userdb": servers.connstrs()}, pool_size=SIZE)
    calls = Calls(driver)
    for _ in range(3):
        told = calls.together(KINDS, 5)
        check_down(told)
        check_truth(servers, told.values(), OTHERS)
    for _ in range(30):
        answers = driver.execute("userdb", "SELECT 7", run_on="ANY", timeout=5)
        assert list(answers) != [VICTIM]
    servers.heal()
    back_again(driver)
    told = calls.together()
    assert [about.error for about in told.values()] == [None] * len(KINDS)
    wait_until(lambda: VICTIM in any_partition(driver))


def any_partition(driver: Driver) -> Any:
    return driver.execute("userdb", "SELECT 7", run_on="ANY", timeout=5)


def test_down_at_a_reload(servers: Servers, make_router: Callable[..., Driver]) -> None:
    """A map may name a server that is down: the others serve, then it does too."""
    driver = make_router({"userdb": servers.connstrs()[:2]})
    answers = driver.execute("userdb", "SELECT 7", timeout=5)
    assert answers == {0: [(7,)], 1: [(7,)]}
    servers[VICTIM].kill()
    driver.router.configure({"userdb": servers.connstrs()})
    for number in OTHERS:
        answers = driver.execute("userdb", "SELECT 7", run_on=number, timeout=5)
        assert answers == {number: [(7,)]}
    with pytest.raises(ConnectError) as caught:
        driver.execute("userdb", "SELECT 7", timeout=5)
    assert (caught.value.partition, caught.value.sent) == (VICTIM, False)
    servers.heal()
    back_again(driver)


@pytest.mark.parametrize("fault", [Fault("cut", "request"), Fault("reset", "request")])
def test_others_at_rest_are_not_lost_one_by_one(
    fault_proxy: FaultProxy, make_proxied: Callable[..., Driver], fault: Fault
) -> None:
    """Where the whole server is gone, one call is told, not one for each connection."""
    driver = make_proxied(pool_size=4)

    def execute() -> Any:
        return driver.router.execute(
            "userdb", "SELECT pg_sleep(0.1)", run_on=VICTIM, timeout=5
        )

    assert driver.together(*[execute] * 4) == [{VICTIM: [("",)]}] * 4
    fault_proxy.fault(fault, "old")
    with pytest.raises(Error, match="unknown: sent, and its end was not seen"):
        driver.run(execute())
    for _ in range(6):
        assert driver.run(execute()) == {VICTIM: [("",)]}
