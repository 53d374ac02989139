"""One statement on a session: sent alone, stopped when it has to, told when it fails.

Statements go by the extended protocol, where the server itself refuses a text of
several: whatever a text looks like to us, it can't end a transaction and go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import psycopg

from plproxy_py.errors import ConnectionLost, Error, remote_error_class
from plproxy_py.ops.sessions import Session, stop_task

T = TypeVar("T")


class Stopped(Exception):
    """The statement was stopped, since it was not to go on."""


# With a parameter, which nothing asks for, psycopg sends no simple query.
_UNUSED = (0,)


async def prepare_session(connection: Session) -> None:
    """Make a lent connection ready for `send`."""
    await connection.set_autocommit(True)
    connection.prepare_threshold = None


async def send(connection: Session, sql: str) -> psycopg.AsyncCursor[Any]:
    """Run one statement; return its cursor. Raise psycopg's error.

    The session is one that `prepare_session` has seen; the statement has no $1.
    """
    cursor = psycopg.AsyncRawCursor(connection)
    await cursor.execute(sql.encode(), _UNUSED)
    return cursor


async def until(
    stop: asyncio.Event,
    connection: Session,
    work: Coroutine[Any, Any, T],
    timeout: float | None = None,
) -> T:
    """Return what comes of the work; cancel it at ``stop``, or after its time.

    Raise `Stopped` or TimeoutError then; the connection may be closed by it. psycopg
    itself would wait 10 s for a frozen partition.
    """
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait(
            [task, stopped], timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if not task.done():
            await stop_task(task, connection)
            if not _succeeded(task):
                raise Stopped if stop.is_set() else TimeoutError
        return task.result()
    finally:
        stopped.cancel()
        if not task.done():
            task.cancel()


def _succeeded(task: asyncio.Future[Any]) -> bool:
    """Tell whether it came to its own end, though it was to be stopped."""
    return task.done() and not task.cancelled() and task.exception() is None


def said(error: psycopg.Error) -> str:
    """Return what a server, or libpq, says of a failure.

    The server's excerpt of the statement is left out: it may hold a password.
    """
    diag = error.diag
    if isinstance(error, Error) or diag.message_primary is None:
        return str(error).strip() or type(error).__name__
    detail = f"; DETAIL: {diag.message_detail}" if diag.message_detail else ""
    hint = f"; HINT: {diag.message_hint}" if diag.message_hint else ""
    return f"{diag.message_primary}{detail}{hint}"


def ours(
    error: psycopg.Error, connection: Session, partition: int, place: str = ""
) -> Error:
    """Return psycopg's error as one of our tree; its text begins with ``place``."""
    if isinstance(error, Error):
        return error
    state, text = error.sqlstate, f"{place}{said(error)}"
    if connection.closed:
        text = f"{place}the connection was lost: {said(error)}"
        kind: type[Error] = ConnectionLost
    else:
        kind = remote_error_class(state)
    told = kind(text, info=error._info, sqlstate=state)
    told.partition, told.sent = partition, True
    return told
