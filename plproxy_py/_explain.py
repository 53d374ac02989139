"""What to write when a partition has no such function (42883).

The error that every newcomer meets first: ``int`` declares int8, the partition has
``f(integer)``, and PostgreSQL narrows nothing by itself. The partition's catalog is
asked once for each function, and the error then says which declaration fits.
"""

from __future__ import annotations

from collections.abc import Sequence

from plproxy_py.errors import Error
from plproxy_py.function import ProxyFunction
from plproxy_py.pgtypes import parse_type
from plproxy_py.result import Row

CANDIDATES = b"""
SELECT p.oid::regprocedure::text AS function,
       array(SELECT format_type(t, NULL)
               FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, n)
              ORDER BY n) AS types
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE p.proname = $1 AND n.nspname = $2
 ORDER BY 1"""


def lacking_partition(function: ProxyFunction, error: Error) -> int | None:
    """Return the partition that lacks the function, None if the error says otherwise.

    Not where a body's SELECT calls what it likes, nor where the error arose inside the
    remote function, which its context tells.
    """
    if error.sqlstate != "42883" or error.diag.context or function.body.select:
        return None
    return error.partition


def _called(function: ProxyFunction) -> tuple[str, str]:
    """Return schema and name of what is called remotely: its own, or TARGET's."""
    signature = function.signature
    if function.body.target is None:
        return signature.schema, signature.name
    # Unquoted names only: the remote server folds them.
    *schema, name = function.body.target.replace(" ", "").lower().split(".")
    return (schema or [signature.schema])[-1], name


_HINTS = {
    "int2": "Int2",
    "int4": "Int4",
    "float4": "Float4",
    "varchar": "Varchar",
    "timestamp": "Timestamp",
    "json": "Json",
}


def candidates_params(function: ProxyFunction) -> list[bytes | None]:
    """Return the parameters of `CANDIDATES`: the name and the schema to look for."""
    schema, name = _called(function)
    return [name.encode(), schema.encode()]


def remedy(function: ProxyFunction, candidates: Sequence[Row]) -> str:
    """Say how the declaration must read, given the functions of that name there."""
    signature = function.signature
    if not candidates:
        return (
            f"the partition has no function {'.'.join(_called(function))}: create it "
            "there, or declare the schema and name that it has"
        )
    for candidate in candidates:
        types = [parse_type(text) for text in candidate["types"]]
        if len(types) != len(signature.inputs):
            continue
        wrong = [
            f"{argument.name or f'${number}'} as {type.cast}"
            + (f" ({_HINTS[type.cast]} as a hint)" if type.cast in _HINTS else "")
            + f", not {argument.type.cast}"
            for number, (argument, type) in enumerate(
                zip(signature.inputs, types, strict=True), 1
            )
            if argument.type.cast != type.cast
        ]
        if wrong:
            return (
                f"the partition has {candidate['function']}: declare {'; '.join(wrong)}"
            )
    listed = ", ".join(str(candidate["function"]) for candidate in candidates)
    return f"the partition has {listed}, with other arguments than declared"
