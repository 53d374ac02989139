"""A network that breaks on request: a TCP proxy before one server.

It runs on an event loop in a thread of its own, and never looks at what it forwards but
for the first packet, which tells a cancel request from a session. Faults are switched
at any moment, for connections that are there, that will come, and for cancel requests.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pytest

from tests.both import wait_until
from tests.fix_router import Driver
from tests.fix_servers import Servers

T = TypeVar("T")

_CANCEL_REQUEST = struct.pack("!i", 80877102)
_SIZE = 65536

Kind = Literal["refuse", "drop", "stall", "cut", "reset", "swallow", "drip"]
Scope = Literal["old", "new", "cancels"]
EVERYTHING: tuple[Scope, ...] = ("old", "new", "cancels")


@dataclass(frozen=True)
class Fault:
    """What happens to a connection, and when.

    ``kind``:

    - refuse: nobody listens (new connections only);
    - drop: the first packet of a connect is lost (new connections only);
    - stall: nothing is forwarded, either way, and nothing lost;
    - cut: the end of the connection (FIN) for both sides;
    - reset: the same with RST;
    - swallow: half-open: all that comes is lost, the other side's end too;
    - drip: the server's answer comes one byte at a ``tick`` (seconds).

    ``at``: "once", on the next "request" before it is forwarded, or after so many bytes
    (``after``) of the server's "answer".
    """

    kind: Kind
    at: Literal["once", "request", "answer"] = "once"
    after: int = 0
    tick: float = 0.002


class FaultProxy:
    """A TCP proxy on 127.0.0.1 before a server; a context manager.

    ``upstream``: the path of a Unix socket, or host and port. ``accepted`` and
    ``cancels`` count connections and cancel requests ever taken.
    """

    def __init__(self, upstream: str | tuple[str, int]) -> None:
        self.upstream = upstream
        self.accepted = self.cancels = 0
        self.faults: dict[Scope, Fault | None] = {}
        self.lines: set[_Line] = set()
        self._fillers: list[socket.socket] = []
        # Bound all the time, so that nobody gets the port while nobody listens.
        self._place = _bound(0)
        self.port: int = self._place.getsockname()[1]
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._listen())

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.close()

    @property
    def open(self) -> int:
        """How many clients' connections are open."""
        return self._run(self._count())

    def fault(self, fault: Fault, *scopes: Scope) -> None:
        """Let a fault begin, for everything unless scopes are named."""
        self._run(self._fault(fault, scopes or EVERYTHING))

    def heal(self) -> None:
        """End all faults. What was stalled goes on; what was half-open is reset."""
        self._run(self._heal())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _count(self) -> int:
        return sum(line.is_open for line in self.lines)

    async def _fault(self, fault: Fault, scopes: tuple[Scope, ...]) -> None:
        if fault.kind in ("refuse", "drop"):
            await self._unlisten()
            if fault.kind == "drop":
                self._fill()
            return
        for scope in scopes:
            if scope != "old":
                self.faults[scope] = fault
        if "old" in scopes:
            for line in list(self.lines):
                line.begin(fault)
        await self._ended()

    async def _ended(self) -> None:
        """Wait for connections that were reset just now."""
        tasks = [line.task for line in self.lines if line.task.cancelling()]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _heal(self) -> None:
        self.faults = {}
        for line in list(self.lines):
            line.heal()
        await self._ended()
        if self._accepting is None:
            await self._unlisten()
            await self._listen()

    async def _listen(self) -> None:
        self._listener = _bound(self.port)
        self._listener.listen(100)
        self._accepting = asyncio.create_task(self._accept(self._listener))

    async def _unlisten(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            self._accepting = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for filler in self._fillers:
            filler.close()
        self._fillers = []

    def _fill(self) -> None:
        """Listen with a queue that is full: the kernel drops whoever else comes."""
        self._listener = _bound(self.port)
        self._listener.listen(0)
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))
            self._fillers.append(filler)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listener)
            client.setblocking(False)
            self.accepted += 1
            line = _Line(self, client)
            self.lines.add(line)

    async def _close(self) -> None:
        await self._unlisten()
        tasks = [line.task for line in self.lines]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Line:
    """A client's connection, and the one behind it."""

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self.is_open = True
        self._proxy = proxy
        self._client = client
        self._server: socket.socket | None = None
        self._fault: Fault | None = None
        self._struck = False
        self._passed = 0  # bytes of answers since the fault began
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.task = self._loop.create_task(self._live())

    def begin(self, fault: Fault | None) -> None:
        self._fault, self._passed = fault, 0
        self._struck = fault is not None and fault.at == "once"
        self._changed.set()
        self._changed = asyncio.Event()
        if self._struck:
            self._end()

    def heal(self) -> None:
        if self._fault is not None and self._fault.kind == "swallow":
            self.begin(Fault("reset"))
        else:
            self.begin(None)

    async def _live(self) -> None:
        try:
            first = await self._receive(self._client)
            is_cancel = first[4:8] == _CANCEL_REQUEST
            self._proxy.cancels += is_cancel
            fault = self._proxy.faults.get("cancels" if is_cancel else "new")
            if fault is not None:
                self.begin(fault)
            await self._hold()
            if not first or self._kind() == "swallow":
                await self._drain()
                return
            upstream = self._proxy.upstream
            is_unix = isinstance(upstream, str)
            self._server = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
            self._server.setblocking(False)
            try:
                await self._loop.sock_connect(self._server, upstream)
            except OSError:
                return  # the server is down: so is this connection
            await self._pass(self._server, first, is_answer=False)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(self._client, self._server))
                group.create_task(self._pump(self._server, self._client))
        finally:
            self.is_open = False
            self._proxy.lines.discard(self)
            self._client.close()
            if self._server is not None:
                self._server.close()

    async def _receive(self, source: socket.socket) -> bytes:
        try:
            return await self._loop.sock_recv(source, _SIZE)
        except ConnectionError:
            return b""

    async def _drain(self) -> None:
        while await self._receive(self._client):
            pass

    async def _hold(self) -> None:
        """Wait while nothing may move."""
        while self._kind() == "stall":
            await self._changed.wait()

    async def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        is_answer = source is self._server
        while data := await self._receive(source):
            await self._pass(sink, data, is_answer)
        if not is_answer:
            self.is_open = False
        await self._hold()
        if self._kind() != "swallow":
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    async def _pass(self, sink: socket.socket, data: bytes, is_answer: bool) -> None:
        while data:
            room = self._room(len(data), is_answer)
            kind = self._kind()
            if not room and kind == "stall":
                await self._changed.wait()
                continue
            if not room and kind == "swallow":
                return
            if not room and kind == "drip":
                assert self._fault is not None
                await asyncio.sleep(self._fault.tick)
                room = 1
            elif not room:
                self._end()
                return
            try:
                await self._loop.sock_sendall(sink, data[:room])
            except OSError:
                return
            self._passed += room * is_answer
            data = data[room:]

    def _room(self, size: int, is_answer: bool) -> int:
        """Return how many bytes may pass before the fault strikes."""
        fault = self._fault
        if fault is None:
            return size
        if not self._struck:
            if fault.at == "request":
                self._struck = not is_answer
            elif is_answer:
                room = min(size, fault.after - self._passed)
                self._struck = room <= 0
                return max(room, 0)
        if fault.kind == "drip" and not is_answer:
            return size
        return 0 if self._struck else size

    def _kind(self) -> Kind | None:
        return self._fault.kind if self._fault is not None and self._struck else None

    def _end(self) -> None:
        """End the connection if it is that kind of a fault."""
        if self._kind() == "reset":
            linger = struct.pack("ii", 1, 0)
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.task.cancel()
        elif self._kind() == "cut":
            # What the client has to say yet is read: closing over it would be a reset.
            self.begin(Fault("swallow"))
            with suppress(OSError):
                self._client.shutdown(socket.SHUT_WR)
            if self._server is not None:
                with suppress(OSError):
                    self._server.shutdown(socket.SHUT_RDWR)


def _bound(port: int) -> socket.socket:
    place = socket.socket()
    place.setblocking(False)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", port))
    return place


@pytest.fixture
def fault_proxy(servers: Servers) -> Iterator[FaultProxy]:
    """A proxy before partition 3's server."""
    with FaultProxy(servers.socket(3)) as proxy:
        yield proxy
        proxy.heal()


@pytest.fixture
def make_proxied(
    fault_proxy: FaultProxy, servers: Servers, make_router: Callable[..., Driver]
) -> Iterator[Callable[..., Driver]]:
    """Return what makes a router whose partition 3 is behind `fault_proxy`.

    In the end they are closed, and no connection may be left.
    """
    drivers: list[Driver] = []

    def make(**options: Any) -> Driver:
        last = servers.unix(3, host="127.0.0.1", port=fault_proxy.port)
        drivers.append(make_router({"userdb": servers.connstrs(last)}, **options))
        return drivers[-1]

    yield make
    fault_proxy.heal()
    for driver in drivers:
        driver.close()
    wait_until(lambda: fault_proxy.open == 0)
