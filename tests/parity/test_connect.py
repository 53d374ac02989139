"""Cases 15 to 17, 20, 21 and 25 to 29: CONNECT, hash functions, errors passed on."""

from __future__ import annotations

import psycopg
import pytest

from plproxy_py import ConnectError, RemoteError
from tests.fix_plproxy import PROXY, Plproxy
from tests.parity.cases import case
from tests.parity.compare import Both

STALE = "Connections after an error"
HASHES = """
create function t_hash16(int4) returns int2 language plpgsql as
$$ begin return $1::int2; end $$;
create function t_hash64(int4) returns int8 language plpgsql as
$$ begin return $1; end $$;
"""
REMOTE = """
create function test_error1() returns int4 language plpgsql as
$$ begin select line2err; return 0; end $$;
"""


@pytest.fixture(scope="module", autouse=True)
def _functions(plproxy: Plproxy) -> None:
    plproxy.admin(PROXY, HASHES)
    plproxy.everywhere(REMOTE)


@case(15, "CONNECT 'literal' and SELECT")
def test_connect_literal(both: Both, plproxy: Plproxy) -> None:
    both.create(
        "create or replace function test_connect1() returns text as"
        f" $$ connect '{plproxy.partition('test_part')}';"
        " select current_database(); $$ language plproxy"
    )
    assert both.call("test_connect1") == [("test_part",)]


@pytest.mark.parametrize(
    "connect",
    [
        pytest.param("connstr", id="16", marks=case(16, "CONNECT argument")),
        pytest.param(
            "text(connstr)", id="17", marks=case(17, "CONNECT function(argument)")
        ),
    ],
)
def test_connect_value(both: Both, plproxy: Plproxy, connect: str) -> None:
    both.create(
        "create or replace function test_connect2(connstr text) returns text as"
        f" $$ connect {connect}; select current_database(); $$ language plproxy"
    )
    assert both.call("test_connect2", plproxy.partition("test_part")) == [
        ("test_part",)
    ]


@pytest.mark.parametrize(
    "bits",
    [
        pytest.param(16, id="20", marks=case(20, "a hash function that returns int2")),
        pytest.param(64, id="21", marks=case(21, "a hash function that returns int8")),
    ],
)
def test_hash_function(both: Both, bits: int) -> None:
    both.create(
        f"create or replace function test_hash{bits}(id integer, data text)"
        f" returns text as $$ cluster 'parts'; run on t_hash{bits}(id);"
        " select data || current_database(); $$ language plproxy"
    )
    for partition in range(4):
        rows = both.call(f"test_hash{bits}", partition - 4, "hash")
        assert rows == [(f"hashtest_part{partition}",)]


def position(error: psycopg.Error) -> tuple[str | None, str | None]:
    return error.diag.statement_position, error.diag.internal_position


@case(25, "error in a remote PL/pgSQL body: text, database, internal position 8")
def test_error_in_body(both: Both) -> None:
    both.create(
        "create or replace function test_error1() returns int4 as"
        " $$ cluster 'testcluster'; run on 0; $$ language plproxy"
    )
    failure = both.fail("test_error1")
    assert failure.sqlstate == "42703"
    assert failure.message == (
        "public.test_error1(0): [test_part] REMOTE ERROR: "
        'column "line2err" does not exist'
    )
    ours = both.ours_error("test_error1")
    assert isinstance(ours, RemoteError)
    assert isinstance(ours, psycopg.errors.UndefinedColumn)
    assert position(ours) == position(failure.error) == (None, "8")


@case(26, "error of an explicit SELECT after another error", differs=STALE)
def test_error_after_error(both: Both) -> None:
    for name, body in (("test_error1", ""), ("test_error2", "select err;")):
        both.create(
            f"create or replace function {name}() returns int4 as"
            f" $$ cluster 'testcluster'; run on 0; {body} $$ language plproxy"
        )
    both.fail("test_error1")
    both.real.notices.clear()
    failure = both.fail("test_error2")
    assert failure.sqlstate == "42703"
    assert position(both.ours_error("test_error2")) == position(failure.error)
    assert position(failure.error) == ("8", None)
    # The real one drops the connection and says so; here it stays, and no one is told.
    assert both.real.notices == ["PL/Proxy: dropping stale conn"]
    assert both.ours.notices == []


@case(27, "CONNECT, and the function is missing there: position 21")
def test_missing_function(both: Both, plproxy: Plproxy) -> None:
    both.create(
        "create or replace function test_error3() returns int4 as"
        f" $$ connect '{plproxy.partition('test_part')}'; $$ language plproxy"
    )
    failure = both.fail("test_error3")
    assert failure.sqlstate == "42883"
    assert failure.message == (
        "public.test_error3(0): [test_part] REMOTE ERROR: "
        "function public.test_error3() does not exist"
    )
    assert position(both.ours_error("test_error3")) == position(failure.error)
    assert position(failure.error) == ("21", None)


@case(28, "no such database, through a cluster")
def test_bad_database(both: Both) -> None:
    both.create(
        "create or replace function test_bad_db() returns int4 as"
        " $$ cluster 'badcluster'; $$ language plproxy"
    )
    assert 'database "nonex_db" does not exist' in both.fail("test_bad_db").message
    ours = both.ours_error("test_bad_db")
    assert isinstance(ours, ConnectError)
    assert not ours.sent


@case(29, "no such database, through CONNECT")
def test_bad_connect(both: Both, plproxy: Plproxy) -> None:
    connstr = plproxy.partition("wrong_name_db")
    both.create(
        "create or replace function test_bad_db2() returns int4 as"
        f" $$ connect '{connstr}'; $$ language plproxy"
    )
    assert "wrong_name_db" in both.fail("test_bad_db2").message
    assert isinstance(both.ours_error("test_bad_db2"), ConnectError)
