"""The short way: a call that one partition answers, on a connection that is idle.

The commonest call needs nothing that has to be waited for but its answer: the cluster
is known, the hash is computed here, the statement is prepared on an idle link. Such a
call is sent at once, a `Flight`; any other takes the way of `_calls`. A flight that
does not simply end well (an error, a deadline, an interruption, a statement that the
server forgot) goes over to that way too, with its link and what was read: there is one
place where outcomes are told and connections recovered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from plproxy_py import _rows, _wire
from plproxy_py._calls import Calls
from plproxy_py._links import Link
from plproxy_py._pools import Loan, Pool, Wired
from plproxy_py._preparing import Callee, Prepared
from plproxy_py._routing import Routed
from plproxy_py._steps import Steps
from plproxy_py._waiting import INFINITE, TICK
from plproxy_py.errors import Error, ResultError, placed
from plproxy_py.function import HomeDefault, ProxyFunction
from plproxy_py.options import Options
from plproxy_py.result import Answer
from plproxy_py.tagging import RunHash, Tags, hashes_of

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

# What fits into a socket's buffer at once; more is sent as it drains.
MOST_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class _Way:
    """A function that can take the short way, and how."""

    function: ProxyFunction
    answer: Answer
    options: Options
    cluster: str
    run_on: RunHash


class Direct:
    """The short way for one callable."""

    def __init__(self, calls: Calls, callee: Callee) -> None:
        self._calls = calls
        self._callee = callee
        self._preparer = calls.preparer
        self._pools = calls.exchange.pools
        self._function: ProxyFunction | None = None
        self._way: _Way | None = None

    def begin(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Flight | None:
        """Send the call if it can take the short way; raise what forbids it."""
        function = self._callee.find()
        if function is not self._function:
            self._way = self._found(function)
            self._function = function
        way = self._way
        if way is None:
            return None
        wired = self._preparer.current(way.cluster)
        if wired is None or self._preparer.routing.asked_at_home(way.run_on):
            return None
        normals = function.normals(function.bind(args, kwargs))
        if function.strict and None in normals:
            return None
        try:
            hashes = hashes_of(way.run_on.hash(normals), way.run_on.setof)
        except Error as error:
            raise placed(error, function.label) from None
        if len(hashes) != 1:
            return None
        partition = wired.config.partition_of(hashes[0])
        params = function.texts(normals)
        pool = wired.pools[partition]
        now = time.monotonic()
        link = self._pools.take(pool, now, wired.config.connection_lifetime)
        if link is None:
            return None
        name = link.prepared.name(function.query.sql)
        if name is None or sum([len(param) for param in params if param]) > MOST_BYTES:
            self._pools.put(pool, link)
            return None
        timeout = way.options.timeout or wired.config.query_timeout or INFINITE
        flight = Flight(self._calls, way, wired, partition, pool, link, normals, params)
        flight.deadline = now + timeout
        flight.send(name, now)
        return flight

    def _found(self, function: ProxyFunction) -> _Way | None:
        options, answer = self._callee.options(function), function.answer
        if (
            answer is None
            or answer.stream
            or options.partial
            or options.first
            or function.split
            or function.row_type is not None
            or function.gather is not None
            or function.connect is not None
            or not isinstance(function.cluster, str)
            or not isinstance(function.run_on, RunHash)
            or not function.is_plain
            or any(isinstance(d, HomeDefault) for d in function.defaults.values())
        ):
            return None
        return _Way(function, answer, options, function.cluster, function.run_on)


class Flight:
    """A call that was sent, to one partition."""

    __slots__ = (
        "_began",
        "_broken",
        "_calls",
        "_is_over",
        "_is_sent",
        "_link",
        "_normals",
        "_params",
        "_partition",
        "_pool",
        "_results",
        "_way",
        "_wired",
        "deadline",
    )

    def __init__(
        self,
        calls: Calls,
        way: _Way,
        wired: Wired,
        partition: int,
        pool: Pool,
        link: Link,
        normals: list[Any],
        params: list[bytes | None],
    ) -> None:
        self._calls = calls
        self._way = way
        self._wired = wired
        self._partition = partition
        self._pool = pool
        self._link = link
        self._normals = normals
        self._params = params
        self._results: list[PGresult] = []
        self._is_sent = self._is_over = False
        self._broken: psycopg.Error | None = None
        self.deadline = INFINITE

    def send(self, name: bytes, now: float) -> None:
        link = self._link
        self._began = now
        self._calls.exchange.listen(self._way.function.label, self._partition, link)
        self._is_sent = _wire.send_prepared(link.pgconn, name, self._params)

    def block(self) -> bool:
        """Wait on this thread. Return whether the call ended well."""
        poll, deadline = self._link.poll, self.deadline
        while self._is_open:
            left = deadline - time.monotonic() if deadline != INFINITE else TICK
            if left <= 0:
                return False
            # A signal that arrives just before an endless poll would be seen late.
            if poll(min(left, TICK) * 1000):
                self._read()
        return self._ended_well

    async def suspend(self) -> bool:
        """Wait on this event loop. Return whether the call ended well."""
        loop = asyncio.get_running_loop()
        fileno, timer = self._link.fileno, None
        while self._is_open:
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(fileno, _wake, readable)
            if self.deadline != INFINITE:
                left = max(0.0, self.deadline - time.monotonic())
                timer = loop.call_later(left, _wake, readable)
            try:
                await readable
            finally:
                loop.remove_reader(fileno)
                if timer is not None:
                    timer.cancel()
            self._read()
            if not self._is_over and time.monotonic() >= self.deadline:
                return False
        return self._ended_well

    @property
    def _is_open(self) -> bool:
        return self._is_sent and not self._is_over and self._broken is None

    def _read(self) -> None:
        try:
            self._is_over = _wire.read_results(self._link.pgconn, self._results)
        except psycopg.Error as error:
            self._broken = error

    @property
    def _ended_well(self) -> bool:
        return self._is_over and _wire.is_good(self._results, self._link.pgconn)

    def land(self) -> Any:
        """Return the answer of a call that ended well; the link is given back."""
        way, link = self._way, self._link
        (result,) = self._results
        _rows.check_rows(result)
        way.answer.check_count(result.ntuples)
        rows = _rows.load_cached(link, result, way.answer, way.function.query.sql)
        answer = way.answer.collect((rows,))
        self._calls.exchange.pools.put(self._pool, link)
        return answer

    @staticmethod
    def broken_off(error: BaseException) -> BaseException | None:
        """Return what interrupts the rest; None for an answer that does not fit."""
        return None if isinstance(error, ResultError) else error

    def go_on(self) -> Steps[Any]:
        """Take the other way from here, to an answer or an error."""
        routed = Routed(
            self._wired, Tags((self._partition,)), [self._params], self.deadline
        )
        way = self._way
        prepared = Prepared(
            way.function, way.answer, way.options, self._normals, routed
        )
        return self._calls.adopt(
            prepared,
            routed,
            Loan.of(self._calls.exchange.pools, self._pool, self._link),
            self._began,
            _wire.resume_gen(
                self._link.pgconn,
                way.function.query.sql,
                self._params,
                self._link.prepared,
                self._results,
                self._is_over,
                self._broken,
            ),
        )


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
