"""Expressions that Python can't compute are asked of the home database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from plproxy_py import ConfigError, RoutingError, UnsupportedError
from plproxy_py.hashing import mmh3
from tests.fix_router import Driver
from tests.fix_server import Pg

ROOT = Path(__file__).parents[2]
HOME = """
CREATE OR REPLACE FUNCTION key_hash(t text) RETURNS int4 LANGUAGE sql
    AS 'SELECT length(t)';
CREATE OR REPLACE FUNCTION key_hashes(t text) RETURNS SETOF int8 LANGUAGE sql
    AS 'SELECT generate_series(1, length(t))::int8';
CREATE OR REPLACE FUNCTION numeric_hash(t text) RETURNS numeric LANGUAGE sql
    AS 'SELECT 1::numeric';
CREATE OR REPLACE FUNCTION cluster_for(t text) RETURNS text LANGUAGE sql
    AS 'SELECT CASE t WHEN ''none'' THEN NULL ELSE ''userdb'' END';
CREATE OR REPLACE FUNCTION clusters_for(t text) RETURNS SETOF text LANGUAGE sql
    AS 'SELECT unnest(ARRAY[''userdb'', ''userdb''])';
DO $$ BEGIN
    CREATE TYPE keyed AS (k text, n int8);
EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE OR REPLACE FUNCTION keyed_hash(p keyed) RETURNS int4 LANGUAGE sql
    AS 'SELECT length(p.k)';
CREATE TABLE IF NOT EXISTS places (connstr text);
CREATE OR REPLACE FUNCTION where_is(t text) RETURNS SETOF text LANGUAGE sql
    AS 'SELECT connstr FROM places';
"""
SPOT = "SELECT right(current_database()::text, 2);"


@pytest.fixture(autouse=True, scope="module")
def _home(pg: Pg, home: str) -> None:
    pg.execute("home", HOME)


@pytest.fixture
def driver(
    make_router: Callable[..., Driver], databases4: list[str], home: str
) -> Driver:
    return make_router({"userdb": databases4}, home=home)


def define(driver: Driver, head: str, body: str) -> Callable[..., object]:
    return driver.define(
        f"CREATE FUNCTION {head} LANGUAGE plproxy AS $fn$ {body} {SPOT} $fn$"
    )


def test_hash_functions_of_ones_own(driver: Driver) -> None:
    spot = define(
        driver, "f(t text) RETURNS text", "CLUSTER 'userdb'; RUN ON key_hash(t);"
    )
    assert [spot(key) for key in ("", "a", "bb", "ccccc")] == ["00", "01", "02", "01"]


def test_a_where_may_follow_the_call(driver: Driver) -> None:
    spot = define(
        driver,
        "f(t text, n int4) RETURNS SETOF text",
        "CLUSTER 'userdb'; RUN ON key_hashes(t) AS h WHERE h <> $2;",
    )
    assert spot("abc", 2) == ["01", "03"]
    assert spot("a", 1) == []


def test_split_asks_once_for_all_elements(driver: Driver) -> None:
    function = driver.define(
        "CREATE FUNCTION f(a text[], OUT place text, OUT x text[]) RETURNS SETOF "
        "record LANGUAGE plproxy AS "
        "$$ CLUSTER 'userdb'; SPLIT a; RUN ON key_hashes(a); "
        "SELECT right(current_database()::text, 2) AS place, $1 AS x; $$"
    )
    rows = function(["ab", "", "abc"])
    assert [(row.place, row.x) for row in rows] == [
        ("01", ["ab", "abc"]),
        ("02", ["ab", "abc"]),
        ("03", ["abc"]),
    ]


def test_split_arrays_of_composites(driver: Driver, pg: Pg) -> None:
    """An element is one value, however many columns it has."""
    for part in range(4):
        pg.execute(f"part{part:02}", "DROP TYPE IF EXISTS keyed CASCADE")
        pg.execute(f"part{part:02}", "CREATE TYPE keyed AS (k text, n int8)")
    function = driver.define(
        "CREATE FUNCTION f(a keyed[], b int4[], "
        "OUT place text, OUT n int8, OUT v int4) "
        "RETURNS SETOF record LANGUAGE plproxy AS "
        "$$ CLUSTER 'userdb'; SPLIT a, b; RUN ON keyed_hash(a); "
        "SELECT right(current_database()::text, 2) AS place, n, v"
        " FROM unnest($1, $2) AS u(k, n, v); $$"
    )
    rows = function([("x", 7), ("yyy", 2), ("z", 1)], [10, 20, 30])
    assert rows == [("01", 7, 10), ("01", 1, 30), ("03", 2, 20)]


def test_names_in_a_split_expression_are_its_own(driver: Driver) -> None:
    function = driver.define(
        "CREATE FUNCTION f(k text[]) RETURNS SETOF text LANGUAGE plproxy AS "
        "$$ CLUSTER 'userdb'; SPLIT k; RUN ON key_hashes(k) AS a(n) "
        "WHERE a.n < length(k); SELECT right(current_database()::text, 2); $$"
    )
    assert function(["ab", "", "abc"]) == ["01", "02"]
    for name in ("n", "places"):
        unknown = driver.define(
            "CREATE FUNCTION g(k text[]) RETURNS SETOF text LANGUAGE plproxy AS "
            f"$$ CLUSTER 'userdb'; SPLIT k; RUN ON {name}; $$"
        )
        with pytest.raises(psycopg.errors.UndefinedColumn):
            unknown(["x"])


def test_only_a_hash_of_an_integer_type_will_do(driver: Driver) -> None:
    for call in ("numeric_hash(t)", "lower(t)"):
        spot = define(
            driver, "f(t text) RETURNS text", f"CLUSTER 'userdb'; RUN ON {call};"
        )
        with pytest.raises(RoutingError, match="int2, int4 or int8") as caught:
            spot("a")
        assert not caught.value.sent


def test_several_hashes_need_a_set(driver: Driver) -> None:
    spot = define(
        driver, "f(t text) RETURNS text", "CLUSTER 'userdb'; RUN ON key_hashes(t);"
    )
    assert spot("a") == "01"
    with pytest.raises(RoutingError, match="set-returning"):
        spot("ab")


def test_clusters_come_from_home(driver: Driver) -> None:
    spot = define(driver, "f(t text) RETURNS text", "CLUSTER cluster_for(t); RUN ON 2;")
    assert spot("some") == "02"
    with pytest.raises(RoutingError, match="NULL"):
        spot("none")
    double = define(
        driver, "g(t text) RETURNS text", "CLUSTER clusters_for(t); RUN ON 2;"
    )
    with pytest.raises(RoutingError, match="one row, 2 came"):
        double("some")


def test_an_error_at_home_is_the_homes_own(driver: Driver) -> None:
    """Nothing went to a partition: the whole call may be repeated."""
    spot = define(
        driver, "f(t text) RETURNS text", "CLUSTER 'userdb'; RUN ON nowhere(t);"
    )
    with pytest.raises(psycopg.errors.UndefinedFunction) as caught:
        spot("a")
    assert not caught.value.sent  # type: ignore[attr-defined]
    unknown = define(driver, "g(t text) RETURNS text", "CLUSTER 'userdb'; RUN ON foo;")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        unknown("a")


def test_connect_from_data_only_where_allowed(
    make_router: Callable[..., Driver], databases4: list[str], home: str, pg: Pg
) -> None:
    pg.execute("home", "TRUNCATE places")
    pg.execute("home", "INSERT INTO places VALUES (%s)", [databases4[3]])
    bodies = ["CONNECT where_is(t);", "CONNECT t;", "CONNECT text(t);"]
    closed = make_router({}, home=home)
    open_ = make_router({}, home=home, allow_connect=["/*", "127.0.0.*"])
    for body in bodies:
        spot = define(open_, "f(t text) RETURNS text", body)
        assert spot(databases4[3]) == "03"
        spot = define(closed, "f(t text) RETURNS text", body)
        with pytest.raises(ConfigError, match="allow_connect") as caught:
            spot(databases4[3])
        assert caught.value.sqlstate == "42501"


def test_defaults(driver: Driver) -> None:
    """Constants are applied here, all else at home."""
    function = driver.define(
        "CREATE FUNCTION f(a int4 DEFAULT 7, b text DEFAULT 'it''s', "
        "c int4 DEFAULT 1 + 1, d text[] DEFAULT '{x,y}', e bool DEFAULT true, "
        "f text DEFAULT NULL) RETURNS text LANGUAGE plproxy AS $$ CLUSTER 'userdb'; "
        "RUN ON 0; SELECT concat_ws(',', a, b, c, d, e, f); $$"
    )
    assert function() == "7,it's,2,{x,y},t"
    assert function(1, d=["z"]) == "1,it's,2,{z},t"


def test_without_a_home_it_is_an_error_at_declaration(userdb: Driver) -> None:
    with pytest.raises(
        UnsupportedError, match=r"f\(1\).*line 1.*lower\(.*hashes=.*home="
    ) as caught:
        define(userdb, "f(t text) RETURNS text", "CLUSTER 'userdb'; RUN ON lower(t);")
    assert (caught.value.sqlstate, caught.value.line) == ("0A000", 1)


def test_a_name_that_not_every_server_has_is_asked_at_home(
    driver: Driver, pg: Pg
) -> None:
    """mmh3 is ours, and may be somebody's own function; plproxy.mmh3 is meant."""
    pg.execute(
        "home",
        "CREATE OR REPLACE FUNCTION mmh3(t text) RETURNS int4 LANGUAGE sql "
        "AS 'SELECT length(t)'",
    )
    own = define(driver, "f(t text) RETURNS text", "CLUSTER 'userdb'; RUN ON mmh3(t);")
    assert [own(key) for key in ("", "a", "bb")] == ["00", "01", "02"]
    ours = define(
        driver, "g(t text) RETURNS text", "CLUSTER 'userdb'; RUN ON plproxy.mmh3(t);"
    )
    assert ours("marko") == f"{mmh3('marko') & 3:02}"


def test_a_home_in_another_encoding_hashes_text_itself(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    """Data lies where the hash of LATIN1 bytes has put it."""
    name = pg.connstr("latin1").split("dbname=")[1].split()[0]
    pg.execute("postgres", f'DROP DATABASE "{name}"')
    pg.execute(
        "postgres",
        f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'LATIN1' "
        "LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    latin1 = pg.connstr("latin1")
    pg.execute("latin1", (ROOT / "sql/config_tables.sql").read_text())
    pg.execute("latin1", "SELECT plproxy.set_cluster('userdb', %s)", [databases4])
    keys = ["\xe9", "Zo\xeb", "Gr\xfc\xdfe", "plain"]
    hashed = "SELECT hashtext(k) & 3 FROM unnest(%s::text[]) k"
    at_home = [f"{n:02}" for (n,) in pg.execute("latin1", hashed, [keys])]
    elsewhere = [f"{n:02}" for (n,) in pg.execute("part00", hashed, [keys])]
    assert at_home != elsewhere
    driver = make_router(database=latin1)
    spot = define(
        driver, "f(t text) RETURNS text", "CLUSTER 'userdb'; RUN ON hashtext(t);"
    )
    assert [spot(key) for key in keys] == at_home


def test_hashes_of_one_row_keep_their_order(driver: Driver) -> None:
    """Rows of three hashes each: a sort by row alone may mix them."""
    function = driver.define(
        "CREATE FUNCTION f(a int4[], OUT place text) RETURNS SETOF text "
        "LANGUAGE plproxy AS $$ CLUSTER 'userdb'; SPLIT a; "
        "RUN ON generate_series(-1, 1); "
        "SELECT right(current_database()::text, 2) AS place; $$"
    )
    assert function([None, None, None]) == ["03", "00", "01"]
