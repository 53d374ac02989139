"""Many calls of one function, for callers: in lists and as iterators."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any

from plproxy_py._calls import Calls
from plproxy_py._preparing import Callee
from plproxy_py.answers import Results
from plproxy_py.errors import Error


def call_many(calls: Calls, callee: Callee, items: Iterable[Any]) -> Results[Any]:
    raise NotImplementedError


def iter_many(
    calls: Calls, callee: Callee, items: Iterable[Any]
) -> Iterator[Any | Error]:
    raise NotImplementedError


async def call_many_async(
    calls: Calls, callee: Callee, items: Iterable[Any] | AsyncIterable[Any]
) -> Results[Any]:
    raise NotImplementedError


def iter_many_async(
    calls: Calls, callee: Callee, items: Iterable[Any] | AsyncIterable[Any]
) -> AsyncIterator[Any | Error]:
    raise NotImplementedError
