"""Cases 50 to 70: what is refused, when, and at which line."""

from __future__ import annotations

import psycopg
import pytest

from plproxy_py import NoDataFound, SignatureError
from tests.parity.cases import case
from tests.parity.compare import Both

RESULT_TYPES = "Result types are refused at once"


def text(name: str, rest: str, *, head: str = "", returns: str = "text") -> str:
    return (
        f"create function {name}({head or 'dat text'}) returns {returns} "
        f"as $$\n{rest}\n$$ language plproxy"
    )


UNKNOWN_NAME = text("test_err1", "cluster 'testcluster'; run on hashtext(username);")


@case(50, "an unknown name in a hash call: created, and the call fails")
def test_unknown_name(both: Both) -> None:
    both.create(UNKNOWN_NAME.replace("create", "create or replace"))
    failure = both.fail("test_err1", "dat")
    assert failure.sqlstate == "42703"
    ours = both.ours_error("test_err1", "dat")
    position = failure.error.diag.statement_position
    internal = failure.error.diag.internal_position
    assert (position or internal) == "24"
    diag = ours.diag
    assert (diag.statement_position or diag.internal_position) == "24"


OUT_OF_RANGE = text("test_err2", "    cLuStEr 'testcluster';\n rUn oN hAshtext($2);")


@case(51, "mixed case; $2 of one argument: compile error at line 3")
def test_out_of_range(both: Both) -> None:
    assert both.refuse(OUT_OF_RANGE).line == 3


@case(52, "... and there is no such function")
def test_out_of_range_leaves_nothing(both: Both) -> None:
    both.refuse(OUT_OF_RANGE)
    assert both.fail("test_err2", "dat").sqlstate == "42883"


@case(53, "an unknown cluster: what the version function says passes unchanged")
def test_unknown_cluster(both: Both) -> None:
    sql = text("test_err3", "cluster 'nonexists'; run on hashtext($1);")
    both.create(sql.replace("create", "create or replace"))
    failure = both.fail("test_err3", "dat")
    assert failure.sqlstate == "P0001"
    assert failure.message == "no such cluster: nonexists"
    assert "no such cluster: nonexists" in str(both.ours_error("test_err3", "dat"))


@case(54, "the same body with a known cluster")
def test_known_cluster(both: Both) -> None:
    sql = text("test_ok", "cluster 'testcluster'; run on hashtext($1); select 'ok';")
    both.create(sql.replace("create", "create or replace"))
    assert both.call("test_ok", "dat") == [("ok",)]


TWO = "dat text, out res1 text, out res2 text"


@pytest.mark.parametrize(
    ("head", "returns", "select"),
    [
        pytest.param(
            *("dat text", "text", """dat as "foo", 'asd' as "bar\""""),
            id="55",
            marks=case(55, "two columns for a scalar"),
        ),
        pytest.param(
            *(TWO, "record", "dat as res1"),
            id="56",
            marks=case(56, "too few columns"),
        ),
        pytest.param(
            *(TWO, "record", "dat as res1, 'foo' as res_none"),
            id="57",
            marks=case(57, "the right number of columns, a wrong name"),
        ),
    ],
)
def test_wrong_columns(both: Both, head: str, returns: str, select: str) -> None:
    both.real.create("drop function if exists test_map_err")
    body = f"cluster 'testcluster'; run on 0; select {select};"
    both.create(text("test_map_err", body, head=head, returns=returns))
    # All of it is XX000 in PL/Proxy; the table maps it to 42804, by the message.
    assert both.fail("test_map_err", "dat").sqlstate == "XX000"


NO_CLUSTER = text(
    "test_map_err4",
    "    --cluster 'testcluster';\n run on hashtext(dat);\n"
    " select dat as res2, 'foo' as res1;",
    head=TWO,
    returns="record",
)


@case(58, "CLUSTER within a comment: missing, line 5")
def test_no_cluster(both: Both) -> None:
    assert both.refuse(NO_CLUSTER).line == 5


@case(59, "... and there is no such function")
def test_no_cluster_leaves_nothing(both: Both) -> None:
    both.refuse(NO_CLUSTER)
    assert both.fail("test_map_err4", "dat").sqlstate == "42883"


CLUSTER = "cluster 'testcluster';"
VARIADIC = text("test_variadic_err", CLUSTER, head="first text, rest variadic text[]")
STABLE = text("test_volatile_err", CLUSTER) + " stable"
CSTRING = text("test_pseudo_arg_err", CLUSTER, head="dat cstring")
ON_ALL = text("test_runonall_err", CLUSTER + " run on all;")


@case(60, "VARIADIC")
def test_variadic(both: Both) -> None:
    both.refuse(VARIADIC)


@case(61, "... and there is no such function")
def test_variadic_leaves_nothing(both: Both) -> None:
    both.refuse(VARIADIC)
    assert both.fail("test_variadic_err", "a", "b", "c").sqlstate == "42883"


@case(62, "STABLE")
def test_stable(both: Both) -> None:
    both.refuse(STABLE)


@case(63, "... and there is no such function")
def test_stable_leaves_nothing(both: Both) -> None:
    both.refuse(STABLE)
    assert both.fail("test_volatile_err", "dat").sqlstate == "42883"


@case(64, "an argument of type cstring")
def test_cstring(both: Both) -> None:
    message = both.refuse(CSTRING).message
    # Both name the type; the oid behind it is the real one's alone.
    assert "unsupported pseudo type: cstring (2275)" in message
    with pytest.raises(SignatureError, match="unsupported pseudo type: cstring"):
        both.ours.create(CSTRING)


@case(65, "... and there is no such function")
def test_cstring_leaves_nothing(both: Both) -> None:
    both.refuse(CSTRING)
    assert both.fail("test_pseudo_arg_err", "dat").sqlstate == "42883"


@case(66, "a result of type cstring", differs=RESULT_TYPES)
def test_cstring_result(both: Both) -> None:
    sql = text("test_pseudo_ret_err", CLUSTER, returns="cstring")
    both.real.create(sql.replace("create", "create or replace"))
    with pytest.raises(psycopg.Error, match="unsupported pseudo type: cstring"):
        both.real.query("select * from test_pseudo_ret_err('dat')")
    with pytest.raises(SignatureError, match="unsupported pseudo type: cstring"):
        both.ours.create(sql)
    both.real.create("drop function test_pseudo_ret_err")


@case(67, "RUN ON ALL in a function that returns one row")
def test_run_on_all(both: Both) -> None:
    both.refuse(ON_ALL)


@case(68, "... and there is no such function")
def test_run_on_all_leaves_nothing(both: Both) -> None:
    both.refuse(ON_ALL)
    assert both.fail("test_runonall_err", "dat").sqlstate == "42883"


@case(69, "no row is P0002, to be caught as no_data_found")
def test_no_results(both: Both) -> None:
    both.create(
        "create or replace function test_no_results() returns int as $$"
        " cluster 'testcluster'; run on any;"
        " select 1 from pg_database where datname = ''; $$ language plproxy"
    )
    assert both.fail("test_no_results").sqlstate == "P0002"
    ours = both.ours_error("test_no_results")
    assert isinstance(ours, NoDataFound)
    assert ours.outcomes[0].state == "committed"


@case(70, "several rows are P0003, to be caught as too_many_rows")
def test_many_results(both: Both) -> None:
    both.create(
        "create or replace function test_many_results() returns int as $$"
        " cluster 'testcluster'; run on any;"
        " select 1 from pg_database; $$ language plproxy"
    )
    assert both.fail("test_many_results").sqlstate == "P0003"
