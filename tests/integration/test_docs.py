"""What the documents say is so: snippets run, output is real, tables are complete.

The ```python blocks of a document run in order, in one namespace, on a cluster like the
demo's. A ```text block is the output of the python blocks since the one before. In
connect strings ``host=dbN dbname=partNN`` stands for a database of the test server.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

import plproxy_py
from plproxy_py import Router
from plproxy_py.cli import main as plproxy
from plproxy_py.demo import create_users
from tests.fix_server import Pg
from tests.snippets import ROOT, Snippet, read_snippets

README = ROOT / "README.md"
QUICKSTART = ROOT / "docs" / "quickstart.md"
DECLARING = ROOT / "docs" / "declaring.md"
CLUSTERS = ROOT / "docs" / "clusters.md"
ANSWERS = ROOT / "docs" / "answers.md"
RETRIES = ROOT / "docs" / "retries.md"
OBSERVABILITY = ROOT / "docs" / "observability.md"
DEMO_SQL = (ROOT / "sql" / "demo.sql").read_text(encoding="utf-8")
DEMO_PLPROXY_SQL = (ROOT / "sql" / "demo_plproxy.sql").read_text(encoding="utf-8")

IN_A_VENV = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[{}]' && .venv/bin/"
DEMO_COMMAND = IN_A_VENV.format("demo") + "plproxy demo"
TEST_COMMAND = IN_A_VENV.format("test") + "pytest"


def partitions(pg: Pg, prefix: str, count: int) -> list[str]:
    """Return the connect strings of new databases with the demo's functions."""
    names = [f"{prefix}part{number:02}" for number in range(count)]
    connstrs = pg.connstrs(names)
    for name in names:
        pg.execute(name, DEMO_SQL)
    return connstrs


@pytest.fixture(scope="module")
def config(pg: Pg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config file of a cluster as `plproxy demo --keep` leaves it."""
    return demo_config(pg, "docs_", tmp_path_factory.mktemp("docs") / "plproxy.toml")


def demo_config(pg: Pg, prefix: str, path: Path) -> Path:
    quoted = ", ".join(map(toml_text, partitions(pg, prefix, 4)))
    functions = toml_text(str(ROOT / "sql" / "demo_plproxy.sql"))
    path.write_text(
        f"functions = [{functions}]\n[clusters.demo]\npartitions = [{quoted}]\n",
        encoding="utf-8",
    )
    with Router.from_config(path) as router:
        create_users(router)
    return path


def toml_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def run_document(
    path: Path,
    connstrs: Mapping[str, str] | None = None,
    run_other: Callable[[Snippet], None] = lambda snippet: None,
) -> list[str]:
    """Run a document's python blocks; return what they wrote, up to each text block.

    ``run_other`` gets the blocks in other languages, in their turn.
    """
    module = ModuleType("document")
    written: list[str] = []
    # typing.get_type_hints looks for a class's module here.
    sys.modules[module.__name__] = module
    try:
        stdout = io.StringIO()
        for snippet in read_snippets(path):
            if snippet.language == "text":
                written.append(stdout.getvalue())
                stdout = io.StringIO()
            if snippet.language != "python":
                run_other(snippet)
                continue
            text = "\n" * (snippet.line - 1) + snippet.text
            for connstr, real in (connstrs or {}).items():
                text = text.replace(toml_text(connstr), toml_text(real))
            with contextlib.redirect_stdout(stdout):
                exec(compile(text, str(path), "exec"), module.__dict__)
        written.append(stdout.getvalue())
    finally:
        del sys.modules[module.__name__]
        for value in vars(module).values():
            if isinstance(value, Router):
                value.close()
    return written


def test_readme_snippet(pg: Pg) -> None:
    connstrs = partitions(pg, "readme_", 2)
    for number in range(2):
        query = "SELECT create_user(n, n || '@example.org') FROM unnest(%s::text[]) n"
        pg.execute(f"readme_part{number:02}", query, [["marko", "mia"]])
    names = ["host=db0 dbname=part00", "host=db1 dbname=part01"]
    written = run_document(README, dict(zip(names, connstrs, strict=True)))
    assert written == ["marko@example.org 4\n"]


@pytest.mark.parametrize(
    "document",
    [QUICKSTART, DECLARING, CLUSTERS, ANSWERS, RETRIES, OBSERVABILITY],
    ids=lambda path: path.stem,
)
def test_snippets_on_the_demos_cluster(
    pg: Pg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: Path
) -> None:
    prefix = f"{document.stem}_"
    config = demo_config(pg, prefix, tmp_path / "plproxy.toml")
    monkeypatch.setenv("PLPROXY_CONFIG", str(config))
    monkeypatch.chdir(ROOT)  # the reader is in a checkout
    *written, rest = run_document(document)
    assert rest == ""
    label = str(conninfo_to_dict(pg.connstr(f"{prefix}part00"))["dbname"])
    real = [text.replace(label.removesuffix("00"), "part") for text in written]
    shown = [s.text for s in read_snippets(document) if s.language == "text"]
    assert real == shown


def test_config_file_snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = (s for s in read_snippets(CLUSTERS) if s.language == "toml")
    (tmp_path / "plproxy.toml").write_text(snippet.text, encoding="utf-8")
    (tmp_path / "functions.sql").write_text(
        "CREATE FUNCTION f() RETURNS text AS $$ CLUSTER 'userdb'; $$ LANGUAGE plproxy;"
    )
    monkeypatch.setenv("APP_PASSWORD", "it's secret")
    router = Router.from_config(tmp_path / "plproxy.toml")
    assert list(router.functions) == ["public.f()"]
    userdb, logs = router.clusters["userdb"], router.clusters["logs"]
    assert [str(userdb.part_count), str(logs.part_count)] == ["2", "8"]
    assert "secret" in userdb.target(0).conninfo()
    assert "dbname=log07" in logs.target(7).conninfo()
    assert (userdb.query_timeout, userdb.connection_lifetime) == (5, 7200)
    # What is shown as a default is one.
    default = Router({"c": ["dbname=x"]}).clusters["c"]
    assert default.connection_lifetime == userdb.connection_lifetime
    assert default.modular_mapping == logs.modular_mapping
    assert default.pooler == logs.pooler


def hint_rows() -> Iterator[tuple[str, str]]:
    text = DECLARING.read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| hint \| SQL type .*\n(?:\|.*\n)+", text, re.MULTILINE)
    for line in table.splitlines()[2:]:
        first, first_type, _, second, second_type = line.strip("|").split("|")
        yield first.strip(" `"), first_type.strip(" `")
        yield second.strip(" `"), second_type.strip(" `")


@pytest.mark.parametrize(("hint", "sql_type"), list(hint_rows()))
def test_hints(hint: str, sql_type: str) -> None:
    namespace: dict[str, object] = {"router": Router()}
    exec(
        "from datetime import *\nfrom decimal import Decimal\nfrom uuid import UUID\n"
        "from typing import Annotated, Any\nfrom plproxy_py import *\n"
        "@router.proxy(cluster='c', run_on='ANY')\n"
        f"def f(x: {hint}) -> None: ...\n",
        namespace,
    )
    router = namespace["router"]
    assert isinstance(router, Router)
    assert list(router.functions) == [f"public.f({sql_type})"]


def test_every_ready_made_hint_is_named() -> None:
    ready_made = {
        name
        for name in plproxy_py.__all__
        if hasattr(getattr(plproxy_py, name), "__metadata__")
    }
    assert ready_made <= {hint for hint, _ in hint_rows()}


def commands(path: Path) -> list[str]:
    return [
        line.removeprefix("$ ")
        for snippet in read_snippets(path)
        if snippet.language == "console"
        for line in snippet.text.splitlines()
        if line.startswith("$ ")
    ]


@pytest.mark.parametrize(
    "command", [line for line in commands(QUICKSTART) if " demo --keep" not in line]
)
def test_quickstart_command(config: Path, command: str) -> None:
    program, *arguments = command.split()
    assert program == ".venv/bin/plproxy"
    done = CliRunner().invoke(plproxy, arguments, env={"PLPROXY_CONFIG": str(config)})
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout


def test_readme_commands() -> None:
    assert commands(README) == [DEMO_COMMAND, TEST_COMMAND]
    # .ci/run takes the test command from here, by this pattern.
    pattern = "python3 -m venv .*/pytest"
    assert pattern in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.findall(pattern, README.read_text(encoding="utf-8")) == [TEST_COMMAND]


def timeless(text: str) -> str:
    return re.sub(r"(?<=PostgreSQL )\S+|[\d.,]+(?= (?:s\b|a second))", "N", text)


def test_readme_shows_what_the_demo_prints() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from plproxy_py.cli import main; main()", "demo"],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    shown = next(s.text for s in read_snippets(README) if "plproxy demo\n" in s.text)
    _, _, shown = shown.partition("\n")
    # The mark stands for lines that are left out.
    pattern = re.escape(timeless(shown)).replace(re.escape("[...]\n"), "(?:.*\n)+")
    assert re.fullmatch(pattern, timeless(done.stdout)), done.stdout


def test_the_version_is_in_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{plproxy_py.__version__}]" in text
