"""One statement on some partitions, as it stands: reading, unless told otherwise.

Reading is in a READ ONLY transaction, which the server holds to, and which is rolled
back. The statement goes by the extended protocol, which takes no second one: nothing
can come behind an end of that transaction. Values come as their text, but numbers,
truth values and JSON, so that none is beyond Python.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

from plproxy_py._router_base import RouterBase
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import ConnectionLost, Error, ParseError, QueryTimeout
from plproxy_py.ops.deploy.sending import ours, prepare_session, send
from plproxy_py.ops.deploy.splitting import (
    Statement,
    controls_transaction,
    copies_through_client,
    has_parameter,
    sets_session,
    split,
)
from plproxy_py.ops.sessions import Session, on_each

# Seconds by which a server may be late with its own statement_timeout.
LATE = 2.0

# More connections at once would be a burden to servers that hold many partitions.
MOST_AT_ONCE = 64

_INT = (20, 21, 23, 26)
_FLOAT = (700, 701)
_JSON = (114, 3802)
_BOOL = 16

_COUNTED = re.compile(r"(.*?)(?: 0)? ([0-9]+)", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """What a partition answered.

    ``columns`` and ``rows``, both empty for a statement that returns none. ``command``
    is its tag (``UPDATE``), ``count`` the tag's number of rows, if it has one.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    command: str
    count: int | None
    has_rows: bool


def one_statement(text: str, *, write: bool) -> Statement:
    """Return the only statement of a text. Raise `ParseError` for what can't run."""
    statements = list(split(text))
    if len(statements) != 1:
        lines = ", ".join(str(statement.line) for statement in statements)
        found = (
            f"it has {len(statements)}, on lines {lines}" if lines else "it has none"
        )
        raise ParseError(f"exec takes one statement, {found}")
    (statement,) = statements
    word = statement.tokens[0].text.upper()
    if controls_transaction(statement):
        reason = f"{word}: exec itself begins and ends its transaction"
    elif copies_through_client(statement):
        reason = "COPY through the client: exec sends and takes no data"
    elif has_parameter(statement):
        reason = "there is no parameter $1"
    elif write and sets_session(statement):
        reason = f"{word} would last no longer than its session, which ends with it"
    else:
        return statement
    raise ParseError(reason, line=statement.line, token=word)


async def execute(
    router: RouterBase,
    config: ClusterConfig,
    statement: Statement,
    partitions: Iterable[int],
    *,
    write: bool,
    timeout: float,
    done: Callable[[], object] = lambda: None,
    notice: Callable[[int, str], object] = lambda partition, text: None,
) -> dict[int, Answer | Error]:
    """Run the statement on each of the partitions at once.

    Return the answers, or errors. Of equal targets the first partition stands for all.
    ``timeout``: seconds for each partition. ``notice`` is told what partitions say
    beside their answers.
    """
    targets: dict[object, int] = {}
    for number in sorted(partitions):
        targets.setdefault(config.target(number), number)
    sent: set[int] = set()

    async def run(connection: Session, partition: int) -> Answer:
        def hear(diag: psycopg.errors.Diagnostic) -> None:
            notice(partition, f"{diag.severity}: {diag.message_primary}")

        connection.add_notice_handler(hear)
        sent.add(partition)
        return await _answer(connection, statement, partition)

    async def read(connection: Session, partition: int) -> Answer:
        await prepare_session(connection)
        await connection.execute("BEGIN READ ONLY")
        return await run(connection, partition)

    async def change(connection: Session, partition: int) -> Answer:
        await prepare_session(connection)
        if not config.pooler:
            # The server's own word that nothing was done, while it gives one.
            limit = max(1, round(timeout * 1000))
            await connection.execute(f"SET statement_timeout = {limit}".encode())
        return await run(connection, partition)

    found = await on_each(
        router,
        config.name,
        targets.values(),
        change if write else read,
        timeout=timeout + LATE if write else timeout,
        jobs=MOST_AT_ONCE,
        done=done,
    )
    if write:
        for partition in sent:
            answer = found[partition]
            if isinstance(answer, (ConnectionLost, QueryTimeout)):
                answer.args = (f"{answer}; whether it took effect is unknown",)
    return found


async def _answer(connection: Session, statement: Statement, partition: int) -> Answer:
    try:
        cursor = await send(connection, statement.text)
    except psycopg.Error as error:
        raise ours(error, connection, partition) from None
    tag = cursor.statusmessage or ""
    counted = _COUNTED.fullmatch(tag)
    command, count = (counted[1], int(counted[2])) if counted else (tag, None)
    result, description = cursor.pgresult, cursor.description
    if result is None or description is None:
        return Answer((), [], command, count, has_rows=False)
    loaders = [_LOADERS.get(column.type_code, _text) for column in description]
    rows = [
        tuple(
            None if (value := result.get_value(row, column)) is None else load(value)
            for column, load in enumerate(loaders)
        )
        for row in range(result.ntuples)
    ]
    columns = _distinct(column.name for column in description)
    return Answer(columns, rows, command, count, has_rows=True)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _float(value: bytes) -> float | str:
    text = value.decode()
    return text if text in ("NaN", "Infinity", "-Infinity") else float(text)


_LOADERS: dict[int, Callable[[bytes], Any]] = {
    **dict.fromkeys(_INT, int),
    **dict.fromkeys(_FLOAT, _float),
    **dict.fromkeys(_JSON, json.loads),
    _BOOL: lambda value: value == b"t",
}


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, later equal ones with a number."""
    found: dict[str, None] = {}
    for name in names:
        number, own = 1, name
        while own in found:
            number += 1
            own = f"{name}_{number}"
        found[own] = None
    return tuple(found)
