"""Every kind of call, all at once on one router, and what each told about itself.

Partition 3 is the victim of faults. Each call leaves its token in the partitions, so
what it told is held against what is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import psycopg

from plproxy_py import Error, Int4, Outcome, Partial, QueryTimeout
from tests.both import face, wait_until
from tests.fix_router import Driver
from tests.fix_servers import COUNT, Servers

VICTIM = 3
OTHERS = range(VICTIM)
# What a silent partition may cost beyond the deadline.
LATE = 0.1
PLACE = "right(current_database()::text, 2)::int4"

_tokens = count()


@dataclass
class Told:
    """What one call told: ``errors``, ``states`` and ``sent`` are by partition.

    ``places``: the partitions where it leaves its token.
    """

    token: str
    places: Sequence[int]
    error: BaseException | None = None
    errors: dict[int, Error] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    sent: dict[int, bool] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, outcomes: Mapping[int, Outcome[Any]]) -> None:
        for partition, outcome in outcomes.items():
            self.states[partition] = outcome.state
            self.sent[partition] = outcome.sent
            if outcome.error is not None:
                self.errors[partition] = outcome.error

    def is_late(self, timeout: float) -> bool:
        """Tell whether it, or a partition that is well, missed its deadline.

        A machine that is busy with something else does that to any call: it may be
        made once more.
        """
        return self.seconds > timeout + LATE or any(
            isinstance(error, QueryTimeout) and error.partition != VICTIM
            for error in [self.error, *self.errors.values()]
        )


# Those that raise if the victim fails, and send to nobody if it can't be reached.
WHOLE = ("plain", "all", "split", "stream", "execute")
# Those that send to each partition as its connection comes.
SCATTERED = ("partial", "outcomes", "many", "first_elsewhere", "first_there")
KINDS = (*WHOLE, *SCATTERED)
PLACES = {
    "plain": (VICTIM,),
    "first_there": (VICTIM,),
    "elsewhere": (1,),
    "first_elsewhere": (1,),
}

SPLIT = """
CREATE FUNCTION keep_each(keys int4[], token text, seconds float8, width int4)
RETURNS SETOF text LANGUAGE plproxy AS $$ CLUSTER 'userdb'; SPLIT keys; RUN ON keys; $$
"""
MANY = """
CREATE FUNCTION keep(n int4, token text, seconds float8, width int4)
RETURNS text LANGUAGE plproxy AS $$
    CLUSTER 'userdb'; RUN ON n; SELECT keep(token, seconds, width);
$$
"""


class Calls:
    """The kinds of calls of one router; each takes a token, seconds and a width."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        hints = {"token": str, "seconds": float, "width": Int4}
        keep = "keep(token, seconds, width)"
        rows = "keep_rows(token, seconds, width, 3)"
        first = {"first": True, "idempotent": True}

        def declared(returns: Any, select: str, **keywords: Any) -> Any:
            return face(driver, returns, hints, select=select, **keywords)

        self._plain = declared(str, keep, run_on=VICTIM)
        self._elsewhere = declared(str, keep, run_on=1)
        self._all = declared(list[str], keep)
        self._stream = declared(Iterator[str], rows)
        self._partial = declared(Partial[str], keep)
        self._first = {
            place: declared(list[str], f"{keep} WHERE {PLACE} = {place}", **first)
            for place in (1, VICTIM)
        }
        self._split = driver.router.define(SPLIT)
        self._many = driver.router.define(MANY)

    def start(self, kind: str, timeout: float, *given: Any) -> Any:
        """Make a call: an answer, or on AsyncRouter what gives one when awaited."""
        router = self.driver.router
        if kind == "plain":
            return self._plain.with_options(timeout=timeout)(*given)
        if kind == "elsewhere":
            return self._elsewhere.with_options(timeout=timeout)(*given)
        if kind == "all":
            return self._all.with_options(timeout=timeout)(*given)
        if kind == "split":
            keys = list(range(COUNT))
            return self._split.with_options(timeout=timeout)(keys, *given)
        if kind == "stream":
            stream = self._stream.with_options(timeout=timeout)(*given)
            return _read_async(stream) if self.driver.is_async else list(stream)
        if kind == "execute":
            sql = "SELECT keep($1, $2, $3)"
            return router.execute("userdb", sql, *given, timeout=timeout)
        if kind == "partial":
            return self._partial.with_options(timeout=timeout)(*given)
        if kind == "outcomes":
            return self._all.with_options(timeout=timeout).call_outcomes(*given)
        if kind == "many":
            calls = [(number, *given) for number in range(COUNT)]
            return self._many.with_options(timeout=timeout).call_many(calls)
        place = VICTIM if kind == "first_there" else 1
        return self._first[place].with_options(timeout=timeout)(*given)

    def together(
        self,
        kinds: Iterable[str] = KINDS,
        timeout: float = 5.0,
        seconds: float = 0.0,
        width: int = 0,
    ) -> dict[str, Told]:
        """Make one call of each kind at the same time; return what they told."""
        kinds = list(kinds)
        told = [
            Told(f"{kind} {next(_tokens)}", PLACES.get(kind, range(COUNT)))
            for kind in kinds
        ]

        def call(kind: str, about: Told) -> Callable[[], Any]:
            given = (about.token, seconds, width)
            if self.driver.is_async:
                return lambda: self._tell_async(kind, about, timeout, given)
            return lambda: self._tell(kind, about, timeout, given)

        self.driver.together(*map(call, kinds, told))
        return dict(zip(kinds, told, strict=True))

    def _tell(self, kind: str, told: Told, timeout: float, given: Any) -> None:
        started = time.monotonic()
        try:
            answer = self.start(kind, timeout, *given)
        except Exception as error:
            _note_error(told, error)
        else:
            _note(kind, told, answer)
        told.seconds = time.monotonic() - started

    async def _tell_async(
        self, kind: str, told: Told, timeout: float, given: Any
    ) -> None:
        started = time.monotonic()
        try:
            answer = await self.start(kind, timeout, *given)
        except Exception as error:
            _note_error(told, error)
        else:
            _note(kind, told, answer)
        told.seconds = time.monotonic() - started


async def _read_async(stream: Any) -> list[Any]:
    return [row async for row in stream]


def _note_error(told: Told, error: Exception) -> None:
    told.error = error
    if isinstance(error, Error):
        told.add(error.outcomes)


def _note(kind: str, told: Told, answer: Any) -> None:
    """Note what an answer says about the partitions."""
    if kind == "outcomes":
        told.add(answer)
        return
    told.states = dict.fromkeys(told.places, "committed")
    if kind == "partial":
        for partition in answer.missing:
            error = told.errors[partition] = answer.errors[partition]
            told.states[partition] = "unknown" if error.sent else "failed"
            told.sent[partition] = error.sent
    elif kind == "many":
        for error in answer.errors.values():
            told.add(error.outcomes)


def check_truth(
    servers: Servers, told: Iterable[Told], partitions: Iterable[int] = range(COUNT)
) -> None:
    """Hold what calls told against what the partitions hold."""
    told = list(told)
    for partition in partitions:
        tokens = [about.token for about in told]
        query = "SELECT token FROM kept WHERE token = ANY (%s)"
        there = {token for (token,) in servers.execute(partition, query, [tokens])}
        for about in told:
            state = about.states.get(partition, "unknown")
            if state != "unknown" and partition in about.places:
                is_there = about.token in there
                assert is_there == (state == "committed"), (partition, about)


def connect(
    driver: Driver, servers: Servers, size: int, partitions: Sequence[int]
) -> None:
    """Use so many connections of each of the partitions at once: none may be lost."""
    waiting = face(driver, list[str], select="pg_advisory_xact_lock_shared(7)::text")
    waiting = waiting.with_options(timeout=10)
    query = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

    def let_go(holder: psycopg.Connection[Any]) -> None:
        with holder:
            wait_until(lambda: len(holder.execute(query).fetchall()) == size, 8)

    with psycopg.connect(servers.unix(partitions[0]), autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(7)")
        with ThreadPoolExecutor(1) as thread:
            waited = thread.submit(let_go, holder)
            places: dict[int, Any] = dict.fromkeys(partitions, ())
            told = driver.together(*[lambda: waiting.call_each(places)] * size)
            waited.result()
    assert told == [[""] * len(partitions)] * size, told
