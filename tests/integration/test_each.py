"""`call_each`: each partition with its own arguments."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plproxy_py import Int4, Partial, RemoteError, RoutingError
from tests.both import face
from tests.fix_router import Driver
from tests.fix_server import Pg

PLACE = "right(current_database()::text, 2)::int4"
PARTITIONS = [f"part{number:02}" for number in range(4)]

REMOTE = """
CREATE TABLE IF NOT EXISTS each_kept (id int4, note text);
TRUNCATE each_kept;
CREATE OR REPLACE FUNCTION keep_each(id int4, note text) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO each_kept VALUES (id, note);
    IF id < 0 THEN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END IF;
    RETURN NEXT right(current_database()::text, 2) || ' ' || id || ' ' || note;
END $$;
"""


@pytest.fixture
def driver(userdb: Driver, pg: Pg) -> Driver:
    for name in PARTITIONS:
        pg.execute(name, REMOTE)
    return userdb


def keep_each(driver: Driver, returns: Any = list[str], **keywords: Any) -> Any:
    parameters = {"id": Int4, "note": str}
    return face(driver, returns, parameters, name="keep_each", **keywords)


def held(pg: Pg) -> dict[int, list[tuple[int, str]]]:
    return {
        number: pg.execute(name, "SELECT id, note FROM each_kept")
        for number, name in enumerate(PARTITIONS)
    }


def test_own_arguments_for_each_partition(driver: Driver, pg: Pg) -> None:
    keep = keep_each(driver)
    answer = driver.run(
        keep.call_each(
            {3: (30, "x"), 0: {"note": "y", "id": 0}, 2: keep.bind(20, note="z")}
        )
    )
    assert answer == ["03 30 x", "00 0 y", "02 20 z"]
    assert held(pg) == {0: [(0, "y")], 1: [], 2: [(20, "z")], 3: [(30, "x")]}


def test_run_on_does_not_matter(driver: Driver) -> None:
    keep = keep_each(driver, run_on="hashtext(note)")
    answer = driver.run(keep.call_each({0: (1, "a"), 1: (1, "a")}))
    assert answer == ["00 1 a", "01 1 a"]


@pytest.mark.parametrize(
    ("calls", "kind", "text"),
    [
        ({}, RoutingError, "at least one partition"),
        ({4: (1, "a")}, RoutingError, "partition 4|4 "),
        ({-1: (1, "a")}, RoutingError, "-1"),
        ({True: (1, "a")}, (RoutingError, TypeError), "bool|number|partition"),
        ({"0": (1, "a")}, (RoutingError, TypeError), "str|number|partition"),
        ({0: "ab"}, TypeError, "partition 0 is str"),
        ({0: b"ab"}, TypeError, "partition 0 is bytes"),
        ({1: 5}, TypeError, "partition 1 is int"),
        ({1: None}, TypeError, "partition 1 is NoneType"),
        ({0: (1, "a"), 2: (1,)}, TypeError, "note is missing"),
        ({0: (1, "a"), 2: (1, "a", 3)}, TypeError, "takes 2 arguments"),
        ({0: (1, "a"), 2: {"id": 1, "no": "a"}}, TypeError, "note is missing"),
        ({0: (1, "a"), 2: ("x", "a")}, (TypeError, ValueError), "id"),
        ({0: (1, "a"), 2: (2**31, "a")}, ValueError, "id"),
    ],
)
def test_what_is_refused_before_anything_is_sent(
    driver: Driver, pg: Pg, calls: Any, kind: Any, text: str
) -> None:
    with pytest.raises(kind, match=text):
        driver.run(keep_each(driver).call_each(calls))
    assert held(pg) == {number: [] for number in range(4)}


def test_what_is_no_mapping_is_refused(driver: Driver) -> None:
    for wrong in ([(1, "a")], "ab", 5, None):
        with pytest.raises(TypeError, match="call_each"):
            driver.run(keep_each(driver).call_each(wrong))


def test_arguments_bound_to_another_function(driver: Driver) -> None:
    other = face(driver, list[str], {"id": Int4, "note": str}, select="note")
    with pytest.raises(TypeError, match=r"partition 0 is bound to public\.face"):
        driver.run(keep_each(driver).call_each({0: other.bind(1, "a")}))


def test_equal_targets_are_refused(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    """They are one partition twice, and each call would be made once."""
    driver = make_router({"userdb": [*databases4[:3], databases4[0]]})
    one = face(driver, list[int], {"n": int}, select="n")
    with pytest.raises(RoutingError, match="same target"):
        driver.run(one.call_each({0: (1,), 3: (2,)}))
    assert driver.run(one.call_each({3: (2,)})) == [2]


def test_one_row_comes_from_one_partition(driver: Driver) -> None:
    one = face(driver, int, {"n": int}, select="n", run_on=0)
    assert driver.run(one.call_each({2: (5,)})) == 5
    with pytest.raises(RoutingError, match="several"):
        driver.run(one.call_each({2: (5,), 3: (6,)}))
    total = face(driver, int, {"n": int}, select="n", combine="sum")
    assert driver.run(total.call_each({2: (5,), 3: (6,)})) == 11


def test_a_failure_tells_what_the_others_did(driver: Driver, pg: Pg) -> None:
    keep = keep_each(driver)
    with pytest.raises(psycopg.errors.DiskFull) as caught:
        driver.run(keep.call_each({3: (1, "a"), 2: (-1, "b"), 0: (2, "c")}))
    error = caught.value
    assert isinstance(error, RemoteError)
    assert (error.partition, error.cluster) == (2, "userdb")
    states = {number: out.state for number, out in error.outcomes.items()}
    assert states == {3: "committed", 2: "failed", 0: "committed"}
    assert held(pg) == {0: [(2, "c")], 1: [], 2: [], 3: [(1, "a")]}


def test_a_partial_answer_of_own_arguments(driver: Driver, pg: Pg) -> None:
    keep = keep_each(driver).with_options(on_error="partial")
    answer = driver.run(keep.call_each({3: (1, "a"), 2: (-1, "b")}))
    assert type(answer) is Partial
    assert (answer, answer.missing) == (["03 1 a"], (2,))
    with pytest.raises(RoutingError, match="need=3"):
        driver.run(keep.with_options(need=3).call_each({3: (1, "a"), 1: (1, "b")}))
    assert held(pg)[1] == []


def test_limit_and_order_hold_over_all(driver: Driver) -> None:
    numbers = face(
        driver,
        list[Int4],
        {"n": Int4, "most": Int4},
        select="n * g AS r FROM generate_series(1, 4) g",
        order_by=("r",),
        limit="most",
    )
    assert driver.run(numbers.call_each({0: (10, 5), 1: (1, 5)})) == [1, 2, 3, 4, 10]
    with pytest.raises(RoutingError, match="limit and offset"):
        driver.run(numbers.call_each({0: (10, 5), 1: (1, 6)}))
    with pytest.raises(ValueError, match="limit must not be negative"):
        driver.run(numbers.call_each({0: (10, -1), 1: (1, -1)}))


def test_a_strict_function_is_not_called_with_null(driver: Driver, pg: Pg) -> None:
    """NULL gives no rows, as in a call of its own, and the others are called."""
    for name in PARTITIONS:
        pg.execute(
            name,
            "CREATE OR REPLACE FUNCTION strictly(n int4) RETURNS SETOF int4 "
            "LANGUAGE sql AS 'INSERT INTO each_kept VALUES (n) RETURNING 7'",
        )
    driver.router.define(
        "CREATE FUNCTION strictly(n int4) RETURNS SETOF int4 STRICT LANGUAGE plproxy "
        "AS $$ CLUSTER 'userdb'; RUN ON ALL; $$"
    )
    strictly = driver.router.functions["public.strictly(int4)"]
    assert driver.run(strictly(None)) == []
    assert driver.run(strictly.call_each({0: (None,), 1: (5,)})) == [7]
    assert driver.run(strictly.call_each({0: (None,), 1: (None,)})) == []
    assert held(pg) == {0: [], 1: [(5, None)], 2: [], 3: []}


def test_naive_moments_are_placed(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router({"userdb": {"partitions": databases4, "timezone": "UTC"}})
    moments = face(driver, list[str], {"at": dt.datetime}, select="at::text")
    answer = driver.run(
        moments.call_each(
            {0: (dt.datetime(2026, 1, 1),), 1: (dt.datetime(2026, 1, 2),)}
        )
    )
    assert answer == ["2026-01-01 00:00:00+00", "2026-01-02 00:00:00+00"]
