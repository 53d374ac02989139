"""What ``router.stats()`` says: counted once, consistent, plain, without passwords."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plproxy_py import ConnectError, Router
from plproxy_py._pools import Pool
from plproxy_py._stats import BOUNDS, BUCKETS, TargetStats, figures
from tests.both import face, lent, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

counted = pytest.mark.skipif(
    not hasattr(Pool, "stats"), reason="pools have no counters"
)

REMOTE = """
CREATE OR REPLACE FUNCTION fail_at(place text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
    IF right(current_database(), 2) = place THEN
        RAISE EXCEPTION 'full' USING ERRCODE = '53100';
    END IF;
    RETURN NEXT place;
END $$;
"""


@pytest.fixture(autouse=True)
def _remote(pg: Pg, databases4: list[str]) -> None:
    for number in range(4):
        pg.execute(f"part{number:02}", REMOTE)


def targets(driver: Driver) -> list[dict[str, Any]]:
    """Return the figures of userdb's targets, in the order of partitions."""
    found = driver.router.stats()["targets"]
    config = driver.router.clusters["userdb"]
    return [found[partition.target.redacted] for partition in config.partitions]


def totals(driver: Driver, key: str) -> list[Any]:
    return [figures[key] for figures in targets(driver)]


@counted
def test_calls_are_counted_where_they_ran(userdb: Driver) -> None:
    call = face(userdb, list[str], {"place": str}, name="fail_at")
    one = face(userdb, list[str], {"place": str}, name="fail_at", run_on=2)
    for _ in range(4):
        userdb.run(call(""))
        userdb.run(one(""))
    assert totals(userdb, "calls") == [4, 4, 8, 4]
    assert totals(userdb, "errors") == [{}] * 4
    for _ in range(2):
        with pytest.raises(psycopg.errors.DiskFull):
            userdb.run(call("01"))
    with pytest.raises(psycopg.errors.DiskFull):
        userdb.run(one("02"))
    assert totals(userdb, "calls") == [6, 6, 11, 6]
    assert totals(userdb, "errors") == [{}, {"53": 2}, {"53": 1}, {}]
    for found in targets(userdb):
        latency = found["latency"]
        assert sum(latency["counts"]) == found["calls"]
        assert len(latency["counts"]) == len(latency["bounds"]) + 1
        assert latency["sum"] > 0
        assert (found["in_use"], found["waiting"], found["size"]) == (0, 0, 8)
        assert (found["idle"], found["connects"], found["lost"]) == (1, 1, 0)


@counted
def test_other_ways_to_call(userdb: Driver) -> None:
    call = face(userdb, list[str], {"place": str}, name="fail_at")
    userdb.run(call.call_many([("",)] * 5))
    assert totals(userdb, "calls") == [5] * 4
    userdb.run(call.call_outcomes("03"))
    assert totals(userdb, "calls") == [6] * 4
    assert totals(userdb, "errors") == [{}, {}, {}, {"53": 1}]
    userdb.execute("userdb", "SELECT 1", run_on=0)
    assert totals(userdb, "calls") == [7, 6, 6, 6]


@counted
def test_connections(userdb: Driver, pg: Pg) -> None:
    with lent(userdb, "userdb", partition=1):
        assert totals(userdb, "in_use") == [0, 1, 0, 0]
    assert totals(userdb, "idle") == [0, 1, 0, 0]
    assert totals(userdb, "connects") == [0, 1, 0, 0]
    query = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    pg.execute("part01", query)
    (link,) = [
        link for pool in userdb.router._pools._pools.values() for link in pool.idle
    ]
    wait_until(lambda: bool(link.poll(0)))  # the server's farewell is there
    userdb.execute("userdb", "SELECT 1", run_on=1)
    assert totals(userdb, "lost") == [0, 1, 0, 0]
    assert totals(userdb, "connects") == [0, 2, 0, 0]


def test_plain_values_without_passwords(
    make_router: Callable[..., Driver], pg: Pg
) -> None:
    there = pg.connstr("part00", password="s3cret/x")
    driver = make_router({"userdb": [there]})
    driver.execute("userdb", "SELECT 1")
    stats = driver.router.stats()
    text = json.dumps(stats)
    assert "s3cret" not in text
    assert "password=****" in text
    assert json.loads(text) == stats
    assert set(stats) == {"config", "targets"}
    # It is a copy.
    stats["targets"].popitem()[1]["errors"]["x"] = 1
    assert totals(driver, "errors") == [{}]


@counted
def test_two_kinds_of_sessions_are_one_target(
    make_router: Callable[..., Driver], pg: Pg
) -> None:
    there = [pg.connstr("part00")]
    zoned = {"partitions": there, "timezone": "UTC"}
    driver = make_router({"userdb": there, "zoned": zoned}, pool_size=2)
    for cluster in ("userdb", "zoned"):
        driver.execute(cluster, "SELECT 1")
    (found,) = driver.router.stats()["targets"].values()
    assert (found["size"], found["idle"], found["connects"]) == (4, 2, 2)
    assert found["calls"] == 2


def test_what_can_not_be_reached(make_router: Callable[..., Driver]) -> None:
    driver = make_router({"userdb": ["host=127.0.0.1 port=1 dbname=x"]})
    with pytest.raises(ConnectError):
        driver.execute("userdb", "SELECT 1")
    (found,) = targets(driver)
    assert (found["in_use"], found["idle"], found["connects"]) == (0, 0, 0)


def test_before_any_call() -> None:
    with Router() as router:
        assert router.stats() == {"config": {}, "targets": {}}


def test_buckets() -> None:
    stats = TargetStats()
    for seconds in (0.0, 1e-6, 1.9e-6, 0.00013, 1.0, 10**9):
        stats.record(seconds)
    stats.record(0.5, "40001")
    stats.record(0.5, "40P01")
    found = figures([stats])
    assert (stats.calls, found["calls"], found["errors"]) == (8, 8, {"40": 2})
    counts = found["latency"]["counts"]
    assert (counts[0], counts[1], counts[8], counts[-1]) == (1, 2, 1, 1)
    assert (len(counts), len(BOUNDS)) == (BUCKETS, BUCKETS - 1)
    for number, bound in enumerate(BOUNDS):
        exact = TargetStats()
        exact.record(bound * 0.75)
        assert exact.buckets.index(1) == number, bound
    assert figures([])["calls"] == 0
    assert figures([stats, stats])["errors"] == {"40": 4}
