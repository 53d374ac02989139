"""AsyncRouter and event loops: one each, and whichever kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop

from plproxy_py import AsyncRouter, ConfigError, QueryTimeout

Use = Callable[[AsyncRouter], Awaitable[Any]]


async def connected(router: AsyncRouter) -> None:
    async with router.connection("userdb", partition=0):
        pass


async def streamed(router: AsyncRouter) -> None:
    @router.proxy(cluster="userdb", run_on=0, select="SELECT 1")
    def numbers() -> AsyncIterator[int]: ...

    async for _ in numbers():
        pass


async def many(router: AsyncRouter) -> None:
    await declared(router).call_many([(1,)])


def declared(router: AsyncRouter) -> Any:
    @router.proxy(cluster="userdb", run_on="n", select="SELECT n::int8")
    async def same(n: int) -> int: ...

    return same


@pytest.mark.parametrize(
    "use",
    [
        lambda router: router.execute("userdb", "SELECT 1"),
        lambda router: router.ping("userdb"),
        lambda router: router.reflect(),
        lambda router: declared(router)(1),
        lambda router: declared(router).plan(1),
        lambda router: declared(router).call_outcomes(1),
        lambda router: declared(router).call_each({0: (1,)}),
        lambda router: router.call("same", 1),
        connected,
        streamed,
        many,
    ],
)
def test_a_second_loop_is_one_clear_error(databases4: list[str], use: Use) -> None:
    router = AsyncRouter({"userdb": databases4})
    asyncio.run(first(router))

    async def second() -> None:
        with pytest.raises(ConfigError, match="belongs to another event loop"):
            await use(router)
        await router.close()  # by whoever ends the program

    asyncio.run(second())


async def first(router: AsyncRouter) -> None:
    assert await declared(router)(7) == 7


def test_uvloop(databases4: list[str]) -> None:
    async def main() -> None:
        async with AsyncRouter({"userdb": databases4}) as router:
            same = declared(router)
            for _ in range(3):  # the last ones by the short way
                answers = await asyncio.gather(*[same(n) for n in range(40)])
                assert answers == list(range(40))
            assert list(await same.call_many([(n,) for n in range(500)])) == list(
                range(500)
            )
            with pytest.raises(QueryTimeout):
                await router.execute("userdb", "SELECT pg_sleep(5)", timeout=0.2)
            rows = await router.execute("userdb", "SELECT 1", timeout=5)
            assert len(rows) == 4

    uvloop.run(main())
