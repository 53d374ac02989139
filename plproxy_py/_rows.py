"""A result of libpq's → rows, through psycopg's adapters.

A column of the declared type goes through psycopg's loader. One of another type, which
an explicit SELECT may bring, is read from its text as the declared type's input
function would: '12' for a declared int4 becomes 12, and '1_2' is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import AdaptersMap, PyFormat, Transformer

from plproxy_py import values
from plproxy_py._links import Link
from plproxy_py._scalars import OutOfRange
from plproxy_py.errors import ColumnMismatch, ResultError
from plproxy_py.function import Opaque
from plproxy_py.pgtypes import PgType
from plproxy_py.result import Answer, MakeRow, row_class

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

TEXT = psycopg.pq.Format.TEXT
TEXT_OID = 25

Reader = Callable[[Any], Any]
KeyOf = Callable[[bytes | None], Any]
Load = Callable[["PGresult"], list[Any]]


class _Dumping:
    """psycopg's AdaptContext for parameters, which belong to no connection yet."""

    def __init__(self, adapters: AdaptersMap) -> None:
        self.adapters = adapters
        self.connection = None


def dump_params(
    params: Sequence[bytes | Opaque | None],
    adapters: AdaptersMap,
    name: Callable[[int], str],
) -> list[bytes | None]:
    """Return the parameters as text; ``name`` says which is which, from 0.

    Raise TypeError where no adapter knows a value, ValueError where it can't be sent.
    """
    transformer = Transformer(_Dumping(adapters))
    dumped: list[bytes | None] = []
    for number, param in enumerate(params):
        if isinstance(param, Opaque):
            value: Any = param.value
            try:
                dumper = transformer.get_dumper(value, PyFormat.TEXT)
                data = dumper.dump(value)
            except psycopg.ProgrammingError:
                raise TypeError(
                    f"{name(number)}: no adapter knows {type(value).__name__}; "
                    "register one in router.adapters, or pass the text that "
                    "PostgreSQL reads"
                ) from None
            except Exception:
                # Their texts quote the value; its own methods may raise anything.
                raise ValueError(
                    f"{name(number)}: a value of type {type(value).__name__} that "
                    "can't be sent: NUL, a lone surrogate, or items that don't go "
                    "together"
                ) from None
            dumped.append(None if data is None else bytes(data))
        else:
            dumped.append(param)
    return dumped


def check_rows(result: PGresult) -> None:
    """Raise `ColumnMismatch` for the result of a statement that returns no rows."""
    if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
        raise ColumnMismatch("the statement returned no rows")


def load_rows(
    link: Link, result: PGresult, answer: Answer | None, make_row: MakeRow | None = None
) -> list[Any]:
    """Return a result's rows, made by the answer's ``make_row``, or as they came.

    ``make_row``: in place of the answer's. Raise `ColumnMismatch` for other columns
    than declared, `ResultError` for a value that Python can't hold.
    """
    if result.ntuples == 0:
        # PL/Proxy looks at columns with the first row only, and callers rely on it.
        return []
    if answer is None:
        names = tuple(_names(result))
        answer = Answer(names, (), row_class(names), setof=True)
    return _loader(link, result, answer, make_row or answer.make_row)(result)


def load_cached(link: Link, result: PGresult, answer: Answer, sql: bytes) -> list[Any]:
    """Return the rows of a prepared statement, whose columns are always the same.

    Raise as `load_rows` does.
    """
    if not result.ntuples:
        return []
    known = link.prepared.loaders.get(sql)
    if known is None or known[0] is not answer or known[2] != link.adapters.version:
        load = _loader(link, result, answer, answer.make_row)
        known = link.prepared.loaders[sql] = answer, load, link.adapters.version
    rows: list[Any] = known[1](result)
    return rows


def one_answer(link: Link, result: PGresult, answer: Answer, sql: bytes) -> Any:
    """Return the answer that one partition's rows are, by a prepared statement.

    Raise as `load_rows`, `Answer.check_count` and `Answer.collect` do.
    """
    count = result.ntuples
    if count == 1 and not answer.setof:
        rows = load_cached(link, result, answer, sql)
        if rows[0] is not None or answer.nullable:
            return rows[0]
        return answer.collect((rows,))
    answer.check_count(count)
    return answer.collect((load_cached(link, result, answer, sql),))


def _loader(link: Link, result: PGresult, answer: Answer, make_row: MakeRow) -> Load:
    """Return what makes rows of this result, and of those with the same columns."""
    positions = answer.positions(_names(result))
    transformer = Transformer(link)
    transformer.set_pgresult(result, set_loaders=False)
    oids, readers = _readers(result, answer.types, positions, link.adapters)
    transformer.set_loader_types(oids, TEXT)

    set_result, load = transformer.set_pgresult, transformer.load_rows
    is_in_place = positions is None and not readers
    loaded = make_row if is_in_place else tuple

    def rows_of(result: PGresult) -> list[Any]:
        set_result(result, set_loaders=False)
        try:
            rows: list[Any] = load(0, result.ntuples, loaded)
        except (psycopg.Error, ValueError, ArithmeticError) as error:
            raise ResultError(
                f"a value that Python can't hold: {error}; an adapter registered in "
                "router.adapters can"
            ) from None
        if is_in_place:
            return rows
        if readers:
            rows = [_read(row, readers) for row in rows]
        if positions is None:
            return [make_row(row) for row in rows]
        return [make_row([row[position] for position in positions]) for row in rows]

    return rows_of


def load_keyed(
    link: Link, result: PGresult, answer: Answer, keys: Sequence[tuple[int, KeyOf]]
) -> list[tuple[tuple[Any, ...], Sequence[Any]]]:
    """Return a result's rows as (keys, values in declared order).

    ``keys``: positions of declared columns, and what makes a key of a column's text.
    Raise as `load_rows` does.
    """
    rows = load_rows(link, result, answer, tuple)
    if not rows:
        return []
    positions = answer.positions(_names(result))
    places = [
        (column if positions is None else positions[column], key)
        for column, key in keys
    ]
    value = result.get_value
    try:
        return [
            (tuple([key(value(number, place)) for place, key in places]), row)
            for number, row in enumerate(rows)
        ]
    except (ValueError, ArithmeticError) as error:
        raise ResultError(f"a value that can't be compared: {error}") from None


def width(result: PGresult) -> int:
    """Return how many bytes the first row has."""
    columns = range(result.nfields)
    return sum(len(result.get_value(0, column) or b"") for column in columns)


def has_row(result: PGresult, setof: bool) -> bool:
    """Whether there is a row; one that is all NULL is none unless ``setof``."""
    if setof or not result.ntuples:
        return result.ntuples > 0
    columns = range(result.nfields)
    return any(result.get_value(0, column) is not None for column in columns)


def _names(result: PGresult) -> list[str]:
    return [(result.fname(column) or b"").decode() for column in range(result.nfields)]


def _readers(
    result: PGresult,
    types: Sequence[PgType],
    positions: Sequence[int] | None,
    adapters: AdaptersMap,
) -> tuple[list[int], dict[int, Reader]]:
    """Return each column's type to load it by, and readers by position.

    A reader is for a column of another type than declared. PL/Proxy gives the text
    that came to the declared type's input function; a codec reads it as strictly.
    Raise `ColumnMismatch` where only a server could.
    """
    oids = [result.ftype(column) for column in range(result.nfields)]
    readers: dict[int, Reader] = {}
    for place, type in enumerate(types):
        column = place if positions is None else positions[place]
        info = adapters.types.get(type.name.strip('"'))
        declared = info and (info.array_oid if type.is_array else info.oid)
        if not declared or oids[column] == declared or type.name == "void":
            continue
        codec = values.codec(type)
        if type.name in ("json", "jsonb"):
            oids[column] = declared
        elif codec is None or type.name == "interval":
            came = adapters.types.get(oids[column])
            raise ColumnMismatch(
                f"{type.cast} is declared and {came.name if came else 'another type'} "
                "came, which only a server can turn into it: cast it in the SELECT"
            )
        else:
            readers[column] = codec.normal
            if not type.is_array:
                oids[column] = TEXT_OID
    return oids, readers


def _read(row: Sequence[Any], readers: Mapping[int, Reader]) -> list[Any]:
    loaded = list(row)
    for column, read in readers.items():
        if loaded[column] is not None:
            try:
                loaded[column] = read(loaded[column])
            except (TypeError, ValueError) as error:
                sqlstate = "22003" if isinstance(error, OutOfRange) else "22P02"
                raise ResultError(
                    f"a value that is none of its declared type: {error}",
                    sqlstate=sqlstate,
                ) from None
    return loaded
