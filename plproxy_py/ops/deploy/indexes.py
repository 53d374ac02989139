"""Indexes that are built beside the traffic, and what a broken build leaves behind.

CREATE INDEX CONCURRENTLY that fails, or loses its client, leaves an index that is
INVALID: it is written and never read. IF NOT EXISTS then passes over it in silence.
"""

from __future__ import annotations

from dataclasses import dataclass

from plproxy_py.errors import ParseError
from plproxy_py.language.sqltokens import Cursor
from plproxy_py.ops.deploy.splitting import Statement
from plproxy_py.ops.sessions import Session
from plproxy_py.pgtypes import quote_identifier

_FOUND = """SELECT i.indexrelid::regclass::text, i.indisvalid
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = pg_catalog.to_regclass(%s)
    AND (c.relname = %s OR (%s AND NOT i.indisvalid))
    ORDER BY i.indisvalid, 1 LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Build:
    """What a CREATE INDEX CONCURRENTLY builds. ``name``: None where it says none."""

    table: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Index:
    """An index that is there."""

    name: str
    is_valid: bool

    @property
    def trouble(self) -> str:
        """What to do about one that is INVALID."""
        return (
            f"index {self.name} is INVALID, left by a broken CREATE INDEX "
            f"CONCURRENTLY: DROP INDEX CONCURRENTLY {self.name}; then deploy again"
        )


def is_concurrent(statement: Statement) -> bool:
    """Tell whether it works beside the traffic, which no lock of it then blocks."""
    keys = statement.keys
    words = keys if keys[0] == "reindex" else keys[:4]
    return "concurrently" in words and ("index" in keys[:3] or words is keys)


def built_by(statement: Statement) -> Build | None:
    """Return what a CREATE INDEX CONCURRENTLY builds, None for all else."""
    tokens = [*statement.tokens, statement.tokens[-1]._replace(text="", key="")]
    cursor = Cursor(statement.text, tokens, ParseError)
    if not cursor.accept("create"):
        return None
    cursor.accept("unique")
    if not cursor.accept("index", "concurrently"):
        return None
    cursor.accept("if", "not", "exists")
    name = None if cursor.at("on") else cursor.label()
    if not cursor.accept("on"):
        return None
    cursor.accept("only")
    path = [cursor.label()]
    while cursor.accept("."):
        path.append(cursor.label())
    return Build(".".join(map(quote_identifier, path)), name)


async def find_index(connection: Session, build: Build) -> Index | None:
    """Return the index of that name, or an INVALID one where it has no name."""
    values = (build.table, build.name, build.name is None)
    row = await (await connection.execute(_FOUND, values)).fetchone()
    return None if row is None else Index(*row)


_REPEATABLE = ("vacuum", "analyze", "reindex", "cluster", "refresh", "comment")


def is_repeatable(statement: Statement) -> bool:
    """Tell whether it may run once more where nobody knows whether it has run."""
    keys = statement.keys
    return (
        keys[0] in (*_REPEATABLE, "grant", "revoke")
        or keys[1:3] == ["or", "replace"]
        or "exists" in keys[2:8]
    )
