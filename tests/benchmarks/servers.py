"""The one server that all contenders talk to.

PostgreSQL 15 with the real PL/Proxy where Debian's packages are installed, the embedded
PostgreSQL otherwise. It holds 16 partition databases, p00 to p15, and the database
``proxy``, which defines the cluster ``bench`` by SQL/MED for PL/Proxy and for
`Router.from_database`. Everything goes over a Unix socket.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from plproxy_py._embedded import Server

BINDIR = Path("/usr/lib/postgresql/15/bin")
CONTROL = Path("/usr/share/postgresql/15/extension/plproxy.control")
HERE = Path(__file__).parent
PROXY_SQL = HERE / "proxy.sql"
CLUSTER = "bench"
PART_COUNT = 16
DBNAMES = tuple(f"p{number:02}" for number in range(PART_COUNT))
PROXY = "proxy"
# 16 bytes each; the hot ones are what a benchmark asks for, in turn.
KEYS = tuple(f"user{number:012}" for number in range(4096))
HOT_KEYS = KEYS[:256]


class Servers:
    """The server with its databases; a context manager."""

    def __init__(self) -> None:
        self.has_plproxy = (BINDIR / "postgres").exists() and CONTROL.exists()
        # Pools of 8 on 16 partitions, for three contenders at once.
        settings = {"max_connections": "700", "shared_buffers": "64MB"}
        bindir = BINDIR if self.has_plproxy else None
        self._server = Server(bindir=bindir, settings=settings)
        try:
            self._server.create_databases([PROXY, DBNAMES[0]])
            self._execute(DBNAMES[0], (HERE / "partition.sql").read_text())
            for dbname in DBNAMES[1:]:
                # 0.35 s in all; loading each of them took 2.6 s.
                copy = f"create database {dbname} template {DBNAMES[0]}"
                self._execute("postgres", f"{copy} strategy file_copy")
            self.version, self.plproxy_version = self._set_up_proxy()
        except BaseException:
            self._server.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()

    def connstr(self, dbname: str, **options: str) -> str:
        """Return the connect string of a database."""
        return self._server.connstr(dbname, **options)

    def connstrs(self, count: int = PART_COUNT) -> list[str]:
        """Return the connect strings of ``count`` partitions, all of them different.

        Beyond 16 they lead to the same databases, under another application_name.
        """
        connstrs = [self.connstr(dbname) for dbname in DBNAMES[:count]]
        connstrs += [
            self.connstr(DBNAMES[number % PART_COUNT], application_name=f"p{number}")
            for number in range(PART_COUNT, count)
        ]
        return connstrs

    def asyncpg_options(self, partition: int) -> dict[str, Any]:
        """Return the keywords that make asyncpg connect to a partition."""
        return {
            "host": str(self._server.directory),
            "port": self._server.port,
            "user": "postgres",
            "database": DBNAMES[partition],
        }

    def connect(self, dbname: str) -> psycopg.Connection[Any]:
        """Return a new connection, in autocommit."""
        return psycopg.connect(self.connstr(dbname), autocommit=True)

    def _set_up_proxy(self) -> tuple[str, str | None]:
        """Define the cluster; return the versions of PostgreSQL and of PL/Proxy."""
        wrapper = "create foreign data wrapper plproxy"
        self._execute(
            PROXY, "create extension plproxy" if self.has_plproxy else wrapper
        )
        options = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(f"p{number}"), connstr)
            for number, connstr in enumerate(self.connstrs())
        )
        server = sql.Identifier(CLUSTER)
        with self.connect(PROXY) as conn:
            conn.execute(
                sql.SQL(
                    "create server {} foreign data wrapper plproxy options ({})"
                ).format(server, options)
            )
            mapping = sql.SQL("create user mapping for public server {}")
            conn.execute(mapping.format(server))
            version = str(conn.execute("show server_version").fetchone()[0])  # type: ignore[index]
            found = conn.execute(
                "select extversion from pg_extension where extname = 'plproxy'"
            ).fetchone()
        if self.has_plproxy:
            self._execute(PROXY, PROXY_SQL.read_text())
        return version, found and str(found[0])

    def _execute(self, dbname: str, text: str) -> None:
        with self.connect(dbname) as conn:
            conn.execute(text.encode())
