"""A result of libpq's → rows, through psycopg's adapters.

Values are loaded by their declared type where that is one of PostgreSQL's own, so that
a text '12' for a declared int4 becomes 12, and by the type that came otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import AdaptersMap, PyFormat, Transformer

from plproxy_py._links import Link
from plproxy_py.errors import ColumnMismatch, ResultError
from plproxy_py.function import Opaque
from plproxy_py.pgtypes import PgType
from plproxy_py.result import Answer, row_class

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

TEXT = psycopg.pq.Format.TEXT


class _Dumping:
    """psycopg's AdaptContext for parameters, which belong to no connection yet."""

    def __init__(self, adapters: AdaptersMap) -> None:
        self.adapters = adapters
        self.connection = None


def dump_params(
    params: Sequence[bytes | Opaque | None], adapters: AdaptersMap
) -> list[bytes | None]:
    """Return the parameters as text. Raise TypeError where no adapter knows a value."""
    transformer = Transformer(_Dumping(adapters))
    dumped: list[bytes | None] = []
    for param in params:
        if isinstance(param, Opaque):
            value: Any = param.value
            try:
                dumper = transformer.get_dumper(value, PyFormat.TEXT)
                data = dumper.dump(value)
            except psycopg.ProgrammingError:
                raise TypeError(
                    f"no adapter knows {type(value).__name__}; register one in "
                    "router.adapters, or pass the text that PostgreSQL reads"
                ) from None
            dumped.append(None if data is None else bytes(data))
        else:
            dumped.append(param)
    return dumped


def check_rows(result: PGresult) -> None:
    """Raise `ColumnMismatch` for the result of a statement that returns no rows."""
    if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
        raise ColumnMismatch("the statement returned no rows")


def load_rows(link: Link, result: PGresult, answer: Answer | None) -> list[Any]:
    """Return a result's rows, made by the answer's ``make_row``, or as they came.

    Raise `ColumnMismatch` for other columns than declared, `ResultError` for a value
    that Python can't hold.
    """
    count = result.ntuples
    if count == 0:
        # PL/Proxy looks at columns with the first row only, and callers rely on it.
        return []
    names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
    if answer is None:
        answer = Answer(tuple(names), (), row_class(tuple(names)), setof=True)
    positions = answer.positions(names)
    transformer = Transformer(link)
    transformer.set_pgresult(result, set_loaders=False)
    types = _loader_types(result, answer.types, positions, link.adapters)
    transformer.set_loader_types(types, TEXT)
    make_row = answer.make_row
    try:
        if positions is None:
            return transformer.load_rows(0, count, make_row)
        rows = transformer.load_rows(0, count, tuple)
    except (psycopg.Error, ValueError, ArithmeticError) as error:
        if types != [result.ftype(column) for column in range(result.nfields)]:
            # Another type came than was declared, and not a text of that.
            raise ResultError(
                f"a value that is none of its declared type: {error}", sqlstate="22P02"
            ) from None
        raise ResultError(
            f"a value that Python can't hold: {error}; an adapter registered in "
            "router.adapters can"
        ) from None
    return [make_row([row[position] for position in positions]) for row in rows]


def _loader_types(
    result: PGresult,
    types: Sequence[PgType],
    positions: Sequence[int] | None,
    adapters: AdaptersMap,
) -> list[int]:
    oids = [result.ftype(column) for column in range(result.nfields)]
    for place, type in enumerate(types):
        info = adapters.types.get(type.name.strip('"'))
        if info is not None:
            column = place if positions is None else positions[place]
            oids[column] = info.array_oid if type.is_array else info.oid
    return oids
