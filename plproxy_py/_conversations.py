"""The conversations of one call with its tagged partitions, and what became of them.

Sends, reads, stops what must be stopped, and tells the truth about each partition.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import TYPE_CHECKING, Any

import psycopg

from plproxy_py import _wire
from plproxy_py._links import Connector, Link
from plproxy_py._steps import Arrival, Steps, Talk
from plproxy_py._waiting import INFINITE, WRITE, Stepper
from plproxy_py.errors import (
    ConnectionLost,
    Error,
    Outcome,
    QueryTimeout,
    RouterClosed,
)

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

# How long a cancelled statement may take to say how it ended, before it is unknown.
GRACE = 0.08


class Conversations:
    """The conversations of one call with its tagged partitions.

    Made when all links are there; `hold` sends and reads, `outcomes` then tells the
    truth about each partition, and `reusable` which links may serve another call.
    """

    def __init__(
        self,
        links: Sequence[Link],
        partitions: Sequence[int],
        deadline: float,
        settle: float | None,
        function: str,
        labels: Sequence[str],
    ) -> None:
        self.links = links
        self.function = function
        self.labels = labels
        self.partitions = partitions
        self.deadline = deadline
        self.settle = INFINITE if settle is None else settle
        self.results: list[list[PGresult] | None] = [None] * len(links)
        self.errors: list[Error | None] = [None] * len(links)
        self.seconds = [0.0] * len(links)
        self.ended = [False] * len(links)
        self.causes: list[int] = []  # those that failed by themselves, not by us
        self.started = time.monotonic()
        self.cancels: dict[int, futures.Future[None]] = {}

    def hold(
        self,
        sql: bytes,
        params: Sequence[Sequence[bytes | None]],
        connector: Connector,
    ) -> Steps[None]:
        """Send to all partitions and read until all have answered, or time is up.

        ``params``: for each link, by position.
        """
        stepper = Stepper(
            [
                _wire.call_gen(link.pgconn, sql, own)
                for link, own in zip(self.links, params, strict=True)
            ],
            [link.fileno for link in self.links],
            self.deadline,
            self._finished,
        )
        try:
            stepper.start()
            yield Talk(stepper)
            if stepper.wanted:
                self._time_out(stepper)
                yield from self._stop(stepper, connector)
        except GeneratorExit:
            self._cancel(connector)
            raise
        except BaseException:
            yield from self._stop(stepper, connector)
            raise

    def _finished(
        self, index: int, results: list[PGresult] | None, error: Exception | None
    ) -> float:
        now = time.monotonic()
        self.seconds[index] = now - self.started
        self.ended[index] = True
        if results is not None:
            self.results[index] = results
            failed = _wire.failure(results, self.links[index].pgconn)
        elif isinstance(error, psycopg.Error):
            failed = _wire.lost(error)
        else:
            assert error is not None
            raise error
        if failed is None:
            return INFINITE
        if self.errors[index] is None:
            self.errors[index] = failed
        if not self.cancels:
            self.causes.append(index)
        return now + self.settle

    def _time_out(self, stepper: Stepper[Any]) -> None:
        """Say why the rest is stopped: the deadline, or another partition's failure."""
        now = time.monotonic()
        for index, wanted in stepper.wanted.items():
            if now >= self.deadline:
                self.causes.append(index)
                self.errors[index] = QueryTimeout(
                    f"no answer within {now - self.started:.3f} s",
                    phase="send" if wanted & WRITE else "read",
                )
            else:
                self.errors[index] = ConnectionLost(
                    "cancelled because another partition failed"
                )

    def _cancel(self, connector: Connector) -> None:
        for index, link in enumerate(self.links):
            if self.ended[index] or index in self.cancels:
                continue
            try:
                self.cancels[index] = connector.cancel(link)
            except RouterClosed as error:
                # Nobody is left to ask: the connection is closed, its end unknown.
                self.cancels[index] = futures.Future()
                self.cancels[index].set_exception(error)

    def _stop(self, stepper: Stepper[Any], connector: Connector) -> Steps[None]:
        """Cancel what is still running, and give it a moment to say how it ended."""
        self._cancel(connector)
        until = time.monotonic() + GRACE
        stepper.until = until
        yield Talk(stepper)
        # A link whose cancel request has come to its end may serve again.
        ended = [cancel for i, cancel in self.cancels.items() if self.ended[i]]
        yield Arrival(ended, until)

    def reusable(self, index: int) -> bool:
        """Whether the link may serve another call.

        Not where a cancel request may still be on its way: it would hit that call.
        """
        cancel = self.cancels.get(index)
        if cancel is not None and not (cancel.done() and not cancel.exception()):
            return False
        return self.ended[index] and self.links[index].at_rest

    def close(self, index: int) -> None:
        """Close a link that is not reusable, after its cancel request if it has one."""
        link, cancel = self.links[index], self.cancels.get(index)
        if cancel is None:
            link.close()
        else:
            cancel.add_done_callback(lambda _: link.close())

    def error(self) -> Error | None:
        """Return the error to raise: of the first in tag order that failed by itself.

        None where all were committed, be it at the last moment.
        """
        outcomes = self.outcomes() if self.causes else {}
        for index in sorted(self.causes):
            partition = self.partitions[index]
            error = outcomes[partition].error
            if error is not None:
                error.sent, error.outcomes = True, outcomes
                error.args = (f"{error}{_summary(outcomes)}",)
                return error
        return None

    def outcomes(self) -> dict[int, Outcome[Any]]:
        """Return what became of each partition, rows not loaded yet."""
        return {
            partition: self._outcome(index)
            for index, partition in enumerate(self.partitions)
        }

    def _outcome(self, index: int) -> Outcome[Any]:
        error = self._error(index)
        seconds = self.seconds[index]
        if not self.ended[index]:
            return Outcome("unknown", [], error, True, time.monotonic() - self.started)
        results = self.results[index]
        if results is None:
            return Outcome("unknown", [], error, True, seconds)
        failed = _wire.failure(results, self.links[index].pgconn)
        if failed is None:
            return Outcome("committed", [], None, True, seconds)
        # libpq's own text for a lost connection has no SQLSTATE: nobody knows. A FATAL
        # of the server has one: it ended the transaction.
        lost = isinstance(failed, ConnectionLost) and not failed.diag.sqlstate
        return Outcome("unknown" if lost else "failed", [], error, True, seconds)

    def _error(self, index: int) -> Error | None:
        error = self.errors[index]
        if error is not None and error.partition is None:
            error.partition, error.sent = self.partitions[index], True
            error.function = self.function
            error.args = (f"{self.function}: [{self.labels[index]}] {error}",)
        return error


_MEANING = {
    "committed": "committed",
    "failed": "failed, nothing of this call is there",
    "unknown": "unknown: sent, and its end was not seen; look before you repeat it",
}


def _summary(outcomes: Mapping[int, Outcome[Any]]) -> str:
    """Say in words what became of each partition, where that is not plain."""
    states = {outcome.state for outcome in outcomes.values()}
    if len(outcomes) == 1 and "unknown" not in states:
        return ""
    lines = [""]
    for state, meaning in _MEANING.items():
        partitions = [str(p) for p, out in outcomes.items() if out.state == state]
        if partitions:
            lines.append(f"partition {', '.join(partitions)}: {meaning}")
    return "\n".join(lines)
