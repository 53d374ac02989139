"""Targets that can't be reached, are full, or come back."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plproxy_py import ConnectError, PartitionError, Router, _connector, _dialling
from plproxy_py._connector import Connector
from plproxy_py._embedded import EmbeddedError, Server
from plproxy_py._links import Adapters, Link, Session
from plproxy_py.config import parse_connstr
from tests.both import wait_until
from tests.fix_router import Driver
from tests.fix_server import no_server

ONE = "SELECT 1 AS one"
DEBIAN = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    """A server with room for few."""
    settings = {"max_connections": "4", "superuser_reserved_connections": "0"}
    settings |= {"max_wal_senders": "0", "reserved_connections": "0"}
    try:
        server = Server(settings=settings)
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        yield server


@pytest.fixture
def crowd(small: Server) -> Iterator[contextlib.ExitStack]:
    """All connections of the small server, taken; ``close`` frees them."""
    with contextlib.ExitStack() as stack:
        taken: list[psycopg.Connection[Any]] = []

        def take() -> bool:
            # Sessions of the test before may still be ending.
            with contextlib.suppress(psycopg.OperationalError):
                taken.append(stack.enter_context(psycopg.connect(small.connstr())))
            return len(taken) == 4

        wait_until(take, 10)
        yield stack


@pytest.fixture
def connector() -> Iterator[Connector]:
    connector = Connector(Adapters(psycopg.adapters))
    yield connector
    connector.close()


class Deaf:
    """A machine that takes connections: ``hangs up``, or never says a word."""

    def __init__(self, *, hangs_up: bool) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.knocks = 0
        self._hangs_up = hangs_up
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Deaf:
        return self

    def __exit__(self, *error: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self.listener, *self._held):
            each.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer = self.listener.accept()[0]
                self.knocks += 1
                if self._hangs_up:
                    peer.close()
                else:
                    self._held.append(peer)

    @property
    def connstr(self) -> str:
        return f"host=127.0.0.1 port={self.port} dbname=deaf user=u sslmode=disable"


def until_it_works(driver: Driver, seconds: float) -> Any:
    until = time.monotonic() + seconds
    while True:
        try:
            return driver.execute("c", ONE)
        except ConnectError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def test_a_dead_target_is_knocked_at_now_and_then(
    make_router: Callable[..., Driver],
) -> None:
    with Deaf(hangs_up=True) as dead:
        driver = make_router({"c": [dead.connstr]})
        texts, vain = [], []
        for _ in range(300):
            with pytest.raises(ConnectError) as caught:
                driver.execute("c", ONE)
            assert caught.value.partition == 0
            assert not caught.value.sent
            texts.append(str(caught.value))
            (session,) = driver.router._pools._pools
            vain.append(driver.router._pools.connector.is_knocking_vain(session))
        assert dead.knocks < 30
        assert sum("ago, the next try is in" in text for text in texts) > 200
        assert sum(vain) > 200


def test_it_works_again_when_the_server_is_back(
    make_router: Callable[..., Driver], small: Server
) -> None:
    driver = make_router({"c": [small.connstr()]})
    driver.execute("c", ONE)
    small.crash()
    try:
        for _ in range(50):
            with pytest.raises(PartitionError):
                driver.execute("c", ONE)
            time.sleep(0.01)
    finally:
        small.start()
    # The longest pause is a second.
    assert until_it_works(driver, 5) == {0: [(1,)]}
    assert driver.execute("c", ONE) == {0: [(1,)]}


def test_a_silent_target_holds_up_nobody_else(databases4: list[str]) -> None:
    with (
        Deaf(hangs_up=False) as silent,
        Router(
            {"silent": [f"{silent.connstr} connect_timeout=2"], "c": databases4}
        ) as router,
    ):
        errors: list[ConnectError] = []

        def wait() -> None:
            try:
                router.execute("silent", ONE)
            except ConnectError as error:
                errors.append(error)

        threads = [threading.Thread(target=wait) for _ in range(20)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            assert len(router.execute("c", ONE)) == 4
        assert errors == []  # they wait still
        for thread in threads:
            thread.join()
        assert len(errors) == 20
        assert "within 2 s" in str(errors[0])


def test_hosts_are_tried_in_turn(small: Server, connector: Connector) -> None:
    """A silent one for as long as connect_timeout says, then the next."""
    with Deaf(hangs_up=False) as silent, Deaf(hangs_up=True) as dead:
        hosts = f"127.0.0.1,localhost,{small.directory}"
        target = parse_connstr(
            f"host={hosts} port={dead.port},{silent.port},{small.port} "
            "user=postgres dbname=postgres connect_timeout=2 sslmode=disable"
        )
        opened = connector.open(Session(target, None, False), "c").result(20)
        assert opened.at_rest
        opened.close()
        assert dead.knocks == 1
        assert silent.knocks > 0


@pytest.mark.parametrize(
    ("connstr", "text"),
    [
        ("host=nowhere.invalid", "nowhere.invalid"),
        (f"host={'x' * 70}.invalid", "x.invalid"),
        ("host=nowhere.invalid,nothing.invalid", "nothing.invalid"),
        ("host=a,b port=1,2,3", "3 port numbers"),
        ("host=/nowhere connect_timeout=soon", "'soon'"),
        ("host=/nowhere sslmode=maybe", "sslmode"),
        ("service=nix", "nix"),
    ],
)
def test_what_libpq_would_refuse(connector: Connector, connstr: str, text: str) -> None:
    session = Session(parse_connstr(f"{connstr} password=maybe"), None, False)
    with pytest.raises(ConnectError, match=text.replace("maybe", ".*")) as caught:
        connector.open(session, "c").result(20)
    assert "maybe" not in str(caught.value)


@pytest.mark.parametrize("language", ["de", "ru", "zh_CN"])
def test_sqlstates_in_any_language(
    language: str, connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's server speaks it; any other says the same in English."""
    monkeypatch.setenv("LANGUAGE", language)
    settings = {"max_connections": "4", "superuser_reserved_connections": "0"}
    settings |= {"max_wal_senders": "0", "lc_messages": "C.utf8"}
    bindir = DEBIAN if DEBIAN.exists() else None
    try:
        server = Server(tcp=True, bindir=bindir, settings=settings)
    except EmbeddedError as error:
        no_server(str(error))

    def sqlstate(**keywords: str) -> str | None:
        session = Session(parse_connstr(server.connstr(**keywords)), None, False)
        with pytest.raises(ConnectError) as caught:
            connector.open(session, "c", deadline=time.monotonic()).result(20)
        return caught.value.sqlstate

    with server:
        assert sqlstate(user="nobody_here") == "28P01"
        assert sqlstate(dbname="nothing_here") == "3D000"
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(psycopg.connect(server.connstr()))
            assert sqlstate() == "53300"


@pytest.mark.parametrize(
    ("text", "plain", "sqlstate"),
    [
        (
            'connection to server at "h", port 5 failed: ВАЖНО:  28P01: не прошёл\n'
            "LOCATION:  auth_failed, auth.c:321\n",
            'connection to server at "h", port 5 failed: ВАЖНО:  не прошёл',
            "28P01",
        ),
        (
            "one failed: FATAL:  28000: no TLS\nLOCATION:  f, a.c:1\n"
            "two failed: FATAL:  53300: full\nDETAIL:  so\nLOCATION:  f, a.c:1\n",
            "one failed: FATAL:  no TLS\nLOCATION:  f, a.c:1\n"
            "two failed: FATAL:  full\nDETAIL:  so",
            "53300",
        ),
        ("failed: Connection refused\n\tIs it there?", None, None),
    ],
)
def test_texts_of_libpq(text: str, plain: str | None, sqlstate: str | None) -> None:
    refused = _dialling.refusal(text)
    assert (str(refused), refused.sqlstate) == (plain or text, sqlstate)


def test_a_full_server_is_waited_for(
    make_router: Callable[..., Driver], small: Server, crowd: contextlib.ExitStack
) -> None:
    driver = make_router({"c": [small.connstr()]})
    timer = threading.Timer(0.5, crowd.close)
    timer.start()
    assert driver.execute("c", ONE) == {0: [(1,)]}
    timer.join()


@pytest.mark.usefixtures("crowd")
def test_a_full_server_is_not_a_dead_one(
    make_router: Callable[..., Driver],
    small: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_connector, "MOST_CROWDED", 0.3)
    driver = make_router({"c": [small.connstr()]})
    for _ in range(3):
        with pytest.raises(ConnectError, match=r"free in 0\..* asked") as c:
            driver.execute("c", ONE)
        assert c.value.sqlstate == "53300"
        assert not c.value.sent
    session = next(iter(driver.router._pools._pools))
    assert not driver.router._pools.connector.is_knocking_vain(session)


@pytest.mark.usefixtures("crowd")
def test_a_full_server_and_a_deadline(small: Server, connector: Connector) -> None:
    session = Session(parse_connstr(small.connstr()), None, False)
    deadline = time.monotonic() + 0.5
    with pytest.raises(ConnectError, match="no connection free"):
        connector.open(session, "c", deadline).result(20)
    assert time.monotonic() < deadline + _connector.MOST_CROWDED / 2


@pytest.mark.usefixtures("crowd")
def test_a_link_that_came_free_serves_as_well(
    small: Server, connector: Connector
) -> None:
    session = Session(parse_connstr(small.connstr()), None, False)
    free: list[Link | None] = [None, None, object()]  # type: ignore[list-item]
    link = connector.open(session, "c", spare=lambda: free.pop(0)).result(20)
    assert link is not None
    assert free == []
