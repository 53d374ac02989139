"""Calls that are made again, on those partitions where nothing of them is there.

Decides what may be called again, waits, and keeps the truth of all attempts together.
What an attempt is, others know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from plproxy_py._conversations import Conversations
from plproxy_py._exchange import Exchange, Statement
from plproxy_py._links import Link
from plproxy_py._pools import Wired
from plproxy_py._preparing import Prepared, Preparer
from plproxy_py._routing import Routed
from plproxy_py._steps import Arrival, Steps
from plproxy_py.errors import (
    ConnectError,
    ConnectionLost,
    Error,
    Outcome,
    PoolTimeout,
    State,
    placed,
)

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

T = TypeVar("T")

# Seconds: of the first pause at most, and of any.
FIRST_PAUSE, MOST_PAUSE = 0.02, 1.0

# In so many grains chance is asked for a share of a pause.
GRAINS = 1 << 20

# The server rolled back, and says itself that another attempt may succeed.
ROLLED_BACK = ("40001", "40P01")

Load = Callable[[Link, "PGresult"], list[Any]]
Read = Callable[[Conversations], T]


class Send(Protocol):
    """One attempt: `Exchange.run`, or `scatter`."""

    def __call__(
        self,
        wired: Wired,
        partitions: Sequence[int],
        statement: Statement,
        *,
        read: Read[T],
    ) -> Steps[T]: ...


def pause(number: int, share: float) -> float:
    """Return the seconds before attempt ``number`` is repeated, counted from 0.

    Exponential, with full jitter: ``share``, from 0 to 1, is chance's.
    """
    return share * min(MOST_PAUSE, FIRST_PAUSE * 2.0 ** min(number, 30))


class Retrier:
    """Makes one call, as often as its options allow.

    ``load`` makes rows of a result whose link is given back between attempts, ``read``
    the answer of what became of all partitions. ``is_strict``: a partition that failed
    for good makes the answer an error, so that no other is called again.
    """

    def __init__(
        self,
        preparer: Preparer,
        exchange: Exchange,
        prepared: Prepared,
        routed: Routed,
        load: Load,
        *,
        is_strict: bool,
    ) -> None:
        self._preparer = preparer
        self._options = prepared.options
        self._statement = prepared.statement(routed)
        self._wired = routed.wired
        self._load = load
        self._is_strict = is_strict
        self._talk = _Attempts(
            exchange.conversations(
                routed.wired, routed.tags.partitions, self._statement
            )
        )
        self._indexes = list(range(len(routed.tags.partitions)))
        self._made = 0

    def run(
        self,
        send: Send,
        read: Read[T],
        first: Callable[[Read[None]], Steps[None]] | None = None,
    ) -> Steps[T]:
        """Make the call; return what ``read`` makes of it.

        ``first``: the first attempt, which was sent already.
        """
        try:
            while True:
                if first is None:
                    steps = self._attempt(send)
                else:
                    steps, first = first(self._keep), None
                yield from self._made_one(steps)
                self._indexes = self._again()
                if not (self._indexes and (yield from self._paused())):
                    break
        except BaseException as error:
            is_interrupted = not isinstance(error, (Exception, GeneratorExit))
            if is_interrupted and self._made > 1:
                error.add_note(self._so_far())
            raise
        try:
            return read(self._talk)
        except Error as error:
            if self._made > 1:
                error.args = (f"{error}\n{self._made} attempts were made",)
            raise

    def _attempt(self, send: Send) -> Steps[None]:
        params = self._statement.params
        return send(
            self._wired,
            [self._talk.partitions[index] for index in self._indexes],
            replace(self._statement, params=[params[i] for i in self._indexes]),
            read=self._keep,
        )

    def _made_one(self, steps: Steps[None]) -> Steps[None]:
        self._made += 1
        self._talk.forget(self._indexes)
        try:
            yield from steps
        except Error as error:
            # Before anything was sent: there was no connection.
            if error.partition is None:
                raise
            self._talk.refuse_all(self._indexes, error)

    def _keep(self, talk: Conversations) -> None:
        """Keep what became of an attempt, before its links are given back."""
        for position, partition in enumerate(talk.partitions):
            link, results = talk.links[position], talk.results[position]
            if talk.states[position] != "committed" or link is None or not results:
                continue
            if partition not in talk.loaded:
                try:
                    talk.loaded[partition] = self._load(link, results[-1])
                except Exception as error:
                    talk.loaded[partition] = error
        self._talk.take(self._indexes, talk)

    def _again(self) -> list[int]:
        """Return whom to call again, nobody if that can't help."""
        talk = self._talk
        again = []
        if talk.winner is not None:
            return []
        for index in self._indexes:
            if talk.states[index] == "committed":
                continue
            if self._may_again(index):
                again.append(index)
            elif self._is_strict:
                return []
        return again

    def _may_again(self, index: int) -> bool:
        talk, is_idempotent = self._talk, self._options.idempotent
        error = talk.errors[index]
        if index not in talk.causes:
            # Cancelled, or not sent, because of another.
            return talk.states[index] == "failed" or is_idempotent
        if isinstance(error, (ConnectError, PoolTimeout)):
            return True
        if isinstance(error, ConnectionLost):
            return is_idempotent
        return error is not None and error.sqlstate in ROLLED_BACK

    def _paused(self) -> Steps[bool]:
        """Wait before the next attempt; return whether there is one."""
        deadline = self._statement.deadline
        share = self._preparer.routing.pick(GRAINS + 1) / GRAINS
        until = time.monotonic() + pause(self._made - 1, share)
        if self._made > (self._options.retry or 0) or until >= deadline:
            return False
        yield Arrival([Future()], until)
        config = self._wired.config
        if config.name:
            try:
                yield from self._preparer.refresh(deadline)
                fresh = yield from self._preparer.cluster(config.name, deadline)
            except Error:
                return True  # the map that was in force has to do
            rule = config.part_count, config.modular_mapping
            if (fresh.config.part_count, fresh.config.modular_mapping) == rule:
                self._wired = fresh
        return True

    def _so_far(self) -> str:
        partitions = [
            str(partition)
            for partition, state in zip(
                self._talk.partitions, self._talk.states, strict=True
            )
            if state == "committed"
        ]
        committed = f"partition {', '.join(partitions)}" if partitions else "none"
        return (
            f"{self._statement.label}: broken off in attempt {self._made}; committed "
            f"before it: {committed}"
        )


class _Attempts(Conversations):
    """What became of all attempts of a call together, by position of its partitions."""

    def __init__(self, talk: Conversations) -> None:
        self.labels: list[str]
        super().__init__(
            talk.partitions, talk.labels, talk.function, talk.deadline, talk.settle
        )
        self.cluster = talk.cluster
        self.was_sent = [False] * len(talk.partitions)
        self.was_unknown = [False] * len(talk.partitions)

    def forget(self, indexes: Sequence[int]) -> None:
        """Forget how the latest attempt on these ended, but not what may be there."""
        for index in indexes:
            self.was_sent[index] |= self.began[index] > 0
            self.was_unknown[index] |= self.states[index] == "unknown"
            self.states[index], self.errors[index] = "failed", None
            self.began[index], self.ended[index] = 0.0, False
        self.causes = [index for index in self.causes if index not in indexes]

    def take(self, indexes: Sequence[int], talk: Conversations) -> None:
        """Note what became of an attempt on these."""
        self.labels = list(self.labels)
        for position, index in enumerate(indexes):
            self.labels[index] = talk.labels[position]
            self.links[index] = talk.links[position]
            self.results[index] = talk.results[position]
            self.errors[index] = talk.errors[position]
            self.states[index] = talk.states[position]
            self.began[index] = talk.began[position]
            self.seconds[index] = talk.seconds[position]
            self.ended[index] = talk.ended[position]
        self.causes += [indexes[position] for position in talk.causes]
        self.loaded.update(talk.loaded)
        if talk.winner is not None:
            self.winner = indexes[talk.winner]

    def refuse_all(self, indexes: Sequence[int], error: Error) -> None:
        """Note that an attempt on these was not sent, because of one of them."""
        error.cluster = self.cluster
        placed(error, self.function)
        for index in indexes:
            self.errors[index] = error
            if self.partitions[index] == error.partition:
                self.causes.append(index)

    def error(self) -> Error | None:
        error = super().error()
        if error is not None:
            error.sent = any(out.sent for out in error.outcomes.values())
        return error

    def _outcome(self, index: int) -> Outcome[Any]:
        outcome = super()._outcome(index)
        state: State = outcome.state
        if state == "failed" and self.was_unknown[index]:
            state = "unknown"
        sent = outcome.sent or self.was_sent[index]
        return replace(outcome, state=state, sent=sent)
