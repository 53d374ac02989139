"""Rows of all partitions → the rows of the whole: merged, combined, or by a callable.

What a function's clauses ask for beyond one partition's rows behind the other's. Rows
come as (keys, values): ``keys`` says which columns' wire texts are needed beside the
loaded values, and what each text is turned into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from itertools import chain
from typing import Any

from plproxy_py._record import record
from plproxy_py.clauses import Clauses
from plproxy_py.combine import Combiner, compile_combine
from plproxy_py.errors import SignatureError
from plproxy_py.ordering import SortKey, merged, parse_order_by
from plproxy_py.pgtypes import PgType, quote_identifier
from plproxy_py.result import Answer
from plproxy_py.signature import VOID, Columns

Keys = tuple[tuple[int, Callable[[bytes | None], Any]], ...]
"""Positions of columns, and what makes a key of a wire text, None for NULL."""

Keyed = Iterable[tuple[tuple[Any, ...], Sequence[Any]]]
"""One partition's rows: keys, and loaded values by declared position."""


@record
class Ordered:
    """ORDER BY: each partition sends its rows in ``order``, and they are merged."""

    order: tuple[SortKey, ...]

    @property
    def keys(self) -> Keys:
        return tuple((key.column, key.key) for key in self.order)

    def rows(self, partitions: Sequence[Keyed]) -> Iterator[Sequence[Any]]:
        """Yield the values of all rows in order; without one, in tag order.

        Raise `OutOfOrder` for a partition whose rows are not in order.
        """
        if self.order:
            return merged(partitions)
        return (values for _, values in chain.from_iterable(partitions))


@record
class Combined:
    """A rule, or one for each column."""

    combiner: Combiner
    keys: Keys = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        keys = tuple((column, _or_none(key)) for column, key in self.combiner.keys)
        object.__setattr__(self, "keys", keys)

    def rows(self, partitions: Sequence[Keyed]) -> Iterator[Sequence[Any]]:
        """Yield the values of the rows that come out. Raise `ResultError`."""
        rows = chain.from_iterable(partitions)
        return iter(self.combiner((values, keys) for keys, values in rows))


@record
class Custom:
    """A Python function that takes the partitions' own answers, in tag order.

    ``each``: the shape of one partition's.
    """

    function: Callable[[list[Any]], Any]
    each: Answer


Gather = Ordered | Combined | Custom


def compile_gather(
    clauses: Clauses,
    columns: Columns | PgType,
    sent: Answer,
    names: Sequence[str] = (),
) -> Gather | None:
    """Return how rows are gathered, None where they are only put together.

    ``columns``: what partitions send, ``sent`` in its own shape; ``names``: what a
    scalar is called. Raise `SignatureError`.
    """
    combine = clauses.combine
    if columns == VOID and clauses.keyword:
        raise SignatureError(f"{clauses.keyword}= is for results, there is but void")
    if combine is None:
        if clauses.of_rows is None:
            return None
        if not clauses.order_by:
            return Ordered(())
        return Ordered(parse_order_by(clauses.order_by, columns, names))
    if callable(combine):
        return Custom(combine, sent)
    try:
        return Combined(compile_combine(combine, clauses.group_by, columns))
    except SignatureError as error:
        raise SignatureError(f"{error}; {partitions_send(columns)}") from None


def partitions_send(columns: Columns | PgType) -> str:
    """Return what to say of columns that combine, or the hint, is at odds with."""
    listed = columns.declared if isinstance(columns, PgType) else _listed(columns)
    return (
        f"partitions send {listed}: the signature as text declares that, the hint what "
        "the caller gets"
    )


def _listed(columns: Columns) -> str:
    named = (f"{quote_identifier(name)} {type.declared}" for name, type in columns)
    return f"({', '.join(named)})"


def _or_none(key: Callable[[bytes], Any]) -> Callable[[bytes | None], Any]:
    return lambda text: None if text is None else key(text)
