"""Futures that an interrupted thread can't leave locked.

A `concurrent.futures.Future` takes its lock in a function of Python: Ctrl-C at the
wrong step leaves it taken for good, and the connector's thread waits for it for ever.
Here nothing is locked. Each step that counts is one that an interruption comes before
or after: an assignment, an append, a pop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar

from plproxy_py._waiting import INFINITE, TICK

logger = logging.getLogger("plproxy_py")

T = TypeVar("T")


class Promise(Future[T]):
    """A future of ours. Whoever waits for it does not end what it waits for.

    ``cancel`` does nothing; it is cancelled where its work was.
    """

    def __init__(self) -> None:
        super().__init__()
        self._end: tuple[T | None, BaseException | None] | None = None
        self._told: deque[Callable[[Future[T]], object]] = deque()

    def done(self) -> bool:
        return self._end is not None

    def running(self) -> bool:
        return self._end is None

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return self._end is not None and isinstance(self._end[1], CancelledError)

    def result(self, timeout: float | None = None) -> T:
        result, error = self._ended(timeout)
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        error = self._ended(timeout)[1]
        if isinstance(error, CancelledError):
            raise error
        return error

    def _ended(self, timeout: float | None) -> tuple[T | None, BaseException | None]:
        until = time.monotonic() + (INFINITE if timeout is None else timeout)
        wait_for([self], until, lambda: self._end is not None)
        if self._end is None:
            raise TimeoutError
        return self._end

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        self._told.append(fn)
        if self._end is not None:
            self._tell()

    def set_result(self, result: T) -> None:
        self._end = (result, None)
        self._tell()

    def set_exception(self, exception: BaseException | None) -> None:
        self._end = (None, exception)
        self._tell()

    def _tell(self) -> None:
        # By two threads at once, maybe: each callback is popped by one of them.
        while self._told:
            try:
                callback = self._told.popleft()
            except IndexError:
                return
            try:
                callback(self)
            except OSError:
                pass  # the bell of a waiter that was interrupted
            except Exception:
                logger.exception("a callback of a future failed")


def wait_for(
    awaited: Collection[Future[Any]], until: float, is_over: Callable[[], bool]
) -> None:
    """Block until it is over, asking so when one is done. ``until``: monotonic."""
    bell = threading.Lock()
    bell.acquire()

    def ring(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # it rings already
            bell.release()

    for future in awaited:
        future.add_done_callback(ring)
    while not is_over() and (left := until - time.monotonic()) > 0:
        # A signal that arrives just before the wait would be seen at its end.
        bell.acquire(timeout=min(left, TICK))


def spawn(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Promise[T]:
    """Run a coroutine on an event loop of another thread."""
    promise: Promise[T] = Promise()

    def begin() -> None:
        task = loop.create_task(work)
        _running.add(task)  # the loop itself would let it be collected
        task.add_done_callback(ended)

    def ended(task: asyncio.Task[T]) -> None:
        _running.discard(task)
        if task.cancelled():
            promise.set_exception(CancelledError())
        elif (error := task.exception()) is not None:
            promise.set_exception(error)
        else:
            promise.set_result(task.result())

    loop.call_soon_threadsafe(begin)
    return promise


_running: set[asyncio.Task[Any]] = set()
