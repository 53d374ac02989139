"""Types of all kinds as arguments and results, and how columns are matched."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.fix_plproxy import PARTS, PROXY, Plproxy
from tests.parity.compare import Both

SCHEMA = """
create schema s2;
create schema "My Schema";
grant usage on schema s2, "My Schema" to public;
create type s2.mood as enum ('sad', 'it''s ok', 'happy "x"');
create domain s2."Dom 1" as varchar(4);
create type s2.comp as (id int, note text);
create table s2.tab (
    id int, gone int, "select" text, "UPPER" char(3), v varchar(5), o oid,
    n numeric(5,1)
);
alter table s2.tab drop column gone;
create domain filled as text not null;
create type with_filled as (a int, b filled);
create type single as (only_one int);
"""
# Without modifiers, and in a form in which that says nothing of a length.
RESULTS = {"char(3)": "bpchar", "bit(4)": '"bit"'}
TYPES: dict[str, tuple[Any, ...]] = {
    "s2.mood": ("sad", "it's ok", 'happy "x"', None),
    "s2.mood[]": (["sad", None, 'happy "x"'], [], None),
    's2."Dom 1"': ("abcd", "", None),
    's2."Dom 1"[]': (["a", None],),
    "s2.comp": ('(1,"a b")', "(,)", None),
    "s2.comp[]": ('{"(1,a)","(2,\\"b c\\")",NULL}',),
    "int4range": ("[1,5)", "empty", None),
    "numrange[]": ('{"[1.5,2.5]",empty}',),
    "tstzrange": ('["2020-01-01 00:00:00+00",)',),
    '"char"': ("x", ""),
    "char(3)": ("ab", "abc", ""),
    "varchar(3)": ("abcdef", "ab "),
    "name": ("a name", "x" * 80),
    "bit(4)": ("1010",),
    "bit varying(3)": ("101", ""),
    "oid": (0, 4294967295),
    "xml": ("<a>b</a>",),
    "json": ({"a": [1, None]},),
    "inet": ("10.0.0.1/8", "::1"),
    "cidr": ("10.0.0.0/8",),
    "macaddr": ("08:00:2b:01:02:03",),
    "point": ("(1,2)",),
    "box": ("(2,2),(1,1)",),
    "money": ("$1.50",),
    "tsvector": ("'a':1 'b':2",),
    "regclass": ("pg_class",),
    "int2vector": ("1 2 3",),
    "interval day to second(2)": ("1 day 02:03:04.56",),
    "timestamp(3)": ("2020-02-03 04:05:06.123",),
    "time with time zone": ("04:05:06+02",),
    "real": (1.5, 0.1, -0.0),
    "real[]": ([0.1, None],),
    "numeric(5,1)[]": ([None],),
    "text[]": (
        ["", "NULL", 'a"b', "c\\d", "{}", None, "é,ü"],
        [["a", "b"], ["c", "d"]],
    ),
    "bytea[]": (None,),
}


@pytest.fixture(scope="module", autouse=True)
def _types(plproxy: Plproxy) -> None:
    plproxy.admin(PROXY, SCHEMA)
    body = "language sql as 'select $1'"
    for dbname in PARTS:
        plproxy.admin(dbname, SCHEMA)
        for number, name in enumerate(TYPES):
            plproxy.admin(dbname, echo(number, name, body))


def echo(number: int, name: str, rest: str) -> str:
    result = re.sub(r"\(.*\)| day to .*", "", name)
    result = RESULTS.get(name, result)
    return f"create or replace function echo_{number}(x {name}) returns {result} {rest}"


@pytest.mark.parametrize("name", TYPES)
def test_there_and_back(both: Both, name: str) -> None:
    number = list(TYPES).index(name)
    rest = "as $$ cluster 'parts'; run on 1; $$ language plproxy"
    both.create(echo(number, name, rest))
    for value in TYPES[name]:
        rows = both.call(f"echo_{number}", value)
        assert len(rows) == 1
        assert value is None or len(rows[0]) == 2 or rows[0][0] is not None


def test_quoted_everything(both: Both, plproxy: Plproxy) -> None:
    head = (
        'create or replace function "My Schema"."Fn ""Name"(a s2.mood[], "B b" s2.comp,'
        ' out "select" s2.mood[], out "Z z" s2.comp, out d s2."Dom 1")'
    )
    plproxy.admin("test_part2", f"{head} language sql as $$ select $1, $2, 'xyz' $$")
    both.create(f"{head} as $$ cluster 'parts'; run on 2; $$ language plproxy")
    args = (["sad", None], "(1,x)")
    name = '"My Schema"."Fn ""Name"'
    assert both.call(name, *args) == [("{sad,NULL}", "(1,x)", "xyz")]
    assert both.columns(name, *args) == ("select", "Z z", "d")


def test_table_with_a_dropped_column(both: Both, plproxy: Plproxy) -> None:
    row = "(1,sel,ABC,vvvvv,7,1.5)"
    plproxy.admin(
        "test_part0",
        "create or replace function tabled() returns setof s2.tab language sql as"
        f" $$ select ('{row}'::s2.tab).* union all select null::s2.tab.* $$".replace(
            "null::s2.tab.*", "(null::s2.tab).*"
        ),
    )
    both.create(
        "create or replace function tabled() returns setof s2.tab as"
        " $$ cluster 'parts'; run on 0; $$ language plproxy"
    )
    rows = both.call("tabled")
    assert [row[:2] for row in rows] == [(1, "sel"), (None, None)]
    names = ("id", "select", "UPPER", "v", "o", "n")
    assert both.columns("tabled") == names


def record(name: str, select: str, columns: str, *, setof: str = "setof") -> str:
    return (
        f"create or replace function {name}({columns}) returns {setof} record as"
        f" $$ cluster 'parts'; run on 3; select {select}; $$ language plproxy"
    )


@pytest.mark.parametrize(
    "select",
    [
        '1 as a, 2 as "B"',
        '2 as "B", 1 as a',
        "1 as a, 2 as b",
        "1 as a",
        '1 as a, 2 as "B", 3 as c',
        "1 as a, 3 as a where false",
        "1 as c, 2 as d where false",
        '1 as "B", 2 as "B"',
        '1 as a, null::int as "B" union all select null, null',
        "'1'::text as a, 2.0 as \"B\"",
        "'x'::text as a, 2 as \"B\"",
    ],
)
def test_columns_by_name(both: Both, select: str) -> None:
    both.create(record("columned", select, 'out a int, out "B" int'))
    both.agree("columned", (), None)


def test_three_columns_two_of_a_name(both: Both) -> None:
    both.create(
        record("thrice", "1 as b, 2 as a, 3 as b", "out a int, out b int, out c int")
    )
    both.fail("thrice")
    both.create(
        record("twice_b", "1 as b, 2 as b, 3 as a", "out a int, out b int, out b2 int")
    )
    both.fail("twice_b")


def test_one_attribute(both: Both, plproxy: Plproxy) -> None:
    plproxy.admin(
        "test_part0",
        "create or replace function singled() returns single language sql as"
        " $$ select 5 $$",
    )
    both.create(
        "create or replace function singled() returns single as"
        " $$ cluster 'parts'; run on 0; $$ language plproxy"
    )
    assert both.call("singled") == [(5,)]
    assert both.columns("singled") == ("only_one",)


def test_domain_of_a_result(both: Both) -> None:
    # A difference: see "Domains of results".
    both.create(
        "create or replace function unfilled() returns setof with_filled as $$"
        " cluster 'parts'; run on 0; select 1 as a, null::text as b;"
        " $$ language plproxy"
    )
    with pytest.raises(psycopg.errors.NotNullViolation):
        both.real.call("unfilled", (), None)
    assert both.ours.call("unfilled", (), None).rows == [(1, None)]


def test_modifiers_of_a_result(both: Both, plproxy: Plproxy) -> None:
    # A difference: see "Modifiers of results".
    plproxy.admin(
        "test_part0",
        "create or replace function precise(out a numeric, out b varchar, out c text)"
        " language sql as $$ select 1.2345, 'abcdef'::varchar, 'same' $$",
    )
    both.create(
        "create or replace function precise(out a numeric(10,2), out b varchar(3),"
        " out c text) as $$ cluster 'parts'; run on 0; $$ language plproxy"
    )
    real = both.real.call("precise", (), None).rows
    ours = both.ours.call("precise", (), None).rows
    assert [str(value) for value in real[0]] == ["1.2345", "abcdef", "same"]
    expected = real if both.reflected else [(Decimal("1.23"), "abc", "same")]
    assert ours == expected
