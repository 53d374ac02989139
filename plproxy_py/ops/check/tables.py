"""Whether a copied table is the same on all partitions.

Each server computes a checksum of its own copy, in one pass and without sorting: the
sum of the rows' digests is the same in any order, and a row that stands there twice
counts twice. Values are compared as texts, under settings that are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from plproxy_py.errors import Error
from plproxy_py.ops.check.findings import Finding, holders, named, outliers
from plproxy_py.ops.sessions import Session

# Texts of values depend on them, and their order on nothing.
_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
}

_COLUMNS = """
SELECT to_regclass($1)::oid::regclass::text,
       ARRAY(SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
               FROM pg_catalog.pg_attribute a WHERE a.attrelid = to_regclass($1)
                AND a.attnum > 0 AND NOT a.attisdropped
              ORDER BY a.attname COLLATE "C"),
       ARRAY(SELECT a.attname::text
               FROM pg_catalog.pg_attribute a WHERE a.attrelid = to_regclass($1)
                AND a.attnum > 0 AND NOT a.attisdropped
              ORDER BY a.attname COLLATE "C")"""

# Two halves of 64 bits each of a row's digest.
_CHECKSUM = """
SELECT count(*), coalesce(sum(('x' || left(digest, 16))::bit(64)::int8), 0)::text,
       coalesce(sum(('x' || substr(digest, 17, 16))::bit(64)::int8), 0)::text
  FROM (SELECT encode(sha256(convert_to(ROW({columns})::text, 'UTF8')), 'hex')
          FROM {table}) AS row (digest)"""


@dataclass(frozen=True, slots=True)
class Copy:
    """A partition's copy of a table. ``columns`` are None where there is no table."""

    columns: tuple[str, ...] | None
    rows: int = 0
    checksum: tuple[str, str] = ("", "")


async def copies(connection: Session, tables: Sequence[str]) -> dict[str, Copy | str]:
    """Return a partition's copies of tables, or why one can't be read."""
    found: dict[str, Copy | str] = {}
    await connection.set_autocommit(True)
    for table in tables:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            found[table] = await _copy(connection, table)
        except psycopg.Error as error:
            if connection.closed or error.sqlstate == "57014":
                raise
            found[table] = (
                f"{error.sqlstate} {error.diag.message_primary or str(error)}"
            )
        await connection.execute("ROLLBACK")
    await connection.close()
    return found


async def _copy(connection: Session, table: str) -> Copy:
    raw = psycopg.AsyncRawCursor(connection)
    await raw.execute(
        "SELECT set_config(name, value, true) FROM unnest($1::text[], $2::text[]) "
        "AS s (name, value)",
        (list(_SETTINGS), list(_SETTINGS.values())),
    )
    row = await (await raw.execute(_COLUMNS, (table,))).fetchone()
    assert row is not None
    name, columns, names = row
    if name is None:
        return Copy(None)
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    query = sql.SQL(_CHECKSUM).format(columns=listed, table=sql.SQL(name))
    cursor = await connection.execute(query)
    row = await cursor.fetchone()
    assert row is not None
    return Copy(tuple(columns), row[0], (row[1], row[2]))


def table_findings(
    tables: Sequence[str], found: Mapping[int, Mapping[str, Copy | str] | Error]
) -> Iterator[Finding]:
    """Yield where copies are missing, can't be read, or differ."""
    for partition, answer in found.items():
        if isinstance(answer, Error):
            yield Finding(
                ", ".join(tables),
                partition,
                "table",
                f"no checksum: {answer.sqlstate} {answer}",
                "Give it more time (--table-timeout), or see to the partition.",
                answer.sqlstate,
            )
    for table in tables:
        copies: dict[int, Copy] = {}
        for partition, answer in found.items():
            copy = None if isinstance(answer, Error) else answer[table]
            if isinstance(copy, Copy):
                copies[partition] = copy
            elif copy is not None:
                yield Finding(
                    table,
                    partition,
                    "table",
                    f"it can't be read: {copy}",
                    "Run this check as a role that may SELECT from it.",
                    copy[:5],
                )
        yield from _differing(table, copies)


def _differing(table: str, copies: Mapping[int, Copy]) -> Iterator[Finding]:
    usual, others = outliers(copies)
    if usual is None:
        return
    if usual.columns is None:
        # Nobody has it, or too few to be called usual.
        missing = [n for n, copy in copies.items() if copy.columns is None]
        others = {n: copies[n] for n in missing}
        there = {n: copy for n, copy in copies.items() if copy.columns is not None}
        usual, differing = outliers(there)
        others |= differing
    where = holders(copies, usual) if usual else "no partition"
    for partition, copy in sorted(others.items()):
        if copy.columns is None:
            reason = f"there is no such table; it is on {where}"
            cure = f"Copy it from {where}."
            if usual is None:
                reason, cure = "there is no such table", "Correct its name."
        elif usual and copy.columns != usual.columns:
            mine, theirs = set(copy.columns), set(usual.columns or ())
            reason = (
                f"its columns differ: {', '.join(sorted(mine - theirs)) or 'none'} "
                f"there, {', '.join(sorted(theirs - mine)) or 'none'} on {where}"
            )
            cure = "Make its columns the same, then copy the rows."
        else:
            assert usual is not None
            reason = (
                f"{copy.rows:,} rows with checksum {_short(copy)}, on {where} "
                f"{usual.rows:,} with {_short(usual)}"
            )
            cure = (
                f"If it was not just being changed, copy it anew: from {where}, or to "
                f"there from {named([partition])}."
            )
        yield Finding(table, partition, "table", reason, cure)


def _short(copy: Copy) -> str:
    first, second = copy.checksum
    mixed = (int(first) * 31 + int(second)) % 2**32
    return f"{mixed:08x}"
