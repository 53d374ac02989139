"""Cases 112 to 123: altered return tables, cancelled calls, ranges."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.types.range import Range

from plproxy_py import QueryTimeout
from tests.fix_plproxy import PARTS, PROXY, Plproxy
from tests.parity.cases import case
from tests.parity.compare import Both

REMOTE = """
create function test_table1(out id int4, out data text, out data2 text, out data3 text)
language sql as $$ select 1, 'Data1', 'Data2', 'Data3' $$;

create function rsleep(val int4) returns int4 language plpgsql as
$$ begin perform pg_sleep(val); return 1; end $$;

create type f8range as range (subtype = float8, subtype_diff = float8mi);
create function test_range(id int, inout frange f8range, out irange int4range)
language plpgsql as $$ begin irange := '[20,30)'; end $$;
"""
TABLE1 = """
create or replace function test_table1() returns ret_table as
$$ cluster 'parts'; run on 0; $$ language plproxy
"""
# Each step: what alters the table, and the row that comes then.
START = (1, "Data1")
STEPS = (
    ("alter table ret_table add data2 text", (*START, "Data2")),
    (
        "alter table ret_table drop data2; alter table ret_table add data3 text",
        (*START, "Data3"),
    ),
    ("alter table ret_table drop data3", START),
    (
        "alter table ret_table add data3 text; alter table ret_table add data2 text",
        (*START, "Data3", "Data2"),
    ),
)
NAMES = {"1": "id", "Data1": "data", "Data2": "data2", "Data3": "data3"}


@pytest.fixture(scope="module", autouse=True)
def _functions(plproxy: Plproxy) -> None:
    for dbname in PARTS:
        plproxy.admin(dbname, REMOTE)
    plproxy.admin(
        PROXY,
        "create type f8range as range (subtype = float8, subtype_diff = float8mi)",
    )


@pytest.fixture
def table(both: Both, plproxy: Plproxy) -> Both:
    plproxy.admin(PROXY, "drop table if exists ret_table cascade")
    plproxy.admin(PROXY, "create table ret_table (id int4, data text)")
    both.create(TABLE1)
    return both


def check(both: Both, row: tuple[object, ...]) -> None:
    assert both.call("test_table1") == [row]
    names = tuple(NAMES[str(value)] for value in row)
    assert both.columns("test_table1") == names


@case(112, "a table as result, two columns")
def test_table(table: Both) -> None:
    check(table, START)


WHAT = (
    "add data2",
    "drop data2, add data3",
    "drop data3",
    "add data3, then data2",
)


@pytest.mark.parametrize(
    ("steps", "again"),
    [
        pytest.param(
            number // 2 + 1,
            bool(number % 2),
            id=str(113 + number),
            marks=case(
                113 + number,
                f"{WHAT[number // 2]}, {('same', 'new')[number % 2]} session",
            ),
        )
        for number in range(8)
    ],
)
def test_altered_table(
    table: Both, plproxy: Plproxy, steps: int, again: bool, new_session: Both
) -> None:
    check(table, START)
    for statements, row in STEPS[:steps]:
        plproxy.admin(PROXY, statements)
        check(table, row)
    if again:
        new_session.ours.create(TABLE1)
        check(new_session, row)


def test_select_stays(table: Both, plproxy: Plproxy) -> None:
    # A difference: see "Altered tables".
    both = table
    both.create(
        "create or replace function selected1() returns ret_table as $$"
        " cluster 'parts'; run on 0; select 7 as id, 'mine' as data; $$"
        " language plproxy"
    )
    assert both.call("selected1") == [(7, "mine")]
    plproxy.admin(PROXY, "alter table ret_table add more text")
    plproxy.admin(PROXY, "alter table ret_table drop more")
    with pytest.raises(psycopg.errors.UndefinedFunction):
        both.real.call("selected1", (), None)
    assert both.ours.call("selected1", (), None).rows == [(7, "mine")]


def test_first_column_dropped(table: Both, plproxy: Plproxy) -> None:
    # A difference: see "Altered tables".
    plproxy.admin(PROXY, "alter table ret_table drop id")
    with pytest.raises(psycopg.errors.SyntaxError):
        table.real.call("test_table1", (), None)
    assert table.ours.call("test_table1", (), None).rows == [("Data1",)]


@pytest.fixture
def new_session(plproxy: Plproxy, both: Both) -> Iterator[Both]:
    second = both.another()
    yield second
    second.close()


@pytest.fixture
def sleeping(both: Both) -> Both:
    both.create(
        "create or replace function rsleep(val int4, out res int4) returns setof int4"
        " as $$ cluster 'parts'; run on all; $$ language plproxy"
    )
    return both


def cancel_both(both: Both) -> None:
    both.real.query("select set_config('statement_timeout', '300', false)")
    with pytest.raises(psycopg.errors.QueryCanceled):
        both.real.query("select * from rsleep(60)")
    with pytest.raises(QueryTimeout) as caught:
        both.ours.function("rsleep").with_options(timeout=1.0)(60)
    assert caught.value.sqlstate == "57014"
    outcomes = caught.value.outcomes
    assert [outcome.state for outcome in outcomes.values()] == ["failed"] * 4


def still_running(plproxy: Plproxy) -> int:
    count: int = plproxy.admin(
        "postgres",
        "select count(*) from pg_stat_activity"
        " where query like '%%rsleep(%%' and state = 'active' and datname <> %s",
        "postgres",
    )[0][0]
    return count


@case(121, "a timeout during RUN ON ALL: 57014, and nothing runs on")
def test_cancel(sleeping: Both, plproxy: Plproxy) -> None:
    cancel_both(sleeping)
    assert still_running(plproxy) == 0


@case(122, "... and the next call works, without a notice")
def test_call_after_cancel(sleeping: Both) -> None:
    cancel_both(sleeping)
    assert sleeping.call("rsleep", 0) == [(1,)] * 4
    assert sleeping.real.notices == sleeping.ours.notices == []


@case(123, "a range type of the user's, INOUT, and int4range")
def test_range(both: Both) -> None:
    both.create(
        "create or replace function test_range(_id integer, inout frange f8range,"
        " out irange int4range) returns setof record as"
        " $$ cluster 'parts'; run on _id; $$ language plproxy"
    )
    rows = both.call("test_range", 0, "(1.5,2.4]")
    assert rows == [("(1.5,2.4]", Range(20, 30, "[)"))]
