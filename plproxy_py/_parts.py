"""The calls of a batch: what each sends to whom, and what became of it.

Knows bytes and outcomes, no connection and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plproxy_py._calls import Reader
from plproxy_py._exchange import Exchange
from plproxy_py._links import Link
from plproxy_py._pools import Pool, Wired
from plproxy_py._preparing import Prepared
from plproxy_py._routing import Routed
from plproxy_py._rows import one_answer
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


class Kind:
    """What the calls of one function on one cluster have in common.

    ``timeout``: seconds, from the moment when a window is sent. ``lands``: one
    partition's rows are the answer.
    """

    def __init__(
        self, function: ProxyFunction, answer: Answer, options: Options, wired: Wired
    ) -> None:
        self.function = function
        self.answer = answer
        self.options = options
        self.wired = wired
        self.sql = function.query.sql
        self.timeout = options.timeout or wired.config.query_timeout or INFINITE
        self.lands = function.gather is None


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
    partition: int
    pool: Pool
    params: Sequence[bytes | None]
    size: int

    @property
    def call(self) -> Call:
        """The call that it is a part of."""
        raise NotImplementedError


class Call:
    """One of many calls. Once ``left`` is 0 it ``failed``, or there is its ``value``.

    ``parts``: by position of its tagged partitions; ``left``: those that are not over.
    ``size``: bytes of its parameters, ``width`` of its results, about.
    """

    failed: Error | None = None
    value: Any = None
    width = 0
    left: int
    size: int
    kind: Kind
    normals: list[Any]

    @property
    def parts(self) -> Sequence[Part]:
        raise NotImplementedError

    def let_go(self) -> None:
        """Hold nothing that holds the call."""

    @property
    def routed(self) -> Routed:
        tags = Tags(tuple([part.partition for part in self.parts]))
        params = [part.params for part in self.parts]
        return Routed(self.kind.wired, tags, params, INFINITE)

    @property
    def prepared(self) -> Prepared:
        """What a single call would have sent."""
        kind = self.kind
        return Prepared(
            kind.function, kind.answer, kind.options, self.normals, self.routed
        )

    @property
    def was_sent(self) -> bool:
        """Whether any of it was."""
        return any(part.began for part in self.parts)

    @property
    def became(self) -> State | None:
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
        self.failed, self.left = error, 0
        for part in self.parts:
            part.is_over = True

    def end(self, part: Part, exchange: Exchange) -> None:
        """Note that nothing more will be known of a part."""
        part.is_over = True
        self.left -= 1
        if not self.left:
            self.settle(exchange)

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
            self.failed = error


class Single(Part, Call):
    """The commonest call, of one partition: it is its own part."""

    left = 1

    def __init__(
        self,
        kind: Kind,
        normals: list[Any],
        partition: int,
        params: Sequence[bytes | None],
    ) -> None:
        self.kind = kind
        self.normals = normals
        self.partition = partition
        self.pool = kind.wired.pools[partition]
        self.params = params
        self.size = size_of_params(params)

    @property
    def call(self) -> Call:
        return self

    @property
    def parts(self) -> Sequence[Part]:
        return (self,)

    @property
    def became(self) -> State | None:
        return self.state if self.began else None

    def land(self, result: PGresult) -> bool:
        """Make the answer of a prepared statement's rows, in the shortest way.

        Return whether it could be made; an error is told in full by `end`.
        """
        kind, link = self.kind, self.link
        if not kind.lands or link is None:
            return False
        try:
            self.value = one_answer(link, result, kind.answer, kind.sql)
        except Error:
            return False
        self.is_over, self.left = True, 0
        return True


class Several(Call):
    """A call of any number of partitions."""

    def __init__(
        self,
        kind: Kind,
        normals: list[Any],
        partitions: Sequence[int],
        params: Sequence[Sequence[bytes | None]],
    ) -> None:
        self.kind = kind
        self.normals = normals
        self._parts = [
            _Piece(self, partition, sent)
            for partition, sent in zip(partitions, params, strict=True)
        ]
        self.left = len(self._parts)
        self.size = sum([part.size for part in self._parts])

    @property
    def parts(self) -> Sequence[Part]:
        return self._parts

    def let_go(self) -> None:
        self._parts = []


class _Piece(Part):
    def __init__(
        self, call: Call, partition: int, params: Sequence[bytes | None]
    ) -> None:
        self._call = call
        self.partition = partition
        self.pool = call.kind.wired.pools[partition]
        self.params = params
        self.size = size_of_params(params)

    @property
    def call(self) -> Call:
        return self._call


def call_of(
    kind: Kind,
    normals: list[Any],
    partitions: Sequence[int],
    params: Sequence[Sequence[bytes | None]],
) -> Call:
    """Return a call of these partitions, ``params`` by position."""
    if len(partitions) == 1:
        return Single(kind, normals, partitions[0], params[0])
    return Several(kind, normals, partitions, params)


def size_of_params(params: Sequence[bytes | None]) -> int:
    """Return how many bytes parameters have."""
    size = 0
    for param in params:
        if param is not None:
            size += len(param)
    return size
