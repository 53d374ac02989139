"""The columns of a named row type, as the home database has them.

PL/Proxy text says ``RETURNS users``; only a database knows whether that is a table, and
which columns it has today.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plproxy_py.pgtypes import parse_type
from plproxy_py.signature import Columns
from plproxy_py.sources.question import Question, document

_SQL = b"""
WITH named AS (
    SELECT t.oid, t.typelem, t.typcategory,
           CASE n.nspname WHEN 'pg_catalog' THEN format_type(t.oid, NULL)
           ELSE format('%I.%I', n.nspname, t.typname) END AS name
      FROM pg_catalog.pg_type t
      JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace)
SELECT coalesce(jsonb_agg(jsonb_build_array(a.attname,
           CASE WHEN c.typcategory = 'A' AND e.oid IS NOT NULL THEN e.name || '[]'
           ELSE c.name END) ORDER BY a.attnum), '[]')::text
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_attribute a
    ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN named c ON c.oid = a.atttypid
  LEFT JOIN named e ON e.oid = c.typelem
 WHERE t.oid = to_regtype($1) AND t.typtype = 'c'"""


def row_type_question(name: str) -> Question[Columns]:
    """Return the question for a type's live columns; () where it is no row type.

    ``name``: as SQL writes it, quoted where needed.
    """
    return Question(_SQL, (name.encode(),), _columns)


def _columns(rows: Sequence[Sequence[Any]]) -> Columns:
    return tuple((column, parse_type(text)) for column, text in document(rows))
