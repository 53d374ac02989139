"""Functions of any language whose COMMENT says how to route.

The comment of a function of a partition stands for the body that a proxy function
would have: ``plproxy:`` at the beginning of a line, and PL/Proxy's statements behind.
What stands before is for people. They are asked for like functions of the language
itself, and given like them; those of the language are among them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from plproxy_py.errors import SignatureError, placed
from plproxy_py.signature import Signature
from plproxy_py.sources.functions import Reflection, functions_question
from plproxy_py.sources.question import Question

_PREFIX = re.compile(r"^[ \t]*plproxy:", re.IGNORECASE | re.MULTILINE)
_IS_OURS = """p.prolang = (SELECT oid FROM pg_catalog.pg_language
                         WHERE lanname = 'plproxy')"""
_COMMENT = "pg_catalog.obj_description(p.oid, 'pg_proc')"
# What is asked instead. Volatility is a rule for proxy functions, not for those that
# they call.
_CHANGES = {
    _IS_OURS: f"""p.prokind IN ('f', 'p')
       AND p.pronamespace = (SELECT oid FROM pg_catalog.pg_namespace
                              WHERE nspname = $1)
       AND ({_IS_OURS} OR {_COMMENT} ~* '(^|\\n)[ \\t]*plproxy:')""",
    "'kind', p.prokind": f"'kind', CASE WHEN {_IS_OURS} THEN 'f' ELSE p.prokind END",
    "'volatile', p.provolatile = 'v'": "'volatile',"
    f" ({_IS_OURS}) IS NOT TRUE OR p.provolatile = 'v'",
    "'body', p.prosrc": f"'body', CASE WHEN {_IS_OURS} THEN p.prosrc"
    f" ELSE {_COMMENT} END",
}


def commented_question(schema: str) -> Question[Reflection]:
    """Return the question for a schema's functions that say how to route.

    Lines of a body count from the first of its comment. Procedures are among the
    errors: no SELECT can call them.
    """
    plproxy = functions_question()

    def read(rows: Sequence[Sequence[Any]]) -> Reflection:
        reflection = plproxy.read(rows)
        assert isinstance(reflection, Reflection)
        return _routed(reflection)

    return Question(_changed(plproxy.sql.decode()).encode(), (schema.encode(),), read)


def _changed(sql: str) -> str:
    for piece, instead in _CHANGES.items():
        before, found, after = sql.partition(piece)
        assert found, piece
        sql = before + instead + after
    return sql


def _routed(reflection: Reflection) -> Reflection:
    functions = []
    errors = list(reflection.errors)
    for found in reflection.functions:
        if found.procedure:
            errors.append(_procedure(found.signature))
        else:
            body = _routing(found.body)
            functions.append(dataclasses.replace(found, body=body))
    return dataclasses.replace(
        reflection, functions=tuple(functions), errors=tuple(errors)
    )


def _procedure(signature: Signature) -> SignatureError:
    error = SignatureError("no SELECT can call a procedure")
    placed(error, signature.label, "PL/Proxy function ")
    return error


def _routing(body: str) -> str:
    """Return what stands behind the prefix, on the line where it stands."""
    prefix = _PREFIX.search(body)
    if prefix is None:
        return body
    return "\n" * body.count("\n", 0, prefix.end()) + body[prefix.end() :]
