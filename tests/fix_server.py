"""The server and the databases of the tests, and the tests that must do without.

One embedded server serves the whole session. ``PLPROXY_TEST_CONNSTR`` names your own
instead: its databases ``plproxy_py_test_*`` are created, and dropped again at the end.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from plproxy_py._embedded import EmbeddedError, Server

PREFIX = "plproxy_py_test_"
WITHOUT_SERVER = [Path(__file__).parent / name for name in ("unit", "property")]


def pytest_configure() -> None:
    # A shell starts background jobs deaf to Ctrl-C, and deafness is inherited: programs
    # under test would never hear the interrupt that a test sends them.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Only a server of your own may be described by them.
    if "PLPROXY_TEST_CONNSTR" not in os.environ:
        for name in [name for name in os.environ if name.startswith("PG")]:
            del os.environ[name]


class Pg:
    """One server. A database comes into being, empty, when it is first named.

    ``version`` is its server_version_num. "postgres" stands for the maintenance
    database, which the tests leave as it is.
    """

    def __init__(self, connstr: str, prefix: str) -> None:
        self._maintenance = connstr
        self._prefix = prefix
        self._created: set[str] = set()
        with psycopg.connect(connstr) as conn:
            self.version = conn.info.server_version

    def connstr(self, dbname: str = "postgres", **options: Any) -> str:
        """Return the connect string of a database."""
        return self.connstrs([dbname], **options)[0]

    def connstrs(self, dbnames: Sequence[str], **options: Any) -> list[str]:
        """Return the connect strings of several databases."""
        self._create(set(dbnames) - self._created - {"postgres"})
        return [
            make_conninfo(self._maintenance, **options)
            if name == "postgres"
            else make_conninfo(self._maintenance, dbname=self._prefix + name, **options)
            for name in dbnames
        ]

    def execute(self, dbname: str, query: str, params: Any = None) -> list[Any]:
        """Run SQL in its own connection, autocommitted; return the rows, if any."""
        with psycopg.connect(self.connstr(dbname), autocommit=True) as conn:
            cursor = conn.execute(query, params)
            return cursor.fetchall() if cursor.description else []

    def drop_databases(self) -> None:
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", self._created)
        self._created.clear()

    def _create(self, names: set[str]) -> None:
        # Left over from a run that was killed.
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", names)
        # 16 databases: 0.3 s, and 0.8 s by the default of 15 and later.
        how = " STRATEGY file_copy" if self.version >= 150000 else ""
        self._run("CREATE DATABASE {} TEMPLATE template0" + how, names)
        self._created |= names

    def _run(self, statement: str, names: set[str]) -> None:
        if not names:
            return
        with psycopg.connect(self._maintenance, autocommit=True) as conn:
            for name in sorted(names):
                database = sql.Identifier(self._prefix + name)
                conn.execute(sql.SQL(statement).format(database))


@pytest.fixture(scope="session")
def pg() -> Iterator[Pg]:
    """One server with as many databases as tests ask for."""
    if own := os.environ.get("PLPROXY_TEST_CONNSTR"):
        pg = Pg(own, PREFIX)
        try:
            yield pg
        finally:
            pg.drop_databases()
        return
    try:
        server = Server()
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        yield Pg(server.connstr(), "")


def no_server(reason: str) -> NoReturn:
    """Skip the test for want of a server; on CI, where there must be one, fail."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def home(pg: Pg) -> str:
    """The connect string of an empty database."""
    return pg.connstr("home")


@pytest.fixture(scope="session")
def databases4(pg: Pg) -> list[str]:
    """The connect strings of part00 to part03."""
    return pg.connstrs([f"part{n:02}" for n in range(4)])


@pytest.fixture(scope="session")
def databases16(pg: Pg) -> list[str]:
    """The connect strings of p16_00 to p16_15."""
    return pg.connstrs([f"p16_{n:02}" for n in range(16)])


@pytest.fixture(autouse=True, scope="module")
def _no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a unit or property test that opens a connection; socketpairs are free."""
    if not any(request.path.is_relative_to(place) for place in WITHOUT_SERVER):
        yield
        return

    def refuse(*args: object, **kwargs: object) -> NoReturn:
        pytest.fail("this test must do without a network")

    with pytest.MonkeyPatch.context() as monkeypatch:
        # Both kinds of psycopg connections begin in this function.
        monkeypatch.setattr(psycopg.generators, "connect", refuse)
        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket.socket, "connect_ex", refuse)
        yield
