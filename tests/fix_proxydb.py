"""A home database for sources: on the newest server, and on 15 with PL/Proxy itself.

Questions are sent as they are, over plain connections, in the name of ordinary roles.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from plproxy_py._embedded import EmbeddedError, find_bindir
from plproxy_py.errors import ConfigError, NoSuchCluster
from plproxy_py.sources.database import Loaded, cluster_question
from plproxy_py.sources.functions import Reflection, functions_question
from plproxy_py.sources.question import Question
from tests.fix_plproxy import Plproxy
from tests.fix_server import PREFIX, Pg

T = TypeVar("T")

SQL = Path(__file__).parents[1] / "sql"
DATABASE = f"{PREFIX}sources"
MED = "userdb"
APP = f"{PREFIX}app"
OTHER = f"{PREFIX}other"
PASSWORD = "it's s3cret"


class ProxyDb:
    """A new database, and ordinary roles that can connect to it."""

    def __init__(self, maintenance: str, is_real: bool) -> None:
        self._maintenance = maintenance
        self._conns: dict[str | None, psycopg.Connection[Any]] = {}
        self.is_real = is_real

    def __enter__(self) -> ProxyDb:
        self._clean()
        with psycopg.connect(self._maintenance, autocommit=True) as conn:
            # Four times as fast as the default strategy, which 15 brought.
            how = "STRATEGY file_copy" if conn.info.server_version >= 150000 else ""
            conn.execute(
                f"CREATE DATABASE {DATABASE} TEMPLATE template0 {how}".encode()
            )
            for role in (APP, OTHER):
                conn.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(role), PASSWORD
                    )
                )
        return self

    def __exit__(self, *error: object) -> None:
        for conn in self._conns.values():
            conn.close()
        self._clean()

    def _clean(self) -> None:
        with psycopg.connect(self._maintenance, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            for role in (APP, OTHER):
                conn.execute(f"DROP ROLE IF EXISTS {role}")

    def connect(
        self, role: str | None = None, **options: Any
    ) -> psycopg.Connection[Any]:
        """Return a new connection, the superuser's unless a role is given."""
        if role is not None:
            options |= {"user": role, "password": PASSWORD}
        connstr = make_conninfo(self._maintenance, dbname=DATABASE, **options)
        return psycopg.connect(connstr, autocommit=True)

    def run(self, statement: str, role: str | None = None) -> list[Any]:
        """Run SQL and return the rows, if any."""
        if role not in self._conns:
            self._conns[role] = self.connect(role)
        cursor = self._conns[role].execute(statement.encode())
        return cursor.fetchall() if cursor.description else []

    def psql(self, file: str, *options: str) -> None:
        """Run a file of sql/ with psql, as the superuser."""
        connstr = make_conninfo(self._maintenance, dbname=DATABASE)
        command = [_psql(), "-X", "-q", "-v", "ON_ERROR_STOP=1", *options]
        subprocess.run(
            [*command, "-f", str(SQL / file), connstr],
            check=True,
            capture_output=True,
            text=True,
        )

    def wrapper(self) -> str:
        """Return a foreign data wrapper: PL/Proxy's, or one without a validator."""
        if not self.is_real:
            self.run("CREATE FOREIGN DATA WRAPPER plproxy")
        return "plproxy"

    def load(self, name: str, role: str | None = APP) -> Loaded:
        return self.ask(cluster_question(name), role)

    def reflect(self, role: str | None = APP) -> Reflection:
        return self.ask(functions_question(), role)

    def ask(self, question: Question[T], role: str | None = APP) -> T:
        """Ask question after question, as an own session; return the answer."""
        with self.connect(role) as conn:
            return answer(conn, question)


def answer(conn: psycopg.Connection[Any], question: Question[T]) -> T:
    """Ask question after question on a connection; return the answer."""
    step: Question[T] | T = question
    while isinstance(step, Question):
        params = [param and param.decode() for param in step.params]
        step = step.read(psycopg.RawCursor(conn).execute(step.sql, params).fetchall())
    return step


def _psql() -> str:
    try:
        beside = find_bindir() / "psql"
    except EmbeddedError:
        beside = Path("psql")
    found = shutil.which(beside) or shutil.which("psql")
    assert found, "psql is needed"
    return found


@pytest.fixture(params=["pg", "plproxy"])
def proxydb(request: pytest.FixtureRequest) -> Iterator[ProxyDb]:
    """A new home database, on each of the two servers."""
    server = request.getfixturevalue(request.param)
    is_real = isinstance(server, Plproxy)
    if isinstance(server, Plproxy):
        maintenance = server.server.connstr()
    else:
        assert isinstance(server, Pg)
        maintenance = server.connstr()
    with ProxyDb(maintenance, is_real) as proxydb:
        if is_real:
            proxydb.run("CREATE EXTENSION plproxy")
        yield proxydb


@pytest.fixture
def med(proxydb: ProxyDb) -> ProxyDb:
    """Return the home database with a foreign server of two partitions."""
    proxydb.run(
        f"CREATE SERVER {MED} FOREIGN DATA WRAPPER {proxydb.wrapper()} OPTIONS "
        "(partition_1 'dbname=part01', p00 'dbname=part00 user=own', "
        "connection_lifetime '1800')"
    )
    return proxydb


def users(loaded: Loaded) -> list[str | None]:
    targets = [partition.target for partition in loaded.config.partitions]
    return [dict(target.parameters).get("user") for target in targets]


def passwords(loaded: Loaded) -> list[str | None]:
    targets = [partition.target for partition in loaded.config.partitions]
    return [dict(target.secrets).get("password") for target in targets]


def refused(proxydb: ProxyDb, name: str, role: str | None = APP) -> str | None:
    with pytest.raises(ConfigError) as caught:
        proxydb.load(name, role)
    assert not isinstance(caught.value, NoSuchCluster)
    assert "s3cret" not in str(caught.value)
    return caught.value.sqlstate


def map_user(proxydb: ProxyDb, role: str, *options: str) -> None:
    listed = f" OPTIONS ({', '.join(options)})" if options else ""
    proxydb.run(f"CREATE USER MAPPING FOR {role} SERVER {MED}{listed}")
