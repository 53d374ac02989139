"""Records: dynamic ones, composites as arguments, values that adapters know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import pytest
from psycopg.types.composite import CompositeInfo, register_composite

from plproxy_py import Router, SignatureError
from tests.fix_router import Driver
from tests.fix_server import Pg

REMOTE = """
DO $$ BEGIN
    CREATE TYPE mood AS ENUM ('happy', 'sad');
    CREATE TYPE pair AS (a int4, b text);
    CREATE DOMAIN positive AS int4 CHECK (VALUE > 0);
EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE OR REPLACE FUNCTION dynamic(q text) RETURNS SETOF record LANGUAGE plpgsql
    AS $$ BEGIN RETURN QUERY EXECUTE q; END $$;
CREATE OR REPLACE FUNCTION flip(p pair) RETURNS pair LANGUAGE sql
    AS 'SELECT (-(p).a, upper((p).b))::pair';
CREATE OR REPLACE FUNCTION count_pairs(p pair[]) RETURNS text LANGUAGE sql
    AS 'SELECT string_agg(x.a || x.b, '','') FROM unnest(p) x';
CREATE OR REPLACE FUNCTION feel(m mood, n positive) RETURNS mood LANGUAGE sql
    AS 'SELECT m';
"""


class Pair(NamedTuple):
    a: int
    b: str


@dataclass
class PairData:
    a: int | None
    b: str


@pytest.fixture(autouse=True, scope="module")
def _remote(pg: Pg, databases4: list[str]) -> None:
    for number in range(4):
        pg.execute(f"part{number:02}", REMOTE)


def define(driver: Driver, head: str) -> Callable[..., object]:
    return driver.define(
        f"CREATE FUNCTION {head} LANGUAGE plproxy AS $$ CLUSTER 'userdb'; RUN ON 1; $$"
    )


def test_dynamic_records_list_their_columns(userdb: Driver) -> None:
    define(userdb, "dynamic(q text) RETURNS SETOF record")
    dynamic = userdb.router.functions["public.dynamic(text)"]
    sql = "SELECT 1, 'x'::text UNION ALL SELECT 2, NULL"
    rows = userdb.run(dynamic.returning('id integer, "Z z" text')(sql))
    assert [(row.id, row["Z z"]) for row in rows] == [(1, "x"), (2, None)]
    other = dynamic.returning("n numeric(5,2)")("SELECT 1.5::numeric(5,2)")
    assert str(userdb.run(other)[0].n) == "1.50"
    with pytest.raises(SignatureError, match=r"returning\(\)"):
        userdb.run(dynamic(sql))
    with pytest.raises(SignatureError, match="column"):
        dynamic.returning("id integer, id text")


def test_declared_columns_cannot_be_listed_again(userdb: Driver) -> None:
    define(userdb, "flip(p pair) RETURNS pair")
    with pytest.raises(SignatureError, match="declared"):
        userdb.router.functions["public.flip(pair)"].returning("a integer")


def test_composites_go_in_as_tuples_and_dataclasses(userdb: Driver) -> None:
    count_pairs = define(userdb, "count_pairs(p pair[]) RETURNS text")
    given = [Pair(1, "it's"), (2, 'a"b'), PairData(3, "c,d(")]
    assert count_pairs(given) == "1it's,2a\"b,3c,d("
    flip = define(userdb, "flip(p pair) RETURNS pair")
    assert flip(PairData(None, "x")) == "(,X)"


def test_adapters_hold_for_every_connection(userdb: Driver, pg: Pg) -> None:
    """What psycopg does not know comes as text, until an adapter is registered."""
    flip = define(userdb, "flip(p pair) RETURNS pair")
    assert flip((1, "x")) == "(-1,X)"
    import psycopg

    with psycopg.connect(pg.connstr("part01")) as conn:
        info = CompositeInfo.fetch(conn, "pair")
    assert info is not None
    register_composite(info, userdb.router.adapters, factory=Pair)
    assert flip(Pair(1, "x")) == Pair(-1, "X")


def test_enums_and_domains_go_as_text(userdb: Driver) -> None:
    feel = define(userdb, "feel(m mood, n positive) RETURNS mood")
    assert feel("sad", 3) == "sad"
    assert feel(None, 3) is None


@dataclass
class Listed:
    id: Annotated[int, "int4"]
    name: str | None


def test_a_face_lists_the_columns_of_a_dynamic_record(databases4: list[str]) -> None:
    with Router({"userdb": databases4}) as router:
        router.define(
            "CREATE FUNCTION dynamic(q text) RETURNS SETOF record LANGUAGE plproxy "
            "AS $$ CLUSTER 'userdb'; RUN ON 1; $$"
        )

        @router.proxy
        def dynamic(q: str) -> list[Listed]: ...

        assert dynamic("SELECT 1, 'x'::text") == [Listed(1, "x")]
