"""Calls a second: 32 threads, and 100 asyncio tasks, with at most 8 connections each.

By hand, a key is hashed by mmh3, in C, and its partition has a pool of its own. Their
pools open all 8 connections at once; ours opens one when it is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mmh3
from psycopg_pool import ConnectionPool

from tests.benchmarks.calls import async_email_function, email_function, hot_keys
from tests.benchmarks.groups import (
    EMAIL_QUERY,
    EMAIL_QUERY_NUMBERED,
    Race,
    Ratio,
    Size,
    Stage,
)
from tests.benchmarks.rounds import Contender, timed
from tests.benchmarks.servers import PART_COUNT

THREADS = 32
TASKS = 100
POOL_SIZE = 8
MASK = PART_COUNT - 1


def enter_threads(stage: Stage) -> list[Contender]:
    executor = stage.exits.enter_context(ThreadPoolExecutor(THREADS))
    function = email_function(stage.router(pool_size=POOL_SIZE))
    pools = [
        stage.exits.enter_context(
            ConnectionPool(
                connstr,
                min_size=POOL_SIZE,
                max_size=POOL_SIZE,
                kwargs={"autocommit": True},
                open=True,
            )
        )
        for connstr in stage.servers.connstrs()
    ]
    for pool in pools:
        pool.wait()

    def by_hand(key: str) -> None:
        with pools[mmh3.hash(key) & MASK].connection() as conn:
            cursor = conn.cursor()
            cursor.execute(EMAIL_QUERY, (key,))
            cursor.fetchone()[0]  # type: ignore[index]

    def in_threads(call: Callable[[str], Any]) -> Callable[[int], None]:
        def work(keys: list[str]) -> None:
            for key in keys:
                call(key)

        def calls(count: int) -> None:
            list(executor.map(work, _shares(count, THREADS)))

        return calls

    return [
        Contender("psycopg_pool per partition", timed(in_threads(by_hand))),
        Contender("Router", timed(in_threads(function))),
    ]


def enter_tasks(stage: Stage) -> list[Contender]:
    runner = stage.runner
    function = async_email_function(stage.async_router(pool_size=POOL_SIZE))

    def in_tasks(call: Callable[[str], Any]) -> Callable[[int], None]:
        async def work(keys: list[str]) -> None:
            for key in keys:
                await call(key)

        async def calls(count: int) -> None:
            await asyncio.gather(*(work(keys) for keys in _shares(count, TASKS)))

        return lambda count: runner.run(calls(count))

    contenders = [Contender("AsyncRouter", timed(in_tasks(function)))]
    if asyncpg := stage.module("asyncpg"):

        async def open_pool(partition: int) -> Any:
            return await asyncpg.create_pool(
                **stage.servers.asyncpg_options(partition),
                min_size=POOL_SIZE,
                max_size=POOL_SIZE,
            )

        pools = []
        for partition in range(PART_COUNT):
            pool = runner.run(open_pool(partition))
            stage.close_later(pool)
            pools.append(pool)

        async def by_hand(key: str) -> None:
            pool = pools[mmh3.hash(key) & MASK]
            await pool.fetchval(EMAIL_QUERY_NUMBERED, key)

        contenders.insert(
            0, Contender("asyncpg pool per partition", timed(in_tasks(by_hand)))
        )
    return contenders


def _shares(count: int, workers: int) -> list[list[str]]:
    """Return each worker's keys: ``count`` in all."""
    keys = list(hot_keys(count))
    return [keys[first::workers] for first in range(workers)]


GROUPS = (
    Race(
        "32 threads",
        enter_threads,
        (
            Ratio(
                "threads32.vs_psycopg_pool",
                "Router",
                "psycopg_pool per partition",
                2.0,
                "rate",
            ),
        ),
        full=Size(rounds=11, calls=3200),
        quick=Size(rounds=5, calls=800),
    ),
    Race(
        "100 asyncio tasks",
        enter_tasks,
        (
            Ratio(
                "tasks100.vs_asyncpg_pool",
                "AsyncRouter",
                "asyncpg pool per partition",
                1.8,
                "rate",
            ),
        ),
        full=Size(rounds=11, calls=3200),
        quick=Size(rounds=5, calls=800),
    ),
)
