"""docs/configuration.md: its commands print what it shows.

Files are the page's TOML blocks, under the names in their first lines; ``host=proxy
dbname=proxydb`` stands for a database with the real PL/Proxy. After a change, run it
with ``PLPROXY_WRITE_DOCS=1`` in the environment: the outputs are written anew.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo

from plproxy_py.cli import main
from plproxy_py.config import parse_connstr
from tests.fix_plproxy import Plproxy
from tests.integration.test_docs import run_document
from tests.snippets import ROOT, read_snippets

PAGE = ROOT / "docs" / "configuration.md"
BLOCK = re.compile(r"(?<=^```console\n)\$ ([^\n]*)\n(.*?)(?=^```$)", re.M | re.S)
DATABASE = "docs_config"
SHOWN = "host=proxy dbname=proxydb"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the page's files."""
    for snippet in read_snippets(PAGE):
        if snippet.language == "toml":
            name = snippet.text.partition("\n")[0].removeprefix("# ")
            (tmp_path / name).write_text(snippet.text, encoding="utf-8")
    (tmp_path / "functions.sql").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("APP_PASSWORD", "it's sekret")
    return tmp_path


Run = Callable[[str], str]


@pytest.fixture
def run(place: Path, plproxy: Plproxy) -> Run:
    """Run a command of the page on the database; return what a terminal shows."""
    plproxy.create_database(DATABASE)
    plproxy.admin(DATABASE, "CREATE EXTENSION plproxy")
    real = {
        f"{SHOWN} user={user}": plproxy.connstr(DATABASE, user=user)
        for user in ("postgres", "app")
    }

    def run(command: str) -> str:
        program, *args = shlex.split(command)
        assert program == "plproxy"
        args = [real.get(arg, arg) for arg in args]
        result = CliRunner().invoke(main, args, prog_name="plproxy", terminal_width=80)
        assert result.exit_code == (1 if "eight.toml" in command else 0), result.output
        assert "sekret" not in result.output
        text = result.output
        for shown, connstr in real.items():
            text = text.replace(
                parse_connstr(connstr).redacted, parse_connstr(shown).redacted
            )
        return text

    return run


def test_the_outputs_are_real(run: Run) -> None:
    text = PAGE.read_text(encoding="utf-8")
    real = BLOCK.sub(lambda block: f"$ {block[1]}\n{run(block[1])}", text)
    if os.environ.get("PLPROXY_WRITE_DOCS"):
        PAGE.write_text(real, encoding="utf-8")
    assert text == real


def test_the_snippets_run(plproxy: Plproxy) -> None:
    *written, rest = run_document(PAGE)
    assert rest == ""
    shown = [s.text for s in read_snippets(PAGE) if s.language == "text"]
    assert written == shown
    plproxy.create_database(DATABASE)
    plproxy.admin(DATABASE, "CREATE EXTENSION plproxy")
    for snippet in read_snippets(PAGE):
        if snippet.language == "sql":
            plproxy.admin(DATABASE, snippet.text)
    home = make_conninfo(plproxy.connstr(DATABASE))
    result = CliRunner().invoke(main, ["--home", home, "config", "show", "userdb"])
    assert result.exit_code == 0, result.output
    assert "foreign server" in result.stdout


@pytest.mark.parametrize("name", ["plproxy.toml", "ranges.toml", "doubled.toml"])
def test_the_files_are_read(place: Path, name: str) -> None:
    result = CliRunner().invoke(main, ["-c", name, "clusters"])
    assert result.exit_code == 0, result.output
