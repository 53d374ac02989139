"""Which of the declared functions' statements a session would refuse.

Each is parsed by the server, under no name and without types for its parameters, as
calls send it; nothing is run. All go in one pipeline, a Sync for each, so that one
failure is no other's. An open transaction stays as it is: behind a savepoint, a
failure is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import psycopg

from plproxy_py import _wire
from plproxy_py._waiting import READ, WRITE
from plproxy_py.function import ProxyFunction
from plproxy_py.ops.sessions import Session
from plproxy_py.pgtypes import PgType
from plproxy_py.query import dynamic_query
from plproxy_py.signature import Dynamic

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn, PGresult

# So many statements lie in libpq's memory at a time.
MOST_AT_ONCE = 256

_SAVE = b"SAVEPOINT plproxy_prepared"
_BACK = b"ROLLBACK TO SAVEPOINT plproxy_prepared"
_FORGET = b"RELEASE SAVEPOINT plproxy_prepared"


async def prepared(
    connection: Session, functions: Sequence[ProxyFunction]
) -> list[tuple[ProxyFunction, psycopg.Error]]:
    """Return the functions whose statement can't be prepared, each with the error.

    In the functions' order. Raise `psycopg.Error` if the connection is lost.
    """
    errors = await refusals(connection, [_statement(found) for found in functions])
    pairs = zip(functions, errors, strict=True)
    return [(function, error) for function, error in pairs if error is not None]


async def refusals(
    connection: Session, statements: Sequence[bytes]
) -> list[psycopg.Error | None]:
    """Return by position why statements can't be prepared, None for those that can."""
    errors: list[psycopg.Error | None] = []
    for start in range(0, len(statements), MOST_AT_ONCE):
        some = statements[start : start + MOST_AT_ONCE]
        is_open = connection.info.transaction_status.name == "INTRANS"
        async with connection.lock:
            errors += await connection.wait(
                _parse_gen(connection.pgconn, some, is_open)
            )
    return errors


def _statement(function: ProxyFunction) -> bytes:
    """Return what a call sends, with one column where callers list their own."""
    shape = function.signature.shape(function.columns)
    if function.answer is None and isinstance(shape, Dynamic):
        listed = (("column1", PgType("text")),)
        target = function.body.target
        return dynamic_query(function.signature, listed, target).sql
    return function.query.sql


def _parse_gen(
    pgconn: PGconn, statements: Sequence[bytes], is_open: bool
) -> PQGen[list[psycopg.Error | None]]:
    """Parse the statements; return their errors by position.

    ``is_open``: inside a transaction.
    """
    pgconn.enter_pipeline_mode()
    for statement in statements:
        if is_open:
            _send(pgconn, _SAVE)
        pgconn.send_prepare(b"", statement)
        pgconn.pipeline_sync()
        if is_open:
            _send(pgconn, _BACK)
            _send(pgconn, _FORGET)
    errors = []
    for _ in statements:
        if is_open:
            yield from _answer_gen(pgconn)
        errors.append(_wire.sync_failure((yield from _answer_gen(pgconn))))
        if is_open:
            yield from _answer_gen(pgconn)
            yield from _answer_gen(pgconn)
    pgconn.exit_pipeline_mode()
    return cast("list[psycopg.Error | None]", errors)


def _send(pgconn: PGconn, statement: bytes) -> None:
    pgconn.send_query_params(statement, None)
    pgconn.pipeline_sync()


def _answer_gen(pgconn: PGconn) -> PQGen[list[PGresult]]:
    """Return the results of one message, whose Sync is read as well."""
    results: list[PGresult] = []
    while (result := (yield from _result_gen(pgconn))) is not None:
        results.append(result)
    if (yield from _result_gen(pgconn)) is None:
        raise psycopg.OperationalError("the connection is lost")
    return results


def _result_gen(pgconn: PGconn) -> PQGen[PGresult | None]:
    while (unsent := pgconn.flush()) or pgconn.is_busy():
        wanted: Any = READ | WRITE if unsent else READ
        if (yield wanted) & READ:
            pgconn.consume_input()
    return pgconn.get_result()
