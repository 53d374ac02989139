"""The SELECT that is sent, and which argument feeds which ``$n``."""

from __future__ import annotations

import pytest

from plproxy_py.language.body import Expression
from plproxy_py.language.parser import Keyword, parse_statement
from plproxy_py.pgtypes import PgType
from plproxy_py.query import (
    WINDOW,
    RemoteQuery,
    automatic_query,
    dynamic_query,
    explicit_query,
    home_query,
    home_split_query,
    windowed,
)
from plproxy_py.signature import (
    VOID,
    Columns,
    Dynamic,
    Record,
    Scalar,
    Void,
    parse_columns,
    parse_signature,
)


def columns_of(text: str, columns: Columns = ()) -> Columns | PgType:
    match parse_signature(text).shape(columns):
        case Record(found) | Dynamic(found):
            return found
        case Scalar(type):
            return type
        case Void():
            return VOID


# PL/Proxy's own rows, but that OUT columns keep their modifiers; SELECT and FROM are
# in capitals and arguments have a blank between them.
@pytest.mark.parametrize(
    ("signature", "sql"),
    [
        (
            "get_data(IN first_name text, IN last_name text, OUT bdate date,"
            " OUT balance numeric(20,10))",
            "SELECT bdate::date, balance::numeric(20,10)"
            " FROM public.get_data($1::text, $2::text)",
        ),
        (
            "f_scalar(a int4, b varchar(10), c numeric(5,2)) returns varchar(10)",
            "SELECT r::varchar(10)"
            " FROM public.f_scalar($1::int4, $2::varchar, $3::numeric) r",
        ),
        ("f_noargs() returns int", "SELECT r::int4 FROM public.f_noargs() r"),
        (
            "f_setof(a int) returns setof text",
            "SELECT r::text FROM public.f_setof($1::int4) r",
        ),
        (
            "f_out1(a int, out x numeric(10,2))",
            "SELECT r::numeric(10,2) FROM public.f_out1($1::int4) r",
        ),
        (
            "f_table1(a int) returns table(x int)",
            "SELECT r::int4 FROM public.f_table1($1::int4) r",
        ),
        (
            "f_table(a int) returns table(x int, y text)",
            "SELECT x::int4, y::text FROM public.f_table($1::int4)",
        ),
        (
            'f_out2(a int, out x numeric(10,2), inout y text, out "Z z" s2.mood)',
            'SELECT x::numeric(10,2), y::text, "Z z"::s2.mood'
            " FROM public.f_out2($1::int4, $2::text)",
        ),
        ("f_void(a int) returns void", "SELECT r::void FROM public.f_void($1::int4) r"),
        (
            '"My Schema"."Fn Name"(s2.mood, s2.mood[], "char", char(5), bit(4), '
            "timestamptz) returns s2.mood[]",
            'SELECT r::s2.mood[] FROM "My Schema"."Fn Name"($1::s2.mood, $2::s2.mood[],'
            ' $3::"char", $4::bpchar, $5::"bit", $6::timestamptz) r',
        ),
        (
            '"w""q"(out "A""b" text, out "select" int)',
            'SELECT "A""b"::text, "select"::int4 FROM public."w""q"()',
        ),
    ],
)
def test_automatic(signature: str, sql: str) -> None:
    query = automatic_query(parse_signature(signature), columns_of(signature))
    assert query.sql.decode() == sql
    assert query.feeds == tuple(range(len(parse_signature(signature).inputs)))


@pytest.mark.parametrize("target", ["other.fn", "other . fn", "OtherFn", "é"])
def test_target_stands_verbatim(target: str) -> None:
    query = automatic_query(parse_signature("f(int, text)"), PgType("int4"), target)
    assert query.sql.decode() == f"SELECT r::int4 FROM {target}($1::int4, $2::text) r"
    assert query.feeds == (0, 1)


@pytest.mark.parametrize(
    ("target", "sql"),
    [
        (
            None,
            'SELECT id::int4, "B"::varchar(3)[] FROM public.f($1::int4, $2::text)'
            ' AS (id int4, "B" varchar(3)[])',
        ),
        (
            "g . h",
            'SELECT id::int4, "B"::varchar(3)[] FROM g . h($1::int4, $2::text)'
            ' AS (id int4, "B" varchar(3)[])',
        ),
    ],
)
def test_records_whose_columns_are_listed(target: str | None, sql: str) -> None:
    columns = parse_columns('id int, "B" varchar(3)[]')
    query = dynamic_query(parse_signature("f(int, text)"), columns, target)
    assert query.sql.decode() == sql
    assert query.feeds == (0, 1)


TYPES = [
    PgType("int4"),
    PgType("varchar", "(3)"),
    PgType("int4", is_array=True),
    PgType("text", is_array=True),
]


def parsed(keyword: Keyword, text: str) -> Expression:
    """Return a statement's expression: (a int4, b varchar(3), c int4[], d text[])."""
    names, arrays = ["a", "b", "c", "d"], [False, False, True, True]
    expression = parse_statement(keyword, text, names, arrays)
    assert isinstance(expression, Expression)
    return expression


@pytest.mark.parametrize(
    ("select", "sql", "feeds"),
    [
        # over (a int4, b varchar, c int4[])
        ("1", "SELECT 1", ()),
        ("a, $1, A", "SELECT $1::int4, $1::int4, $1::int4", (0,)),
        ("b, a, b", "SELECT $1::varchar, $2::int4, $1::varchar", (1, 0)),
        ("c, 'a', \"a\", x.a", "SELECT $1::int4[], 'a', \"a\", x.a", (2,)),
        ("a % 2, $$?%s$$", "SELECT $1::int4 % 2, $$?%s$$", (0,)),
    ],
)
def test_explicit(select: str, sql: str, feeds: tuple[int, ...]) -> None:
    query = explicit_query(parsed("SELECT", f"SELECT {select}"), TYPES)
    assert query.sql.decode() == sql
    assert query.feeds == feeds


def test_what_home_is_asked() -> None:
    """Prefix and expression, a WHERE behind the call with it."""
    query = home_query("SELECT * FROM ", parsed("RUN ON", "f(b, a) WHERE b > 1"), TYPES)
    assert query.sql == b"SELECT * FROM f($1::varchar, $2::int4) WHERE $1::varchar > 1"
    assert query.feeds == (1, 0)


@pytest.mark.parametrize(
    ("text", "split", "sql", "feeds"),
    [
        (
            "f(c)",
            (2,),
            "SELECT split_row.number, q.* FROM (SELECT generate_series(1, "
            "cardinality($1::int4[])) AS number, unnest($1::int4[]) AS e2) "
            "AS split_row, LATERAL (SELECT row_number() OVER (), s.* FROM "
            "(SELECT * FROM f(split_row.e2)) AS s) AS q ORDER BY 1, 2",
            (2,),
        ),
        (
            "f(b, c, d) WHERE b > 1",
            (3, 2),
            "SELECT split_row.number, q.* FROM (SELECT generate_series(1, "
            "cardinality($1::text[])) AS number, unnest($1::text[]) AS e3, "
            "unnest($2::int4[]) AS e2) AS split_row, LATERAL (SELECT row_number() "
            "OVER (), s.* FROM (SELECT * FROM f($3::varchar, split_row.e2, "
            "split_row.e3) WHERE $3::varchar > 1) AS s) AS q ORDER BY 1, 2",
            (3, 2, 1),
        ),
    ],
)
def test_what_home_is_asked_of_split_arrays(
    text: str, split: tuple[int, ...], sql: str, feeds: tuple[int, ...]
) -> None:
    """All rows in one question; elements in their arguments' place."""
    query = home_split_query("SELECT * FROM ", parsed("RUN ON", text), TYPES, split)
    assert query.sql.decode() == sql
    assert query.feeds == feeds


@pytest.mark.parametrize(
    ("order", "limited", "subquery", "sql", "feeds"),
    [
        ([], False, None, "SELECT $1::varchar", (1,)),
        (["a DESC", "b"], False, None, "SELECT $1::varchar ORDER BY a DESC, b", (1,)),
        ([], True, None, "SELECT $1::varchar LIMIT $2::int8", (1, WINDOW)),
        (
            ["r"],
            True,
            "q(r)",
            "SELECT * FROM (SELECT $1::varchar\n) AS q(r) ORDER BY r LIMIT $2::int8",
            (1, WINDOW),
        ),
    ],
)
def test_rows_that_partitions_sort_and_count(
    order: list[str],
    limited: bool,
    subquery: str | None,
    sql: str,
    feeds: tuple[int, ...],
) -> None:
    query = windowed(
        RemoteQuery(b"SELECT $1::varchar", (1,)),
        order,
        limited=limited,
        subquery=subquery,
    )
    assert query.sql.decode() == sql
    assert query.feeds == feeds
