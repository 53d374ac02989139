"""The command line on clusters, partitions and functions, and where it prints."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plproxy_py import _embedded
from tests.fix_cli import PLPROXY, PROXY, Run, lines, rows
from tests.fix_server import Pg


def test_json_stands_before_or_after_the_command(cli: Run) -> None:
    assert cli("--json", "clusters").stdout == cli("clusters", "--json").stdout


def test_clusters(cli: Run, cli_config: Path) -> None:
    table = lines(cli("clusters"))
    columns = ["cluster", "partitions", "source", "version", "tls", "options"]
    assert table[0] == columns
    found = rows(cli("clusters", "--json"))
    assert table[2][:4] == ["faraway", "2", str(cli_config), found[1]["version"]]
    assert table[2][-1] == "{}"
    assert found[1]["tls"] == "0: local, 1: not verified (sslmode prefer)"
    assert found[1]["tls"] in cli("clusters").stdout
    assert found[0] == {
        "cluster": "userdb",
        "partitions": 4,
        "source": str(cli_config),
        "version": found[0]["version"],
        "tls": "local",
        "options": {"query_timeout": 5.0, "timezone": "UTC"},
    }


def test_partitions(cli: Run, pg: Pg) -> None:
    table = cli("partitions", "userdb").stdout.splitlines()
    assert table[0].split("  ")[0] == "partition"
    assert [line.split()[0] for line in table[1:]] == ["0", "1", "2", "3"]
    assert "error" not in table[0]
    first, *others = rows(cli("partitions", "userdb", "--json"))
    assert len(others) == 3
    assert first.keys() == {
        *("partition", "connstr", "reachable", "version", "latency_ms"),
        *("connections", "replica_lag_s", "error"),
    }
    assert "dbname" in first["connstr"]
    assert first["reachable"] is True
    assert first["version"].split(".")[0] == str(pg.version // 10000)
    assert first["latency_ms"] > 0
    assert first["connections"] >= 1
    assert first["replica_lag_s"] is first["error"] is None


def test_the_size_is_bytes_in_json(cli: Run) -> None:
    assert " MB\n" in cli("partitions", "userdb", "--size").stdout
    found = rows(cli("partitions", "userdb", "--size", "--json"))
    assert all(row["size"] > 1_000_000 for row in found)


def test_an_unreachable_partition_says_why(cli: Run) -> None:
    result = cli("partitions", "faraway", code=1)
    assert "password=****" in result.stdout
    assert "No such file or directory" in result.stdout
    found = rows(cli("partitions", "faraway", "--json", code=1))
    assert [row["reachable"] for row in found] == [False, False]
    assert "Connection refused" in found[1]["error"]


def test_a_silent_partition_delays_nobody(
    cli: Run, databases4: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "plproxy.toml"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connstr = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x"
        connstrs = json.dumps([connstr, databases4[1]])
        path.write_text(f"[clusters.userdb]\npartitions = {connstrs}\n")
        started = time.monotonic()
        options = ("partitions", "userdb", "--timeout", "0.5", "--json")
        slow, quick = rows(cli("-c", str(path), *options, code=1))
        assert time.monotonic() - started < 3
    assert slow["error"] == "57014: [x] no connection in time"
    assert quick["reachable"]


def test_a_standby_has_a_lag(cli: Run, tmp_path: Path) -> None:
    try:
        server = _embedded.Server()
    except _embedded.EmbeddedError as error:
        pytest.skip(str(error))
    path = tmp_path / "plproxy.toml"
    with server:
        server.create_databases(["part00"])
        server.crash()
        # It replays what it did itself, and then waits for more.
        (server.data / "standby.signal").touch()
        server.start()
        connstr = json.dumps(server.connstr("part00"))
        path.write_text(f"[clusters.userdb]\npartitions = [{connstr}]\n")
        command = ("-c", str(path), "partitions", "userdb", "--json")
        (row,) = rows(cli(*command))
    assert row["replica_lag_s"] > 0


def test_watch_looks_again(cli_config: Path) -> None:
    command = [*PLPROXY, "-c", str(cli_config), "--json"]
    command += ["partitions", "userdb", "--watch", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert [row["partition"] for row in looks[1]] == [0, 1, 2, 3]


def test_functions(cli: Run) -> None:
    table = cli("functions").stdout.splitlines()
    assert table[0].split() == ["signature", "cluster", "run", "on", "sql"]
    assert len(table) == 1 + PROXY.count("CREATE FUNCTION")
    found = {row["signature"]: row for row in rows(cli("functions", "--json"))}
    assert found["cli.whereami(key text) RETURNS text"] == {
        "signature": "cli.whereami(key text) RETURNS text",
        "cluster": "userdb",
        "run_on": "hashtext(key)",
        "sql": "SELECT r::text FROM cli.whereami($1::text) r",
    }
    connected = found["cli.elsewhere() RETURNS text"]
    assert connected["cluster"].startswith("CONNECT dbname=x host=/nowhere")
    assert connected["run_on"] == "ANY"
    wrong = found["cli.wrong() RETURNS text"]
    assert wrong["cluster"] == "CONNECT (no connect string)"


def test_an_unknown_key_names_the_nearest(cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "plproxy.toml"
    path.write_text("[clusters.userdb]\npartitions = ['']\nquery_timeuot = 1\n")
    result = cli("-c", str(path), "clusters", code=1)
    assert "cluster 'userdb': unknown key 'query_timeuot'" in result.stderr
    assert "did you mean 'query_timeout'?" in result.stderr


def test_clusters_must_be_said(cli: Run) -> None:
    result = cli("clusters", code=2, PLPROXY_CONFIG=None)
    assert "-c FILE" in result.stderr


APP = """
from plproxy_py import AsyncRouter, Router

router = Router({{"userdb": {connstrs}}}, hashes={{"namehash": lambda text: 1 // 0}})

@router.proxy(cluster="userdb", run_on=lambda key: 2, schema="cli")
def whereami(key: str) -> str: ...

@router.proxy(cluster="userdb", run_on="namehash(key)")
def broken(key: str) -> str: ...

aio = AsyncRouter({{"userdb": {connstrs}}})

@aio.proxy(
    "everywhere(OUT partition text, OUT n int4)",
    cluster=lambda: "userdb",
    run_on="ALL",
    schema="cli",
)
async def everywhere() -> list[tuple]: ...

unset = Router()
other = 1
"""


@pytest.fixture
def app(
    databases4: list[str],
    cli_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = APP.format(connstrs=databases4)
    (tmp_path / "cli_app.py").write_text(text)
    (tmp_path / "cli_fails.py").write_text("raise RuntimeError('sekret')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])


@pytest.mark.usefixtures("app")
def test_the_router_of_an_application(cli: Run) -> None:
    (row,) = rows(cli("--app", "cli_app:router", "--json", "call", "whereami", "x"))
    assert row["partition"] == 2
    assert row["whereami"].endswith("part02 x")
    table = cli("--app", "cli_app:router", "functions").stdout
    assert "userdb   (a Python function)" in table
    assert len(rows(cli("--app", "cli_app:aio", "--json", "call", "everywhere"))) == 8
    table = cli("--app", "cli_app:aio", "partitions", "userdb").stdout
    assert len(table.splitlines()) == 5
    (row,) = rows(cli("--app", "cli_app:aio", "--json", "clusters"))
    assert row["source"] == "cli_app:aio"


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("cli_app:ruoter", "clusters"), "has no 'ruoter'; did you mean 'router'?"),
        (("cli_app:other", "clusters"), "cli_app:other is no Router but of int"),
        (("cli_app:unset", "partitions", "userdb"), "F0000: this router has no conf"),
        (
            ("cli_app:router", "route", "broken", "x"),
            "ZeroDivisionError at cli_app.py:4",
        ),
        (("cli_fails:x", "clusters"), "imported: RuntimeError at cli_fails.py:1"),
    ],
)
def test_errors_of_an_application(cli: Run, args: tuple[str, ...], text: str) -> None:
    assert text in cli("--app", *args, code=1).stderr


def test_a_table_on_a_terminal(cli: Run) -> None:
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "300"}
    shown = cli("clusters", **terminal).stdout
    assert "─────" in shown
    assert "\x1b[1m" in shown
    shown = cli("clusters", **terminal, NO_COLOR="1").stdout
    assert "─────" in shown
    assert "\x1b" not in shown
    shown = cli("partitions", "faraway", code=1, **terminal).stdout
    assert "\x1b[31m" in shown


def test_lines_where_the_terminal_is_narrow(cli_config: Path) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "60", "NO_COLOR": "1"}
    command = [*PLPROXY, "-c", str(cli_config), "functions"]
    with subprocess.Popen(command, stdout=theirs, env=env):
        os.close(theirs)
        shown = b""
        # Linux reports the other end's closing as an error.
        with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
            while chunk := terminal.read(65536):
                shown += chunk
    assert b"run on     hashtext(key)\r\n" in shown
    assert b"sql        SELECT r::text FROM cli.whereami($1::text) r\r\n" in shown
    assert b"\x1b" not in shown
