"""Spellings of types, as PostgreSQL 15 and 18 resolved them when asked once by hand."""

from __future__ import annotations

import pytest

from plproxy_py.errors import SignatureError
from plproxy_py.language.sqltokens import COLUMN_NAME, RESERVED, TYPE_OR_FUNCTION
from plproxy_py.pgtypes import PgType, parse_type, quote_identifier

# declared, cast of an argument, cast of a result column
SPELLINGS = [
    # the rows of PL/Proxy's own table of names
    ("int", "int4", "int4"),
    ("bigint", "int8", "int8"),
    ("smallint", "int2", "int2"),
    ("boolean", "bool", "bool"),
    ("real", "float4", "float4"),
    ("double precision", "float8", "float8"),
    ("timestamp(3)", "timestamp", "timestamp(3)"),
    ("timestamptz", "timestamptz", "timestamptz"),
    ("time", "time", "time"),
    ("timetz", "timetz", "timetz"),
    ("varchar(10)", "varchar", "varchar(10)"),
    ("char(3)", "bpchar", "bpchar(3)"),
    ('"char"', '"char"', '"char"'),
    ("numeric(5,2)", "numeric", "numeric(5,2)"),
    ("bit(4)", '"bit"', '"bit"(4)'),
    ("bit varying(3)", "varbit", "varbit(3)"),
    ("interval", "interval", "interval"),
    ("int[]", "int4[]", "int4[]"),
    ("numeric(5,1)[]", "numeric[]", "numeric(5,1)[]"),
    ("s2.mood[]", "s2.mood[]", "s2.mood[]"),
    ('s2."Dom 1"[]', 's2."Dom 1"[]', 's2."Dom 1"[]'),
    *((name, name, name) for name in "text name oid jsonb xml bytea date uuid".split()),
    # other words for the same
    ("INTEGER", "int4", "int4"),
    ("int4", "int4", "int4"),
    ("dec", "numeric", "numeric"),
    ("decimal(20,10)", "numeric", "numeric(20,10)"),
    ("numeric(5,-2)", "numeric", "numeric(5,-2)"),
    ("float", "float8", "float8"),
    ("float(1)", "float4", "float4"),
    ("float(24)", "float4", "float4"),
    ("float(25)", "float8", "float8"),
    ("float(53)", "float8", "float8"),
    ("character varying", "varchar", "varchar"),
    ("character varying(10)", "varchar", "varchar(10)"),
    ("char varying(3)", "varchar", "varchar(3)"),
    ("char", "bpchar", "bpchar"),
    ("character(3)", "bpchar", "bpchar(3)"),
    ("nchar(3)", "bpchar", "bpchar(3)"),
    ("nchar varying", "varchar", "varchar"),
    ("national character varying(3)", "varchar", "varchar(3)"),
    ("national char", "bpchar", "bpchar"),
    ("bpchar(3)", "bpchar", "bpchar(3)"),
    ("bit", '"bit"', '"bit"'),
    ('"bit"(4)', '"bit"', '"bit"(4)'),
    ("bit varying", "varbit", "varbit"),
    ("timestamp with time zone", "timestamptz", "timestamptz"),
    ("timestamp(3) with time zone", "timestamptz", "timestamptz(3)"),
    ("timestamp without time zone", "timestamp", "timestamp"),
    ("time(3)", "time", "time(3)"),
    ("time (3) with time zone", "timetz", "timetz(3)"),
    ("time without time zone", "time", "time"),
    ("interval(3)", "interval", "interval(3)"),
    ("interval year", "interval", "interval year"),
    ("INTERVAL YEAR TO MONTH", "interval", "interval year to month"),
    ("interval day to second(3)", "interval", "interval day to second(3)"),
    ("interval second(2)[]", "interval[]", "interval second(2)[]"),
    # arrays
    ("int[3]", "int4[]", "int4[]"),
    ("int[][]", "int4[]", "int4[]"),
    ("int[3] [4]", "int4[]", "int4[]"),
    ("int ARRAY", "int4[]", "int4[]"),
    ("int ARRAY[4]", "int4[]", "int4[]"),
    ("varchar(3)[]", "varchar[]", "varchar(3)[]"),
    ("_int4", "int4[]", "int4[]"),
    ("_text", "text[]", "text[]"),
    ("_varchar(3)", "varchar[]", "varchar(3)[]"),
    ('"char"[]', '"char"[]', '"char"[]'),
    # schemas and quotes
    ("pg_catalog.int4", "int4", "int4"),
    ("PG_CATALOG.TEXT", "text", "text"),
    ("pg_catalog.char", '"char"', '"char"'),
    ("pg_catalog._int4", "int4[]", "int4[]"),
    ("pg_catalog.pg_class", "pg_catalog.pg_class", "pg_catalog.pg_class"),
    ('"int4"', "int4", "int4"),
    ('"Int4"', '"Int4"', '"Int4"'),
    ('"integer"', '"integer"', '"integer"'),
    ("Mood", "mood", "mood"),
    ("public.Mood", "public.mood", "public.mood"),
    ('"My Schema" . "T"', '"My Schema"."T"', '"My Schema"."T"'),
    ('s."a""b"', 's."a""b"', 's."a""b"'),
    ("s.select", 's."select"', 's."select"'),
    ("_mood", "_mood", "_mood"),
    ("public.int4", "public.int4", "public.int4"),
    ("left", '"left"', '"left"'),
    ("É", '"É"', '"É"'),
    ("geography(Point, 4326)", "geography", "geography(Point,4326)"),
    # json is a keyword since PostgreSQL 17, and a type all the same
    ("json", "json", "json"),
    # comments
    ("int /* a /* nested */ one */ [ ] -- end", "int4[]", "int4[]"),
    ("character/**/varying\n(10)", "varchar", "varchar(10)"),
]


@pytest.mark.parametrize(("text", "cast", "declared"), SPELLINGS)
def test_a_type_has_one_normal_form(text: str, cast: str, declared: str) -> None:
    found = parse_type(text)
    assert (found.cast, found.declared, str(found)) == (cast, declared, declared)
    assert parse_type(declared) == found


@pytest.mark.parametrize(
    "text",
    """
    |int int|int banana|1|$1|'int'|$$int$$|"a|int /*|[]|array|int[|int[]]|int[-1]
    |int[1.5]|int[x]|int[٣]|int array[]|int array[4|int[] array|_int4[]|_text array
    |a.b.c|public.|.mood|""|a.""|a.1|int;|select|between|setof int|national|national int
    |precision|varying(|character(3) varying|int(3)|text(3)|int4(3)|date(3)|real(1)
    |double precision(3)|varchar(|varchar()|varchar(3|varchar(x)|varchar('3')|varchar(0)
    |varchar(-3)|varchar(3,4)|varchar(3 4)|varchar(9999999999)|numeric(,)|numeric(5,)
    |numeric(0)|numeric(1001)|numeric(5,-1001)|numeric(1,2,3)|numeric(-)|numeric(-x)|float(0)|float(54)|float(x)
    |time with time|timestamp with|time zone|interval year(3)|interval year to day
    |interval(3) day|interval day to|interval to second|"interval" day|bit varying x
    |"timestamp" with time zone|serial|bigserial|SMALLSERIAL|serial4|serial[]
    |name%TYPE|t.c % type|mood%rowtype|U&"int4"|int\0|t\ud800
    """.replace("\n    ", "").split("|"),
)
def test_what_spells_no_type_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(SignatureError) as caught:
        parse_type(text)
    assert caught.value.sqlstate == "42P13"
    assert caught.value.line == 1


def test_an_error_shows_the_text_and_the_place() -> None:
    with pytest.raises(SignatureError) as caught:
        parse_type("int\nbanana")
    assert str(caught.value) == (
        r"type 'int\nbanana': syntax error at or near \"banana\"".replace('\\"', '"')
    )
    assert (caught.value.line, caught.value.token) == (2, "banana")


def test_an_error_at_the_end_has_no_token() -> None:
    with pytest.raises(SignatureError, match="at end of input") as caught:
        parse_type("int[")
    assert caught.value.token is None


def test_an_error_shows_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(SignatureError) as caught:
        parse_type("x" * 5000 + " " + "y" * 5000)
    assert len(str(caught.value)) < 250
    assert caught.value.token == "y" * 77 + "..."


def test_type_of_a_column_is_refused_by_name() -> None:
    with pytest.raises(SignatureError, match="%TYPE needs a catalog"):
        parse_type("users.name%TYPE")


def test_an_array_has_elements_and_others_have_none() -> None:
    assert parse_type("varchar(3)[]").element == parse_type("varchar(3)")
    with pytest.raises(ValueError, match="int4 is not an array type"):
        _ = parse_type("int").element


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", True),
        ("bit[]", True),
        ('"char"', True),
        ("record", True),
        ("void", True),
        ("int4multirange", True),
        ("mood", False),
        ("public.int4", False),
        ('"Int4"', False),
    ],
)
def test_builtin_types_are_those_of_pg_catalog(text: str, expected: bool) -> None:
    assert parse_type(text).is_builtin is expected


def test_types_are_values() -> None:
    assert len({parse_type("int"), parse_type("INTEGER"), PgType("int4")}) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "a"),
        ("_a1", "_a1"),
        ("a$", '"a$"'),
        ("1a", '"1a"'),
        ("", '""'),
        ("A", '"A"'),
        ("é", '"é"'),
        ("a b", '"a b"'),
        ("a\n", '"a\n"'),
        ('a"b', '"a""b"'),
        ("text", "text"),
        ("double", "double"),
        ("select", '"select"'),
        ("left", '"left"'),
        ("varchar", '"varchar"'),
        ("json_table", '"json_table"'),
    ],
)
def test_identifiers_are_quoted_as_quote_ident_does(name: str, expected: str) -> None:
    assert quote_identifier(name) == expected


def test_every_keyword_that_is_not_unreserved_is_quoted() -> None:
    keywords = RESERVED | COLUMN_NAME | TYPE_OR_FUNCTION
    # As many as pg_get_keywords() of PostgreSQL 18 lists, catcode R, C and T.
    assert [len(RESERVED), len(COLUMN_NAME), len(TYPE_OR_FUNCTION)] == [78, 63, 23]
    assert all(quote_identifier(word) == f'"{word}"' for word in keywords)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("int4", True), ("timestamptz", True), ("text", False), ("int4[]", False)],
)
def test_some_types_are_short(text: str, expected: bool) -> None:
    assert parse_type(text).is_short == expected
