"""The short way: a call for which all is known and ready.

The commonest calls need nothing that has to be waited for but their answers: the
cluster is known, the partitions are computed here, the statement is prepared on an idle
link to each. Such a call is sent at once; any other takes the way of `_calls`, from
where it has come to, and so does one that does not simply end well (see `_flights`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from plproxy_py._calls import Calls
from plproxy_py._flights import Flight, Leg, Way, way_of
from plproxy_py._libpq import converse
from plproxy_py._links import Link
from plproxy_py._pools import Loan, Wired
from plproxy_py._preparing import Callee, Prepared
from plproxy_py._routing import Routed
from plproxy_py._rows import one_answer
from plproxy_py._steps import Steps, raising, run, run_async
from plproxy_py._waiting import INFINITE, answered
from plproxy_py._wire import call_gen, post, take_answer
from plproxy_py.errors import Error, ResultError
from plproxy_py.function import ProxyFunction
from plproxy_py.language.body import RunAll
from plproxy_py.tagging import RunOn, Tags, tag

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult


Aim = tuple[Way, Wired, list[Any], tuple[int, ...], list[bytes | None], float, float]
"""A call that could be sent at once: its arguments as normal forms and as texts, its
partitions, when it began and until when it may take."""


class Direct:
    """The short way for one callable."""

    def __init__(self, calls: Calls, callee: Callee) -> None:
        self._calls = calls
        self._callee = callee
        self._preparer = calls.preparer
        self._pools = calls.exchange.pools
        self._on_notice = calls.exchange.on_notice
        self._function: ProxyFunction | None = None
        self._way: Way | None = None
        self._all: tuple[Wired, tuple[int, ...]] | None = None

    def call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Make the call on this thread, the short way if it can be."""
        aim = self._aimed(args, kwargs)
        if aim is None:
            return run(self._calls.call(self._callee, args, kwargs))
        way, wired, _, partitions, params, now, deadline = aim
        if len(partitions) != 1 or way.is_gathered:
            return self._fly(aim)
        pool = wired.pools[partitions[0]]
        link = self._pools.take_one(wired, pool, now)
        if link is None:
            if not way.options.retry:
                link = run(self._lent(aim))
            if link is None:
                return run(self._slowly(aim))
            now = time.monotonic()
            aim = (*aim[:5], now, deadline)
        sql = way.function.query.sql
        name = link.prepared.names.get(sql)
        if name is None:
            return run(self._unprepared(aim, link))
        results: list[PGresult] = []
        link.listener = (self._on_notice, way.function.label, partitions[0])
        interruption: BaseException | None = None
        broken: psycopg.Error | None = None
        try:
            pgconn = link.pgconn
            is_over = converse(
                pgconn, link.poll, name, params, deadline
            ) and take_answer(pgconn, results)
            if is_over:
                answer = one_answer(link, results[0], way.answer, sql)
        except ResultError:
            pass  # told with its outcomes by the other way
        except psycopg.Error as error:
            broken = error
        except BaseException as error:
            interruption = error
        else:
            if is_over:
                # Not in the try: what was given back is not ours to go on with.
                pool.stats.record(time.monotonic() - now)
                self._pools.put_one(pool, link)
                return answer
        try:
            return run(self._gone_on(aim, link, results, broken), interruption)
        finally:
            # Else this frame and the error would hold each other, and the link.
            interruption = broken = None

    async def call_async(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Make the call on this event loop, the short way if it can be."""
        aim = self._aimed(args, kwargs)
        if aim is None:
            return await run_async(self._calls.call(self._callee, args, kwargs))
        way, wired, _, partitions, params, now, deadline = aim
        if len(partitions) != 1 or way.is_gathered:
            return await self._fly_async(aim)
        pool = wired.pools[partitions[0]]
        link = self._pools.take_one(wired, pool, now)
        if link is None:
            if not way.options.retry:
                link = await run_async(self._lent(aim))
            if link is None:
                return await run_async(self._slowly(aim))
            now = time.monotonic()
            aim = (*aim[:5], now, deadline)
        sql = way.function.query.sql
        name = link.prepared.names.get(sql)
        if name is None:
            return await run_async(self._unprepared(aim, link))
        results: list[PGresult] = []
        link.listener = (self._on_notice, way.function.label, partitions[0])
        interruption: BaseException | None = None
        broken: psycopg.Error | None = None
        try:
            pgconn = link.pgconn
            is_over = (
                post(pgconn, name, params)
                and await answered(link.fileno, pgconn, deadline)
                and take_answer(pgconn, results)
            )
            if is_over:
                answer = one_answer(link, results[0], way.answer, sql)
        except ResultError:
            pass
        except psycopg.Error as error:
            broken = error
        except BaseException as error:
            interruption = error
        else:
            if is_over:
                # Not in the try: what was given back is not ours to go on with.
                pool.stats.record(time.monotonic() - now)
                self._pools.put_one(pool, link)
                return answer
        steps = self._gone_on(aim, link, results, broken)
        try:
            return await run_async(steps, interruption)
        finally:
            interruption = broken = None

    def _fly(self, aim: Aim) -> Any:
        flight = self._begun(aim)
        if flight is None:
            return run(self._slowly(aim))
        try:
            is_over = flight.block()
            if is_over:
                answer = flight.land()
        except BaseException as error:
            return run(flight.go_on(), flight.broken_off(error))
        if not is_over:
            return run(flight.go_on())
        flight.give_back()
        return answer

    async def _fly_async(self, aim: Aim) -> Any:
        flight = self._begun(aim)
        if flight is None:
            return await run_async(self._slowly(aim))
        try:
            is_over = await flight.suspend()
            if is_over:
                answer = flight.land()
        except BaseException as error:
            return await run_async(flight.go_on(), flight.broken_off(error))
        if not is_over:
            return await run_async(flight.go_on())
        flight.give_back()
        return answer

    def _aimed(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Aim | None:
        """Return where the call goes, None if to find out takes waiting.

        Or if it leads nowhere: the other way says why. Raise TypeError or ValueError
        for arguments.
        """
        now = time.monotonic()
        function = self._callee.find()
        if function is not self._function:
            self._way = way_of(function, self._callee.options(function))
            self._function = function
        way, preparer = self._way, self._preparer
        clusters = preparer.clusters
        if way is None or clusters is None or preparer.reflected is not None:
            return None
        wired = clusters.current(way.cluster)
        if wired is None or (
            preparer.routing.home is not None
            and preparer.routing.asked_at_home(way.run_on)
        ):
            return None
        normals, params = function.converted(args, kwargs)
        if function.strict and None in normals:
            return None
        try:
            hash = None if way.hash is None else way.hash(normals)
            if hash is None:
                partitions = self._tagged(way.run_on, wired, normals)
            elif wired.mask is None:
                partitions = (wired.config.partition_of(hash),)
            else:
                # As `partition_of` does, which takes 0.2 µs of a call's 25 longer.
                partitions = (hash & wired.mask,)
        except Error:
            return None
        timeout = way.options.timeout or wired.config.query_timeout
        deadline = INFINITE if timeout is None else now + timeout
        return way, wired, normals, partitions, params, now, deadline

    def _tagged(
        self, run_on: RunOn, wired: Wired, normals: Sequence[Any]
    ) -> tuple[int, ...]:
        pick = self._preparer.routing.reachable(wired)
        if not isinstance(run_on, RunAll):
            return tag(run_on, normals, wired.config, pick).partitions
        if self._all is None or self._all[0] is not wired:
            self._all = wired, tag(run_on, (), wired.config, pick).partitions
        return self._all[1]

    def _begun(self, aim: Aim) -> Flight | None:
        """Send to all partitions at once; None if one has no link that is ready."""
        way, wired, normals, partitions, params, now, deadline = aim
        pools = [wired.pools[partition] for partition in partitions]
        links = self._pools.take(wired, pools, now)
        if links is None:
            return None
        name = _name(links, way.function.query.sql)
        if name is None:
            self._pools.put(pools, links)
            return None
        flight = Flight(self._calls, way, wired, partitions, pools, normals, params)
        flight.deadline = deadline
        flight.send(links, name, now)
        return flight

    def _slowly(self, aim: Aim) -> Steps[Any]:
        """Go on from here the way of all other calls; nothing was sent."""
        return self._calls.answer(*_prepared(aim))

    def _lent(self, aim: Aim) -> Steps[Link | None]:
        """Borrow the link to one partition, whatever has to be waited for.

        None if the partition has moved meanwhile.
        """
        _, wired, _, partitions, _, _, deadline = aim
        try:
            loan = yield from self._pools.lend(wired, partitions, deadline)
        except Error as error:
            yield from self._calls.told(*_prepared(aim), raising(error))
            raise AssertionError("it was raised") from error
        if not loan.is_of([wired.pools[partitions[0]]]):
            loan.give_back([0])
            return None
        return loan.links[0]

    def _unprepared(self, aim: Aim, link: Link) -> Steps[Any]:
        """Send the call in the way of all other calls, on this link."""
        way, wired, _, partitions, params, now, _ = aim
        self._calls.exchange.listen(way.function.label, partitions[0], link)
        call = call_gen(link.pgconn, way.function.query.sql, params, link.prepared)
        pools = [wired.pools[partitions[0]]]
        loan = Loan.of(self._pools, pools, [link])
        return self._calls.adopt(*_prepared(aim), loan, now, [call])

    def _gone_on(
        self,
        aim: Aim,
        link: Link,
        results: list[PGresult],
        broken: psycopg.Error | None,
    ) -> Steps[Any]:
        """Go on the way of all other calls with what was sent to one partition."""
        way, wired, normals, partitions, params, now, deadline = aim
        leg = Leg(link)
        leg.results, leg.broken = results, broken
        pools = [wired.pools[partitions[0]]]
        flight = Flight(self._calls, way, wired, partitions, pools, normals, params)
        flight.deadline = deadline
        flight.sent([leg], now)
        return flight.go_on()


def _prepared(aim: Aim) -> tuple[Prepared, Routed]:
    """Return the call as all other ways know it."""
    way, wired, normals, partitions, params, _, deadline = aim
    routed = Routed(wired, Tags(partitions), [params] * len(partitions), deadline)
    return Prepared(way.function, way.answer, way.options, normals, routed), routed


def _name(links: Sequence[Link], sql: bytes) -> bytes | None:
    """Return the name under which the statement is prepared on all links."""
    name: bytes | None = None
    for link in links:
        name = link.prepared.names.get(sql)
        if name is None:
            return None
    return name
