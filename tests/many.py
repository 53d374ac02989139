"""What tests of many calls share: a function that can fail in every way, and the truth.

Each call of ``make`` leaves its id in the table ``made`` of its partition, unless it
fails; so what is told of a call can be held against what is there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from plproxy_py import Error
from tests.fix_router import Driver
from tests.fix_server import Pg

PARTITIONS = [f"part{number:02}" for number in range(4)]

REMOTE = """
CREATE TABLE IF NOT EXISTS made_for (id int4 PRIMARY KEY);
CREATE TABLE IF NOT EXISTS made (id int4 PRIMARY KEY, number serial, parent int4
    REFERENCES made_for DEFERRABLE INITIALLY DEFERRED);
TRUNCATE made CASCADE;
CREATE OR REPLACE FUNCTION make(id int4, how text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO made (id, parent) VALUES (id, CASE how WHEN 'orphan' THEN 1 END);
    CASE split_part(how, ' ', 1)
        WHEN 'raise' THEN RAISE EXCEPTION 'no' USING ERRCODE = '53100';
        WHEN 'nap' THEN PERFORM pg_sleep(split_part(how, ' ', 2)::float8);
        WHEN 'die' THEN PERFORM pg_terminate_backend(pg_backend_pid());
                        PERFORM pg_sleep(5);
        WHEN 'forget' THEN DEALLOCATE ALL;
        WHEN 'notice' THEN RAISE NOTICE 'made %', id;
        WHEN 'big' THEN RETURN repeat('x', split_part(how, ' ', 2)::int4);
        ELSE NULL;
    END CASE;
    RETURN id || ' ' || left(how, 100);
END $$;
CREATE OR REPLACE FUNCTION make_all(ids int4[]) RETURNS SETOF text LANGUAGE sql AS
    $$ SELECT make(id, 'x') FROM unnest(ids) id $$;
"""
MAKE = (
    "CREATE FUNCTION make(id int4, how text) RETURNS text LANGUAGE plproxy AS "
    "$$ CLUSTER 'userdb'; RUN ON id; $$"
)


def call_many(driver: Driver, function: Any, calls: Any) -> Any:
    return driver.run(function.call_many(calls))


def held(pg: Pg, names: Sequence[str] = PARTITIONS) -> set[int]:
    """Return the ids that the partitions hold."""
    return {row[0] for name in names for row in pg.execute(name, "SELECT id FROM made")}


def check_truth(
    results: Sequence[Any], ids: Sequence[int], there: set[int]
) -> dict[str, int]:
    """Hold what was told against what is there; return how often each was told."""
    assert len(results) == len(ids)
    told = {"committed": 0, "failed": 0, "unknown": 0}
    for id, result in zip(ids, results, strict=True):
        state = "committed"
        if isinstance(result, Error):
            states = {outcome.state for outcome in result.outcomes.values()}
            assert len(states) <= 1, "make runs on one partition"
            state = states.pop() if states else "failed"
            sent = [outcome.sent for outcome in result.outcomes.values()]
            assert result.sent == any(sent)
            assert result.sent or state == "failed"
        told[state] += 1
        if state != "unknown":
            assert (id in there) == (state == "committed"), (id, result)
    return told


async def taken(source: Any, count: int) -> list[Any]:
    """Return the first results of an async iterator, which is closed then."""
    results = []
    async with contextlib.aclosing(source):
        async for result in source:
            results.append(result)
            if len(results) == count:
                break
    return results


def first(driver: Driver, source: Any, count: int) -> list[Any]:
    """Return the first results of `iter_many`, and stop it."""
    if driver.is_async:
        return list(driver.run(taken(source, count)))
    with contextlib.closing(source):
        return [next(source) for _ in range(count)]
