"""docs/balance.md runs as it stands, on two servers of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from plproxy_py._embedded import EmbeddedError, Server
from tests.documents import Page
from tests.fix_server import no_server
from tests.snippets import ROOT

# As the page has them; the servers' own have five digits too.
PORTS = {"db0": "54320", "db1": "54321"}


class TwoServers(Page):
    """A page whose hosts are servers, on ports that it does not know."""

    def shown(self, text: str) -> str:
        for real in map(conninfo_to_dict, self.connstrs.values()):
            host = str(real["host"])
            text = text.replace(f"{host}:{real['port']}", f"{host}:{PORTS[host]}")
        return super().shown(text)


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Server]]:
    """Two servers by the names of their hosts, with two partitions on each."""
    with ExitStack() as stack:
        found = {}
        for number, host in enumerate(PORTS):
            try:
                server = stack.enter_context(Server(tcp=True))
            except EmbeddedError as error:
                no_server(str(error))
            server.create_databases(
                [f"part{2 * number:02}", f"part{2 * number + 1:02}"]
            )
            found[host] = server
        yield found


def test_page(hosts: dict[str, Server], tmp_path: Path) -> None:
    if (hosts["db0"].data / "PG_VERSION").read_text().strip() != "18":
        pytest.skip("the page shows the sizes that PostgreSQL 18 gives")

    def place(host: str, dbname: str) -> str:
        return hosts[host].connstr(dbname, host=host, hostaddr="127.0.0.1")

    with TwoServers(ROOT / "docs" / "balance.md", tmp_path, place) as page:
        page.run()
