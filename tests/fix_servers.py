"""Four servers of their own, one postmaster a partition, that tests break and mend.

Partition n is the database part0n of server n, reached over its Unix socket or over TCP
on 127.0.0.1. The servers serve the whole session; whatever a test did to them, the
next one finds them well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from plproxy_py import ConnectError
from plproxy_py._embedded import EmbeddedError, Server
from tests.both import wait_until
from tests.fix_router import Driver
from tests.fix_server import no_server

COUNT = 4

# Each call leaves its token; so what is told of it can be held against what is there.
REMOTE = """
CREATE TABLE kept (token text);
CREATE FUNCTION keep(token text, seconds float8, width int4) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kept VALUES (token);
    PERFORM pg_sleep(seconds);
    RETURN rpad(right(current_database()::text, 2), 2 + width, 'x');
END $$;
CREATE FUNCTION keep_rows(token text, seconds float8, width int4, count int4)
RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kept VALUES (token);
    PERFORM pg_sleep(seconds);
    RETURN QUERY SELECT rpad(right(current_database()::text, 2), 2 + width, 'x')
        FROM generate_series(1, count);
END $$;
CREATE FUNCTION keep_each(keys int4[], token text, seconds float8, width int4)
RETURNS SETOF text LANGUAGE sql AS $$ SELECT keep(token, seconds, width) $$;
"""


class Breakable(Server):
    """A server that knows whether it is frozen: to look costs 25 ms."""

    is_frozen = False

    def freeze(self) -> None:
        self.is_frozen = True
        super().freeze()

    def thaw(self) -> None:
        if self.is_frozen:
            super().thaw()
        self.is_frozen = False


class Servers:
    """The four servers. ``servers[n]`` is partition n's."""

    def __init__(self, servers: list[Breakable]) -> None:
        self.servers = servers

    def __getitem__(self, partition: int) -> Breakable:
        return self.servers[partition]

    def unix(self, partition: int, **options: str | int) -> str:
        """Return partition n's connect string over the Unix socket."""
        options = {"host": str(self[partition].directory), **options}
        return make_conninfo(self.tcp(partition), **options)

    def tcp(self, partition: int, **options: str | int) -> str:
        """Return partition n's connect string over TCP, with its password."""
        return self[partition].connstr(_database(partition), **options)

    def socket(self, partition: int) -> str:
        """Return the path of the server's Unix socket."""
        server = self[partition]
        return str(server.directory / f".s.PGSQL.{server.port}")

    def connstrs(self, last: str | None = None) -> list[str]:
        """Return all partitions' connect strings, ``last`` in place of partition 3's.

        Partition 1 is reached over TCP, the others over their Unix sockets.
        """
        others = [self.unix(0), self.tcp(1), self.unix(2)]
        return [*others, last or self.unix(3)]

    def execute(self, partition: int, query: str, params: Any = None) -> list[Any]:
        """Run SQL in its own connection, autocommitted; return the rows, if any."""
        with psycopg.connect(self.unix(partition), autocommit=True) as conn:
            cursor = conn.execute(query.encode(), params)
            return cursor.fetchall() if cursor.description else []

    def holds(self, partition: int, token: str) -> bool:
        """Tell whether a call with this token was committed there."""
        return bool(
            self.execute(partition, "SELECT 1 FROM kept WHERE token = %s", [token])
        )

    def active(self, name: str, partition: int = 3) -> list[str]:
        """Return the statements that sessions of a router run there.

        ``name``: its application_name.
        """
        query = (
            "SELECT query FROM pg_stat_activity "
            "WHERE application_name LIKE %s || '%%' AND state <> 'idle'"
        )
        return [text for (text,) in self.execute(partition, query, [name])]

    def sessions(self, name: str, partition: int = 3) -> int:
        """Return how many sessions of a router there are."""
        query = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE %s || '%%'"
        return len(self.execute(partition, query, [name]))

    def terminate(self, name: str, partition: int = 3) -> None:
        """End a router's sessions as an administrator does."""
        self.execute(
            partition,
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity "
            "WHERE application_name LIKE %s || '%%'",
            [name],
        )

    def heal(self) -> None:
        """Let all four be up and answering."""
        for server in self.servers:
            server.thaw()
            server.start()


def _database(partition: int) -> str:
    return f"part{partition:02}"


def _started(partition: int) -> Breakable:
    server = Breakable(tcp=True)
    try:
        server.create_databases([_database(partition)])
        with psycopg.connect(
            server.connstr(_database(partition)), autocommit=True
        ) as conn:
            conn.execute(REMOTE.encode())
    except BaseException:
        server.close()
        raise
    return server


@pytest.fixture(scope="session")
def four_servers() -> Iterator[Servers]:
    """The servers, up at first; tests take `servers`, which mends them."""
    with ExitStack() as stack, ThreadPoolExecutor(COUNT) as threads:
        started = [threads.submit(_started, number) for number in range(COUNT)]
        servers: list[Breakable] = []
        reasons: list[str] = []
        for future in started:
            try:
                servers.append(stack.enter_context(future.result()))
            except EmbeddedError as error:
                reasons.append(str(error))
        if reasons:
            no_server(reasons[0])
        yield Servers(servers)


@pytest.fixture
def servers(four_servers: Servers) -> Iterator[Servers]:
    """The four servers, which are well at the start and mended at the end."""
    four_servers.heal()
    yield four_servers
    four_servers.heal()


@pytest.fixture
def own(servers: Servers) -> Server:
    """A server of its own with the database part03, to freeze, stop and start."""
    return servers[3]


@pytest.fixture
def mixed(
    servers: Servers, make_router: Callable[..., Driver], databases4: list[str]
) -> Driver:
    """A router whose partition 3 is on a server of its own."""
    return make_router({"userdb": [*databases4[:3], servers.unix(3)]}, pool_size=1)


def usable(driver: Driver, timeout: float = 5) -> bool:
    """Tell whether all partitions of userdb answer."""
    answers = driver.execute("userdb", "SELECT 7", timeout=timeout)
    return bool(answers == {number: [(7,)] for number in range(COUNT)})


def back_again(driver: Driver) -> None:
    """Wait until all partitions answer.

    Where connects have failed, the next one is put off for a moment.
    """

    def is_back() -> bool:
        try:
            return usable(driver)
        except ConnectError:
            return False

    wait_until(is_back)


def check_silence(servers: Servers, name: str, partition: int = 3) -> None:
    """Fail if a statement of a router still runs there after a while."""
    wait_until(lambda: not servers.active(name, partition), 2.0)
