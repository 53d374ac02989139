"""`AsyncRouter`: proxy functions for asyncio."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Never, ParamSpec, Self, TypeVar, overload

import psycopg

from plproxy_py._handles import bind_async_call
from plproxy_py._router_base import RouterBase
from plproxy_py._steps import run_async
from plproxy_py._streams import Source
from plproxy_py.clauses import Combine
from plproxy_py.decorators import (
    ClusterText,
    ConnectText,
    RunOnText,
    declaration,
    declare,
)
from plproxy_py.errors import Error
from plproxy_py.proxycall import AsyncDecorate, AsyncProxyCall, AsyncStreamCall
from plproxy_py.result import Row
from plproxy_py.streams import AsyncStream

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class AsyncRouter(RouterBase):
    """Calls functions on the partitions of clusters.

    The same as `Router`, with all that may do I/O awaited. Making one opens no
    connection; `close`, or leaving its ``async with`` block, closes those that calls
    have opened.
    """

    # See proxycall.Decorate.
    @overload
    def proxy(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, Never]], /
    ) -> AsyncProxyCall[P, Any]: ...

    @overload
    def proxy(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, AsyncIterator[T]]], /
    ) -> AsyncStreamCall[P, T]: ...

    @overload
    def proxy(
        self, function: Callable[P, AsyncIterator[T]], /
    ) -> AsyncStreamCall[P, T]: ...

    @overload
    def proxy(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncProxyCall[P, R]: ...

    @overload
    def proxy(
        self,
        signature: str | None = None,
        /,
        *,
        cluster: ClusterText | None = None,
        connect: ConnectText | None = None,
        run_on: RunOnText | None = None,
        split: str | None = None,
        target: str | None = None,
        select: str | None = None,
        name: str | None = None,
        schema: str = "public",
        timeout: float | None = None,
        settle: float | None = 1.0,
        need: int = 1,
        first: bool = False,
        order_by: Sequence[str] = (),
        limit: int | str | None = None,
        offset: int | str = 0,
        combine: Combine | None = None,
        group_by: Sequence[str] = (),
        retry: int | None = None,
        idempotent: bool = False,
        sensitive: Sequence[str] = (),
    ) -> AsyncDecorate: ...

    def proxy(self, signature: Any = None, /, **keywords: Any) -> Any:
        """Declare the decorated function as a proxy function.

        The keywords are PL/Proxy's statements, and take the text that would follow
        the statement; ``cluster`` a name or a call, ``run_on`` also a partition's
        number or a callable that returns a hash. ``signature``: the SQL signature,
        where hints can't say it. ``timeout``: float seconds for a whole call.
        ``settle``: seconds that the others get once a partition failed, None for as
        long as it takes. ``first``: the first partition with a row ends the call.
        ``order_by``, ``limit``, ``offset``, ``combine``, ``group_by``: how partitions'
        rows become one answer. ``need``: how many partitions must answer where some
        may be missing. ``idempotent``: a call may be repeated or broken off without
        harm. ``retry``: how many more attempts may be made on partitions where nothing
        of the call is there: they rolled back with 40001 or 40P01, or could not be
        reached; with ``idempotent`` also where that is unknown. ``sensitive``: names of
        arguments whose values stand in no error and no log. Raise a `DeclarationError`
        that names the function.
        """
        namespace = sys._getframe(1).f_locals
        if callable(signature):
            entry = declare(self._catalog, signature, None, namespace, is_async=True)
            return bind_async_call(self, entry)
        given = declaration(signature, keywords)

        def decorate(python: Callable[..., Any]) -> Any:
            entry = declare(self._catalog, python, given, namespace, is_async=True)
            return bind_async_call(self, entry)

        return decorate

    def define(self, sql: str) -> AsyncProxyCall[..., Any]:
        """Declare the one function of a CREATE FUNCTION text, and return it.

        Raise a `DeclarationError` with the line.
        """
        call: AsyncProxyCall[..., Any] = bind_async_call(self, self._define(sql))
        return call

    def load(self, path: str | os.PathLike[str]) -> list[AsyncProxyCall[..., Any]]:
        """Declare every LANGUAGE plproxy function of a SQL file, and return them.

        Other statements are passed over. Raise `ConfigError` for the file, a
        `DeclarationError` with file and line.
        """
        entries = self._catalog.load(Path(path))
        return [bind_async_call(self, entry) for entry in entries]

    async def reflect(self) -> list[AsyncProxyCall[..., Any]]:
        """Declare every LANGUAGE plproxy function of the home database.

        They are typed as its catalog has them, and follow it when it changes. What
        can't be used here is logged, and passed over. Raise `ConfigError` without a
        home database, or if it can't be asked.
        """
        self._one_loop.check()
        entries = await run_async(self._reflect())
        return [bind_async_call(self, entry) for entry in entries]

    @property
    def functions(self) -> Mapping[str, AsyncProxyCall[..., Any]]:
        """The declared functions, by ``schema.name(argtypes)``."""
        return {
            key: bind_async_call(self, entry)
            for key, entry in list(self._catalog.entries.items())
        }

    async def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function by ``name``, ``schema.name`` or ``name(argtypes)``."""
        self._one_loop.check()
        steps = self._calls.call(self._callee(name), args, kwargs)
        answer = await run_async(self._watched(name, steps))
        if isinstance(answer, Source):
            return AsyncStream(answer, self._calls)
        return answer

    async def execute(
        self,
        cluster: str,
        sql: str,
        *params: Any,
        run_on: str | int = "ALL",
        timeout: float | None = None,
    ) -> dict[int, list[Row]]:
        """Run one statement with ``$1…`` on partitions; return rows by partition.

        ``run_on``: ``"ALL"``, ``"ANY"`` or a partition's number. Each partition
        commits by itself.
        """
        self._one_loop.check()
        steps = self._plain.execute(cluster, sql, params, run_on, timeout)
        return await run_async(self._watched("execute", steps))

    async def ping(
        self, cluster: str, *, timeout: float | None = None
    ) -> dict[int, float | Error]:
        """Ask each partition to answer; return how many seconds it took, or why not."""
        self._one_loop.check()
        return await run_async(self._plain.ping(cluster, timeout))

    @asynccontextmanager
    async def connection(
        self,
        cluster: str,
        *,
        key: object = None,
        partition: int | None = None,
        hash: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Lend the psycopg connection of a partition, as `Router.connection` does."""
        self._one_loop.check()
        borrowed = await run_async(self._borrow(cluster, key, partition, hash, timeout))
        try:
            kind = psycopg.AsyncConnection[Any]
            connection = borrowed.link.hand_out(kind, self.adapters)
            try:
                yield connection
            except BaseException:
                if not connection.closed and not borrowed.link.in_the_middle:
                    # What happened in the block is what its author has to know.
                    with suppress(psycopg.Error):
                        await connection.rollback()
                raise
            if not connection.closed:
                borrowed.check_ended()
                await connection.commit()
        finally:
            await run_async(borrowed.give_back())

    async def close(self, timeout: float = 10.0) -> None:
        """Refuse new calls, wait ``timeout`` seconds for others, close connections."""
        await run_async(self._pools.close(timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
