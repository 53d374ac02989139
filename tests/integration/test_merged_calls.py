"""order_by, limit, offset, combine and group_by through the router, end to end.

What comes out is held to what one table with all rows would say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
import pytest

from plproxy_py import Int4, Partial, ResultError
from tests.both import drained, face, rows
from tests.fix_router import Driver
from tests.fix_server import Pg

PARTITIONS = [f"part{number:02}" for number in range(4)]
ROWS = [
    (n, ["Oslo", "oslo", "Århus", "Bern", None][n * 7 % 5], n * 37 % 11, n % 4 == 3)
    for n in range(120)
]
REMOTE = """
DROP TABLE IF EXISTS merged CASCADE;
CREATE TABLE merged (id int4, city text, total int8, odd bool);
CREATE OR REPLACE FUNCTION cities(OUT id int4, OUT city text, OUT total int8)
    RETURNS SETOF record LANGUAGE sql AS
    'SELECT id, city, total FROM merged ORDER BY random()';
CREATE OR REPLACE FUNCTION totals(OUT city text, OUT total int8, OUT n int8)
    RETURNS SETOF record LANGUAGE sql AS
    'SELECT city, sum(total)::int8, count(*) FROM merged GROUP BY 1';
CREATE OR REPLACE FUNCTION counted() RETURNS int8
    LANGUAGE sql AS 'SELECT count(*) FROM merged';
"""


class City(NamedTuple):
    id: Int4
    city: str | None
    total: int


class Total(NamedTuple):
    city: str | None
    total: int
    n: int


@dataclass
class Mean:
    city: str | None
    mean: Decimal


@pytest.fixture(scope="module")
def table(pg: Pg) -> Callable[[str], list[Any]]:
    """The partitions hold the rows by turns, the third none; and one table has all."""
    for place, name in enumerate([*PARTITIONS, "merged_union"]):
        pg.execute(name, REMOTE)
        own = [
            row
            for row in ROWS
            if name == "merged_union" or [0, 1, 3][row[0] % 3] == place
        ]
        with psycopg.connect(pg.connstr(name)) as conn, conn.cursor() as cursor:
            cursor.executemany("INSERT INTO merged VALUES (%s, %s, %s, %s)", own)

    def ask(query: str) -> list[Any]:
        return pg.execute("merged_union", query)

    return ask


ORDERS = [
    (("id",), None, 0),
    (("id desc",), 7, 0),
    (("total", "id"), 10, 5),
    (("total desc", "id desc"), None, 100),
    (('city collate "C" nulls first', "id"), 50, 10),
    (('city collate "C" desc', "total desc", "id"), 30, 30),
    (("3 desc", "1"), 0, 3),
    (("id",), 5, 1000),
]


@pytest.mark.parametrize(("order", "limit", "offset"), ORDERS)
def test_rows_come_as_from_one_table(
    userdb: Driver,
    table: Callable[[str], list[Any]],
    order: tuple[str, ...],
    limit: int | None,
    offset: int,
) -> None:
    keywords = {"order_by": order, "limit": limit, "offset": offset}
    query = f"SELECT id, city, total FROM merged ORDER BY {', '.join(order)} "
    wanted = table(query + f"OFFSET {offset}" + (f" LIMIT {limit}" if limit else ""))
    if limit == 0:
        wanted = []
    cities = face(userdb, list[City], name="cities", **keywords)
    assert userdb.run(cities()) == wanted
    assert userdb.run(cities.with_options(on_error="partial")()) == wanted
    stream = face(userdb, Iterator[City], name="cities", **keywords)
    assert rows(userdb, stream()) == wanted
    assert userdb.run(cities.call_each({0: (), 1: (), 2: (), 3: ()})) == wanted


def test_limit_and_offset_as_arguments(
    userdb: Driver, table: Callable[[str], list[Any]]
) -> None:
    page = face(
        userdb,
        list[Int4],
        {"most": Int4, "skip": Int4},
        select="id AS r FROM merged",
        order_by=("r",),
        limit="most",
        offset="skip",
    )
    ids = [id for (id,) in table("SELECT id FROM merged ORDER BY 1")]
    for most, skip in ((10, 0), (10, 10), (0, 0), (1000, 115), (None, 100), (5, None)):
        end = None if most is None else (skip or 0) + most
        assert userdb.run(page(most, skip)) == ids[skip or 0 : end]
    with pytest.raises(ValueError, match="limit must not be negative"):
        userdb.run(page(-1, 0))


def test_only_what_is_wanted_is_sent(userdb: Driver) -> None:
    """Each partition sends offset + limit rows at most."""
    page = face(userdb, list[City], name="cities", order_by=("id",), limit=3, offset=2)
    outcomes = userdb.run(page.call_outcomes())
    assert [len(outcome.rows) for outcome in outcomes.values()] == [5, 5, 0, 5]
    assert [row.id for row in outcomes[1].rows] == [1, 4, 7, 10, 13]


def test_limit_without_order_takes_any(userdb: Driver) -> None:
    some = face(userdb, list[City], name="cities", limit=50)
    found = userdb.run(some())
    assert len({city.id for city in found}) == 50


def test_combined_by_a_rule(userdb: Driver, table: Callable[[str], list[Any]]) -> None:
    counted = face(userdb, int, name="counted", combine="sum")
    assert userdb.run(counted()) == len(ROWS)
    for rule, query in (
        ("min", "min(total)"),
        ("max", "max(total)"),
        ("sum", "sum(total)"),
    ):
        call = face(
            userdb, int | None, select=f"{query}::int8 FROM merged", combine=rule
        )
        assert userdb.run(call()) == table(f"SELECT {query}::int8 FROM merged")[0][0]
    everything = face(
        userdb, bool | None, select="bool_or(odd) FROM merged", combine="bool_or"
    )
    assert userdb.run(everything()) is True


def test_combined_by_group(userdb: Driver, table: Callable[[str], list[Any]]) -> None:
    totals = face(
        userdb,
        list[Total],
        name="totals",
        combine={"total": "sum", "n": "sum"},
        group_by=("city",),
    )
    wanted = table("SELECT city, sum(total)::int8, count(*) FROM merged GROUP BY 1")
    assert set(userdb.run(totals())) == set(wanted)
    partial = userdb.run(totals.with_options(on_error="partial")())
    assert type(partial) is Partial
    assert (set(partial), partial.missing) == (set(wanted), ())


def test_an_average_of_totals_and_counts(
    userdb: Driver, table: Callable[[str], list[Any]]
) -> None:
    means = face(
        userdb,
        list[Mean],
        None,
        "totals(OUT city text, OUT total int8, OUT n int8)",
        combine={"mean": ("avg", "total", "n")},
        group_by=("city",),
    )
    wanted = dict(table("SELECT city, avg(total) FROM merged GROUP BY 1"))
    assert {mean.city: mean.mean for mean in userdb.run(means())} == wanted


def test_distinct(userdb: Driver, table: Callable[[str], list[Any]]) -> None:
    names = face(
        userdb, list[str | None], select="city FROM merged", combine="distinct"
    )
    found = userdb.run(names())
    assert len(found) == len(set(found)) == 5
    assert set(found) == {name for (name,) in table("SELECT city FROM merged")}


def test_a_callable_takes_answers_in_tag_order(userdb: Driver) -> None:
    seen: list[Any] = []

    def combine(answers: list[Any]) -> str:
        seen.append(answers)
        return "|".join(str(len(answer)) for answer in answers)

    counted = face(
        userdb,
        str,
        None,
        "cities(OUT id int4, OUT city text, OUT total int8) RETURNS SETOF record",
        combine=combine,
    )
    assert userdb.run(counted()) == "40|40|0|40"
    assert seen[0][1][0].id % 3 == 1


def test_after_a_callable_that_raised_the_connections_serve_on(userdb: Driver) -> None:
    def combine(answers: list[Any]) -> int:
        raise ArithmeticError("mine")

    counted = face(userdb, int, None, "counted() RETURNS int8", combine=combine)
    with pytest.raises(ResultError, match="combine= raised ArithmeticError: mine"):
        userdb.run(counted())
    assert len(userdb.execute("userdb", "SELECT 7", timeout=3)) == 4


# --- a partition that sorts otherwise than it says ---------------------------------


@pytest.fixture
def lying(userdb: Driver, pg: Pg) -> Callable[[Any], Any]:
    """Return what declares a function that sends texts on partition 2, sorted so."""
    for name in PARTITIONS:
        type = "text" if name == "part02" else "int8"
        pg.execute(
            name,
            "DROP FUNCTION IF EXISTS lying(); CREATE FUNCTION lying() RETURNS SETOF "
            f"{type} LANGUAGE sql AS 'SELECT generate_series(1, 30)::{type}'",
        )
    return lambda returns: face(
        userdb, returns, select="r FROM lying() r", order_by=("r",)
    )


@pytest.mark.parametrize("kind", ["list", "partial", "each"])
def test_a_partition_that_lies_about_its_order_is_named(
    userdb: Driver, lying: Callable[[Any], Any], kind: str
) -> None:
    numbers = lying(list[int])
    if kind == "partial":
        numbers = numbers.with_options(on_error="partial")
    call = numbers.call_each if kind == "each" else numbers
    given = [{3: (), 2: ()}] if kind == "each" else []
    for _ in range(3):  # the statement is prepared by then
        with pytest.raises(ResultError, match="sorts before") as caught:
            userdb.run(call(*given))
        error = caught.value
        assert (error.partition, error.sent, error.cluster) == (2, True, "userdb")
        assert {out.state for out in error.outcomes.values()} == {"committed"}
    assert len(userdb.execute("userdb", "SELECT 7", timeout=3)) == 4


def test_a_stream_of_a_partition_that_lies(
    userdb: Driver, lying: Callable[[Any], Any]
) -> None:
    got, error = drained(userdb, lying(Iterator[int])())
    assert isinstance(error, ResultError)
    assert (error.partition, error.sent) == (2, True)
    assert got == sorted(got)
    assert sorted(error.outcomes) == [0, 1, 2, 3]
    assert len(userdb.execute("userdb", "SELECT 7", timeout=3)) == 4


def test_the_window_is_no_argument(userdb: Driver) -> None:
    """Nor when the statement is prepared, and the call takes the short way."""
    page = face(
        userdb,
        list[Int4],
        {"n": Int4},
        select="g AS r FROM generate_series(n, 20) g",
        order_by=("r",),
        limit=3,
        run_on="n",
    )
    for n in [1, 1, 1, 2, 5, 9, 1]:
        assert userdb.run(page(n)) == [n, n + 1, n + 2]
