"""Cases 1 to 14, 18, 19 and 22 to 24: calls, result shapes, types, names."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.fix_plproxy import PROXY, Plproxy
from tests.parity.cases import case
from tests.parity.compare import Both

TYPES = """
create type ret_test_rec as (id integer, dat text);
create domain posint as int4 check (value > 0);
create type struct as (id int4, data text);
create type "RetWeird" as ("ColId" int4, "ColData" text);
create domain "bad type" as text;
"""
REMOTE = """
create function testfunc(username text, id integer, data text) returns text
language sql as $$ select 'username=' || username $$;

create function test_set(username text, num integer) returns setof text
language sql as $$
    select 'username=' || username || ' row=' || i from generate_series(0, num - 1) i
$$;

create function test_record(username text, num integer) returns ret_test_rec
language sql as $$ select num, username $$;

create function test_record_set(username text, num integer)
returns setof ret_test_rec language sql as $$
    select i, username from generate_series(0, num - 1) i
$$;

create function test_void(username text, num integer) returns void
language plpgsql as $$ begin return; end $$;

create function test_out1(username text, id integer, out data text)
language sql as $$ select 'username=' || username $$;

create function test_out2(
    username text, id integer, out out_id integer, xdata text, inout xdata2 text,
    out odata text
) language sql as $$ select id, xdata2 || xdata, 'username=' || username $$;

create function test_types(
    username text, inout vbool boolean, inout xdate timestamp, inout bin bytea
) language plpgsql as $$ begin return; end $$;

create function test_types2(
    username text, inout v_posint posint, inout v_struct struct, inout arr int8[]
) language plpgsql as $$ begin return; end $$;

create function "testQuoting"(username text, id integer, data text)
returns "RetWeird" language sql as $$ select 1::int4, 'BazOoka'::text $$;

create function test_argq(
    username text, "some arg" integer, "other arg" "bad type",
    out "bad out" text, out "bad out2" "bad type"
) language sql as $$ select username, "other arg" $$;

create function test_difftypes(username text, out val1 int2, out val2 float8)
language sql as $$ select 1::int2, 3::float8 $$;

create function test_simple(partno int4) returns int4
language sql as $$ select $1 $$;
"""
BY_USER = "$$ cluster 'testcluster'; run on hashtext(username); $$ language plproxy"


@pytest.fixture(scope="module", autouse=True)
def _functions(plproxy: Plproxy) -> None:
    plproxy.admin(PROXY, TYPES)
    plproxy.everywhere(TYPES + REMOTE)


@pytest.fixture
def by_user(both: Both) -> Both:
    """Both sides with all functions that run on hashtext(username)."""
    for head in (
        "testfunc(username text, id integer, data text) returns text",
        "test_set(username text, num integer) returns setof text",
        "test_record(username text, num integer) returns ret_test_rec",
        "test_record_set(username text, num integer) returns setof ret_test_rec",
        "test_void(username text, num integer) returns void",
        "test_out1(username text, id integer, out data text)",
        "test_out2(username text, id integer, out out_id integer, xdata text,"
        " inout xdata2 text, out odata text)",
        "test_types(username text, inout vbool boolean, inout xdate timestamp,"
        " inout bin bytea)",
        '"testQuoting"(username text, id integer, data text) returns "RetWeird"',
        'test_argq(username text, "some arg" integer, "other arg" "bad type",'
        ' out "bad out" text, out "bad out2" "bad type")',
    ):
        both.create(f"create or replace function {head} as {BY_USER}")
    return both


@case(1, "scalar text, three calls on one connection")
def test_scalar(by_user: Both) -> None:
    for _ in range(3):
        assert by_user.call("testfunc", "user", 1, "foo") == [("username=user",)]
    assert by_user.real.notices == []


@case(2, "SETOF text, one row")
def test_set_of_one(by_user: Both) -> None:
    assert by_user.call("test_set", "user", 1) == [("username=user row=0",)]


@case(3, "SETOF text, no row")
def test_set_of_none(by_user: Both) -> None:
    assert by_user.call("test_set", "user", 0) == []


@case(4, "SETOF text, three rows in the partition's order")
def test_set_of_three(by_user: Both) -> None:
    expected = [(f"username=user row={number}",) for number in range(3)]
    assert by_user.call("test_set", "user", 3) == expected


@case(5, "a named composite type, one row")
def test_record(by_user: Both) -> None:
    assert by_user.call("test_record", "user", 3) == [(3, "user")]
    assert by_user.columns("test_record", "user", 3) == ("id", "dat")


@case(6, "SETOF a composite type: one, no and three rows")
def test_record_set(by_user: Both) -> None:
    for count in (1, 0, 3):
        expected = [(number, "user") for number in range(count)]
        assert by_user.call("test_record_set", "user", count) == expected


@case(7, "void in FROM, twice with other arguments")
def test_void(by_user: Both) -> None:
    assert by_user.call("test_void", "user", 1) == [(None,)]
    assert by_user.call("test_void", "user", 3) == [(None,)]


@case(8, "void in the select list, which a client has not: it is None in both")
def test_void_in_select_list(by_user: Both) -> None:
    for _ in range(2):
        rows = by_user.real.query("select test_void('user', 3)").rows
        assert rows == by_user.call("test_void", "user", 3) == [(None,)]


@case(9, "one OUT argument names the column")
def test_out1(by_user: Both) -> None:
    assert by_user.call("test_out1", "user", 1) == [("username=user",)]
    assert by_user.columns("test_out1", "user", 1) == ("data",)


@case(10, "IN, OUT and INOUT mixed")
def test_out2(by_user: Both) -> None:
    args = ("user", 1, "xdata", "xdata2")
    assert by_user.call("test_out2", *args) == [(1, "xdata2xdata", "username=user")]
    assert by_user.columns("test_out2", *args) == ("out_id", "xdata2", "odata")


@case(11, "bool, timestamp and bytea there and back")
def test_types(by_user: Both) -> None:
    by_user.real.query("select set_config('bytea_output', 'escape', false)")
    values = (True, datetime(2009, 11, 4, 12, 12, 2), b"a\x00\x01\x02b")
    assert by_user.call("test_types", "types", *values) == [values]


@case(12, "bool, timestamp and bytea, all NULL")
def test_null_types(by_user: Both) -> None:
    rows = by_user.call("test_types", "types", None, None, None)
    assert rows == [(None, None, None)]


@pytest.fixture
def types2(both: Both) -> Both:
    both.create(
        "create or replace function test_types2(username text, inout v_posint posint,"
        " inout v_struct struct, inout arr int8[])"
        " as $$ cluster 'testcluster'; $$ language plproxy"
    )
    return both


@case(13, "domain, composite and int8[] there and back, no RUN ON")
def test_user_types(types2: Both) -> None:
    rows = types2.call("test_types2", "types", 4, "(2,asd)", [1, 2, 3])
    assert rows == [(4, "(2,asd)", [1, 2, 3])]


@case(14, "domain, composite and int8[], all NULL")
def test_null_user_types(types2: Both) -> None:
    rows = types2.call("test_types2", "types", None, None, None)
    assert rows == [(None, None, None)]


@case(18, "mixed case in the names of function, type and columns")
def test_quoting(by_user: Both) -> None:
    assert by_user.call('"testQuoting"', "user", 1, "dat") == [(1, "BazOoka")]
    names = by_user.columns('"testQuoting"', "user", 1, "dat")
    assert names == ("ColId", "ColData")


@case(19, "blanks in the names of arguments, columns and a domain")
def test_argq(by_user: Both) -> None:
    assert by_user.call("test_argq", "user", 1, "q") == [("user", "q")]
    names = by_user.columns("test_argq", "user", 1, "q")
    assert names == ("bad out", "bad out2")


@case(22, "int2 and float8 there, int4 and float4 here; RUN ON 0")
def test_difftypes(both: Both) -> None:
    both.create(
        "create or replace function test_difftypes(username text, out val1 int4,"
        " out val2 float4) as $$ cluster 'testcluster'; run on 0; $$ language plproxy"
    )
    assert both.call("test_difftypes", "types") == [(1, 3.0)]


@pytest.mark.parametrize(
    "run_on",
    [
        pytest.param("$1", id="23", marks=case(23, "RUN ON $1")),
        pytest.param("partno", id="24", marks=case(24, "RUN ON argument")),
    ],
)
def test_simple(both: Both, run_on: str) -> None:
    both.create(
        "create or replace function test_simple(partno int4) returns int4 as"
        f" $$ cluster 'testcluster'; run on {run_on}; $$ language plproxy"
    )
    assert both.call("test_simple", 0) == [(0,)]
