"""One Python hint → the SQL type that it declares, and the class of its values."""

from __future__ import annotations

import dataclasses
import types
import typing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from plproxy_py.errors import SignatureError
from plproxy_py.pgtypes import PgType, parse_type

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


class Value(NamedTuple):
    """What a hint says of one value.

    ``sql_type``: what it stands for, None if for none. ``python``: its class, or that
    of a list's items where ``is_list``.
    """

    sql_type: PgType | None
    python: object
    is_list: bool


def without_none(hint: Any) -> tuple[Any, bool]:
    """Split ``X | None`` into X and True."""
    if typing.get_origin(hint) is Annotated:
        inner, optional = without_none(hint.__origin__)
        return Annotated[(inner, *hint.__metadata__)], optional
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    if len(members) == len(typing.get_args(hint)) or len(members) != 1:
        return hint, False
    return members[0], True


def sql_type(hint: Any) -> PgType | None:
    """Return the SQL type of a hint without None. Raise `SignatureError`."""
    if typing.get_origin(hint) is Annotated:
        for extra in hint.__metadata__:
            if isinstance(extra, str):
                return parse_type(extra)
        return sql_type(hint.__origin__)
    if isinstance(hint, typing.NewType):
        return sql_type(hint.__supertype__)
    if typing.get_origin(hint) is dict:
        return PgType("jsonb")
    if typing.get_origin(hint) is list:
        # PostgreSQL's arrays of arrays are of the same type.
        element = sql_type(item(hint)[0])
        return element and dataclasses.replace(element, is_array=True)
    name = _SQL_TYPES.get(hint) if isinstance(hint, type) else None
    return None if name is None else PgType(name)


def item(hint: Any) -> tuple[Any, bool]:
    """Split ``list[X | None]`` into X and True; a bare list holds no X."""
    items = typing.get_args(hint)
    return without_none(items[0]) if items else (Any, False)


def stands_for(hint: Any) -> PgType | None:
    """Return the SQL type that a hint stands for, None if it says nothing of types."""
    try:
        return sql_type(without_none(hint)[0])
    except SignatureError:
        return None


def value_of(hint: Any) -> Value:
    """Return what a hint says of its values, as far as it says anything."""
    python, is_list = _python_class(hint), False
    if typing.get_origin(python) is list:
        python, is_list = _python_class(item(python)[0]), True
    return Value(stands_for(hint), python, is_list)


def _python_class(hint: Any) -> Any:
    """Return the class of a hint's values, without what SQL says of them."""
    hint = without_none(hint)[0]
    if typing.get_origin(hint) is Annotated:
        return _python_class(hint.__origin__)
    if isinstance(hint, typing.NewType):
        return _python_class(hint.__supertype__)
    return hint


def declared_type(hint: Any, where: str) -> PgType:
    """Return the SQL type of a hint, or raise `SignatureError` about ``where``."""
    try:
        type = sql_type(without_none(hint)[0])
    except SignatureError as error:
        raise SignatureError(f"{where}: {error}") from None
    if type is None:
        name = getattr(hint, "__name__", None) or str(hint)
        raise SignatureError(
            f'{where}: {name} has no SQL type; say it with Annotated[{name}, "sqltype"]'
        )
    return type
