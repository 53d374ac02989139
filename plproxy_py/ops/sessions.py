"""A session of an operator's own on a partition, and one on each of them at once.

Sessions come from the router's own pools: its passwords, its connect options and its
limits hold. They are made as new when they go back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg

from plproxy_py._router_base import RouterBase
from plproxy_py._steps import run_async
from plproxy_py.errors import ConnectionLost, Error, QueryTimeout, remote_error_class

T = TypeVar("T")

# Seconds that a stopped statement has to end by its cancel.
STOP_TIMEOUT = 1.0

Session = psycopg.AsyncConnection[Any]


@asynccontextmanager
async def session(
    router: RouterBase, cluster: str, partition: int, timeout: float | None = None
) -> AsyncIterator[Session]:
    """Lend a partition's connection on the running event loop.

    Any router will do: an application's own may be a `Router`. ``timeout``: seconds
    to get it. As psycopg has it, a statement begins a transaction; what is open at the
    end is rolled back: who changes something commits it. psycopg's errors come out as
    ours, with cluster and partition.
    """
    borrowed = await run_async(router._borrow(cluster, None, partition, None, timeout))
    connection = borrowed.link.hand_out(psycopg.AsyncConnection[Any], router.adapters)
    try:
        try:
            yield connection
        finally:
            if not connection.closed and not borrowed.link.in_the_middle:
                with suppress(psycopg.Error):
                    await connection.rollback()
    except Error:
        raise
    except psycopg.Error as error:
        raise told(error, cluster, partition, is_lost=connection.closed) from None
    finally:
        await run_async(borrowed.give_back())


def told(error: psycopg.Error, cluster: str, partition: int, *, is_lost: bool) -> Error:
    """Return psycopg's error as one of our tree."""
    text, state = str(error).strip() or type(error).__name__, error.sqlstate
    kind = remote_error_class(state) if state else Error
    if is_lost:
        kind = ConnectionLost
    ours = kind(text, info=error._info, sqlstate=state)
    ours.cluster, ours.partition, ours.sent = cluster, partition, True
    return ours


async def on_each(
    router: RouterBase,
    cluster: str,
    partitions: Iterable[int],
    work: Callable[[Session, int], Awaitable[T]],
    *,
    timeout: float | None = None,
    jobs: int | None = None,
    done: Callable[[], object] = lambda: None,
) -> dict[int, T | Error]:
    """Do the work on each partition at once; return what came of it, or the error.

    ``jobs``: on so many at a time, all if None. ``timeout``: seconds for each, the
    connect included; past it the statement is cancelled and the error a
    `QueryTimeout`. ``done`` is called as each partition is done.
    """
    room = asyncio.Semaphore(jobs) if jobs else None

    async def one(partition: int) -> T | Error:
        try:
            async with session(router, cluster, partition, timeout) as connection:
                task = asyncio.ensure_future(work(connection, partition))
                task.add_done_callback(_seen)
                return await _ended(task, connection, timeout)
        except Error as error:
            error.cluster, error.partition = cluster, partition
            return error
        finally:
            done()

    async def in_turn(partition: int) -> T | Error:
        if room is None:
            return await one(partition)
        async with room:
            return await one(partition)

    numbers = list(partitions)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_turn(number)) for number in numbers]
    return {number: task.result() for number, task in zip(numbers, tasks, strict=True)}


async def _ended(
    task: asyncio.Future[T], connection: Session, timeout: float | None
) -> T:
    """Return what comes of the task; stop it past its time, or when we are stopped.

    psycopg itself takes 11 s to give up a frozen partition.
    """
    try:
        await asyncio.wait([task], timeout=timeout)
        if task.done():
            return task.result()
    except asyncio.CancelledError:
        await stop_task(task, connection)
        raise
    await stop_task(task, connection)
    raise QueryTimeout(f"no end within {timeout:g} s")


async def stop_task(task: asyncio.Future[Any], connection: Session) -> None:
    """Cancel what a task runs on the connection; cut it off if that does not help."""
    cancel = asyncio.ensure_future(connection.cancel_safe(timeout=STOP_TIMEOUT))
    cancel.add_done_callback(_seen)
    await asyncio.wait([task], timeout=STOP_TIMEOUT)
    if not task.done():
        # psycopg sees the end of the socket, and asks for nothing more.
        connection.pgconn.finish()
        task.cancel()
    await asyncio.wait([task, cancel], timeout=STOP_TIMEOUT)
    cancel.cancel()


def _seen(task: asyncio.Future[Any]) -> None:
    """Look at how a task ended, so that nobody is told of what nobody waits for."""
    if not task.cancelled():
        task.exception()
