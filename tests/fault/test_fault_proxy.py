"""The fault proxy does what it says: seen from a plain socket, an echo behind it."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.both import wait_until
from tests.fix_network import Fault, FaultProxy

CANCEL = struct.pack("!iiii", 16, 80877102, 7, 7)


class Echo(socketserver.BaseRequestHandler):
    ends = 0

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)
        Echo.ends += 1


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[FaultProxy]:
    path = str(tmp_path / "echo")
    with socketserver.ThreadingUnixStreamServer(path, Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with FaultProxy(path) as proxy:
                yield proxy
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with connected(proxy) as client:
        assert answer(client, b"hello, server") == b"hello, server"
        yield client


def connected(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 0.2)


def answer(client: socket.socket, data: bytes) -> bytes:
    """Send; return as many bytes as come, b"" at the end of the connection."""
    client.sendall(data)
    got = b""
    while len(got) < len(data):
        piece = client.recv(65536)
        if not piece:
            break
        got += piece
    return got


def test_nobody_listens(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.fault(Fault("refuse"))
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    assert answer(client, b"still here") == b"still here"
    proxy.heal()
    with connected(proxy) as other:
        assert answer(other, b"and again") == b"and again"


def test_the_first_packet_is_lost(proxy: FaultProxy) -> None:
    proxy.fault(Fault("drop"))
    with pytest.raises(TimeoutError):
        connected(proxy)
    proxy.heal()
    with connected(proxy) as other:
        assert answer(other, b"and again") == b"and again"


def test_a_stall_loses_nothing(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.fault(Fault("stall"))
    with pytest.raises(TimeoutError):
        answer(client, b"anybody there?")
    with connected(proxy) as other, pytest.raises(TimeoutError):
        answer(other, b"anybody there?")
    proxy.heal()
    assert client.recv(100) == b"anybody there?"


def test_a_stall_in_the_middle(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.fault(Fault("stall", "answer", 5))
    client.sendall(b"123456789")
    assert client.recv(100) == b"12345"
    with pytest.raises(TimeoutError):
        client.recv(100)
    proxy.heal()
    assert client.recv(100) == b"6789"


@pytest.mark.parametrize("at", ["once", "request", "answer"])
def test_a_cut(proxy: FaultProxy, client: socket.socket, at: str) -> None:
    proxy.fault(Fault("cut", at, 5))  # type: ignore[arg-type]
    got = answer(client, b"123456789")
    assert got == (b"12345" if at == "answer" else b"")
    wait_until(lambda: proxy.open == 1)


@pytest.mark.parametrize("at", ["once", "request", "answer"])
def test_a_reset(proxy: FaultProxy, client: socket.socket, at: str) -> None:
    proxy.fault(Fault("reset", at, 5))  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):  # noqa: PT012, one end or the other is first
        client.sendall(b"123456789")
        while client.recv(100):
            pass
    wait_until(lambda: proxy.open == 0)


def test_half_open(proxy: FaultProxy, client: socket.socket) -> None:
    """The server is not told that its client is gone."""
    ends = Echo.ends
    proxy.fault(Fault("swallow"), "old")
    with pytest.raises(TimeoutError):
        answer(client, b"123456789")
    with connected(proxy) as other:
        assert answer(other, b"and the others?") == b"and the others?"
    wait_until(lambda: Echo.ends == ends + 1)
    client.close()
    wait_until(lambda: proxy.open == 0)
    assert Echo.ends == ends + 1
    proxy.heal()
    wait_until(lambda: Echo.ends == ends + 2)


def test_slow_drip(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.fault(Fault("drip", tick=0.01))
    client.sendall(b"x" * 20)
    pieces: list[bytes] = []
    while len(b"".join(pieces)) < 20:
        pieces.append(client.recv(100))
    assert len(pieces) > 5
    proxy.heal()
    assert answer(client, b"12345") == b"12345"


def test_cancel_requests_by_themselves(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.fault(Fault("stall"), "cancels")
    with connected(proxy) as other:
        assert answer(other, b"a session, not") == b"a session, not"
    with connected(proxy) as other, pytest.raises(TimeoutError):
        answer(other, CANCEL)
    assert (proxy.accepted, proxy.cancels) == (3, 1)
    proxy.heal()
    assert answer(client, b"12345") == b"12345"
