"""Many conversations at once: one stepper, two ways of waiting for it.

The stepper advances generators by position, and tells what they gave. The two waiters
only wait for sockets, with one poll for all of them: no thread, no task per
partition.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import psycopg
from psycopg.waiting import Ready, Wait

from plproxy_py._alerts import alerts

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn

T = TypeVar("T")

READ, WRITE = int(Wait.R), int(Wait.W)
_READY = {1: Ready.R, 2: Ready.W, 3: Ready.RW}

INFINITE = float("inf")

# What a conversation yields that wants nothing for now.
PAUSE: Any = 0

# A signal that arrives just before an endless poll would be seen at its end.
TICK = 0.1

# PollSelector was faster than epoll at every number of sockets that was tried.
_Selector: type[selectors.BaseSelector] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)


class Stepper(Generic[T]):
    """Conversations by position. ``until``: monotonic seconds, may change meanwhile.

    ``finished(i, result, error)`` is called as each one ends; what it returns is the
    latest moment at which the rest may still run. A conversation that yields `PAUSE`
    wants nothing until `resume`. ``enough`` tells the waiters to come back at once.
    """

    def __init__(
        self,
        until: float,
        finished: Callable[[int, T | None, Exception | None], float],
    ) -> None:
        self.filenos: dict[int, int] = {}
        self.until = until
        self.enough = False
        self.wanted: dict[int, int] = {}
        self.paused: set[int] = set()
        self._gens: dict[int, Any] = {}
        self._finished = finished

    def start(self, index: int, conversation: PQGen[T], fileno: int) -> None:
        """Begin a conversation: let it send what it has to say."""
        self._gens[index] = conversation
        self.filenos[index] = fileno
        self._advance(index, None)

    def resume(self, index: int) -> None:
        """Go on with a conversation that paused."""
        self.paused.discard(index)
        self._advance(index, None)

    def step(self, index: int, ready: int) -> int:
        """Tell one conversation what came; return what it wants, 0 when it is over."""
        self._advance(index, _READY[ready])
        return self.wanted.get(index, 0)

    def _advance(self, index: int, ready: Ready | None) -> None:
        try:
            wanted = self._gens[index].send(ready)
        except StopIteration as done:
            self._end(index, done.value, None)
        except Exception as error:
            self._end(index, None, error)
        except BaseException:
            # Ctrl-C in the middle of a step: nobody can go on with this one.
            self.wanted.pop(index, None)
            raise
        else:
            if wanted:
                self.wanted[index] = wanted
            else:
                self.wanted.pop(index, None)
                self.paused.add(index)

    def _end(self, index: int, result: T | None, error: Exception | None) -> None:
        self.wanted.pop(index, None)
        self.until = min(self.until, self._finished(index, result, error))


def wait_many(stepper: Stepper[Any], arrivals: Collection[Future[Any]] = ()) -> None:
    """Run all conversations on this thread to their end, or to ``stepper.until``.

    Come back earlier if one of the ``arrivals`` is done, or `Stepper.enough`.
    """
    if not (stepper.wanted or arrivals) or stepper.enough:
        return
    with _Selector() as selector, _bell(arrivals) as bell:
        for index, events in stepper.wanted.items():
            selector.register(stepper.filenos[index], events, index)
        if bell is not None:
            selector.register(bell, READ, _BELL)
        while stepper.wanted or bell is not None:
            left = stepper.until - time.monotonic()
            if left <= 0:
                return
            for key, events in selector.select(min(left, TICK)):
                if key.data == _BELL:
                    return
                wanted = stepper.step(key.data, events)
                if not wanted:
                    selector.unregister(key.fd)
                elif wanted != key.events:
                    selector.modify(key.fd, wanted, key.data)
            if stepper.enough:
                return


async def answered(fileno: int, pgconn: PGconn, deadline: float) -> bool:
    """Wait on this event loop until a result can be taken; return whether it can."""
    over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    bells = alerts()

    def read() -> None:
        if over.done():
            return
        try:
            pgconn.consume_input()
            is_busy = pgconn.is_busy()
        except psycopg.Error as error:  # else it would end in the loop's own log
            over.set_exception(error)
        else:
            if is_busy:
                bells.arm(fileno, read)
            else:
                over.set_result(True)

    timer = late(over, deadline)
    try:
        bells.arm(fileno, read)
        return await over
    finally:
        bells.disarm(fileno, read)
        if timer is not None:
            timer.cancel()


def late(over: asyncio.Future[bool], deadline: float) -> asyncio.TimerHandle | None:
    """Let the future be False at the deadline, monotonic seconds, if there is one."""
    if deadline == INFINITE:
        return None

    def end() -> None:
        if not over.done():
            over.set_result(False)

    return over.get_loop().call_later(deadline - time.monotonic(), end)


_BELL = -1


@contextmanager
def _bell(arrivals: Collection[Future[Any]]) -> Iterator[socket.socket | None]:
    """Give a socket that becomes readable as soon as a future is done."""
    if not arrivals:
        yield None
        return
    listening, ringing = socket.socketpair()
    lock = threading.Lock()
    is_open = True

    def ring(_: Future[Any]) -> None:
        with lock:
            if is_open:
                ringing.send(b".")

    with listening, ringing:
        for future in arrivals:
            future.add_done_callback(ring)
        try:
            yield listening
        finally:
            with lock:
                is_open = False


async def wait_many_async(
    stepper: Stepper[Any], arrivals: Collection[Future[Any]] = ()
) -> None:
    """Run all conversations on this event loop, as `wait_many` does on a thread."""
    if not (stepper.wanted or arrivals) or stepper.enough:
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
                # libpq closes the socket of a broken connection by itself.
                with suppress(OSError):
                    remove(fileno)
        registered[index] = wanted

    def step(index: int, event: int) -> None:
        if over.done() or index not in stepper.wanted:
            return
        until = stepper.until
        try:
            register(index, stepper.step(index, event))
        except Exception as error:  # else it would end in the loop's own log
            over.set_exception(error)
            return
        if stepper.enough or not (stepper.wanted or arrivals):
            come_back()
        elif stepper.until < until:
            tick()

    def tick() -> None:
        nonlocal timer
        if timer is not None:
            timer.cancel()
        left = stepper.until - time.monotonic()
        if left <= 0:
            come_back()
        elif left != INFINITE:
            timer = loop.call_later(left, tick)

    def come_back() -> None:
        if not over.done():
            over.set_result(None)

    def ring(_: Future[Any]) -> None:
        # The loop may be closed by then: nobody waits in it any longer.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(come_back)

    try:
        for index, wanted in list(stepper.wanted.items()):
            register(index, wanted)
        for future in arrivals:
            future.add_done_callback(ring)
        tick()
        await over
    finally:
        if timer is not None:
            timer.cancel()
        # All of them, whatever happened: a number that is closed first may belong to
        # another connection by the time it is removed.
        for index in registered:
            register(index, 0)
