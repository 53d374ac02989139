"""Streams over slow consumers, slow partitions, frozen and dead ones."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plproxy_py import ConnectError, ConnectionLost, Error, Int4, QueryTimeout
from plproxy_py._embedded import Server
from tests.both import backends, close, drained, face, next_row, rows, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

STATUS = Path("/proc/self/status")
PLACE = "right(current_database()::text, 2)::int4"
WIDE = "repeat('x', width) FROM generate_series(1, n) g"
MEGABYTE = 2**20


def resident() -> int:
    """Return how many bytes of memory this process has."""
    found = re.search(r"VmRSS:\s+(\d+) kB", STATUS.read_text())
    assert found
    return int(found[1]) * 1024


def waiting_to_write(pg: Pg, name: str) -> int:
    """Return how many of a router's backends wait for their client to read."""
    found: list[tuple[int]] = pg.execute(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name LIKE %s || '%%' AND wait_event = 'ClientWrite'",
        [name],
    )
    return found[0][0]


def states(error: Error) -> dict[int, str]:
    return {part: outcome.state for part, outcome in error.outcomes.items()}


@pytest.mark.skipif(not STATUS.exists(), reason="memory is measured on Linux")
def test_a_slow_consumer_piles_nothing_up(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    """1.2 GB are to come; at most one chunk, 8 rows, of each partition is held."""
    driver = make_router({"userdb": databases4}, application_name="slow consumer")
    wide = face(driver, Iterator[str], {"width": Int4, "n": Int4}, select=WIDE)
    before = resident()
    stream = wide(10_000_000, 30)
    for _ in range(6):
        assert len(next_row(driver, stream)) == 10_000_000
        wait_until(lambda: waiting_to_write(pg, "slow consumer") == 4)
        assert resident() - before < 500 * MEGABYTE
    close(driver, stream)
    wait_until(lambda: backends(pg, "slow consumer", "active") == 0)
    assert driver.execute("userdb", "SELECT 7", timeout=3)[3] == [(7,)]


@pytest.mark.skipif(not STATUS.exists(), reason="memory is measured on Linux")
def test_wide_rows_after_narrow_ones_pile_nothing_up(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router({"userdb": databases4})
    wide = face(
        driver, Iterator[str], {"width": Int4, "n": Int4}, select=WIDE, run_on=0
    )
    assert len(rows(driver, wide(1, 1000))) == 1000
    before = resident()
    stream = wide(10_000_000, 100)
    next_row(driver, stream)
    try:
        assert resident() - before < 500 * MEGABYTE
    finally:
        close(driver, stream)


def test_the_timeout_counts_servers_and_not_the_consumer(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router({"userdb": databases4})
    select = "repeat('x', 9000) || CASE WHEN g = n THEN pg_sleep(30)::text ELSE '' END "
    select += "FROM generate_series(1, 400) g"
    wide = face(driver, Iterator[str], {"n": Int4}, select=select, run_on=1)
    wide = wide.with_options(timeout=0.5)
    stream = wide(0)
    for _ in range(3):
        next_row(driver, stream)
        time.sleep(0.3)
    assert len(rows(driver, stream)) == 397
    stream = wide(200)
    got, error = drained(driver, stream)
    assert isinstance(error, QueryTimeout)
    assert f"{len(got)} rows had been delivered" in str(error)
    assert states(error) == {1: "failed"}
    assert driver.execute("userdb", "SELECT 7", timeout=3)[1] == [(7,)]


def test_whoever_is_ahead_in_an_ordered_stream_waits(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    """One partition is much slower: the others' rows stay at their servers."""
    driver = make_router({"userdb": databases4}, application_name="ahead")
    sorted_rows = face(
        driver,
        Iterator[str],
        select=f"repeat('x', 900) || lpad(g::text, 9, '0') || CASE {PLACE} WHEN 2 "
        "THEN pg_sleep(CASE g WHEN 1 THEN 1.0 ELSE 0 END)::text ELSE '' END AS r "
        "FROM generate_series(1, 5000) g",
        order_by=('r collate "C"',),
    )
    seen: list[int] = []
    look = threading.Timer(0.7, lambda: seen.append(waiting_to_write(pg, "ahead")))
    look.start()
    got = rows(driver, sorted_rows())
    look.join()
    assert seen == [3]
    assert len(got) == 4 * 5000
    assert got == sorted(got)


def test_rows_of_fast_partitions_do_not_wait_for_a_slow_one(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router({"userdb": databases4})
    numbers = face(
        driver,
        Iterator[Int4],
        select=f"{PLACE} FROM generate_series(1, 50), "
        f"pg_sleep(CASE {PLACE} WHEN 0 THEN 0.5 ELSE 0 END)",
    )
    got = rows(driver, numbers())
    assert sorted(got) == sorted([0, 1, 2, 3] * 50)
    assert got[-50:] == [0] * 50


NUMBERS = f"{PLACE} * 1000000 + g FROM generate_series(1, n) g"


def test_a_partition_frozen_before_the_stream(mixed: Driver, own: Server) -> None:
    numbers = face(mixed, Iterator[Int4], {"n": Int4}, select=NUMBERS)
    numbers = numbers.with_options(timeout=0.5)
    assert len(rows(mixed, numbers(10))) == 40
    own.freeze()
    started = time.monotonic()
    got, error = drained(mixed, numbers(10))
    assert time.monotonic() - started < 2
    assert sorted(got) == [p * 1000000 + g for p in range(3) for g in range(1, 11)]
    assert isinstance(error, QueryTimeout)
    assert states(error) == {
        0: "committed",
        1: "committed",
        2: "committed",
        3: "unknown",
    }
    own.thaw()
    assert len(rows(mixed, numbers(10))) == 40


@pytest.mark.parametrize("ordered", [False, True])
def test_a_partition_frozen_in_the_middle(
    mixed: Driver, own: Server, ordered: bool
) -> None:
    """The early end takes no longer than a moment, and the rest is usable."""
    order = {"order_by": ("1",)} if ordered else {}
    numbers = face(mixed, Iterator[Int4], {"n": Int4}, select=NUMBERS, **order)
    stream = numbers(300_000)
    for _ in range(3):
        next_row(mixed, stream)
    own.freeze()
    started = time.monotonic()
    close(mixed, stream)
    assert time.monotonic() - started < 2
    assert mixed.execute("userdb", "SELECT 7", run_on=2, timeout=3)[2] == [(7,)]
    own.thaw()
    assert mixed.execute("userdb", "SELECT 7", timeout=3)[3] == [(7,)]


def test_a_partition_that_is_dead_before_the_stream(mixed: Driver, own: Server) -> None:
    own.crash()
    numbers = face(mixed, Iterator[Int4], {"n": Int4}, select=NUMBERS)
    with pytest.raises(ConnectError) as caught:
        next_row(mixed, numbers(10))
    assert (caught.value.partition, caught.value.sent) == (3, False)
    own.start()
    assert len(rows(mixed, numbers(10))) == 40


def test_a_partition_that_dies_in_the_middle(mixed: Driver, own: Server) -> None:
    numbers = face(mixed, Iterator[Int4], {"n": Int4}, select=NUMBERS)
    stream = numbers(300_000)
    first = [next_row(mixed, stream) for _ in range(10)]
    own.kill()
    got, error = drained(mixed, stream)
    got += first
    assert isinstance(error, ConnectionLost)
    assert (error.partition, error.sent) == (3, True)
    assert states(error)[3] == "unknown"
    assert len(set(got)) == len(got)
    assert f"{len(got)} rows had been delivered" in str(error)
    own.start()
    assert len(rows(mixed, numbers(10))) == 40


def test_a_backend_that_is_terminated_in_the_middle(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    driver = make_router({"userdb": databases4}, application_name="terminated")
    numbers = face(driver, Iterator[Int4], {"n": Int4}, select=NUMBERS)
    stream = numbers(300_000)
    next_row(driver, stream)
    pg.execute(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name LIKE 'terminated%' AND right(datname, 2) = '01'",
    )
    _, error = drained(driver, stream)
    assert isinstance(error, ConnectionLost)
    # One that waits for its client to read has no time for a farewell.
    assert (error.partition, error.sqlstate, states(error)[1]) in [
        (1, "57P01", "failed"),
        (1, "08006", "unknown"),
    ]
    wait_until(lambda: backends(pg, "terminated", "active") == 0)
    assert driver.execute("userdb", "SELECT 7", timeout=3)[1] == [(7,)]
