"""The callables of declared functions, and what hangs on them.

A `ProxyCall` is a function with methods, so that it keeps the signature, the name and
the docstring of what it was made of, and is a coroutine function where that was one.
"""

from __future__ import annotations

import functools
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from typing import Any

from plproxy_py import _many
from plproxy_py._catalog import Entry
from plproxy_py._direct import Direct
from plproxy_py._preparing import Callee
from plproxy_py._router_base import RouterBase
from plproxy_py._steps import run, run_async
from plproxy_py.answers import Bound, Results
from plproxy_py.compiler import returning
from plproxy_py.errors import Outcome
from plproxy_py.function import Plan
from plproxy_py.options import Options
from plproxy_py.signature import parse_columns
from plproxy_py.streams import AsyncStream, Stream

METHODS = (
    "plan bind call_many iter_many call_outcomes call_each with_options returning"
).split()


# None means something for most options.
_KEPT: Any = object()


class _Handle:
    """A function of a router, and the options that it is called with."""

    def __init__(
        self,
        router: RouterBase,
        entry: Entry,
        overrides: Mapping[str, Any],
        make: Callable[[RouterBase, Entry, Mapping[str, Any]], Any],
    ) -> None:
        self.router = router
        self.entry = entry
        self.calls = router._calls
        self.callee = Callee(entry.current, overrides)
        self.make = make

    def with_options(
        self,
        *,
        timeout: Any = _KEPT,
        settle: Any = _KEPT,
        need: Any = _KEPT,
        on_error: str | None = None,
    ) -> Any:
        changed: dict[str, Any] = {"timeout": timeout, "settle": settle, "need": need}
        if on_error not in (None, "raise", "partial"):
            raise ValueError("on_error is 'raise' or 'partial'")
        if on_error is not None:
            changed["partial"] = on_error == "partial"
        changed = {name: value for name, value in changed.items() if value is not _KEPT}
        Options(**changed)
        overrides = {**self.callee.overrides, **changed}
        return self.make(self.router, self.entry, overrides)

    def returning(self, columns: str, /) -> Any:
        listed = returning(self.entry.current(), parse_columns(columns))
        entry = Entry(listed, wraps=self.entry.wraps)
        return self.make(self.router, entry, self.callee.overrides)

    def bind(self, *args: Any, **kwargs: Any) -> Bound[Any]:
        function = self.entry.current()
        function.bind(args, kwargs)
        return Bound(function.label, args, kwargs)

    def dress(self, call: Any) -> Any:
        """Give the callable its name and its methods."""
        function = self.entry.function
        if self.entry.wraps is not None:
            functools.update_wrapper(call, self.entry.wraps)
        else:
            call.__name__ = call.__qualname__ = function.signature.name
            call.__doc__ = f"Call {function.signature}."
        call.definition = function
        for name in METHODS:
            setattr(call, name, getattr(self, name))
        return call


class _SyncHandle(_Handle):
    def plan(self, *args: Any, **kwargs: Any) -> Plan:
        return run(self.calls.preparer.plan(self.callee, args, kwargs))

    def call_many(self, calls: Iterable[Any], /) -> Results[Any]:
        return _many.call_many(self.calls, self.callee, calls)

    def iter_many(self, calls: Iterable[Any], /) -> Iterator[Any]:
        return _many.iter_many(self.calls, self.callee, calls)

    def call_outcomes(self, *args: Any, **kwargs: Any) -> dict[int, Outcome[Any]]:
        return run(self.calls.outcomes(self.callee, args, kwargs))

    def call_each(self, calls: Mapping[int, Any], /) -> Any:
        return run(self.calls.each(self.callee, calls))


class _AsyncHandle(_Handle):
    async def plan(self, *args: Any, **kwargs: Any) -> Plan:
        return await run_async(self.calls.preparer.plan(self.callee, args, kwargs))

    async def call_many(
        self, calls: Iterable[Any] | AsyncIterable[Any], /
    ) -> Results[Any]:
        return await _many.call_many_async(self.calls, self.callee, calls)

    def iter_many(
        self, calls: Iterable[Any] | AsyncIterable[Any], /
    ) -> AsyncIterator[Any]:
        return _many.iter_many_async(self.calls, self.callee, calls)

    async def call_outcomes(self, *args: Any, **kwargs: Any) -> dict[int, Outcome[Any]]:
        return await run_async(self.calls.outcomes(self.callee, args, kwargs))

    async def call_each(self, calls: Mapping[int, Any], /) -> Any:
        return await run_async(self.calls.each(self.callee, calls))


def bind_call(
    router: RouterBase, entry: Entry, overrides: Mapping[str, Any] | None = None
) -> Any:
    """Return the callable of a function on a `Router`, a `ProxyCall`."""
    handle = _SyncHandle(router, entry, overrides or {}, bind_call)
    calls, callee = handle.calls, handle.callee

    direct = Direct(calls, callee)

    def call(*args: Any, **kwargs: Any) -> Any:
        return direct.call(args, kwargs)

    def stream(*args: Any, **kwargs: Any) -> Stream[Any]:
        return Stream(run(calls.stream(callee, args, kwargs)), calls)

    return handle.dress(stream if is_stream(entry) else call)


def bind_async_call(
    router: RouterBase, entry: Entry, overrides: Mapping[str, Any] | None = None
) -> Any:
    """Return the callable of a function on an `AsyncRouter`, an `AsyncProxyCall`."""
    handle = _AsyncHandle(router, entry, overrides or {}, bind_async_call)
    calls, callee = handle.calls, handle.callee

    direct = Direct(calls, callee)

    async def call(*args: Any, **kwargs: Any) -> Any:
        return await direct.call_async(args, kwargs)

    def stream(*args: Any, **kwargs: Any) -> AsyncStream[Any]:
        return AsyncStream(calls.stream(callee, args, kwargs), calls)

    return handle.dress(stream if is_stream(entry) else call)


def is_stream(entry: Entry) -> bool:
    """Whether the function hands its rows out one by one."""
    answer = entry.function.answer
    return answer is not None and answer.stream
