"""ORDER BY over partitions: each sorts its own rows, and they are merged here.

A sort key is read once, where a function is declared, and gives both the SQL that the
partitions sort by and the Python key that their rows are merged by. Source: PostgreSQL
parser/gram.y, ``sortby``; parser/parse_clause.c, ``findTargetlistEntrySQL92``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from plproxy_py._record import record
from plproxy_py.comparison import Key, comparable, read_collation
from plproxy_py.errors import ResultError, SignatureError
from plproxy_py.language.sqltokens import Cursor, Kind, shorten, tokenize
from plproxy_py.pgtypes import PgType, quote_identifier
from plproxy_py.signature import Columns

T = TypeVar("T")

SCALAR_COLUMN = "r"
"""What the generated query calls a scalar result."""


class OutOfOrder(ResultError):
    """A source is not in the order of its keys.

    ``source`` counts from 0; ``row``, from 1, is the first that sorts before the one
    that came before it.
    """

    def __init__(
        self, *args: object, source: int = 0, row: int = 0, **context: Any
    ) -> None:
        super().__init__(*args, **context)
        self.source = source
        self.row = row


@record
class SortKey:
    """One item of ORDER BY.

    ``column`` is a position among the declared columns, ``sql`` the item as the
    partitions get it. ``key`` takes a wire text or None for NULL; tuples of all keys
    in ascending order are the wanted order.
    """

    column: int
    sql: str
    key: Callable[[bytes | None], Any]


@record
class _Direction:
    """``key`` → a tuple that NULLs sort before or behind, as DESC and NULLS say."""

    key: Key
    descending: bool
    nulls_first: bool

    def __call__(self, text: bytes | None) -> tuple[Any, ...]:
        if text is None:
            return (not self.nulls_first,)
        key = self.key(text)
        return (self.nulls_first, _Descending(key) if self.descending else key)


class _Descending:
    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.key == other.key)

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.key < self.key)


def parse_order_by(
    order_by: Sequence[str], columns: Columns | PgType, names: Sequence[str] = ()
) -> tuple[SortKey, ...]:
    """Return the keys of items such as ``created desc nulls last`` or ``1``.

    ``columns``: a record's columns, or a scalar's type, whose name is ``r``; ``names``
    are others that it has. Raise `SignatureError`, naming the item, for what
    PostgreSQL refuses and for an order that can't be told here.
    """
    if not order_by:
        raise SignatureError("order_by: no item is in it")
    if isinstance(columns, PgType):
        columns = ((SCALAR_COLUMN, columns),)
    else:
        names = ()
    keys: list[SortKey] = []
    for item in order_by:
        subject = f"order_by {shorten(item)!r}: "
        cursor = tokenize(item, SignatureError, subject)
        key = _read_item(cursor, columns, names, subject)
        if any(key.column == other.column for other in keys):
            raise SignatureError(f"{subject}the column stands there already")
        keys.append(key)
    return tuple(keys)


def _read_item(
    cursor: Cursor, columns: Columns, names: Sequence[str], subject: str
) -> SortKey:
    start = cursor.peek()
    wanted = cursor.take().text if start.kind is Kind.NUMBER else cursor.label()
    if wanted in names:
        wanted = SCALAR_COLUMN
    collation = read_collation(cursor)
    descending = cursor.accept("desc")
    if not descending:
        cursor.accept("asc")
    nulls_first = descending
    if cursor.accept("nulls"):
        nulls_first = cursor.accept("first")
        if not nulls_first:
            cursor.expect("last")
    if cursor.peek().kind is not Kind.END:
        cursor.refuse(
            "behind a column stand COLLATE, ASC or DESC, NULLS FIRST or LAST, and no "
            f"{shorten(cursor.peek().text)!r}; for any other order let the function "
            "return a sort key"
        )
    if start.kind is Kind.NUMBER:
        column = _numbered(cursor, wanted, columns)
    else:
        column = _named(cursor, wanted, columns)
    name, type = columns[column]
    try:
        key = comparable(type, collation)
    except SignatureError as error:
        raise SignatureError(f"{subject}{error}", token=name) from None
    sql = quote_identifier(name)
    if collation is not None:
        # An expression's names are the function's columns, before they are cast.
        sql = f"{sql}::{type.declared} COLLATE {quote_identifier(collation)}"
    if descending:
        sql += " DESC"
    if nulls_first != descending:
        sql += " NULLS FIRST" if nulls_first else " NULLS LAST"
    return SortKey(column, sql, _Direction(key, descending, nulls_first))


def _numbered(cursor: Cursor, number: str, columns: Columns) -> int:
    places = {str(place): place - 1 for place in range(1, len(columns) + 1)}
    if number not in places:
        cursor.refuse(f"{number} is none of the columns' numbers, 1 to {len(columns)}")
    return _named(cursor, columns[places[number]][0], columns)


def _named(cursor: Cursor, name: str, columns: Columns) -> int:
    names = [other for other, _ in columns]
    if name not in names:
        listed = ", ".join(map(quote_identifier, names)) or "none"
        cursor.refuse(f'column "{name}" does not exist; there are: {listed}')
    if names.count(name) > 1:
        cursor.refuse(f'column "{name}" is ambiguous')
    return names.index(name)


def merged(
    sources: Sequence[Iterable[tuple[tuple[Any, ...], T]]],
) -> Iterator[T]:
    """Yield the rows of (key, row) sources in the order of their keys.

    Of equal keys, the rows of the first source come first, all of them. Each source
    is read one row ahead. Raise `OutOfOrder` at the first row of a source that sorts
    before the one behind which it came; that one is not yielded.
    """
    heads: list[tuple[tuple[Any, ...], int, T]] = []
    readers = [iter(source) for source in sources]
    rows = [1] * len(readers)
    for source, reader in enumerate(readers):
        for key, row in islice(reader, 1):
            heads.append((key, source, row))
    # No two entries have one source, so rows are never compared.
    heapq.heapify(heads)
    while heads:
        key, source, row = heads[0]
        following = next(readers[source], None)
        if following is None:
            heapq.heappop(heads)
        else:
            rows[source] += 1
            if following[0] < key:
                raise OutOfOrder(
                    f"row {rows[source]} of source {source} sorts before the row that "
                    "it came behind: its server sorts otherwise than the others",
                    source=source,
                    row=rows[source],
                )
            heapq.heapreplace(heads, (following[0], source, following[1]))
        yield row


def window(rows: Iterable[T], offset: int, limit: int | None) -> Iterator[T]:
    """Return the rows that OFFSET and LIMIT leave; what is behind is never asked for.

    Both are from 0 to 2**63-1; ``limit`` None is all.
    """
    return islice(islice(rows, offset, None), limit)
