"""Each class of error beyond the numbered cases, on both sides.

What a partition, or a function in the home database, says keeps its SQLSTATE; what
PL/Proxy itself says is XX000 there, and named by the table here.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.fix_plproxy import PARTS, PROXY, Plproxy
from tests.parity.compare import Both

HOME = """
create function h_null(int) returns int language sql as 'select null::int';
create function h_text(int) returns text language sql as 'select $1::text';
create function h_numeric(int) returns numeric language sql as 'select $1::numeric';
create domain h_domain as int;
create function h_domained(int) returns h_domain language sql as 'select $1::h_domain';
create function h_set(int) returns setof int language sql as
'select generate_series(0, $1)';
create function h_twice(int) returns setof int language sql as
'select $1 from generate_series(1, 2)';
create function h_raise(int) returns int language plpgsql as
$$ begin raise exception using errcode = 'U0001', message = 'no ' || $1; end $$;
create function c_null(int) returns text language sql as 'select null::text';
create function c_varchar(int) returns varchar language sql as $$ select 'parts' $$;
create function c_set(int) returns setof text language sql as
$$ select 'parts' from generate_series(1, $1) $$;
"""
REMOTE = """
create table only_one (id int primary key check (id < 100));
insert into only_one values (1);
grant all on only_one to public;
create function add_one(id int) returns int language sql as
$$ insert into only_one values (id) returning id $$;
create function told(id int) returns int language plpgsql as $$
begin
    raise exception using errcode = 'AB123', message = 'told you',
        detail = 'so', hint = 'listen';
end $$;
create function void_int(id int) returns int language sql as 'select 1';
create function two_columns(id int, out a int, out b int) language sql as 'select 1, 2';
create domain small as int check (value < 10);
create function text_of(id int) returns text language sql as $$ select 'x' || id $$;
create function many(id int) returns setof int language sql as
'select generate_series(1, $1)';
"""


@pytest.fixture(scope="module", autouse=True)
def _functions(plproxy: Plproxy) -> None:
    plproxy.admin(PROXY, HOME)
    for dbname in PARTS:
        plproxy.admin(dbname, REMOTE)


def function(body: str, returns: str = "int") -> str:
    return (
        f"create or replace function failing(id int) returns {returns} as\n"
        f"$$ {body} $$ language plproxy"
    )


PARTS_ = "cluster 'parts'; "


@pytest.mark.parametrize(
    ("body", "returns", "arg", "sqlstate"),
    [
        (PARTS_ + "run on 4; select 1;", "int", 1, "XX000"),
        (PARTS_ + "run on id; select 1;", "int", None, "XX000"),
        (PARTS_ + "run on h_null(id); select 1;", "int", 1, "XX000"),
        (PARTS_ + "run on h_text(id); select 1;", "int", 1, "XX000"),
        (PARTS_ + "run on h_numeric(id); select 1;", "int", 1, "XX000"),
        (PARTS_ + "run on h_set(id); select 1;", "int", 1, "XX000"),
        (PARTS_ + "run on h_set(id); select 1;", "int", -1, "XX000"),
        (PARTS_ + "run on h_twice(id); select 1;", "int", 1, "XX000"),
        (PARTS_ + "run on h_raise(id); select 1;", "int", 7, "U0001"),
        (PARTS_ + "run on no_such_hash(id);", "int", 1, "42883"),
        (PARTS_ + "run on foo;", "int", 1, "42703"),
        ("cluster c_null(id); run on 0; select 1;", "int", 1, "XX000"),
        ("cluster c_varchar(id); run on 0; select 1;", "int", 1, "XX000"),
        ("cluster c_set(id); run on 0; select 1;", "int", 0, "XX000"),
        ("cluster c_set(id); run on 0; select 1;", "int", 2, "XX000"),
        ("cluster h_raise(id); run on 0; select 1;", "int", 2, "U0001"),
        ("connect c_null(id); select 1;", "int", 1, "XX000"),
        ("connect h_raise(id); select 1;", "int", 1, "U0001"),
        (PARTS_ + "run on 0; target add_one;", "int", 1, "23505"),
        (PARTS_ + "run on 0; target add_one;", "int", 100, "23514"),
        (PARTS_ + "run on 0; target add_one;", "int", None, "23502"),
        (PARTS_ + "run on 0; target told;", "int", 1, "AB123"),
        (PARTS_ + "run on all; target told;", "setof int", 1, "AB123"),
        (PARTS_ + "run on 0; target missing;", "int", 1, "42883"),
        (PARTS_ + "run on 0; target void_int;", "void", 1, "42846"),
        (PARTS_ + "run on 0; target two_columns;", "int", 1, "42846"),
        (PARTS_ + "run on 0; target text_of;", "int", 1, "22P02"),
        (PARTS_ + "run on 0; target many;", "int", 0, "P0002"),
        (PARTS_ + "run on 0; target many;", "int", 2, "P0003"),
        (PARTS_ + "run on 0; select 1/0;", "int", 2, "22012"),
        (PARTS_ + "run on 0; select 1, 2;", "int", 2, "XX000"),
        (PARTS_ + "run on 0; select 1, 2;", "void", 2, "XX000"),
        (PARTS_ + "run on 0; select 'x'::text;", "int", 2, "22P02"),
        (PARTS_ + "run on 0; select id into pg_temp.x;", "int", 2, "XX000"),
        (PARTS_ + "run on 0; select from;", "int", 2, "42601"),
    ],
)
def test_failing(both: Both, body: str, returns: str, arg: Any, sqlstate: str) -> None:
    both.real.create("drop function if exists failing")
    both.create(function(body, returns))
    assert both.fail("failing", arg).sqlstate == sqlstate


@pytest.mark.parametrize(
    ("body", "arg", "rows"),
    [
        (PARTS_ + "run on h_set(id); select id;", 2, 3),
        (PARTS_ + "run on h_set(id); select id;", 9, 4),
        (PARTS_ + "run on h_set(id); select id;", -1, 0),
        (PARTS_ + "run on h_twice(id); select id;", 3, 1),
        (PARTS_ + "run on h_set(id) where h_set > 1; select id;", 2, 1),
        (PARTS_ + "run on all; select 1, 2 where id < 0;", 1, 0),
    ],
)
def test_sets(both: Both, body: str, arg: int, rows: int) -> None:
    both.real.create("drop function if exists failing")
    both.create(function(body, "setof int"))
    assert len(both.call("failing", arg)) == rows


def test_hash_of_a_domain(both: Both) -> None:
    # A difference: see "A hash of a domain type".
    both.real.create("drop function if exists failing")
    both.create(function(PARTS_ + "run on h_domained(id); select id;"))
    with pytest.raises(psycopg.Error, match="Hash result must be int2, int4 or int8"):
        both.real.call("failing", (7,), None)
    assert both.ours.call("failing", (7,), None).rows == [(7,)]


def test_first_name_that_fits(both: Both) -> None:
    both.real.create("drop function if exists failing_names")
    both.create(
        'create function failing_names("A" int, a int, "É" int, "é" int)'
        f" returns text as $$ {PARTS_} run on a;"
        " select A || ' ' || a || ' ' || é || ' ' || É || current_database();"
        " $$ language plproxy"
    )
    assert both.call("failing_names", 1, 2, 3, 0) == [("1 1 0 3test_part1",)]


def test_hash_that_is_not_needed(both: Both) -> None:
    # A difference: see "RUN ON of no elements".
    both.real.create("drop function if exists unhashed")
    both.create(
        "create function unhashed(a int[]) returns setof int as"
        f" $$ {PARTS_} split a; run on no_such_hash(a); $$ language plproxy"
    )
    assert both.fail("unhashed", [1]).sqlstate == "42883"
    with pytest.raises(psycopg.errors.UndefinedFunction):
        both.real.call("unhashed", ([],), None)
    assert both.ours.call("unhashed", ([],), None).rows == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "cluster 'parts'",
        "cluster 'parts';;",
        "cluster parts;",
        "cluster 'a'; cluster 'b';",
        "\n\ncluster 'a';\nrun on 1; run on 2;\n",
        "cluster 'a'; connect 'b';",
        "connect 'b'; run on 1;",
        "connect 'a'; connect 'b';",
        "connect ('x');",
        "cluster 'parts'; run on -1;",
        "cluster 'parts'; run all;",
        "cluster 'parts'; select;",
        "cluster 'parts'; select 1",
        "cluster 'parts'; select 'x;",
        "cluster 'parts'; select `x`;",
        "cluster 'parts'; select $0;",
        "cluster 'parts'; run on f($2);",
        "cluster 'parts'; run on $2;",
        'cluster "parts";',
        "cluster 'parts'; target \"x\";",
        "cluster 'parts'; target x y;",
        "cluster 'parts'; with x as (select 1) select 1;",
        "cluster 'parts'; split id;",
        "cluster 'parts'; split all; split all;",
        "cluster 'parts'; /* \n */ \n oops;",
        "cluster 'parts'\f;",
        "cluster 'parts'; run on all; run on all",
    ],
)
def test_refused_bodies(both: Both, body: str) -> None:
    assert both.refuse(function(body).replace("failing", "refused")).sqlstate == "XX000"
