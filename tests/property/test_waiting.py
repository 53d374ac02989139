"""The stepper and both waiters over socketpairs, against a model.

Two conversations stand at the ends of each pair: one writes a payload that the
socket's buffers can't hold at once, the other reads it, so that each waits for the
other while all pairs run at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.waiting import Ready, Wait

from plproxy_py._waiting import INFINITE, Stepper, wait_many, wait_many_async

Conversation = Generator[Wait, Ready, Any]


class Broken(Exception):
    """A conversation failed by itself."""


@dataclass(frozen=True)
class Pair:
    """What happens between two ends.

    ``size``: bytes of payload. ``breaks``: which end raises, 0 for the writer, once so
    many bytes have gone through it. ``silent``: nobody writes, the reader never ends.
    ``both``: the writer waits for either event, as psycopg does while it sends.
    """

    size: int
    breaks: tuple[int, int] | None
    silent: bool
    both: bool

    def payload(self, index: int) -> bytes:
        return bytes([index + 1]) * self.size

    def conversations(
        self, index: int, ends: tuple[socket.socket, socket.socket]
    ) -> list[Conversation]:
        return [self._write(index, ends[0]), self._read(ends[1])]

    def _write(self, index: int, end: socket.socket) -> Conversation:
        left = memoryview(b"" if self.silent else self.payload(index))
        sent = 0
        while left:
            ready = yield Wait.RW if self.both else Wait.W
            assert ready == Ready.W
            gone = end.send(left[: 1 << 16])
            left, sent = left[gone:], sent + gone
            self._perhaps_break(0, sent)
        return sent

    def _read(self, end: socket.socket) -> Conversation:
        received = b""
        while len(received) < self.size or self.silent:
            assert (yield Wait.R) == Ready.R
            received += end.recv(1 << 16)
            self._perhaps_break(1, len(received))
        return received

    def _perhaps_break(self, end: int, count: int) -> None:
        where, at = self.breaks or (None, 0)
        if where == end and count >= min(at, self.size):
            raise Broken(end)


PAIRS = st.lists(
    st.builds(
        Pair,
        st.sampled_from([0, 1, 1000, 300_000]),
        st.none() | st.tuples(st.integers(0, 1), st.sampled_from([1, 200_000])),
        st.booleans(),
        st.booleans(),
    ),
    max_size=5,
)


@contextlib.contextmanager
def sockets(count: int) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(count)]
        for end in [end for pair in pairs for end in pair]:
            stack.enter_context(end).setblocking(False)
            # So that a payload does not fit.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield pairs


def block(stepper: Stepper[Any]) -> None:
    wait_many(stepper)


def suspend(stepper: Stepper[Any]) -> None:
    async def wait() -> list[int]:
        await wait_many_async(stepper)
        loop = asyncio.get_running_loop()
        return [
            fileno
            for fileno in stepper.filenos
            if loop.remove_reader(fileno) or loop.remove_writer(fileno)
        ]

    # A number that stays registered would belong to another connection one day.
    assert asyncio.run(wait()) == []


WAITERS = [block, suspend]


class Run:
    """One run of pairs: what each conversation gave, by position.

    Time is up once all ``awaited`` have ended: what is left then, hangs.
    """

    def __init__(self, pairs: list[Pair], until: float, awaited: set[int]) -> None:
        self.pairs = pairs
        self.until = until
        self.awaited = awaited
        self.results: dict[int, Any] = {}
        self.errors: dict[int, Exception] = {}

    def finished(self, index: int, result: Any, error: Exception | None) -> float:
        assert index not in self.results
        assert index not in self.errors
        if error is None:
            self.results[index] = result
        else:
            self.errors[index] = error
        self.awaited.discard(index)
        return INFINITE if self.awaited else 0.0

    def go(self, wait: Callable[[Stepper[Any]], None]) -> Stepper[Any]:
        with sockets(len(self.pairs)) as ends:
            gens = [
                gen
                for index, (pair, two) in enumerate(zip(self.pairs, ends, strict=True))
                for gen in pair.conversations(index, two)
            ]
            filenos = [end.fileno() for two in ends for end in two]
            stepper: Stepper[Any] = Stepper(self.until, self.finished)
            for index, (gen, fileno) in enumerate(zip(gens, filenos, strict=True)):
                stepper.start(index, gen, fileno)
            wait(stepper)
        return stepper


def model(pairs: list[Pair]) -> dict[int, Any]:
    """Return what each conversation must give: a result, `Broken`, or nothing."""
    outcomes: dict[int, Any] = {}
    for index, pair in enumerate(pairs):
        writer, reader = 2 * index, 2 * index + 1
        if pair.silent:
            outcomes[writer] = 0
            continue
        breaks = pair.breaks if pair.size else None
        if breaks is None:
            outcomes[writer] = pair.size
            outcomes[reader] = pair.payload(index)
        elif min(breaks[1], pair.size) == pair.size and breaks[0] == 0:
            # It broke behind the last byte: the other end has all of it.
            outcomes[writer] = Broken
            outcomes[reader] = pair.payload(index)
        else:
            outcomes[2 * index + breaks[0]] = Broken
    return outcomes


@pytest.mark.parametrize("wait", WAITERS)
@settings(max_examples=40)
@given(PAIRS)
def test_against_the_model(
    wait: Callable[[Stepper[Any]], None], pairs: list[Pair]
) -> None:
    expected = model(pairs)
    run = Run(pairs, INFINITE, set(expected))
    stepper = run.go(wait)
    # Beyond the model there is one freedom: the last bytes may have been in the buffers
    # when the other end broke, or not.
    for index, outcome in expected.items():
        if outcome is Broken:
            assert isinstance(run.errors.pop(index), Broken)
        else:
            assert run.results.pop(index) == outcome
    assert run.errors == {}
    for index, result in run.results.items():
        pair = pairs[index // 2]
        assert result == (pair.payload(index // 2) if index % 2 else pair.size)
    hanging = set(range(2 * len(pairs))) - set(expected) - set(run.results)
    assert set(stepper.wanted) == hanging


@pytest.mark.parametrize("wait", WAITERS)
def test_order_of_readiness(wait: Callable[[Stepper[Any]], None]) -> None:
    """Each conversation wakes the next in a chain that jumps to and fro."""
    order = [3, 0, 4, 1, 2]
    seen: list[int] = []

    with sockets(len(order)) as pairs:

        def gen(index: int) -> Conversation:
            yield Wait.R
            seen.append(index)
            place = order.index(index) + 1
            if place < len(order):
                pairs[order[place]][1].send(b"x")
            return index * 10

        results: dict[int, Any] = {}

        def finished(index: int, result: Any, error: Exception | None) -> float:
            assert error is None
            results[index] = result
            return INFINITE

        stepper: Stepper[Any] = Stepper(INFINITE, finished)
        for index, (mine, _) in enumerate(pairs):
            stepper.start(index, gen(index), mine.fileno())
        pairs[order[0]][1].send(b"x")
        wait(stepper)
    assert seen == order
    assert results == {index: index * 10 for index in range(5)}
    assert stepper.wanted == {}


@pytest.mark.parametrize("wait", WAITERS)
@pytest.mark.parametrize("until", [0.0, 0.02])
def test_a_deadline(wait: Callable[[Stepper[Any]], None], until: float) -> None:
    """Nobody writes: the reader is still wanted when time is up."""
    silent = Pair(1, None, True, False)
    run = Run([silent], until and time.monotonic() + until, {1})
    stepper = run.go(wait)
    assert run.results == {0: 0}
    assert stepper.wanted == {1: int(Wait.R)}


@pytest.mark.parametrize("wait", WAITERS)
def test_a_later_failure_shortens_the_time(
    wait: Callable[[Stepper[Any]], None],
) -> None:
    """What `finished` returns is the latest end of all others, too."""
    pairs = [Pair(1, None, True, False), Pair(9, (1, 1), False, False)]
    run = Run(pairs, INFINITE, {3})
    stepper = run.go(wait)
    assert isinstance(run.errors[3], Broken)
    assert stepper.wanted == {1: int(Wait.R)}


@pytest.mark.parametrize("wait", WAITERS)
def test_an_error_of_our_own_comes_out(wait: Callable[[Stepper[Any]], None]) -> None:
    class Stop(Run):
        def finished(self, index: int, result: Any, error: Exception | None) -> float:
            if index == 1:
                raise LookupError("in our own code")
            return INFINITE

    with pytest.raises(LookupError, match="in our own code"):
        Stop([Pair(1, None, False, False)], INFINITE, {1}).go(wait)


@pytest.mark.parametrize("wait", WAITERS)
def test_an_interrupt_in_a_step_comes_out(
    wait: Callable[[Stepper[Any]], None],
) -> None:
    class Interrupted(Pair):
        def _perhaps_break(self, end: int, count: int) -> None:
            if end == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run([Interrupted(1, None, False, False)], INFINITE, {1}).go(wait)


def test_nothing_to_wait_for() -> None:
    for wait in WAITERS:
        assert Run([], INFINITE, set()).go(wait).wanted == {}


def test_a_step_tells_what_is_wanted_next() -> None:
    def gen() -> Conversation:
        return [(yield Wait.W), (yield Wait.R), (yield Wait.RW)]

    results: list[Any] = []

    def finished(index: int, result: Any, error: Exception | None) -> float:
        results.append((index, result, error))
        return 7.0

    stepper: Stepper[Any] = Stepper(9.0, finished)
    stepper.start(0, gen(), 0)
    assert stepper.wanted == {0: int(Wait.W)}
    assert stepper.step(0, 2) == int(Wait.R)
    assert stepper.step(0, 1) == int(Wait.RW)
    assert stepper.step(0, 3) == 0
    assert results == [(0, [Ready.W, Ready.R, Ready.RW], None)]
    assert (stepper.wanted, stepper.until) == ({}, 7.0)
