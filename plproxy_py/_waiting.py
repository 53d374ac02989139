"""Many conversations at once: one stepper, two ways of waiting for it.

The stepper advances generators and keeps what they gave, by position. The two waiters
only wait for sockets, with one poll for all of them: no thread, no task per
partition.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from psycopg.waiting import Ready, Wait

if TYPE_CHECKING:
    from psycopg.abc import PQGen

T = TypeVar("T")

READ, WRITE = int(Wait.R), int(Wait.W)
_READY = {1: Ready.R, 2: Ready.W, 3: Ready.RW}

INFINITE = float("inf")

# A signal that arrives just before an endless poll would be seen at its end.
TICK = 0.1

# PollSelector was faster than epoll at every number of sockets that was tried.
_Selector: type[selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)


class Stepper(Generic[T]):
    """Conversations by position. ``until``: monotonic seconds, may shrink meanwhile.

    ``finished(i, result, error)`` is called as each one ends; what it returns is the
    latest moment at which the rest may still run.
    """

    def __init__(
        self,
        conversations: Sequence[PQGen[T]],
        filenos: Sequence[int],
        until: float,
        finished: Callable[[int, T | None, Exception | None], float],
    ) -> None:
        self.filenos = filenos
        self.until = until
        self.wanted: dict[int, int] = {}
        self._gens: list[Any] = list(conversations)
        self._finished = finished

    def start(self) -> None:
        """Let every conversation send what it has to say."""
        for index in range(len(self._gens)):
            self._advance(index, None)

    def step(self, index: int, ready: int) -> int:
        """Tell one conversation what came; return what it wants, 0 when it is over."""
        self._advance(index, _READY[ready])
        return self.wanted.get(index, 0)

    def _advance(self, index: int, ready: Ready | None) -> None:
        try:
            self.wanted[index] = self._gens[index].send(ready)
        except StopIteration as done:
            self._end(index, done.value, None)
        except Exception as error:
            self._end(index, None, error)
        except BaseException:
            # Ctrl-C in the middle of a step: nobody can go on with this one.
            self.wanted.pop(index, None)
            raise

    def _end(self, index: int, result: T | None, error: Exception | None) -> None:
        self.wanted.pop(index, None)
        self.until = min(self.until, self._finished(index, result, error))


def wait_many(stepper: Stepper[Any]) -> None:
    """Run all conversations on this thread to their end, or to ``stepper.until``."""
    if not stepper.wanted:
        return
    with _Selector() as selector:
        for index, events in stepper.wanted.items():
            selector.register(stepper.filenos[index], events, index)
        while stepper.wanted:
            left = stepper.until - time.monotonic()
            if left <= 0:
                return
            for key, events in selector.select(min(left, TICK)):
                wanted = stepper.step(key.data, events)
                if not wanted:
                    selector.unregister(key.fd)
                elif wanted != key.events:
                    selector.modify(key.fd, wanted, key.data)


async def wait_many_async(stepper: Stepper[Any]) -> None:
    """Run all conversations on this event loop to their end, or to the deadline."""
    if not stepper.wanted:
        return
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    registered: dict[int, int] = {}
    timer: asyncio.TimerHandle | None = None

    def register(index: int, wanted: int) -> None:
        fileno, before = stepper.filenos[index], registered.get(index, 0)
        for event, add, remove in (
            (READ, loop.add_reader, loop.remove_reader),
            (WRITE, loop.add_writer, loop.remove_writer),
        ):
            if wanted & event and not before & event:
                add(fileno, step, index, event)
            elif before & event and not wanted & event:
                remove(fileno)
        registered[index] = wanted

    def step(index: int, event: int) -> None:
        if over.done():
            return
        until = stepper.until
        try:
            register(index, stepper.step(index, event))
        except Exception as error:  # else it would end in the loop's own log
            over.set_exception(error)
            return
        if not stepper.wanted:
            over.set_result(None)
        elif stepper.until < until:
            tick()

    def tick() -> None:
        nonlocal timer
        if timer is not None:
            timer.cancel()
        left = stepper.until - time.monotonic()
        if left <= 0 and not over.done():
            over.set_result(None)
        elif left != INFINITE:
            timer = loop.call_later(left, tick)

    try:
        for index, wanted in list(stepper.wanted.items()):
            register(index, wanted)
        tick()
        await over
    finally:
        if timer is not None:
            timer.cancel()
        # All of them, whatever happened: a number that is closed first may belong to
        # another connection by the time it is removed.
        for index in registered:
            register(index, 0)
