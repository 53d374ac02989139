"""docs/tutorial.md runs as it stands, on a server of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from plproxy_py._embedded import EmbeddedError, Server
from tests.documents import Page
from tests.fix_server import no_server
from tests.snippets import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.md"
LIBPQ = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "sslmode": "PGSSLMODE"}


class Tutorial(Page):
    """A page whose SQL blocks are files; its server is what libpq's variables say."""

    def _run_sql(self, text: str, line: int) -> None:
        named = re.match(r"-- (\w+\.sql)\n", text)
        assert named, f"line {line}: which file is it?"
        self._write(named[1], text)

    def _run_command(self, command: str) -> str:
        # At its end a command closes the application's router, which here is the
        # page's own: it runs in another process.
        if "--app" in command:
            command = f"command {command} 2>&1"
        return super()._run_command(command)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that libpq's variables lead to."""
    try:
        server = Server()
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        for keyword, value in conninfo_to_dict(server.connstr()).items():
            if keyword in LIBPQ:
                monkeypatch.setenv(LIBPQ[keyword], str(value))
        yield server


def test_tutorial(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLPROXY_CONFIG", raising=False)
    with Tutorial(TUTORIAL, tmp_path, lambda host, dbname: "") as page:
        page.run()
