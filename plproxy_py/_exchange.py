"""One statement on some partitions: lend, talk, load, give back.

What functions, home questions and `execute` have in common. Knows no function beyond
the label that stands in errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from plproxy_py import _rows, _wire
from plproxy_py._conversations import LONG_GRACE, Conversations
from plproxy_py._links import Link
from plproxy_py._notices import Notice
from plproxy_py._pools import Loan, Pools, Wired
from plproxy_py._statements import Statement as Statement
from plproxy_py._statements import note
from plproxy_py._steps import Steps, Talk
from plproxy_py._waves import in_waves
from plproxy_py.result import Answer

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGresult

T = TypeVar("T")

# A stream holds this much of each partition.
CHUNK_BYTES = 64 * 1024

# libpq gives rows out by number, whatever their size. Of types that are short by nature
# 500 at once took half the time of 16; others may follow narrow rows with wide ones, so
# of them fewer are asked for, and at first, before one was seen, hardly any.
SHORT_ROWS = 500
MOST_ROWS = 16
FIRST_ROWS = 4


class Exchange:
    """Sends statements through pools and reads their answers."""

    def __init__(self, pools: Pools, on_notice: Callable[[Notice], None]) -> None:
        self.pools = pools
        self.on_notice = on_notice
        self._widths: dict[bytes, int] = {}  # bytes of a row, by statement

    def rows(
        self, wired: Wired, partitions: Sequence[int], statement: Statement
    ) -> Steps[dict[int, list[Any]]]:
        """Run the statement; return rows by partition, whatever columns come.

        Raise the error of the first partition that failed, in tag order, with the
        outcomes of all.
        """
        return self.run(wired, partitions, statement, rows_by_partition)

    def run(
        self,
        wired: Wired,
        partitions: Sequence[int],
        statement: Statement,
        read: Callable[[Conversations], T],
    ) -> Steps[T]:
        """Run the statement; return what ``read`` makes of the conversations.

        Nothing is sent before all links are there, but where a server's limit does not
        allow so many.
        """
        if self.pools.is_too_wide(wired, partitions):
            return (yield from in_waves(self, wired, partitions, statement, read))
        loan = yield from self.pools.lend(wired, partitions, statement.deadline)
        talk = self.conversations(wired, partitions, statement)

        def begin() -> None:
            for index, link in enumerate(loan.links):
                self.begin(talk, index, link, statement)

        return (yield from self._hold(wired, loan, talk, begin, read))

    def adopt(
        self,
        wired: Wired,
        partitions: Sequence[int],
        statement: Statement,
        loan: Loan,
        began: float,
        conversations: Sequence[PQGen[list[PGresult]]],
        read: Callable[[Conversations], T],
    ) -> Steps[T]:
        """Go on with a statement that was sent, as `run` does.

        ``began``: monotonic seconds.
        """
        talk = self.conversations(wired, partitions, statement)

        def begin() -> None:
            for index, link in enumerate(loan.links):
                talk.begin(index, link, conversations[index], began)

        return (yield from self._hold(wired, loan, talk, begin, read))

    def _hold(
        self,
        wired: Wired,
        loan: Loan,
        talk: Conversations,
        begin: Callable[[], None],
        read: Callable[[Conversations], T],
    ) -> Steps[T]:
        """Talk to the end, read what became of it, give the links back."""
        try:
            yield from talk.guard(self.pools.connector, self._talked(talk, begin))
            return read(talk)
        finally:
            loan.give_back(filter(talk.reusable, range(len(talk.links))), talk.close)
            for index, partition in enumerate(talk.partitions):
                note(self.pools, wired.pools[partition], talk, index)

    def _talked(self, talk: Conversations, begin: Callable[[], None]) -> Steps[None]:
        begin()
        yield Talk(talk.stepper)
        if talk.stepper.wanted:
            yield from talk.stop(self.pools.connector, LONG_GRACE)

    def conversations(
        self, wired: Wired, partitions: Sequence[int], statement: Statement
    ) -> Conversations:
        """Return what holds the conversations of a statement; none began yet."""
        labels = [wired.config.target(partition).label for partition in partitions]
        talk = Conversations(
            partitions, labels, statement.label, statement.deadline, statement.settle
        )
        talk.cluster = wired.config.name or None
        talk.is_stopping = lambda: self.pools.is_stopping
        return talk

    def begin(
        self, talk: Conversations, index: int, link: Link, statement: Statement
    ) -> None:
        """Send the statement to one partition."""
        self.listen(talk.function, talk.partitions[index], link)
        prepared = link.prepared if statement.is_repeated else None
        call = _wire.call_gen(
            link.pgconn, statement.sql, statement.params[index], prepared
        )
        talk.begin(index, link, call)

    def chunk_rows(self, sql: bytes, answer: Answer) -> int:
        """Return how many rows of a statement are to come in one chunk."""
        if all(type.is_short for type in answer.types):
            return SHORT_ROWS
        width = self._widths.get(sql)
        if width is None:
            return FIRST_ROWS
        return max(FIRST_ROWS, min(MOST_ROWS, CHUNK_BYTES // (width + 1)))

    def learn_width(self, sql: bytes, width: int) -> None:
        """Note how many bytes a row of the statement had."""
        self._widths[sql] = max(width, self._widths.get(sql, 0) * 7 // 8)

    def listen(self, function: str, partition: int, link: Link) -> None:
        """Hand the link's notices to the callback, in the call's name."""
        link.listener = (self.on_notice, function, partition)


def results_of(talk: Conversations) -> list[PGresult]:
    """Return each partition's result. Raise if one was not committed."""
    failed = talk.error()
    if failed is not None:
        raise failed
    return [results[-1] for results in talk.results if results]


def rows_by_partition(talk: Conversations) -> dict[int, list[Any]]:
    """Return each partition's rows. Raise if one was not committed."""
    results = results_of(talk)
    return {
        partition: _rows.load_rows(link, result, None)
        for partition, link, result in zip(
            talk.partitions, talk.links, results, strict=True
        )
        if link is not None
    }
