"""One routed call: ours, and a cursor on the connection that is chosen already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

from plproxy_py import AsyncRouter, ProxyCall, Router
from plproxy_py.hashing import hashtext
from tests.benchmarks.groups import (
    EMAIL_QUERY,
    EMAIL_QUERY_NUMBERED,
    Race,
    Ratio,
    Size,
    Stage,
)
from tests.benchmarks.rounds import Contender, timed
from tests.benchmarks.servers import (
    CLUSTER,
    DBNAMES,
    HOT_KEYS,
    PART_COUNT,
    PROXY,
)


def hot_keys(count: int) -> Iterator[str]:
    """Return that many keys, the hot ones over and over."""
    return islice(cycle(HOT_KEYS), count)


def partition(key: str) -> int:
    """Return where a key is at home."""
    return hashtext(key) & (PART_COUNT - 1)


def email_function(router: Router) -> ProxyCall[[str], str | None]:
    """Declare the routed function on a router, by a decorator."""

    @router.proxy(cluster=CLUSTER, run_on="hashtext(i_username)")
    def get_user_email(i_username: str) -> str | None: ...

    return get_user_email


def async_email_function(router: AsyncRouter) -> Any:
    """Declare the routed function on an AsyncRouter, by a decorator."""

    @router.proxy(cluster=CLUSTER, run_on="hashtext(i_username)")
    async def get_user_email(i_username: str) -> str | None: ...

    return get_user_email


def routed(function: ProxyCall[[str], str | None]) -> Any:
    """Return what measures calls of the decorated function."""

    def calls(count: int) -> None:
        for key in hot_keys(count):
            function(key)

    return timed(calls)


def by_hand(chosen: Sequence[tuple[Any, tuple[str]]]) -> Any:
    """Return what measures a cursor's execute; ``chosen``: cursors with arguments."""

    def calls(count: int) -> None:
        for cursor, args in islice(cycle(chosen), count):
            cursor.execute(EMAIL_QUERY, args)
            cursor.fetchone()[0]

    return timed(calls)


def enter_sync(stage: Stage) -> list[Contender]:
    cursors = stage.cursors()
    chosen = [(cursors[partition(key)], (key,)) for key in HOT_KEYS]
    from_database = stage.exits.enter_context(
        Router.from_database(stage.servers.connstr(PROXY))
    )
    contenders = [
        Contender("psycopg cursor", by_hand(chosen)),
        Contender("Router", routed(email_function(stage.router()))),
        Contender("Router.from_database", routed(email_function(from_database))),
    ]
    if proxy := stage.proxy_cursor():
        query = "select get_user_email(%s)"

        def plproxy(count: int) -> None:
            for key in hot_keys(count):
                proxy.execute(query, (key,))
                proxy.fetchone()[0]  # type: ignore[index]

        contenders.append(Contender("PL/Proxy", timed(plproxy)))
    if sqlalchemy := _sqlalchemy_calls(stage):
        contenders.append(Contender("SQLAlchemy Core", timed(sqlalchemy)))
    return contenders


def _sqlalchemy_calls(stage: Stage) -> Any:
    if (sqlalchemy := stage.module("sqlalchemy")) is None:
        return None
    engines = []
    for dbname in DBNAMES:
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://",
            creator=lambda dbname=dbname: stage.servers.connect(dbname),
            isolation_level="AUTOCOMMIT",
        )
        stage.exits.callback(engine.dispose)
        engines.append(engine)
    query = sqlalchemy.text("select r::text from get_user_email((:key)::text) r")
    chosen = [(engines[partition(key)], {"key": key}) for key in HOT_KEYS]

    def calls(count: int) -> None:
        for engine, args in islice(cycle(chosen), count):
            with engine.connect() as conn:
                conn.execute(query, args).scalar()

    return calls


def enter_async(stage: Stage) -> list[Contender]:
    function = async_email_function(stage.async_router())

    async def ours(count: int) -> None:
        for key in hot_keys(count):
            await function(key)

    runner = stage.runner
    contenders = [Contender("AsyncRouter", timed(lambda n: runner.run(ours(n))))]
    if conns := stage.asyncpg_connections():
        chosen = [(conns[partition(key)], key) for key in HOT_KEYS]

        async def theirs(count: int) -> None:
            for conn, key in islice(cycle(chosen), count):
                await conn.fetchval(EMAIL_QUERY_NUMBERED, key)

        contenders.insert(
            0, Contender("asyncpg fetchval", timed(lambda n: runner.run(theirs(n))))
        )
    return contenders


GROUPS = (
    Race(
        "one routed call",
        enter_sync,
        (
            Ratio("routed_call.vs_psycopg", "Router", "psycopg cursor", 0.85),
            Ratio("routed_call.vs_plproxy", "Router", "PL/Proxy", 0.42),
            Ratio(
                "routed_call_database.vs_psycopg",
                "Router.from_database",
                "psycopg cursor",
            ),
            Ratio("client_cpu.vs_psycopg", "Router", "psycopg cursor", 0.75, "cpu"),
        ),
        full=Size(rounds=31, calls=192),
        quick=Size(rounds=5, calls=256),
    ),
    Race(
        "one routed call, asyncio",
        enter_async,
        (
            Ratio(
                "routed_call_async.vs_asyncpg", "AsyncRouter", "asyncpg fetchval", 0.9
            ),
        ),
        full=Size(rounds=31, calls=192),
        quick=Size(rounds=5, calls=256),
    ),
)
