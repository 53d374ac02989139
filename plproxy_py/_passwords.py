"""Passwords that a callable of the application gives, one for each new connection.

A password stands in no text, no log, no repr, and in no frame that an error carries.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from plproxy_py._dialling import apart
from plproxy_py.config import Partition
from plproxy_py.errors import ConnectError

Password = Callable[[Partition], Any]
"""Gives a new connection's password, on AsyncRouter also as an awaitable."""

# Seconds that a callable may take: nobody's deadline reaches into it.
PATIENCE = 30.0


class Passwords:
    """Asks the callable, on a thread of its own: a slow one holds up nobody else.

    What it awaits runs on the application's event loop, where its clients live.
    """

    def __init__(self, ask: Password) -> None:
        self._ask = ask
        self._loop: asyncio.AbstractEventLoop | None = None

    def note_loop(self, ours: asyncio.AbstractEventLoop | None) -> None:
        """Remember the event loop of the caller, if there is one and it is not ours."""
        with suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            if loop is not ours:
                self._loop = loop

    async def of(self, partition: Partition) -> str:
        """Return the password for a connection to a partition.

        Raise `ConnectError`, which does not quote what the callable raised: a secret
        may stand in it.
        """
        place = f"[{partition.target.label}] partition {partition.number}"
        reason = None
        try:
            async with asyncio.timeout(PATIENCE):
                password = await self._given(partition)
        except TimeoutError:
            reason = f"gave none within {PATIENCE:g} s"
        except Exception as error:
            reason = f"raised {type(error).__name__}"
        else:
            if isinstance(password, str) and "\0" not in password:
                return password
            reason = _what_is_wrong(password)
        raise ConnectError(f"{place}: the password callable {reason}")

    async def _given(self, partition: Partition) -> object:
        def ask() -> object:
            try:
                return self._ask(partition)
            except StopIteration:
                # No future takes it.
                raise RuntimeError from None

        given = await apart(ask, "password")
        if not inspect.isawaitable(given):
            return given
        loop = self._loop
        if loop is None or loop.is_closed():
            if inspect.iscoroutine(given):
                given.close()
            return given
        if loop is asyncio.get_running_loop():
            return await given
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(_awaited(given), loop)
        )


def _what_is_wrong(given: object) -> str:
    if isinstance(given, str):
        return "returned a text with a NUL character, where libpq would stop"
    if inspect.isawaitable(given):
        return "returned an awaitable, which only an AsyncRouter can wait for"
    return f"returned {type(given).__name__}, not a text"


async def _awaited(given: Awaitable[object]) -> object:
    return await given
