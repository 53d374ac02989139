"""A table and its key column on one partition: described, counted, read.

All is done in READ ONLY transactions. Row security that would hide rows is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from plproxy_py.config import ClusterConfig
from plproxy_py.errors import Error, RoutingError, nearest, remote_error_class
from plproxy_py.keys import Registered
from plproxy_py.ops.placing.hashes import KeyHash, Numbering, default_hash_name
from plproxy_py.ops.sessions import Session

# Keys that are held here at a time.
BATCH = 2000

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')

# A restart makes another server of it; a copy of it, say a replica that was promoted,
# has been another one from the start.
_DATABASE = """
    SELECT pg_catalog.pg_postmaster_start_time()::text,
        pg_catalog.current_setting('port'), oid,
        pg_catalog.pg_encoding_to_char(encoding)
    FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()"""
_TABLE = """
    SELECT oid FROM pg_catalog.pg_class
    WHERE oid = pg_catalog.to_regclass(%s) AND relkind IN ('r', 'p', 'm', 'v', 'f')"""
_TABLES = """
    SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) AND NOT %s
        THEN relname ELSE nspname || '.' || relname END
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm', 'v', 'f') AND nspname !~ '^pg_|^information_'"""
_COLUMNS = """
    SELECT attname, coalesce(b.typname, t.typname)
    FROM pg_catalog.pg_attribute
    JOIN pg_catalog.pg_type AS t ON t.oid = atttypid
    LEFT JOIN pg_catalog.pg_type AS b ON b.oid = t.typbasetype
    WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped"""
_HAS_FUNCTION = "SELECT pg_catalog.to_regprocedure(%s) IS NOT NULL"

_SIZE = """
    WITH RECURSIVE tree AS (
        SELECT %(table)s::pg_catalog.oid AS relid
        UNION SELECT inhrelid FROM pg_catalog.pg_inherits JOIN tree ON inhparent = relid
    )
    SELECT sum(pg_catalog.pg_total_relation_size(relid))::int8 FROM tree"""
# As n_distinct has it: -1 is a key for each row. For a parent, without its children's
# where there are statistics with them.
_DISTINCT = """
    SELECT CASE WHEN EXISTS (
        SELECT FROM pg_catalog.pg_index
        JOIN pg_catalog.pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
        WHERE indrelid = %(table)s AND attname = %(key)s AND indisunique
            AND indisvalid AND indnkeyatts = 1 AND indpred IS NULL
    ) THEN -1 ELSE (
        SELECT n_distinct FROM pg_catalog.pg_stats AS s
        JOIN pg_catalog.pg_namespace AS n ON n.nspname = s.schemaname
        JOIN pg_catalog.pg_class AS c
            ON c.relnamespace = n.oid AND c.relname = s.tablename
        WHERE c.oid = %(table)s AND attname = %(key)s ORDER BY inherited DESC LIMIT 1
    ) END::float8"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for: a table as SQL names it, its key column, a hash by name."""

    table: str
    key: str
    hash: str | None

    @property
    def path(self) -> tuple[str, ...]:
        """The parts of the table's name. Raise `RoutingError` if it is none."""
        parts: list[str] = []
        end = -1
        while end < len(self.table):
            match = _PART.match(self.table, end + 1)
            if match is None or self.table[match.end() :][:1] not in ("", "."):
                raise RoutingError(f"{self.table!r} is no table's name")
            parts.append((match[1] or match[2]).replace('""', '"'))
            end = match.end()
        return tuple(parts)

    @property
    def name(self) -> sql.Identifier:
        """The table's name, quoted."""
        return sql.Identifier(*self.path)


@dataclass(frozen=True, slots=True)
class KeyTable:
    """A table as one partition has it.

    ``database`` is equal for equal databases of the same server, ``on_server`` tells
    whether that server can compute the hash.
    """

    database: tuple[object, ...]
    oid: int
    name: sql.Identifier
    key: str
    hash: KeyHash
    on_server: bool

    def numbered(self, numbering: Numbering) -> sql.Composed:
        """Return a query of all rows' keys and their partitions' numbers."""
        number = numbering.sql(self.hash.sql(self.key))
        return sql.SQL("SELECT {} AS key, {} AS number FROM {}").format(
            sql.Identifier(self.key),
            sql.SQL(number),
            self.name,
        )


async def database_of(connection: Session) -> tuple[tuple[object, ...], str]:
    """Return what is equal for the same database of one server, and its encoding."""
    row = await (await connection.execute(_DATABASE)).fetchone()
    assert row is not None
    *database, encoding = row
    return tuple(database), encoding


async def described(
    connection: Session, cluster: ClusterConfig, wanted: Wanted, registered: Registered
) -> KeyTable:
    """Find the table and its key; say how to hash it.

    Raise what PostgreSQL would, 42P01 or 42703, with the nearest name, and
    `RoutingError` for a hash that is unknown or must be said.
    """
    database, encoding = await database_of(connection)
    name = wanted.name
    # As it is for SELECT; what it refers to may have been made by anybody.
    cursor = await connection.execute(_TABLE, [name.as_string(connection)])
    if (found := await cursor.fetchone()) is None:
        cursor = await connection.execute(_TABLES, [len(wanted.path) > 1])
        names = [name for (name,) in await cursor.fetchall()]
        raise _missing("42P01", f"there is no table {wanted.table!r}", wanted, names)
    cursor = await connection.execute(_COLUMNS, found)
    types: dict[str, str] = dict(await cursor.fetchall())
    if wanted.key not in types:
        text = f"{wanted.table} has no column {wanted.key!r}"
        raise _missing("42703", text, wanted, types, wanted.key)
    type = types[wanted.key]
    hash_name = wanted.hash or default_hash_name(wanted.key, type)
    hash = KeyHash(hash_name, cluster, registered, type)
    on_server = False
    if hash.signature is not None and hash.agrees(encoding):
        cursor = await connection.execute(_HAS_FUNCTION, [hash.signature])
        ((on_server,),) = await cursor.fetchall()
    return KeyTable(database, found[0], name, wanted.key, hash, on_server)


def _missing(
    sqlstate: str,
    text: str,
    wanted: Wanted,
    names: Sequence[str] | dict[str, str],
    name: str | None = None,
) -> Error:
    hint = nearest(name or ".".join(wanted.path), names)
    return remote_error_class(sqlstate)(text + hint, sqlstate=sqlstate)


@asynccontextmanager
async def looking(connection: Session) -> AsyncIterator[None]:
    """Begin a transaction that changes nothing and misses no row."""
    await connection.set_read_only(True)
    async with connection.transaction():
        await connection.execute("SET LOCAL row_security = off")
        yield


async def counted(
    connection: Session, table: KeyTable, numbering: Numbering
) -> Counter[int | None]:
    """Count the rows by their partition's number, None for a key that is NULL."""
    async with looking(connection):
        if table.on_server:
            query = sql.SQL(
                "SELECT number, count(*) FROM ({}) AS numbered GROUP BY number"
            ).format(table.numbered(numbering))
            return Counter(dict(await (await connection.execute(query)).fetchall()))
        counts: Counter[int | None] = Counter()
        async for batch in batches(connection, table, numbering):
            counts.update(number for _, number in batch)
        return counts


async def batches(
    connection: Session, table: KeyTable, numbering: Numbering
) -> AsyncIterator[list[tuple[Any, int | None]]]:
    """Read all keys, and give them with their partitions' numbers, hashed here.

    To be used within `looking`. Holds no more than `BATCH` keys.
    """
    query = sql.SQL("SELECT {} FROM {}").format(sql.Identifier(table.key), table.name)
    async with connection.cursor(name="plproxy_keys") as cursor:
        await cursor.execute(query)
        while rows := await cursor.fetchmany(BATCH):
            yield _numbered([key for (key,) in rows], table.hash, numbering)


def _numbered(
    keys: list[Any], hash: KeyHash, numbering: Numbering
) -> list[tuple[Any, int | None]]:
    try:
        normals = [hash.normal(key) for key in keys if key is not None]
    except (TypeError, ValueError) as error:
        raise RoutingError(f"a key that {hash.name} does not take: {error}") from None
    numbers = map(numbering.of, hash.hashes(normals))
    return [(key, None if key is None else next(numbers)) for key in keys]


async def row_count(connection: Session, table: KeyTable) -> int:
    """Count the rows."""
    query = sql.SQL("SELECT count(*) FROM {}").format(table.name)
    async with looking(connection):
        ((count,),) = await (await connection.execute(query)).fetchall()
    return int(count)


async def sized(connection: Session, table: KeyTable) -> tuple[int, float | None]:
    """Return the table's bytes with indexes and partitions, and its distinct keys.

    These are as pg_stats.n_distinct has them: a number, or a share of the rows below
    0, None for what was never analyzed.
    """
    given = {"table": table.oid, "key": table.key}
    ((size,),) = await (await connection.execute(_SIZE, given)).fetchall()
    ((distinct,),) = await (await connection.execute(_DISTINCT, given)).fetchall()
    return size, distinct
