"""What `prepared` says of functions that a session can't call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg
import pytest

from plproxy_py import Router
from plproxy_py._catalog import Catalog
from plproxy_py.function import ProxyFunction
from plproxy_py.ops.preparing import MOST_AT_ONCE, prepared, refusals
from plproxy_py.ops.sessions import Session, on_each
from tests.fix_check import Desk
from tests.fix_pgbouncer import Bouncer
from tests.fix_servers import Servers

T = TypeVar("T")
PROXY = "CREATE FUNCTION {} LANGUAGE plproxy AS $$ CLUSTER 'desk'; RUN ON ANY; $$;"


def declared(*signatures: str) -> list[ProxyFunction]:
    """Return functions of these signatures."""
    text = "".join(map(PROXY.format, signatures))
    return [entry.function for entry in Catalog({}).define(text)]


def on(connstr: str, work: Callable[[Session], Awaitable[T]], **options: Any) -> T:
    """Do the work on a partition's session; raise what came of it, if an error."""
    with Router({"desk": {"partitions": [connstr], **options}}) as router:

        async def one(connection: Session, _: int) -> T:
            return await work(connection)

        found = asyncio.run(on_each(router, "desk", [0], one, timeout=10))[0]
        if isinstance(found, Exception):
            raise found
        return found


def verdicts(found: list[tuple[ProxyFunction, psycopg.Error]]) -> list[Any]:
    return [(function.signature.name, error.sqlstate) for function, error in found]


FUNCTIONS = declared(
    "desk.touch(username text) RETURNS void",
    "desk.nothing(n int4) RETURNS int4",
    "desk.get_user(username text, OUT id int4, OUT phone text)",
    "desk.anything(what text) RETURNS SETOF record",
    "desk.get_user(n point, OUT id int4, OUT email text)",
    "desk.count_users() RETURNS int8",
)
WRONG = [("nothing", "42883"), ("get_user", "42703"), ("get_user", "42883")]


def test_each_by_itself(desk: Desk) -> None:
    assert verdicts(on(desk.owner[0], lambda c: prepared(c, FUNCTIONS))) == WRONG


def test_an_open_transaction_stays_as_it_is(desk: Desk) -> None:
    """Also one of which the functions themselves are part."""

    async def work(connection: Session) -> list[Any]:
        await connection.set_autocommit(True)
        await connection.execute("BEGIN")
        await connection.execute(
            "CREATE FUNCTION desk.nothing(n int4) RETURNS int4 RETURN 1"
        )
        found = await prepared(connection, FUNCTIONS)
        assert connection.info.transaction_status.name == "INTRANS"
        cursor = await connection.execute("SELECT desk.nothing(1)")
        assert await cursor.fetchone() == (1,)
        with pytest.raises(psycopg.errors.InvalidSavepointSpecification):
            await connection.execute("RELEASE plproxy_prepared")
        await connection.execute("ROLLBACK")
        return verdicts(found)

    assert on(desk.owner[0], work) == WRONG[1:]


def test_nothing_stays_and_nothing_runs(desk: Desk) -> None:
    async def work(connection: Session) -> Any:
        statements = [b"INSERT INTO desk.users VALUES (1)", b"SELECT 1; SELECT 2"]
        errors = await refusals(connection, statements)
        cursor = await connection.execute(
            "SELECT (SELECT count(*) FROM desk.users), "
            "(SELECT count(*) FROM pg_prepared_statements)"
        )
        return [error and error.sqlstate for error in errors], await cursor.fetchone()

    assert on(desk.owner[0], work) == ([None, "42601"], (0, 0))


def test_more_than_go_at_once(desk: Desk) -> None:
    """More than a socket takes, either: errors come back while statements go out."""
    count = 2 * MOST_AT_ONCE + 3
    long = b"x" * 2000
    statements = [b"SELECT '%s', no_%d()" % (long, n) for n in range(count)]
    statements[MOST_AT_ONCE] = b"SELECT 1"
    errors = on(desk.owner[0], lambda c: refusals(c, statements))
    told = [error.diag.message_primary if error else None for error in errors]
    wanted: list[Any] = [f"function no_{n}() does not exist" for n in range(count)]
    wanted[MOST_AT_ONCE] = None
    assert told == wanted


def test_a_lost_connection_is_no_verdict(desk: Desk) -> None:
    async def work(connection: Session) -> Any:
        pid = connection.info.backend_pid
        desk.execute(0, f"SELECT pg_terminate_backend({pid}, 2000)")
        return await prepared(connection, FUNCTIONS)

    with pytest.raises(psycopg.OperationalError):
        on(desk.owner[0], work)


def test_behind_a_pooler(servers: Servers) -> None:
    """Between two statements it may give the server to another client."""
    functions = declared(
        "keep(token text, seconds float8, width int4) RETURNS text",
        "keep(token text) RETURNS text",
    )
    with Bouncer(servers[0], "transaction") as bouncer:
        connstr = bouncer.connstr("part00")
        found = on(connstr, lambda c: prepared(c, functions), pooler=True)
    assert verdicts(found) == [("keep", "42883")]
