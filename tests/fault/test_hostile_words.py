"""Hostile words to the command line: an answer, or one line of an error.

The fixture `cli` of the other commands' tests looks after tracebacks; what this file
adds are bytes that no shell should send.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from plproxy_py.cli import main
from tests.fix_cli import PLPROXY
from tests.fix_server import Pg

TYPES = "text int4 int8 float8 numeric bool bytea date timestamptz jsonb text[]".split()
TYPES += ["int4[]", "numeric[]", "jsonb[]"]
WORDS = {
    "": "nothing",
    "a\0b": "NUL",
    "\udcff": "a byte that is no UTF-8",
    "\ud83d\ude00": "two surrogates",
    "\U0001f600\x1b[31m\r\n\u202e": "signs that move the cursor",
    "9" * 5000: "5,000 digits",
    "-5": "minus five",
    "1e999999999999": "a huge exponent",
    "nan": "nan",
    "infinity": "infinity",
    "10000-01-01": "year 10000",
    "\\": "half an escape",
    "\\N": "NULL",
    "'; DROP TABLE x; --": "a quote",
    "[" * 100_000: "an endless list",
    "[" * 5000 + "]" * 5000: "a deep list",
    '{"a":' * 5000 + "1" + "}" * 5000: "deep JSON",
    "[NaN, 1e400]": "no JSON numbers",
    "[" + "9" * 5000 + "]": "a long number",
    '["\\u0000"]': "NUL in JSON",
    '["\\ud800"]': "half a pair in JSON",
    "[[1], [2, 3]]": "ragged",
    '{"a": 1, "a": 2}': "a key that comes twice",
}


@pytest.fixture(scope="module")
def config(pg: Pg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose function `f` takes any of the types, and gives its text."""
    targets = pg.connstrs(["words0", "words1"])
    sql = ""
    for type in TYPES:
        for name in ("words0", "words1"):
            pg.execute(
                name,
                f"CREATE FUNCTION f(v {type}) RETURNS text LANGUAGE sql "
                "AS $$ SELECT v::text $$",
            )
        sql += (
            f"CREATE FUNCTION f(v {type}) RETURNS text LANGUAGE plproxy "
            "AS $$ CLUSTER 'userdb'; RUN ON 0; $$;\n"
        )
    place = tmp_path_factory.mktemp("words")
    (place / "proxy.sql").write_text(sql)
    (place / "plproxy.toml").write_text(
        'functions = ["proxy.sql"]\n[clusters.userdb]\n'
        f'partitions = {json.dumps(targets)}\ntimezone = "UTC"\n'
    )
    return place / "plproxy.toml"


@pytest.fixture(autouse=True)
def _uncollected() -> Iterator[None]:
    """Let no finalizer run at the end of a deep recursion, and complain on stderr."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def say(config: Path, *words: str) -> str:
    """Run a command; return what is wrong with how it ended, "" where nothing is."""
    result = CliRunner().invoke(main, ["-c", str(config), *words], prog_name="plproxy")
    shown = f"{[word[:30] for word in words]} → {result.exit_code}: "
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return shown + repr(result.exception)[:200]
    if "Traceback" in result.output or "unexpected" in result.stderr:
        return shown + result.output[:300]
    if result.exit_code == 1 and (
        not result.stderr.startswith("Error") or result.stderr.count("\n") != 1
    ):
        return shown + result.stderr[:300]
    return "" if result.exit_code in (0, 1, 2) else shown


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("command", ["call", "route"])
def test_any_word_for_any_type(config: Path, command: str, type: str) -> None:
    ends = [say(config, command, f"f({type})", "--", word) for word in WORDS]
    assert not list(filter(None, ends))


def test_any_word_for_any_place(config: Path) -> None:
    ends = []
    for word in WORDS:
        ends += [
            say(config, "call", "--", word),
            say(config, "route", "--", word, word),
            say(config, "route", "userdb", f"--key={word}"),
            say(config, "route", "userdb", "--key=5", f"--hash={word}"),
            say(config, "route", "userdb", f"--key={word}", "--hash=hashint8"),
            say(config, "call", f"--partition={word}", "f(text)", "a"),
            say(config, "--json", "partitions", "--", word),
            say(config, "-c", word, "clusters"),
            say(config, "--home", word, "clusters"),
            say(config, "--app", word, "clusters"),
        ]
    assert not list(filter(None, ends))


def test_bytes_that_no_shell_should_send(config: Path) -> None:
    """As a program of its own, whose output goes through a real stream."""
    for words in (
        ["call", "f(text)", b"a\xff"],
        ["call", b"f\xff", "a"],
        ["route", "userdb", b"--key=\xff\xfe"],
        ["call", "f(text)", "\U0001f600"],
        ["--json", "call", "f(text)", "\x1b[31m"],
    ):
        done = subprocess.run(
            [*PLPROXY, "-c", str(config), *words],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, 1, 2)
        assert b"Traceback" not in done.stderr
        assert b"unexpected" not in done.stderr
        assert b"\x1b[31m" not in done.stdout
