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
    them.
    """

    setof: bool
    optional: bool
    nullable: bool
    sql_type: PgType | None
    row: type[Any] | None
    fields: Columns


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
    try:
        hints = typing.get_type_hints(
            function, localns=dict(namespace), include_extras=True
        )
    except NameError as error:
        raise SignatureError(f"{name}: a hint can't be resolved: {error}") from None
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
            sql_types.append(None)
        elif parameter.name not in hints:
            raise SignatureError(f"{name}: parameter {parameter.name} has no hint")
        else:
            sql_types.append(
                _argument_type(hints[parameter.name], f"{name}: {parameter.name}")
            )
    if "return" not in hints:
        raise SignatureError(f"{name} has no return hint; write -> None for void")
    returns = _return_hint(hints["return"], f"{name}: the return hint", dict(namespace))
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
    if isinstance(columns, PgType):
        answer = scalar_answer(columns, setof=hint.setof)
        if hint.row is not None:
            # A record of one column is a scalar to PostgreSQL.
            (name,) = [name for name, _ in hint.fields] or ["r"]
            make_row = _row_maker(hint.row, [name]) or row_class((name,))
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


def _or_none(make_row: MakeRow) -> MakeRow:
    def make(values: Sequence[Any]) -> Any:
        if all(value is None for value in values):
            return None
        return make_row(values)

    return make


def _row_maker(row: type[Any], columns: Sequence[str]) -> MakeRow | None:
    """Return what makes a ``row`` of these columns, None where any tuple will do."""
    if issubclass(row, Row) or row is tuple:
        return None
    fields = dict(_row_fields(row))
    required = [name for name, default in fields.items() if not default]
    for name in columns:
        if name not in fields:
            raise SignatureError(f"{row.__name__} has no field for column {name!r}")
    for name in required:
        if name not in columns:
            raise SignatureError(f"no column for field {name!r} of {row.__name__}")
    if list(fields)[: len(columns)] == list(columns):
        return lambda values: row(*values)
    return lambda values: row(**dict(zip(columns, values, strict=True)))


def _row_fields(row: type[Any]) -> list[tuple[str, bool]]:
    """Return a dataclass's or NamedTuple's fields, and whether each has a default."""
    if dataclasses.is_dataclass(row):
        missing = dataclasses.MISSING
        return [
            (field.name, (field.default, field.default_factory) != (missing, missing))
            for field in dataclasses.fields(row)
            if field.init
        ]
    return [(name, name in row._field_defaults) for name in row._fields]


def _is_row(hint: object) -> bool:
    return isinstance(hint, type) and (
        dataclasses.is_dataclass(hint)
        or issubclass(hint, Row)
        or hint is tuple
        or (issubclass(hint, tuple) and hasattr(hint, "_field_defaults"))
    )


def _without_none(hint: Any) -> tuple[Any, bool]:
    """Split ``X | None`` into X and True."""
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
        element = _sql_type(_without_none(typing.get_args(hint)[0])[0])
        if element is None or element.is_array:
            return element
        return dataclasses.replace(element, is_array=True)
    name = _SQL_TYPES.get(hint)
    return None if name is None else PgType(name)


def _argument_type(hint: Any, where: str) -> PgType:
    type = _sql_type(_without_none(hint)[0])
    if type is None:
        raise SignatureError(f"{where}: {_no_type(hint)}")
    return type


def _no_type(hint: Any) -> str:
    name = getattr(hint, "__name__", None) or str(hint)
    return f'{name} has no SQL type; say it with Annotated[{name}, "sqltype"]'


def _return_hint(hint: Any, where: str, namespace: dict[str, Any]) -> ReturnHint:
    if hint is None or hint is type(None):
        return ReturnHint(False, False, True, None, None, ())
    hint, optional = _without_none(hint)
    setof = typing.get_origin(hint) is list
    nullable = optional
    if setof:
        if optional:
            raise SignatureError(f"{where}: a list is empty, never None")
        hint, nullable = _without_none(typing.get_args(hint)[0])
    if typing.get_origin(hint) is tuple:
        hint = tuple
    if _is_row(hint):
        fields = _declared_fields(hint, where, namespace)
        return ReturnHint(setof, optional, nullable, None, hint, fields)
    if hint is None or hint is type(None):
        return ReturnHint(setof, False, True, None, None, ())
    type_ = _sql_type(hint)
    if type_ is None:
        raise SignatureError(f"{where}: {_no_type(hint)}")
    return ReturnHint(setof, optional, nullable, type_, None, ())


def _declared_fields(row: type[Any], where: str, namespace: dict[str, Any]) -> Columns:
    if issubclass(row, Row) or row is tuple:
        return ()
    try:
        hints = typing.get_type_hints(row, localns=namespace, include_extras=True)
    except NameError as error:
        raise SignatureError(f"{where}: {row.__name__}: {error}") from None
    return tuple(
        (name, _argument_type(hints[name], f"{where}: {row.__name__}.{name}"))
        for name, _ in _row_fields(row)
    )
