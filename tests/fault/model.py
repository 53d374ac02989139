"""The databases that a model of a cluster knows, on servers that may be broken."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from plproxy_py._embedded import Server
from tests.both import wait_until
from tests.fix_router import Driver

DATABASES = [f"model{number}" for number in range(4)]
# What may be found of a write, by what was told of it.
COUNTS = {"committed": (1,), "failed": (0,), "unknown": (0, 1)}

REMOTE = """
CREATE TABLE IF NOT EXISTS told (token text);
TRUNCATE told;
CREATE OR REPLACE FUNCTION tell(k int4, token text, how text) RETURNS text
LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO told VALUES (token);
    IF how = 'fail' THEN RAISE EXCEPTION 'no' USING ERRCODE = '22012'; END IF;
    IF how = 'slow' THEN PERFORM pg_sleep(0.3); END IF;
    RETURN token || ' ' || current_database();
END $$;
CREATE OR REPLACE FUNCTION tell_all(k int4, token text, how text) RETURNS SETOF text
LANGUAGE sql AS $$ SELECT tell(k, token, how) $$;
CREATE OR REPLACE FUNCTION tokens(token text, n int4) RETURNS SETOF text LANGUAGE sql
    AS $$ SELECT token || ' ' || current_database() FROM generate_series(1, n) $$;
"""


class Cluster:
    """The databases: number n stands on server n, modulo how many there are."""

    def __init__(self, servers: list[Server]) -> None:
        self.servers = servers
        for number, name in enumerate(DATABASES):
            server = self.server(number)
            with suppress(psycopg.errors.DuplicateDatabase):
                server.create_databases([name])
            self.execute(number, REMOTE)

    def server(self, database: int) -> Server:
        return self.servers[database % len(self.servers)]

    def connstr(self, database: int) -> str:
        # As nobody's own directory would say it, whatever the server listens on.
        server = self.server(database)
        return make_conninfo(
            server.connstr(DATABASES[database]), host=str(server.directory)
        )

    def execute(self, database: int, query: str, params: Any = None) -> list[Any]:
        with psycopg.connect(self.connstr(database), autocommit=True) as connection:
            cursor = connection.execute(query.encode(), params)
            return cursor.fetchall() if cursor.description else []

    def heal(self) -> None:
        for server in self.servers:
            server.thaw()
            server.start()

    def sessions(self, database: int, name: str) -> list[Any]:
        """Return the sessions of an application on the database's server."""
        query = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE %s || '%%'"
        return self.execute(database, query, [name])

    def naps(self, database: int) -> bool:
        """Whether a session naps on the database's server."""
        query = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        return self.execute(database, query) != []

    def end_sessions(self, server: int, name: str, state: str) -> None:
        """End those sessions of an application that are in such a state."""
        self.execute(
            server,
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity "
            "WHERE application_name LIKE %s || '%%' AND state LIKE %s",
            [name, state],
        )

    def check(self, name: str, told: dict[str, dict[int, str]]) -> None:
        """Hold what an application was told of its tokens against what is there.

        ``told``: of each token, the state by database.
        """
        for number in range(len(DATABASES)):
            wait_until(lambda n=number: self.sessions(n, name) == [])  # type: ignore[misc]
            query = "SELECT token, count(*) FROM told WHERE token LIKE %s GROUP BY 1"
            there = dict(self.execute(number, query, [name + ".%"]))
            assert not set(there) - set(told)
            for token, states in told.items():
                count, state = there.get(token, 0), states.get(number, "failed")
                assert count in COUNTS[state], (token, state, count)


class SlowCall:
    """A call that goes on while the test does something else."""

    def __init__(self, driver: Driver, runner: asyncio.Runner) -> None:
        self._driver = driver
        self._runner = runner
        self._answers: list[Any] = []
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[Any] | None = None

    def begin(self, call: Any, *args: Any) -> None:
        """Let the call begin; on AsyncRouter it goes on whenever its loop runs."""

        def block() -> None:
            try:
                self._answers.append(call(*args))
            except Exception as error:
                self._answers.append(error)

        async def begin() -> asyncio.Task[Any]:
            task = asyncio.create_task(call(*args))
            await asyncio.sleep(0.05)
            return task

        if self._driver.is_async:
            self._task = self._runner.run(begin())
        else:
            self._thread = threading.Thread(target=block)
            self._thread.start()

    def is_over(self) -> bool:
        """Let it go on for a moment; tell whether it has come to its end."""
        if self._task is not None:
            self._runner.run(asyncio.sleep(0.005))
        return bool(self._answers) or (self._task is not None and self._task.done())

    def join(self) -> Any:
        """Return the answer, or what was raised."""
        if (task := self._task) is not None:

            async def end() -> Any:
                ends = await asyncio.gather(task, return_exceptions=True)
                return ends[0]

            return self._runner.run(end())
        assert self._thread is not None
        self._thread.join(60)
        return self._answers[0]
