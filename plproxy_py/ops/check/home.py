"""What calls ask of the home database: can it answer, and as Python does?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg

from plproxy_py._connections import Borrowed
from plproxy_py._router_base import RouterBase
from plproxy_py._steps import run_async
from plproxy_py.errors import Error
from plproxy_py.expression import HashFunction
from plproxy_py.function import HomeDefault, ProxyFunction
from plproxy_py.ops.check.findings import Finding
from plproxy_py.ops.check.hashes import said
from plproxy_py.ops.check.twins import custom_faults
from plproxy_py.ops.preparing import refusals
from plproxy_py.ops.sessions import Session
from plproxy_py.query import RemoteQuery
from plproxy_py.tagging import RunHome


@asynccontextmanager
async def _session(router: RouterBase, timeout: float) -> AsyncIterator[Session]:
    """Lend a connection to the home database, as `ops.sessions` does to partitions."""
    wired = router._routing.home
    assert wired is not None
    deadline = time.monotonic() + timeout
    loan = await run_async(router._pools.lend(wired, (0,), deadline))
    borrowed = Borrowed(loan, wired.config.pooler)
    connection = borrowed.link.hand_out(psycopg.AsyncConnection[Any], router.adapters)
    try:
        yield connection
    finally:
        await run_async(borrowed.give_back())


def asked(function: ProxyFunction) -> list[tuple[str, bytes]]:
    """Return what calls of a function ask at home: the keyword, and the SQL."""
    found = []
    if isinstance(function.run_on, RunHome):
        found.append(("RUN ON", function.run_on.query.sql))
    for keyword, value in (
        ("CLUSTER", function.cluster),
        ("CONNECT", function.connect),
    ):
        if isinstance(value, RemoteQuery):
            found.append((keyword, value.sql))
    for index, default in sorted(function.defaults.items()):
        if isinstance(default, HomeDefault):
            name = function.names[index] or f"${index + 1}"
            found.append((f"DEFAULT of {name}", b"SELECT " + default.sql.encode()))
    return found


async def described(
    router: RouterBase, functions: Sequence[ProxyFunction], timeout: float
) -> list[ProxyFunction]:
    """Return functions with the columns of their row types, as calls ask for them.

    Where the home database can't tell, they stay as they are.
    """
    deadline = time.monotonic() + timeout
    found = []
    for function in functions:
        if router._routing.home is not None and function.row_type is not None:
            with suppress(Error):
                # As each call does; no public name gives it.
                steps = router._preparer._described(function, deadline)
                function = await run_async(steps)
        found.append(function)
    return found


async def home_findings(
    router: RouterBase,
    functions: Sequence[ProxyFunction],
    hashes: Mapping[str, HashFunction],
    timeout: float,
) -> list[Finding]:
    """Return what is wrong at home; nothing is asked where nothing depends on it."""
    questions = [
        (function, keyword, sql)
        for function in functions
        for keyword, sql in asked(function)
    ]
    if router._routing.home is None or not (questions or hashes):
        return []
    try:
        async with _session(router, timeout) as connection:
            task = asyncio.ensure_future(_look(connection, questions, hashes))
            await asyncio.wait([task], timeout=timeout)
            if task.done():
                return task.result()
            # psycopg itself takes 11 s to give up a frozen server.
            connection.pgconn.finish()
            task.cancel()
            await asyncio.wait([task], timeout=1)
        reason = f"no answer within {timeout:g} s"
    except psycopg.Error as error:
        reason = str(error) if isinstance(error, Error) else said(error)
    return [
        Finding(
            "home database",
            None,
            "unreachable",
            reason,
            "Calls that ask it fail: see to its server, its connect string and its "
            "password.",
        )
    ]


async def _look(
    connection: Session,
    questions: Sequence[tuple[ProxyFunction, str, bytes]],
    hashes: Mapping[str, HashFunction],
) -> list[Finding]:
    await connection.set_autocommit(True)
    await connection.execute("BEGIN READ ONLY")
    errors = await refusals(connection, [sql for _, _, sql in questions])
    found = [
        Finding(
            function.signature.key,
            None,
            "expression",
            f"{keyword} asks the home database, which refuses: {said(error)}",
            "Create there what the expression calls, or register a Python function of "
            "that name (hashes=).",
            error.sqlstate,
        )
        for (function, keyword, _), error in zip(questions, errors, strict=True)
        if error is not None
    ]
    for name, function in hashes.items():
        found += await custom_faults(connection, name, function)
    await connection.execute("ROLLBACK")
    return found
