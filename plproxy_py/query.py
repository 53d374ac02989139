"""The remote SELECT of a function, and which argument feeds which ``$n``.

SQL is a str before this file and bytes behind it. Arguments are cast without type
modifiers: ``varchar(3)`` would cut a key after it was hashed. OUT columns are cast as
declared, modifiers kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from plproxy_py._record import record
from plproxy_py.language.body import Expression
from plproxy_py.pgtypes import PgType, quote_identifier
from plproxy_py.signature import Columns, Signature

WINDOW = -1
"""In `RemoteQuery.feeds`: the number of rows that OFFSET and LIMIT look at."""


@record
class RemoteQuery:
    """``sql`` with ``$1…$k``; ``feeds[k - 1]`` is the argument's index from 0.

    `WINDOW` in its place is no argument.
    """

    sql: bytes
    feeds: tuple[int, ...]


def automatic_query(
    signature: Signature, columns: Columns | PgType, target: str | None = None
) -> RemoteQuery:
    """Return ``SELECT … FROM function(arguments)``.

    ``columns``: a scalar's type, or a record's columns by name. ``target`` is sent
    verbatim in place of the function's own name, as TARGET says.
    """
    casts = ", ".join(
        f"${number}::{argument.type.cast}"
        for number, argument in enumerate(signature.inputs, 1)
    )
    call = f"{target or signature.qname}({casts})"
    if isinstance(columns, PgType):
        sql = f"SELECT r::{columns.declared} FROM {call} r"
    else:
        outputs = ", ".join(
            f"{quote_identifier(name)}::{type.declared}" for name, type in columns
        )
        sql = f"SELECT {outputs} FROM {call}"
    return RemoteQuery(sql.encode(), tuple(range(len(signature.inputs))))


def dynamic_query(
    signature: Signature, columns: Columns, target: str | None = None
) -> RemoteQuery:
    """Return the query of a function that returns ``record``, its columns listed."""
    plain = automatic_query(signature, columns, target)
    listed = ", ".join(
        f"{quote_identifier(name)} {type.declared}" for name, type in columns
    )
    return RemoteQuery(plain.sql + f" AS ({listed})".encode(), plain.feeds)


def explicit_query(select: Expression, types: Sequence[PgType]) -> RemoteQuery:
    """Return a SELECT statement of the body, its arguments numbered as they appear."""
    feeds: dict[int, int] = {}

    def placeholder(index: int) -> str:
        number = feeds.setdefault(index, len(feeds) + 1)
        return f"${number}::{types[index].cast}"

    sql = select.sql(placeholder)
    return RemoteQuery(sql.encode(), tuple(feeds))


def windowed(
    query: RemoteQuery,
    order: Sequence[str],
    *,
    limited: bool,
    subquery: str | None = None,
) -> RemoteQuery:
    """Return a query whose rows the partitions sort, and of which they send the first.

    ``order``: items of ORDER BY. ``limited``: LIMIT is one more parameter, `WINDOW`.
    ``subquery``: what the query is called inside another, None to stand by itself.
    """
    sql, feeds = query.sql, query.feeds
    if subquery is not None:
        # The text may have an ORDER BY of its own, and end in a comment.
        sql = b"SELECT * FROM (" + sql + f"\n) AS {subquery}".encode()
    if order:
        sql += f" ORDER BY {', '.join(order)}".encode()
    if limited:
        feeds = (*feeds, WINDOW)
        sql += f" LIMIT ${len(feeds)}::int8".encode()
    return RemoteQuery(sql, feeds)


def home_query(
    prefix: str, expression: Expression, types: Sequence[PgType]
) -> RemoteQuery:
    """Return ``prefix`` and an expression, to be asked at home."""
    query = explicit_query(expression, types)
    return RemoteQuery(prefix.encode() + query.sql, query.feeds)


def home_split_query(
    prefix: str, expression: Expression, types: Sequence[PgType], split: Sequence[int]
) -> RemoteQuery:
    """Return the query that hashes all elements of split arrays in one round trip.

    Its rows are (row number from 1, number of the hash, hash) in order; split
    arguments stand for their elements inside the expression.
    """
    feeds: dict[int, int] = {index: n for n, index in enumerate(split, 1)}

    def placeholder(index: int) -> str:
        if index in split:
            return f"split_row.e{index}"
        number = feeds.setdefault(index, len(feeds) + 1)
        return f"${number}::{types[index].cast}"

    asked = prefix + expression.sql(placeholder)
    arrays = [f"${feeds[index]}::{types[index].cast}" for index in split]
    # In FROM, unnest would make a column of each field of a composite.
    elements = ", ".join(
        f"unnest({array}) AS e{index}"
        for array, index in zip(arrays, split, strict=True)
    )
    sql = (
        "SELECT split_row.number, q.* FROM (SELECT generate_series(1, "
        f"cardinality({arrays[0]})) AS number, {elements}) AS split_row, "
        f"LATERAL (SELECT row_number() OVER (), s.* FROM ({asked}) AS s) AS q "
        "ORDER BY 1, 2"
    )
    return RemoteQuery(sql.encode(), tuple(feeds))
