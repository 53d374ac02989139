"""A call as a generator of waits, and the two ways to drive it.

The generator yields what it must wait for, a `Wait`, and goes on when the wait is
over: `Router` blocks in it, `AsyncRouter` awaits it, and nothing else differs between
them. A wait that is broken off (Ctrl-C, a cancelled task) is thrown into the generator,
which cancels what it started on the partitions before it lets the exception out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Generator
from concurrent import futures
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from plproxy_py._forks import renew_in_children
from plproxy_py._promises import wait_for
from plproxy_py._record import record
from plproxy_py._waiting import (
    INFINITE,
    Stepper,
    wait_many,
    wait_many_async,
)
from plproxy_py.errors import ConfigError

T = TypeVar("T")


class OneLoop:
    """The event loop that an AsyncRouter belongs to: that of its first call."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        renew_in_children(self)

    def check(self) -> None:
        """Raise `ConfigError` in another loop than the first."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # whatever was made here is awaited in one
        if self._loop is not loop:
            if self._loop is not None:
                raise ConfigError(
                    "this AsyncRouter belongs to another event loop, in which it was "
                    "called first: make a router for each loop"
                )
            self._loop = loop

    def after_fork(self) -> None:
        """Begin anew in a forked child."""
        self._loop = None


class Wait(Protocol):
    """Something to wait for, in two ways."""

    def block(self) -> None: ...

    async def suspend(self) -> None: ...


Steps = Generator[Wait, None, T]


@record
class Talk:
    """Wait for conversations as long as their stepper allows, or for an arrival."""

    stepper: Stepper[Any]
    arrivals: Collection[futures.Future[Any]] = ()

    def block(self) -> None:
        wait_many(self.stepper, self.arrivals)

    async def suspend(self) -> None:
        await wait_many_async(self.stepper, self.arrivals)


@record
class Arrival:
    """Wait until all futures are done, or one failed, or ``until`` has come."""

    awaited: Collection[futures.Future[Any]]
    until: float

    def is_over(self, now: float) -> bool:
        """Whether there is nothing to wait for any longer."""
        done = [future.done() for future in self.awaited]
        return now >= self.until or all(done) or any(map(_failed, self.awaited))

    def block(self) -> None:
        wait_for(self.awaited, self.until, lambda: self.is_over(time.monotonic()))

    async def suspend(self) -> None:
        # The futures belong to the connector: giving up here does not end them.
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def look() -> None:
            if not over.done() and self.is_over(time.monotonic()):
                over.set_result(None)

        def ring(_: futures.Future[Any]) -> None:
            if _is_running(loop):
                look()
                return
            # The loop may be closed by then: nobody waits in it any longer.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(look)

        def end() -> None:
            # Without a look at the clock: uvloop's timers come a millisecond early.
            if not over.done():
                over.set_result(None)

        now = time.monotonic()
        if self.is_over(now):
            await asyncio.sleep(0)
            return
        timer = None
        if self.until != INFINITE:
            timer = loop.call_later(self.until - now, end)
        try:
            for future in self.awaited:
                future.add_done_callback(ring)
            await over
        finally:
            if timer is not None:
                timer.cancel()


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this thread is the loop's, at work."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _failed(future: futures.Future[Any]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)


def raising(error: Exception) -> Steps[Any]:
    """Take no step, and fail."""
    yield from ()
    raise error


def run(steps: Steps[T], interruption: BaseException | None = None) -> T:
    """Drive a call on this thread. ``interruption``: breaks off its first wait."""
    try:
        wait = next(steps)
        while True:
            try:
                if interruption is not None:
                    error, interruption = interruption, None
                    raise error
                wait.block()
            except BaseException as error:
                wait = steps.throw(error)
            else:
                wait = next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        steps.close()


async def run_async(steps: Steps[T], interruption: BaseException | None = None) -> T:
    """Drive a call on this event loop, as `run` does on a thread."""
    try:
        wait = next(steps)
        while True:
            try:
                if interruption is not None:
                    error, interruption = interruption, None
                    raise error
                await wait.suspend()
            except BaseException as error:
                wait = steps.throw(error)
            else:
                wait = next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        steps.close()
