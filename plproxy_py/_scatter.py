"""One statement on some partitions, on each as soon as its connection comes.

For calls that can do without some partitions: one that can't be reached, or is slow to
be, holds up no other. Each partition is a loan of its own here, given back as soon as
it has answered, so that nobody waits for a slot while holding another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from plproxy_py._conversations import LONG_GRACE, Conversations
from plproxy_py._links import Link
from plproxy_py._pools import Loan, Wired
from plproxy_py._statements import Sender, Statement, note
from plproxy_py._steps import Arrival, Steps, Talk, Wait
from plproxy_py._waiting import INFINITE
from plproxy_py.errors import Error

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

T = TypeVar("T")


def scatter(
    exchange: Sender,
    wired: Wired,
    partitions: Sequence[int],
    statement: Statement,
    load: Callable[[Link, PGresult], list[Any]],
    read: Callable[[Conversations], T],
    is_enough: Callable[[PGresult], bool] | None = None,
) -> Steps[T]:
    """Run the statement; return what ``read`` makes of the conversations.

    ``load`` makes rows of a result as soon as it is there, into
    `Conversations.loaded`: its link is soon another's, who may do with it what he
    likes. A partition that fails stops no other. ``is_enough`` tells of a result that
    it ends the whole call.
    """
    one = Scatter(exchange, wired, partitions, statement, load, is_enough)
    try:
        yield from one.talk.guard(exchange.pools.connector, one.hold())
        return read(one.talk)
    finally:
        one.give_back()


class Scatter:
    """The loans and conversations of one such call, by position."""

    def __init__(
        self,
        exchange: Sender,
        wired: Wired,
        partitions: Sequence[int],
        statement: Statement,
        rows: Callable[[Link, PGresult], list[Any]],
        is_enough: Callable[[PGresult], bool] | None,
    ) -> None:
        self.exchange = exchange
        self.wired = wired
        self.partitions = partitions
        self.statement = statement
        self._rows = rows
        self.talk = exchange.conversations(wired, partitions, statement)
        self.talk.settle = INFINITE
        self.talk.is_enough = is_enough
        self.talk.wakes = True  # to give the link back at once
        self.lending: dict[int, Steps[Loan]] = {}
        self.waits: dict[int, Arrival] = {}
        self.loans: dict[int, Loan] = {}

    def hold(self) -> Steps[None]:
        talk, stepper = self.talk, self.talk.stepper
        for index in range(len(self.partitions)):
            self.lend(index)
        while (stepper.wanted or self.waits) and talk.winner is None:
            stepper.enough = False
            stepper.until = min([talk.deadline, *self.untils()])
            yield Talk(stepper, self.awaited())
            self.give_back_ended()
            self.advance()
            if time.monotonic() >= talk.deadline:
                break
        self.leave_queues()
        if talk.running:
            yield from talk.stop(self.exchange.pools.connector, LONG_GRACE)
        self.give_back_ended()

    def lend(self, index: int) -> None:
        """Begin to borrow a partition's link."""
        self.lending[index] = self.exchange.pools.lend(
            self.wired, (self.partitions[index],), self.statement.deadline
        )
        self._advance(index)

    def advance(self) -> None:
        """Go on with what was waited for."""
        now = time.monotonic()
        for index, wait in list(self.waits.items()):
            if wait.is_over(now):
                self._advance(index)

    def leave_queues(self) -> None:
        """Borrow no more links."""
        for index in list(self.waits):
            del self.waits[index]
            self.lending.pop(index).close()

    def awaited(self) -> list[Future[Any]]:
        # One that is done by now is in it, and ends the waiting at once.
        return [future for wait in self.waits.values() for future in wait.awaited]

    def untils(self) -> list[float]:
        return [wait.until for wait in self.waits.values()]

    def _advance(self, index: int) -> None:
        """Go on with lending; send as soon as the link is there."""
        try:
            wait: Wait = next(self.lending[index])
        except StopIteration as done:
            del self.lending[index]
            self.waits.pop(index, None)
            self.loans[index] = done.value
            (link,) = done.value.links
            self.exchange.begin(self.talk, index, link, self.statement)
        except Error as error:
            del self.lending[index]
            self.waits.pop(index, None)
            self.talk.refuse(index, error)
        else:
            assert isinstance(wait, Arrival)
            self.waits[index] = wait

    def give_back_ended(self) -> None:
        for index in list(self.loans):
            if self.talk.ended[index]:
                self.load(index)
                self._give_back(index)

    def load(self, index: int) -> None:
        talk = self.talk
        link, results = talk.links[index], talk.results[index]
        if talk.states[index] == "committed" and link is not None and results:
            partition = self.partitions[index]
            try:
                talk.loaded[partition] = self._rows(link, results[-1])
            except Exception as error:
                talk.loaded[partition] = error

    def _give_back(self, index: int) -> None:
        good = [0] if self.talk.reusable(index) else []
        self.loans.pop(index).give_back(good, lambda _: self.talk.close(index))
        pool = self.wired.pools[self.partitions[index]]
        note(self.exchange.pools, pool, self.talk, index)

    def give_back(self) -> None:
        """Give back what is still on loan, and leave the queues."""
        for steps in self.lending.values():
            steps.close()
        for index in list(self.loans):
            self._give_back(index)
