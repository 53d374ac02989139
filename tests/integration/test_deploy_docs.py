"""docs/deploy.md runs as it stands."""

from __future__ import annotations

from pathlib import Path

from tests.documents import Page
from tests.fix_server import Pg
from tests.snippets import ROOT


def test_page(pg: Pg, tmp_path: Path) -> None:
    def place(host: str, dbname: str) -> str:
        return pg.connstr(f"deploy_{dbname}")

    with Page(ROOT / "docs" / "deploy.md", tmp_path, place) as page:
        page.run()
