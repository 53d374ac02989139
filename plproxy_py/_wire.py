"""Conversations with one partition, as generators.

The contract of a ``PQGen``: it yields the `Wait` it needs on its connection's socket,
is sent the `Ready` that came, and owns the connection until it returns. It neither
sleeps nor knows a clock. Whoever drives it stops by not driving it any further, and
must then cancel and drain the connection, or close it.

This file and `_waiting` are the only ones that know libpq's results. Whether a call
was committed is decided here, once, for every kind of conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg
from psycopg import generators, pq

from plproxy_py.arrays import Binary
from plproxy_py.errors import (
    ConnectionLost,
    Error,
    RemoteError,
    remote_error_class,
)

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn, PGresult

Param = bytes | None

_GOOD = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


def call_gen(
    pgconn: PGconn, sql: bytes, params: Sequence[Param]
) -> PQGen[list[PGresult]]:
    """Send one statement; return all its results.

    Parameters are texts, but for `Binary` ones.

    The results end with ReadyForQuery: only then is a transaction over, and a deferred
    constraint adds its error behind the rows.
    """
    formats = [isinstance(param, Binary) for param in params]
    pgconn.send_query_params(sql, params, param_formats=formats)
    results: list[PGresult] = yield from generators.execute(pgconn)
    return results


def failure(results: Sequence[PGresult], pgconn: PGconn) -> Error | None:
    """Return the error among a conversation's results, None if it was committed.

    The one place where that is decided: no error in any result, and the server ready
    for the next query.
    """
    for result in results:
        if result.status not in _GOOD:
            return _result_error(result, pgconn)
    if pgconn.transaction_status != pq.TransactionStatus.IDLE:
        return ConnectionLost("the server ended the conversation without a result")
    return None


def _result_error(result: PGresult, pgconn: PGconn) -> Error:
    if result.status != pq.ExecStatus.FATAL_ERROR:
        return RemoteError(
            f"a result of kind {pq.ExecStatus(result.status).name}, which a function "
            "call can't have",
            sqlstate="0A000",
        )
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    sqlstate = state.decode() if state else None
    if pgconn.status == pq.ConnStatus.BAD:
        # A FATAL of the server comes with its SQLSTATE, libpq's own text with none.
        return ConnectionLost(_primary(result), info=result, sqlstate=sqlstate)
    return remote_error_class(sqlstate)(
        remote_text(result), info=result, sqlstate=sqlstate
    )


def _primary(result: PGresult) -> str:
    message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
    return (message or result.error_message).decode(errors="replace").strip()


def remote_text(result: PGresult) -> str:
    """Return a server's message as PL/Proxy writes it, a line for each part."""

    def part(field: pq.DiagnosticField) -> str:
        return (result.error_field(field) or b"").decode(errors="replace")

    lines = [f"REMOTE {part(pq.DiagnosticField.SEVERITY)}: {_primary(result)}"]
    for name, field in (
        ("DETAIL", pq.DiagnosticField.MESSAGE_DETAIL),
        ("HINT", pq.DiagnosticField.MESSAGE_HINT),
        ("CONTEXT", pq.DiagnosticField.CONTEXT),
    ):
        if text := part(field):
            lines.append(f"{name}: {text}")
    return "\n".join(lines)


def lost(error: psycopg.Error) -> ConnectionLost:
    """Return the error for a connection that broke without an answer."""
    return ConnectionLost(str(error).strip() or "the connection was lost")
