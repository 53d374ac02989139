"""What an application leaves running when it is gone, and who notices.

Every session is told to look after its client, at no cost in connects.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import pytest

from plproxy_py import QueryTimeout, _sessions
from plproxy_py._connector import Connector
from plproxy_py._embedded import EmbeddedError, Server
from plproxy_py._links import Adapters, Link, Session
from plproxy_py.config import parse_connstr
from tests.fix_router import Driver
from tests.fix_server import no_server

SHOW = "SHOW client_connection_check_interval"

APPLICATION = """
import sys
from plproxy_py import Router
Router({"c": [sys.argv[1]]}).execute("c", "SELECT 'orphan', pg_sleep(60)")
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server of its own, which writes down every connection."""
    try:
        server = Server(tcp=True, settings={"log_connections": "on"})
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        run(server, "CREATE ROLE careful SUPERUSER LOGIN PASSWORD 'x'")
        run(server, f"ALTER ROLE careful SET {_sessions.CHECK} = '9s'")
        yield server


@pytest.fixture
def opened(own: Server) -> Iterator[Callable[..., Link]]:
    """Return what opens a link to the server, with these keywords."""
    connector = Connector(Adapters(psycopg.adapters))
    links: list[Link] = []

    def open(**keywords: str) -> Link:
        target = parse_connstr(own.connstr(**keywords))
        links.append(connector.open(Session(target, None, False), "c").result(20))
        return links[-1]

    yield open
    for link in links:
        link.close()
    connector.close()


def run(server: Server, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.connstr(), autocommit=True) as conn:
        cursor = conn.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def survivors(server: Server, marker: str) -> int:
    rows = run(
        server,
        "SELECT pid FROM pg_stat_activity WHERE state = 'active' "
        f"AND pid <> pg_backend_pid() AND query LIKE '%{marker}%'",
    )
    return len(rows)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def connects(server: Server) -> int:
    return server.log.read_text().count("connection authorized")


def interval(driver: Driver) -> str:
    return str(driver.execute("c", SHOW)[0][0][0])


def crowd(driver: Driver) -> None:
    """Make three calls, which need three connections."""
    call = partial(driver.router.execute, "c", "SELECT pg_sleep(0.3)")
    assert not any(
        isinstance(answer, Exception) for answer in driver.together(*[call] * 3)
    )


def test_a_killed_applications_statement_ends(own: Server) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", APPLICATION, own.connstr()]
    ) as application:
        try:
            assert wait_until(lambda: survivors(own, "orphan") == 1, 20)
        finally:
            application.kill()
    assert wait_until(lambda: survivors(own, "orphan") == 0, 5)


@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
def test_nothing_survives_a_thaw(
    make_router: Callable[..., Driver], own: Server, sslmode: str
) -> None:
    """The cancel waits in the frozen server's queue, or is never taken."""
    driver = make_router({"c": [own.connstr(sslmode=sslmode)]})
    statement = driver.router.define(
        "CREATE FUNCTION nap() RETURNS void LANGUAGE plproxy AS "
        "$$ CLUSTER 'c'; RUN ON 0; SELECT 'frozen', pg_sleep(60); $$"
    )
    driver.execute("c", "SELECT 1")
    own.freeze()
    try:
        with pytest.raises(QueryTimeout):
            driver.run(statement.with_options(timeout=0.5)())
    finally:
        own.thaw()
    time.sleep(2)
    assert survivors(own, "frozen") == 0


def test_it_costs_no_connect(make_router: Callable[..., Driver], own: Server) -> None:
    """Nor does what else the sessions of a database must be told."""
    run(own, "ALTER DATABASE template1 SET datestyle = 'German'")
    for dbname, more in (("postgres", 0), ("template1", 1)):
        driver = make_router({"c": [own.connstr(dbname)]})
        before = connects(own)
        crowd(driver)
        # The first connection is told what it lacks, the others know.
        assert connects(own) - before == 3 + more
        assert interval(driver) == _sessions.CHECK_INTERVAL


def test_a_value_of_the_users_own_stands(
    make_router: Callable[..., Driver],
    own: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    option = "-c client_connection_check_interval="
    said = make_router({"c": [own.connstr(options=f"{option}7s")]})
    assert interval(said) == "7s"
    other = make_router({"c": [own.connstr(options="-c search_path=nowhere")]})
    assert interval(other) == _sessions.CHECK_INTERVAL
    assert other.execute("c", "SHOW search_path")[0][0][0] == "nowhere"
    monkeypatch.setenv("PGOPTIONS", f"{option}8s")
    assert interval(make_router({"c": [own.connstr()]})) == "8s"
    monkeypatch.delenv("PGOPTIONS")
    role = make_router({"c": [own.connstr(user="careful", password="x")]})
    assert interval(role) == "9s"
    before = connects(own)
    crowd(role)
    assert connects(own) - before == 2  # it is known now


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # What a server before 14 says, and one whose platform can't look.
        ("no_such_interval", "1s"),
        ("client_connection_check_interval", "-5"),
    ],
)
def test_a_server_that_can_not_look(
    make_router: Callable[..., Driver],
    own: Server,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    monkeypatch.setattr(_sessions, "CHECK", name)
    monkeypatch.setattr(_sessions, "CHECK_INTERVAL", value)
    driver = make_router({"c": [own.connstr()]})
    assert interval(driver) == "0"
    before = connects(own)
    crowd(driver)
    assert connects(own) - before == 2


def test_a_connect_string_says_when_a_peer_is_dead(
    opened: Callable[..., Link],
) -> None:
    def options(link: Link) -> list[int]:
        with socket.socket(fileno=socket.dup(link.fileno)) as peer:
            return [
                peer.getsockopt(level, name)
                for level, name in (
                    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                )
            ]

    assert options(opened()) == [1, 15, 5, 3, 30000]
    said = opened(
        keepalives_idle="60",
        keepalives_interval="6",
        keepalives_count="2",
        tcp_user_timeout="7000",
    )
    assert options(said) == [1, 60, 6, 2, 7000]
    assert options(opened(keepalives="0"))[0] == 0
