"""One statement on some partitions: lend, talk, load, give back.

What functions, home questions and `execute` have in common. Knows no function beyond
the label that stands in errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from plproxy_py import _rows
from plproxy_py._conversations import Conversations
from plproxy_py._notices import Notice
from plproxy_py._pools import Pools, Wired
from plproxy_py._steps import Steps
from plproxy_py.errors import Error
from plproxy_py.result import Answer

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

T = TypeVar("T")

SETTLE = 1.0


@dataclass(frozen=True, slots=True)
class Statement:
    """What is sent, and in whose name.

    ``params``: for each partition, by position. ``deadline``: monotonic seconds.
    """

    label: str
    sql: bytes
    params: Sequence[Sequence[bytes | None]]
    deadline: float


class Exchange:
    """Sends statements through pools and reads their answers."""

    def __init__(self, pools: Pools, on_notice: Callable[[Notice], None]) -> None:
        self._pools = pools
        self._on_notice = on_notice

    def rows(
        self,
        wired: Wired,
        partitions: Sequence[int],
        statement: Statement,
        answer: Answer | None,
    ) -> Steps[dict[int, list[Any]]]:
        """Run the statement; return rows by partition.

        ``answer`` None: whatever columns come, as `Row`. Raise the error of the first
        partition that failed, in tag order, with the outcomes of all.
        """
        return self.run(
            wired, partitions, statement, lambda talk: _load(talk, answer, dict)
        )

    def call(
        self,
        wired: Wired,
        partitions: Sequence[int],
        statement: Statement,
        answer: Answer,
    ) -> Steps[Any]:
        """Run the statement as `rows` does; return the caller's answer."""

        def collect(rows: Mapping[int, list[Any]]) -> Any:
            return answer.collect(list(rows.values()))

        return self.run(
            wired, partitions, statement, lambda talk: _load(talk, answer, collect)
        )

    def run(
        self,
        wired: Wired,
        partitions: Sequence[int],
        statement: Statement,
        read: Callable[[Conversations], T],
    ) -> Steps[T]:
        """Run the statement; return what ``read`` makes of the conversations."""
        loan = yield from self._pools.lend(wired, partitions, statement.deadline)
        links = loan.links
        labels = [wired.config.target(partition).label for partition in partitions]
        talk = Conversations(
            links, partitions, statement.deadline, SETTLE, statement.label, labels
        )
        try:
            for link, partition in zip(links, partitions, strict=True):
                link.notice = Notice.sink(self._on_notice, statement.label, partition)
            yield from talk.hold(statement.sql, statement.params, self._pools.connector)
            return read(talk)
        finally:
            loan.give_back(filter(talk.reusable, range(len(links))), talk.close)


def results_of(talk: Conversations) -> list[PGresult]:
    """Return each partition's result. Raise if one was not committed."""
    failed = talk.error()
    if failed is not None:
        raise failed
    return [results[-1] for results in talk.results if results]


def _load(
    talk: Conversations,
    answer: Answer | None,
    finish: Callable[[Mapping[int, list[Any]]], T],
) -> T:
    """Return what ``finish`` makes of the rows by partition.

    An error in what came tells that all was committed nevertheless.
    """
    results = results_of(talk)
    rows: dict[int, list[Any]] = {}
    try:
        if answer is not None:
            for result in results:
                _rows.check_rows(result)
            answer.check_count(sum(result.ntuples for result in results))
        for link, partition, result in zip(
            talk.links, talk.partitions, results, strict=True
        ):
            rows[partition] = _rows.load_rows(link, result, answer)
        return finish(rows)
    except Error as error:
        error.sent, error.outcomes = True, talk.outcomes()
        for partition, loaded in rows.items():
            error.outcomes[partition].rows.extend(loaded)
        raise
