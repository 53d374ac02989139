"""From arguments to tagged partitions, with the home database's help where needed.

RUN ON, CLUSTER, CONNECT and DEFAULT expressions that Python can't compute are asked at
home, as PL/Proxy asks them of the proxy database: in its own transaction, so that only
committed data counts. A CONNECT string that came from data must be allowed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from psycopg.adapt import AdaptersMap

from plproxy_py import _rows
from plproxy_py._conversations import Conversations
from plproxy_py._exchange import Exchange, Statement, results_of
from plproxy_py._pools import Pools, Wired
from plproxy_py._record import record
from plproxy_py._steps import Steps
from plproxy_py._waiting import INFINITE
from plproxy_py.errors import ConfigError, Error, RoutingError, placed
from plproxy_py.function import HomeDefault, Named, ProxyFunction
from plproxy_py.language.body import RunNumber
from plproxy_py.query import RemoteQuery
from plproxy_py.sources import private_cluster
from plproxy_py.sources.admission import refuse_stranger
from plproxy_py.tagging import (
    Pick,
    RunHash,
    RunHome,
    RunOn,
    Tags,
    split_length,
    tag,
)

INT_OIDS = {20, 21, 23}
TEXT_OID = 25

# CONNECT strings that come from data: as many pools as are kept.
MOST_CONNECTS = 64


@record
class Routed:
    """Where a call goes, and with which parameters, for each tagged partition."""

    wired: Wired
    tags: Tags
    params: Sequence[Sequence[bytes | None]]
    deadline: float


class Routing:
    """Resolves clusters, connect strings and hashes."""

    def __init__(
        self,
        pools: Pools,
        exchange: Exchange,
        adapters: AdaptersMap,
        pick: Pick,
        allow_connect: Sequence[str] | bool,
    ) -> None:
        if isinstance(allow_connect, str):
            # Each of its characters would be a pattern, "*" among them.
            raise ConfigError("allow_connect is True or a list of host patterns")
        self.home: Wired | None = None
        self._pools = pools
        self._exchange = exchange
        self.adapters = adapters
        self.pick = pick
        self._allow_connect = allow_connect
        # By digest: connect strings hold passwords.
        self._connects: dict[bytes, Wired] = {}

    def arguments(
        self,
        function: ProxyFunction,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        deadline: float,
    ) -> Steps[list[Any]]:
        """Return the arguments' normal forms, with DEFAULTs filled in."""
        bound = list(function.bind(args, kwargs))
        for index, value in enumerate(bound):
            if isinstance(value, HomeDefault):
                if self.home is None:
                    raise TypeError(
                        f"{function.missing(index)}: its DEFAULT {value.sql!r} is "
                        "computed by the home database, and none is named (home=)"
                    )
                rows = yield from self._ask(
                    function, RemoteQuery(value.sql.encode(), ()), (), deadline
                )
                bound[index] = rows[0][0]
        return function.normals(bound)

    def route(
        self,
        function: ProxyFunction,
        normals: list[Any],
        cluster: Callable[[str, float], Steps[Wired]],
        started: float,
        timeout: float | None,
    ) -> Steps[Routed]:
        """Return where the call goes. Raise before anything is sent.

        ``timeout`` None: the cluster's query_timeout holds, as soon as it is known.
        """
        deadline = started + (timeout or INFINITE)
        try:
            wired = yield from self._wired(function, normals, cluster, deadline)
            if timeout is None:
                deadline = started + (wired.config.query_timeout or INFINITE)
            function.place(normals, wired.config.timezone)
            from_home = None
            if (asked := self.asked_at_home(function.run_on)) is not None:
                from_home = (
                    asked,
                    (yield from self._hashes(function, asked, normals, deadline)),
                )
            pick = self.reachable(wired)
            tags = function.tag(normals, wired.config, pick, from_home)
        except Error as error:
            raise placed(error, function.label) from None
        if tags.arguments is None:
            params = [self.dump(function, normals)]
            params *= len(tags.partitions)
        else:
            params = [self.dump(function, own) for own in tags.arguments]
        return Routed(wired, tags, params, deadline)

    def reachable(self, wired: Wired) -> Pick:
        """Return what picks any partition, of those that are not down if there are."""

        def pick(count: int) -> int:
            is_vain = self._pools.connector.is_knocking_vain
            sessions = [pool.session for pool in wired.pools[:count]]
            up = [place for place, one in enumerate(sessions) if not is_vain(one)]
            return up[self.pick(len(up))] if up else self.pick(count)

        return pick

    def route_each(
        self,
        function: ProxyFunction,
        normals: Mapping[int, list[Any]],
        cluster: Callable[[str, float], Steps[Wired]],
        started: float,
        timeout: float | None,
    ) -> Steps[Routed]:
        """Return where a call goes that names its partitions, as `route` does.

        ``normals``: the arguments by partition.
        """
        deadline = started + (timeout or INFINITE)
        try:
            wired: Wired | None = None
            for own in normals.values():
                found = yield from self._wired(function, own, cluster, deadline)
                if wired not in (None, found):
                    raise RoutingError("the arguments name more than one cluster")
                wired = found
            if wired is None:
                raise RoutingError("call_each takes at least one partition")
            config = wired.config
            if timeout is None:
                deadline = started + (config.query_timeout or INFINITE)
            for partition, own in normals.items():
                tag(RunNumber(partition, 1), own, config, self.pick)
                function.place(own, config.timezone)
            targets = {config.target(partition) for partition in normals}
            if len(targets) < len(normals):
                raise RoutingError(
                    "two of the partitions have the same target, which is called once"
                )
        except Error as error:
            raise placed(error, function.label) from None
        params = [self.dump(function, own) for own in normals.values()]
        return Routed(wired, Tags(tuple(normals)), params, deadline)

    def _wired(
        self,
        function: ProxyFunction,
        normals: Sequence[Any],
        cluster: Callable[[str, float], Steps[Wired]],
        deadline: float,
    ) -> Steps[Wired]:
        """Return the cluster, or what stands for a connect string."""
        if function.connect is not None:
            connstr = yield from self._named(
                "CONNECT", function, function.connect, normals, deadline
            )
            return self._connect(connstr, function.connect)
        name = yield from self._named(
            "CLUSTER", function, function.cluster, normals, deadline
        )
        return (yield from cluster(name, deadline))

    def asked_at_home(self, run_on: RunOn) -> RunHome | None:
        """Return the question for the home database, if the hash must come from it.

        A hash that is known here comes from home nevertheless if home may have a
        function of its own by that name, or hashes text in another encoding.
        """
        if not isinstance(run_on, RunHash) or self.home is None:
            return run_on if isinstance(run_on, RunHome) else None
        is_foreign = self.home.pools[0].encoding not in (None, "UTF8")
        return run_on.at_home if run_on.doubtful or is_foreign else None

    def dump(
        self,
        function: ProxyFunction,
        normals: Sequence[Any],
        feeds: Sequence[int] | None = None,
    ) -> Sequence[bytes | None]:
        """Return what is sent for the arguments that ``feeds`` names, the query's own
        by default. Raise TypeError or ValueError, naming the argument."""
        fed = function.query.feeds if feeds is None else feeds
        return _rows.dump_params(
            function.params(normals, fed),
            self.adapters,
            lambda number: function.parameter(number, fed),
        )

    def _named(
        self,
        keyword: str,
        function: ProxyFunction,
        named: Named,
        normals: Sequence[Any],
        deadline: float,
    ) -> Steps[str]:
        if isinstance(named, str):
            return named
        if isinstance(named, RemoteQuery):
            rows = yield from self._ask(function, named, normals, deadline, {TEXT_OID})
            if len(rows) != 1:
                raise RoutingError(f"{keyword} takes one row, {len(rows)} came")
            value = rows[0][0]
        else:
            assert named is not None
            value = named(normals)
        if not isinstance(value, str):
            given = "NULL" if value is None else type(value).__name__
            raise RoutingError(f"{keyword} takes a text, it got {given}")
        return value

    def _connect(self, connstr: str, named: Named) -> Wired:
        import hashlib  # 2 ms, where nobody asks for it

        key = hashlib.sha256(connstr.encode(errors="replace")).digest()
        wired = self._connects.get(key)
        config = wired.config if wired else private_cluster(connstr, user=self._user())
        if not isinstance(named, str):
            refuse_stranger(config.target(0), self._allow_connect)
        if wired is None:
            wired = self._pools.wire(config)
        self._connects.pop(key, None)
        self._connects[key] = wired  # the latest stands last
        if len(self._connects) > MOST_CONNECTS:
            oldest = self._connects.pop(next(iter(self._connects)))
            self._pools.unwire(oldest)
        return wired

    def _user(self) -> str | None:
        """Return whom PL/Proxy would connect as: the home database's own user."""
        if self.home is None:
            return None
        return dict(self.home.config.target(0).parameters).get("user")

    def _hashes(
        self,
        function: ProxyFunction,
        run_on: RunHome,
        normals: Sequence[Any],
        deadline: float,
    ) -> Steps[list[Any]]:
        """Return the hashes that the home database gives, for each row with SPLIT."""
        if not function.split:
            rows = yield from self._ask(
                function, run_on.query, normals, deadline, INT_OIDS
            )
            return [row[0] for row in rows]
        length = split_length(normals, function.split)
        if length == 0:
            return []
        assert run_on.split_query is not None
        rows = yield from self._ask(
            function, run_on.split_query, normals, deadline, INT_OIDS, column=2
        )
        hashes: list[Any] = [[] for _ in range(length)]
        for number, group in groupby(rows, itemgetter(0)):
            hashes[number - 1] = [row[2] for row in group]
        return hashes

    def _ask(
        self,
        function: ProxyFunction,
        query: RemoteQuery,
        normals: Sequence[Any],
        deadline: float,
        oids: set[int] | None = None,
        column: int = 0,
    ) -> Steps[list[Any]]:
        """Ask the home database; ``oids``: the types that ``column`` may have."""
        if self.home is None:
            assert function.needs_home is not None
            raise copy.copy(function.needs_home)
        params = self.dump(function, normals, query.feeds)
        statement = Statement(
            function.label, query.sql, [params], deadline, is_repeated=True
        )

        def read(talk: Conversations) -> list[Any]:
            (result,) = results_of(talk)
            if oids and result.nfields and result.ftype(column) not in oids:
                is_text = TEXT_OID in oids
                if result.ntuples and result.get_value(0, column) is None:
                    raise RoutingError(f"the {'name' if is_text else 'hash'} is NULL")
                wanted = "text" if is_text else "int2, int4 or int8"
                raise RoutingError(f"an expression of type {wanted} is needed")
            link = talk.links[0]
            assert link is not None
            return _rows.load_rows(link, result, None)

        try:
            return (yield from self._exchange.run(self.home, (0,), statement, read))
        except Error as error:
            # Nothing went to a partition: the whole call may be repeated.
            error.partition, error.sent, error.outcomes = None, False, {}
            raise
