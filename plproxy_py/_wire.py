"""Conversations with one partition, as generators.

The contract of a ``PQGen``: it yields the `Wait` it needs on its connection's socket,
is sent the `Ready` that came, and owns the connection until it returns. It neither
sleeps nor knows a clock. Whoever drives it stops by not driving it any further, and
must then cancel and drain the connection, or close it.

This file and `_waiting` are the only ones that know libpq's results. Whether a call
was committed is decided here, once, for every kind of conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import psycopg
from psycopg import generators, pq

from plproxy_py._prepared import Prepared, new_name
from plproxy_py._waiting import PAUSE
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

_ROWS = pq.ExecStatus.TUPLES_OK
_IDLE = pq.TransactionStatus.IDLE
_GOOD = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)
MOST_LAST_WORDS = 4
# PgBouncer's, of a client that waited for a server in vain.
_NEVER_SENT = ("query_wait_timeout", "server login has been failing")
_ENDS = (*_GOOD, pq.ExecStatus.FATAL_ERROR)

# libpq has chunks of rows since 17; before that, rows come one by one.
CHUNKS = pq.version() >= 170000
_PARTS = {pq.ExecStatus.SINGLE_TUPLE}
if CHUNKS:
    _PARTS.add(pq.ExecStatus.TUPLES_CHUNK)


def send(pgconn: PGconn, sql: bytes, params: Sequence[Param]) -> None:
    """Hand a statement to libpq. Parameters are texts, but for `Binary` ones."""
    pgconn.send_query_params(sql, params, param_formats=formats_of(params))


def send_prepared(pgconn: PGconn, name: bytes, params: Sequence[Param]) -> None:
    """Hand a prepared statement to libpq, as `send` does."""
    pgconn.send_query_prepared(name, params, param_formats=formats_of(params))


def formats_of(params: Sequence[Param]) -> list[int] | None:
    """Return libpq's formats of parameters, None where all are texts."""
    for param in params:
        if type(param) is Binary:
            return [int(type(other) is Binary) for other in params]
    return None


def call_gen(
    pgconn: PGconn,
    sql: bytes,
    params: Sequence[Param],
    prepared: Prepared | None = None,
) -> PQGen[list[PGresult]]:
    """Send one statement; return all its results.

    The results end with ReadyForQuery: only then is a transaction over, and a deferred
    constraint adds its error behind the rows. ``prepared``: the connection's prepared
    statements, among which this one may be, or come to be.
    """
    if prepared is None or not (prepared.names.get(sql) or prepared.is_due(sql)):
        send(pgconn, sql, params)
        results: list[PGresult] = yield from generators.execute(pgconn)
        return results
    for attempt in (1, 2):
        if is_new := prepared.names.get(sql) is None:
            results = yield from _prepare_gen(pgconn, sql, prepared)
            if _is_taken(results):
                # Made, but not for us: behind a pooler, another server has it.
                prepared.enabled = False
                return (yield from call_gen(pgconn, sql, params))
            if any(result.status not in _GOOD for result in results):
                return results
        name = prepared.names.get(sql)
        assert name is not None
        send_prepared(pgconn, name, params)
        results = yield from generators.execute(pgconn)
        if not is_stale(results):
            break
        # Nothing was executed: the statement can be sent once more.
        prepared.forget(sql)
        if is_new or attempt == 2:
            # Gone as soon as it was made: another server answers each time.
            prepared.enabled = False
            send(pgconn, sql, params)
            results = yield from generators.execute(pgconn)
            break
    return results


def _prepare_gen(
    pgconn: PGconn, sql: bytes, prepared: Prepared
) -> PQGen[list[PGresult]]:
    """Prepare a statement; the oldest one makes room for it."""
    if (oldest := prepared.oldest()) is not None:
        yield from _deallocate_gen(pgconn, oldest[1])
        prepared.forget(oldest[0])
    name = new_name(sql)
    pgconn.send_prepare(name, sql)
    results: list[PGresult] = yield from generators.execute(pgconn)
    if _is_taken(results):
        # The server still has the one whose plan became useless.
        yield from _deallocate_gen(pgconn, name)
        pgconn.send_prepare(name, sql)
        results = yield from generators.execute(pgconn)
    if all(result.status in _GOOD for result in results):
        prepared.add(sql)
    return results


def _is_taken(results: Sequence[PGresult]) -> bool:
    """Whether a statement of that name is there already."""
    return results[-1].error_field(pq.DiagnosticField.SQLSTATE) == b"42P05"


def _deallocate_gen(pgconn: PGconn, name: bytes) -> PQGen[None]:
    pgconn.send_query_params(b"DEALLOCATE " + name, None)
    yield from generators.execute(pgconn)


def is_stale(results: Sequence[PGresult]) -> bool:
    """Whether a prepared statement was refused because it is not what it was.

    The server does not know it (26000), or its plan gives other columns since a table
    or type was made anew (0A000). An error with a context arose inside a function.
    """
    result = results[-1]
    if result.status != pq.ExecStatus.FATAL_ERROR:
        return False
    field = pq.DiagnosticField
    if result.error_field(field.CONTEXT):
        return False
    return result.error_field(field.SQLSTATE) == b"26000" or (
        result.error_field(field.SOURCE_FUNCTION) == b"RevalidateCachedQuery"
    )


def post(
    pgconn: PGconn,
    name: bytes,
    params: Sequence[Param],
    formats: Sequence[int] | None = None,
) -> bool:
    """Send a prepared statement; return whether all of it left.

    ``formats``: what `formats_of` says of the parameters.
    """
    pgconn.send_query_prepared(name, params, param_formats=formats)
    return pgconn.flush() == 0


def take_answer(pgconn: PGconn, results: list[PGresult]) -> bool:
    """Take what came; return whether that is one result with rows, and committed.

    Otherwise, and after an exception, `resume_gen` goes on from here.
    """
    if (result := pgconn.get_result()) is None:
        return False
    results.append(result)
    if result.status != _ROWS or pgconn.is_busy():
        return False
    if (further := pgconn.get_result()) is not None:
        results.append(further)
        return False
    return bool(pgconn.transaction_status == _IDLE)


def read_results(pgconn: PGconn, results: list[PGresult]) -> bool:
    """Read what has come, once the socket is readable; return whether it was all."""
    pgconn.consume_input()
    while not pgconn.is_busy():
        result = pgconn.get_result()
        if result is None:
            return True
        results.append(result)
        if result.status not in _ENDS:
            return True  # COPY, which nobody here reads
    return False


def resume_gen(
    pgconn: PGconn,
    sql: bytes,
    params: Sequence[Param],
    prepared: Prepared,
    results: list[PGresult],
    broken: psycopg.Error | None,
) -> PQGen[list[PGresult]]:
    """Go on with a prepared statement that was sent; ``results`` came already.

    ``broken``: what reading them ended with.
    """
    try:
        if broken is not None:
            raise broken
        yield from generators.send(pgconn)
        # Where all was read already, nothing comes.
        results += yield from generators.fetch_many(pgconn)
    except psycopg.Error:
        if not _has_last_words(pgconn, results):
            raise
    if results and is_stale(results):
        prepared.forget(sql)
        return (yield from call_gen(pgconn, sql, params, prepared))
    return results


def stream_gen(
    pgconn: PGconn,
    sql: bytes,
    params: Sequence[Param],
    chunk: int,
    take: Callable[[PGresult], bool],
) -> PQGen[list[PGresult]]:
    """Send one statement; hand its rows to ``take`` as they come, ``chunk`` at a time.

    Pause whenever ``take`` says so. Return the results that hold no such rows, as
    `call_gen` does: only they tell whether it was committed.
    """
    send(pgconn, sql, params)
    if chunk > 1 and CHUNKS:
        pgconn.set_chunked_rows_mode(chunk)
    else:
        pgconn.set_single_row_mode()
    yield from generators.send(pgconn)
    results: list[PGresult] = []
    try:
        while (result := (yield from generators.fetch(pgconn))) is not None:
            if result.status not in _PARTS:
                results.append(result)
                if result.status not in _ENDS:
                    break  # COPY, which nobody here reads
            elif take(result):
                yield PAUSE
    except psycopg.Error:
        if not _has_last_words(pgconn, results):
            raise
    return results


def _has_last_words(pgconn: PGconn, results: list[PGresult]) -> bool:
    """Whether the server said, before the connection broke, how the statement ended.

    ``results`` takes what libpq has of it still.
    """
    while pgconn.status == pq.ConnStatus.BAD and not pgconn.is_busy():
        result = pgconn.get_result()
        if result is None or len(results) > MOST_LAST_WORDS:
            break
        results.append(result)
    return last_words(results, pgconn) is not None


def is_good(results: Sequence[PGresult], pgconn: PGconn) -> bool:
    """Whether one result came, rows, and it is committed; else see `failure`."""
    return (
        len(results) == 1
        and results[0].status == _ROWS
        and pgconn.transaction_status == _IDLE
    )


def failure(results: Sequence[PGresult], pgconn: PGconn) -> Error | None:
    """Return the error among a conversation's results, None if it was committed.

    The one place where that is decided: no error in any result, and the server ready
    for the next query.
    """
    is_lost = pgconn.status == pq.ConnStatus.BAD
    for result in results:
        if result.status not in _GOOD:
            return _result_error(result, is_lost)
    if pgconn.transaction_status != pq.TransactionStatus.IDLE:
        return ConnectionLost("the server ended the conversation without a result")
    return None


def last_words(results: Sequence[PGresult], pgconn: PGconn) -> Error | None:
    """Return the server's own FATAL among the results of a connection that broke."""
    failed = failure(results, pgconn)
    return failed if failed is not None and failed.diag.sqlstate else None


def sync_failure(results: Sequence[PGresult]) -> Error | None:
    """Return the same for a call in a pipeline, whose own Sync was answered.

    That the connection broke later says nothing about it.
    """
    for result in results:
        if result.status not in _GOOD:
            return _result_error(result, is_lost=False)
    if not results:
        return ConnectionLost("the server ended the call without a result")
    return None


def _result_error(result: PGresult, is_lost: bool) -> Error:
    if result.status != pq.ExecStatus.FATAL_ERROR:
        return RemoteError(
            f"a result of kind {pq.ExecStatus(result.status).name}, which a function "
            "call can't have",
            sqlstate="0A000",
        )
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    sqlstate = state.decode() if state else None
    if is_lost:
        # A FATAL of the server comes with its SQLSTATE, libpq's own text with none.
        # Without ``info`` nobody takes it for the server's word.
        info = result if _is_servers(result) else None
        return ConnectionLost(_primary(result), info=info, sqlstate=sqlstate)
    return remote_error_class(sqlstate)(
        remote_text(result), info=result, sqlstate=sqlstate
    )


def _is_servers(result: PGresult) -> bool:
    """Whether the server said it, and so knows how the statement ended.

    PostgreSQL names the file of its source; a pooler whose server is gone does not
    (PgBouncer: 08P01 "server conn crashed?"). What it never sent it knows as well.
    """
    if result.error_field(pq.DiagnosticField.SOURCE_FILE):
        return True
    return _primary(result).startswith(_NEVER_SENT)


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
