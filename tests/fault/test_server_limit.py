"""``max_connections_per_server``: over all targets of one server, and in waves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from plproxy_py import ConfigError, Error, Int4, QueryTimeout, RemoteError, Router
from tests.both import backends, drained, face, lent, rows
from tests.fix_router import Driver
from tests.fix_server import Pg

NAME = "plproxy limit"
LIMIT = 4
BUSY = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s || '%%'"
WHO = "current_database()::text FROM pg_sleep(0.02)"


@pytest.fixture
def limited(make_router: Callable[..., Driver], databases16: list[str]) -> Driver:
    """A router that may have four connections to the server of its 16 partitions."""
    return make_router(
        {"userdb": databases16},
        max_connections_per_server=LIMIT,
        application_name=NAME,
    )


@contextmanager
def watching(pg: Pg) -> Iterator[list[int]]:
    """Give the numbers of statements that ran at the same time, looked at often."""
    seen: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        with psycopg.connect(pg.connstr(), autocommit=True) as conn:
            while not is_over.wait(0.003):
                found = conn.execute(f"{BUSY} AND state = 'active'", [NAME]).fetchone()
                assert found is not None
                seen.append(found[0])

    with ThreadPoolExecutor(1) as threads:
        watcher = threads.submit(watch)
        try:
            yield seen
        finally:
            is_over.set()
            watcher.result(10)


def test_a_wide_call_runs_in_waves(limited: Driver, pg: Pg) -> None:
    every = face(limited, list[str], select=WHO)
    names = [f"p16_{n:02}" for n in range(16)]
    with watching(pg) as seen:
        for _ in range(3):
            assert [name[-6:] for name in limited.run(every())] == names
    assert max(seen) <= LIMIT
    assert backends(pg, NAME) <= LIMIT


def test_execute_and_partial_and_outcomes(limited: Driver, pg: Pg) -> None:
    every = face(limited, list[Int4], {"k": Int4}, select="k + 1 FROM pg_sleep(0.01)")
    with watching(pg) as seen:
        answers = limited.execute("userdb", "SELECT 7 FROM pg_sleep(0.01)", timeout=20)
        assert answers == {n: [(7,)] for n in range(16)}
        partial = limited.run(every.with_options(on_error="partial")(1))
        assert (partial, partial.missing) == ([2] * 16, ())
        outcomes = limited.run(every.call_outcomes(1))
        assert [outcomes[n].state for n in range(16)] == ["committed"] * 16
        many = limited.run(
            face(limited, Int4, {"k": Int4}, select="k + 1", run_on="k").call_many(
                [(k,) for k in range(100)]
            )
        )
        assert many == list(range(1, 101))
    assert max(seen) <= LIMIT


def test_an_error_sends_no_later_wave(limited: Driver) -> None:
    failing = face(
        limited,
        list[Int4],
        select="1 / (right(current_database()::text, 2)::int4 - 1) FROM pg_sleep(0.05)",
        timeout=20,
        settle=5,
    )
    with pytest.raises(RemoteError) as caught:
        limited.run(failing())
    assert caught.value.sqlstate == "22012"
    assert caught.value.partition == 1
    assert caught.value.sent
    outcomes = caught.value.outcomes
    assert sorted(outcomes) == list(range(16))
    sent = [n for n in outcomes if outcomes[n].sent]
    assert 1 in sent
    assert len(sent) < 2 * LIMIT
    for partition, outcome in outcomes.items():
        if partition not in sent:
            assert outcome.state == "failed"
            assert "not sent" in str(outcome.error)
        elif partition != 1:
            assert outcome.state == "committed"
    assert len(limited.execute("userdb", "SELECT 1", timeout=20)) == 16


def test_one_deadline_for_all_waves(limited: Driver, pg: Pg) -> None:
    slow = face(limited, list[Int4], select="1 FROM pg_sleep(1)", timeout=2.5)
    with pytest.raises(QueryTimeout) as caught:
        limited.run(slow())
    states = [outcome.state for outcome in caught.value.outcomes.values()]
    assert "committed" in states
    assert states.count("failed") >= LIMIT
    assert len(limited.execute("userdb", "SELECT 1", timeout=20)) == 16


def test_streams_one_wave_after_another(limited: Driver, pg: Pg) -> None:
    stream = face(limited, Iterator[Int4], {"n": Int4}, select="generate_series(1, n)")
    with watching(pg) as seen:
        got = rows(limited, stream(2000))
    assert sorted(got) == sorted([*range(1, 2001)] * 16)
    assert max(seen) <= LIMIT
    failing = face(
        limited,
        Iterator[Int4],
        select="1 / (right(current_database()::text, 2)::int4 - 6)",
    )
    got, error = drained(limited, failing())
    assert isinstance(error, RemoteError)
    assert len(got) >= LIMIT
    assert [error.outcomes[n].state for n in range(4)] == ["committed"] * 4
    assert not any(error.outcomes[n].sent for n in range(8, 16))


def test_an_ordered_stream_needs_all_at_once(limited: Driver) -> None:
    ordered = face(
        limited,
        Iterator[Int4],
        {"n": Int4},
        select="generate_series(1, n) AS r",
        order_by=("r",),
    )
    got, error = drained(limited, ordered(3))
    assert isinstance(error, ConfigError)
    assert "max_connections_per_server" in str(error)
    assert not error.sent
    assert got == []


def test_idle_connections_make_room(limited: Driver, pg: Pg) -> None:
    where = "SELECT current_database()::text"
    for partition in range(16):
        (row,) = limited.execute("userdb", where, run_on=partition)[partition]
        assert row[0].endswith(f"{partition:02}")
    assert sum(len(p.idle) for p in limited.router._pools._pools.values()) == LIMIT


def test_a_wide_call_is_not_starved(databases4: list[str]) -> None:
    """Many that need one connection each don't pass one that needs all."""
    with Router({"userdb": databases4}, max_connections_per_server=4) as router:
        is_over = False

        def narrow(partition: int) -> None:
            while not is_over:
                router.execute("userdb", "SELECT pg_sleep(0.01)", run_on=partition)

        with ThreadPoolExecutor(12) as threads:
            others = [threads.submit(narrow, n % 4) for n in range(12)]
            try:
                time.sleep(0.1)
                for _ in range(3):
                    # The one way that takes all its slots in one step.
                    answers = router.execute("userdb", "SELECT 7", timeout=10)
                    assert len(answers) == 4
            finally:
                is_over = True
            for other in others:
                other.result(10)


def test_loans_count(limited: Driver) -> None:
    with (
        lent(limited, "userdb", partition=0),
        lent(limited, "userdb", partition=1),
        lent(limited, "userdb", partition=2),
        lent(limited, "userdb", partition=3),
        pytest.raises(QueryTimeout, match="4 of 4: max_connections_per_server"),
    ):
        limited.execute("userdb", "SELECT 1", run_on=9, timeout=0.3)
    assert limited.execute("userdb", "SELECT 1", run_on=9, timeout=9) == {9: [(1,)]}


@pytest.mark.parametrize("limit", [0, -1, True, 2.0, "4"])
def test_limits_that_are_none(limit: Any) -> None:
    with pytest.raises(ConfigError, match="max_connections_per_server"):
        Router(max_connections_per_server=limit)


def test_many_wide_calls_say_what_they_lack(limited: Driver) -> None:
    every = face(limited, list[Int4], {"k": Int4}, select="k + 1")
    results = limited.run(every.call_many([(1,), (2,)]))
    for result in results:
        assert isinstance(result, Error)
        assert "max_connections_per_server" in str(result)
        assert not result.sent
