"""Sockets of an event loop, in the shape of pipes: who is called, and who never is."""

from __future__ import annotations

import asyncio
import gc
import os
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from plproxy_py._alerts import alerts
from plproxy_py._promises import Promise
from plproxy_py._steps import Arrival

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    loop = request.param()
    yield loop
    loop.close()


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, int]]]:
    pipes = [os.pipe() for _ in range(3)]
    yield pipes
    for ends in pipes:
        for fileno in ends:
            os.close(fileno)


async def turns() -> None:
    """Let the loop look at its sockets some times."""
    for _ in range(5):
        await asyncio.sleep(0.001)


def test_each_rings_once(
    loop: asyncio.AbstractEventLoop, pipes: list[tuple[int, int]]
) -> None:
    rung: list[int] = []

    async def main() -> None:
        bells = alerts()
        assert alerts() is bells
        calls = [lambda n=n: rung.append(n) for n in range(3)]
        for (reading, _), call in zip(pipes, calls, strict=True):
            bells.arm(reading, call)
        await turns()
        assert rung == []
        for _, writing in pipes:
            os.write(writing, b"x")
        await turns()
        assert sorted(rung) == [0, 1, 2]
        # They are readable still, and nobody waits for them.
        bells.arm(pipes[1][0], calls[1])
        await turns()
        assert rung[3:] == [1]
        bells.arm(pipes[2][0], calls[2])
        bells.disarm(pipes[2][0], calls[2])
        await turns()
        assert rung[4:] == []

    loop.run_until_complete(main())


def test_nobody_disarms_another(
    loop: asyncio.AbstractEventLoop, pipes: list[tuple[int, int]]
) -> None:
    """A number that was closed meanwhile is another's, who waits for it."""
    rung: list[str] = []

    async def main() -> None:
        reading, writing = pipes[0]
        bells = alerts()

        def one() -> None:
            rung.append("one")

        def other() -> None:
            rung.append("other")

        bells.arm(reading, one)
        bells.arm(reading, other)
        bells.disarm(reading, one)
        os.write(writing, b"x")
        await turns()
        assert rung == ["other"]

    loop.run_until_complete(main())


def test_an_interruption_loses_no_ring(pipes: list[tuple[int, int]]) -> None:
    """Ctrl-C in one of them; the loop goes on later."""
    loop = asyncio.new_event_loop()
    rung: list[int] = []
    interrupts = [KeyboardInterrupt()]

    def call(number: int) -> Callable[[], None]:
        def ring() -> None:
            if interrupts:
                raise interrupts.pop()
            rung.append(number)

        return ring

    async def main() -> None:
        for number, (reading, writing) in enumerate(pipes):
            alerts().arm(reading, call(number))
            os.write(writing, b"x")
        await asyncio.sleep(30)

    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    loop.run_until_complete(turns())
    assert sorted(rung) == [0, 1, 2]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_loop_that_was_left_is_forgotten(pipes: list[tuple[int, int]]) -> None:
    """With all that waited in it."""

    class Held:
        pass

    def leave() -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        loop, held = asyncio.new_event_loop(), Held()

        async def main() -> None:
            over = loop.create_future()
            alerts().arm(pipes[0][0], lambda: print(held, over))

        loop.run_until_complete(main())
        loop.close()
        return weakref.ref(loop), weakref.ref(held)

    refs = leave()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_a_wait_ends_with_its_time(loop: asyncio.AbstractEventLoop) -> None:
    """uvloop's timers come up to a millisecond early, and come once."""

    async def main() -> None:
        for number in range(40):
            wait = Arrival([Promise()], time.monotonic() + 0.002 + number * 0.0001)
            async with asyncio.timeout(20):
                await wait.suspend()

    loop.run_until_complete(main())
