"""What a declared function is to its caller: the types of callables."""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Literal, Never, ParamSpec, Protocol, TypeVar, overload

from plproxy_py.answers import Bound, Partial, Results
from plproxy_py.errors import Error, Outcome
from plproxy_py.function import Plan, ProxyFunction
from plproxy_py.streams import AsyncStream, Stream

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Item = Sequence[Any] | Mapping[str, Any] | Bound[Any]
"""The arguments of one call among several: a tuple, a dict by name, or bound ones."""


class ProxyCall(Protocol[P, R]):
    """A proxy function of a `Router`, to be called like the function it was made of."""

    __name__: str
    definition: ProxyFunction

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """Return what a call with these arguments would do; send nothing."""

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Bound[R]:
        """Return the arguments of one call, for `call_many` and its like."""

    def call_many(self, calls: Iterable[Item], /) -> Results[R]:
        """Make any number of calls, pipelined to all partitions at once.

        Each is a transaction of its own. Results come in the order of ``calls``, an
        `Error` in the place of a call that failed. Raise TypeError, naming its index,
        for an item that is none.
        """

    def iter_many(self, calls: Iterable[Item], /) -> Iterator[R | Error]:
        """Make calls as `call_many` does, reading ahead a bounded number of them."""

    @overload
    def call_outcomes(
        self: ProxyCall[P, list[T]], *args: P.args, **kwargs: P.kwargs
    ) -> dict[int, Outcome[T]]: ...
    @overload
    def call_outcomes(
        self: ProxyCall[P, Partial[T]], *args: P.args, **kwargs: P.kwargs
    ) -> dict[int, Outcome[T]]: ...
    @overload
    def call_outcomes(self, *args: P.args, **kwargs: P.kwargs) -> dict[int, Outcome[R]]:
        """Run a call; return what became of it, by tagged partition.

        Raises for no partition; only for arguments and routes, before anything is
        sent.
        """

    def call_each(self, calls: Mapping[int, Item], /) -> R:
        """Call each of these partitions with its own arguments, whatever RUN ON says.

        The answer is made as that of any call. Raise `RoutingError` for partitions
        that there are not, or several with one target.
        """

    @overload
    def with_options(
        self: ProxyCall[P, list[T]],
        *,
        on_error: Literal["partial"],
        timeout: float | None = ...,
        settle: float | None = ...,
        need: int = ...,
        retry: int | None = ...,
        idempotent: bool = ...,
        sensitive: Sequence[str] = ...,
    ) -> ProxyCall[P, Partial[T]]: ...
    @overload
    def with_options(
        self,
        *,
        timeout: float | None = ...,
        settle: float | None = ...,
        need: int = ...,
        on_error: Literal["raise", "partial"] | None = None,
        retry: int | None = ...,
        idempotent: bool = ...,
        sensitive: Sequence[str] = ...,
    ) -> ProxyCall[P, R]:
        """Return the same function with other options; those left out stay.

        ``timeout``, ``settle`` in seconds, None for as long as it takes;
        ``on_error="partial"``: what there is, with the missing partitions named;
        ``need``: how many must answer then; ``retry``, ``idempotent`` and
        ``sensitive`` as in a declaration. Raise `SignatureError` for a name in
        ``sensitive`` that is no argument's.
        """

    def returning(self, columns: str, /) -> ProxyCall[P, Any]:
        """Return the same function with the columns of its records listed.

        ``columns``: ``"id integer, username text"``. Raise `SignatureError` if it is
        no such list, or the function does not return ``[SETOF] record``.
        """


class AsyncProxyCall(Protocol[P, R]):
    """A proxy function of an `AsyncRouter`: awaited, and otherwise a `ProxyCall`."""

    __name__: str
    definition: ProxyFunction

    # Not a def that returns Coroutine[Any, Any, R]: mypy would take these Anys for
    # the user's, and asyncio.gather() of two calls for Any.
    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    async def plan(self, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """Return what a call with these arguments would do; send nothing."""

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Bound[R]:
        """Return the arguments of one call, for `call_many` and its like."""

    async def call_many(
        self, calls: Iterable[Item] | AsyncIterable[Item], /
    ) -> Results[R]:
        """Make any number of calls, as `ProxyCall.call_many` does."""

    def iter_many(
        self, calls: Iterable[Item] | AsyncIterable[Item], /
    ) -> AsyncIterator[R | Error]:
        """Make calls as `call_many` does, reading ahead a bounded number of them."""

    @overload
    async def call_outcomes(
        self: AsyncProxyCall[P, list[T]], *args: P.args, **kwargs: P.kwargs
    ) -> dict[int, Outcome[T]]: ...
    @overload
    async def call_outcomes(
        self: AsyncProxyCall[P, Partial[T]], *args: P.args, **kwargs: P.kwargs
    ) -> dict[int, Outcome[T]]: ...
    @overload
    async def call_outcomes(
        self, *args: P.args, **kwargs: P.kwargs
    ) -> dict[int, Outcome[R]]:
        """Run a call; return what became of it, as `ProxyCall.call_outcomes` does."""

    async def call_each(self, calls: Mapping[int, Item], /) -> R:
        """Call each partition with its own arguments, as `ProxyCall.call_each` does."""

    @overload
    def with_options(
        self: AsyncProxyCall[P, list[T]],
        *,
        on_error: Literal["partial"],
        timeout: float | None = ...,
        settle: float | None = ...,
        need: int = ...,
        retry: int | None = ...,
        idempotent: bool = ...,
        sensitive: Sequence[str] = ...,
    ) -> AsyncProxyCall[P, Partial[T]]: ...
    @overload
    def with_options(
        self,
        *,
        timeout: float | None = ...,
        settle: float | None = ...,
        need: int = ...,
        on_error: Literal["raise", "partial"] | None = None,
        retry: int | None = ...,
        idempotent: bool = ...,
        sensitive: Sequence[str] = ...,
    ) -> AsyncProxyCall[P, R]:
        """Return the same function with other options, see `ProxyCall.with_options`."""

    def returning(self, columns: str, /) -> AsyncProxyCall[P, Any]:
        """Return the same function with the columns of its records listed.

        ``columns``: ``"id integer, username text"``. Raise `SignatureError` if it is
        no such list, or the function does not return ``[SETOF] record``.
        """


class StreamCall(Protocol[P, T]):
    """A proxy function of a `Router` whose rows are handed out as they come."""

    __name__: str
    definition: ProxyFunction

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Stream[T]: ...

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """Return what a call with these arguments would do; send nothing."""

    def with_options(
        self,
        *,
        timeout: float | None = ...,
        settle: float | None = ...,
        sensitive: Sequence[str] = ...,
    ) -> StreamCall[P, T]:
        """Return the same function with other options; times are in seconds."""


class AsyncStreamCall(Protocol[P, T]):
    """A proxy function of an `AsyncRouter` whose rows are handed out as they come.

    It is called without ``await``, and looped over with ``async for``.
    """

    __name__: str
    definition: ProxyFunction

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncStream[T]: ...

    async def plan(self, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """Return what a call with these arguments would do; send nothing."""

    def with_options(
        self,
        *,
        timeout: float | None = ...,
        settle: float | None = ...,
        sensitive: Sequence[str] = ...,
    ) -> AsyncStreamCall[P, T]:
        """Return the same function with other options; times are in seconds."""


# An iterator is a stream before it is any other answer, so overloads overlap below: a
# checker takes the first that fits, as `declare` does. Of all return hints only Any
# fits Never: it would fit an iterator as well.


class Decorate(Protocol):
    """What ``Router.proxy(…)`` returns."""

    @overload
    def __call__(self, function: Callable[P, Never], /) -> ProxyCall[P, Any]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Iterator[T]], /
    ) -> StreamCall[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> ProxyCall[P, R]: ...


class AsyncDecorate(Protocol):
    """What ``AsyncRouter.proxy(…)`` returns."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, Never]], /
    ) -> AsyncProxyCall[P, Any]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, AsyncIterator[T]]], /
    ) -> AsyncStreamCall[P, T]: ...
    @overload
    def __call__(
        self, function: Callable[P, AsyncIterator[T]], /
    ) -> AsyncStreamCall[P, T]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncProxyCall[P, R]: ...
