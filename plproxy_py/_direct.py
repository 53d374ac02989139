"""The short way: a call for which all is known and ready.

The commonest calls need nothing that has to be waited for but their answers: the
cluster is known, the partitions are computed here, the statement is prepared on an idle
link to each. Such a call is sent at once; any other takes the way of `_calls`, and so
does one that does not simply end well (see `_flights`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from plproxy_py import _rows, _wire
from plproxy_py._calls import Calls
from plproxy_py._flights import Flight, Leg, Way
from plproxy_py._links import Link
from plproxy_py._pools import Wired
from plproxy_py._preparing import Callee
from plproxy_py._steps import run, run_async
from plproxy_py._waiting import INFINITE
from plproxy_py.errors import Error, ResultError, placed
from plproxy_py.function import HomeDefault, ProxyFunction
from plproxy_py.language.body import RunAll
from plproxy_py.tagging import RunHash, RunHome, RunOn, hashes_of, tag

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

# What fits into a socket's buffer at once; more is sent as it drains.
MOST_BYTES = 16 * 1024


_Ready = tuple[Way, Wired, int, Link, list[Any], list[bytes | None], float]


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
        ready = self._ready(args, kwargs)
        if ready is None:
            return self._fly(args, kwargs)
        way, wired, partition, link, normals, params, now = ready
        function, deadline = way.function, INFINITE
        timeout = way.options.timeout or wired.config.query_timeout
        if timeout is not None:
            deadline = now + timeout
        sql = function.query.sql
        results: list[PGresult] = []
        name = link.prepared.name(sql)
        assert name is not None
        link.listener = (self._on_notice, function.label, partition)
        interruption: BaseException | None = None
        broken: psycopg.Error | None = None
        try:
            if _wire.converse(link.pgconn, link.poll, name, params, deadline, results):
                result = results[0]
                if result.ntuples != 1:
                    way.answer.check_count(result.ntuples)
                rows = _rows.load_cached(link, result, way.answer, sql)
                answer = way.answer.collect((rows,))
                self._pools.put_one(wired.pools[partition], link)
                return answer
        except ResultError:
            pass  # told with its outcomes by the other way
        except psycopg.Error as error:
            broken = error
        except BaseException as error:
            interruption = error
        leg = Leg(link)
        leg.results, leg.broken = results, broken
        pools = [wired.pools[partition]]
        flight = Flight(self._calls, way, wired, (partition,), pools, normals, params)
        flight.deadline = deadline
        flight.sent([leg], now)
        return run(flight.go_on(), interruption)

    def _fly(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        flight = self.begin(args, kwargs)
        if flight is None:
            return run(self._calls.call(self._callee, args, kwargs))
        try:
            if flight.block():
                return flight.land()
        except BaseException as error:
            return run(flight.go_on(), flight.broken_off(error))
        return run(flight.go_on())

    async def call_async(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Make the call on this event loop, the short way if it can be."""
        flight = self.begin(args, kwargs)
        if flight is None:
            return await run_async(self._calls.call(self._callee, args, kwargs))
        try:
            if await flight.suspend():
                return flight.land()
        except BaseException as error:
            return await run_async(flight.go_on(), flight.broken_off(error))
        return await run_async(flight.go_on())

    def _ready(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Ready | None:
        """Return all that a call of one partition needs, None if something lacks."""
        function = self._callee.find()
        if function is not self._function:
            self._way = self._found(function)
            self._function = function
        way, preparer = self._way, self._preparer
        if way is None or way.hash is None or preparer.clusters is None:
            return None
        wired = preparer.current(way.cluster)
        if wired is None or (
            preparer.routing.home is not None
            and preparer.routing.asked_at_home(way.run_on)
        ):
            return None
        normals = function.normals(function.bind(args, kwargs))
        hash = way.hash(normals)
        # Whatever is no plain hash is looked at, and refused, by the other way.
        if type(hash) is not int or not -(2**63) <= hash < 2**63:
            return None
        if function.strict and None in normals:
            return None
        config = wired.config
        partition = config.partition_of(hash)
        params = function.texts(normals)
        for param in params:
            if param is not None and len(param) > MOST_BYTES:
                return None
        now = time.monotonic()
        pool = wired.pools[partition]
        link = self._pools.take_one(pool, now, config.connection_lifetime)
        if link is None:
            return None
        if link.prepared.name(function.query.sql) is None:
            self._pools.put_one(pool, link)
            return None
        return way, wired, partition, link, normals, params, now

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
            partitions = self._tagged(way.run_on, wired, normals)
        except Error as error:
            raise placed(error, function.label) from None
        params = function.texts(normals)
        if sum([len(param) for param in params if param]) > MOST_BYTES:
            return None
        now = time.monotonic()
        pools = [wired.pools[partition] for partition in partitions]
        links = self._pools.take(pools, now, wired.config.connection_lifetime)
        if links is None:
            return None
        name = _name(links, function.query.sql)
        if name is None:
            self._pools.put(pools, links)
            return None
        timeout = way.options.timeout or wired.config.query_timeout or INFINITE
        flight = Flight(self._calls, way, wired, partitions, pools, normals, params)
        flight.deadline = now + timeout
        flight.send(links, name, now)
        return flight

    def _tagged(
        self, run_on: RunOn, wired: Wired, normals: Sequence[Any]
    ) -> tuple[int, ...]:
        if isinstance(run_on, RunHash):
            hashes = hashes_of(run_on.hash(normals), run_on.setof)
            if len(hashes) == 1:
                return (wired.config.partition_of(hashes[0]),)
        elif isinstance(run_on, RunAll):
            if self._all is None or self._all[0] is not wired:
                pick = self._preparer.routing.pick
                self._all = wired, tag(run_on, (), wired.config, pick).partitions
            return self._all[1]
        pick = self._preparer.routing.pick
        return tag(run_on, normals, wired.config, pick).partitions

    def _found(self, function: ProxyFunction) -> Way | None:
        options, answer = self._callee.options(function), function.answer
        if (
            answer is None
            or answer.stream
            or options.partial
            or options.first
            or function.split
            or function.row_type is not None
            or function.connect is not None
            or not isinstance(function.cluster, str)
            or isinstance(function.run_on, RunHome)
            or not function.is_plain
            or any(isinstance(d, HomeDefault) for d in function.defaults.values())
        ):
            return None
        run_on = function.run_on
        hash = (
            run_on.hash
            if isinstance(run_on, RunHash) and function.gather is None
            else None
        )
        return Way(function, answer, options, function.cluster, run_on, hash)


def _name(links: Sequence[Link], sql: bytes) -> bytes | None:
    """Return the name under which the statement is prepared on all links."""
    name: bytes | None = None
    for link in links:
        name = link.prepared.name(sql)
        if name is None:
            return None
    return name
