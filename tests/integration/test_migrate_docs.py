"""docs/from-plproxy.md runs as it stands, beside the real PL/Proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents import Page
from tests.fix_plproxy import Plproxy
from tests.snippets import ROOT

DOCUMENT = ROOT / "docs" / "from-plproxy.md"
DEMO_SQL = (ROOT / "sql" / "demo.sql").read_text(encoding="utf-8")
PARTITIONS = {"part00": "mia", "part01": "marko"}
DEFINER = "ALTER FUNCTION {} SECURITY DEFINER SET search_path = public, pg_temp;"


@pytest.fixture
def databases(plproxy: Plproxy) -> Plproxy:
    """A proxy database and two partitions, with the demo's functions and two users."""
    plproxy.create_database("docs_proxydb")
    plproxy.admin("docs_proxydb", "CREATE EXTENSION plproxy")
    for name, user in PARTITIONS.items():
        dbname = f"docs_{name}"
        plproxy.create_database(dbname)
        plproxy.admin(dbname, DEMO_SQL)
        for function in ("create_user", "get_user", "search_users", "count_users"):
            plproxy.admin(dbname, DEFINER.format(function))
        plproxy.admin(dbname, f"SELECT create_user('{user}', '{user}@example.org')")
    return plproxy


def test_from_plproxy(
    databases: Plproxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLPROXY_CONFIG", raising=False)
    # For psql, where a connect string names nobody.
    monkeypatch.setenv("PGUSER", "postgres")

    def place(host: str, dbname: str) -> str:
        if dbname in PARTITIONS:
            # As clusters have it: without a user, who is whoever calls.
            return databases.partition(f"docs_{dbname}")
        return databases.server.connstr(f"docs_{dbname}")

    with Page(DOCUMENT, tmp_path, place) as page:
        page.run()
