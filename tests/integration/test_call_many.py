"""Many calls at once: order, errors in their place, bounds, and every shape."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import psycopg
import pytest

from plproxy_py import (
    Int4,
    NoDataFound,
    NoSuchCluster,
    Notice,
    RemoteError,
    Results,
    Router,
    RoutingError,
)
from plproxy_py._batches import Batch
from plproxy_py._parts import BUDGET
from plproxy_py._preparing import Callee
from plproxy_py._steps import run
from tests.both import face, next_row, rows
from tests.fix_router import Driver
from tests.fix_server import Pg
from tests.many import MAKE, PARTITIONS, REMOTE, call_many, check_truth, first, held

SHAPES = """
CREATE OR REPLACE FUNCTION spots(n int4) RETURNS SETOF text LANGUAGE sql AS
    $$ SELECT current_database()::text FROM generate_series(1, n) $$;
CREATE OR REPLACE FUNCTION tell(id int4) RETURNS TABLE (a int4, b text) LANGUAGE sql AS
    $$ SELECT id, 'b' || id $$;
CREATE OR REPLACE FUNCTION mark(id int4) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO made (id) VALUES (id) $$;
CREATE OR REPLACE FUNCTION marks(ids int4[]) RETURNS SETOF int4 LANGUAGE sql AS
    $$ INSERT INTO made (id) SELECT unnest(ids) RETURNING id $$;
CREATE OR REPLACE FUNCTION found(id int4) RETURNS SETOF int4 LANGUAGE sql AS
    $$ SELECT id WHERE id % 2 = 0 $$;
"""


@pytest.fixture(autouse=True)
def _remote(pg: Pg, databases4: list[str]) -> None:
    for name in PARTITIONS:
        pg.execute(name, REMOTE + SHAPES)


@pytest.fixture
def driver(make_router: Callable[..., Driver], databases4: list[str]) -> Driver:
    """One connection for each partition: one that is not given back is missed."""
    return make_router({"userdb": databases4}, pool_size=1)


@pytest.fixture
def make(driver: Driver) -> Any:
    return driver.router.define(MAKE)


def define(driver: Driver, head: str, body: str, strict: str = "") -> Any:
    return driver.router.define(
        f"CREATE FUNCTION {head} LANGUAGE plproxy {strict} AS $fn$ {body} $fn$"
    )


def test_results_come_in_input_order(driver: Driver, make: Any, pg: Pg) -> None:
    items = [
        ((id, "x"), {"id": id, "how": "y"}, make.bind(id, how="z"), [id, "w"])[id % 4]
        for id in range(3000)
    ]
    results: Any = call_many(driver, make, items)
    assert type(results) is Results
    assert list(results) == [f"{id} {'xyzw'[id % 4]}" for id in range(3000)]
    assert (results.errors, results.raise_first()) == ({}, results)
    assert held(pg) == set(range(3000))
    for number, name in enumerate(PARTITIONS):
        ids = pg.execute(name, "SELECT id FROM made ORDER BY number")
        assert ids == [(id,) for id in range(number, 3000, 4)], "sent in input order"


def test_iterators_in_and_out(driver: Driver, make: Any) -> None:
    results = rows(driver, make.iter_many((id, "x") for id in range(500)))
    assert results == [f"{id} x" for id in range(500)]
    assert rows(driver, make.iter_many(iter(()))) == []
    assert call_many(driver, make, []) == []


def test_async_iterators(driver: Driver, make: Any) -> None:
    async def items() -> AsyncIterator[Any]:
        for id in range(100):
            yield id, "x"

    if driver.is_async:
        assert call_many(driver, make, items()) == [f"{id} x" for id in range(100)]
    else:
        with pytest.raises(TypeError, match="not iterable"):
            make.call_many(items())


def test_a_failed_call_undoes_no_other(driver: Driver, make: Any, pg: Pg) -> None:
    """Neither one that fails in the middle, nor one that fails at its commit."""
    hows = ["x", "raise", "x", "x", "orphan", "x", "x"]
    items = [(id, hows[id % 7]) for id in range(700)]
    results = call_many(driver, make, items)
    told = check_truth(results, range(700), held(pg))
    assert told == {"committed": 500, "failed": 200, "unknown": 0}
    assert isinstance(results[1], psycopg.errors.DiskFull)
    error = results[4]
    assert isinstance(error, RemoteError)
    assert isinstance(error, psycopg.errors.ForeignKeyViolation)
    assert (error.function, error.cluster) == ("public.make(2)", "userdb")
    assert (error.partition, error.sent, list(error.outcomes)) == (0, True, [0])
    assert str(error).startswith("public.make(2): [")
    assert "] REMOTE ERROR: " in str(error)
    assert list(results.errors) == [
        id for id in range(700) if hows[id % 7] in hows[1::3]
    ]
    with pytest.raises(psycopg.errors.DiskFull) as caught:
        results.raise_first()
    assert "call 1 of 700, counted from 0" in caught.value.__notes__


@pytest.mark.parametrize("item", ["marko", b"marko", 7, None])
def test_an_item_without_arguments(
    driver: Driver, make: Any, pg: Pg, item: object
) -> None:
    items = [(0, "x"), (1, "x"), item, (3, "x")]
    with pytest.raises(TypeError, match=r"public\.make\(2\): item 2 is "):
        call_many(driver, make, items)
    assert held(pg) == set(), "a list is looked at before the first call"
    with pytest.raises(TypeError, match="item 2 is ") as caught:
        call_many(driver, make, iter(items))
    assert held(pg) == {0, 1}
    assert caught.value.__notes__ == [
        "public.make(2): 2 calls were taken: 2 committed, 0 failed, 0 unknown, 0 not "
        "sent"
    ]
    with pytest.raises(TypeError, match="item 0 is str"):
        call_many(driver, make, "marko")


def test_what_bind_gave_belongs_to_its_function(driver: Driver, make: Any) -> None:
    other = define(driver, "mark(id int4) RETURNS void", "CLUSTER 'userdb'; RUN ON id;")
    with pytest.raises(TypeError, match=r"item 0 is bound to public\.mark\(1\)"):
        call_many(driver, make, [other.bind(1)])
    with pytest.raises(TypeError, match="argument how is missing"):
        make.bind(1)


def test_arguments_that_do_not_fit_are_errors_in_their_place(
    driver: Driver, make: Any, pg: Pg
) -> None:
    items = [(0, "x"), (2**31, "x"), (None, "x"), ("a", "x"), (4,), (5, "x")]
    results = call_many(driver, make, items)
    assert (results[0], results[5]) == ("0 x", "5 x")
    assert held(pg) == {0, 5}
    for index in (1, 2, 3, 4):
        error = results[index]
        assert isinstance(error, RoutingError)
        assert (error.sqlstate, error.sent, error.outcomes) == ("22023", False, {})
        assert error.function == "public.make(2)"
        assert str(error).count("public.make(2)") == 1
    assert isinstance(results[1].__cause__, ValueError)
    assert isinstance(results[4].__cause__, TypeError)


def test_every_shape(driver: Driver, pg: Pg) -> None:
    spots = define(
        driver, "spots(n int4) RETURNS SETOF text", "CLUSTER 'userdb'; RUN ON ALL;"
    )
    results = call_many(driver, spots, [(1,), (0,), (2,)] * 40)
    assert results[:2] == [PARTITIONS, []]
    assert results[2] == [name for name in PARTITIONS for _ in (1, 2)]
    assert results[117:] == results[:3]

    tell = define(
        driver,
        "tell(id int4, OUT a int4, OUT b text)",
        "CLUSTER 'userdb'; RUN ON ANY;",
        "STRICT",
    )
    results = call_many(driver, tell, [(1,), (None,), (3,)])
    assert [results[0].b, results[1], results[2].a] == ["b1", None, 3]

    mark = define(driver, "mark(id int4) RETURNS void", "CLUSTER 'userdb'; RUN ON id;")
    assert call_many(driver, mark, [(1,), (2,)]) == [None, None]

    split = define(
        driver,
        "marks(ids int4[]) RETURNS SETOF int4",
        "CLUSTER 'userdb'; SPLIT ids; RUN ON ids;",
    )
    lists = [list(range(id, id + 7)) for id in range(100, 450, 7)]
    results = call_many(driver, split, [*((ids,) for ids in lists), ([],), (None,)])
    assert [sorted(ids) for ids in results] == [*lists, [], []]
    assert held(pg) == {1, 2, *range(100, 450)}

    found = define(
        driver, "found(id int4) RETURNS int4", "CLUSTER 'userdb'; RUN ON id;"
    )
    results = call_many(driver, found, [(2,), (3,), (4,)])
    assert (results[0], results[2]) == (2, 4)
    assert isinstance(results[1], NoDataFound)
    assert results[1].outcomes[3].state == "committed"
    assert results[1].sent


def test_combined_answers(driver: Driver) -> None:
    count = face(
        driver, int, {"id": Int4}, name="tell", select="SELECT id::int8", combine="sum"
    )
    assert call_many(driver, count, [(1,), (2,)] * 20) == [4, 8] * 20


def test_a_part_that_fails(driver: Driver, pg: Pg) -> None:
    """The other partitions of that call keep what they committed, and it says so."""
    everywhere = define(
        driver,
        "make(id int4, how text) RETURNS SETOF text",
        "CLUSTER 'userdb'; RUN ON ALL;",
    )
    pg.execute("part02", "INSERT INTO made (id) VALUES (5)")
    results = call_many(driver, everywhere, [(id, "x") for id in range(50)])
    error: Any = results[5]
    assert error.sqlstate == "23505"
    states = [outcome.state for outcome in error.outcomes.values()]
    assert states == ["committed", "committed", "failed", "committed"]
    assert "partition 0, 1, 3: committed" in str(error)
    assert list(results.errors) == [5]


def test_calls_of_several_clusters(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    """CLUSTER by an argument; the clusters share targets."""
    driver = make_router({"a": databases4, "b": databases4[::-1]}, pool_size=1)
    make = define(
        driver,
        "make(id int4, how text) RETURNS text",
        "CLUSTER text(how); RUN ON id;",
    )
    results = call_many(driver, make, [(id, "abc"[id % 3]) for id in range(300)])
    for id, result in enumerate(results):
        if id % 3 == 2:
            assert isinstance(result, NoSuchCluster)
        else:
            assert result == f"{id} {'abc'[id % 3]}"
    assert held(pg) == {id for id in range(300) if id % 3 != 2}


def test_equal_targets_share_a_connection(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    driver = make_router({"userdb": [databases4[0]] * 4}, pool_size=1)
    make = driver.router.define(MAKE)
    results = call_many(driver, make, [(id, "x") for id in range(100)])
    assert results == [f"{id} x" for id in range(100)]
    assert held(pg, ["part00"]) == set(range(100))


def test_a_statement_that_was_forgotten_is_sent_again(
    driver: Driver, make: Any, pg: Pg
) -> None:
    """DEALLOCATE ALL in the middle of a pipeline: each call still runs once."""
    items = [(id, "forget" if id % 50 == 7 else "x") for id in range(1000)]
    results = call_many(driver, make, items)
    assert results == [f"{id} {how}" for id, how in items]
    for number, name in enumerate(PARTITIONS):
        ids = pg.execute(name, "SELECT id FROM made ORDER BY number")
        assert ids == [(id,) for id in range(number, 1000, 4)], "none overtook"


def test_a_missing_function_says_what_to_do(driver: Driver) -> None:
    wrong = define(
        driver, "make(id int8, how text) RETURNS text", "CLUSTER 'userdb'; RUN ON id;"
    )
    results = call_many(driver, wrong, [(id, "x") for id in range(100)])
    for result in results:
        assert isinstance(result, psycopg.errors.UndefinedFunction)
        assert "HINT: the partition has make(integer,text): declare id" in str(result)


def test_notices(make_router: Callable[..., Driver], databases4: list[str]) -> None:
    notices: list[Notice] = []
    driver = make_router({"userdb": databases4}, on_notice=notices.append)
    make = driver.router.define(MAKE)
    call_many(driver, make, [(id, "notice") for id in range(20)])
    told = {(n.function, n.partition, n.diag.message_primary) for n in notices}
    assert told == {("public.make(2)", id % 4, f"made {id}") for id in range(20)}


def test_what_does_not_go_with_many_calls(driver: Driver) -> None:
    stream = face(driver, Iterator[int], {"n": Int4}, name="spots")
    with pytest.raises(TypeError, match="a stream does not go with many calls"):
        stream.iter_many([(1,)])
    listed = face(driver, list[str], {"n": Int4}, name="spots")
    partial = listed.with_options(on_error="partial")
    with pytest.raises(TypeError, match="on_error='partial' does not go with"):
        partial.iter_many([(1,)])
    one = face(driver, str, {"n": Int4}, name="spots", first=True, idempotent=True)
    with pytest.raises(TypeError, match="first= does not go with"):
        call_many(driver, one, [(1,)])


def test_an_iterator_that_raises(driver: Driver, make: Any, pg: Pg) -> None:
    """What was taken before is run, handed out, and counted."""

    def items() -> Iterator[Any]:
        for id in range(100):
            yield id, "raise" if id == 50 else "x"
        raise LookupError("no more")

    source = make.iter_many(items())
    results = [next_row(driver, source) for _ in range(100)]
    check_truth(results, range(100), held(pg))
    with pytest.raises(LookupError) as caught:
        next_row(driver, source)
    assert caught.value.__notes__ == [
        "public.make(2): 100 calls were taken: 99 committed, 1 failed, 0 unknown, 0 "
        "not sent"
    ]


@pytest.mark.parametrize("stop", [1, 16, 17, 90])
def test_a_consumer_that_stops(driver: Driver, make: Any, pg: Pg, stop: int) -> None:
    """Items are taken as results are wanted, and nothing is sent afterwards."""
    taken: list[int] = []

    def items() -> Iterator[Any]:
        for id in range(100000):
            taken.append(id)
            yield id, "x"

    results = first(driver, make.iter_many(items()), stop)
    assert results == [f"{id} x" for id in range(stop)]
    assert len(taken) <= 16 + 4 * stop
    there = held(pg)
    assert there == set(range(len(there)))
    assert len(there) <= len(taken)
    assert len(driver.execute("userdb", "SELECT 7", timeout=3)) == 4
    assert held(pg) == there


def test_large_arguments_do_not_pile_up(driver: Driver, make: Any) -> None:
    size, ahead, most = 3_000_000, 0, 0

    def items() -> Iterator[Any]:
        nonlocal ahead, most
        for id in range(40):
            ahead += 1
            most = max(most, ahead)
            yield id, "x" * size

    source = make.iter_many(items())
    for id in range(40):
        assert next_row(driver, source) == f"{id} {'x' * 100}"
        ahead -= 1
    assert most <= BUDGET // size + 1


def test_large_results_do_not_pile_up(databases4: list[str]) -> None:
    """They are not even read before there is room, however small the first ones are."""
    router = Router({"userdb": databases4})
    make = router.define(MAKE)
    size = 10_000_000
    batch = Batch(router._calls, Callee(lambda: make.definition))
    hows = ["x"] * 100 + [f"big {size}"] * 40
    results: list[Any] = []
    for id, how in enumerate(hows):
        if run(batch.add(id, (id, how))):
            results += run(batch.flush())
    while batch.pending:
        results += run(batch.flush())
    assert [len(result) for result in results[100:]] == [size] * 40
    # What a connection has begun to read it reads to its end.
    assert BUDGET < batch.gauge.most <= BUDGET + 4 * size + 10_000
    assert (batch.gauge.held, batch.gauge.params) == (0, 0)
    router.close()


def test_batches_do_not_lock_each_other_out(driver: Driver, make: Any, pg: Pg) -> None:
    """Calls of one partition and of all, with one connection to each partition."""
    everywhere = define(
        driver,
        "make2(id int4, how text) RETURNS SETOF text",
        "CLUSTER 'userdb'; RUN ON ALL; TARGET make;",
    )
    answers = driver.together(
        *(
            lambda n=n: (everywhere if n % 2 else make).call_many(
                [(id, "x") for id in range(n * 100, n * 100 + 100)]
            )
            for n in range(6)
        )
    )
    for answer in answers:
        assert isinstance(answer, Results)
        assert len(answer.raise_first()) == 100
    assert held(pg) == set(range(600))
