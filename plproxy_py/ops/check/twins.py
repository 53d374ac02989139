"""Whether Python's versions of custom hash functions are the home database's.

A function is asked for the values of `hashes.PROBES`, on either side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg

from plproxy_py.ops.check.findings import Finding
from plproxy_py.ops.check.hashes import BEYOND_ASCII, PROBES, said, written_type
from plproxy_py.ops.sessions import Session
from plproxy_py.pgtypes import parse_type

_ERROR = "an error"

# What RUN ON and CLUSTER take.
_RESULTS = ("int2", "int4", "int8", "text", "varchar")

_TWINS = """
SELECT p.oid::regprocedure::text, format('%I.%I', n.nspname, p.proname),
       format_type(p.prorettype, NULL),
       ARRAY(SELECT format_type(a.type, NULL)
               FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, n) ORDER BY a.n)
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE pg_catalog.pg_function_is_visible(p.oid) AND p.prokind = 'f'
   AND NOT p.proretset AND p.pronargs > 0 AND lower(p.proname) = $1
 ORDER BY 1"""


async def custom_faults(
    connection: Session, name: str, function: Callable[..., Any]
) -> list[Finding]:
    """Return what a Python hash function gives otherwise than its twin at home.

    The database has it under the same name; where it has none, nothing is known. The
    session is in a READ ONLY transaction.
    """
    found = []
    raw = psycopg.AsyncRawCursor(connection)
    twins = await (await raw.execute(_TWINS.encode(), (name,))).fetchall()
    for signature, qname, result, types in twins:
        names = [parse_type(type).cast.strip('"') for type in types]
        known = all(type in PROBES for type in names)
        if known and parse_type(result).cast in _RESULTS:
            found += await _twin_faults(connection, signature, qname, names, function)
    return found


async def _twin_faults(
    connection: Session,
    signature: str,
    qname: str,
    types: Sequence[str],
    function: Callable[..., Any],
) -> list[Finding]:
    for literals, values in _rows(types):
        casts = ", ".join(
            f"{literal}::{written_type(type)}"
            for literal, type in zip(literals, types, strict=True)
        )
        here, there = _here(function, values), await _there(connection, qname, casts)
        # Both may refuse a value, each in its own words.
        if here != there and not (here.startswith(_ERROR) and there.startswith(_ERROR)):
            return [
                Finding(
                    signature,
                    None,
                    "hash",
                    f"{qname}({casts}) is {there} at home, and {here} by the Python "
                    "function of that name",
                    "Correct the one that is wrong before anything is routed by it; or "
                    "leave the Python function out, and the home database is asked.",
                )
            ]
    return []


def _rows(types: Sequence[str]) -> Iterator[tuple[list[str], list[Any]]]:
    """Yield arguments: the probes of all types side by side, the short lists again."""
    columns = [PROBES[type] + BEYOND_ASCII.get(type, []) for type in types]
    for number in range(max(map(len, columns))):
        row = [column[number % len(column)] for column in columns]
        yield [literal for literal, _ in row], [value for _, value in row]


def _here(function: Callable[..., Any], values: Sequence[Any]) -> str:
    try:
        return str(function(*values))
    except Exception as error:  # it is a user's, and may raise whatever it likes
        return f"{_ERROR} ({type(error).__name__})"


async def _there(connection: Session, qname: str, casts: str) -> str:
    try:
        async with connection.transaction():
            query = f"SELECT {qname}({casts})::text".encode()
            row = await (await connection.execute(query)).fetchone()
    except psycopg.Error as error:
        if connection.closed:
            raise
        return f"{_ERROR} ({said(error)})"
    return str(row and row[0])
