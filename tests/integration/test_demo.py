"""The demo as a user runs it: what it shows, how it ends, and that nothing stays."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from plproxy_py import _embedded
from plproxy_py._embedded import EmbeddedError, find_bindir
from tests.fix_cli import PLPROXY
from tests.fix_server import no_server

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def place() -> Iterator[Path]:
    """The directory where the demo puts its server."""
    try:
        find_bindir()
    except EmbeddedError as error:
        no_server(str(error))
    base = _embedded._base_directory(open_to_all=True)
    with tempfile.TemporaryDirectory(prefix="plp", dir=base) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def demo(place: Path) -> Iterator[Start]:
    """Start demos, which end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, code: str | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*PLPROXY[:2], code or PLPROXY[2], "demo", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(place), "COLUMNS": "80"},
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(stream: IO[str] | None, text: str) -> str:
    """Read to the line that has the text; return that line."""
    assert stream is not None
    for line in stream:
        if text in line:
            return line
    pytest.fail(f"{text!r} never came")


def assert_nothing_is_left(place: Path) -> None:
    assert list(place.iterdir()) == []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        # Others' processes end while we look.
        with contextlib.suppress(OSError):
            assert os.fsencode(place) not in command.read_bytes()


def test_the_demo(demo: Start, place: Path) -> None:
    process = demo()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == "Starting PostgreSQL\nCreating 1,000 users\n"
    assert out.startswith("plproxy demo: PostgreSQL ")
    bars = re.findall(r"^    part0[0-3]  (█+)  (\d+)$", out, re.MULTILINE)
    assert sum(int(users) for _, users in bars) == 1000
    assert len(bars) == 4
    assert all(len(bar) > 40 for bar, _ in bars)
    for text in (
        "    RUN ON hashtext(i_username);\n",
        "    def get_email(username: str) -> str | None: ...\n",
        "Row(username='marko', email='marko@example.org')\n",
        "    get_email('zoe')    None\n",
        " mia11 ",
        "hashtext('marko') = 1416933399, and 1416933399 & 3 = 3: part03\n",
        "SELECT username::text, email::text FROM public.get_user($1::text)\n",
    ):
        assert text in out
    lines = out.splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith("The server is stopped, nothing is left behind.")
    assert_nothing_is_left(place)


def test_ctrl_c_in_the_middle(demo: Start, place: Path) -> None:
    process = demo()
    wait_for(process.stderr, "Creating")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "\nThe server is stopped, nothing is left behind.\n"
    assert_nothing_is_left(place)


def test_keep_is_for_other_commands(demo: Start, place: Path) -> None:
    process = demo("--keep")
    config = wait_for(process.stdout, "PLPROXY_CONFIG=").strip().partition("=")[2]
    assert Path(config).is_relative_to(place)
    command = [*PLPROXY, "-c", config, "--json", "call", "count_users"]
    found = json.loads(subprocess.check_output(command))
    assert [row["partition"] for row in found] == [0, 1, 2, 3]
    assert sum(row["users"] for row in found) == 1000
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert_nothing_is_left(place)


def test_without_a_server_it_says_what_to_install(demo: Start) -> None:
    code = (
        "from plproxy_py import _embedded; _embedded._has_server = lambda place: False"
    )
    process = demo(code=f"{code}; {PLPROXY[2]}")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out == ""
    notice, error = err.splitlines()
    assert notice == "Starting PostgreSQL"
    assert error.startswith("Error: no PostgreSQL server found")
    assert "pip install 'plproxy-py[demo]'" in error
