"""Hostile arguments: the right answer or one clear error, no broken connection.

What is right is what psycopg sends the same server. Each router has one connection for
each partition, so one that was lost, or not given back, is missed at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from plproxy_py import Error, ResultError
from tests.both import face, lent, rows
from tests.fix_hostile import define, pids
from tests.fix_router import Driver
from tests.fix_server import PREFIX, Pg
from tests.hostile import FOREIGN_TYPES, RAISING, TYPES, VALUES, check


@pytest.fixture
def driver(hostile: Driver) -> Driver:
    return hostile


@pytest.fixture
def session(hostile_targets: list[str]) -> Iterator[psycopg.Connection[Any]]:
    """A connection of psycopg's own, to the first database."""
    with psycopg.connect(hostile_targets[0], autocommit=True) as connection:
        yield connection


def told(call: Callable[[], Any]) -> Any:
    """Return the answer, or what was raised."""
    try:
        return call()
    except Exception as error:
        return error


def outcome(driver: Driver, function: Any, *makes: Callable[[], Any]) -> Any:
    """Call a function with an argument that is made for it."""
    return driver.run(function(*(make() for make in makes)))


@pytest.mark.parametrize("type", TYPES)
def test_any_value_for_any_type(
    driver: Driver, session: psycopg.Connection[Any], type: str
) -> None:
    """Twice: first the long way, then the short one, on a prepared statement."""
    function = define(driver, f"f(v {type})", "text", "RUN ON 0")
    before = pids(driver)
    wrong = []
    for name, make in VALUES.items():
        for _ in range(2):
            answer = told(partial(outcome, driver, function, make))
            wrong.append(check(answer, type, name, session))
        if pids(driver) != before:
            wrong.append(f"{type}, {name}: the connection was lost")
            before = pids(driver)
    assert not list(filter(None, wrong))


def test_a_value_whose_methods_raise(
    driver: Driver, session: psycopg.Connection[Any]
) -> None:
    """It is refused like any other that does not fit; what it raised is the cause."""
    before, wrong = pids(driver), []
    for type in TYPES:
        function = define(driver, f"f(v {type})", "text", "RUN ON 0")
        for name, make in RAISING.items():
            for _ in range(2):
                answer = told(partial(outcome, driver, function, make))
                if isinstance(answer, Exception):
                    wrong.append(check(answer, type, name, session))
        assert pids(driver) == before
    assert not list(filter(None, wrong))


def test_values_that_only_adapters_know(
    driver: Driver, session: psycopg.Connection[Any]
) -> None:
    before, wrong = pids(driver), []
    for type in FOREIGN_TYPES:
        function = define(driver, f"f(v {type})", "text", "RUN ON 0")
        for name, make in {**VALUES, **RAISING}.items():
            answer = told(partial(outcome, driver, function, make))
            if isinstance(answer, Exception):
                wrong.append(check(answer, type, name, session))
        assert pids(driver) == before
    assert not list(filter(None, wrong))


def test_a_hostile_value_that_must_be_in_no_text(driver: Driver) -> None:
    """Nobody reads it to the end, or at all, only to keep it secret."""
    stop = itertools.count()
    before, wrong = pids(driver), []
    for name, make in {**VALUES, **RAISING}.items():
        for returns in (str, list[str]):
            hint = {"v": returns}
            function = face(
                driver, str, hint, name="f", run_on=0, sensitive=("v",), timeout=5
            )
            answer = told(partial(outcome, driver, function, make))
            if isinstance(answer, Exception):
                problem = check(answer, "text", name, None)
                wrong.append(problem)
    endless = face(driver, str, {"v": str}, name="f", run_on=0, sensitive=("v",))
    for _ in range(2):
        with pytest.raises(TypeError, match="argument v"):
            driver.run(endless(stop))
    assert next(stop) == 0
    assert pids(driver) == before
    assert not list(filter(None, wrong))


WAYS = ["NUL", "lone surrogate", "generator", "10,000 digits of an int", "7 levels"]
RAISING_WAYS = ["everything", "str"]


@pytest.mark.parametrize("name", [*WAYS, *RAISING_WAYS])
def test_every_way_refuses_it(driver: Driver, name: str) -> None:
    """Naming function and argument, with nothing sent, and all goes on."""
    make: Any = VALUES.get(name) or RAISING[name]
    f = define(driver, "same(v text)", "text")
    everywhere = define(driver, "all_of(v text)", "SETOF text", "RUN ON ALL")
    texts = define(driver, "parts(v text[])", "SETOF text", "SPLIT v; RUN ON ALL")
    numbers = define(
        driver, "parts(v int8[])", "SETOF int8", "SPLIT v; RUN ON hashint8(v)"
    )
    stream = face(driver, Iterator[str], {"v": str}, name="all_of")
    router, run = driver.router, driver.run
    before = pids(driver)
    ways: dict[str, Callable[[], Any]] = {
        "public.same(1): argument v (text)": lambda: run(f(make())),
        "public.same(1): argument v (text) ": lambda: run(
            router.call("same(text)", make())
        ),
        "public.same(1): argument v (text)  ": lambda: run(f.plan(make())),
        "public.same(1): argument v (text)   ": lambda: run(f.call_outcomes(make())),
        "public.all_of(1): argument v (text)": lambda: run(
            everywhere.call_each({0: ("a",), 1: (make(),)})
        ),
        "public.all_of(1): argument v (text) ": lambda: rows(driver, stream(make())),
        "public.parts(1): argument v (text[])": lambda: run(texts(["a", make()])),
        "public.parts(1): argument v (int8[])": lambda: run(numbers([1, make()])),
    }
    wrong = []
    for expected, way in ways.items():
        error = told(way)
        if not isinstance(error, (TypeError, ValueError)):
            wrong.append(f"{expected}: {error!r}")
        elif not str(error).startswith(expected.strip()):
            wrong.append(f"{expected}: {error}")
    assert pids(driver) == before
    assert not wrong


@pytest.mark.parametrize("name", [*WAYS, *RAISING_WAYS])
def test_many_calls_of_which_one_is_hostile(driver: Driver, name: str) -> None:
    """It has an error in its own place."""
    make: Any = VALUES.get(name) or RAISING[name]
    f = define(driver, "same(v text)", "text")
    before = pids(driver)
    results = driver.run(f.call_many([("a",), (make(),), {"v": make()}, ("b",)]))
    assert (results[0], results[3]) == ("a", "b")
    for result in results[1:3]:
        assert isinstance(result, Error)
        assert str(result).startswith("public.same(1): argument v (text): ")
        assert not result.sent
    assert pids(driver) == before


def test_a_key_that_leads_nowhere(driver: Driver) -> None:
    before, wrong = pids(driver), []
    for name in (*WAYS, *RAISING_WAYS):
        make: Any = VALUES.get(name) or RAISING[name]
        for keyword in ("key", "partition"):
            try:
                with lent(driver, "userdb", **{keyword: make()}):
                    wrong.append(f"{keyword}, {name}: went somewhere")
            except Exception as error:
                is_known = isinstance(error, (TypeError, ValueError, Error))
                text = str(error)
                if not (is_known and text.startswith("connection: ")):
                    wrong.append(f"{keyword}, {name}: {error!r}")
                elif keyword not in text:
                    wrong.append(f"{keyword}, {name}: {text}")
    assert pids(driver) == before
    assert not wrong


@pytest.mark.parametrize("name", [*WAYS, *RAISING_WAYS])
def test_execute_refuses_what_it_cannot_send(driver: Driver, name: str) -> None:
    make: Any = VALUES.get(name) or RAISING[name]
    before = pids(driver)
    answer = told(lambda: driver.execute("userdb", "SELECT $1::text", make()))
    if isinstance(answer, Exception):
        assert isinstance(answer, (TypeError, ValueError))
        assert str(answer).startswith("execute: parameter $1")
    assert pids(driver) == before


@pytest.mark.parametrize("sql", ["SELECT 1\0 + 1", "SELECT '\ud800'"])
def test_sql_that_cannot_be_sent(driver: Driver, sql: str) -> None:
    """What stands behind a NUL would be cut off, a WHERE for one."""
    before = pids(driver)
    with pytest.raises(ValueError, match=r"^execute: "):
        driver.execute("userdb", sql)
    assert pids(driver) == before


def test_more_parameters_than_the_protocol_has(driver: Driver) -> None:
    before = pids(driver)
    answer = told(lambda: driver.execute("userdb", "SELECT 1", *range(70_000)))
    assert isinstance(answer, (TypeError, ValueError, Error))
    assert getattr(answer, "sent", False) is False
    assert pids(driver) == before


@pytest.mark.parametrize(
    "timeout",
    [10**400, 1e308, float("inf"), 10**18],
    ids=["10**400", "1e308", "inf", "10**18"],
)
def test_a_timeout_beyond_all_measure(driver: Driver, timeout: float) -> None:
    """Endless, or refused; the connection is given back in either case."""
    f = define(driver, "same(v text)", "text")
    assert [driver.run(f("a")) for _ in range(3)] == ["a"] * 3
    before = pids(driver)

    def call() -> Any:
        return driver.run(f.with_options(timeout=timeout)("a"))

    def execute() -> Any:
        return driver.execute("userdb", "SELECT 'a'", timeout=timeout)[0][0][0]

    for _ in range(3):
        for way in (call, execute):
            answer = told(way)
            assert answer == "a" or isinstance(answer, (TypeError, ValueError))
    assert driver.run(f.with_options(timeout=5)("a")) == "a"
    assert pids(driver) == before


def test_identifiers_with_quotes(driver: Driver) -> None:
    f = driver.router.define(
        'CREATE FUNCTION "s""; drop table x; --"."f""\'; --"("a""b" text, '
        'OUT "o""\'$1" text, OUT "Ü $$ b" int4) LANGUAGE plproxy '
        "AS $q$ CLUSTER 'userdb'; RUN ON hashtext($1); $q$"
    )
    before = pids(driver)
    for _ in range(3):
        row = driver.run(f("x'\"; --"))
        assert (row["o\"'$1"], row["Ü $$ b"]) == ("x'\"; --", 1)
    with pytest.raises(ValueError, match='argument a"b'):
        driver.run(f("\0"))
    for name in ('f"', "f'; --", "f\0", "f\ud800", "", "f(", 'a"b".c', "f(text"):
        with pytest.raises(Error):
            driver.run(driver.router.call(name, "x"))
    for cluster in ("userdb'", 'userdb"', "userdb\0", "", "user\ud800db"):
        with pytest.raises(Error):
            driver.execute(cluster, "SELECT 1")
    assert pids(driver) == before


def test_texts_that_are_no_utf8(
    make_router: Callable[..., Driver], pg: Pg, hostile_targets: list[str]
) -> None:
    """A database without an encoding of its own may hold any bytes."""
    name = f"{PREFIX}sql_ascii"
    drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
    pg.execute("postgres", drop)
    pg.execute(
        "postgres",
        f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0",
    )
    target = make_conninfo(hostile_targets[0], dbname=name)
    bodies = {
        "text": "SELECT E'a\\xff'",
        "SETOF text": "SELECT 'good' UNION ALL SELECT E'a\\xff'",
        "text[]": "SELECT ARRAY['a', E'\\xff']",
        "jsonb": """SELECT E'{"a": "\\xff"}'::jsonb""",
        "name": "SELECT E'a\\xff'::name",
    }
    with psycopg.connect(target, autocommit=True) as conn:
        for number, (returns, body) in enumerate(bodies.items()):
            conn.execute(
                f"CREATE FUNCTION bad{number}() RETURNS {returns} LANGUAGE sql "
                f"AS $$ {body} $$".encode()
            )
        conn.execute(
            b"CREATE FUNCTION bad5() RETURNS text LANGUAGE plpgsql AS $$ BEGIN "
            b"RAISE NOTICE '%', E'oops \\xff'; RETURN 'a'; END $$;"
            b"CREATE FUNCTION bad6() RETURNS text LANGUAGE plpgsql AS $$ BEGIN "
            b"RAISE EXCEPTION '%', E'oops \\xff'; END $$"
        )
    driver = make_router({"userdb": [target]}, pool_size=1)
    before = pids(driver)
    for number, returns in enumerate([*bodies, "text", "text"]):
        bad = define(driver, f"bad{number}()", returns, "RUN ON 0")
        for _ in range(3):
            answer = told(partial(outcome, driver, bad))
            assert isinstance(answer, Error)
            assert answer.outcomes[0].state == "failed" or isinstance(
                answer, ResultError
            )
        results = driver.run(bad.call_many([()] * 3))
        assert len(results.errors) == 3
        assert pids(driver) == before
    pg.execute("postgres", drop)
