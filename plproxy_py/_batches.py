"""Many calls of one function: prepared as they come, sent in windows, told in order.

Bounded in calls and in bytes: what waits for its turn, what is in flight, and what
nobody has taken yet.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from plproxy_py._calls import Calls
from plproxy_py._parts import BUDGET, Call, Gauge
from plproxy_py._pools import Wired
from plproxy_py._preparing import Callee, Prepared, Preparer, arguments_of
from plproxy_py._routing import Routed
from plproxy_py._steps import Steps
from plproxy_py._waiting import INFINITE
from plproxy_py._windows import Down, Window
from plproxy_py.errors import Error, RoutingError, placed
from plproxy_py.function import HomeDefault, ProxyFunction
from plproxy_py.options import Options
from plproxy_py.result import Answer
from plproxy_py.tagging import Tags

# Calls in a window: the first are few, so that a consumer sees results early. All are
# where time may run out, since that leaves unknown whatever is in flight.
FIRST, MOST, MOST_TIMED = 16, 1024, 64

# Seconds that a call may wait for the window to fill, or a map be taken as current.
LINGER = 0.5


@dataclass(slots=True)
class _Done:
    """An answer, or an error, that takes no call."""

    value: Any = None
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class _Way:
    """The function of the map in force, ``since`` when.

    ``wired``: its cluster, where arguments lead to partitions without asking anybody.
    """

    preparer: Preparer
    since: float
    function: ProxyFunction
    answer: Answer
    options: Options
    wired: Wired | None

    def prepare(
        self, wired: Wired, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Prepared:
        """Do what `Preparer.prepare` does, without waiting."""
        function, routing = self.function, self.preparer.routing
        normals = function.normals(function.bind(args, kwargs))
        if function.strict and any([normal is None for normal in normals]):
            return Prepared(function, self.answer, self.options, normals, None)
        function.window(normals)
        try:
            function.place(normals, wired.config.timezone)
            tags = function.tag(normals, wired.config, routing.pick)
        except Error as error:
            raise placed(error, function.label) from None
        routed = Routed(wired, tags, self._params(normals, tags), INFINITE)
        return Prepared(function, self.answer, self.options, normals, routed)

    def _params(
        self, normals: Sequence[Any], tags: Tags
    ) -> list[Sequence[bytes | None]]:
        if tags.arguments is not None:
            return [self._dump(own) for own in tags.arguments]
        return [self._dump(normals)] * len(tags.partitions)

    def _dump(self, normals: Sequence[Any]) -> Sequence[bytes | None]:
        function = self.function
        if function.is_plain:
            return function.texts(normals)
        return self.preparer.routing._dump(function, function.params(normals))


class Batch:
    """The calls of one ``call_many``, in input order.

    `add` takes one; when it says that the window is full, `flush` runs what is queued.
    Raise TypeError for a function or options that can't be called so.
    """

    def __init__(self, calls: Calls, callee: Callee) -> None:
        function = callee.find()
        _check(function, callee.options(function))
        self.label = function.label
        self.gauge = Gauge()
        self._calls = calls
        self._callee = callee
        self._queue: deque[Call | _Done] = deque()
        self._since = 0.0
        self._limit = FIRST
        self._is_timed = False
        self._way: _Way | None = None
        self._window: Window | None = None
        self._down: Down = {}
        self._told = {"committed": 0, "failed": 0, "unknown": 0, None: 0}

    @property
    def pending(self) -> int:
        """The number of calls whose results are not there yet."""
        return len(self._queue)

    def check(self, index: int, item: object) -> None:
        """Raise TypeError, naming its index, for an item that holds no arguments."""
        arguments_of(item, self.label, f"item {index}")

    def add(self, index: int, item: object) -> Steps[bool]:
        """Prepare one call; return whether it is time to flush.

        Arguments that lead nowhere are an error in their place.
        """
        now, way = time.monotonic(), self._way
        if way is None or now - way.since > LINGER:
            way = self._way = yield from self._opened(now)
        args, kwargs = arguments_of(item, way.function.label, f"item {index}")
        if not self._queue:
            self._since = now
        try:
            if way.wired is not None:
                prepared = way.prepare(way.wired, args, kwargs)
            else:
                prepared = yield from self._calls.preparer.prepare(
                    self._callee, args, kwargs
                )
        except Error as error:
            self._queue.append(_Done(error=placed(error, self.label)))
        except (TypeError, ValueError) as error:
            refused = RoutingError(str(error), function=self.label)
            refused.__cause__ = error
            self._queue.append(_Done(error=refused))
        else:
            self._queue.append(self._call(prepared))
        limit = min(self._limit, MOST_TIMED) if self._is_timed else self._limit
        return (
            len(self._queue) >= limit
            or self.gauge.params >= BUDGET
            or now - self._since > LINGER
        )

    def _opened(self, now: float) -> Steps[_Way]:
        preparer = self._calls.preparer
        function, answer, options, _ = yield from preparer.opened(self._callee, now)
        _check(function, options)
        wired = None
        if (
            isinstance(function.cluster, str)
            and function.connect is None
            and preparer.routing.asked_at_home(function.run_on) is None
            and not any(isinstance(d, HomeDefault) for d in function.defaults.values())
        ):
            try:
                wired = yield from preparer.cluster(function.cluster)
            except Error:
                pass  # each call will say so, in its place
        return _Way(preparer, now, function, answer, options, wired)

    def _call(self, prepared: Prepared) -> Call | _Done:
        if prepared.routed is None:
            return _Done(prepared.nothing)
        call = Call(prepared, prepared.routed)
        self.gauge.params += call.size
        self._is_timed = call.timeout < INFINITE
        if not call.left:
            call.settle(self._calls.exchange)  # an empty SPLIT
        return call

    def flush(self) -> Steps[list[Any]]:
        """Run what is queued; return the results of the first calls, in input order.

        An error is a result. What has none yet stays queued.
        """
        results: list[Any] = []
        queue = self._queue
        while queue and not results:
            yield from self._go()
            while queue:
                first = queue[0]
                if isinstance(first, Call) and first.left:
                    break
                results.append((yield from self._take(first)))
                queue.popleft()
        return results

    def _go(self) -> Steps[None]:
        if self._window is None:
            calls = [one for one in self._queue if isinstance(one, Call) and one.left]
            if not calls:
                return
            sql = calls[0].prepared.function.query.sql
            # One that was declared anew meanwhile has to wait.
            calls = list(
                takewhile(lambda one: one.prepared.function.query.sql == sql, calls)
            )
            self._limit = min(self._limit * 4, MOST)
            self._way = None
            self._window = Window(self._calls.exchange, calls, self.gauge, self._down)
        window = self._window
        try:
            yield from window.go()
        finally:
            if window.is_over:
                self._window = None

    def _take(self, first: Call | _Done) -> Steps[Any]:
        error = first.error
        if isinstance(first, _Done):
            self._told[None] += 1
        else:
            if error is not None:
                told = self._calls.told(first.prepared, first.routed, _raising(error))
                try:
                    yield from told
                except Error as error:
                    first.error = error
            self.gauge.held -= first.width
            self.gauge.params -= first.size
            self._told[first.state] += 1
        return first.value if first.error is None else first.error

    def stop(self) -> None:
        """Send no more, and cancel what runs. Connections that were busy are closed."""
        if self._window is not None:
            self._window.stop()
            self._window = None

    def tally(self) -> str:
        """Say what became of all calls so far."""
        told = dict(self._told)
        for one in self._queue:
            told[one.state if isinstance(one, Call) else None] += 1
        return (
            f"{self.label}: {sum(told.values())} calls were taken: "
            f"{told['committed']} committed, {told['failed']} failed, "
            f"{told['unknown']} unknown, {told[None]} not sent"
        )


def _check(function: ProxyFunction, options: Options) -> None:
    for name, is_set in (
        ("a stream", function.answer is not None and function.answer.stream),
        ("on_error='partial'", options.partial),
        ("first=", options.first),
    ):
        if is_set:
            raise TypeError(f"{function.label}: {name} does not go with many calls")


def _raising(error: Error) -> Steps[None]:
    yield from ()
    raise error
