"""A router on servers beside one on a fake cluster: what they show must be equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from plproxy_py import Error, Int4, Outcome, Partial, Results, Row
from plproxy_py.testing import FakeCluster
from tests.both import face
from tests.fix_router import Driver
from tests.fix_server import Pg

PARTITIONS = [f"part{number:02}" for number in range(4)]

REMOTE = """
CREATE SCHEMA IF NOT EXISTS "It""s";
CREATE TYPE fake_mood AS ENUM ('sad', 'happy');
CREATE DOMAIN fake_id AS int8;
CREATE TABLE fake_rows (id int4, name text, born date);
INSERT INTO fake_rows
    VALUES (3, 'c', '2001-02-03'), (1, NULL, NULL), (2, 'b', '2002-03-04');
CREATE FUNCTION place() RETURNS int4 LANGUAGE sql AS
    $$ SELECT right(current_database()::text, 2)::int4 $$;
CREATE FUNCTION one(x int4) RETURNS text LANGUAGE sql AS $$ SELECT 'got ' || x $$;
CREATE FUNCTION nothing(x int4) RETURNS text LANGUAGE sql AS $$ SELECT NULL::text $$;
CREATE FUNCTION no_rows(x int4) RETURNS SETOF text LANGUAGE sql AS
    $$ SELECT 'x' WHERE false $$;
CREATE FUNCTION two_rows(x int4) RETURNS SETOF text LANGUAGE sql AS
    $$ VALUES ('a'), ('b') $$;
CREATE FUNCTION quiet(x int4) RETURNS void LANGUAGE sql AS $$ $$;
CREATE FUNCTION mood(x int4) RETURNS fake_mood LANGUAGE sql AS
    $$ SELECT 'happy'::fake_mood $$;
CREATE FUNCTION ident(x int4) RETURNS fake_id LANGUAGE sql AS $$ SELECT 7::fake_id $$;
CREATE FUNCTION person(x int4, OUT id int4, OUT name text, OUT born date) LANGUAGE sql
    AS $$ SELECT 3, 'c', '2001-02-03'::date $$;
CREATE FUNCTION nobody(x int4, OUT id int4, OUT name text, OUT born date) LANGUAGE sql
    AS $$ SELECT NULL::int4, NULL::text, NULL::date $$;
CREATE FUNCTION money_of(x int4, OUT amount numeric) LANGUAGE sql AS $$ SELECT 1.5 $$;
CREATE FUNCTION people() RETURNS SETOF fake_rows LANGUAGE sql AS
    $$ SELECT * FROM fake_rows $$;
CREATE FUNCTION numbers(x int4) RETURNS SETOF int4 LANGUAGE sql AS
    $$ SELECT n + 10 * place() FROM generate_series(1, x) n $$;
CREATE FUNCTION anything(what text) RETURNS SETOF record LANGUAGE sql AS
    $$ VALUES (1, 'a'), (2, what) $$;
CREATE FUNCTION pairs(keys int4[], words text[]) RETURNS SETOF text LANGUAGE sql AS
    $$ SELECT k || ' ' || w FROM unnest(keys, words) u(k, w) $$;
CREATE FUNCTION "It""s"."a "" $1"("x ; --" int4, OUT "y ' FROM" int4, OUT "Z z" text)
    LANGUAGE sql AS $$ SELECT 1, 'z' $$;
CREATE FUNCTION refuse(x int4) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    IF place() = 2 THEN
        RAISE EXCEPTION 'no; "%" is taken', x USING ERRCODE = '23505',
            DETAIL = 'Key (x) exists.', HINT = 'Another.', CONSTRAINT = 'x_key';
    END IF;
    RETURN NEXT place()::text;
END $$;
CREATE FUNCTION odd(x int4) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'odd' USING ERRCODE = 'XY123'; END $$;
CREATE FUNCTION sleepy(x int4) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    IF x = 1 AND place() = 1 THEN PERFORM pg_sleep(30); END IF;
    RETURN NEXT place()::text;
END $$;
CREATE FUNCTION leave(x int4) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    IF place() = 1 THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
        PERFORM pg_sleep(5);
    END IF;
    RETURN NEXT place()::text;
END $$;
"""


@pytest.fixture(scope="session")
def fake_connstrs(pg: Pg) -> list[str]:
    names = [f"fake_{name}" for name in PARTITIONS]
    found = pg.connstrs(names)
    for name in names:
        pg.execute(name, REMOTE)
    return found


class Twins:
    """A router on servers, and one on a fake cluster, of the same kind."""

    def __init__(self, real: Driver, faked: Driver, fake: FakeCluster) -> None:
        self.drivers = [real, faked]
        self.fake = fake

    def same(self, act: Callable[[Driver], Any], tries: int = 1) -> Any:
        """Do the same on both; return what was seen, which must be the same.

        ``tries``: more where a busy machine may have answered too late for a moment of
        grace.
        """
        for _ in range(tries):
            real, faked = (seen(driver, act) for driver in self.drivers)
            if faked == real:
                break
        assert faked == real
        return faked


def seen(driver: Driver, act: Callable[[Driver], Any]) -> Any:
    """Return all that a caller sees, without what differs from server to server."""
    try:
        return plain(driver.run(act(driver)))
    except Error as error:
        return [*plain(error), plain(error.outcomes)]


def plain(value: Any) -> Any:
    """Return a value with its type, all the way down."""
    kind = type(value).__name__
    if isinstance(value, Error):
        diag = value.diag
        return [
            [base.__name__ for base in type(value).__mro__],
            *(value.sqlstate, value.function, value.cluster, value.partition),
            *(value.sent, diag.message_detail, diag.message_hint, diag.severity),
            *(diag.constraint_name, diag.message_primary),
        ]
    if isinstance(value, Outcome):
        return [value.state, value.sent, plain(value.rows), plain(value.error)]
    if isinstance(value, dict):
        return [kind, {key: plain(item) for key, item in value.items()}]
    if isinstance(value, Partial):
        return [kind, list(map(plain, value)), value.missing, plain(value.errors)]
    if isinstance(value, (list, Results)):
        return [kind, list(map(plain, value))]
    if isinstance(value, Row):
        return [kind, value._asdict()]
    if hasattr(value, "__dataclass_fields__"):
        return [kind, vars(value)]
    return [kind, repr(value)]


@pytest.fixture
def twins(
    make_router: Callable[..., Driver], fake_connstrs: list[str]
) -> Iterator[Twins]:
    real, faked = make_router({"userdb": fake_connstrs}), make_router()
    with FakeCluster(faked.router, {"userdb": 4}) as fake:
        yield Twins(real, faked, fake)


def declared(
    twins: Twins, name: str, returns: Any, parameters: Any = None, **keywords: Any
) -> Callable[[Driver], Any]:
    """Declare a function on both; return which is whose."""
    parameters = {"x": Int4} if parameters is None else parameters
    keywords.setdefault("run_on", 2)
    functions = [
        face(driver, returns, parameters, name=name, **keywords)
        for driver in twins.drivers
    ]
    return lambda driver: functions[twins.drivers.index(driver)]


def declare(driver: Driver, name: str, returns: Any = str, **keywords: Any) -> Any:
    """Declare a function of one int on partition 1, unless told otherwise."""
    function = face(
        driver, returns, {"x": int}, name=name, **({"run_on": 1} | keywords)
    )
    return lambda *args: driver.run(function(*args))
