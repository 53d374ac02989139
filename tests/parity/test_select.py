"""Cases 30 to 41: explicit SELECT statements."""

from __future__ import annotations

import pytest

from tests.fix_plproxy import PROXY, Plproxy
from tests.parity.cases import case
from tests.parity.compare import Both

REMOTE = """
create table sel_test (id integer, username text, "..""quoted"".." text);
insert into sel_test values (1, 'user', 'quoted');
create table numbers (num int, name text);
insert into numbers values (1, 'one'), (2, 'two');
create function ret_numtuple(int) returns numbers language sql as
$$ select num, name from numbers where num = $1 $$;
create table seen (a varchar, b varchar, c varchar);
create function remote_func(a varchar, b varchar, c varchar) returns void
language sql as $$ insert into seen values (a, b, c) $$;
grant all on seen, sel_test, numbers to public;
"""
SELECT = r"""
create or replace function test_select(xuser text, tmp boolean)
returns integer as $x$
    cluster 'testcluster';
    run on hashtext(xuser);
    select /*********
    junk ;
    ********** ****/ id from sel_test where username = xuser
     and ';' <> 'as;d''a ; sd'
    and $tmp$ ; 'a' $tmp$ <> 'as;d''a ; sd'
    and "..""quoted"".." = 'quoted'
    and $tmp$ $ $$  $foo$tmp$ <> 'x';
$x$ language plproxy;
"""


@pytest.fixture(scope="module", autouse=True)
def _functions(plproxy: Plproxy) -> None:
    plproxy.admin(PROXY, "create type numbers_type as (num int, name text)")
    plproxy.everywhere(REMOTE)


@case(30, "comments, literals, dollar quotes and quoted names in a SELECT")
def test_select(both: Both) -> None:
    both.create(SELECT)
    assert both.call("test_select", "user", True) == [(1,)]


@case(31, "no row in a function that returns one")
def test_no_row(both: Both) -> None:
    both.create(SELECT)
    assert both.fail("test_select", "xuser", False).sqlstate == "P0002"


TWICE = """
create function test_select_err(xuser text, tmp boolean)
returns integer as $$
    cluster 'testcluster';
    run on hashtext(xuser);
    select id from sel_test where username = xuser;
    select id from sel_test where username = xuser;
$$ language plproxy;
"""


@case(32, "two SELECTs: compile error at line 5")
def test_two_selects(both: Both) -> None:
    assert both.refuse(TWICE).line == 5


@case(33, "... and there is no such function")
def test_two_selects_leave_nothing(both: Both) -> None:
    both.refuse(TWICE)
    assert both.fail("test_select_err", "user", True).sqlstate == "42883"


@case(34, "select (0*0) is no function call; RUN ON ALL")
def test_parenthesis(both: Both) -> None:
    both.create(
        "create or replace function get_zero() returns setof integer as"
        " $x$ cluster 'parts'; run on all; select (0*0); $x$ language plproxy"
    )
    assert both.call("get_zero") == [(0,)] * 4


@case(35, "(f(1)).num, a dot behind a parenthesis")
def test_dot(both: Both) -> None:
    both.create(
        "create or replace function get_one() returns setof numbers_type as $x$"
        " cluster 'testcluster'; run on all;"
        " select (ret_numtuple(1)).num, (ret_numtuple(1)).name; $x$ language plproxy"
    )
    assert both.call("get_one") == [(1, "one")]


@pytest.mark.parametrize(
    ("arguments", "called", "given", "sent"),
    [
        pytest.param(
            *("x integer, a varchar, b varchar, c varchar", "a, b, c"),
            *((1, "a", None, None), ("a", None, None)),
            id="36",
            marks=case(36, "void and SELECT without the first argument"),
        ),
        pytest.param(
            *("x integer, a varchar, b varchar, c varchar", "a, b, c"),
            *((1, None, None, None), (None, None, None)),
            id="37",
            marks=case(37, "... with NULLs only"),
        ),
        pytest.param(
            *("a varchar, b varchar, c varchar", "a, b, c"),
            *((None, None, None), (None, None, None)),
            id="38",
            marks=case(38, "three arguments, all NULL"),
        ),
        pytest.param(
            *("a varchar, b varchar, c varchar", "a, b, c"),
            *(("a", None, None), ("a", None, None)),
            id="39",
            marks=case(39, "three arguments, two NULL"),
        ),
        pytest.param(
            *("a varchar, b varchar, c varchar", "a, c, b"),
            *((None, None, "a"), (None, "a", None)),
            id="40",
            marks=case(40, "arguments in another order, the last not NULL"),
        ),
        pytest.param(
            *("a varchar, b varchar, c varchar", "a, c, b"),
            *(("a", None, None), ("a", None, None)),
            id="41",
            marks=case(41, "arguments in another order, the first not NULL"),
        ),
    ],
)
def test_void_select(
    both: Both,
    plproxy: Plproxy,
    arguments: str,
    called: str,
    given: tuple[object, ...],
    sent: tuple[object, ...],
) -> None:
    name = f"test_void{len(given)}"
    both.create(
        f"create or replace function {name}({arguments}) returns void as $$"
        f" CLUSTER 'testcluster'; RUN ON 0; SELECT * FROM remote_func({called});"
        "$$ language plproxy"
    )
    plproxy.admin("test_part", "truncate seen")
    assert both.call(name, *given) == [(None,)]
    assert plproxy.admin("test_part", "select * from seen") == [sent, sent]
