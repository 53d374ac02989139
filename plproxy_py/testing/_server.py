"""The fake partitions' sockets: one listener each, one thread for all of them.

A Unix socket in a directory of its own, or a port of the loopback where there are none.
Started and stopped from outside of its thread, which nothing else runs on.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
import tempfile
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from plproxy_py.testing import _protocol
from plproxy_py.testing._playbook import Playbook
from plproxy_py.testing._scripts import Place
from plproxy_py.testing._session import Session

T = TypeVar("T")

# Of a Unix socket's path some systems take 103 bytes.
MOST_PATH = 100
FIRST_PORT = 5432


class Server:
    """Listens for all places, from `start` to `stop`."""

    def __init__(self, book: Playbook) -> None:
        self._book = book
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="plproxy_py fake", daemon=True
        )
        self._directory = tempfile.TemporaryDirectory(prefix="plproxy_py_")
        name = f"{self._directory.name}/.s.PGSQL.{FIRST_PORT}00"
        is_unix = hasattr(socket, "AF_UNIX") and os.name == "posix"
        self._is_unix = is_unix and len(os.fsencode(name)) <= MOST_PATH
        self._listeners: dict[Place, asyncio.Server] = {}
        self._addresses: dict[Place, tuple[str, int]] = {}
        self._sessions: dict[asyncio.Task[None], Place] = {}
        self._by_key: dict[tuple[int, int], Session] = {}
        self._thread.start()

    def open(self, place: Place) -> tuple[str, int]:
        """Listen; return host and port, which stay the same when it opens again."""
        if place not in self._listeners:
            self._do(self._open(place))
        return self._addresses[place]

    def close(self, place: Place) -> None:
        """Refuse connections, and break off those that there are."""
        self._do(self._close(place))

    def stop(self) -> None:
        """Break off all connections, and end the thread."""
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._directory.cleanup()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _path(self, port: int) -> str:
        return f"{self._directory.name}/.s.PGSQL.{port}"

    async def _open(self, place: Place) -> None:
        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._serve(place, reader, writer))
            self._sessions[task] = place
            task.add_done_callback(self._sessions.pop)

        _, port = self._addresses.get(place, ("", 0))
        if self._is_unix:
            port = port or FIRST_PORT + len(self._addresses)
            listener = await asyncio.start_unix_server(begin, self._path(port))
            self._addresses[place] = self._directory.name, port
        else:
            listener = await asyncio.start_server(begin, "127.0.0.1", port)
            port = listener.sockets[0].getsockname()[1]
            self._addresses[place] = "127.0.0.1", port
        self._listeners[place] = listener

    async def _close(self, place: Place) -> None:
        listener = self._listeners.pop(place, None)
        if listener is not None:
            listener.close()
            if self._is_unix:
                with suppress(FileNotFoundError):
                    os.unlink(self._path(self._addresses[place][1]))
        await self._break_off(
            [task for task, where in self._sessions.items() if where == place]
        )

    async def _stop(self) -> None:
        for place in list(self._listeners):
            await self._close(place)

    async def _break_off(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A transport that was aborted closes its socket in the loop's next round.
        await asyncio.sleep(0)

    async def _serve(
        self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            # Whoever leaves in the middle of something is gone, and that is all.
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._converse(place, reader, writer)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _converse(
        self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            (size,) = struct.unpack("!i", await reader.readexactly(4))
            try:
                data = await reader.readexactly(max(size - 4, 0))
                opening = _protocol.read_opening(data)
            except _protocol.Malformed:
                return
            if not isinstance(opening, _protocol.EncryptionRequest):
                break
            writer.write(_protocol.NO_ENCRYPTION)
        if isinstance(opening, _protocol.CancelRequest):
            if opening.key in self._by_key:
                self._by_key[opening.key].cancel()
            return
        key = secrets.randbelow(2**31), secrets.randbelow(2**31)
        session = Session(place, key, self._book, reader, writer)
        self._by_key[key] = session
        try:
            await session.run(opening)
        finally:
            del self._by_key[key]
