"""Databases for hostile values: `f` gives the text of any type, and more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fix_router import Driver
from tests.fix_server import Pg
from tests.hostile import FOREIGN_TYPES, TYPES

NAMES = ["hostile0", "hostile1"]

REMOTE = """
CREATE SCHEMA "s""; drop table x; --";
CREATE FUNCTION "s""; drop table x; --"."f""'; --"("a""b" text, OUT "o""'$1" text,
    OUT "Ü $$ b" int4) LANGUAGE sql AS $$ SELECT $1, 1 $$;
CREATE FUNCTION all_of(v text) RETURNS SETOF text LANGUAGE sql AS $$ SELECT v $$;
CREATE FUNCTION parts(v text[]) RETURNS SETOF text LANGUAGE sql
    AS $$ SELECT unnest(v) $$;
CREATE FUNCTION parts(v int8[]) RETURNS SETOF int8 LANGUAGE sql
    AS $$ SELECT unnest(v) $$;
CREATE FUNCTION count_of(v text[]) RETURNS int4 LANGUAGE sql
    AS $$ SELECT cardinality(v) $$;
CREATE FUNCTION count_of(v int4[]) RETURNS int4 LANGUAGE sql
    AS $$ SELECT cardinality(v) $$;
CREATE FUNCTION same(v text) RETURNS text LANGUAGE sql AS $$ SELECT v $$;
CREATE FUNCTION same(v bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT v $$;
"""


@pytest.fixture(scope="session")
def hostile_targets(pg: Pg) -> list[str]:
    """Two databases in which `f` gives each type's own text, and more."""
    targets = pg.connstrs(NAMES)
    for name in NAMES:
        pg.execute(name, REMOTE)
        for type in (*TYPES, *FOREIGN_TYPES):
            pg.execute(
                name,
                f"CREATE FUNCTION f(v {type}) RETURNS text LANGUAGE sql "
                "AS $$ SELECT v::text $$",
            )
    return targets


@pytest.fixture
def hostile(make_router: Callable[..., Driver], hostile_targets: list[str]) -> Driver:
    """A router with one connection for each of two partitions."""
    return make_router({"userdb": hostile_targets}, pool_size=1)


def define(
    driver: Driver, head: str, returns: str, body: str = "RUN ON hashtext(v)"
) -> Any:
    """Declare a function; return its callable as the router gives it."""
    return driver.router.define(
        f"CREATE FUNCTION {head} RETURNS {returns} LANGUAGE plproxy "
        f"AS $q$ CLUSTER 'userdb'; {body}; $q$"
    )


def pids(driver: Driver) -> list[int]:
    """Return the backends of all partitions; one that was replaced is another."""
    answers = driver.execute("userdb", "SELECT pg_backend_pid()", timeout=5)
    return [rows[0][0] for rows in answers.values()]
