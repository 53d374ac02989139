"""Shell completion, versions, and colours that stay on terminals."""

from __future__ import annotations

import contextlib
import os
import platform
import pty
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from plproxy_py import __version__
from plproxy_py.cli import main
from plproxy_py.cli.completing import (
    complete_cluster,
    complete_function,
    complete_function_or_cluster,
)
from tests.fix_cli import PLPROXY, Run

FILE = """
functions = ["f.sql"]
[clusters.userdb]
partitions = ["host=/nowhere password=sekret"]
[clusters.users_old]
partitions = ["host=/nowhere"]
[clusters.logs]
partitions = ["host=/nowhere"]
"""
FUNCTIONS = """
CREATE FUNCTION get_user(name text) RETURNS text LANGUAGE plproxy
    AS $$ CLUSTER 'userdb'; RUN ON hashtext(name); $$;
CREATE FUNCTION s.get_user(id int4) RETURNS text LANGUAGE plproxy
    AS $$ CLUSTER 'userdb'; RUN ON id; $$;
CREATE FUNCTION list_users() RETURNS SETOF text LANGUAGE plproxy
    AS $$ CLUSTER 'userdb'; RUN ON ALL; $$;
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(FILE)
    (tmp_path / "f.sql").write_text(FUNCTIONS)
    return path


def completed(*words: str, config: Path | None) -> list[str]:
    """Return what click answers to a shell for the last word."""
    env = {
        "_PLPROXY_COMPLETE": "bash_complete",
        "COMP_WORDS": shlex.join(["plproxy", *words]),
        "COMP_CWORD": str(len(words)),
        "PLPROXY_CONFIG": None if config is None else str(config),
    }
    result = CliRunner().invoke(main, [], env=env, prog_name="plproxy")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    lines = filter(None, result.stdout.splitlines())
    return [line.partition(",")[2] for line in lines]


def test_names_of_the_config_file(config: Path) -> None:
    assert completed("partitions", "u", config=config) == ["userdb", "users_old"]
    assert completed("config", "show", "l", config=config) == ["logs"]
    assert completed("call", "g", config=config) == ["get_user"]
    route = completed("route", "l", config=config)
    assert route == ["list_users", "logs"]
    assert completed("-c", str(config), "call", "li", config=None) == ["list_users"]
    assert "config" in completed("con", config=config)
    assert completed("config", "e", config=config) == ["export"]


def test_nothing_is_no_failure(config: Path, tmp_path: Path) -> None:
    """No file, a wrong one, a database or an application: nothing, and no word."""
    clusters = ("partitions", "u")
    assert completed(*clusters, config=None) == []
    assert completed(*clusters, config=tmp_path / "none.toml") == []
    assert completed("--home", "host=/nowhere", *clusters, config=config) == []
    assert completed("--app", "nowhere:router", *clusters, config=config) == []
    for text in ("", "[", "clusters = 5", "clusters = ['a']", "functions = ['x.sql']"):
        config.write_text(text)
        assert completed(*clusters, config=config) == []
        assert completed("call", "g", config=config) == []
    config.write_bytes(b"\xff")
    assert completed(*clusters, config=config) == []


def test_who_completes_what() -> None:
    """Every argument that is a cluster or a function of the commands below."""
    wanted = {
        "partitions": complete_cluster,
        "call": complete_function,
        "route": complete_function_or_cluster,
    }
    for name, complete in wanted.items():
        first = main.commands[name].params[0]
        assert first._custom_shell_complete is complete, name


@pytest.mark.parametrize(
    ("shell", "mark"),
    [
        ("bash", "complete -o nosort -F _plproxy_completion plproxy"),
        ("zsh", "#compdef plproxy"),
        ("fish", "complete --no-files --command plproxy"),
    ],
)
def test_the_script_of_a_shell(cli: Run, shell: str, mark: str) -> None:
    result = cli("completion", shell, PATH="")
    assert mark in result.stdout
    assert f"_PLPROXY_COMPLETE={shell}_complete" in result.stdout
    assert result.stderr == ""
    assert f"plproxy completion {shell} >" in cli("completion", "--help").stdout


def test_bash_completes(cli: Run, config: Path, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is needed")
    # Under the name that the script calls.
    plproxy = tmp_path / "plproxy"
    code = "from plproxy_py.cli import main; main(prog_name='plproxy')"
    plproxy.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, '-c', code])}\n")
    plproxy.chmod(0o755)
    script = tmp_path / "completion.bash"
    script.write_text(cli("completion", "bash").stdout)
    ask = (
        f"source {shlex.quote(str(script))}\n"
        "COMP_WORDS=(plproxy partitions us)\nCOMP_CWORD=2\n"
        f'_plproxy_completion plproxy\necho "${{COMPREPLY[@]}}"\n'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", ask],
        env={**os.environ, "PATH": path, "PLPROXY_CONFIG": str(config)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("userdb users_old\n", "")


def test_an_unknown_shell(cli: Run) -> None:
    assert "'bash', 'zsh', 'fish'" in cli("completion", "tcsh", code=2).stderr


def test_the_versions(cli: Run) -> None:
    (line,) = cli("--version").stdout.splitlines()
    assert line.startswith(f"plproxy {__version__}, psycopg {psycopg.__version__} (")
    assert f"Python {platform.python_version()}" in line
    libpq = psycopg.pq.version()
    assert f"libpq {libpq // 10000}.{libpq % 10000}," in line
    assert line.endswith(("compiled part: yes", "compiled part: no"))


def on_terminal(*args: str, **env: str) -> bytes:
    """Return what a command writes to a terminal."""
    ours, theirs = pty.openpty()
    given = {
        k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")
    }
    given |= {"TERM": "xterm", "COLUMNS": "250", **env}
    with subprocess.Popen([*PLPROXY, *args], stdout=theirs, stderr=theirs, env=given):
        os.close(theirs)
        shown = b""
        # Linux reports the other end's closing as an error.
        with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
            while chunk := terminal.read(65536):
                shown += chunk
    return shown


def test_colours_are_for_terminals(config: Path) -> None:
    moved = config.with_name("moved.toml")
    moved.write_text(FILE.replace('"host=/nowhere"', '"host=/elsewhere"'))
    diff = ("config", "diff", str(config), str(moved))
    shown = on_terminal(*diff)
    assert b"\x1b[31m" in shown
    without = on_terminal(*diff, NO_COLOR="1")
    assert b"move these rows first" in without
    assert b"\x1b" not in without
    for env in ({"TERM": "xterm"}, {"TERM": "xterm", "CLICOLOR": "1"}):
        piped = subprocess.run(
            [*PLPROXY, *diff], capture_output=True, env={**os.environ, **env}
        )
        assert piped.returncode == 1
        assert b"move these rows first" in piped.stdout
        assert b"\x1b" not in piped.stdout + piped.stderr
