"""The callables of declared functions: a `ProxyCall` or `AsyncProxyCall` each."""

from __future__ import annotations

import functools
from typing import Any

from plproxy_py._catalog import Entry
from plproxy_py._router_base import RouterBase
from plproxy_py._steps import run, run_async
from plproxy_py.compiler import returning
from plproxy_py.function import Plan
from plproxy_py.options import Options
from plproxy_py.signature import parse_columns


def bind_call(
    router: RouterBase,
    entry: Entry,
    timeout: float | None = None,
) -> Any:
    """Return the callable of a function on a `Router`, a `ProxyCall`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return run(router._calls.call(entry.current, args, kwargs, timeout))

    def plan(*args: Any, **kwargs: Any) -> Plan:
        return run(router._calls.plan(entry.current, args, kwargs))

    def with_options(*, timeout: float | None = None) -> Any:
        Options(timeout=timeout)
        return bind_call(router, entry, timeout)

    def with_columns(columns: str, /) -> Any:
        listed = returning(entry.current(), parse_columns(columns))
        return bind_call(router, Entry(listed, wraps=entry.wraps), timeout)

    _dress(call, entry)
    call.returning = with_columns  # type: ignore[attr-defined]
    call.plan = plan  # type: ignore[attr-defined]
    call.with_options = with_options  # type: ignore[attr-defined]
    return call


def bind_async_call(
    router: RouterBase,
    entry: Entry,
    timeout: float | None = None,
) -> Any:
    """Return the callable of a function on an `AsyncRouter`, an `AsyncProxyCall`."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        return await run_async(router._calls.call(entry.current, args, kwargs, timeout))

    async def plan(*args: Any, **kwargs: Any) -> Plan:
        return await run_async(router._calls.plan(entry.current, args, kwargs))

    def with_options(*, timeout: float | None = None) -> Any:
        Options(timeout=timeout)
        return bind_async_call(router, entry, timeout)

    def with_columns(columns: str, /) -> Any:
        listed = returning(entry.current(), parse_columns(columns))
        return bind_async_call(router, Entry(listed, wraps=entry.wraps), timeout)

    _dress(call, entry)
    call.returning = with_columns  # type: ignore[attr-defined]
    call.plan = plan  # type: ignore[attr-defined]
    call.with_options = with_options  # type: ignore[attr-defined]
    return call


def _dress(call: Any, entry: Entry) -> None:
    function = entry.function
    if entry.wraps is not None:
        functools.update_wrapper(call, entry.wraps)
    else:
        call.__name__ = call.__qualname__ = function.signature.name
        call.__doc__ = f"Call {function.signature}."
    call.definition = function
