"""Cases 42 to 49 and 71 to 80: many partitions, clusters by function, dynamic records.

Also 144 and 145, tables as results.
"""

from __future__ import annotations

import psycopg
import pytest

from tests.fix_plproxy import PARTS, PROXY, Plproxy
from tests.parity.cases import case
from tests.parity.compare import Both

DYNAMIC = "Column lists of dynamic records"
REMOTE = """
create function test_multi(part integer, username text) returns integer
language sql as
$$ select substr(current_database(), 10)::int $$;

create function dynamic_query(q text) returns setof record language plpgsql as
$$ begin return query execute q; end $$;
create table dynamic_query_test (id integer, username text, other text);
insert into dynamic_query_test values (1, 'user1', 'blah'), (2, 'user2', 'foo');
grant all on dynamic_query_test to public;

create function test_ret_table(int) returns table (id int, t text) language sql as
$$ select * from (values (1, 'test'), (2, 'toto')) toto $$;
"""
MAP_CLUSTER = """
create function map_cluster(part integer) returns text language plpgsql as
$$ begin return 'map' || part; end $$
"""


@pytest.fixture(scope="module", autouse=True)
def _functions(plproxy: Plproxy) -> None:
    plproxy.admin(PROXY, MAP_CLUSTER)
    for dbname in PARTS:
        plproxy.admin(dbname, REMOTE)


@case(42, "a new version: one partition becomes four in mid-session")
def test_new_version(both: Both, plproxy: Plproxy) -> None:
    plproxy.cluster("growing", ["test_part"], version=5)
    both.create(
        "create or replace function grown() returns setof name as $$"
        " cluster 'growing'; run on all; select current_database(); $$ language plproxy"
    )
    assert both.call("grown") == [("test_part",)]
    plproxy.cluster("growing", PARTS, version=6)
    assert both.call("grown") == [(name,) for name in PARTS]


def multi(both: Both, run_on: str, *, setof: str = "") -> None:
    both.plproxy.admin(PROXY, "drop function if exists test_multi(integer, text)")
    both.create(
        "create function test_multi(part integer, username text)"
        f" returns {setof} integer as"
        f" $$ cluster 'parts'; run on {run_on}; $$ language plproxy"
    )


@pytest.mark.parametrize(
    "partition",
    [
        pytest.param(
            number,
            id=str(43 + number),
            marks=case(43 + number, f"RUN ON int4(part), partition {number}"),
        )
        for number in range(4)
    ],
)
def test_hash(both: Both, partition: int) -> None:
    multi(both, "int4(part)")
    assert both.call("test_multi", partition, "foo") == [(partition,)]


@case(47, "RUN ON ALL: a row of each partition, in the order of partitions")
def test_all(both: Both) -> None:
    multi(both, "all", setof="setof")
    assert both.call("test_multi", 0, "foo") == [(0,), (1,), (2,), (3,)]


@case(48, "RUN ON 2")
def test_number(both: Both) -> None:
    multi(both, "2", setof="setof")
    assert both.call("test_multi", 0, "foo") == [(2,)]


@case(49, "RUN ON ANY: 100 calls reach all partitions")
def test_any(both: Both) -> None:
    multi(both, "any", setof="setof")
    for side in (both.real, both.ours):
        answers = [side.call("test_multi", (0, "foo"), None) for _ in range(100)]
        assert {row for answer in answers for row in answer.rows} == {
            (number,) for number in range(4)
        }
        assert all(len(answer.rows) == 1 for answer in answers)


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(
            number,
            id=str(71 + number),
            marks=case(71 + number, f"CLUSTER map_cluster(part), part {number}"),
        )
        for number in range(4)
    ],
)
def test_clustermap(both: Both, part: int) -> None:
    both.create(
        "create or replace function test_clustermap(part integer)"
        " returns setof text as $$"
        " cluster map_cluster(part); run on 0; select current_database();"
        "$$ language plproxy"
    )
    assert both.call("test_clustermap", part) == [(f"test_part{part}",)]


@pytest.fixture
def dynamic(both: Both) -> Both:
    both.create(
        "create or replace function dynamic_query(q text) returns setof record as"
        " $x$ cluster 'map0'; run on all; $x$ language plproxy"
    )
    return both


ALL3 = "select * from dynamic_query_test"
COUNT = "select count(1) from pg_class"


@case(75, "a dynamic record with three columns")
def test_dynamic(dynamic: Both) -> None:
    columns = "id integer, username text, other text"
    rows = dynamic.call("dynamic_query", ALL3, columns=columns)
    assert rows == [(1, "user1", "blah"), (2, "user2", "foo")]


@case(76, "the same function with two columns, in the same session")
def test_dynamic_again(dynamic: Both) -> None:
    columns = "id integer, username text, other text"
    dynamic.call("dynamic_query", ALL3, columns=columns)
    two = "select id, username from dynamic_query_test"
    rows = dynamic.call("dynamic_query", two, columns="id integer, username text")
    assert rows == [(1, "user1"), (2, "user2")]
    # A list is a list, whatever the case it is written in.
    answer = dynamic.ours.call("dynamic_query", (two,), 'id integer, "User N" text')
    assert answer.columns == ("id", "User N")


@case(77, "no column list in FROM", differs=DYNAMIC)
def test_dynamic_without_list(dynamic: Both) -> None:
    with pytest.raises(psycopg.Error) as caught:
        dynamic.real.query(f"select * from dynamic_query('{COUNT}')")
    assert caught.value.sqlstate == "42601"
    assert dynamic.ours_error("dynamic_query", COUNT).sqlstate == "42601"


@case(78, "no column list in the select list", differs=DYNAMIC)
def test_dynamic_in_select_list(dynamic: Both) -> None:
    columns = "id integer, username text, other text"
    dynamic.call("dynamic_query", ALL3, columns=columns)
    with pytest.raises(psycopg.Error, match="wrong context") as caught:
        dynamic.real.query(f"select dynamic_query('{COUNT}')")
    assert caught.value.sqlstate == "XX000"
    # A client has but one way to call: an earlier list does not linger.
    assert dynamic.ours_error("dynamic_query", COUNT).sqlstate == "42601"


SELECT_IN_DYNAMIC = """
create function dynamic_query_select() returns setof record as $x$
    cluster 'map0';
    run on all;
    select id, username from dynamic_query_test;
$x$ language plproxy;
"""


@case(79, "SELECT in a function of dynamic records")
def test_select_in_dynamic(both: Both) -> None:
    assert both.refuse(SELECT_IN_DYNAMIC).line is None


@case(80, "... and there is no such function")
def test_select_in_dynamic_leaves_nothing(both: Both) -> None:
    both.refuse(SELECT_IN_DYNAMIC)
    failure = both.fail("dynamic_query_select", columns="id integer")
    assert failure.sqlstate == "42883"


@case(144, "SETOF record with OUT arguments, and TARGET")
def test_out_and_target(both: Both) -> None:
    both.create(
        "create or replace function test_ret_table_normal("
        "in _id integer, out id integer, out t text) returns setof record as $$"
        " cluster 'parts'; run on _id; target test_ret_table; $$ language plproxy"
    )
    assert both.call("test_ret_table_normal", 0) == [(1, "test"), (2, "toto")]


@case(145, "RETURNS TABLE, without TARGET")
def test_returns_table(both: Both) -> None:
    both.create(
        "create or replace function test_ret_table(in _id integer)"
        " returns table (id integer, t text) as $$"
        " cluster 'parts'; run on _id; $$ language plproxy"
    )
    assert both.call("test_ret_table", 0) == [(1, "test"), (2, "toto")]
    assert both.columns("test_ret_table", 0) == ("id", "t")
