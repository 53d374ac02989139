"""The real PL/Proxy beside us: PostgreSQL 15 with the extension, in one server.

It comes from the packages ``postgresql-15`` and ``postgresql-15-plproxy``. Its
database ``proxydb`` holds the proxy functions, ``test_part`` and ``test_part0`` to
``test_part3`` are partitions. Both sides read the same cluster definitions, from
tables behind ``plproxy.get_cluster_version``, ``_config`` and ``_partitions``, and
both act as the role ``app``, which is no superuser and may only EXECUTE.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from plproxy_py import Router
from plproxy_py._embedded import EmbeddedError, Server
from tests.fix_server import no_server

BINDIR = Path("/usr/lib/postgresql/15/bin")
CONTROL = Path("/usr/share/postgresql/15/extension/plproxy.control")
USER_MAPPING = Path(__file__).parents[1] / "sql" / "user_mapping.sql"
PROXY = "proxydb"
ROLE = "app"
PARTS = ("test_part0", "test_part1", "test_part2", "test_part3")

# As in PL/Proxy's own tests, an unknown cluster is the version function's error.
SOURCE = """
create extension plproxy;
create schema plproxy;
grant usage on schema plproxy to public;
create table plproxy.cluster (name text primary key, version int);
create table plproxy.partition (cluster text, number int, connstr text);
create table plproxy.config (cluster text, key text, val text);
revoke all on plproxy.cluster, plproxy.partition, plproxy.config from public;
create function plproxy.get_cluster_version(cluster_name text) returns int
security definer language plpgsql as $$
declare found int := (select version from plproxy.cluster where name = cluster_name);
begin
    if found is null then raise exception 'no such cluster: %', cluster_name; end if;
    return found;
end $$;
create function plproxy.get_cluster_partitions(cluster_name text) returns setof text
security definer language sql as $$
    select connstr from plproxy.partition where cluster = cluster_name order by number
$$;
create function plproxy.get_cluster_config(
    cluster_name text, out key text, out val text
) returns setof record security definer language sql as $$
    select key, val from plproxy.config where cluster = cluster_name
$$;
"""
OPEN = "alter default privileges grant all on tables to public"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "case(number): a case of PL/Proxy's own tests")


class Plproxy:
    """The server with the extension, and its clusters."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._admins: dict[str, psycopg.Connection[Any]] = {}

    def setup(self) -> None:
        """Create role, databases and cluster functions."""
        self.admin("postgres", f"create role {ROLE} login")
        self.server.create_databases([PROXY, "test_part", *PARTS])
        for dbname in (PROXY, "test_part", *PARTS):
            self.admin(dbname, OPEN)
        self.admin(PROXY, SOURCE)
        self.admin(PROXY, USER_MAPPING.read_text(encoding="utf-8"))
        self.cluster("testcluster", ["test_part"], version=5)
        self.cluster("parts", PARTS)
        for number, dbname in enumerate(PARTS):
            self.cluster(f"map{number}", [dbname])
        self.cluster("badcluster", ["nonex_db"])

    def close(self) -> None:
        for conn in self._admins.values():
            conn.close()

    def connstr(self, dbname: str = PROXY, user: str = ROLE, **options: Any) -> str:
        """Return the connect string of a database, for the role that calls."""
        return self.server.connstr(dbname, user=user, **options)

    def partition(self, dbname: str, **options: Any) -> str:
        """Return a connect string as clusters have it: without a user."""
        given = self.server.connstr(dbname, **options)
        pairs = (pair for pair in given.split() if not pair.startswith("user="))
        return make_conninfo(" ".join(pairs))

    def admin(self, dbname: str, statement: str, *params: Any) -> list[Any]:
        """Run SQL as the superuser, autocommitted; return the rows, if any."""
        conn = self._admins.get(dbname)
        if conn is None or conn.closed:
            connstr = self.server.connstr(dbname, client_encoding="utf8")
            conn = psycopg.connect(connstr, autocommit=True)
            self._admins[dbname] = conn
        cursor = conn.execute(statement.encode(), params or None)
        return cursor.fetchall() if cursor.description else []

    def everywhere(self, statement: str) -> None:
        """Run SQL as the superuser on ``test_part`` and the four partitions."""
        for dbname in ("test_part", *PARTS):
            self.admin(dbname, statement)

    def cluster(
        self,
        name: str,
        dbnames: Sequence[str],
        version: int = 1,
        home: str = PROXY,
        **config: object,
    ) -> None:
        """Define a cluster; a new version makes both sides read it again."""
        for table in ("partition", "config"):
            self.admin(home, f"delete from plproxy.{table} where cluster = %s", name)
        for number, dbname in enumerate(dbnames):
            row = (name, number, self.partition(dbname))
            self.admin(home, "insert into plproxy.partition values (%s, %s, %s)", *row)
        for key, value in config.items():
            option = (name, key, str(value))
            self.admin(home, "insert into plproxy.config values (%s, %s, %s)", *option)
        self.admin(
            home,
            "insert into plproxy.cluster values (%s, %s) on conflict (name) "
            "do update set version = excluded.version",
            *(name, version),
        )

    def create_database(self, name: str, encoding: str = "UTF8") -> None:
        """Create a database anew, empty and in the C locale."""
        if conn := self._admins.pop(name, None):
            conn.close()
        self.drop_database(name)
        statement = sql.SQL(
            "create database {} encoding {} locale 'C' template template0 "
            "strategy file_copy"
        ).format(sql.Identifier(name), encoding)
        self.admin("postgres", statement.as_string())
        self.admin(name, OPEN)

    def drop_database(self, name: str) -> None:
        """Drop a database with whoever is connected to it."""
        if conn := self._admins.pop(name, None):
            conn.close()
        self.admin("postgres", f'drop database if exists "{name}" with (force)')

    def router(self, home: str | None = None, **options: Any) -> Router:
        """Return a router on the same definitions, asked for at each call."""
        home = home or self.connstr()
        return Router.from_database(home, config_ttl=0, **options)


@pytest.fixture(scope="session")
def plproxy() -> Iterator[Plproxy]:
    """The server with the real PL/Proxy."""
    if not (BINDIR / "postgres").exists() or not CONTROL.exists():
        no_server("apt-get install -y postgresql-15 postgresql-15-plproxy brings it")
    try:
        server = Server(bindir=BINDIR)
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        plproxy = Plproxy(server)
        plproxy.setup()
        yield plproxy
        plproxy.close()
