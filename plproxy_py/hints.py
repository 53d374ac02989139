"""Python hints → SQL types, and the return hint → the shape of the answer.

A hint is what we declare, not what the server has: ``int`` declares int8, and
``Annotated[int, "int4"]``, or the ready-made `Int4`, says it exactly.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Annotated, Any

from plproxy_py._record import record
from plproxy_py.answers import Partial
from plproxy_py.errors import SignatureError
from plproxy_py.fits import check_fit
from plproxy_py.hint_types import (
    Value,
    declared_type,
    item,
    stands_for,
    value_of,
    without_none,
)
from plproxy_py.made_rows import (
    Convert,
    conversion,
    converted,
    is_row,
    or_none,
    row_fields,
    row_maker,
    takes_any,
)
from plproxy_py.pgtypes import PgType
from plproxy_py.result import Answer, record_answer, scalar_answer
from plproxy_py.signature import VOID, Argument, Columns, Mode, Signature

Int2 = Annotated[int, "int2"]
Int4 = Annotated[int, "int4"]
Float4 = Annotated[float, "float4"]
Varchar = Annotated[str, "varchar"]
Timestamp = Annotated[datetime, "timestamp"]
Json = Annotated[Any, "json"]

Stream = type[Iterator[Any]] | type[AsyncIterator[Any]]

# What holds the rows of a set, where it is a hint's origin.
_SETS = (list, Partial, Iterator, AsyncIterator)


@record
class ReturnHint:
    """A return hint taken apart.

    ``row``: a dataclass, a NamedTuple or `Row`, None for a scalar, whose SQL type is
    ``sql_type``; neither: void. ``fields`` are the row's columns as its hints declare
    them, all or none; ``values``: each hinted field, or the scalar, whose name is "".
    ``stream``: the iterator's class, where it is one. ``partial``: a `Partial`.
    ``problem``: why it declares no SQL types, so that a signature text must.
    """

    setof: bool
    optional: bool
    nullable: bool
    sql_type: PgType | None
    row: type[Any] | None
    fields: Columns
    problem: str = ""
    stream: Stream | None = None
    partial: bool = False
    values: Mapping[str, Value] = field(default_factory=dict)


@record
class Hints:
    """What a decorated function says: parameters in order, and its return hint.

    ``returns`` None: a callable of the user's makes what is returned.
    """

    names: tuple[str, ...]
    types: tuple[PgType | None, ...]
    defaults: Mapping[int, Any]
    returns: ReturnHint | None


def read_hints(
    function: Callable[..., Any],
    namespace: Mapping[str, Any],
    *,
    typed: bool,
    returns_any: bool = False,
) -> Hints:
    """Read a function's parameters and hints.

    ``namespace``: the caller's locals. ``typed``: hints declare the SQL types, so
    each parameter needs one; otherwise a signature text does. ``returns_any``: a
    callable makes what is returned, so that its hint may be any. Raise
    `SignatureError`.
    """
    name = getattr(function, "__name__", "?")
    hints = _resolved(function, name, namespace)
    names = []
    sql_types: list[PgType | None] = []
    defaults: dict[int, Any] = {}
    for index, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise SignatureError(f"{name}: * and ** parameters have no SQL type")
        if index == 0 and parameter.name in ("self", "cls"):
            raise SignatureError(f"{name}: a method can't be a proxy function")
        names.append(parameter.name)
        if parameter.default is not parameter.empty:
            defaults[index] = parameter.default
        if not typed:
            sql_types.append(stands_for(hints.get(parameter.name)))
        elif parameter.name not in hints:
            raise SignatureError(f"{name}: parameter {parameter.name} has no hint")
        else:
            sql_types.append(
                declared_type(hints[parameter.name], f"{name}: {parameter.name}")
            )
    if "return" not in hints:
        raise SignatureError(f"{name} has no return hint; write -> None for void")
    returns = None
    if not returns_any:
        returns = _return_hint(hints["return"], f"{name}: the return hint", namespace)
    elif typing.get_origin(hints["return"]) is Partial:
        raise SignatureError(
            f"{name}: what a callable combines has no partitions left: let the hint "
            "say what it returns"
        )
    return Hints(tuple(names), tuple(sql_types), defaults, returns)


def hinted_arguments(hints: Hints) -> tuple[Argument, ...]:
    """Return the arguments that typed hints declare."""
    return tuple(
        Argument(name, type)
        for name, type in zip(hints.names, hints.types, strict=True)
        if type is not None
    )


def hinted_signature(
    name: str, schema: str, returns: ReturnHint, arguments: tuple[Argument, ...]
) -> Signature:
    """Return the signature with the result that the return hint declares.

    A row's fields are OUT columns.
    """
    if returns.problem:
        raise SignatureError(returns.problem)
    if returns.row is None:
        result = returns.sql_type or VOID
        return Signature(schema, name, arguments, result, returns.setof)
    if not returns.fields:
        raise SignatureError(
            f"{name}: {returns.row.__name__} names no columns; return a dataclass or a "
            "NamedTuple, or give the signature as text"
        )
    outputs = tuple(Argument(name, type, Mode.OUT) for name, type in returns.fields)
    return Signature(schema, name, (*arguments, *outputs), None, returns.setof)


def hinted_answer(hint: ReturnHint, columns: Columns | PgType) -> Answer:
    """Return the answer's shape: the SQL columns, made into what the hint says.

    Raise `SignatureError` where columns and hint don't fit.
    """
    _check_result(hint, columns)
    if columns == VOID and (hint.row or hint.sql_type or hint.problem):
        raise SignatureError("the signature returns void: the hint must be None")
    if isinstance(columns, PgType):
        answer = scalar_answer(columns, setof=hint.setof)
        names: tuple[str, ...] = ("",)
        if hint.row is not None:
            # A record of one column is a scalar to PostgreSQL.
            names = tuple(name for name, _ in row_fields(hint.row)) or ("r",)
            if len(names) > 1:
                raise SignatureError(
                    hint.problem
                    or f"{hint.row.__name__} has {len(names)} fields, the signature "
                    "one column"
                )
            answer = dataclasses.replace(answer, make_row=row_maker(hint.row, names))
    elif hint.row is None:
        raise SignatureError(
            "the signature has several columns: the hint must be a dataclass, a "
            "NamedTuple or Row"
        )
    else:
        names = tuple(name for name, _ in columns)
        make_row = row_maker(hint.row, names)
        answer = record_answer(columns, setof=hint.setof, make_row=make_row)
    make_row = converted(answer.make_row, _conversions(hint, names, answer.types))
    if hint.row is not None and hint.nullable:
        make_row = or_none(make_row)
    return dataclasses.replace(
        answer,
        make_row=make_row,
        optional=hint.optional,
        nullable=hint.nullable or hint.row is not None,
        stream=hint.stream is not None,
        partial=hint.partial,
    )


def hinted_array(hint: ReturnHint, type: PgType) -> Answer:
    """Return the answer's shape where the hint's list is one array, not a set.

    A NULL is an empty list. Raise `SignatureError` where hint and array don't fit.
    """
    if hint.row is not None or not hint.values:
        raise SignatureError(f"{type.cast} is given: the hint is a list of its items")
    one = hint.values[""]
    array = one.sql_type and dataclasses.replace(one.sql_type, is_array=True)
    answer = hinted_answer(
        dataclasses.replace(
            hint,
            setof=False,
            sql_type=array,
            values={"": Value(array, one.python, True)},
        ),
        type,
    )
    make_row = answer.make_row
    return dataclasses.replace(
        answer, make_row=lambda values: make_row(values) or [], nullable=False
    )


def _conversions(
    hint: ReturnHint, names: Sequence[str], types: Sequence[PgType]
) -> list[Convert | None]:
    found: list[Convert | None] = []
    for name, type in zip(names, types, strict=True):
        value = hint.values.get(name)
        found.append(value and conversion(value.python, value.is_list, type))
    return found


def _check_result(hint: ReturnHint, columns: Columns | PgType) -> None:
    hinted = {name: value.sql_type for name, value in hint.values.items()}
    if isinstance(columns, PgType):
        type = next(iter(hinted.values()), None)
        if len(hinted) == 1 and type is not None and columns != VOID:
            check_fit(type, columns, "the return hint")
        return
    for name, declared in columns:
        if (type := hinted.get(name)) is not None:
            check_fit(type, declared, f"the return hint's field {name!r}")


def _resolved(
    annotated: Callable[..., Any], where: str, namespace: Mapping[str, Any]
) -> dict[str, Any]:
    try:
        return typing.get_type_hints(
            annotated, localns=dict(namespace), include_extras=True
        )
    except Exception as error:  # a hint is code of the caller's
        raise SignatureError(f"{where}: a hint can't be resolved: {error}") from None


def _return_hint(hint: Any, where: str, namespace: Mapping[str, Any]) -> ReturnHint:
    hint, optional = without_none(hint)
    origin = typing.get_origin(hint)
    setof = origin in _SETS
    nullable = optional
    if setof:
        if optional:
            raise SignatureError(f"{where}: a {origin.__name__} is empty, never None")
        hint, nullable = item(hint)
    read = functools.partial(
        ReturnHint,
        setof,
        stream=origin if origin in (Iterator, AsyncIterator) else None,
        partial=origin is Partial,
    )
    if typing.get_origin(hint) is tuple:
        hint = tuple
    if hint is None or hint is type(None):
        return read(False, True, None, None, ())
    row = hint if is_row(hint) else None
    fields: Columns = ()
    type_, problem = None, ""
    try:
        if row is None:
            type_ = declared_type(hint, where)
        else:
            fields = _declared_fields(row, where, namespace)
    except SignatureError as error:
        # A class may be what an adapter makes of the type that a text declares.
        if not (isinstance(hint, type) or hint is Any):
            raise
        problem = str(error)
    values = {"": value_of(hint)} if row is None else _field_values(row, namespace)
    return read(optional, nullable, type_, row, fields, problem, values=values)


def _declared_fields(
    row: type[Any], where: str, namespace: Mapping[str, Any]
) -> Columns:
    if takes_any(row):
        return ()
    where = f"{where}: {row.__name__}"
    hints = _resolved(row, where, namespace)
    # A namedtuple has fields without hints.
    return tuple(
        (name, declared_type(hints.get(name, Any), f"{where}.{name}"))
        for name, _ in row_fields(row)
    )


def _field_values(row: type[Any], namespace: Mapping[str, Any]) -> dict[str, Value]:
    """Return what is said of each field, as far as its hints say anything."""
    try:
        hints = _resolved(row, row.__name__, namespace)
    except SignatureError:
        return {}
    return {name: value_of(hints[name]) for name, _ in row_fields(row) if name in hints}
