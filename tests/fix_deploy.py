"""Partitions of their own to deploy to: empty at the start of each test."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result

from tests.fix_cli import Run, rows
from tests.fix_server import Pg
from tests.fix_servers import COUNT, Servers

CLEAN = """
    DROP SCHEMA IF EXISTS plproxy CASCADE;
    DROP SCHEMA IF EXISTS shop CASCADE;
    CREATE SCHEMA shop;
    ALTER DATABASE {} SET search_path = shop;
"""
UNDO = """
    DROP SCHEMA IF EXISTS plproxy CASCADE;
    DROP SCHEMA shop CASCADE;
    ALTER DATABASE {} RESET ALL;
"""
CLUSTER = "[clusters.shop]\npartitions = {}\n{}"
PROXY = """
CREATE FUNCTION shop.price(item text) RETURNS int4 LANGUAGE plproxy
    AS $$ CLUSTER 'shop'; RUN ON hashtext(item); $$;
CREATE FUNCTION elsewhere(item text) RETURNS int4 LANGUAGE plproxy
    AS $$ CLUSTER 'other'; RUN ON hashtext(item); $$;
"""

# What is deployed first, and what its second version adds or changes.
FIRST = """
CREATE TABLE prices (item text PRIMARY KEY, price int4);
CREATE OR REPLACE FUNCTION price(item text) RETURNS int4 LANGUAGE sql
    AS $$ SELECT price FROM prices p WHERE p.item = $1 $$;
INSERT INTO prices VALUES ('tea; green', 3);
"""
SECOND = FIRST.replace("SELECT price", "SELECT 2 * price") + (
    "INSERT INTO prices VALUES ('coffee', 4);"
)


@dataclass
class Shop:
    """A cluster of four partitions, a folder of SQL files, and the command."""

    cli: Run
    config: Path
    connstrs: Sequence[str]
    folder: Path

    def file(self, text: str, name: str = "shop.sql") -> Path:
        """Write a file to deploy."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *args: str | Path, code: int = 0) -> Result:
        """Run a command."""
        words = [str(arg) for arg in args]
        return self.cli(*words, code=code, PLPROXY_CONFIG=str(self.config))

    def deploy(self, path: Path, *args: str | Path, code: int = 0) -> list[Any]:
        """Deploy a file; return the rows of its JSON."""
        command = ("deploy", "shop", path, "--yes", "--json")
        found: list[Any] = rows(self.run(*command, *args, code=code))
        return found

    def query(self, partition: int, sql: str) -> list[Any]:
        """Run SQL in its own connection, autocommitted; return the rows, if any."""
        with psycopg.connect(self.connstrs[partition], autocommit=True) as conn:
            cursor = conn.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def each(self, sql: str) -> list[list[Any]]:
        """Return the rows of all partitions."""
        return [self.query(number, sql) for number in range(COUNT)]

    @contextmanager
    def held(self, partition: int, sql: str, *, is_lost: bool = False) -> Iterator[int]:
        """Hold what a statement locks, in an open transaction; give its process id.

        ``is_lost``: the server goes down meanwhile.
        """
        conn = psycopg.connect(self.connstrs[partition])
        try:
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            conn.execute(sql.encode())
            yield conn.info.backend_pid
            if not is_lost:
                conn.rollback()
        finally:
            conn.close()

    def journal(self, partition: int) -> list[tuple[Any, ...]]:
        """Return the entries in force: file, number, whether it is done."""
        return self.query(
            partition,
            "SELECT file, number, done_at IS NOT NULL FROM plproxy.deployed "
            "WHERE withdrawn_at IS NULL ORDER BY id",
        )


def states(reports: Sequence[dict[str, Any]]) -> list[str]:
    """Return the partitions' states."""
    return [report["state"] for report in reports]


def write_config(folder: Path, connstrs: Sequence[str], more: str = "") -> Path:
    """Write the config file of a cluster, and what it declares."""
    (folder / "proxy.sql").write_text(PROXY)
    path = folder / "plproxy.toml"
    functions = 'functions = ["proxy.sql"]\n'
    path.write_text(functions + CLUSTER.format(json.dumps(list(connstrs)), more))
    return path


@pytest.fixture
def shop(pg: Pg, cli: Run, tmp_path: Path) -> Shop:
    """Four databases of one server, empty but for the schema shop."""
    names = [f"shop{number:02}" for number in range(COUNT)]
    connstrs = pg.connstrs(names)
    for name in names:
        ((database,),) = pg.execute(name, "SELECT current_database()")
        pg.execute(name, CLEAN.format(database))
    return Shop(cli, write_config(tmp_path, connstrs), connstrs, tmp_path)


@pytest.fixture
def four_shops(servers: Servers, cli: Run, tmp_path: Path) -> Iterator[Shop]:
    """Four servers, each with one empty partition, which tests break.

    Afterwards they are as they were.
    """
    connstrs = servers.connstrs()
    for number in range(COUNT):
        servers.execute(number, CLEAN.format(f"part{number:02}"))
    yield Shop(cli, write_config(tmp_path, connstrs), connstrs, tmp_path)
    servers.heal()
    for number in range(COUNT):
        servers.execute(number, UNDO.format(f"part{number:02}"))
