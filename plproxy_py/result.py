"""From the partitions' rows to the one answer that the caller gets.

Columns are matched by name, the row that a caller sees is made by one function
chosen at declaration, and the one-row rule of functions that are not set-returning
is applied to the rows of all partitions together. Knows no connection: rows arrive
as sequences of Python values.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from plproxy_py._record import record
from plproxy_py.errors import ColumnMismatch, NoDataFound, ResultError, TooManyRows
from plproxy_py.pgtypes import PgType
from plproxy_py.signature import Columns

MakeRow = Callable[[Sequence[Any]], Any]


class Row(tuple[Any, ...]):
    """A row: a tuple whose columns are attributes where their name allows it.

    ``row["any name"]`` always works; ``_fields`` and ``_asdict()`` are a namedtuple's.
    """

    __module__ = "plproxy_py"
    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]] = ()

    if TYPE_CHECKING:
        # Columns are attributes of the class that is made for them.
        def __getattr__(self, name: str) -> Any: ...

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            try:
                return tuple.__getitem__(self, self._fields.index(key))
            except ValueError:
                raise KeyError(key) from None
        return tuple.__getitem__(self, key)

    def _asdict(self) -> dict[str, Any]:
        """Return the columns as a dict, in order."""
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        columns = zip(self._fields, self, strict=True)
        return f"Row({', '.join(f'{name}={value!r}' for name, value in columns)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle_row, (self._fields, tuple(self))


@functools.lru_cache(maxsize=1024)
def row_class(columns: tuple[str, ...]) -> type[Row]:
    """Return the Row class for these columns; it makes a row of any sequence."""
    attributes: dict[str, Any] = {"_fields": columns, "__slots__": ()}
    for position, name in enumerate(columns):
        if name.isidentifier() and not name.startswith("_"):
            attributes.setdefault(
                name, property(functools.partial(_column, position=position))
            )
    return type("Row", (Row,), attributes)


def _column(row: Row, position: int) -> Any:
    return tuple.__getitem__(row, position)


def _unpickle_row(columns: tuple[str, ...], values: tuple[Any, ...]) -> Row:
    return row_class(columns)(values)


scalar_row: MakeRow = operator.itemgetter(0)


@record
class Answer:
    """The declared shape of what a call returns.

    ``columns`` names a record's columns, None is a scalar or void; ``types`` are the
    declared ones, by position. ``make_row`` takes the columns in declared order.
    ``optional``: no row is None. ``nullable``: a row may be NULL. ``stream``: rows are
    given as they come. ``partial``: what there is, where partitions are missing.
    """

    columns: tuple[str, ...] | None
    types: tuple[PgType, ...]
    make_row: MakeRow
    setof: bool
    optional: bool = False
    nullable: bool = True
    stream: bool = False
    partial: bool = False

    @property
    def void(self) -> bool:
        """Whether there is nothing to return."""
        return self.types[0].name == "void"

    def positions(self, names: Sequence[str]) -> tuple[int, ...] | None:
        """Return where each declared column stands among ``names``.

        None means: all in place. A column in its own place wins, else the first of
        that name. Raise `ColumnMismatch`.
        """
        if self.columns is None:
            if len(names) != 1:
                raise ColumnMismatch(f"one column expected, {len(names)} came")
            return None
        if len(names) != len(self.columns):
            raise ColumnMismatch(
                f"{len(self.columns)} columns expected, {len(names)} came"
            )
        if tuple(names) == self.columns:
            return None
        return tuple(self._positions(names))

    def _positions(self, names: Sequence[str]) -> Iterator[int]:
        assert self.columns is not None
        for place, name in enumerate(self.columns):
            if names[place] == name:
                yield place
            elif name in names:
                yield list(names).index(name)
            else:
                raise ColumnMismatch(
                    f"column {name!r} is missing, what came is {', '.join(names)}"
                )

    def check_count(self, count: int) -> None:
        """Apply the one-row rule. Raise `NoDataFound` or `TooManyRows`."""
        if self.setof or count == 1 or (count == 0 and self.optional):
            return
        kind = NoDataFound if count == 0 else TooManyRows
        raise kind(f"a function that is not set-returning gives 1 row, got {count}")

    def collect(self, partitions: Sequence[Sequence[Any]]) -> Any:
        """Return the caller's answer from the made rows of each partition."""
        if self.setof:
            rows = [row for rows in partitions for row in rows]
            if not self.nullable and any(row is None for row in rows):
                raise self._null()
            return rows
        for answered in partitions:
            if answered:
                if answered[0] is None and not self.nullable:
                    raise self._null()
                return answered[0]
        return None

    def _null(self) -> ResultError:
        return ResultError(
            "NULL came for a result whose hint does not allow it; write `| None`",
            sqlstate="22004",
        )


def record_answer(
    columns: Columns, *, setof: bool, make_row: MakeRow | None = None
) -> Answer:
    """Return the shape of a record whose rows are `Row`, or what ``make_row`` makes."""
    names = tuple(name for name, _ in columns)
    types = tuple(type for _, type in columns)
    return Answer(names, types, make_row or row_class(names), setof)


def scalar_answer(type: PgType, *, setof: bool) -> Answer:
    """Return the shape of a single value, or of void, which is always None."""
    make_row = _void_row if type.name == "void" else scalar_row
    return Answer(None, (type,), make_row, setof)


def any_answer() -> Answer:
    """Return the shape of whatever a callable of the user's may make."""
    return Answer(None, (PgType("anyelement"),), scalar_row, False, optional=True)


def _void_row(values: Sequence[Any]) -> None:
    return None
