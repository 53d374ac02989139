"""The pages of docs/how-to run as they stand; `tests.documents` says how."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import psycopg
import pytest

from plproxy_py._embedded import EmbeddedError, Server
from tests.both import wait_until
from tests.documents import Page
from tests.fix_pgbouncer import Bouncer
from tests.fix_server import Pg, no_server
from tests.fix_servers import Servers
from tests.snippets import ROOT, read_snippets

HOW_TO = ROOT / "docs" / "how-to"
# They need more than databases: see below.
SPECIAL = {"grow", "pgbouncer", "passwords"}
PAGES = [
    *(path for path in sorted(HOW_TO.glob("*.md")) if path.stem not in SPECIAL),
    ROOT / "docs" / "guarantees.md",
]


APPLICATION = """
import sys
from plproxy_py import Router
clusters = {"c": {"partitions": [sys.argv[1]], "pooler": True}}
Router(clusters).execute("c", "SELECT 'orphan', pg_sleep(60)")
"""


# Python warns of a fork where there are threads, since 3.12. That is what is shown.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page(pg: Pg, tmp_path: Path, path: Path) -> None:
    prefix = f"{path.stem.replace('-', '_')}_"
    with Page(path, tmp_path, lambda host, dbname: pg.connstr(prefix + dbname)) as page:
        page.run()


def test_grow(tmp_path: Path) -> None:
    """On a server of its own, where the page creates databases."""
    try:
        server = Server()
    except EmbeddedError as error:
        no_server(str(error))

    def place(host: str, dbname: str) -> str:
        return server.connstr(dbname)

    with server, Page(HOW_TO / "grow.md", tmp_path, place) as page:
        server.create_databases(["part00"])
        page.run()


def test_pgbouncer(
    behind: Server, make_bouncer: Callable[..., Bouncer], tmp_path: Path
) -> None:
    """The page's settings, in a PgBouncer before the page's databases."""
    path = HOW_TO / "pgbouncer.md"
    (ini,) = (s.text for s in read_snippets(path) if s.language == "ini")
    settings = ConfigParser()
    settings.read_string(ini)
    behind.create_databases(settings["databases"])
    given = dict(settings["pgbouncer"])
    bouncer = make_bouncer(given.pop("pool_mode"), **given)

    def place(host: str, dbname: str) -> str:
        return (bouncer if host.startswith("pool") else behind).connstr(dbname)

    with Page(path, tmp_path, place) as page:
        page.run()


def test_a_killed_process_behind_pgbouncer(
    behind: Server, make_bouncer: Callable[..., Bouncer]
) -> None:
    """The server is told by PgBouncer, if the role has the page's setting."""
    bouncer = make_bouncer()
    running = (
        "SELECT 1 FROM pg_stat_activity WHERE state = 'active' "
        "AND query LIKE '%orphan%' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(behind.connstr(), autocommit=True) as conn:
        conn.execute("ALTER ROLE ALL SET client_connection_check_interval = '1s'")
        with subprocess.Popen(
            [sys.executable, "-c", APPLICATION, bouncer.connstr()]
        ) as application:
            try:
                wait_until(lambda: conn.execute(running).fetchone() is not None, 20)
            finally:
                application.kill()
        wait_until(lambda: conn.execute(running).fetchone() is None, 5)


def test_passwords(servers: Servers, tmp_path: Path) -> None:
    """On a server that asks for them."""

    def place(host: str, dbname: str) -> str:
        return servers.tcp(0)

    servers.execute(0, "DROP ROLE IF EXISTS app")
    try:
        with Page(HOW_TO / "passwords.md", tmp_path, place) as page:
            page.run()
    finally:
        servers.execute(0, "DROP ROLE IF EXISTS app")
