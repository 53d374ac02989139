"""What a declared function is to its caller: the types of callables."""

from __future__ import annotations

from typing import Any, ParamSpec, Protocol, TypeVar

from plproxy_py.function import Plan, ProxyFunction

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class ProxyCall(Protocol[P, R_co]):
    """A proxy function of a `Router`, to be called like the function it was made of."""

    __name__: str
    definition: ProxyFunction

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """Return what a call with these arguments would do; send nothing."""

    def with_options(self, *, timeout: float | None = None) -> ProxyCall[P, R_co]:
        """Return the same function with another ``timeout``, in seconds."""

    def returning(self, columns: str, /) -> ProxyCall[P, Any]:
        """Return the same function with the columns of its records listed.

        ``columns``: ``"id integer, username text"``. Raise `SignatureError` if it is
        no such list, or the function does not return ``[SETOF] record``.
        """


class AsyncProxyCall(Protocol[P, R_co]):
    """A proxy function of an `AsyncRouter`: awaited, and otherwise a `ProxyCall`."""

    __name__: str
    definition: ProxyFunction

    # Not a def that returns Coroutine[Any, Any, R_co]: mypy would take these Anys for
    # the user's, and asyncio.gather() of two calls for Any.
    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    async def plan(self, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """Return what a call with these arguments would do; send nothing."""

    def with_options(self, *, timeout: float | None = None) -> AsyncProxyCall[P, R_co]:
        """Return the same function with another ``timeout``, in seconds."""

    def returning(self, columns: str, /) -> AsyncProxyCall[P, Any]:
        """Return the same function with the columns of its records listed.

        ``columns``: ``"id integer, username text"``. Raise `SignatureError` if it is
        no such list, or the function does not return ``[SETOF] record``.
        """
