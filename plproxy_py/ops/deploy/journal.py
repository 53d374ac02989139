"""A partition's journal: the table plproxy.deployed, and who may write it just now.

An entry is of one statement of one file. ``done_at`` is NULL from the beginning of a
statement outside of a transaction until its end was seen. ``withdrawn_at``: since when
the file has it no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from plproxy_py.errors import RemoteError, remote_error_class
from plproxy_py.ops.deploy.files import Step
from plproxy_py.ops.deploy.planning import Entry
from plproxy_py.ops.sessions import Session

LOCK_NOT_AVAILABLE = "55P03"

# Not to_regclass: in a transaction that began before the deploy which made the table
# had ended, it answers from what its session remembers.
_SCHEMA_THERE = """SELECT EXISTS (
    SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'plproxy')"""
_THERE = """SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
        ON n.oid = c.relnamespace
    WHERE n.nspname = 'plproxy' AND c.relname = 'deployed')"""
_TABLE = """CREATE TABLE plproxy.deployed (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    file text NOT NULL,
    number integer NOT NULL,
    digest text NOT NULL,
    statement text NOT NULL,
    begun_at timestamptz NOT NULL,
    done_at timestamptz,
    deployed_by text NOT NULL DEFAULT session_user,
    withdrawn_at timestamptz
)"""
_READ = """SELECT id, file, digest, begun_at, done_at IS NOT NULL
    FROM plproxy.deployed WHERE file = ANY (%s) AND withdrawn_at IS NULL ORDER BY id"""
_WRITE = """INSERT INTO plproxy.deployed
    (file, number, digest, statement, begun_at, done_at)
    VALUES (%s, %s, %s, %s, clock_timestamp(),
        CASE WHEN %s THEN clock_timestamp() END) RETURNING id"""
_WITHDRAW = "UPDATE plproxy.deployed SET withdrawn_at = now() WHERE id = ANY (%s)"
_DONE = "UPDATE plproxy.deployed SET done_at = clock_timestamp() WHERE id = %s"
_FORGET = "DELETE FROM plproxy.deployed WHERE id = %s"

# The letters "plpx": one lock in each database, for the duration of a deploy.
KEYS = (0x706C7078, 1)
# Polled and never waited for: a waiting transaction would keep a CREATE INDEX
# CONCURRENTLY of the one that holds it from ever ending.
_TRY = "SELECT pg_try_advisory_{}lock(%s, %s)"
_PAUSE = 0.1
_HOLDER = """SELECT a.pid, a.usename, a.application_name, a.backend_start
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.classid = %s AND l.objid = %s"""
_PLACE = """SELECT pg_postmaster_start_time()::text || ' ' ||
    current_setting('port') || ' ' || (SELECT oid FROM pg_database
    WHERE datname = current_database()), current_schemas(false)"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection has led.

    ``database`` is the same for the same database, in whatever words it was reached;
    ``schemas``, its search path, may differ still.
    """

    database: str
    schemas: tuple[str, ...]


async def read_place(connection: Session) -> Place:
    """Ask a session where it is."""
    row = await (await connection.execute(_PLACE)).fetchone()
    assert row is not None
    return Place(row[0], tuple(row[1]))


async def read(connection: Session, files: Sequence[str]) -> list[Entry]:
    """Return the entries in force of these files."""
    if not await _is(connection, _THERE):
        return []
    cursor = await connection.execute(_READ, [list(files)])
    return [Entry(*row) for row in await cursor.fetchall()]


async def make(connection: Session) -> None:
    """Create the table, unless it is there."""
    if await _is(connection, _THERE):
        return
    # IF NOT EXISTS asks for the right to create one even where there is one.
    if not await _is(connection, _SCHEMA_THERE):
        await connection.execute("CREATE SCHEMA plproxy")
    await connection.execute(_TABLE)


async def _is(connection: Session, question: LiteralString) -> bool:
    return await (await connection.execute(question)).fetchone() == (True,)


async def write(connection: Session, step: Step, *, is_done: bool) -> int:
    """Enter a statement; return the entry's id."""
    row = (step.file, step.number, step.digest, step.statement.shown, is_done)
    found = await (await connection.execute(_WRITE, row)).fetchone()
    assert found is not None
    return int(found[0])


async def withdraw(connection: Session, ids: Sequence[int]) -> None:
    """Let entries be in force no more."""
    if ids:
        await connection.execute(_WITHDRAW, [list(ids)])


async def settle(connection: Session, id: int, *, is_done: bool) -> None:
    """Say how a statement that was begun has ended: done, or not there at all."""
    await connection.execute(_DONE if is_done else _FORGET, [id])


async def lock(
    connection: Session, timeout: float, stop: asyncio.Event, *, in_transaction: bool
) -> None:
    """Wait until no other deploy is at work there.

    Raise 55P03, saying who is, after ``timeout`` seconds, or at ``stop``.
    """
    sql = _TRY.format("xact_" if in_transaction else "")
    deadline = time.monotonic() + timeout
    while True:
        if in_transaction:
            # Each statement sees what was committed before it, whatever the default is.
            await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        if await (await connection.execute(sql, KEYS)).fetchone() == (True,):
            return
        if in_transaction:
            await connection.execute("ROLLBACK")
        if stop.is_set() or time.monotonic() > deadline:
            raise await _occupied(connection)
        await asyncio.sleep(_PAUSE)


async def _occupied(connection: Session) -> RemoteError:
    row = await (await connection.execute(_HOLDER, KEYS)).fetchone()
    text = "another deploy was at work there until just now"
    if row is not None:
        pid, user, application, since = row
        text = (
            f"another deploy is at work there: process {pid} of {user} "
            f"({application}), connected since {since:%Y-%m-%d %H:%M:%S%z}"
        )
    return remote_error_class(LOCK_NOT_AVAILABLE)(text, sqlstate=LOCK_NOT_AVAILABLE)
