"""Signature and body → `ProxyFunction`: all that is decided once.

Holds the rules that need signature and body together, or both and the return hint, and
decides what is sent, and what becomes of what comes back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from plproxy_py._defaults import constant_defaults
from plproxy_py.clauses import Clauses, compile_window
from plproxy_py.combine import Combiner
from plproxy_py.errors import (
    DeclarationError,
    Error,
    ParseError,
    SignatureError,
    placed,
)
from plproxy_py.evaluation import Expressions, of_python
from plproxy_py.expression import HashFunction
from plproxy_py.fits import check_fit
from plproxy_py.function import HomeDefault, ProxyFunction
from plproxy_py.gather import (
    Combined,
    Gather,
    Ordered,
    compile_gather,
    partitions_send,
)
from plproxy_py.hints import Hints, ReturnHint, hinted_answer, hinted_array
from plproxy_py.language.body import Body, RunAll
from plproxy_py.options import Options
from plproxy_py.ordering import SCALAR_COLUMN
from plproxy_py.pgtypes import PgType
from plproxy_py.query import (
    RemoteQuery,
    automatic_query,
    dynamic_query,
    explicit_query,
    windowed,
)
from plproxy_py.result import Answer, any_answer, record_answer, scalar_answer
from plproxy_py.signature import (
    VOID,
    Columns,
    Dynamic,
    Scalar,
    Signature,
    Void,
)
from plproxy_py.tagging import RunHash


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
    options: Options | None = None,
    clauses: Clauses | None = None,
) -> ProxyFunction:
    """Compile a function.

    ``columns``: of a composite result, where a catalog knows them. ``run_on``,
    ``cluster`` and ``connect`` are Python callables that stand for the body's own.
    Raise a `DeclarationError` that names the function and, for what stands in the
    body, its line.
    """
    options, clauses = options or Options(), clauses or Clauses()
    returns = hints.returns if hints else None
    if returns is not None:
        options = dataclasses.replace(options, partial=returns.partial)
    names: tuple[str | None, ...] = tuple(given.name for given in signature.inputs)
    types = [given.type for given in signature.inputs]
    expressions = Expressions(types, registered, body.split or ())
    try:
        clauses.check(first=options.first, setof=signature.setof)
        _check_first(options, returns)
        # Of many partitions' rows these give one.
        gives_one = options.first or clauses.combine is not None
        if isinstance(body.run_on, RunAll) and not (signature.setof or gives_one):
            raise ParseError("RUN ON ALL needs a set-returning function")
        several = signature.setof or gives_one
        listed = _columns(signature, returns, columns, clauses)
        sent, answer, gather = _shapes(signature, listed, hints, clauses)
        function = ProxyFunction(
            signature,
            _query(signature, body, listed, gather, clauses),
            answer,
            expressions.run_on(body.run_on, several)
            if run_on is None
            else RunHash(of_python(run_on, expressions.row_types), several),
            expressions.named("CLUSTER", body.cluster)
            if cluster is None
            else of_python(cluster, types),
            expressions.named("CONNECT", body.connect)
            if connect is None
            else of_python(connect, types),
            body.split,
            hints.names if hints else names,
            dict(hints.defaults) if hints else _defaults(signature),
            body,
            columns=columns,
            row_type=None if hints else _open_row_type(signature, listed),
            strict=strict,
            needs_home=expressions.needs_home,
            options=options,
            sent=sent,
            gather=gather,
            clauses=clauses,
            counts=compile_window(
                clauses, hints.names if hints else (), signature.inputs
            ),
            returns=returns,
        )
    except DeclarationError as error:
        raise compile_error(error, signature.label) from None
    if function.needs_home is not None:
        compile_error(function.needs_home, signature.label)
    return function


def compile_error(error: DeclarationError, label: str) -> Error:
    """Write an error as PL/Proxy does, with the line where there is one."""
    if error.function is None and error.line is not None:
        error.args = (f"Compile error at line {error.line}: {error}",)
    return placed(error, label, "PL/Proxy function ")


def _check_first(options: Options, returns: ReturnHint | None) -> None:
    if options.first and returns is not None and (returns.stream or returns.partial):
        raise SignatureError(
            "first= takes the rows of one partition: the hint is a list or a row"
        )


def _query(
    signature: Signature,
    body: Body,
    columns: Columns | PgType | None,
    gather: Gather | None,
    clauses: Clauses,
) -> RemoteQuery:
    is_dynamic = isinstance(signature.shape(), Dynamic)
    subquery = None
    if body.select is not None:
        if is_dynamic:
            raise ParseError("SELECT can't be used with dynamic records")
        types = [argument.type for argument in signature.inputs]
        query = explicit_query(body.select, types)
        subquery = f"q({SCALAR_COLUMN})" if isinstance(columns, PgType) else "q"
    elif is_dynamic and isinstance(columns, tuple):
        query = dynamic_query(signature, columns, body.target)
    else:
        # A dynamic record has no query until `returning` lists its columns.
        query = automatic_query(signature, columns or VOID, body.target)
    order = [key.sql for key in gather.order] if isinstance(gather, Ordered) else []
    limited = clauses.limit is not None
    if order or limited:
        return windowed(query, order, limited=limited, subquery=subquery)
    return query


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
    answer = record_answer(columns, setof=signature.setof)
    if (returns := function.returns) is not None:
        answer = dataclasses.replace(
            answer, stream=returns.stream is not None, partial=returns.partial
        )
    return dataclasses.replace(
        function,
        query=dynamic_query(signature, columns, function.body.target),
        answer=answer,
        sent=answer,
    )


def _columns(
    signature: Signature,
    returns: ReturnHint | None,
    composite: Columns,
    clauses: Clauses,
) -> Columns | PgType | None:
    """Return a record's columns, the type of a scalar or void, None if dynamic."""
    # What is combined has other columns than the hint.
    hinted = returns.fields if returns and clauses.combine is None else ()
    shape = signature.shape(composite or hinted)
    if isinstance(shape, Scalar):
        return shape.type
    if isinstance(shape, Void):
        return VOID
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


def _shapes(
    signature: Signature,
    columns: Columns | PgType | None,
    hints: Hints | None,
    clauses: Clauses,
) -> tuple[Answer | None, Answer | None, Gather | None]:
    """Return what each partition sends, what the caller gets, and how that is made."""
    if hints is not None:
        _check_parameters(signature, hints)
    returns = hints.returns if hints else None
    if columns is None:
        if keyword := clauses.keyword:
            raise SignatureError(
                f"{keyword}= needs columns that are declared: list them in the "
                "signature, or as fields of the class that the hint names"
            )
        if returns is not None and (returns.setof or returns.row):
            _check_setof(returns, signature.setof)
        return None, None, None
    if clauses.combine is None:
        answer = _answer(columns, signature.setof, returns)
        names = _scalar_names(signature)
        return answer, answer, compile_gather(clauses, columns, answer, names)
    sent = _answer(columns, signature.setof, None)
    gather = compile_gather(clauses, columns, sent)
    if not isinstance(gather, Combined):
        return sent, any_answer(), gather
    # What is combined are values, and only the caller's rows are made of them.
    sent = dataclasses.replace(sent, make_row=tuple)
    return sent, _combined_answer(gather.combiner, columns, returns), gather


def _scalar_names(signature: Signature) -> tuple[str, ...]:
    """Return what a scalar's column is called: as FROM a function names it."""
    return tuple(output.name or "" for output in signature.outputs[:1]) or (
        signature.name,
    )


def _check_parameters(signature: Signature, hints: Hints) -> None:
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


def _answer(
    columns: Columns | PgType, setof: bool, returns: ReturnHint | None
) -> Answer:
    if returns is None:
        if isinstance(columns, PgType):
            return scalar_answer(columns, setof=setof)
        return record_answer(columns, setof=setof)
    _check_setof(returns, setof)
    return hinted_answer(returns, columns)


def _check_setof(returns: ReturnHint, setof: bool) -> None:
    if returns.setof != setof:
        raise SignatureError(
            "a list as return hint and SETOF in the signature go together"
        )


def _combined_answer(
    combiner: Combiner, columns: Columns | PgType, returns: ReturnHint | None
) -> Answer:
    combined, setof = combiner.columns, combiner.setof
    if returns is None:
        return _answer(combined, setof, None)
    if isinstance(combined, tuple) and len(combined) == 1 and returns.row is None:
        # A record of one column is a scalar to PostgreSQL.
        combined = combined[0][1]
    try:
        if returns.stream is not None:
            raise SignatureError(
                "combine= gives rows when all partitions have answered: write list[…] "
                f"in place of {returns.stream.__name__}[…]"
            )
        if (
            isinstance(combined, PgType)
            and combined.is_array
            and returns.setof
            and not (setof or returns.partial)
        ):
            return hinted_array(returns, combined)
        if returns.setof != setof:
            raise SignatureError(
                f"combine= gives {'a list of rows' if setof else 'one row'}, and so "
                "must the hint say"
            )
        return hinted_answer(returns, combined)
    except SignatureError as error:
        raise SignatureError(f"{error}; {partitions_send(columns)}") from None


def _defaults(signature: Signature) -> dict[int, Any]:
    """Return the DEFAULTs by position: constants as values, others as home's SQL."""
    defaults = constant_defaults(signature.inputs)
    for index, given in enumerate(signature.inputs):
        if given.default is not None and index not in defaults:
            # What it gives is of the declared type, whatever the expression's own.
            sql = f"SELECT ({given.default})::{given.type.cast}"
            defaults[index] = HomeDefault(sql)
    return defaults
