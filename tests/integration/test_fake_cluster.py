"""A fake cluster tells the truth: what it answers is what servers answer.

The same declarations run on partitions of the test server and on fake ones, and all
that a caller can see must be equal: values and their types, rows, outcomes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from plproxy_py import Int4, Row
from tests.both import rows
from tests.fix_fake import Twins, declared, plain, seen


class Person(NamedTuple):
    id: Int4
    name: str | None
    born: date | None


@dataclass
class Named:
    born: date | None
    name: str | None
    id: Int4


PERSON = (3, "c", date(2001, 2, 3))
ONE = [
    ("one", str, "got 1"),
    ("one", str | None, lambda x: f"got {x}"),
    ("nothing", str | None, None),
    ("nothing", str, None),
    ("quiet", None, None),
    ("person", Person, PERSON),
    ("person", Person, {"name": "c", "born": date(2001, 2, 3), "id": 3}),
    ("person", Named, Person(*PERSON)),
    ("person", Named | None, Named(PERSON[2], "c", 3)),
    ("nobody", Person | None, None),
    ("nobody", Person | None, (None, None, None)),
    ("nobody", Named, None),
]


@pytest.mark.parametrize(("name", "returns", "value"), ONE)
def test_one_answer(twins: Twins, name: str, returns: Any, value: Any) -> None:
    function = declared(twins, name, returns)
    twins.fake.answer(function(twins.drivers[1]), value)
    for _ in range(3):  # unprepared, prepared, the short way
        twins.same(lambda driver: function(driver)(1))
    twins.same(lambda driver: function(driver).call_outcomes(1))
    twins.same(lambda driver: function(driver).call_many([(1,)] * 9))
    assert {call[:2] + call[3:] for call in twins.fake.calls} == {("userdb", 2, (1,))}


@pytest.mark.parametrize("returns", [str, str | None])
@pytest.mark.parametrize(("name", "sent"), [("no_rows", []), ("two_rows", ["a", "b"])])
def test_other_than_one_row(twins: Twins, name: str, sent: Any, returns: Any) -> None:
    function = declared(twins, name, returns)
    twins.fake.rows(function(twins.drivers[1]), sent)
    twins.same(lambda driver: function(driver)(1))


@pytest.mark.parametrize(
    ("signature", "value"),
    [
        ("mood(x int4) returns fake_mood", "happy"),
        ("ident(x int4) returns fake_id", 7),
        ("money_of(x int4, out amount numeric(20,10))", Decimal("1.5")),
        ("one(x int4) returns varchar(3)", "got 1"),
        ("one(x int4) returns char(7)", "got 1"),
    ],
)
def test_types_as_servers_show_them(twins: Twins, signature: str, value: Any) -> None:
    head, _, out = signature.partition(" returns ")
    returns = f" RETURNS {out}" if out else ""
    text = f"CREATE FUNCTION {head}{returns} AS $$ CLUSTER 'userdb'; $$ "
    functions = [d.router.define(f"{text} LANGUAGE plproxy;") for d in twins.drivers]
    twins.fake.answer(functions[1], value)
    twins.same(lambda driver: functions[twins.drivers.index(driver)](1))


def test_sets(twins: Twins) -> None:
    numbers = declared(twins, "numbers", list[Int4], run_on="ALL")
    people = declared(twins, "people", list[Person], {}, run_on="ALL")
    any_people = declared(
        twins,
        "any_people",
        list[Row],
        {},
        text="any_people(OUT id int4, OUT name text)",
        select="id, name FROM people()",
    )
    for place in range(4):
        found = [n + 10 * place for n in range(1, 4)]
        twins.fake.answer("numbers", lambda x, found=found: found[:x], partition=place)
    table = [PERSON, (1, None, None), (2, "b", date(2002, 3, 4))]
    twins.fake.answer(people(twins.drivers[1]), table)
    twins.fake.answer(any_people(twins.drivers[1]), [row[:2] for row in table])
    for x in (3, 0, 1):
        for _ in range(3):
            twins.same(lambda driver, x=x: numbers(driver)(x))
        twins.same(lambda driver, x=x: numbers(driver).call_outcomes(x))
        twins.same(lambda driver, x=x: numbers(driver).call_each({3: (x,), 1: (x,)}))
        twins.same(lambda driver, x=x: numbers(driver).call_many([(x,)] * 5))
    twins.same(lambda driver: people(driver)())
    twins.same(lambda driver: any_people(driver)())


@pytest.mark.parametrize(
    "clauses",
    [
        {"order_by": ("numbers desc",)},
        {"order_by": ("1",), "limit": 1, "offset": 1},
        {"limit": 2},
        {"combine": "sum"},
        {"combine": sorted},
    ],
    ids=str,
)
def test_one_answer_from_many(twins: Twins, clauses: Any) -> None:
    numbers = declared(
        twins,
        "numbers",
        int if clauses.get("combine") == "sum" else list[Int4],
        text="numbers(x int4) RETURNS SETOF int4" if "combine" in clauses else None,
        run_on="ALL",
        **clauses,
    )
    for place in range(4):
        found = [
            10 * place + n for n in ((2, 3, 1) if "order_by" in clauses else (1, 2, 3))
        ]
        twins.fake.answer(numbers(twins.drivers[1]), found, partition=place)
    twins.same(lambda driver: numbers(driver)(3))
    # Sorted and cut by each partition already.
    twins.same(lambda driver: numbers(driver).call_outcomes(3))


def test_search(twins: Twins) -> None:
    """The first partition with a row: of several, any."""
    numbers = declared(
        twins, "numbers", list[Int4], run_on="ALL", first=True, idempotent=True
    )
    twins.fake.answer("numbers", [])
    assert twins.same(lambda driver: numbers(driver)(0)) == ["list", []]
    twins.fake.answer("numbers", [31], partition=3)
    assert seen(twins.drivers[1], lambda d: numbers(d)(1)) == plain([31])


def test_streams(twins: Twins) -> None:
    hint = Iterator[Int4]
    numbers = declared(twins, "numbers", hint, run_on="ALL", order_by=("numbers",))
    for place in range(4):
        twins.fake.answer(
            "numbers",
            lambda x, place=place: (n + 10 * place for n in range(1, x + 1)),
            partition=place,
        )
    for x in (9, 0, 8000):
        twins.same(lambda driver, x=x: rows(driver, numbers(driver)(x)))


def test_columns_listed_by_the_caller(twins: Twins) -> None:
    text = (
        "CREATE FUNCTION anything(what text) RETURNS SETOF record AS "
        "$$ CLUSTER 'userdb'; RUN ON 1; $$ LANGUAGE plproxy;"
    )
    functions = [driver.router.define(text) for driver in twins.drivers]
    listed = [function.returning("n int4, w text") for function in functions]
    twins.fake.answer(listed[1], lambda what: [(1, "a"), (2, what)])
    twins.same(lambda driver: listed[twins.drivers.index(driver)]("b"))
    odd = [f.returning('" AS (" int4, "x) FROM" text') for f in functions]
    twins.same(lambda driver: odd[twins.drivers.index(driver)]("b"))
    with pytest.raises(TypeError, match="script what returning"):
        twins.fake.answer("anything", [])


def test_split(twins: Twins) -> None:
    pairs = declared(
        twins,
        "pairs",
        list[str],
        {"keys": list[Int4], "words": list[str]},
        run_on="hashint4(keys)",
        split="keys, words",
    )
    twins.fake.answer(
        "pairs",
        lambda keys, words: [f"{k} {w}" for k, w in zip(keys, words)],  # noqa: B905
    )
    keys, words = list(range(40)), [f'{n} {{}}"' for n in range(40)]
    twins.same(lambda driver: pairs(driver)(keys, words))
    twins.same(lambda driver: pairs(driver)([], []))
    calls = twins.fake.calls_of("pairs")
    assert len(calls) == 4
    assert sorted(key for call in calls for key in call.args[0]) == keys


def test_hostile_names(twins: Twins) -> None:
    text = (
        """CREATE FUNCTION "It""s"."a "" $1"("x ; --" int4, OUT "y ' FROM" int4, """
        """OUT "Z z" text) AS $$ CLUSTER 'userdb'; RUN ON 0; $$ LANGUAGE plproxy;"""
    )
    functions = [driver.router.define(text) for driver in twins.drivers]
    twins.fake.answer(functions[1], {"Z z": "z", "y ' FROM": 1})
    twins.same(lambda driver: functions[twins.drivers.index(driver)](5))
    assert twins.fake.calls_of(functions[1])[0][2:] == ('"It""s"."a "" $1"', (5,))
