"""The calls of a batch: what each sends to whom, and what became of it.

Knows bytes and outcomes, no connection and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plproxy_py import _rows
from plproxy_py._calls import _Reader
from plproxy_py._exchange import Exchange
from plproxy_py._links import Link
from plproxy_py._pools import Pool
from plproxy_py._preparing import Prepared
from plproxy_py._routing import Routed
from plproxy_py._waiting import INFINITE
from plproxy_py.errors import Error, Outcome, State

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

# Bytes of results that are held, and of calls in flight with the results expected.
BUDGET = 16 * 1024 * 1024

# What the first result is expected to have.
UNSEEN = 1024 * 1024


class Gauge:
    """The bytes of a batch, measured and expected. ``most``: the highest they were.

    ``held``: of results that nobody has taken yet. ``params``: of calls that nobody has
    the results of. ``width``: of a result, as the latest ones were.
    """

    def __init__(self) -> None:
        self.held = self.params = self.most = 0
        self.width = UNSEEN
        self._flying = self._in_flight = 0
        self._was_seen = False

    @property
    def is_full(self) -> bool:
        """Whether results must be taken before more can be read."""
        return self.held > BUDGET

    def has_room(self, size: int) -> bool:
        """Whether one more call may be sent, with ``size`` bytes of parameters."""
        expected = self._flying + size + (self._in_flight + 1) * self.width
        return self.held + expected <= BUDGET

    def sent(self, size: int) -> None:
        self._flying += size
        self._in_flight += 1

    def lost(self, size: int) -> None:
        """Note that the result of a call that was sent will not come."""
        self._flying -= size
        self._in_flight -= 1

    def took(self, size: int, width: int) -> None:
        """Note a result of ``width`` bytes, of a call with ``size`` of parameters."""
        self.lost(size)
        self.held += width
        self.width = max(width, self.width * 7 // 8) if self._was_seen else width
        self._was_seen = True
        self.most = max(self.most, self.held + self.params)


class Part:
    """A call on one of its partitions.

    ``began``: when it was sent, monotonic seconds, 0 if it was not. ``is_over``:
    nothing more will be known of it.
    """

    __slots__ = (
        "began",
        "call",
        "error",
        "is_over",
        "link",
        "params",
        "partition",
        "pool",
        "results",
        "seconds",
        "size",
        "state",
    )

    def __init__(
        self, call: Call, partition: int, pool: Pool, params: Sequence[bytes | None]
    ) -> None:
        self.call = call
        self.partition = partition
        self.pool = pool
        self.params = params
        self.size = sum([len(param) for param in params if param])
        self.began = self.seconds = 0.0
        self.is_over = False
        self.state: State = "failed"
        self.error: Error | None = None
        self.link: Link | None = None
        self.results: list[PGresult] = []


class Call:
    """One of many calls. Once ``left`` is 0 there is its ``error``, or its ``value``.

    ``timeout``: seconds, from the moment when its window is sent. ``parts``: by
    position of its tagged partitions; ``left``: those that are not over. ``width``:
    bytes of its results, about.
    """

    __slots__ = (
        "error",
        "left",
        "parts",
        "prepared",
        "routed",
        "timeout",
        "value",
        "width",
    )

    def __init__(self, prepared: Prepared, routed: Routed) -> None:
        config, pools = routed.wired.config, routed.wired.pools
        self.prepared = prepared
        self.routed = routed
        self.timeout = prepared.options.timeout or config.query_timeout or INFINITE
        self.width = 0
        self.value: Any = None
        self.error: Error | None = None
        self.parts = [
            Part(self, partition, pools[partition], params)
            for partition, params in zip(
                routed.tags.partitions, routed.params, strict=True
            )
        ]
        self.left = len(self.parts)

    @property
    def size(self) -> int:
        """The bytes of its parameters."""
        return sum([part.size for part in self.parts])

    @property
    def was_sent(self) -> bool:
        """Whether any of it was."""
        return any(part.began for part in self.parts)

    @property
    def state(self) -> State | None:
        """What became of it, as far as it is known; None where nothing was sent."""
        if not self.was_sent:
            return None
        states = {part.state for part in self.parts}
        if "unknown" in states:
            return "unknown"
        return "failed" if "failed" in states else "committed"

    def refuse(self, error: Error) -> None:
        """End it before anything was sent."""
        error.outcomes = {
            part.partition: Outcome("failed", [], error, False, 0.0)
            for part in self.parts
        }
        self.error, self.left = error, 0
        for part in self.parts:
            part.is_over = True

    def end(self, part: Part, exchange: Exchange, is_prepared: bool = False) -> None:
        """Note that nothing more will be known of a part.

        ``is_prepared``: its columns are those of the prepared statement.
        """
        part.is_over = True
        self.left -= 1
        if self.left:
            return
        is_alone = len(self.parts) == 1 and part.state == "committed"
        if not (is_alone and self._land(part, is_prepared)):
            self.settle(exchange)

    def _land(self, part: Part, is_prepared: bool) -> bool:
        """Make the answer of the commonest call, in the shortest way."""
        function, answer, link = self.prepared.function, self.prepared.answer, part.link
        if function.gather is not None or link is None:
            return False
        result = part.results[-1]
        try:
            _rows.check_rows(result)
            answer.check_count(result.ntuples)
            rows = (
                _rows.load_cached(link, result, answer, function.query.sql)
                if is_prepared
                else _rows.load_rows(link, result, answer)
            )
            self.value = answer.collect((rows,))
        except Error:
            return False  # it is told in full by the longer way
        part.results = []
        return True

    def settle(self, exchange: Exchange) -> None:
        """Make the answer, or the error, of what became of the parts."""
        prepared, routed = self.prepared, self.routed
        statement, partitions = prepared.statement(routed), routed.tags.partitions
        talk = exchange.conversations(routed.wired, partitions, statement)
        for index, part in enumerate(self.parts):
            talk.links[index], talk.results[index] = part.link, part.results
            talk.states[index], talk.errors[index] = part.state, part.error
            talk.began[index], talk.seconds[index] = part.began, part.seconds
            talk.ended[index] = True
            if part.error is not None:
                talk.causes.append(index)
            part.results = []
        try:
            self.value = _Reader(prepared, partitions).whole(talk)
        except Error as error:
            self.error = error
