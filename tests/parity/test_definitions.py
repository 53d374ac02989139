"""What stands in a cluster's definition: options, versions, connect strings, users."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.fix_plproxy import PARTS, ROLE, SOURCE, Plproxy
from tests.parity.compare import Answer, Both

FUNCTION = """
create or replace function defined() returns setof text as $$
    cluster 'defined'; run on {run_on};
    select current_user || ' ' || current_database();
$$ language plproxy
"""
HERE = [f"{ROLE} {dbname}" for dbname in PARTS]


@pytest.fixture
def defined(both: Both, plproxy: Plproxy) -> Both:
    plproxy.cluster("defined", PARTS)
    both.create(FUNCTION.format(run_on="all"))
    return both


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("connection_lifetime", "60"),
        ("connection_lifetime", "0"),
        ("connection_lifetime", "junk"),
        ("Query_Timeout", "20"),
        ("query_timeout", ""),
        ("disable_binary", "1"),
        ("modular_mapping", "1"),
        ("modular_mapping", "0"),
        ("default_user", "session_user"),
        ("statement_timeout", "1"),
        ("keepalive_idle", "0"),
        ("keepalive_interval", "5"),
        ("unheard_of", "5"),
    ],
)
def test_options(both: Both, plproxy: Plproxy, key: str, value: str) -> None:
    plproxy.cluster("defined", PARTS, version=20, **{key: value})
    both.create(FUNCTION.format(run_on="all"))
    result = both.agree("defined", (), None)
    assert not isinstance(result, Answer) or result.rows == [(row,) for row in HERE]


def test_default_user(both: Both, plproxy: Plproxy) -> None:
    # A difference: see "Options of clusters".
    plproxy.cluster("defined", PARTS, version=21, default_user="nobody")
    both.create(FUNCTION.format(run_on="all"))
    assert len(both.real.call("defined", (), None).rows) == 4
    assert both.ours_error("defined").sqlstate == "F0000"
    # From its second call on, the real one looks at it, too.
    assert both.fail("defined").sqlstate == "XX000"


def test_connect_timeout(both: Both, plproxy: Plproxy) -> None:
    # A difference: see "Options of clusters".
    plproxy.cluster("defined", PARTS, version=22, connect_timeout=5)
    both.create(FUNCTION.format(run_on="all"))
    with pytest.raises(psycopg.Error, match="Unknown config param: connect_timeout"):
        both.real.call("defined", (), None)
    assert len(both.ours.call("defined", (), None).rows) == 4


def redefine(plproxy: Plproxy, *connstrs: str) -> None:
    plproxy.cluster("defined", PARTS[: len(connstrs)], version=30)
    for number, connstr in enumerate(connstrs):
        plproxy.admin(
            "proxydb",
            "update plproxy.partition set connstr = %s"
            " where cluster = 'defined' and number = %s",
            *(connstr, number),
        )


def test_equal_partitions(defined: Both, plproxy: Plproxy) -> None:
    first, second = plproxy.partition(PARTS[0]), plproxy.partition(PARTS[1])
    redefine(plproxy, first, second, first, second)
    assert defined.call("defined") == [(row,) for row in HERE[:2]]


def test_partitions_equal_but_for_blanks(defined: Both, plproxy: Plproxy) -> None:
    # A difference: see "Equal partitions".
    first = plproxy.partition(PARTS[0])
    redefine(plproxy, first, " ".join(reversed(first.split())) + " ")
    assert len(defined.real.call("defined", (), None).rows) == 2
    assert defined.ours.call("defined", (), None).rows == [(HERE[0],)]


def test_user_in_the_connect_string(defined: Both, plproxy: Plproxy) -> None:
    first = plproxy.partition(PARTS[0]) + " user=postgres"
    redefine(plproxy, first, plproxy.partition(PARTS[1]))
    assert defined.call("defined") == [(f"postgres {PARTS[0]}",), (HERE[1],)]


def test_uri(defined: Both, plproxy: Plproxy) -> None:
    # A difference: see "Connect strings".
    host = plproxy.server.directory
    uri = f"postgresql:///{PARTS[0]}?host={host}"
    redefine(plproxy, f"{uri}&user=postgres")
    assert defined.call("defined") == [(f"postgres {PARTS[0]}",)]
    redefine(plproxy, uri)
    plproxy.admin("proxydb", "update plproxy.cluster set version = 31")
    assert defined.ours.call("defined", (), None).rows == [(HERE[0],)]


@pytest.fixture(scope="module")
def strange_home(plproxy: Plproxy) -> Iterator[str]:
    plproxy.create_database("strange_home")
    plproxy.admin("strange_home", SOURCE)
    yield "strange_home"
    plproxy.drop_database("strange_home")


VERSION = "create function plproxy.get_cluster_version(text) returns"
PARTITIONS = "create function plproxy.get_cluster_partitions(text) returns"
CONFIG = "create function plproxy.get_cluster_config(cluster_name text,"
PART_LIST = "$$ select 'dbname=x'::text"


@pytest.mark.parametrize(
    ("dropped", "function"),
    [
        ("version", None),
        ("partitions", None),
        ("config", None),
        ("version", f"{VERSION} int language sql as 'select null::int'"),
        (
            "version",
            f"{VERSION} setof int language sql as 'select generate_series(1, 2)'",
        ),
        ("version", f"{VERSION} setof int language sql as 'select 1 where false'"),
        (
            "partitions",
            f"{PARTITIONS} setof varchar language sql as $$ select 'x'::varchar $$",
        ),
        (
            "partitions",
            f"{PARTITIONS} setof text language sql as 'select null::text'",
        ),
        (
            "partitions",
            f"{PARTITIONS} setof text language sql as $$ select 'x' where false $$",
        ),
        (
            "config",
            f"{CONFIG} out key text, out val int) returns setof record"
            " language sql as $$ select 'query_timeout', 5 $$",
        ),
        (
            "config",
            f"{CONFIG} out key text, out val text) returns setof record"
            " language sql as $$ select 'query_timeout', null::text $$",
        ),
        (
            "config",
            f"{CONFIG} out key text, out val text, out more text)"
            " returns setof record language sql as $$ select 'a', 'b', 'c' $$",
        ),
    ],
)
def test_strange_functions(
    plproxy: Plproxy, strange_home: str, dropped: str, function: str | None
) -> None:
    plproxy.create_database(strange_home)
    plproxy.admin(strange_home, SOURCE)
    plproxy.admin(strange_home, f"drop function plproxy.get_cluster_{dropped}")
    if function is not None:
        plproxy.admin(strange_home, function)
    plproxy.cluster("defined", PARTS, home=strange_home)
    both = Both(plproxy, home=strange_home)
    try:
        both.create(FUNCTION.format(run_on="all"))
        assert both.fail("defined").sqlstate in ("XX000", "42883")
    finally:
        both.close()


NOTICE = """
create function noticed(level text, code text) returns int language plpgsql as $$
begin
    case level
        when 'info' then raise info using errcode = code, message = 'told';
        when 'notice' then raise notice using errcode = code, message = 'told';
        when 'warning' then raise warning using errcode = code, message = 'told';
    end case;
    return 1;
end $$
"""


@pytest.mark.parametrize("level", ["info", "notice", "warning"])
@pytest.mark.parametrize("code", ["00000", "00005", "22012"])
def test_notices(both: Both, plproxy: Plproxy, level: str, code: str) -> None:
    plproxy.admin(PARTS[1], NOTICE.replace("create", "create or replace", 1))
    both.create(
        "create or replace function noticed(level text, code text) returns int as"
        " $$ cluster 'parts'; run on 1; $$ language plproxy"
    )
    assert both.call("noticed", level, code) == [(1,)]
    (real,), (ours,) = both.real.notices, both.ours.notices
    assert real == f"public.noticed(2): [{PARTS[1]}] REMOTE {level.upper()}: told"
    assert ours == f"public.noticed(2): [partition 1] REMOTE {level.upper()}: told"
