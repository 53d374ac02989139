"""The calls of a batch: what each sends to whom, and what became of it.

Knows bytes and outcomes, no connection and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plproxy_py import _rows
from plproxy_py._calls import Reader
from plproxy_py._exchange import Exchange
from plproxy_py._links import Link
from plproxy_py._pools import Pool, Wired
from plproxy_py._preparing import Prepared
from plproxy_py._routing import Routed
from plproxy_py._waiting import INFINITE
from plproxy_py.errors import Error, Outcome, State
from plproxy_py.function import ProxyFunction
from plproxy_py.options import Options
from plproxy_py.result import Answer
from plproxy_py.tagging import Tags

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

    def send(self, size: int) -> bool:
        """Note a call with ``size`` bytes of parameters as sent, if there is room."""
        flying, in_flight = self._flying + size, self._in_flight + 1
        if self.held + flying + in_flight * self.width > BUDGET:
            return False
        self._flying, self._in_flight = flying, in_flight
        return True

    def send_anyway(self, size: int) -> None:
        self._flying += size
        self._in_flight += 1

    def lost(self, size: int) -> None:
        """Note that the result of a call that was sent will not come."""
        self._flying -= size
        self._in_flight -= 1

    def took(self, size: int, width: int) -> None:
        """Note a result of ``width`` bytes, of a call with ``size`` of parameters."""
        self._flying -= size
        self._in_flight -= 1
        self.held += width
        faded = self.width * 7 // 8 if self._was_seen else 0
        self.width = width if width > faded else faded
        self._was_seen = True
        if self.held + self.params > self.most:
            self.most = self.held + self.params


class Part:
    """A call on one of its partitions.

    ``began``: when it was sent, monotonic seconds, 0 if it was not. ``is_over``:
    nothing more will be known of it.
    """

    # Not slots: what is the same for all of them costs nothing to make.
    began = seconds = 0.0
    is_over = False
    state: State = "failed"
    error: Error | None = None
    link: Link | None = None
    results: Sequence[PGresult] = ()

    def __init__(
        self, call: Call, partition: int, pool: Pool, params: Sequence[bytes | None]
    ) -> None:
        self.call = call
        self.partition = partition
        self.pool = pool
        self.params = params
        size = 0
        for param in params:
            if param is not None:
                size += len(param)
        self.size = size


class Call:
    """One of many calls. Once ``left`` is 0 there is its ``error``, or its ``value``.

    ``parts``: by position of its tagged partitions; ``left``: those that are not over.
    ``size``: bytes of its parameters, ``width`` of its results, about.
    """

    error: Error | None = None
    value: Any = None
    width = 0

    def __init__(
        self,
        function: ProxyFunction,
        answer: Answer,
        options: Options,
        normals: list[Any],
        wired: Wired,
        partitions: Sequence[int],
        params: Sequence[Sequence[bytes | None]],
    ) -> None:
        self.function = function
        self.answer = answer
        self.options = options
        self.normals = normals
        self.wired = wired
        pools = wired.pools
        self.parts = [
            Part(self, partition, pools[partition], sent)
            for partition, sent in zip(partitions, params, strict=True)
        ]
        self.left = len(self.parts)
        self.size = sum([part.size for part in self.parts])

    @property
    def timeout(self) -> float:
        """Seconds, from the moment when its window is sent."""
        return self.options.timeout or self.wired.config.query_timeout or INFINITE

    @property
    def routed(self) -> Routed:
        tags = Tags(tuple([part.partition for part in self.parts]))
        params = [part.params for part in self.parts]
        return Routed(self.wired, tags, params, INFINITE)

    @property
    def prepared(self) -> Prepared:
        """What a single call would have sent."""
        return Prepared(
            self.function, self.answer, self.options, self.normals, self.routed
        )

    @property
    def was_sent(self) -> bool:
        """Whether any of it was."""
        return any(part.began for part in self.parts)

    @property
    def state(self) -> State | None:
        """What became of it, as far as it is known; None where nothing was sent."""
        if len(self.parts) == 1:
            return self.parts[0].state if self.parts[0].began else None
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
        function, answer, link = self.function, self.answer, part.link
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
        part.results = ()
        return True

    def settle(self, exchange: Exchange) -> None:
        """Make the answer, or the error, of what became of the parts."""
        prepared, routed = self.prepared, self.routed
        statement, partitions = prepared.statement(routed), routed.tags.partitions
        talk = exchange.conversations(routed.wired, partitions, statement)
        for index, part in enumerate(self.parts):
            talk.links[index], talk.results[index] = part.link, list(part.results)
            talk.states[index], talk.errors[index] = part.state, part.error
            talk.began[index], talk.seconds[index] = part.began, part.seconds
            talk.ended[index] = True
            if part.error is not None:
                talk.causes.append(index)
            part.results = ()
        try:
            self.value = Reader(prepared, partitions).whole(talk)
        except Error as error:
            self.error = error
