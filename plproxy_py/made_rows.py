"""Rows as a caller wants them: of their own class, and of the Python types hinted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from plproxy_py.errors import SignatureError
from plproxy_py.pgtypes import PgType
from plproxy_py.result import MakeRow, Row, row_class

Convert = Callable[[Any], Any]

# What psycopg loads as str; JSON may be any value, and bytea is no text.
_NOT_TO_STR = ("text", "varchar", "bpchar", "name", '"char"', "json", "jsonb", "bytea")
_TO_FLOAT = ("numeric", "int2", "int4", "int8", "oid")


def is_row(hint: object) -> bool:
    """Tell whether a hint is a class of rows: a dataclass, a NamedTuple or `Row`."""
    return isinstance(hint, type) and (
        dataclasses.is_dataclass(hint)
        or takes_any(hint)
        or (issubclass(hint, tuple) and hasattr(hint, "_field_defaults"))
    )


def takes_any(row: type[Any]) -> bool:
    """Tell whether a row class has no columns of its own."""
    return issubclass(row, Row) or row is tuple


def row_fields(row: type[Any]) -> list[tuple[str, bool]]:
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
    if takes_any(row):
        return []
    return [(name, name in row._field_defaults) for name in row._fields]


def row_maker(row: type[Any], columns: Sequence[str]) -> MakeRow:
    """Return what makes a ``row`` of these columns. Raise `SignatureError`."""
    if takes_any(row):
        return row_class(tuple(columns))
    fields = dict(row_fields(row))
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


def or_none(make_row: MakeRow) -> MakeRow:
    """Return what makes None of a row of NULLs only."""

    def make(values: Sequence[Any]) -> Any:
        if all(value is None for value in values):
            return None
        return make_row(values)

    return make


def converted(make_row: MakeRow, converts: Sequence[Convert | None]) -> MakeRow:
    """Return the same for values that are converted first, by position."""
    if not any(converts):
        return make_row

    def make(values: Sequence[Any]) -> Any:
        return make_row(
            [
                value if convert is None or value is None else convert(value)
                for value, convert in zip(values, converts, strict=True)
            ]
        )

    return make


def conversion(python: object, is_list: bool, type: PgType) -> Convert | None:
    """Return what makes values of ``type`` be of the Python class that a hint names.

    None where psycopg's own are to stay: only float and str are made. ``is_list``:
    the hint is of a list of that class.
    """
    convert: Convert | None = None
    if is_list != type.is_array:
        return None
    if python is float and type.name in _TO_FLOAT:
        convert = float
    elif python is str and type.is_builtin and type.name not in _NOT_TO_STR:
        convert = str
    if convert is None or not is_list:
        return convert
    return _of_items(convert)


def _of_items(convert: Convert) -> Convert:
    def items(values: list[Any]) -> list[Any]:
        # An array of several dimensions is a list of lists.
        return [
            None
            if value is None
            else items(value)
            if isinstance(value, list)
            else convert(value)
            for value in values
        ]

    return items
