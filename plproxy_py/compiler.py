"""Signature and body → `ProxyFunction`: all that is decided once.

Holds PL/Proxy's rules that need signature and body together, and decides for each
expression of RUN ON, CLUSTER and CONNECT whether it is computed here or at home.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plproxy_py import _hash_many
from plproxy_py._casts import applied, argument
from plproxy_py._defaults import constant_defaults
from plproxy_py.errors import (
    DeclarationError,
    Error,
    ParseError,
    SignatureError,
    UnsupportedError,
    placed,
)
from plproxy_py.expression import HashFunction, compile_expression
from plproxy_py.fits import check_fit
from plproxy_py.function import HomeDefault, Named, ProxyFunction
from plproxy_py.hints import Hints, hinted_answer
from plproxy_py.language.body import (
    ArgumentValue,
    Body,
    Expression,
    Literal,
    RunAll,
)
from plproxy_py.language.body import RunOn as RunOnText
from plproxy_py.pgtypes import PgType
from plproxy_py.query import (
    automatic_query,
    dynamic_query,
    explicit_query,
    home_query,
    home_split_query,
)
from plproxy_py.result import Answer, record_answer, scalar_answer
from plproxy_py.signature import (
    VOID,
    Columns,
    Dynamic,
    Scalar,
    Signature,
    Void,
)
from plproxy_py.tagging import RunHash, RunHome, RunOn

INTEGERS = ("int2", "int4", "int8")


def compile_function(
    signature: Signature,
    body: Body,
    *,
    registered: Mapping[str, HashFunction],
    hints: Hints | None = None,
    run_on: Callable[..., Any] | None = None,
    cluster: Callable[..., Any] | None = None,
    connect: Callable[..., Any] | None = None,
    strict: bool = False,
    columns: Columns = (),
    timeout: float | None = None,
) -> ProxyFunction:
    """Compile a function.

    ``columns``: of a composite result, where a catalog knows them. ``run_on``,
    ``cluster`` and ``connect`` are Python callables that stand for the body's own.
    Raise a `DeclarationError` that names the function and, for what stands in the
    body, its line.
    """
    try:
        function = _compile(
            signature, body, registered, hints, run_on, cluster, connect, columns
        )
    except DeclarationError as error:
        raise compile_error(error, signature.label) from None
    if function.needs_home is not None:
        compile_error(function.needs_home, signature.label)
    return dataclasses.replace(function, strict=strict, timeout=timeout)


def compile_error(error: DeclarationError, label: str) -> Error:
    """Write an error as PL/Proxy does, with the line where there is one."""
    if error.function is None and error.line is not None:
        error.args = (f"Compile error at line {error.line}: {error}",)
    return placed(error, label, "PL/Proxy function ")


def _compile(
    signature: Signature,
    body: Body,
    registered: Mapping[str, HashFunction],
    hints: Hints | None,
    run_on: Callable[..., Any] | None,
    cluster: Callable[..., Any] | None,
    connect: Callable[..., Any] | None,
    composite: Columns,
) -> ProxyFunction:
    types = [argument.type for argument in signature.inputs]
    if isinstance(body.run_on, RunAll) and not signature.setof:
        raise ParseError("RUN ON ALL needs a set-returning function")
    columns = _columns(signature, hints, composite)
    is_dynamic = isinstance(signature.shape(), Dynamic)
    if body.select is not None:
        if is_dynamic:
            raise ParseError("SELECT can't be used with dynamic records")
        query = explicit_query(body.select, types)
    elif is_dynamic and isinstance(columns, tuple):
        query = dynamic_query(signature, columns, body.target)
    else:
        # A dynamic record has no query until `returning` lists its columns.
        query = automatic_query(signature, columns or VOID, body.target)
    if hints is None:
        names = tuple(argument.name for argument in signature.inputs)
        defaults = _defaults(signature)
    else:
        names, defaults = hints.names, dict(hints.defaults)
    expressions = _Expressions(types, registered, body.split or ())
    return ProxyFunction(
        signature,
        query,
        None if columns is None else _answer(signature, columns, hints),
        expressions.run_on(body.run_on, signature.setof)
        if run_on is None
        else RunHash(_applied(run_on, expressions.row_types), signature.setof),
        expressions.named("CLUSTER", body.cluster)
        if cluster is None
        else _applied(cluster, types),
        expressions.named("CONNECT", body.connect)
        if connect is None
        else _applied(connect, types),
        body.split,
        names,
        defaults,
        body,
        columns=composite,
        row_type=_open_row_type(signature, columns) if hints is None else None,
        needs_home=expressions.needs_home,
    )


def returning(function: ProxyFunction, columns: Columns) -> ProxyFunction:
    """Return a function of dynamic records with its columns listed.

    Raise `SignatureError` for a function whose columns are declared.
    """
    if function.answer is not None:
        raise SignatureError(
            f"{function.label}: the columns are declared; returning() is for RETURNS "
            "[SETOF] record"
        )
    signature = function.signature
    return dataclasses.replace(
        function,
        query=dynamic_query(signature, columns, function.body.target),
        answer=record_answer(columns, setof=signature.setof),
    )


def _columns(
    signature: Signature, hints: Hints | None, composite: Columns
) -> Columns | PgType | None:
    """Return a record's columns, the type of a scalar or void, None if dynamic."""
    shape = signature.shape(composite or (hints.returns.fields if hints else ()))
    if isinstance(shape, Scalar):
        return shape.type
    if isinstance(shape, Void):
        return VOID
    if isinstance(shape, Dynamic) and hints is None:
        return None
    return shape.columns or None


def _open_row_type(
    signature: Signature, columns: Columns | PgType | None
) -> str | None:
    """Return the name of a result type that may be a row type, for all we know."""
    is_open = (
        isinstance(columns, PgType)
        and columns == signature.returns
        and not (columns.is_builtin or columns.is_array)
    )
    return columns.name if is_open and isinstance(columns, PgType) else None


def _answer(
    signature: Signature, columns: Columns | PgType, hints: Hints | None
) -> Answer:
    if hints is None:
        if isinstance(columns, PgType):
            return scalar_answer(columns, setof=signature.setof)
        return record_answer(columns, setof=signature.setof)
    if len(hints.names) != len(signature.inputs):
        raise SignatureError(
            f"the Python function has {len(hints.names)} parameters, the signature "
            f"{len(signature.inputs)}"
        )
    for name, hinted, given in zip(
        hints.names, hints.types, signature.inputs, strict=True
    ):
        if hinted is not None:
            check_fit(hinted, given.type, f"parameter {name}")
    if hints.returns.setof != signature.setof:
        raise SignatureError(
            "a list as return hint and SETOF in the signature go together"
        )
    return hinted_answer(hints.returns, columns)


class _Expressions:
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


def _applied(
    function: Callable[..., Any], types: Sequence[PgType]
) -> Callable[[Sequence[Any]], Any]:
    """Return a closure that calls a Python function with the arguments."""
    return applied(function, list(map(argument, range(len(types)), types)))


def _is_call(expression: Expression) -> bool:
    return any("(" in part for part in expression.parts if isinstance(part, str))


def _no_hash(type: str | None) -> str:
    return f"RUN ON takes a hash of type int2, int4 or int8, not {type}"


def _defaults(signature: Signature) -> dict[int, Any]:
    """Return the DEFAULTs by position: constants as values, others as home's SQL."""
    defaults = constant_defaults(signature.inputs)
    for index, given in enumerate(signature.inputs):
        if given.default is not None and index not in defaults:
            # What it gives is of the declared type, whatever the expression's own.
            sql = f"SELECT ({given.default})::{given.type.cast}"
            defaults[index] = HomeDefault(sql)
    return defaults
