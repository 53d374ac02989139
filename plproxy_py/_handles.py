"""The callables of declared functions, and what hangs on them.

A `ProxyCall` is a function with methods, so that it keeps the signature, the name and
the docstring of what it was made of, and is a coroutine function where that was one.

Many calls are imported when they are made first, and a home's clusters when there is
one: together they are a tenth of what the package takes to be imported.
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
from typing import Any, TypeVar

from plproxy_py._catalog import Entry
from plproxy_py._direct import Direct
from plproxy_py._observed import Observed
from plproxy_py._preparing import Callee
from plproxy_py._router_base import RouterBase
from plproxy_py._steps import Steps, run, run_async
from plproxy_py.answers import Bound, Results
from plproxy_py.compiler import returning
from plproxy_py.errors import Outcome
from plproxy_py.function import Plan
from plproxy_py.options import Options, names_of
from plproxy_py.signature import parse_columns
from plproxy_py.streams import AsyncStream, Stream

T = TypeVar("T")

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
        # Sets what the callable calls.
        self.look_on: Callable[[Observed], None] | None = None
        if entry.function.options.sensitive or overrides.get("sensitive"):
            router._notices.labels.add(entry.function.label)

    def with_options(
        self,
        *,
        timeout: Any = _KEPT,
        settle: Any = _KEPT,
        need: Any = _KEPT,
        on_error: str | None = None,
        retry: Any = _KEPT,
        idempotent: Any = _KEPT,
        sensitive: Any = _KEPT,
    ) -> Any:
        changed: dict[str, Any] = {
            "timeout": timeout,
            "settle": settle,
            "need": need,
            "retry": retry,
            "idempotent": idempotent,
            "sensitive": sensitive if sensitive is _KEPT else names_of(sensitive),
        }
        if on_error not in (None, "raise", "partial"):
            raise ValueError("on_error is 'raise' or 'partial'")
        if on_error is not None:
            changed["partial"] = on_error == "partial"
        changed = {name: value for name, value in changed.items() if value is not _KEPT}
        self.entry.current().check_options(Options(**changed))
        overrides = {**self.callee.overrides, **changed}
        return self.make(self.router, self.entry, overrides)

    def returning(self, columns: str, /) -> Any:
        listed = returning(self.entry.current(), parse_columns(columns))
        entry = Entry(listed, wraps=self.entry.wraps)
        return self.make(self.router, entry, self.callee.overrides)

    def watched(self, steps: Steps[T]) -> Steps[T]:
        """Take a call's steps; tell of it if somebody looks on."""
        return self.calls.observers.watched(self.entry.function.label, steps)

    def for_many(self) -> Callee:
        """Return what many calls call. Raise TypeError for options that don't fit."""
        function = self.entry.current()
        if self.callee.options(function).retry:
            raise TypeError(
                f"{function.label}: retry= does not go with many calls: take "
                "with_options(retry=0), and repeat those that failed"
            )
        return self.callee

    def bind(self, *args: Any, **kwargs: Any) -> Bound[Any]:
        function = self.entry.current()
        function.bind(args, kwargs)
        return Bound(function.label, args, kwargs)

    def observe(self) -> None:
        """Let single calls be made where somebody looks on; streams are anyhow."""
        if self.look_on is not None:
            self.look_on(Observed(self.calls, self.callee))

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
        self.calls.observers.bind(self)
        return call


class _SyncHandle(_Handle):
    def plan(self, *args: Any, **kwargs: Any) -> Plan:
        return run(self.calls.preparer.plan(self.callee, args, kwargs))

    def call_many(self, calls: Iterable[Any], /) -> Results[Any]:
        from plproxy_py import _many

        return _many.call_many(self.calls, self.for_many(), calls)

    def iter_many(self, calls: Iterable[Any], /) -> Iterator[Any]:
        from plproxy_py import _many

        return _many.iter_many(self.calls, self.for_many(), calls)

    def call_outcomes(self, *args: Any, **kwargs: Any) -> dict[int, Outcome[Any]]:
        return run(self.watched(self.calls.outcomes(self.callee, args, kwargs)))

    def call_each(self, calls: Mapping[int, Any], /) -> Any:
        return run(self.watched(self.calls.each(self.callee, calls)))


class _AsyncHandle(_Handle):
    async def plan(self, *args: Any, **kwargs: Any) -> Plan:
        self.router._one_loop.check()
        return await run_async(self.calls.preparer.plan(self.callee, args, kwargs))

    async def call_many(
        self, calls: Iterable[Any] | AsyncIterable[Any], /
    ) -> Results[Any]:
        self.router._one_loop.check()
        from plproxy_py import _many

        return await _many.call_many_async(self.calls, self.for_many(), calls)

    def iter_many(
        self, calls: Iterable[Any] | AsyncIterable[Any], /
    ) -> AsyncIterator[Any]:
        self.router._one_loop.check()
        from plproxy_py import _many

        return _many.iter_many_async(self.calls, self.for_many(), calls)

    async def call_outcomes(self, *args: Any, **kwargs: Any) -> dict[int, Outcome[Any]]:
        self.router._one_loop.check()
        steps = self.calls.outcomes(self.callee, args, kwargs)
        return await run_async(self.watched(steps))

    async def call_each(self, calls: Mapping[int, Any], /) -> Any:
        self.router._one_loop.check()
        return await run_async(self.watched(self.calls.each(self.callee, calls)))


def bind_call(
    router: RouterBase, entry: Entry, overrides: Mapping[str, Any] | None = None
) -> Any:
    """Return the callable of a function on a `Router`, a `ProxyCall`."""
    handle = _SyncHandle(router, entry, overrides or {}, bind_call)
    calls, callee = handle.calls, handle.callee
    if is_stream(entry):

        def stream(*args: Any, **kwargs: Any) -> Stream[Any]:
            return Stream(run(calls.stream(callee, args, kwargs)), calls)

        return handle.dress(stream)
    go = Direct(calls, callee).call

    def call(*args: Any, **kwargs: Any) -> Any:
        return go(args, kwargs)

    def look_on(watched: Observed) -> None:
        nonlocal go
        go = watched.call

    handle.look_on = look_on
    return handle.dress(call)


def bind_async_call(
    router: RouterBase, entry: Entry, overrides: Mapping[str, Any] | None = None
) -> Any:
    """Return the callable of a function on an `AsyncRouter`, an `AsyncProxyCall`."""
    handle = _AsyncHandle(router, entry, overrides or {}, bind_async_call)
    calls, callee, check = handle.calls, handle.callee, router._one_loop.check
    if is_stream(entry):

        def stream(*args: Any, **kwargs: Any) -> AsyncStream[Any]:
            check()
            return AsyncStream(calls.stream(callee, args, kwargs), calls)

        return handle.dress(stream)
    go = Direct(calls, callee).call_async

    async def call(*args: Any, **kwargs: Any) -> Any:
        check()
        return await go(args, kwargs)

    def look_on(watched: Observed) -> None:
        nonlocal go
        go = watched.call_async

    handle.look_on = look_on
    return handle.dress(call)


def is_stream(entry: Entry) -> bool:
    """Whether the function hands its rows out one by one."""
    answer = entry.function.answer
    return answer is not None and answer.stream
