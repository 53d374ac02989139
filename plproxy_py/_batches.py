"""Many calls of one function: prepared as they come, sent in windows, told in order.

Bounded in calls and in bytes: what waits for its turn, what is in flight, and what
nobody has taken yet.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from plproxy_py._calls import Calls
from plproxy_py._parts import BUDGET, Call, Gauge, Kind, Single, call_of
from plproxy_py._pools import Wired
from plproxy_py._preparing import Callee, Prepared, arguments_of
from plproxy_py._routing import Routing
from plproxy_py._steps import Steps, raising
from plproxy_py._waiting import INFINITE
from plproxy_py._windows import Down, Window
from plproxy_py.clauses import Window as Counts
from plproxy_py.errors import Error, RoutingError, placed
from plproxy_py.function import ProxyFunction
from plproxy_py.options import Options
from plproxy_py.result import Answer
from plproxy_py.tagging import RunHash, hashes_of

# Calls in a window, the first and the largest ones: few where results are handed out as
# they come, so that the first come early and not much was done when nobody wants more.
# Where all are wanted, 10,000 calls took 0.8 of the time with 4096 in place of 1024.
LAZY, EAGER = (16, 1024), (256, 4096)

# Where time may run out, which leaves unknown what is in flight.
MOST_TIMED = 64

# Seconds that a call may wait for the window to fill, or a map be taken as current.
LINGER = 0.5

_NOTHING: Mapping[str, Any] = {}


@dataclass(slots=True)
class _Done:
    """An answer, or an error, that takes no call."""

    value: Any = None
    error: Error | None = None


class _Way:
    """From arguments to a call, where that takes no waiting.

    ``since``: when the function was looked up. ``kind``: None where somebody must be
    asked, for a cluster or a hash.
    """

    def __init__(
        self,
        routing: Routing,
        since: float,
        function: ProxyFunction,
        answer: Answer,
        options: Options,
        wired: Wired | None,
    ) -> None:
        self.since = since
        self.function = function
        self.kind = None if wired is None else Kind(function, answer, options, wired)
        self.nothing = Prepared(function, answer, options, [], None).nothing
        self._routing = routing
        self._is_counted = function.counts != Counts()
        self._is_plain = function.is_plain
        run_on = function.run_on
        self._hash: RunHash | None = None
        if isinstance(run_on, RunHash) and not function.split:
            self._hash = run_on
        self._is_short = self._hash and self._hash.by and function.is_plain

    def call(
        self, kind: Kind, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Call | None:
        """Return a call, None for a NULL argument of a strict function.

        Raise what forbids the call.
        """
        function, config = self.function, kind.wired.config
        hashed = self._hash
        if self._is_short and hashed is not None:
            normals, texts = function.converted(args, kwargs)
            if function.strict and None in normals:
                return None
            if (hash := hashed.hash(normals)) is not None:
                return Single(kind, normals, config.partition_of(hash), texts)
        normals = function.normals(function.bind(args, kwargs))
        if function.strict and any(normal is None for normal in normals):
            return None
        if self._is_counted:
            function.window(normals)
        if not self._is_plain:
            function.place(normals, config.timezone)
        if hashed is not None:
            hashes = hashes_of(hashed.hash(normals), hashed.setof)
            if len(hashes) == 1:
                partition = config.partition_of(hashes[0])
                return Single(kind, normals, partition, self._dump(normals))
        tags = function.tag(normals, config, self._routing.reachable(kind.wired))
        if tags.arguments is None:
            params = [self._dump(normals)] * len(tags.partitions)
        else:
            params = [self._dump(own) for own in tags.arguments]
        return call_of(kind, normals, tags.partitions, params)

    def _dump(self, normals: Sequence[Any]) -> Sequence[bytes | None]:
        if self._is_plain:
            return self.function.texts(normals)
        return self._routing.dump(self.function, normals)


class Batch:
    """The calls of one ``call_many``, in input order.

    `add` takes one; when it says that the window is full, `flush` runs what is queued.
    ``sizes``: of the first and of the largest window. Raise TypeError for a function or
    options that can't be called so.
    """

    def __init__(
        self, calls: Calls, callee: Callee, sizes: tuple[int, int] = LAZY
    ) -> None:
        function = callee.find()
        _check(function, callee.options(function))
        self.label = function.label
        self.gauge = Gauge()
        self._calls = calls
        self._callee = callee
        self._queue: deque[Call | _Done] = deque()
        self._fresh, self._since = 0, 0.0  # calls of no window yet, from when on
        self._limit, self._most = sizes
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

    def take(self, index: int, item: object) -> bool | None:
        """Do what `add` does, if that takes no waiting; None: it does."""
        now, way = time.monotonic(), self._way
        if way is None or way.kind is None or now - way.since > LINGER:
            return None
        args: Sequence[Any]
        if type(item) is tuple:
            args, kwargs = item, _NOTHING
        else:
            args, kwargs = arguments_of(item, way.function.label, f"item {index}")
        done: Call | _Done | None
        try:
            done = way.call(way.kind, args, kwargs)
        except (Error, TypeError, ValueError) as error:
            done = _Done(error=self._refused(error))
        return self._put(done or _Done(way.nothing), now)

    def add(self, index: int, item: object) -> Steps[bool]:
        """Prepare one call; return whether it is time to flush.

        Arguments that lead nowhere are an error in their place.
        """
        now = time.monotonic()
        if self._way is None or now - self._way.since > LINGER:
            self._way = yield from self._opened(now)
            is_full = self.take(index, item)
            if is_full is not None:
                return is_full
        args, kwargs = arguments_of(item, self.label, f"item {index}")
        done: Call | _Done
        try:
            prepared = yield from self._calls.preparer.prepare(
                self._callee, args, kwargs
            )
        except (Error, TypeError, ValueError) as error:
            done = _Done(error=self._refused(error))
        else:
            done = _called(prepared)
        return self._put(done, now)

    def _refused(self, error: Exception) -> Error:
        if isinstance(error, Error):
            return placed(error, self.label)
        refused = RoutingError(str(error), function=self.label)
        refused.__cause__ = error
        return refused

    def _put(self, done: Call | _Done, now: float) -> bool:
        if not self._fresh:
            self._since = now
        self._fresh += 1
        self._queue.append(done)
        if isinstance(done, Call):
            self.gauge.params += done.size
            if not done.left:
                done.settle(self._calls.exchange)  # an empty SPLIT
            if done.kind.timeout < INFINITE:
                self._limit = min(self._limit, MOST_TIMED)
        return (
            self._fresh >= self._limit
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
            and function.is_local
            and preparer.routing.asked_at_home(function.run_on) is None
        ):
            with suppress(Error):  # each call will say so, in its place
                wired = yield from preparer.cluster(function.cluster)
        return _Way(preparer.routing, now, function, answer, options, wired)

    def flush(self) -> Steps[list[Any]]:
        """Run what is queued; return the results of the first calls, in input order.

        An error is a result. What has none yet stays queued.
        """
        results: list[Any] = []
        queue, observers = self._queue, self._calls.observers
        while queue and not results:
            yield from self._go()
            while queue:
                first = queue[0]
                if isinstance(first, Call):
                    if first.left:
                        break
                    if first.failed is not None:
                        yield from self._tell(first, first.failed)
                    self.gauge.held -= first.width
                    self.gauge.params -= first.size
                    self._told[first.became] += 1
                    if observers.listeners:
                        observers.many(first)
                    first.let_go()
                    error = first.failed
                else:
                    self._told[None] += 1
                    error = first.error
                    if error is not None and observers.listeners:
                        observers.refused(self.label, error)
                results.append(first.value if error is None else error)
                # The window keeps its calls to its end, and would keep their answers.
                first.value = None
                queue.popleft()
        return results

    @property
    def is_running(self) -> bool:
        """Whether a window was begun that has not come to its end."""
        return self._window is not None

    def start(self) -> None:
        """Send what is queued as far as it goes without waiting; `flush` goes on."""
        self._window = self._opened_window()
        if self._window is not None:
            self._window.start()

    def _go(self) -> Steps[None]:
        if self._window is None:
            self._window = self._opened_window()
        window = self._window
        if window is None:
            return
        try:
            yield from window.go()
        finally:
            if window.is_over:
                self._window = None

    def _opened_window(self) -> Window | None:
        """Return a window for what is queued and not sent, None if nothing is."""
        self._fresh = 0
        calls = [one for one in self._queue if isinstance(one, Call) and one.left]
        if not calls:
            return None
        kind = calls[0].kind
        # One that was declared anew meanwhile has to wait.
        calls = [one for one in calls if one.kind is kind or one.kind.sql == kind.sql]
        self._limit = min(self._limit * 4, self._most)
        self._way = None
        return Window(self._calls.exchange, calls, self.gauge, self._down)

    def _tell(self, call: Call, error: Error) -> Steps[None]:
        """Say of an error which call it is about, and what helps."""
        try:
            yield from self._calls.told(call.prepared, call.routed, raising(error))
        except Error as told:
            call.failed = told

    def stop(self) -> None:
        """Send no more, and cancel what runs. Connections that were busy are closed."""
        if self._window is not None:
            self._window.stop()
            self._window = None

    def tally(self) -> str:
        """Say what became of all calls so far."""
        told = dict(self._told)
        for one in self._queue:
            told[one.became if isinstance(one, Call) else None] += 1
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


def _called(prepared: Prepared) -> Call | _Done:
    routed = prepared.routed
    if routed is None:
        return _Done(prepared.nothing)
    kind = Kind(prepared.function, prepared.answer, prepared.options, routed.wired)
    return call_of(kind, prepared.normals, routed.tags.partitions, routed.params)
