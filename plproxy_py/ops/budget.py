"""Connections that processes may open, against what servers take.

A process opens at most its pool's size to each database, and no more than
`max_connections_per_server` to a server. Of each server one session is asked, however
many partitions it has: a server that is nearly full should not be filled by the
question. Sessions of routers of these clusters are told by their application_name, and
are taken for those of the processes that are counted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plproxy_py._exchange import Statement
from plproxy_py._pools import Pool, Wired
from plproxy_py._router_base import RouterBase
from plproxy_py._servers import server_of
from plproxy_py._sessions import application_name
from plproxy_py._steps import run, run_async
from plproxy_py.errors import Error, PartitionError
from plproxy_py.ops.placing.places import server_name
from plproxy_py.result import Row

MAX_CONNECTIONS = "max_connections"

# Who is no member of pg_read_all_stats sees whose others' sessions are, not their kind.
_LOOK = b"""
    SELECT pg_catalog.pg_postmaster_start_time()::text || ' '
            || pg_catalog.current_setting('port') AS server,
        pg_catalog.current_setting('max_connections')::int4 AS most,
        pg_catalog.current_setting('superuser_reserved_connections')::int4
            + coalesce(pg_catalog.current_setting('reserved_connections', true), '0'
                )::int4 AS reserved,
        session_user::text AS self,
        (SELECT pg_catalog.json_object_agg(rolname, rolconnlimit)::text
            FROM pg_catalog.pg_roles WHERE rolconnlimit >= 0 AND NOT rolsuper) AS roles,
        (SELECT pg_catalog.json_object_agg(datname, datconnlimit)::text
            FROM pg_catalog.pg_database WHERE datconnlimit >= 0) AS databases,
        (SELECT pg_catalog.json_agg(rolname)::text
            FROM pg_catalog.pg_roles WHERE rolsuper) AS superusers,
        datname::text, usename::text, application_name, sessions
    FROM (SELECT) AS one LEFT JOIN (
        SELECT datname, usename, application_name, count(*)::int4 AS sessions
        FROM pg_catalog.pg_stat_activity
        WHERE pid <> pg_catalog.pg_backend_pid()
            AND datid IS NOT NULL AND usesysid IS NOT NULL
            AND coalesce(backend_type, 'client backend') = 'client backend'
        GROUP BY 1, 2, 3
    ) AS client ON true"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What processes would open: ``processes`` of them, so much in each."""

    processes: int
    pool_size: int
    per_server: int | None

    def wanted(self, databases: int) -> int:
        """Return the connections to a server for so many of its databases."""
        each = self.pool_size * databases
        return self.processes * min(each, self.per_server or each)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a server, on connections to ``databases`` of ours.

    ``name``: max_connections, a role or a database. ``in_use``: by others.
    """

    name: str
    most: int
    reserved: int
    in_use: int
    databases: int

    @property
    def left(self) -> int:
        """The connections that there are for us."""
        return max(0, self.most - self.reserved - self.in_use)


@dataclass(frozen=True, slots=True)
class ServerBudget:
    """A server under its names; ``limits`` are empty where it could not be asked.

    ``routers``: sessions of these clusters' routers that are there now. ``is_pooled``:
    a pooler is between, whose own limits nobody can be asked for.
    """

    names: tuple[str, ...]
    databases: int
    plan: Plan
    limits: tuple[Limit, ...]
    routers: int = 0
    is_pooled: bool = False
    error: Error | None = None

    @property
    def wanted(self) -> int:
        """All connections that the processes may open to it."""
        return self.plan.wanted(self.databases)

    @property
    def tightest(self) -> Limit | None:
        """The limit of which the least would be left, or the most be missing."""
        return min(
            self.limits,
            key=lambda limit: limit.left - self.plan.wanted(limit.databases),
            default=None,
        )

    @property
    def fits(self) -> bool | None:
        """Tell whether there is room, None if nobody knows."""
        limit = self.tightest
        if limit is None or self.is_pooled:
            return None
        return self.plan.wanted(limit.databases) <= limit.left

    @property
    def pool_size(self) -> int:
        """The largest pool size for which there is room, 0 if there is for none."""
        return min(
            (
                limit.left // (self.plan.processes * limit.databases)
                for limit in self.limits
            ),
            default=0,
        )

    @property
    def per_server(self) -> int:
        """The largest max_connections_per_server for which there is room, or 0."""
        return min(
            (limit.left // self.plan.processes for limit in self.limits), default=0
        )


def pools_of(router: RouterBase, cluster: str | None) -> list[tuple[Wired, int]]:
    """Return the databases that a process has pools for, each once, the home's too.

    Of one cluster, or of all that are known. Each is a cluster and a position in it.
    """
    names = list(router.clusters) if cluster is None else [cluster]
    wired = [run(router._preparer.cluster(name)) for name in names]
    if router._routing.home is not None:
        wired.append(router._routing.home)
    found: dict[Pool, tuple[Wired, int]] = {}
    for one in wired:
        for index, pool in enumerate(one.pools):
            found.setdefault(pool, (one, index))
    return list(found.values())


def said_plan(
    router: RouterBase, processes: int, pool_size: int | None, per_server: int | None
) -> Plan:
    """Return the plan; what was not said is the router's own."""
    pools = router._pools
    return Plan(processes, pool_size or pools._size, per_server or pools._servers.most)


async def server_budgets(
    router: RouterBase,
    pools: Sequence[tuple[Wired, int]],
    plan: Plan,
    timeout: float,
    done: Callable[[], object],
) -> list[ServerBudget]:
    """Ask each server, at once. ``timeout``: seconds for each."""
    by_server: dict[tuple[str, str], list[tuple[Wired, int]]] = {}
    for wired, index in pools:
        target = wired.pools[index].session.target
        by_server.setdefault(server_of(target), []).append((wired, index))

    async def asked(own: list[tuple[Wired, int]]) -> list[Row] | Error:
        try:
            return await _asked(router, own, timeout)
        finally:
            done()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asked(own)) for own in by_server.values()]
    # Names of one server are one: it has no more connections for having two.
    same: dict[object, list[tuple[Wired, int]]] = {}
    answers: dict[object, list[Row] | Error] = {}
    for own, task in zip(by_server.values(), tasks, strict=True):
        answer = task.result()
        key: object = own if isinstance(answer, Error) else answer[0]["server"]
        key = id(own) if key is own else key
        same.setdefault(key, []).extend(own)
        answers[key] = answer
    app = router._pools.connector._application_name
    titles = [wired.config.name for wired, _ in pools]
    is_router = _router_test(app, titles)
    return [
        _server_budget(own, answers[key], plan, is_router) for key, own in same.items()
    ]


async def _asked(
    router: RouterBase, own: Sequence[tuple[Wired, int]], timeout: float
) -> list[Row] | Error:
    """Ask one of a server's databases; the next only if that one was not to be had."""
    deadline = time.monotonic() + timeout
    first: Error | None = None
    for wired, index in own:
        statement = Statement("budget", _LOOK, [()], deadline)
        try:
            steps = router._exchange.rows(wired, (index,), statement)
            return (await run_async(steps))[index]
        except Error as error:
            first = first or error
            # A server that does not answer, or is full, will not do so for the next.
            if isinstance(error, PartitionError) and error.sqlstate != "3D000":
                break
    assert first is not None
    return first


def _router_test(app: str, clusters: Sequence[str]) -> Callable[[str | None], bool]:
    """Return what tells whether a session is a router's, by its application_name."""
    names = {application_name(app, cluster) for cluster in clusters}

    def is_router(name: str | None) -> bool:
        # The version of the map follows.
        return name in names or any(
            (name or "").startswith(f"{one} ") for one in names - {app}
        )

    return is_router


def _server_budget(
    own: Sequence[tuple[Wired, int]],
    answer: list[Row] | Error,
    plan: Plan,
    is_router: Callable[[str | None], bool],
) -> ServerBudget:
    sessions = [wired.pools[index].session for wired, index in own]
    names = tuple(dict.fromkeys(server_name(one.target) for one in sessions))
    is_pooled = all(session.pooler for session in sessions)
    if isinstance(answer, Error):
        return ServerBudget(
            names, len(own), plan, (), is_pooled=is_pooled, error=answer
        )
    seen = answer[0]
    roles, databases = Counter[str](), Counter[str]()
    superusers = set(json.loads(seen["superusers"] or "[]"))
    for session in sessions:
        parameters = dict(session.target.parameters)
        role = parameters.get("user") or seen["self"]
        roles[role] += 1
        if role not in superusers:
            databases[parameters.get("dbname") or role] += 1
    others = [row for row in answer if not is_router(row["application_name"])]
    limits = [
        Limit(MAX_CONNECTIONS, seen["most"], seen["reserved"], _used(others), len(own))
    ]
    for kind, column, ours, said in (
        ("role", "usename", roles, seen["roles"]),
        ("database", "datname", databases, seen["databases"]),
    ):
        for name, most in json.loads(said or "{}").items():
            if name in ours:
                used = _used([row for row in others if row[column] == name])
                limits.append(Limit(f"{kind} {name}", most, 0, used, ours[name]))
    routers = _used(answer) - _used(others)
    return ServerBudget(names, len(own), plan, tuple(limits), routers, is_pooled)


def _used(rows: Sequence[Row]) -> int:
    return sum(row["sessions"] or 0 for row in rows)
