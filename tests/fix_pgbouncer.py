"""PgBouncer before a server: Debian's, started by the tests, in any pool mode."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Self

import pytest
from psycopg.conninfo import make_conninfo

from plproxy_py._embedded import EmbeddedError, Server
from tests.fix_server import no_server

PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin")


# What it asks for where ``auth_type`` is not trust.
PASSWORD = "bouncing"


class Bouncer:
    """One PgBouncer. ``settings`` come on top of those for tests."""

    def __init__(self, server: Server, mode: str, **settings: object) -> None:
        program = shutil.which("pgbouncer", path=os.pathsep.join(PLACES))
        if program is None:
            no_server("there is no pgbouncer: apt-get install pgbouncer")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        # Below the server's directory, which is its account's and goes with it.
        self.directory = Path(tempfile.mkdtemp(dir=server.directory))
        self.log = self.directory / "log"
        host = f"host={server.directory} port={server.port}"
        lines = ["[databases]", f"* = {host}", "[pgbouncer]"]
        given: dict[str, object] = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": self.directory / "users",
            "admin_users": "postgres",
            "pool_mode": mode,
            "default_pool_size": 2,
            "server_login_retry": 1,
            "logfile": self.log,
            **settings,
        }
        lines += [f"{name} = {value}" for name, value in given.items()]
        (self.directory / "ini").write_text("\n".join(lines) + "\n")
        (self.directory / "users").write_text(f'"postgres" "{PASSWORD}"\n')
        owner = server.directory.stat()
        for path in (self.directory, *self.directory.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid)
        account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        self._process = Popen(
            # It goes when the tests are killed.
            ["setpriv", "--pdeathsig", "KILL", program, str(self.directory / "ini")],
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
            start_new_session=True,
            **(account if os.geteuid() == 0 else {}),  # type: ignore[arg-type]
        )
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            if self._process.poll() is not None or time.monotonic() > until:
                self.close()
                log = self.log.read_text() if self.log.exists() else ""
                raise EmbeddedError(f"pgbouncer did not start: {log}")
            time.sleep(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def connstr(self, dbname: str = "postgres", **options: object) -> str:
        """Return a connect string that leads through it."""
        return make_conninfo(
            "",
            **{
                "host": "127.0.0.1",
                "port": self.port,
                "user": "postgres",
                "dbname": dbname,
                "sslmode": "disable",
                "gssencmode": "disable",
                **options,
            },
        )


@pytest.fixture(scope="module")
def behind() -> Iterator[Server]:
    """A server that is reached through PgBouncer."""
    try:
        server = Server()
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        yield server


@pytest.fixture
def make_bouncer(behind: Server) -> Iterator[Callable[..., Bouncer]]:
    """Return what starts a PgBouncer before the server; all end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda mode="transaction", **settings: stack.enter_context(
            Bouncer(behind, mode, **settings)
        )
