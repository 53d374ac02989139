"""Rows as they come: what a function with ``Iterator[X]`` as return hint gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from plproxy_py._calls import Calls
from plproxy_py._steps import Steps, run, run_async
from plproxy_py._streams import Source
from plproxy_py.errors import RouterClosed

T = TypeVar("T")


class _Rows(Generic[T]):
    """What both kinds of streams hold: rows that came, and where more come from."""

    def __init__(self, source: Source | None, calls: Calls) -> None:
        self._source = source
        self._calls = calls
        self._rows: Iterator[T] = iter(())

    def __del__(self) -> None:
        # Left early, by a break: nobody waits for the partitions to stop.
        source = getattr(self, "_source", None)
        if source is not None and not source.is_over:
            try:
                self._calls.exchange.pools.connector.submit(run_async(source.stop()))
            except RouterClosed:
                source.abandon()


class Stream(_Rows[T], Iterator[T]):
    """Rows of one call, from all its partitions, in bounded memory.

    An iterator and a context manager; leaving it early stops all partitions. Raises
    at its end if a partition failed, be it after its rows.
    """

    __module__ = "plproxy_py"

    def __next__(self) -> T:
        for row in self._rows:
            return row
        if self._source is None:
            raise StopIteration
        rows: list[T] = run(self._source.more())
        if not rows:
            self._source = None
            raise StopIteration
        self._rows = iter(rows)
        return next(self._rows)

    def close(self) -> None:
        """Stop all partitions; no row comes any more."""
        self._rows = iter(())
        source, self._source = self._source, None
        if source is not None:
            run(source.stop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncStream(_Rows[T], AsyncIterator[T]):
    """A `Stream` for ``async for`` and ``async with``; nothing is done before."""

    __module__ = "plproxy_py"

    def __init__(self, opening: Steps[Source] | Source, calls: Calls) -> None:
        super().__init__(opening if isinstance(opening, Source) else None, calls)
        self._opening = None if isinstance(opening, Source) else opening

    async def __anext__(self) -> T:
        for row in self._rows:
            return row
        opening, self._opening = self._opening, None
        if opening is not None:
            self._source = await run_async(opening)
        if self._source is None:
            raise StopAsyncIteration
        rows: list[T] = await run_async(self._source.more())
        if not rows:
            self._source = None
            raise StopAsyncIteration
        self._rows = iter(rows)
        return next(self._rows)

    async def aclose(self) -> None:
        """Stop all partitions; no row comes any more."""
        self._rows = iter(())
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.close()
        source, self._source = self._source, None
        if source is not None:
            await run_async(source.stop())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
