"""Calls: plan, check out, talk, collect.

The course of a call of a function. Whatever has to be waited for is
yielded (see `_steps`).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from plproxy_py import _collect, _explain, _rows
from plproxy_py._collect import Answered, answer_of, rows_of
from plproxy_py._conversations import Conversations
from plproxy_py._discreet import hide_in
from plproxy_py._exchange import Exchange, Statement, results_of
from plproxy_py._observing import (
    Observers,
    Watch,
    WatchedSource,
    observed,
    reached,
)
from plproxy_py._pools import Loan, Wired
from plproxy_py._preparing import Callee, Prepared, Preparer, arguments_of
from plproxy_py._retrying import Retrier, Send
from plproxy_py._routing import Routed
from plproxy_py._scatter import scatter
from plproxy_py._steps import Steps
from plproxy_py._streams import Source
from plproxy_py._waiting import INFINITE
from plproxy_py.answers import Partial
from plproxy_py.errors import (
    Error,
    Outcome,
    RoutingError,
    placed,
)
from plproxy_py.function import ProxyFunction

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGresult

T = TypeVar("T")

REMEDY_TIMEOUT = 1.0


class Calls:
    """What a router does for each call."""

    def __init__(self, preparer: Preparer, exchange: Exchange) -> None:
        self.preparer = preparer
        self.exchange = exchange
        self.observers = Observers()
        self._remedies: dict[str, str] = {}

    def call(
        self, callee: Callee, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Steps[Any]:
        """One call of a function, to its answer; a `Source` for a stream."""
        prepared = yield from self.preparer.prepare(callee, args, kwargs)
        if prepared.answer.stream:
            return self._source(prepared)
        if prepared.routed is None:
            return prepared.nothing
        return (yield from self.answer(prepared, prepared.routed))

    def each(self, callee: Callee, calls: Mapping[int, Any]) -> Steps[Any]:
        """Call each partition with its own arguments; return the answer."""
        started = time.monotonic()
        function, answer, options, deadline = yield from self.preparer.opened(
            callee, started
        )
        if not isinstance(calls, Mapping):
            raise TypeError(
                f"{function.label}: call_each takes a mapping of partitions to their "
                f"arguments, not {type(calls).__name__}"
            )
        normals: dict[int, list[Any]] = {}
        for partition, item in calls.items():
            if isinstance(partition, bool) or not isinstance(partition, int):
                raise RoutingError(
                    f"{function.label}: a partition is a number, from 0, not "
                    f"{type(partition).__name__}"
                )
            args, kwargs = arguments_of(item, function.label, f"partition {partition}")
            normals[partition] = yield from self.preparer.routing.arguments(
                function, args, kwargs, deadline
            )
        if len(normals) > 1 and not (answer.setof or function.gather):
            raise RoutingError(
                f"{function.label}: several partitions give several rows, and it "
                "returns one: declare a set, or combine="
            )
        if len({function.window(own) for own in normals.values()}) > 1:
            raise RoutingError(f"{function.label}: limit and offset must be the same")
        called = {
            partition: own
            for partition, own in normals.items()
            if not (function.strict and None in own)
        }
        if normals and not called:
            return Prepared(function, answer, options, [], None).nothing
        try:
            routed = yield from self.preparer.routing.route_each(
                function, called, self.preparer.cluster, started, options.timeout
            )
            own = next(iter(called.values()))
            prepared = Prepared(function, answer, options, own, routed)
            prepared.check_need()
            found = yield from self.answer(prepared, routed)
            hide_in(found, function, options, list(zip(*called.values(), strict=True)))
        except Error as error:
            hide_in(error, function, options, list(zip(*called.values(), strict=True)))
            raise
        return found

    def answer(self, prepared: Prepared, routed: Routed) -> Steps[Any]:
        """Send a call that is prepared; return its answer."""
        answer, options = prepared.answer, prepared.options
        read = Reader(prepared, routed.tags.partitions)
        if not (options.first or options.partial):
            return (yield from self._sent(prepared, routed, read.whole))
        load = functools.partial(_collect.load, prepared.function, answer)
        send = functools.partial(scatter, self.exchange, load=load)
        if not options.first:
            return (yield from self._sent(prepared, routed, read.partial, send))
        search = functools.partial(
            send, is_enough=lambda result: _rows.has_row(result, answer.setof)
        )
        return (yield from self._sent(prepared, routed, read.first, search))

    def _sent(
        self,
        prepared: Prepared,
        routed: Routed,
        read: Callable[[Conversations], T],
        send: Send | None = None,
    ) -> Steps[T]:
        """Send a call, and again where its options say so.

        ``send``: how, where partitions may fail.
        """
        read = observed(read)
        if prepared.options.retry:
            retrier = self._retrier(prepared, routed, is_strict=send is None)
            steps = retrier.run(send or self.exchange.run, read)
        else:
            statement = prepared.statement(routed)
            steps = (send or self.exchange.run)(
                routed.wired, routed.tags.partitions, statement, read=read
            )
        return (yield from self.told(prepared, routed, steps))

    def _retrier(
        self, prepared: Prepared, routed: Routed, *, is_strict: bool
    ) -> Retrier:
        load = functools.partial(_collect.load, prepared.function, prepared.answer)
        return Retrier(
            self.preparer, self.exchange, prepared, routed, load, is_strict=is_strict
        )

    def adopt(
        self,
        prepared: Prepared,
        routed: Routed,
        loan: Loan,
        began: float,
        conversations: Sequence[PQGen[list[PGresult]]],
    ) -> Steps[Any]:
        """Go on with a call that was sent."""
        partitions = routed.tags.partitions
        first = functools.partial(
            self.exchange.adopt,
            routed.wired,
            partitions,
            prepared.statement(routed),
            loan,
            began,
            conversations,
        )
        read = observed(Reader(prepared, partitions).whole)
        if prepared.options.retry:
            retrier = self._retrier(prepared, routed, is_strict=True)
            steps = retrier.run(self.exchange.run, read, first)
        else:
            steps = first(read)
        return (yield from self.told(prepared, routed, steps))

    def outcomes(
        self, callee: Callee, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Steps[dict[int, Outcome[Any]]]:
        """Run a call on each partition by itself; return what became of each."""
        prepared = yield from self.preparer.prepare(callee, args, kwargs)
        routed, function = prepared.routed, prepared.function
        if routed is None:
            return {}

        def read(talk: Conversations) -> dict[int, Outcome[Any]]:
            outcomes = talk.outcomes()
            for partition, rows in talk.loaded.items():
                if isinstance(rows, list):
                    outcomes[partition].rows.extend(rows)
                elif isinstance(rows, Error):
                    rows.partition, rows.sent = partition, True
                    rows.cluster = talk.cluster
                    placed(rows, function.label)
                    outcomes[partition] = replace(outcomes[partition], error=rows)
                else:
                    raise rows
            return outcomes

        load = functools.partial(rows_of, function, prepared.answer)
        send: Send = functools.partial(scatter, self.exchange, load=load)
        return (yield from self._sent(prepared, routed, read, send))

    def stream(
        self, callee: Callee, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Steps[Source]:
        """Return a streaming call, nothing sent yet."""
        return self._source((yield from self.preparer.prepare(callee, args, kwargs)))

    def _source(self, prepared: Prepared) -> Source:
        routed = prepared.routed
        if routed is None or not routed.tags.partitions:
            return Source.empty()
        timeout = prepared.options.timeout or routed.wired.config.query_timeout

        def told(steps: Steps[list[Any]]) -> Steps[list[Any]]:
            return self.told(prepared, routed, steps)

        kind = WatchedSource if self.observers.listeners else Source
        source = kind(
            self.exchange,
            routed.wired,
            routed.tags.partitions,
            prepared.statement(routed),
            prepared.function,
            prepared.answer,
            prepared.normals,
            timeout or INFINITE,
            told,
        )
        if isinstance(source, WatchedSource):
            watch = Watch(prepared.function.label, is_set=True)
            watch.reach(routed.wired, routed.tags.partitions)
            source.look_on(self.observers, watch)
        return source

    def told(self, prepared: Prepared, routed: Routed, steps: Steps[T]) -> Steps[T]:
        """Take the steps; say of an error which call it is about, and what helps."""
        function, options = prepared.function, prepared.options
        reached(
            function.label,
            routed.wired,
            routed.tags.partitions,
            is_set=prepared.answer.setof,
        )
        try:
            answer = yield from steps
            hide_in(answer, function, options, prepared.normals)
            return answer
        except Error as error:
            error.cluster = routed.wired.config.name
            lacking = _explain.lacking_partition(function, error)
            if lacking is not None:
                hint = yield from self._remedy(function, routed.wired, lacking)
                error.args = (f"{error}\nHINT: {hint}",)
            hide_in(error, function, options, prepared.normals)
            raise placed(error, function.label) from error.__cause__

    def _remedy(
        self, function: ProxyFunction, wired: Wired, partition: int
    ) -> Steps[str]:
        """Ask the partition, once for each function, which declaration would fit."""
        key = function.signature.key
        if key not in self._remedies:
            statement = Statement(
                function.label,
                _explain.CANDIDATES,
                [_explain.candidates_params(function)],
                time.monotonic() + REMEDY_TIMEOUT,
            )
            try:
                rows = yield from self.exchange.rows(wired, (partition,), statement)
            except Error as error:
                return f"the partition's catalog could not be asked: {error}"
            self._remedies[key] = _explain.remedy(function, rows[partition])
        return self._remedies[key]


class Reader:
    """What is made of a call's conversations, by the kind of call."""

    def __init__(self, prepared: Prepared, partitions: Sequence[int]) -> None:
        self._prepared = prepared
        self._partitions = partitions

    def whole(self, talk: Conversations) -> Any:
        answered = _answered(talk)
        self._check(talk, answered)
        return self._collected(talk, answered)

    def partial(self, talk: Conversations) -> Any:
        answered = _answered(talk)
        need = min(self._prepared.options.need, len(self._partitions))
        if len(answered) < need:
            self._check(talk, answered)
        errors = {
            partition: outcome.error
            for partition, outcome in talk.outcomes().items()
            if outcome.error is not None
        }
        return Partial(self._collected(talk, answered), tuple(errors), errors)

    def first(self, talk: Conversations) -> Any:
        answered = _answered(talk)
        if talk.winner is not None:
            won = self._partitions[talk.winner]
            return self._collected(talk, [one for one in answered if one[0] == won])
        results_of(talk)
        return self._collected(talk, [])

    def _check(self, talk: Conversations, answered: Sequence[Answered]) -> None:
        """Raise if one was not committed; what the others sent is in the outcomes."""
        try:
            results_of(talk)
        except Error as error:
            for partition, link, result in answered:
                with suppress(Error):
                    call = self._prepared
                    rows = rows_of(call.function, call.answer, link, result)
                    error.outcomes[partition].rows.extend(rows)
            raise

    def _collected(self, talk: Conversations, answered: Sequence[Answered]) -> Any:
        """Return the answer. An error tells that all was committed nevertheless."""
        call = self._prepared
        rows: dict[int, list[Any]] = {}
        try:
            return answer_of(
                call.function, call.answer, call.normals, answered, rows, talk.loaded
            )
        except Error as error:
            error.sent, error.outcomes = bool(self._partitions), talk.outcomes()
            for partition, loaded in rows.items():
                error.outcomes[partition].rows.extend(loaded)
            raise


def _answered(talk: Conversations) -> list[Answered]:
    """Return what was committed, in tag order."""
    return [
        (partition, link, results[-1])
        for partition, link, results, state in zip(
            talk.partitions, talk.links, talk.results, talk.states, strict=True
        )
        if state == "committed" and link is not None and results
    ]
