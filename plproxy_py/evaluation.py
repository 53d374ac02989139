"""Where the expressions of RUN ON, CLUSTER and CONNECT are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plproxy_py import _hash_many
from plproxy_py._casts import applied, argument
from plproxy_py.clauses import INTEGERS
from plproxy_py.errors import SignatureError, UnsupportedError
from plproxy_py.expression import HashFunction, compile_expression
from plproxy_py.function import Named
from plproxy_py.language.body import ArgumentValue, Expression, Literal
from plproxy_py.language.body import RunOn as RunOnText
from plproxy_py.pgtypes import PgType
from plproxy_py.query import home_query, home_split_query
from plproxy_py.tagging import RunHash, RunHome, RunOn


class Expressions:
    """The three ways to a value: Python, re-stated here, or the home database.

    ``needs_home`` keeps why the first two failed, where one did.
    """

    def __init__(
        self,
        types: Sequence[PgType],
        registered: Mapping[str, HashFunction],
        split: Sequence[int],
    ) -> None:
        self.types = types
        self.split = split
        # RUN ON sees split arrays as their elements, CLUSTER and CONNECT whole.
        self.row_types = [
            type.element if index in split else type for index, type in enumerate(types)
        ]
        self.registered = registered
        self.needs_home: UnsupportedError | None = None

    def run_on(self, run_on: RunOnText, setof: bool) -> RunOn:
        """Compile RUN ON. ``setof``: several hashes are allowed."""
        if isinstance(run_on, ArgumentValue):
            return self._argument(run_on, setof)
        if not isinstance(run_on, Expression):
            return run_on
        try:
            computed = compile_expression(run_on, self.row_types, self.registered)
        except UnsupportedError as error:
            self.needs_home = error
            return self._run_home(run_on, setof)
        if computed.type not in (None, *INTEGERS):
            raise SignatureError(_no_hash(computed.type), line=run_on.line)
        if computed.type is None:
            return RunHash(computed.value, setof)
        at_home = self._run_home(run_on, setof)
        return RunHash(computed.value, setof, at_home, computed.doubtful, computed.by)

    def _argument(self, argument: ArgumentValue, setof: bool) -> RunOn:
        index = argument.index
        type = self.row_types[index]
        if type.cast not in INTEGERS:
            raise SignatureError(_no_hash(type.cast), line=argument.line)
        return RunHash(
            lambda normals: normals[index], setof, by=(_hash_many.ints, index)
        )

    def _run_home(self, run_on: Expression, setof: bool) -> RunHome:
        prefix = "SELECT * FROM " if _is_call(run_on) else "SELECT "
        split_query = None
        if self.split:
            split_query = home_split_query(prefix, run_on, self.types, self.split)
        return RunHome(home_query(prefix, run_on, self.types), split_query, setof)

    def named(
        self, keyword: str, value: Literal | ArgumentValue | Expression | None
    ) -> Named:
        """Compile what names a cluster or a connect string."""
        if isinstance(value, Literal):
            return value.value
        if isinstance(value, ArgumentValue):
            index = value.index
            if self.types[index].cast != "text":
                raise SignatureError(
                    f"{keyword} takes a text, not {self.types[index].cast}",
                    line=value.line,
                )
            return lambda normals: normals[index]
        if value is None:
            return None
        try:
            computed = compile_expression(value, self.types, self.registered)
        except UnsupportedError as error:
            self.needs_home = _untold(value) if keyword == "CONNECT" else error
            is_from = keyword == "CONNECT" and _is_call(value)
            prefix = "SELECT * FROM " if is_from else "SELECT "
            return home_query(prefix, value, self.types)
        if computed.type not in (None, "text"):
            raise SignatureError(
                f"{keyword} takes a text, not {computed.type}", line=value.line
            )
        return computed.value


def _untold(connect: Expression) -> UnsupportedError:
    """Return the error for CONNECT, without its expression: it may hold a password."""
    return UnsupportedError(
        "CONNECT's expression can't be computed here; register a Python function of "
        "that name (hashes=), or name the database that has it (home=)",
        line=connect.line,
    )


def of_python(
    function: Callable[..., Any], types: Sequence[PgType]
) -> Callable[[Sequence[Any]], Any]:
    """Return a closure that calls a Python function with the arguments."""
    return applied(function, list(map(argument, range(len(types)), types)))


def _is_call(expression: Expression) -> bool:
    return any("(" in part for part in expression.parts if isinstance(part, str))


def _no_hash(type: str | None) -> str:
    return f"RUN ON takes a hash of type int2, int4 or int8, not {type}"
