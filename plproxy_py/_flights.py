"""A call that was sent at once, on idle connections: waiting for it, and its end.

A flight that does not simply end well (an error, a deadline, an interruption, a
statement that the server forgot) goes over to the way of all other calls, with its
links and what was read: there is one place where outcomes are told and connections
recovered.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from plproxy_py import _rows, _wire
from plproxy_py._alerts import alerts
from plproxy_py._calls import Calls
from plproxy_py._collect import answer_of
from plproxy_py._links import Link
from plproxy_py._pools import Loan, Pool, Wired
from plproxy_py._preparing import Prepared
from plproxy_py._record import record
from plproxy_py._routing import Routed
from plproxy_py._stats import record_all
from plproxy_py._steps import Steps
from plproxy_py._waiting import INFINITE, TICK, late
from plproxy_py.errors import ResultError
from plproxy_py.function import ProxyFunction
from plproxy_py.options import Options
from plproxy_py.result import Answer
from plproxy_py.tagging import RunHash, RunHome, RunOn, Tags

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult


@record
class Way:
    """A function that can take the short way, and how.

    ``hash``: of normal forms, where it is sure to be an int8 or None. ``is_gathered``:
    the answer is made of the partitions' rows by a rule.
    """

    function: ProxyFunction
    answer: Answer
    options: Options
    cluster: str
    run_on: RunOn
    hash: Callable[[Sequence[Any]], Any] | None
    is_gathered: bool


def way_of(function: ProxyFunction, options: Options) -> Way | None:
    """Return how a function takes the short way, None if it can't."""
    answer, run_on = function.answer, function.run_on
    if (
        answer is None
        or answer.stream
        or options.partial
        or options.first
        or function.split
        or function.row_type is not None
        or not isinstance(function.cluster, str)
        or not function.is_local
        or isinstance(run_on, RunHome)
        or not function.is_plain
    ):
        return None
    hash = run_on.hash if isinstance(run_on, RunHash) and run_on.by else None
    is_gathered = function.gather is not None
    return Way(function, answer, options, function.cluster, run_on, hash, is_gathered)


class Leg:
    """The part of a call that one partition has."""

    # Not slots: what is the same for all of them costs nothing to make.
    is_open = is_good = False
    broken: psycopg.Error | None = None

    def __init__(self, link: Link) -> None:
        self.link = link
        self.results: list[PGresult] = []

    def read(self) -> None:
        """Read what has come, once the socket is readable."""
        pgconn = self.link.pgconn
        try:
            if _wire.read_results(pgconn, self.results):
                self.is_open = False
                self.is_good = _wire.is_good(self.results, pgconn)
        except psycopg.Error as error:
            self.broken, self.is_open = error, False


class Flight:
    """A call that was sent. ``deadline``: monotonic seconds."""

    __slots__ = (
        "_began",
        "_calls",
        "_legs",
        "_normals",
        "_params",
        "_partitions",
        "_pools",
        "_way",
        "_wired",
        "deadline",
    )

    def __init__(
        self,
        calls: Calls,
        way: Way,
        wired: Wired,
        partitions: tuple[int, ...],
        pools: list[Pool],
        normals: list[Any],
        params: list[bytes | None],
    ) -> None:
        self._calls = calls
        self._way = way
        self._wired = wired
        self._partitions = partitions
        self._pools = pools
        self._normals = normals
        self._params = params
        self._legs: list[Leg] = []
        self._began = 0.0
        self.deadline = INFINITE

    def sent(self, legs: list[Leg], now: float) -> None:
        """Note what was sent already."""
        self._legs, self._began = legs, now

    def send(self, links: Sequence[Link], name: bytes, now: float) -> None:
        """Send to all partitions. What can't be sent at once, `go_on` sends."""
        self._began = now
        self._legs = [Leg(link) for link in links]
        on_notice, label = self._calls.exchange.on_notice, self._way.function.label
        params, formats = self._params, _wire.formats_of(self._params)
        for leg, partition in zip(self._legs, self._partitions, strict=True):
            link = leg.link
            link.listener = (on_notice, label, partition)
            try:
                leg.is_open = _wire.post(link.pgconn, name, params, formats)
            except psycopg.Error as error:
                leg.broken = error

    def block(self) -> bool:
        """Wait on this thread. Return whether the call ended well."""
        waiting = {leg.link.fileno: leg for leg in self._legs if leg.is_open}
        if len(waiting) < len(self._legs) or not hasattr(select, "poll"):
            return False
        poll = select.poll()
        for fileno in waiting:
            poll.register(fileno, select.POLLIN)
        while waiting:
            # A signal that arrives just before an endless poll would be seen late.
            left = min(self.deadline - time.monotonic(), TICK)
            if left <= 0:
                return False
            for fileno, _ in poll.poll(left * 1000):
                leg = waiting[fileno]
                leg.read()
                if not leg.is_open:
                    if not leg.is_good:
                        return False
                    poll.unregister(fileno)
                    del waiting[fileno]
        return True

    async def suspend(self) -> bool:
        """Wait on this event loop. Return whether the call ended well."""
        waiting = {leg.link.fileno: leg for leg in self._legs if leg.is_open}
        if len(waiting) < len(self._legs):
            return False
        over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        bells = alerts()

        def readable(fileno: int) -> None:
            if over.done():
                return
            leg = waiting[fileno]
            leg.read()
            if leg.is_open:
                bells.arm(fileno, callbacks[fileno])
                return
            del waiting[fileno]
            if not leg.is_good:
                over.set_result(False)
            elif not waiting:
                over.set_result(True)

        callbacks = {fileno: partial(readable, fileno) for fileno in waiting}
        timer = late(over, self.deadline)
        try:
            for fileno, callback in callbacks.items():
                bells.arm(fileno, callback)
            return await over
        finally:
            if timer is not None:
                timer.cancel()
            for fileno in waiting:
                bells.disarm(fileno, callbacks[fileno])

    def land(self) -> Any:
        """Return the answer of a call that ended well."""
        function, answer = self._way.function, self._way.answer
        legs = self._legs
        if function.gather is None:
            sql, count = function.query.sql, 0
            for leg in legs:
                count += leg.results[0].ntuples
            answer.check_count(count)
            made = answer.collect(
                [
                    _rows.load_cached(leg.link, leg.results[0], answer, sql)
                    for leg in legs
                ]
            )
        else:
            answered = [
                (partition, leg.link, leg.results[0])
                for partition, leg in zip(self._partitions, legs, strict=True)
            ]
            made = answer_of(function, answer, self._normals, answered, {})
        return made

    def give_back(self) -> None:
        """Give back the links of a call that landed; it can't `go_on` then."""
        seconds = time.monotonic() - self._began
        record_all([pool.stats for pool in self._pools], seconds)
        self._calls.exchange.pools.put(self._pools, [leg.link for leg in self._legs])

    @staticmethod
    def broken_off(error: BaseException) -> BaseException | None:
        """Return what interrupts the rest; None for an answer that does not fit."""
        return None if isinstance(error, ResultError) else error

    def go_on(self) -> Steps[Any]:
        """Take the other way from here, to an answer or an error."""
        way, params = self._way, self._params
        routed = Routed(
            self._wired,
            Tags(self._partitions),
            [params] * len(self._partitions),
            self.deadline,
        )
        links = [leg.link for leg in self._legs]
        return self._calls.adopt(
            Prepared(way.function, way.answer, way.options, self._normals, routed),
            routed,
            Loan.of(self._calls.exchange.pools, self._pools, links),
            self._began,
            [
                _wire.resume_gen(
                    leg.link.pgconn,
                    way.function.query.sql,
                    params,
                    leg.link.prepared,
                    leg.results,
                    leg.broken,
                )
                for leg in self._legs
            ],
        )
