"""Scripted answers → the rows that a partition sends, as texts by column."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from plproxy_py.function import ProxyFunction
from plproxy_py.gather import Ordered
from plproxy_py.ordering import SCALAR_COLUMN
from plproxy_py.result import Answer
from plproxy_py.testing import _scripts
from plproxy_py.testing._values import TEXT_OID, UNKNOWN_OID, Values

Texts = list[bytes | None]


class Column(NamedTuple):
    """A column of a result."""

    name: str
    oid: int


class Rowset(NamedTuple):
    """A result: its columns, and its rows as they are wanted."""

    columns: Sequence[Column]
    rows: Iterator[Texts]


class Shape:
    """What one partition sends of a function, and how scripted values become that."""

    def __init__(self, function: ProxyFunction, values: Values) -> None:
        sent = function.sent or function.answer
        if sent is None:
            raise TypeError(
                f"{function.label} returns records: script what returning() gave"
            )
        self.label = function.label
        self._function = function
        self._sent: Answer = sent
        self._values = values

    def check(self, answer: _scripts.Answer) -> None:
        """Raise TypeError or ValueError for an answer that can't be given."""
        value = answer.value
        if callable(value):
            if inspect.iscoroutinefunction(value):
                raise TypeError(
                    f"{self.label}: a callable that answers is no async def"
                )
            return
        if isinstance(value, Iterator):
            raise TypeError(
                f"{self.label}: an iterator serves one call only: give a list, or a "
                "callable that returns one"
            )
        for row in self._rows(answer.is_rows, value):
            self._texts(row)

    def rowset(self, value: Any, is_rows: bool, limit: int | None) -> Rowset:
        """Return what is sent. Raise TypeError or ValueError, also from its rows."""
        rows: Iterator[tuple[Any, Texts]] = (
            (row, self._texts(row)) for row in self._rows(is_rows, value)
        )
        gather = self._function.gather
        if isinstance(gather, Ordered) and gather.order:
            # The partition's own ORDER BY.
            order = gather.order
            ordered = sorted(
                rows,
                key=lambda row: tuple(item.key(row[1][item.column]) for item in order),
            )
            rows = iter(ordered)
        rows = itertools.islice(rows, limit)
        first = list(itertools.islice(rows, 1))
        columns = self._columns(first[0][0] if first else None)
        return Rowset(columns, (texts for _, texts in itertools.chain(first, rows)))

    def _columns(self, row: Any) -> list[Column]:
        names = self._sent.columns or (SCALAR_COLUMN,)
        values = [None] * len(names) if row is None else self._items(row)
        oids = map(self._values.oid, self._sent.types)
        return [
            Column(name, self._values.oid_of(value) if oid is None else oid)
            for name, oid, value in zip(names, oids, values, strict=True)
        ]

    def _rows(self, is_rows: bool, value: Any) -> Iterable[Any]:
        """Return the rows, where one is the value itself unless it is a set."""
        if not (is_rows or self._sent.setof):
            return [value]
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise TypeError(
                f"{self.label}: {reprlib.repr(value)} is no list of rows, which is "
                "what a set-returning function answers"
            )
        return value

    def _texts(self, row: Any) -> Texts:
        try:
            return [
                self._values.dump(type, value)
                for type, value in zip(self._sent.types, self._items(row), strict=True)
            ]
        except (TypeError, ValueError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"{self.label}: the answer {error}") from None

    def _items(self, row: Any) -> Sequence[Any]:
        """Return the columns of a row in declared order. None is a row of NULLs."""
        names = self._sent.columns
        if names is None:
            return [row]
        if row is None:
            return [None] * len(names)
        if isinstance(row, Mapping):
            if row.keys() == set(names):
                return [row[name] for name in names]
        elif set(names) <= _fields(row):
            return [getattr(row, name) for name in names]
        elif isinstance(row, (tuple, list)) and len(row) == len(names):
            return row
        shown = reprlib.repr(row)
        raise TypeError(f"{shown} is no row of the columns {', '.join(names)}")


def _fields(row: Any) -> set[str]:
    """Return the fields of a dataclass or a NamedTuple."""
    if dataclasses.is_dataclass(row):
        return {field.name for field in dataclasses.fields(row)}
    return set(getattr(row, "_fields", ()) if isinstance(row, tuple) else ())


def untyped(rows: Sequence[Any], values: Values) -> Rowset:
    """Return rows of SQL that nobody declared: mappings from column to value.

    Types are those of the values. Raise TypeError or ValueError.
    """
    names: list[str] = []
    for row in rows:
        if not isinstance(row, Mapping) or (names and list(row) != names):
            raise TypeError(
                f"{reprlib.repr(row)}: rows of a statement are mappings, all with the "
                "same columns"
            )
        names = list(row)
    oids = []
    for name in names:
        known = (values.oid_of(row[name]) for row in rows if row[name] is not None)
        oid = next(known, TEXT_OID)
        oids.append(TEXT_OID if oid == UNKNOWN_OID else oid)
    columns = list(map(Column, names, oids))
    texts = [[values.dump_any(row[name]) for name in names] for row in rows]
    return Rowset(columns, iter(texts))
