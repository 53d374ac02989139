"""Calls as somebody sees who looks on: what was called, and what became of it.

Nobody looks on unless asked for: then calls are wrapped (see `_observed`), and each has
a `Watch`, which those who make the call tell what they know. No arguments in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeGuard, TypeVar
from weakref import WeakSet

from plproxy_py._conversations import Conversations
from plproxy_py._pools import Wired
from plproxy_py._steps import Steps
from plproxy_py._streams import Source
from plproxy_py.answers import Partial
from plproxy_py.errors import Error, Outcome, State
from plproxy_py.function import ProxyFunction
from plproxy_py.result import Answer

T = TypeVar("T")

logger = logging.getLogger("plproxy_py")

Ended = Literal["committed", "failed", "unknown", "not sent"]


@dataclass(frozen=True, slots=True)
class Called:
    """A call that has ended, for ``on_call=``. No arguments, no rows.

    ``function`` as in an error's text, or ``execute``. ``cluster`` is None and
    ``partitions`` are empty where the call led nowhere. ``seconds``: all of it, with
    waiting and further attempts; of a stream, to its end. ``rows``: those that the
    caller got. ``outcome``: "committed" on all partitions, "unknown" on one, "failed"
    on one, or "not sent" to any. ``sqlstate`` and ``error``, a class's name: of the
    error that was raised, or of the first partition that an answer lacks.
    """

    function: str
    cluster: str | None
    partitions: tuple[int, ...]
    seconds: float
    rows: int
    outcome: Ended
    sqlstate: str | None
    error: str | None


class Watch:
    """One call, as far as it is known. Given to listeners when it has ended.

    A context manager around the call. ``is_set``: whether its answer is rows, not one
    value. ``began``: wall clock, nanoseconds. ``outcomes``: None where nobody saw each
    partition by itself. ``sent``: by partition, how many seconds later. ``raised``:
    what the call has raised, ``failed`` the same or the first error in its answer.
    """

    def __init__(self, function: str, *, is_set: bool) -> None:
        self.function = function
        self.is_set = is_set
        self.began = time.time_ns()
        self.wired: Wired | None = None
        self.partitions: tuple[int, ...] = ()
        self.outcomes: Mapping[int, Outcome[Any]] | None = None
        self.raised: BaseException | None = None
        self.failed: BaseException | None = None
        self.seconds = 0.0
        self.rows = 0
        self.sent: Mapping[int, float] = {}
        self._clock = time.monotonic()

    def __enter__(self) -> None:
        """Let whoever makes calls in this context tell this watch."""
        self._token = WATCH.set(self)

    def __exit__(self, *error: object) -> None:
        # A task that is thrown away ends in another context.
        with suppress(ValueError):
            WATCH.reset(self._token)

    def reach(self, wired: Wired, partitions: Sequence[int]) -> None:
        """Note where the call goes."""
        self.wired, self.partitions = wired, tuple(partitions)

    def reading(self, read: Callable[[Conversations], T]) -> Callable[[Any], T]:
        """Return what notes each partition's outcome before the answer is made."""

        def noted(talk: Conversations) -> T:
            self.outcomes = talk.outcomes()
            self.sent = {
                partition: began - self._clock
                for partition, began in zip(talk.partitions, talk.began, strict=True)
                if began
            }
            return read(talk)

        return noted

    def end(self, answer: Any, raised: BaseException | None = None) -> None:
        """Note the answer, or what was raised."""
        self.seconds = time.monotonic() - self._clock
        self.raised = self.failed = raised
        if isinstance(raised, Error):
            self.outcomes = raised.outcomes or self.outcomes
        elif raised is None:
            self._answered(answer)

    def _answered(self, answer: Any) -> None:
        errors: Mapping[int, Error | None] = {}
        if isinstance(answer, Partial):
            errors = answer.errors
        if _are_outcomes(answer):
            self.rows = sum(len(outcome.rows) for outcome in answer.values())
            errors = {place: outcome.error for place, outcome in answer.items()}
        elif self.is_set and isinstance(answer, dict):
            self.rows = sum(map(len, answer.values()))  # execute's
        elif self.is_set and isinstance(answer, list):
            self.rows = len(answer)
        else:
            self.rows = int(answer is not None)
        self.failed = next((one for one in errors.values() if one is not None), None)

    @property
    def outcome(self) -> Ended:
        """What became of the call as a whole."""
        error = self.failed
        if error is None:
            return "committed"
        was_sent = error.sent if isinstance(error, Error) else self.wired is not None
        if error is not self.raised:
            was_sent = any(out.sent for out in (self.outcomes or {}).values())
        if not was_sent:
            return "not sent"
        states = {outcome.state for outcome in (self.outcomes or {}).values()}
        if not isinstance(error, Error) or "unknown" in states:
            return "unknown"
        return "committed" if states == {"committed"} else "failed"

    def called(self) -> Called:
        """Return what an ``on_call=`` gets."""
        error = self.failed
        return Called(
            self.function,
            None if self.wired is None else self.wired.config.name or None,
            self.partitions,
            self.seconds,
            self.rows,
            self.outcome,
            getattr(error, "sqlstate", None),
            None if error is None else type(error).__name__,
        )


def _are_outcomes(answer: object) -> TypeGuard[dict[int, Outcome[Any]]]:
    return isinstance(answer, dict) and any(
        isinstance(value, Outcome) for value in answer.values()
    )


Listener = Callable[[Watch], None]

WATCH: ContextVar[Watch | None] = ContextVar("plproxy_py_watch", default=None)


def reached(
    function: str, wired: Wired, partitions: Sequence[int], *, is_set: bool
) -> None:
    """Tell who looks on at this call what it is, and where it goes."""
    watch = WATCH.get()
    if watch is not None:
        watch.function, watch.is_set = function, is_set
        watch.reach(wired, partitions)


def observed(read: Callable[[Conversations], T]) -> Callable[[Conversations], T]:
    """Return what reads a call's conversations, and tells who looks on."""
    watch = WATCH.get()
    return read if watch is None else watch.reading(read)


class Observable(Protocol):
    """A callable's handle."""

    def observe(self) -> None: ...


class OnePart(Protocol):
    """What became of one of many calls on one partition."""

    partition: int
    state: State
    error: Error | None
    began: float
    seconds: float


class Kind(Protocol):
    """What many calls have in common."""

    function: ProxyFunction
    answer: Answer
    wired: Wired


class OneOfMany(Protocol):
    """One of many calls: its ``value``, or why it ``failed``, as its caller gets it."""

    value: Any
    failed: Error | None

    @property
    def kind(self) -> Kind: ...

    @property
    def parts(self) -> Sequence[OnePart]: ...


class Observers:
    """Who looks on at a router's calls.

    ``in_detail``: whether each partition's outcome is wanted where it costs something.
    """

    def __init__(self) -> None:
        self.listeners: tuple[Listener, ...] = ()
        self.in_detail = False
        # Nobody looks on at these yet.
        self._bound: WeakSet[Observable] = WeakSet()

    def bind(self, handle: Observable) -> None:
        """Let the handle be told that somebody looks on, now or later."""
        if self.listeners:
            handle.observe()
        else:
            self._bound.add(handle)

    def add(self, listener: Listener, *, in_detail: bool = False) -> None:
        """Let somebody look on at all calls from now on."""
        self.listeners += (listener,)
        self.in_detail |= in_detail
        for handle in list(self._bound):
            handle.observe()
        self._bound.clear()

    def tell(self, watch: Watch) -> None:
        """Tell all who look on. They can't break the call."""
        for listener in self.listeners:
            try:
                listener(watch)
            except Exception:
                logger.exception("%s: on_call= raised", watch.function)

    def watched(self, function: str, steps: Steps[T]) -> Steps[T]:
        """Take a call's steps; tell of it if somebody looks on."""
        if not self.listeners:
            return (yield from steps)
        watch = Watch(function, is_set=True)
        with watch:
            try:
                answer = yield from steps
            except BaseException as error:
                self.end(watch, None, error)
                raise
        if not isinstance(answer, Source):
            self.end(watch, answer)
        return answer

    def many(self, call: OneOfMany) -> None:
        """Tell of one of many calls, which has ended."""
        kind = call.kind
        watch = Watch(kind.function.label, is_set=kind.answer.setof)
        watch.reach(kind.wired, [part.partition for part in call.parts])
        watch.outcomes = {
            part.partition: Outcome(
                part.state, [], part.error, part.began > 0, part.seconds
            )
            for part in call.parts
        }
        watch.end(call.value, call.failed)
        watch.seconds = max((part.seconds for part in call.parts), default=0.0)
        watch.began = time.time_ns() - int(watch.seconds * 1e9)
        watch.sent = {part.partition: 0.0 for part in call.parts if part.began}
        self.tell(watch)

    def refused(self, function: str, error: Error) -> None:
        """Tell of one of many calls that led nowhere."""
        self.end(Watch(function, is_set=False), None, error)

    def end(
        self, watch: Watch, answer: Any, raised: BaseException | None = None
    ) -> None:
        """Tell of a call that has ended."""
        watch.end(answer, raised)
        self.tell(watch)


class WatchedSource(Source):
    """A stream at which somebody looks on: it is told of at its end."""

    _told_of = False

    def look_on(self, observers: Observers, watch: Watch) -> None:
        """Say who looks on."""
        self._observers, self._watch = observers, watch

    def more(self) -> Steps[list[Any]]:
        try:
            rows = yield from super().more()
        except BaseException as error:
            self._end(error)
            raise
        if not rows:
            self._end()
        return rows

    def stop(self) -> Steps[None]:
        try:
            yield from super().stop()
        finally:
            self._end()

    def abandon(self) -> None:
        super().abandon()
        self._end()

    def _end(self, raised: BaseException | None = None) -> None:
        watch = self._watch
        was_sent = any(self._talk.began)
        if self._told_of or not (was_sent or raised):
            return
        self._told_of = True
        watch.reading(lambda talk: None)(self._talk)
        watch.end([], raised)
        watch.rows = self._delivered
        if raised is None:
            # Left early: what still ran was cancelled.
            errors = [outcome.error for outcome in self._talk.outcomes().values()]
            watch.failed = next((one for one in errors if one is not None), None)
        self._observers.tell(watch)


def log_slow_calls(seconds: float) -> Callable[[Called], None]:
    """Return an ``on_call=`` that logs calls which took ``seconds`` or more.

    A warning under ``plproxy_py``, without arguments.
    """

    def on_call(called: Called) -> None:
        if called.seconds >= seconds:
            partitions = ", ".join(map(str, called.partitions)) or "none"
            logger.warning(
                "%s: slow call: %.3f s, cluster %s, partition %s, %s, %d rows%s",
                called.function,
                called.seconds,
                called.cluster,
                partitions,
                called.outcome,
                called.rows,
                f", {called.error} {called.sqlstate}" if called.error else "",
            )

    return on_call
