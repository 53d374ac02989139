"""One window of many calls: each target's calls in a pipeline, all targets at once.

Targets that share calls are lent in one step, others by themselves: one that can't be
reached holds up only those who need it, and nobody waits for a slot while holding
another. What was not sent when it is over stays as it was, for another window.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from plproxy_py import _wire
from plproxy_py._exchange import Exchange
from plproxy_py._lines import Group, Line
from plproxy_py._links import Link
from plproxy_py._parts import Call, Gauge, Part, Single
from plproxy_py._pipeline import Pipeline
from plproxy_py._pools import Pool, Wired
from plproxy_py._steps import Arrival, Steps, Talk
from plproxy_py._waiting import INFINITE, WRITE, Stepper
from plproxy_py.errors import (
    ConfigError,
    ConnectError,
    Error,
    QueryTimeout,
    RouterClosed,
)

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

# How long, in seconds, a target that can't be reached is not tried again; as long as
# it took to find out, if that was longer.
BELIEVED = 1.0

Down = dict[Pool, tuple[float, Error]]
"""Targets that are not tried: until when, and why."""


class Window:
    """Calls that are sent together, in input order, by one statement.

    ``head``: the first call that has no end; for it there is always room. ``is_over``:
    all that could be done was done.
    """

    def __init__(
        self, exchange: Exchange, calls: Sequence[Call], gauge: Gauge, down: Down
    ) -> None:
        self.exchange = exchange
        self.gauge = gauge
        self.is_over = self.is_starving = self.is_hurrying = False
        self.stepper: Stepper[list[PGresult]] = Stepper(INFINITE, self._finished)
        self._function = calls[0].kind.function
        self._calls = calls
        self._first = 0
        self._down = down
        self._running: dict[int, tuple[Group, Line]] = {}
        self._left = time.monotonic()
        self._groups = self._grouped()
        for group in self._groups:
            self._ask(group)

    @property
    def head(self) -> Call | None:
        calls = self._calls
        while self._first < len(calls) and not calls[self._first].left:
            self._first += 1
        return calls[self._first] if self._first < len(calls) else None

    def start(self) -> None:
        """Send what can be sent without waiting."""
        self._lend()

    def go(self) -> Steps[None]:
        """Go on to the end, or until results must be taken to make room.

        Whoever is interrupted in it calls `stop`.
        """
        idle = time.monotonic() - self._left
        for group in self._groups:
            group.deadline += idle
        before = self.head
        try:
            while True:
                self._lend()
                self._give_back()
                if not self._groups:
                    self.is_over = True
                    return
                if self.gauge.is_full and self.head not in (before, None):
                    if not self._is_quiet:
                        return
                    self._hurry()
                else:
                    yield from self._talk()
        finally:
            self._left = time.monotonic()

    def stop(self) -> None:
        """Send no more; cancel and close what runs. What it does is unknown."""
        for group in self._groups:
            if group.lending is not None:
                group.lending.close()
                group.lending = None
        for number in list(self._running):
            self._cut(number)
        self._give_back()
        self.is_over = True

    def _grouped(self) -> list[Group]:
        """Return the targets of the calls, those that share calls together."""
        lines: dict[Pool, Line] = {}
        peers: dict[Pool, list[Pool]] = {}
        timeouts: dict[Pool, float] = {}
        for call in self._calls:
            if type(call) is Single and call.pool in lines:
                lines[call.pool].parts.append(call)
                if call.kind.timeout < timeouts[call.pool]:
                    timeouts[call.pool] = call.kind.timeout
                continue
            first: list[Pool] | None = None
            for part in call.parts:
                if part.is_over:
                    continue
                pool = part.pool
                if pool not in lines:
                    lines[pool] = Line(self, pool)
                    peers[pool] = [pool]
                    timeouts[pool] = INFINITE
                lines[pool].parts.append(part)
                timeouts[pool] = min(timeouts[pool], call.kind.timeout)
                own = peers[pool]
                if first is None:
                    first = own
                elif own is not first:
                    first += own
                    for other in own:
                        peers[other] = first
        groups = {id(pools): pools for pools in peers.values()}
        return [
            Group(
                [lines[pool] for pool in pools],
                self._left + min([timeouts[pool] for pool in pools]),
            )
            for pools in groups.values()
        ]

    def _ask(self, group: Group) -> None:
        """Begin to borrow the links of a group, without targets that are down."""
        group.asked = time.monotonic()
        for line in group.lines:
            until, error = self._down.get(line.pool, (0.0, None))
            if error is not None and group.asked < until:
                self._refuse(line, error)
        group.lines = [line for line in group.lines if line.unfinished]
        group.wait = group.lending = None
        if group.lines:
            wired, group.partitions = _wired(
                [line.unfinished[0] for line in group.lines]
            )
            group.lending = self.exchange.pools.lend(
                wired, group.partitions, group.deadline
            )

    def _lend(self) -> None:
        """Go on with what is being borrowed; begin to send where it is there."""
        for group in self._groups:
            while group.lending is not None and (
                group.wait is None or group.wait.is_over(time.monotonic())
            ):
                try:
                    wait = next(group.lending)
                    assert isinstance(wait, Arrival)
                    group.wait = wait
                except StopIteration as done:
                    group.lending = group.wait = None
                    group.loan = done.value
                    self._begin(group, done.value.links)
                except Error as error:
                    self._fail(group, error)

    def _begin(self, group: Group, links: Sequence[Link]) -> None:
        for line, link in zip(group.lines, links, strict=True):
            line.link, line.parts = link, line.unfinished
            if self.is_hurrying or not line.parts:
                line.is_over = line.is_good = True
                continue
            label = self._function.label
            self.exchange.listen(label, line.parts[0].partition, link)
            line.pipeline = Pipeline(
                link.pgconn,
                self._function.query.sql,
                [part.params for part in line.parts],
                link.prepared,
                line,
            )
            number = len(self.stepper.filenos)
            self._running[number] = (group, line)
            self.stepper.start(number, line.pipeline.run_gen(), link.fileno)

    def _fail(self, group: Group, error: Error) -> None:
        """Take a target that can't be had out of its group; ask for the rest anew."""
        lines = group.lines
        if error.partition is not None:
            lines = [group.lines[group.partitions.index(error.partition)]]
        for line in lines:
            if isinstance(error, (ConnectError, ConfigError)):
                now = time.monotonic()
                until = now + max(BELIEVED, now - group.asked)
                self._down[line.pool] = until, error
            self._refuse(line, error)
        self._ask(group)

    def _refuse(self, line: Line, error: Error) -> None:
        """End the calls of a target for which there is no link."""
        for part in line.unfinished:
            own = copy.copy(error)
            own.partition = part.partition
            if part.call.was_sent:
                part.error = own
                part.call.end(part, self.exchange)
            else:
                part.call.refuse(own)

    def _talk(self) -> Steps[None]:
        stepper = self.stepper
        stepper.enough = self.is_starving = False
        stepper.until = min([group.deadline for group in self._groups])
        for number in list(stepper.paused):
            stepper.resume(number)
        arrivals = []
        for group in self._groups:
            if group.wait is not None:
                stepper.until = min(stepper.until, group.wait.until)
                arrivals += [one for one in group.wait.awaited if not one.done()]
        if stepper.wanted or arrivals:
            yield Talk(stepper, arrivals)
        elif self._running and len(stepper.paused) == len(self._running):
            # Nobody may go on: what the first call needs was lost.
            self._hurry()
        self._expire()

    @property
    def _is_quiet(self) -> bool:
        """Whether no answer is to be expected, and no link."""
        return not any(group.lending for group in self._groups) and not any(
            line.pipeline is not None and line.pipeline.in_flight
            for _, line in self._running.values()
        )

    def _hurry(self) -> None:
        """Come to the end: what is in flight is read, nothing more is sent."""
        self.is_hurrying = True
        for _, line in self._running.values():
            if line.pipeline is not None:
                line.pipeline.stopping = True
        # Those that paused are not waited for yet.
        self.stepper.enough = True
        for number in list(self.stepper.paused):
            self.stepper.resume(number)

    def _finished(
        self, number: int, results: list[PGresult] | None, error: Exception | None
    ) -> float:
        _, line = self._running.pop(number)
        assert line.link is not None
        line.is_over = True
        if isinstance(error, psycopg.Error):
            self._lose(line, error)
        elif error is not None:
            raise error
        else:
            line.is_good = line.link.at_rest
        if line.pool.waiting:
            self.stepper.enough = True  # somebody is in need of the link
        return INFINITE

    def _lose(self, line: Line, error: psycopg.Error) -> None:
        """Tell what became of the calls of a connection that broke."""
        assert line.link is not None
        assert line.pipeline is not None
        last_words = _wire.last_words(line.pipeline.results, line.link.pgconn)
        self.exchange.pools.note_error(line.pool, last_words or _wire.lost(error))
        lost = line.unfinished
        for part in lost:
            if part.began or part is lost[0]:
                self._drop(part, last_words or _wire.lost(error))
                last_words = None
        # The rest was never sent: another window will, on another connection.

    def _drop(self, part: Part, error: Error) -> None:
        """End a part without an answer; unknown if it was sent."""
        if part.began:
            self.gauge.lost(part.size)
            part.seconds = time.monotonic() - part.began
        part.error = error
        part.call.end(part, self.exchange)

    def _expire(self) -> None:
        """End what has had its time."""
        now = time.monotonic()
        for number, (group, line) in list(self._running.items()):
            if now < group.deadline:
                continue
            is_sending = self.stepper.wanted.get(number, 0) & WRITE
            self._cut(number)
            for part in line.unfinished:
                if part.began:
                    text = f"no answer within {now - part.began:.3f} s"
                    phase = "send" if is_sending else "read"
                else:
                    text, phase = "the time was up before it was sent", "send"
                self._drop(part, QueryTimeout(text, phase=phase))

    def _cut(self, number: int) -> None:
        """Stop a conversation in the middle."""
        _, line = self._running.pop(number)
        self.stepper.wanted.pop(number, None)
        self.stepper.paused.discard(number)
        line.is_over = True
        assert line.link is not None
        assert line.pipeline is not None
        if line.pipeline.in_flight:
            try:
                line.cancel = self.exchange.pools.connector.cancel(line.link)
            except RouterClosed:
                line.cancel = None  # nobody is left to ask

    def _give_back(self) -> None:
        """Give back the links of groups that have come to their end."""
        for group in list(self._groups):
            if group.lending is None and all(line.is_over for line in group.lines):
                self._groups.remove(group)
                group.give_back()


def _wired(parts: Sequence[Part]) -> tuple[Wired, Sequence[int]]:
    """Return a cluster with the targets of these parts, and their partitions in it."""
    wireds = [part.call.kind.wired for part in parts]
    if all(wired is wireds[0] for wired in wireds):
        return wireds[0], [part.partition for part in parts]
    config = replace(
        wireds[0].config,
        partitions=tuple(
            wired.config.partitions[part.partition]
            for wired, part in zip(wireds, parts, strict=True)
        ),
        modular_mapping=True,
    )
    origins = [
        (wired, part.partition) for wired, part in zip(wireds, parts, strict=True)
    ]
    pools = tuple(part.pool for part in parts)
    return Wired(config, pools, origins), range(len(parts))
