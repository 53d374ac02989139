"""PgBouncer between: declared or recognised, and what it says when it fails."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from plproxy_py import ConnectError, ConnectionLost, Error, QueryTimeout, _connector
from plproxy_py._embedded import Server
from tests.both import face, rows
from tests.fix_pgbouncer import PASSWORD, Bouncer
from tests.fix_router import Driver

ONE = "SELECT 1 AS one"
COUNT = "SELECT count(*) FROM pg_prepared_statements"
NAME = (
    "CREATE FUNCTION name(n int4) RETURNS text LANGUAGE plproxy AS "
    "$$ CLUSTER 'c'; RUN ON 0; SELECT '%s' || n; $$"
)

# Says every answer that is not its own. With a third argument it takes the pooler for a
# server, and prepares: then a name may be taken (42P05), but never means another's SQL.
PROCESS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from psycopg.errors import DuplicatePreparedStatement
from plproxy_py import Router, _sessions

async def nothing(connection, session, manners):
    manners.known = connection.pgconn.server_version

if len(sys.argv) > 3:
    _sessions.learn = nothing
who = sys.argv[2]
with Router({"c": [sys.argv[1]]}, pool_size=4) as router:
    name = router.define(
        "CREATE FUNCTION name(n int4) RETURNS text LANGUAGE plproxy AS "
        f"$$ CLUSTER 'c'; RUN ON 0; SELECT '{who}' || n FROM pg_sleep(0.001); $$"
    )
    def call(n):
        try:
            return name(n)
        except DuplicatePreparedStatement:
            return f"{who}{n}" if len(sys.argv) > 3 else "taken"

    with ThreadPoolExecutor(4) as threads:
        for n, answer in enumerate(threads.map(call, range(200))):
            if answer != f"{who}{n}":
                print(n, answer)
"""


def cluster(bouncer: Bouncer, **options: Any) -> dict[str, Any]:
    return {"c": {"partitions": [bouncer.connstr()], **options}}


def is_pooled(driver: Driver) -> bool:
    connector = driver.router._pools.connector
    (session,) = driver.router._pools._pools
    return bool(connector._knocking.door(session).manners.is_pooled)


def directly(server: Server, sql: str) -> list[Any]:
    with psycopg.connect(server.connstr(), autocommit=True) as conn:
        return conn.execute(sql.encode()).fetchall()


def taken(bouncer: Bouncer) -> psycopg.Connection[Any]:
    """Connect as soon as it has forgotten whoever looked whether it is up."""
    found: list[psycopg.Connection[Any]] = []

    def connect() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            found.append(psycopg.connect(bouncer.connstr()))
        return bool(found)

    assert wait_until(connect, 10)
    return found[0]


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
@pytest.mark.parametrize(
    ("ignored", "pooler"),
    [
        # refused, which tells that it is one
        ("extra_float_digits", False),
        # swallowed in silence; its process number is not the server's
        ("options", False),
        ("options", True),
    ],
)
def test_it_is_recognised(
    make_router: Callable[..., Driver],
    make_bouncer: Callable[..., Bouncer],
    mode: str,
    ignored: str,
    pooler: bool,
) -> None:
    """All that needs no transaction works, and nothing is prepared."""
    bouncer = make_bouncer(mode, ignore_startup_parameters=ignored)
    driver = make_router(cluster(bouncer, pooler=pooler), pool_size=5)
    name = driver.define(NAME % "x")
    for n in range(5):
        assert name(n) == f"x{n}"
    assert is_pooled(driver)
    many = driver.router.functions["public.name(int4)"].call_many(
        [(n,) for n in range(50)]
    )
    assert list(driver.run(many)) == [f"x{n}" for n in range(50)]
    stream = face(
        driver, Iterator[int], cluster="c", run_on=0, select="generate_series(1, 50000)"
    )
    assert rows(driver, stream()) == list(range(1, 50001))
    assert driver.execute("c", COUNT)[0][0][0] == 0
    if mode == "session":
        return
    # Five clients, two server connections.
    statement = "SELECT pg_backend_pid() AS pid, pg_sleep(0.1)"
    call = driver.router.execute
    answers = driver.together(*[lambda: call("c", statement)] * 5)
    assert len({answer[0][0].pid for answer in answers}) == 2


@pytest.mark.parametrize("more", [[], ["prepares"]])
def test_two_processes_never_run_each_others_statements(
    make_bouncer: Callable[..., Bouncer], more: list[str]
) -> None:
    """Same names, other bodies, and two server connections between them."""
    bouncer = make_bouncer(ignore_startup_parameters="options")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, bouncer.connstr(), who, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for who in ("a", "b")
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert outputs == [b"", b""]
    assert [process.returncode for process in processes] == [0, 0]


def test_a_timeout_cancels_through_it(
    make_router: Callable[..., Driver],
    make_bouncer: Callable[..., Bouncer],
    behind: Server,
) -> None:
    driver = make_router(cluster(make_bouncer()))
    with pytest.raises(QueryTimeout):
        driver.execute("c", "SELECT 'through', pg_sleep(30)", timeout=0.3)
    running = (
        "SELECT pid FROM pg_stat_activity WHERE state = 'active' "
        "AND query LIKE '%through%' AND pid <> pg_backend_pid()"
    )
    assert wait_until(lambda: directly(behind, running) == [], 5)
    assert driver.execute("c", ONE) == {0: [(1,)]}


def test_statement_mode_refuses_transactions_by_name(
    make_router: Callable[..., Driver], make_bouncer: Callable[..., Bouncer]
) -> None:
    driver = make_router(cluster(make_bouncer("statement"), pooler=True))

    def lend() -> None:
        with driver.router.connection("c", partition=0) as conn:
            conn.execute(ONE)

    async def lend_async() -> None:
        async with driver.router.connection("c", partition=0) as conn:
            await conn.execute(ONE)

    with pytest.raises(psycopg.Error, match="statement pooling mode") as caught:
        driver.run(lend_async() if driver.is_async else lend())
    assert caught.value.sqlstate == "08P01"
    assert driver.execute("c", ONE) == {0: [(1,)]}


def test_a_full_one_is_waited_for(
    make_router: Callable[..., Driver],
    make_bouncer: Callable[..., Bouncer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_connector, "MOST_CROWDED", 5.0)
    bouncer = make_bouncer(max_client_conn=1)
    driver = make_router(cluster(bouncer))
    with contextlib.ExitStack() as stack:
        conn = stack.enter_context(taken(bouncer))
        timer = threading.Timer(0.4, conn.pgconn.finish)
        timer.start()
        assert driver.execute("c", ONE) == {0: [(1,)]}
        timer.join()


@pytest.mark.parametrize("pooler", [True, False])
def test_a_server_that_is_down_behind_it(
    make_router: Callable[..., Driver],
    make_bouncer: Callable[..., Bouncer],
    behind: Server,
    pooler: bool,
) -> None:
    """It lets clients in, or not, and has its own words for what is wrong."""
    bouncer = make_bouncer(query_wait_timeout=1)
    driver = make_router(cluster(bouncer, pooler=pooler))
    behind.stop()
    try:
        with pytest.raises(Error, match=r"wait_timeout|failing") as caught:
            driver.execute("c", ONE)
        assert caught.value.sqlstate == "08P01"
        assert caught.value.outcomes[0].state == "failed"
    finally:
        behind.start()

    def works() -> bool:
        try:
            return bool(driver.execute("c", ONE) == {0: [(1,)]})
        except Error:
            return False

    assert wait_until(works, 10)


def test_a_wrong_password_is_told_from_other_refusals(
    make_router: Callable[..., Driver], make_bouncer: Callable[..., Bouncer]
) -> None:
    """PgBouncer has one code for whatever it refuses."""
    bouncer = make_bouncer(auth_type="plain")
    right = make_router(cluster(bouncer), password=lambda _: PASSWORD)
    assert right.execute("c", ONE) == {0: [(1,)]}
    driver = make_router(cluster(bouncer), password=lambda _: "wrong")
    with pytest.raises(ConnectError) as caught:
        driver.execute("c", ONE)
    assert caught.value.sqlstate == "28P01"
    assert "wrong" not in str(caught.value)


def test_a_server_that_dies_behind_it(
    make_router: Callable[..., Driver],
    make_bouncer: Callable[..., Bouncer],
    behind: Server,
) -> None:
    """The pooler does not know how the statement ended, so nobody does."""
    driver = make_router(cluster(make_bouncer(), pooler=True))
    driver.execute("c", ONE)
    timer = threading.Timer(0.3, behind.kill)
    timer.start()
    try:
        with pytest.raises(ConnectionLost, match="server conn crashed") as caught:
            driver.execute("c", "SELECT pg_sleep(5)")
        assert caught.value.outcomes[0].state == "unknown"
        assert "unknown: sent, and its end was not seen" in str(caught.value)
    finally:
        timer.join()
        behind.start()


def test_who_waits_in_vain_for_a_server_has_sent_nothing(
    make_router: Callable[..., Driver], make_bouncer: Callable[..., Bouncer]
) -> None:
    bouncer = make_bouncer(default_pool_size=1, query_wait_timeout=1)
    driver = make_router(cluster(bouncer, pooler=True))
    driver.execute("c", ONE)
    with psycopg.connect(bouncer.connstr(), prepare_threshold=None) as conn:
        conn.execute(ONE)
        with pytest.raises(ConnectionLost, match="query_wait_timeout") as caught:
            driver.execute("c", ONE)
        assert caught.value.outcomes[0].state == "failed"
