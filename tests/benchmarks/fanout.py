"""RUN ON ALL over 16 partitions: a count, and 16 times 1,000 rows of 10 columns."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.benchmarks.groups import Race, Ratio, Size, Stage
from tests.benchmarks.rounds import Contender, timed
from tests.benchmarks.servers import PROXY_SQL

COUNT_QUERY = "select r::bigint from count_events() r"
ROWS_QUERY = (
    "select id, quantity, customer, amount, paid, created, due, weight, token, note "
    "from get_orders()"
)


def declare(router: Any, name: str) -> Any:
    """Declare all functions of proxy.sql on a router; return one of them."""
    router.load(PROXY_SQL)
    return next(
        function
        for key, function in router.functions.items()
        if key.startswith(f"public.{name}(")
    )


def enter_count(stage: Stage) -> list[Contender]:
    return _enter(stage, "count_events", COUNT_QUERY, 1)


def enter_rows(stage: Stage) -> list[Contender]:
    return _enter(stage, "get_orders", ROWS_QUERY, 1000)


def _enter(stage: Stage, name: str, query: str, row_count: int) -> list[Contender]:
    """``query`` asks one partition, which answers with ``row_count`` rows."""
    expected = 16 * row_count
    function = declare(stage.router(), name)
    async_function = declare(stage.async_router(), name)
    cursors = stage.cursors()
    runner = stage.runner

    def check(rows: list[Any]) -> None:
        assert len(rows) == expected, f"{len(rows)} rows, not {expected}"

    def router(count: int) -> None:
        for _ in range(count):
            check(function())

    async def async_router(count: int) -> None:
        for _ in range(count):
            check(await async_function())

    def sequential(count: int) -> None:
        for _ in range(count):
            rows = []
            for cursor in cursors:
                rows += cursor.execute(query).fetchall()
            check(rows)

    contenders = [
        Contender("psycopg, one after another", timed(sequential)),
        Contender("Router", timed(router)),
        Contender("AsyncRouter", timed(lambda n: runner.run(async_router(n)))),
    ]
    if proxy := stage.proxy_cursor():

        def plproxy(count: int) -> None:
            for _ in range(count):
                check(proxy.execute(f"select * from {name}()".encode()).fetchall())

        contenders.append(Contender("PL/Proxy", timed(plproxy)))
    if conns := stage.asyncpg_connections():

        async def gather(count: int) -> None:
            for _ in range(count):
                answers = await asyncio.gather(*(conn.fetch(query) for conn in conns))
                check([row for answer in answers for row in answer])

        contenders.append(
            Contender("asyncpg, gather", timed(lambda n: runner.run(gather(n))))
        )
    return contenders


SEQUENTIAL = "psycopg, one after another"

GROUPS = (
    Race(
        "RUN ON ALL of 16, a count",
        enter_count,
        (
            Ratio("fanout16.vs_plproxy", "Router", "PL/Proxy", 0.65),
            Ratio("fanout16.vs_sequential", "Router", SEQUENTIAL, 0.6),
        ),
        full=Size(rounds=15, calls=60),
        quick=Size(rounds=5, calls=20),
    ),
    Race(
        "RUN ON ALL of 16, 1,000 rows of 10 columns each",
        enter_rows,
        (
            Ratio("fanout16_rows.vs_plproxy", "Router", "PL/Proxy", 0.55),
            Ratio("fanout16_rows.vs_asyncpg", "Router", "asyncpg, gather", 0.9),
        ),
        full=Size(rounds=11, calls=4, elements=1000),
        quick=Size(rounds=3, calls=2, elements=1000),
    ),
)
