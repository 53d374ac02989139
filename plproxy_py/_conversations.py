"""The conversations of one call with its tagged partitions, and what became of them.

Sends, reads, stops what must be stopped, and tells the truth about each partition.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from plproxy_py import _wire
from plproxy_py._connector import Connector
from plproxy_py._links import Link
from plproxy_py._promises import Promise
from plproxy_py._steps import Arrival, Steps, Talk
from plproxy_py._waiting import INFINITE, WRITE, Stepper
from plproxy_py.errors import (
    ConnectionLost,
    Error,
    Outcome,
    QueryTimeout,
    RouterClosed,
    State,
)

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGresult

T = TypeVar("T")

# How long a cancelled statement may take to say how it ended, before it is unknown:
# past a deadline or after an interruption, and where nobody is in a hurry.
GRACE = 0.06
LONG_GRACE = 1.0

CANCELLED = "57014"

# A request to cancel that comes before its statement finds the server idle, and does
# nothing: it is sent again after so many seconds, then after twice as many.
ASK_AGAIN = 0.02


class Conversations:
    """The conversations of one call with its tagged partitions.

    `begin` starts one as soon as its link is there, ``stepper`` advances them, `stop`
    ends those that still run. `outcomes` then tells the truth about each partition,
    and `reusable` which links may serve another call. All by position of
    ``partitions``. ``settle``: seconds that the others get once one failed.
    """

    def __init__(
        self,
        partitions: Sequence[int],
        labels: Sequence[str],
        function: str,
        deadline: float,
        settle: float | None,
    ) -> None:
        count = len(partitions)
        self.partitions = partitions
        self.labels = labels
        self.function = function
        self.deadline = deadline
        self.settle = INFINITE if settle is None else settle
        self.cluster: str | None = None
        self.links: list[Link | None] = [None] * count
        self.results: list[list[PGresult] | None] = [None] * count
        # By partition: rows that were loaded before their link was given back.
        self.loaded: dict[int, list[Any] | Exception] = {}
        self.errors: list[Error | None] = [None] * count
        self.states: list[State] = ["failed"] * count
        self.began = [0.0] * count
        self.seconds = [0.0] * count
        self.ended = [False] * count
        self.causes: list[int] = []  # those that failed by themselves, not by us
        self.cancels: dict[int, futures.Future[None]] = {}
        self.is_enough: Callable[[PGresult], bool] | None = None
        self.winner: int | None = None  # whose result was enough
        # Whether the router is closed, and cancels what runs.
        self.is_stopping: Callable[[], bool] = bool
        self.wakes = False  # whether each end of a conversation ends the waiting
        self.settle_until = INFINITE
        self.stepper: Stepper[list[PGresult]] = Stepper(deadline, self._finished)

    def begin(
        self,
        index: int,
        link: Link,
        conversation: PQGen[list[PGresult]],
        began: float | None = None,
    ) -> None:
        """Let a conversation send what it has to say.

        ``began``: when it was sent, if it was.
        """
        self.links[index] = link
        self.states[index] = "unknown"
        self.began[index] = began or time.monotonic()
        self.stepper.start(index, conversation, link.fileno)

    def refuse(self, index: int, error: Error) -> None:
        """Note that there is no link for a partition: nothing is sent to it."""
        self.errors[index] = error
        self.causes.append(index)

    def guard(self, connector: Connector, steps: Steps[T]) -> Steps[T]:
        """Take these steps; what runs when they are interrupted is stopped first."""
        try:
            return (yield from steps)
        except GeneratorExit:
            self._cancel(connector)
            raise
        except BaseException as error:
            # What was stopped at its deadline had its moment of grace already.
            if not (self.cancels and isinstance(error, Error)):
                yield from self.stop(connector)
            if not isinstance(error, Exception):
                told = _summary(self.outcomes(), always=True)
                error.add_note(f"{self.function}: broken off{told}")
            raise

    def _finished(
        self, index: int, results: list[PGresult] | None, error: Exception | None
    ) -> float:
        now = time.monotonic()
        link = self.links[index]
        assert link is not None
        self.seconds[index] = now - self.began[index]
        self.ended[index] = True
        self.stepper.enough |= self.wakes
        if results is not None:
            self.results[index] = results
            failed = _wire.failure(results, link.pgconn)
            # libpq's own text for a lost connection has no SQLSTATE: nobody knows. A
            # FATAL of the server has one: it ended the transaction.
            if failed is None:
                self.states[index] = "committed"
            elif not isinstance(failed, ConnectionLost) or failed.diag.sqlstate:
                self.states[index] = "failed"
        elif isinstance(error, psycopg.Error):
            failed = _wire.lost(error)
        else:
            assert error is not None
            raise error
        if failed is None:
            self._look(index)
            return INFINITE
        if failed.sqlstate == CANCELLED and self.is_stopping():
            failed = RouterClosed("the router was closed, and what ran was cancelled")
        if self.errors[index] is None:
            self.errors[index] = failed
        if not self.cancels:
            self.causes.append(index)
        self.settle_until = min(self.settle_until, now + self.settle)
        return self.settle_until

    def _look(self, index: int) -> None:
        """End the call if this partition's result is all that was wanted."""
        results = self.results[index]
        if self.is_enough is None or self.winner is not None or not results:
            return
        if self.is_enough(results[-1]):
            self.winner = index
            self.stepper.enough = True

    @property
    def running(self) -> bool:
        """Whether a conversation began that has not ended."""
        return bool(self.stepper.wanted or self.stepper.paused)

    def stop(self, connector: Connector, grace: float = GRACE) -> Steps[None]:
        """Cancel what still runs, and give it a moment to say how it ended.

        ``grace``: seconds, cut short where the deadline comes first.
        """
        now = time.monotonic()
        self._explain_stop(now)
        self._cancel(connector)
        self.settle = self.settle_until = INFINITE
        self.wakes = self.stepper.enough = False
        until = min(now + grace, max(now, self.deadline) + GRACE)
        for index in list(self.stepper.paused):
            self.stepper.resume(index)
        patience = ASK_AGAIN
        while True:
            self.stepper.until = min(until, time.monotonic() + patience)
            yield Talk(self.stepper)
            if not self.running or time.monotonic() >= until:
                break
            self._cancel(connector)
            patience *= 2
        # A link whose cancel request has come to its end may serve again.
        ended = [cancel for i, cancel in self.cancels.items() if self.ended[i]]
        yield Arrival(ended, until)

    def _explain_stop(self, now: float) -> None:
        """Say why the rest is stopped: the deadline, or another partition's failure."""
        for index, link in enumerate(self.links):
            if link is None or self.ended[index] or self.errors[index] is not None:
                continue
            if now >= self.deadline:
                self.causes.append(index)
                is_sending = self.stepper.wanted.get(index, 0) & WRITE
                self.errors[index] = QueryTimeout(
                    f"no answer within {now - self.began[index]:.3f} s",
                    phase="send" if is_sending else "read",
                )
            elif self.winner is not None:
                self.errors[index] = ConnectionLost(
                    "cancelled: another partition answered first"
                )
            elif self.causes:
                self.errors[index] = ConnectionLost(
                    "cancelled because another partition failed"
                )
            else:
                self.errors[index] = ConnectionLost("cancelled by the caller")

    def _cancel(self, connector: Connector) -> None:
        for index, link in enumerate(self.links):
            if link is None or self.ended[index]:
                continue
            earlier = self.cancels.get(index)
            if earlier is not None and not earlier.done():
                continue
            try:
                self.cancels[index] = connector.cancel(link)
            except RouterClosed as error:
                # Nobody is left to ask: the connection is closed, its end unknown.
                self.cancels[index] = Promise()
                self.cancels[index].set_exception(error)

    def reusable(self, index: int) -> bool:
        """Whether the link may serve another call.

        Not where a cancel request may still be on its way: it would hit that call.
        """
        link, cancel = self.links[index], self.cancels.get(index)
        # One that was broken off as the router was closed has no exception to ask for.
        if cancel is not None and (
            not cancel.done() or cancel.cancelled() or cancel.exception() is not None
        ):
            return False
        return link is not None and self.ended[index] and link.at_rest

    def close(self, index: int) -> None:
        """Close a link that is not reusable, after its cancel request if it has one."""
        link, cancel = self.links[index], self.cancels.get(index)
        if link is not None and cancel is None:
            link.close()
        elif link is not None and cancel is not None:
            cancel.add_done_callback(lambda _: link.close())

    def error(self) -> Error | None:
        """Return the error to raise: of the first in tag order that failed by itself.

        None where all were committed, be it at the last moment.
        """
        outcomes = self.outcomes() if self.causes else {}
        for index in sorted(self.causes):
            error = outcomes[self.partitions[index]].error
            if error is not None:
                error.sent, error.outcomes = any(self.began), outcomes
                error.args = (f"{error}{_summary(outcomes)}",)
                return error
        return None

    def why_stopped(self) -> Error:
        """Return the error of a call that was stopped, whatever it has committed."""
        failed = self.error()
        if failed is None:
            index = next(i for i, error in enumerate(self.errors) if error is not None)
            failed = self._error(index)
            assert failed is not None
            failed.sent, failed.outcomes = True, self.outcomes()
        return failed

    def outcomes(self) -> dict[int, Outcome[Any]]:
        """Return what became of each partition, rows not loaded yet."""
        return {
            partition: self._outcome(index)
            for index, partition in enumerate(self.partitions)
        }

    def _outcome(self, index: int) -> Outcome[Any]:
        state, began = self.states[index], self.began[index]
        error = None if state == "committed" else self._error(index)
        seconds = self.seconds[index]
        if began and not self.ended[index]:
            seconds = time.monotonic() - began
        return Outcome(state, [], error, began > 0, seconds)

    def _error(self, index: int) -> Error | None:
        error = self.errors[index]
        if error is not None and error.function is None:
            sent = self.began[index] > 0
            error.partition, error.sent = self.partitions[index], sent
            error.function, error.cluster = self.function, self.cluster
            label = f"[{self.labels[index]}] " if sent else ""
            error.args = (f"{self.function}: {label}{error}",)
        return error


_MEANING = {
    "committed": "committed",
    "failed": "failed, nothing of this call is there",
    "unknown": "unknown: sent, and its end was not seen: all of it may be there, or "
    "nothing; look before you repeat it",
}


def _summary(outcomes: Mapping[int, Outcome[Any]], *, always: bool = False) -> str:
    """Say in words what became of each partition, where that is not plain."""
    states = {outcome.state for outcome in outcomes.values()}
    if len(outcomes) == 1 and "unknown" not in states and not always:
        return ""
    lines = [""]
    for state, meaning in _MEANING.items():
        partitions = [str(p) for p, out in outcomes.items() if out.state == state]
        if partitions:
            lines.append(f"partition {', '.join(partitions)}: {meaning}")
    return "\n".join(lines)
