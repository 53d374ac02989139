"""Sockets that an event loop waits for, one answer at a time.

asyncio's own `add_reader` and `remove_reader` took half of a call's time in the client:
each is a system call behind several functions of Python. Here a loop has one reader for
all sockets, an epoll of ours. To wait for a socket is one system call, not to wait for
it any longer is none, and a socket that is closed, by whoever and on whatever thread,
is gone by itself.
"""

from __future__ import annotations

import asyncio
import select
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol


class Alerts(Protocol):
    """Calls back when a socket becomes readable, once each time it was armed.

    A callback must not raise.
    """

    def arm(self, fileno: int, callback: Callable[[], None]) -> None: ...

    def disarm(self, fileno: int, callback: Callable[[], None]) -> None:
        """Forget a callback. By then the number may be another's, with its own."""


def alerts() -> Alerts:
    """Return those of the running event loop."""
    loop = asyncio.get_running_loop()
    known = _alerts.get(loop)
    found = None if known is None else known()
    if found is None:
        found = _new(loop)
        _alerts[loop] = weakref.ref(found)
    return found


class _Readers:
    """The loop's own readers, where there is no epoll."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)

    def arm(self, fileno: int, callback: Callable[[], None]) -> None:
        def ring() -> None:
            self.disarm(fileno, callback)
            callback()

        loop = self._loop()
        assert loop is not None
        loop.add_reader(fileno, ring)

    def disarm(self, fileno: int, callback: Callable[[], None]) -> None:
        loop = self._loop()
        assert loop is not None
        loop.remove_reader(fileno)


if sys.platform == "linux":
    # Once: what a forked child still holds open would otherwise ring for ever.
    _ONCE = select.EPOLLIN | select.EPOLLONESHOT

    class _Epoll:
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._epoll = select.epoll()
            self._armed: dict[int, Callable[[], None]] = {}
            loop.add_reader(self._epoll.fileno(), self._ring)

        def arm(self, fileno: int, callback: Callable[[], None]) -> None:
            self._armed[fileno] = callback
            try:
                self._epoll.modify(fileno, _ONCE)
            except FileNotFoundError:
                self._epoll.register(fileno, _ONCE)

        def disarm(self, fileno: int, callback: Callable[[], None]) -> None:
            if self._armed.get(fileno) is callback:
                del self._armed[fileno]

        def _ring(self) -> None:
            callback: Callable[[], None] | None = None
            fileno = -1
            try:
                for fileno, _ in self._epoll.poll(0):
                    # Not there: nobody waits for it any longer.
                    callback = self._armed.pop(fileno, None)
                    if callback is not None:
                        callback()
                        callback = None
            except BaseException:
                # Interrupted: what has rung does not ring again by itself.
                if callback is not None:
                    self._armed.setdefault(fileno, callback)
                for each in list(self._armed):
                    with suppress(OSError):
                        self._epoll.modify(each, _ONCE)
                raise

    _new: Callable[[asyncio.AbstractEventLoop], Alerts] = _Epoll
else:
    _new = _Readers

# By loop, which keeps them by the reader that it has of them, until it is closed. Here,
# a value that holds its key would keep for ever what waits in a loop that was left.
_alerts: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Alerts]] = (
    weakref.WeakKeyDictionary()
)
