"""Prepared statements: made on the second use, repaired when they are gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg.adapt import Loader

from plproxy_py import Error
from plproxy_py._prepared import MOST_PREPARED
from tests.fix_router import Driver
from tests.fix_server import Pg

PREPARED = (
    "SELECT statement FROM pg_prepared_statements WHERE name LIKE 'plproxy!_%' "
    "ESCAPE '!'"
)


@pytest.fixture
def one(make_router: Callable[..., Driver], databases4: list[str], pg: Pg) -> Driver:
    """A router of one partition and one connection, so that it is always the same."""
    pg.execute(
        "part00",
        "DROP FUNCTION IF EXISTS prep(int);"
        "CREATE FUNCTION prep(i int) RETURNS int LANGUAGE sql AS 'SELECT i + 1'",
    )
    return make_router({"one": databases4[:1]}, pool_size=1)


def prep(one: Driver, name: str = "prep", **text: str) -> Callable[..., Any]:
    body = text.get("body", "")
    result = text.get("result", "int")
    return one.define(
        f"CREATE FUNCTION {name}(i int) RETURNS {result} AS $$ CLUSTER 'one'; RUN ON 0;"
        f" {body} $$ LANGUAGE plproxy"
    )


def prepared(one: Driver) -> list[str]:
    return [row[0] for row in one.execute("one", PREPARED)[0]]


def test_the_second_use_prepares(one: Driver) -> None:
    function = prep(one)
    assert function(1) == 2
    assert prepared(one) == []
    assert [function(n) for n in (2, 3, 2**31 - 2)] == [3, 4, 2**31 - 1]
    assert prepared(one) == ["SELECT r::int4 FROM public.prep($1::int4) r"]


@pytest.mark.parametrize("discard", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_what_the_server_forgot_is_prepared_anew(one: Driver, discard: str) -> None:
    function = prep(one)
    function(1), function(1)
    one.execute("one", discard)
    assert function(1) == 2
    assert len(prepared(one)) == 1


def test_a_recreated_type_changes_the_plan(one: Driver, pg: Pg) -> None:
    pg.execute("part00", "DROP TABLE IF EXISTS kept; CREATE TABLE kept (a int)")
    pg.execute("part00", "INSERT INTO kept VALUES (1)")
    function = prep(one, body="SELECT a FROM kept WHERE a = i;")
    assert [function(1) for _ in range(3)] == [1, 1, 1]
    pg.execute("part00", "ALTER TABLE kept ALTER a TYPE int8")
    assert [function(1) for _ in range(3)] == [1, 1, 1]
    assert len(prepared(one)) == 1


def test_a_missing_function_is_the_same_error(one: Driver, pg: Pg) -> None:
    function = prep(one, "later")
    for _ in range(3):
        with pytest.raises(Error) as caught:
            function(1)
        assert caught.value.sqlstate == "42883"
    pg.execute("part00", "CREATE FUNCTION later(i int) RETURNS int RETURN i")
    assert function(5) == 5
    pg.execute("part00", "DROP FUNCTION later")
    with pytest.raises(Error) as caught:
        function(5)
    assert caught.value.sqlstate == "42883"


def test_an_error_inside_a_function_is_not_repeated(one: Driver, pg: Pg) -> None:
    """A function that executes what is not prepared fails once each call."""
    pg.execute(
        "part00",
        "DROP SEQUENCE IF EXISTS tries; CREATE SEQUENCE tries;"
        "CREATE OR REPLACE FUNCTION stale(i int) RETURNS int LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM nextval('tries'); EXECUTE 'EXECUTE nothing'; END$$",
    )
    function = prep(one, "stale")
    for _ in range(3):
        with pytest.raises(Error) as caught:
            function(1)
        assert caught.value.sqlstate == "26000"
    assert pg.execute("part00", "SELECT last_value FROM tries") == [(3,)]


def test_their_number_is_bounded(one: Driver, pg: Pg) -> None:
    for number in range(MOST_PREPARED + 5):
        function = prep(one, body=f"SELECT i + {number};")
        assert [function(1), function(1)] == [1 + number] * 2
    texts = prepared(one)
    assert len(texts) == MOST_PREPARED
    assert set(texts) == {
        f"SELECT $1::int4 + {number}" for number in range(5, MOST_PREPARED + 5)
    }


def test_behind_a_pooler_nothing_is_prepared(
    make_router: Callable[..., Driver], databases4: list[str], one: Driver
) -> None:
    pooled = make_router(
        {"one": {"partitions": databases4[:1], "pooler": True}}, pool_size=1
    )
    function = prep(pooled)
    assert [function(1) for _ in range(3)] == [2, 2, 2]
    assert prepared(pooled) == []


def test_a_loaned_connection_comes_back_without_them(one: Driver) -> None:
    function = prep(one)
    function(1), function(1)
    if not one.is_async:
        with one.router.connection("one", partition=0) as connection:
            connection.execute("SELECT 1")
    assert [function(1), function(1)] == [2, 2]
    assert len(prepared(one)) == 1


class _Loud(Loader):
    def load(self, data: Any) -> str:
        return bytes(data).decode() + "!"


def test_an_adapter_counts_as_soon_as_it_is_there(one: Driver) -> None:
    function = prep(one)
    assert [function(1) for _ in range(3)] == [2, 2, 2]
    one.router.adapters.register_loader("int4", _Loud)
    assert function(1) == "2!"


def test_columns_that_change_places_are_found_by_name(one: Driver, pg: Pg) -> None:
    def make(columns: str, values: str) -> None:
        pg.execute("part00", "DROP TABLE IF EXISTS placed")
        pg.execute("part00", f"CREATE TABLE placed ({columns})")
        pg.execute("part00", f"INSERT INTO placed VALUES ({values})")

    make("a text, b text", "'one', 'x'")
    function = one.define(
        "CREATE FUNCTION placed(OUT a text, OUT b text) RETURNS SETOF record AS $$ "
        "CLUSTER 'one'; RUN ON 0; SELECT * FROM placed; $$ LANGUAGE plproxy"
    )
    assert [function() for _ in range(3)] == [[("one", "x")]] * 3
    make("b text, a text", "'x', 'one'")
    assert [function() for _ in range(3)] == [[("one", "x")]] * 3
