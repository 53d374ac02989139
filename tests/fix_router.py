"""One router for both worlds: each test runs on `Router` and on `AsyncRouter`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from plproxy_py import AsyncRouter, Router, _conversations
from plproxy_py._conversations import Conversations


class Driver:
    """A router of either kind, with blocking calls.

    ``run`` waits for whatever a method of the router gave: on AsyncRouter a coroutine,
    on Router the answer itself.
    """

    def __init__(self, router: Router | AsyncRouter, runner: asyncio.Runner) -> None:
        self.router = router
        self.is_async = isinstance(router, AsyncRouter)
        self._runner = runner

    def run(self, given: Any) -> Any:
        return self._runner.run(given) if asyncio.iscoroutine(given) else given

    def define(self, sql: str) -> Callable[..., Any]:
        function = self.router.define(sql)
        return lambda *args, **kwargs: self.run(function(*args, **kwargs))

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self.router.execute(*args, **kwargs))

    def together(self, *calls: Callable[[], Any]) -> list[Any]:
        """Run calls of the router at the same time; return answers and exceptions."""
        if self.is_async:

            async def gather() -> list[Any]:
                return await asyncio.gather(
                    *(call() for call in calls), return_exceptions=True
                )

            return self._runner.run(gather())
        with ThreadPoolExecutor(len(calls)) as threads:
            futures = [threads.submit(call) for call in calls]
            return [future.exception() or future.result() for future in futures]

    def close(self) -> None:
        self.run(self.router.close())


@pytest.fixture(autouse=True)
def _long_grace(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give what is cancelled a second to say how it ended, in place of 60 ms.

    A busy machine may need it. How soon a call comes back is for tests/fault.
    """
    if {"integration", "parity"} & set(request.path.parts):
        monkeypatch.setattr(_conversations, "GRACE", 1.0)
        monkeypatch.setattr(Conversations.stop, "__defaults__", (1.0,))


@pytest.fixture(params=["sync", "async"])
def make_router(request: pytest.FixtureRequest) -> Iterator[Callable[..., Driver]]:
    """Return what makes a router of the kind under test; all are closed at the end."""
    kind = Router if request.param == "sync" else AsyncRouter
    drivers: list[Driver] = []
    with asyncio.Runner() as runner:

        def make(*args: Any, database: str | None = None, **options: Any) -> Driver:
            router = (
                kind(*args, **options)
                if database is None
                else kind.from_database(database, **options)
            )
            drivers.append(Driver(router, runner))
            return drivers[-1]

        yield make
        for driver in drivers:
            driver.close()


@pytest.fixture
def userdb(make_router: Callable[..., Driver], databases4: list[str]) -> Driver:
    """A router whose cluster userdb has the four databases as partitions."""
    return make_router({"userdb": databases4})
