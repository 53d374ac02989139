"""The declared functions held against those that partitions have.

Whether a call can be made is PostgreSQL's own verdict, given when its statement was
prepared; the catalog tells why it can't. What it lets pass and is wrong nevertheless
is found in the catalog alone. Knows no connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg

from plproxy_py._explain import candidates_params, remedy
from plproxy_py.function import ProxyFunction
from plproxy_py.ops.check.catalog import Proc
from plproxy_py.ops.check.findings import Finding, holders, outliers
from plproxy_py.ops.check.hashes import said
from plproxy_py.pgtypes import PgType, parse_type, quote_identifier
from plproxy_py.signature import Record, Scalar

Procs = Mapping[tuple[str, str], Sequence[Proc]]

# What a cast makes of each type without loss, and without failing for any value.
_TEXTS = {"text", "varchar"}
_WIDER = {
    "int2": {"int4", "int8", "numeric"},
    "int4": {"int8", "numeric"},
    "int8": {"numeric"},
    "float4": {"float8"},
    "json": {"jsonb"},
    "jsonb": {"json"},
    "bpchar": _TEXTS,
    "name": _TEXTS,
    "text": _TEXTS,
    "varchar": _TEXTS,
}


def wanted(function: ProxyFunction) -> tuple[str, str]:
    """Return name and schema of what is called on partitions."""
    name, schema = candidates_params(function)
    assert name is not None
    assert schema is not None
    return name.decode(), schema.decode()


def callee(function: ProxyFunction, procs: Procs) -> Proc | None:
    """Return what a call runs, as far as that is plain; None for a body's SELECT."""
    if function.body.select is not None:
        return None
    found = procs.get(wanted(function), ())
    given = [argument.type.cast for argument in function.signature.inputs]
    same = [proc for proc in found if _casts(proc.types) == given]
    # By an implicit cast, or with the defaults of further arguments.
    fitting = [
        proc
        for proc in found
        if len(proc.types) - proc.defaults <= len(given) <= len(proc.types)
    ]
    for candidates in (same, fitting):
        if len(candidates) == 1:
            return candidates[0]
    return None


# Of thousands of functions there are a dozen types.
_parsed = lru_cache(maxsize=1000)(parse_type)


def _casts(types: Iterable[str]) -> list[str]:
    return [_parsed(type).cast for type in types]


def refused(
    function: ProxyFunction, partition: int, error: psycopg.Error, procs: Procs
) -> Finding:
    """Explain why a partition can't prepare a call."""
    found = procs.get(wanted(function), ())
    name, schema = wanted(function)
    problem, cure = "refused", "Mend what the statement needs on the partition."
    error_is_ours = function.body.select is None
    state = error.sqlstate
    if state in ("42883", "3F000") and not found and error_is_ours:
        problem = "missing"
        cure = f"Create {schema}.{name} there; plproxy deploy does so everywhere."
    elif state == "42883" and _lacks(function, error):
        problem = "argument types"
        rows: list[Any] = [
            {"function": proc.function, "types": proc.types} for proc in found
        ]
        cure = _sentence(remedy(function, rows))
    elif state == "42725":
        problem = "ambiguous"
        candidates = ", ".join(proc.function for proc in found)
        cure = (
            f"It could be any of {candidates}: drop those that are not meant, or take "
            "their defaults away."
        )
    elif state == "42703" and error_is_ours:
        problem = "OUT names"
        cure = "Declare the columns that it has" + _has(callee(function, procs))
    elif state == "42846" and error_is_ours:
        problem = "OUT types"
        cure = "Declare the types that it has" + _has(callee(function, procs))
    elif state == "42501" and error_is_ours:
        problem = "EXECUTE"
        cure = f"GRANT USAGE ON SCHEMA {schema} to the role that calls."
    return Finding(function.signature.key, partition, problem, said(error), cure, state)


def _lacks(function: ProxyFunction, error: psycopg.Error) -> bool:
    return function.body.select is None and not error.diag.context


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _has(proc: Proc | None) -> str:
    if proc is None:
        return ", or create the function as it is declared."
    return f", {_columns_text(proc)}, or create the function as it is declared."


def _columns_text(proc: Proc) -> str:
    if not proc.columns:
        return proc.returns
    return ", ".join(f"{name} {type}".strip() for name, type in proc.columns)


def mismatches(function: ProxyFunction, proc: Proc, role: str) -> Iterator[Finding]:
    """Yield what PostgreSQL lets pass when a call is prepared, and is wrong.

    ``role``: who would call. The partition is for the caller to add.
    """

    def finding(problem: str, reason: str, remedy: str) -> Finding:
        return Finding(function.signature.key, None, problem, reason, remedy)

    if not (proc.execute and proc.usage):
        what = "USAGE of its schema" if proc.execute else "EXECUTE"
        on = f"FUNCTION {proc.function}"
        if proc.execute:
            on = f"SCHEMA {quote_identifier(wanted(function)[1])}"
        grant = f"GRANT {what.split()[0]} ON {on} TO {quote_identifier(role)};"
        yield finding("EXECUTE", f"the role {role} has no right to {what}", grant)
    if reason := _misfit(function, proc):
        yield finding(
            "OUT types",
            reason,
            "Declare the types that it has, or create the function as it is declared.",
        )
    if proc.setof and not function.signature.setof and function.sent is not None:
        yield finding(
            "SETOF",
            f"{proc.function} returns a set, and one row is declared: two are an error",
            "Declare RETURNS SETOF, or let it return one row.",
        )
    if proc.volatility == "VOLATILE" and function.options.idempotent:
        yield finding(
            "repeatable",
            "calls may be repeated as it is declared, and the function is VOLATILE",
            "Make sure that a second run does no harm; if it only reads, make it "
            "STABLE.",
        )


def _misfit(function: ProxyFunction, proc: Proc) -> str | None:
    shape = function.signature.shape(function.columns)
    if isinstance(shape, Scalar) and function.row_type is None:
        if len(proc.columns) > 1:
            return f"one value is declared, and it returns {_columns_text(proc)}"
        ((_, type),) = proc.columns or (("", proc.returns),)
        if _fits(type, shape.type):
            return None
        return f"{shape.type.cast} is declared, and it returns {type}"
    if isinstance(shape, Record):
        has = dict(proc.columns)
        wrong = [
            f"{name} is declared {type.cast} and is {has[name]}"
            for name, type in shape.columns
            if name in has and not _fits(has[name], type)
        ]
        return "; ".join(wrong) or None
    return None


def _fits(has: str, declared: PgType) -> bool:
    found = _parsed(has)
    if found.cast == declared.cast or not (found.is_builtin and declared.is_builtin):
        return True
    if found.name in ("record", "void"):
        return True
    # Of anything a text can be made.
    wider = _WIDER.get(found.name, set()) | _TEXTS
    return found.is_array == declared.is_array and declared.name in wider


_ASPECTS = (
    ("OUT types", lambda proc: (proc.returns, proc.columns)),
    ("SETOF", lambda proc: proc.setof),
    ("volatility", lambda proc: proc.volatility),
    ("body", lambda proc: proc.body),
    ("attributes", lambda proc: proc.attributes),
)


def differences(
    function: ProxyFunction, procs: Mapping[int, Proc]
) -> Iterator[Finding]:
    """Yield what of a function is not the same on all partitions."""
    for problem, aspect in _ASPECTS:
        values = {number: aspect(proc) for number, proc in procs.items()}
        usual, others = outliers(values)
        if not others:
            continue
        one = procs[next(n for n, value in values.items() if value == usual)]
        where = holders(values, usual)
        for partition in others:
            yield Finding(
                function.signature.key,
                partition,
                problem,
                f"{_said_of(problem, procs[partition])}, on {where} "
                f"{_said_of(problem, one)}",
                f"Create the function anew there as on {where}, or the other way "
                "round.",
            )


def _said_of(problem: str, proc: Proc) -> str:
    match problem:
        case "OUT types":
            return _columns_text(proc)
        case "SETOF":
            return "a set" if proc.setof else "one row"
        case "volatility":
            return proc.volatility
        case "body":
            return f"body {proc.body}"
        case _:
            return proc.attributes or "no attributes"
