"""A call whose rows are handed out as they come, in bounded memory.

Each partition holds one chunk at most; it is asked for the next when that one was
taken, so a slow consumer slows the servers and nothing piles up. The rows of a
partition that fails later have been handed out by then: the error says how many.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from plproxy_py import _rows, _wire
from plproxy_py._collect import keyed_rows
from plproxy_py._conversations import LONG_GRACE
from plproxy_py._exchange import CHUNK_BYTES, Exchange, Statement
from plproxy_py._links import Link
from plproxy_py._pools import Loan, Wired
from plproxy_py._statements import note
from plproxy_py._steps import Steps, Talk
from plproxy_py.errors import Error, ResultError
from plproxy_py.function import ProxyFunction
from plproxy_py.gather import Ordered
from plproxy_py.ordering import OutOfOrder
from plproxy_py.result import Answer

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

T = TypeVar("T")


class Source:
    """The rows of one streaming call. Nothing is sent before the first are wanted.

    ``timeout``: seconds that servers may be waited for, in all. ``told`` says of
    errors which call they are about. ``most_held``: the most bytes that waited to be
    taken at a time.
    """

    def __init__(
        self,
        exchange: Exchange,
        wired: Wired,
        partitions: Sequence[int],
        statement: Statement,
        function: ProxyFunction,
        answer: Answer,
        normals: Sequence[Any],
        timeout: float,
        told: Callable[[Steps[list[Any]]], Steps[list[Any]]],
    ) -> None:
        self._exchange = exchange
        self._wired = wired
        self._partitions = partitions
        self._statement = statement
        self._function = function
        self._answer = answer
        self._left = timeout
        self._told = told
        self._talk = exchange.conversations(wired, partitions, statement)
        self._chunks: list[deque[PGresult]] = [deque() for _ in partitions]
        self._held = [0] * len(partitions)  # bytes, about
        self.most_held = 0
        # Where a server's limit does not allow all at once, some follow others.
        self._waves = deque(exchange.pools.waves(wired, partitions))
        self._lent: Sequence[int] = ()
        self._loan: Loan | None = None
        self._over = False
        self._delivered = 0
        self._merge: _Merge | None = None
        if isinstance(function.gather, Ordered):
            offset, limit = function.window(normals)
            self._merge = _Merge(len(partitions), function.gather, offset, limit)
            self._waves = deque([list(range(len(partitions)))])

    @classmethod
    def empty(cls) -> Source:
        """Return a source without rows, for a call that reaches no partition."""
        source = cls.__new__(cls)
        source._over, source._loan = True, None
        return source

    def more(self) -> Steps[list[Any]]:
        """Return the next rows, none at the end.

        Raise the error of a partition that failed, once what others had to say was
        handed out.
        """
        if self._over:
            return []
        started = time.monotonic()
        try:
            rows = yield from self._told(self._more(started))
        except BaseException as error:
            self._finish()
            if isinstance(error, Error) and self._delivered:
                error.args = (f"{error}\n{self._delivered} rows had been delivered",)
            raise
        self._left -= time.monotonic() - started
        self._delivered += len(rows)
        if not rows:
            self._finish()
        return rows

    def stop(self) -> Steps[None]:
        """End the call early: cancel what still runs, give the connections back."""
        if self._over:
            return
        try:
            if self._talk.running:
                yield from self._talk.stop(self._exchange.pools.connector)
        finally:
            self._finish()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to stop."""
        return self._over or self._loan is None

    def abandon(self) -> None:
        """Give the connections back as they are; those in the middle are closed."""
        self._finish()

    def _finish(self) -> None:
        if self._loan is not None:
            self._exchange.pools.streaming.pop(self, None)
        self._over = True
        self._give_back()

    def _give_back(self) -> None:
        talk, lent, loan = self._talk, self._lent, self._loan
        if loan is not None:
            good = [place for place, index in enumerate(lent) if talk.reusable(index)]
            loan.give_back(good, lambda place: talk.close(lent[place]))
            self._loan = None
            for index in lent:
                pool = self._wired.pools[self._partitions[index]]
                note(self._exchange.pools, pool, talk, index)

    def _more(self, started: float) -> Steps[list[Any]]:
        talk, pools = self._talk, self._exchange.pools
        talk.deadline = started + self._left
        while True:
            if self._loan is None:
                self._lent = self._waves.popleft()
                lent = [self._partitions[index] for index in self._lent]
                self._loan = yield from pools.lend(self._wired, lent, talk.deadline)
                pools.streaming[self] = self._loan
                begin = self._begin(self._loan.links)
                yield from talk.guard(pools.connector, begin)
            try:
                rows = yield from talk.guard(pools.connector, self._next())
            except ResultError as error:
                error.sent, error.outcomes = True, talk.outcomes()
                raise
            if rows or not self._waves:
                return rows
            self._give_back()

    def _begin(self, links: Sequence[Link]) -> Steps[None]:
        yield from ()
        statement = self._statement
        for index, link in zip(self._lent, links, strict=True):
            self._exchange.listen(statement.label, self._partitions[index], link)
            link.prepared.in_chunks = True
            call = _wire.stream_gen(
                link.pgconn,
                statement.sql,
                statement.params[index],
                self._exchange.chunk_rows(statement.sql, self._answer),
                self._taker(index),
            )
            self._talk.begin(index, link, call)

    def _taker(self, index: int) -> Callable[[PGresult], bool]:
        def take(result: PGresult) -> bool:
            if self._talk.cancels or (self._merge is not None and self._merge.over):
                return False  # read to the end, to see how it ended
            width = _rows.width(result)
            self._exchange.learn_width(self._statement.sql, width)
            self._chunks[index].append(result)
            self._held[index] += width * result.ntuples
            self.most_held = max(self.most_held, sum(self._held))
            self._talk.stepper.enough = True
            # A merge waits for the slowest: whoever is ahead of it must not pile up.
            return self._merge is not None or self._held[index] >= CHUNK_BYTES

        return take

    def _next(self) -> Steps[list[Any]]:
        talk, stepper = self._talk, self._talk.stepper
        while True:
            stepper.until = min(talk.deadline, talk.settle_until)
            if talk.running and time.monotonic() >= stepper.until:
                yield from talk.stop(self._exchange.pools.connector, LONG_GRACE)
                raise talk.why_stopped()
            rows = self._loaded()
            if rows:
                return rows
            if not talk.running:
                break
            stepper.enough = False
            for index in list(stepper.paused):
                if self._wants(index):
                    stepper.resume(index)
            yield Talk(stepper)
        failed = talk.error()
        if failed is not None:
            raise failed
        return []

    def _wants(self, index: int) -> bool:
        """Whether a partition may send its next chunk."""
        if self._merge is None:
            return not self._chunks[index]
        return self._merge.wants(index)

    def _loaded(self) -> list[Any]:
        """Return rows out of the chunks that are there."""
        if self._merge is not None:
            return self._merged(self._merge)
        sent = self._function.sent or self._answer
        rows: list[Any] = []
        for index in range(len(self._chunks)):
            with self._naming(index):
                for link, result in self._taken(index):
                    loaded = _rows.load_rows(link, result, sent)
                    rows += self._answer.collect([loaded])
        return rows

    def _merged(self, merge: _Merge) -> list[Any]:
        for index in range(len(self._chunks)):
            with self._naming(index):
                for link, result in self._taken(index):
                    merge.feed(index, keyed_rows(self._function, link, result))
            if self._talk.states[index] == "committed":
                merge.end(index)
        # Without a partition's rows the order has a hole: nothing comes behind it.
        merge.over |= bool(self._talk.causes)
        try:
            values = merge.ready()
        except OutOfOrder as error:
            error.partition = self._partitions[error.source]
            raise
        rows = list(map(self._answer.make_row, values))
        self._answer.collect([rows])
        return rows

    @contextmanager
    def _naming(self, index: int) -> Iterator[None]:
        """Say of a value that does not fit which partition sent it."""
        try:
            yield
        except ResultError as error:
            error.partition = self._partitions[index]
            raise

    def _taken(self, index: int) -> Iterator[tuple[Link, PGresult]]:
        """Take a partition's chunks, so that it may send more."""
        chunks, link = self._chunks[index], self._talk.links[index]
        self._held[index] = 0
        while chunks:
            assert link is not None
            yield link, chunks.popleft()


class _Merge:
    """A merge that is fed as rows come, and stops where it must wait for more."""

    def __init__(
        self, count: int, gather: Ordered, offset: int, limit: int | None
    ) -> None:
        self._feeds = [_Feed() for _ in range(count)]
        self._rows = gather.rows(self._feeds)
        self._skip, self._left = offset, limit
        # The first row is taken after one look ahead at each source, and one more.
        self._ahead = 2
        self.over = limit == 0

    def feed(self, index: int, rows: Sequence[Any]) -> None:
        """Take a partition's next rows, as (keys, values)."""
        self._feeds[index].rows.extend(rows)

    def end(self, index: int) -> None:
        """Note that a partition has sent all its rows."""
        self._feeds[index].ended = True

    def wants(self, index: int) -> bool:
        """Whether the merge can't go on without more of this partition."""
        feed = self._feeds[index]
        return self.over or not (feed.ended or len(feed.rows) >= self._ahead)

    def ready(self) -> list[Sequence[Any]]:
        """Return the rows that are certain to come next."""
        rows: list[Sequence[Any]] = []
        while not self.over and (certain := self._certain()):
            if self._left is not None:
                certain = min(certain, self._skip + self._left)
            taken = list(islice(self._rows, certain))
            self._ahead = 1
            self.over = len(taken) < certain
            skipped = min(self._skip, len(taken))
            self._skip -= skipped
            rows += taken[skipped:]
            if self._left is not None:
                self._left -= len(taken) - skipped
                self.over |= self._left == 0
        return rows

    def _certain(self) -> int:
        """Return how many rows can be taken before a source might run dry."""
        open_feeds = [len(feed.rows) for feed in self._feeds if not feed.ended]
        if not open_feeds:
            return 1 + sum(len(feed.rows) for feed in self._feeds) + len(self._feeds)
        return max(0, min(open_feeds) - self._ahead + 1)


class _Feed:
    """One partition's rows, as an iterator that is asked only when it has some."""

    __slots__ = ("ended", "rows")

    def __init__(self) -> None:
        self.rows: deque[Any] = deque()
        self.ended = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self.rows:
            raise StopIteration
        return self.rows.popleft()
