"""Python hints → SQL types, and the return hint → the shape of the answer.

A hint is what we declare, not what the server has: ``int`` declares int8, and
``Annotated[int, "int4"]``, or the ready-made `Int4`, says it exactly.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from plproxy_py.errors import SignatureError
from plproxy_py.fits import check_fit
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.result import (
    Answer,
    MakeRow,
    Row,
    record_answer,
    row_class,
    scalar_answer,
)
from plproxy_py.signature import VOID, Argument, Columns, Mode, Signature

Int2 = Annotated[int, "int2"]
Int4 = Annotated[int, "int4"]
Float4 = Annotated[float, "float4"]
Varchar = Annotated[str, "varchar"]
Timestamp = Annotated[datetime, "timestamp"]
Json = Annotated[Any, "json"]

# The order matters to nobody: each class is looked up exactly.
_SQL_TYPES: dict[object, str] = {
    str: "text",
    int: "int8",
    float: "float8",
    bool: "bool",
    bytes: "bytea",
    Decimal: "numeric",
    date: "date",
    time: "time",
    datetime: "timestamptz",
    timedelta: "interval",
    UUID: "uuid",
    dict: "jsonb",
}


@dataclass(frozen=True, slots=True)
class ReturnHint:
    """A return hint taken apart.

    ``row``: a dataclass, a NamedTuple or `Row`, None for a scalar, whose SQL type is
    ``sql_type``; neither: void. ``fields`` are the row's columns as its hints declare
    them. ``problem``: why it declares no SQL types, so that a signature text must.
    """

    setof: bool
    optional: bool
    nullable: bool
    sql_type: PgType | None
    row: type[Any] | None
    fields: Columns
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Hints:
    """What a decorated function says: parameters in order, and its return hint."""

    names: tuple[str, ...]
    types: tuple[PgType | None, ...]
    defaults: Mapping[int, Any]
    returns: ReturnHint


def read_hints(
    function: Callable[..., Any], namespace: Mapping[str, Any], *, typed: bool
) -> Hints:
    """Read a function's parameters and hints.

    ``namespace``: the caller's locals. ``typed``: hints declare the SQL types, so
    each parameter needs one; otherwise a signature text does. Raise `SignatureError`.
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
            sql_types.append(_stands_for(hints.get(parameter.name)))
        elif parameter.name not in hints:
            raise SignatureError(f"{name}: parameter {parameter.name} has no hint")
        else:
            sql_types.append(
                _declared_type(hints[parameter.name], f"{name}: {parameter.name}")
            )
    if "return" not in hints:
        raise SignatureError(f"{name} has no return hint; write -> None for void")
    returns = _return_hint(hints["return"], f"{name}: the return hint", namespace)
    return Hints(tuple(names), tuple(sql_types), defaults, returns)


def hinted_arguments(hints: Hints) -> tuple[Argument, ...]:
    """Return the arguments that typed hints declare."""
    return tuple(
        Argument(name, type)
        for name, type in zip(hints.names, hints.types, strict=True)
        if type is not None
    )


def hinted_signature(
    name: str, schema: str, hints: Hints, arguments: tuple[Argument, ...]
) -> Signature:
    """Return the signature with the result that the return hint declares.

    A row's fields are OUT columns.
    """
    returns = hints.returns
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
        if hint.row is not None:
            # A record of one column is a scalar to PostgreSQL.
            names = tuple(name for name, _ in _row_fields(hint.row)) or ("r",)
            if len(names) > 1:
                raise SignatureError(
                    hint.problem
                    or f"{hint.row.__name__} has {len(names)} fields, the signature "
                    "one column"
                )
            make_row = _row_maker(hint.row, names) or row_class(names)
            answer = dataclasses.replace(answer, make_row=make_row)
    elif hint.row is None:
        raise SignatureError(
            "the signature has several columns: the hint must be a dataclass, a "
            "NamedTuple or Row"
        )
    else:
        names = tuple(name for name, _ in columns)
        make_row = _row_maker(hint.row, names) or row_class(names)
        answer = record_answer(columns, setof=hint.setof, make_row=make_row)
    if hint.row is not None and hint.nullable:
        answer = dataclasses.replace(answer, make_row=_or_none(answer.make_row))
    return dataclasses.replace(
        answer, optional=hint.optional, nullable=hint.nullable or hint.row is not None
    )


def _check_result(hint: ReturnHint, columns: Columns | PgType) -> None:
    fields = dict(hint.fields)
    if isinstance(columns, PgType):
        hinted = [hint.sql_type] if hint.sql_type else list(fields.values())
        if len(hinted) == 1 and columns != VOID:
            check_fit(hinted[0], columns, "the return hint")
        return
    for name, type in columns:
        if name in fields:
            check_fit(fields[name], type, f"the return hint's field {name!r}")


def _or_none(make_row: MakeRow) -> MakeRow:
    def make(values: Sequence[Any]) -> Any:
        if all(value is None for value in values):
            return None
        return make_row(values)

    return make


def _row_maker(row: type[Any], columns: Sequence[str]) -> MakeRow | None:
    """Return what makes a ``row`` of these columns, None where any tuple will do."""
    if _takes_any(row):
        return None
    fields = dict(_row_fields(row))
    required = [name for name, default in fields.items() if not default]
    for name in columns:
        if name not in fields:
            raise SignatureError(f"{row.__name__} has no field for column {name!r}")
    for name in required:
        if name not in columns:
            raise SignatureError(f"no column for field {name!r} of {row.__name__}")
    by_name = dataclasses.is_dataclass(row) and any(
        field.kw_only for field in dataclasses.fields(row)
    )
    if not by_name and list(fields)[: len(columns)] == list(columns):
        return lambda values: row(*values)
    return lambda values: row(**dict(zip(columns, values, strict=True)))


def _row_fields(row: type[Any]) -> list[tuple[str, bool]]:
    """Return a dataclass's or NamedTuple's fields, and whether each has a default.

    Empty for a row that takes any columns.
    """
    if dataclasses.is_dataclass(row):
        missing = dataclasses.MISSING
        return [
            (field.name, (field.default, field.default_factory) != (missing, missing))
            for field in dataclasses.fields(row)
            if field.init
        ]
    if _takes_any(row):
        return []
    return [(name, name in row._field_defaults) for name in row._fields]


def _is_row(hint: object) -> bool:
    return isinstance(hint, type) and (
        dataclasses.is_dataclass(hint)
        or _takes_any(hint)
        or (issubclass(hint, tuple) and hasattr(hint, "_field_defaults"))
    )


def _takes_any(row: type[Any]) -> bool:
    return issubclass(row, Row) or row is tuple


def _without_none(hint: Any) -> tuple[Any, bool]:
    """Split ``X | None`` into X and True."""
    if typing.get_origin(hint) is Annotated:
        inner, optional = _without_none(hint.__origin__)
        return Annotated[(inner, *hint.__metadata__)], optional
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    if len(members) == len(typing.get_args(hint)) or len(members) != 1:
        return hint, False
    return members[0], True


def _sql_type(hint: Any) -> PgType | None:
    if typing.get_origin(hint) is Annotated:
        for extra in hint.__metadata__:
            if isinstance(extra, str):
                return parse_type(extra)
        return _sql_type(hint.__origin__)
    if isinstance(hint, typing.NewType):
        return _sql_type(hint.__supertype__)
    if typing.get_origin(hint) is dict:
        return PgType("jsonb")
    if typing.get_origin(hint) is list:
        # PostgreSQL's arrays of arrays are of the same type.
        element = _sql_type(_item(hint)[0])
        return element and dataclasses.replace(element, is_array=True)
    name = _SQL_TYPES.get(hint) if isinstance(hint, type) else None
    return None if name is None else PgType(name)


def _item(hint: Any) -> tuple[Any, bool]:
    """Split ``list[X | None]`` into X and True; a bare list holds no X."""
    items = typing.get_args(hint)
    return _without_none(items[0]) if items else (Any, False)


def _stands_for(hint: Any) -> PgType | None:
    """Return the SQL type that a hint stands for, None if it says nothing of types."""
    try:
        return _sql_type(_without_none(hint)[0])
    except SignatureError:
        return None


def _declared_type(hint: Any, where: str) -> PgType:
    try:
        type = _sql_type(_without_none(hint)[0])
    except SignatureError as error:
        raise SignatureError(f"{where}: {error}") from None
    if type is None:
        name = getattr(hint, "__name__", None) or str(hint)
        raise SignatureError(
            f'{where}: {name} has no SQL type; say it with Annotated[{name}, "sqltype"]'
        )
    return type


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
    hint, optional = _without_none(hint)
    setof = typing.get_origin(hint) is list
    nullable = optional
    if setof:
        if optional:
            raise SignatureError(f"{where}: a list is empty, never None")
        hint, nullable = _item(hint)
    if typing.get_origin(hint) is tuple:
        hint = tuple
    if hint is None or hint is type(None):
        return ReturnHint(setof, False, True, None, None, ())
    row = hint if _is_row(hint) else None
    fields: Columns = ()
    type_, problem = None, ""
    try:
        if row is None:
            type_ = _declared_type(hint, where)
        else:
            fields = _declared_fields(row, where, namespace)
    except SignatureError as error:
        # A class may be what an adapter makes of the type that a text declares.
        if not (isinstance(hint, type) or hint is Any):
            raise
        problem = str(error)
    return ReturnHint(setof, optional, nullable, type_, row, fields, problem)


def _declared_fields(
    row: type[Any], where: str, namespace: Mapping[str, Any]
) -> Columns:
    if _takes_any(row):
        return ()
    where = f"{where}: {row.__name__}"
    hints = _resolved(row, where, namespace)
    # A namedtuple has fields without hints.
    return tuple(
        (name, _declared_type(hints.get(name, Any), f"{where}.{name}"))
        for name, _ in _row_fields(row)
    )
