"""SPLIT: arrays divided over partitions, element by element."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plproxy_py import NoDataFound, RoutingError, TooManyRows
from tests.fix_router import Driver
from tests.fix_server import Pg

REMOTE = """
CREATE OR REPLACE FUNCTION parts(a int4[], b text[], c text, OUT place text,
    OUT x int4[], OUT y text[], OUT z text) RETURNS SETOF record LANGUAGE sql
    AS 'SELECT right(current_database()::text, 2), a, b, c';
"""
HEAD = (
    "(a int4[], b text[], c text, "
    "OUT place text, OUT x int4[], OUT y text[], OUT z text)"
)


@pytest.fixture(autouse=True, scope="module")
def _remote(pg: Pg, databases4: list[str]) -> None:
    for number in range(4):
        pg.execute(f"part{number:02}", REMOTE)


@pytest.fixture
def split(userdb: Driver) -> Callable[..., list[tuple[object, ...]]]:
    """Return what declares ``parts`` with a body, and calls it."""

    def call(body: str, *args: object, setof: bool = True) -> object:
        function = userdb.define(
            f"CREATE FUNCTION parts{HEAD} {'RETURNS SETOF record' if setof else ''} "
            f"LANGUAGE plproxy AS $$ CLUSTER 'userdb'; {body} $$"
        )
        rows = function(*args)
        return [tuple(row) for row in rows] if setof else tuple(rows)

    return call  # type: ignore[return-value]


def test_each_partition_gets_its_elements(split: Callable[..., object]) -> None:
    """Order kept, NULLs kept, partitions in the order of their first element."""
    assert split(
        "SPLIT a, b; RUN ON a;", [3, 0, 1, 4, 3], ["a", None, "c", "d", "e"], "w"
    ) == [
        ("03", [3, 3], ["a", "e"], "w"),
        ("00", [0, 4], [None, "d"], "w"),
        ("01", [1], ["c"], "w"),
    ]


def test_what_is_not_split_goes_whole(split: Callable[..., object]) -> None:
    assert split("SPLIT a; RUN ON a;", [3, 0, 3], ["x", "y"], "w") == [
        ("03", [3, 3], ["x", "y"], "w"),
        ("00", [0], ["x", "y"], "w"),
    ]


def test_split_all_takes_every_array(split: Callable[..., object]) -> None:
    assert split("SPLIT ALL; RUN ON hashtext(b);", [1, 2], ["a", "b"], "w") == [
        ("01", [1], ["a"], "w"),
        ("00", [2], ["b"], "w"),
    ]


def test_all_and_number_copy_whole_arrays(split: Callable[..., object]) -> None:
    whole = [(f"{n:02}", [1, 2], ["a", "b"], "w") for n in range(4)]
    assert split("SPLIT a, b; RUN ON ALL;", [1, 2], ["a", "b"], "w") == whole
    assert split("SPLIT a, b; RUN ON 2;", [1, 2], ["a", "b"], "w") == [whole[2]]


def test_any_reaches_several_partitions(split: Callable[..., object]) -> None:
    rows = split("SPLIT a; RUN ON ANY;", list(range(100)), [], "w")
    assert isinstance(rows, list)
    assert len(rows) == 4
    assert sorted(n for row in rows for n in row[1]) == list(range(100))


@pytest.mark.parametrize("empty", [None, []])
def test_nothing_to_split_calls_nobody(
    split: Callable[..., object], empty: object
) -> None:
    """Not even RUN ON is evaluated: a hash of NULL would be an error."""
    assert split("SPLIT a, b; RUN ON hashtext(c);", empty, empty, None) == []
    with pytest.raises(NoDataFound, match="got 0"):
        split("SPLIT a, b; RUN ON hashtext(c);", empty, empty, None, setof=False)


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ([1], ["a", "b"], "identical lengths"),
        ([1], None, "identical lengths"),
        (None, ["a"], "identical lengths"),
        ([[1, 2], [3, 4]], ["a", "b"], "multi-dimensional"),
    ],
)
def test_arrays_that_do_not_fit(
    split: Callable[..., object], a: object, b: object, reason: str
) -> None:
    with pytest.raises(RoutingError, match=reason) as caught:
        split("SPLIT a, b; RUN ON a;", a, b, "w")
    assert (caught.value.sqlstate, caught.value.sent) == ("22023", False)


def test_a_null_element_has_no_hash(split: Callable[..., object]) -> None:
    with pytest.raises(RoutingError, match="NULL"):
        split("SPLIT a, b; RUN ON a;", [1, None], ["a", "b"], "w")


def test_one_row_functions_may_hit_one_partition(split: Callable[..., object]) -> None:
    body = "SPLIT a; RUN ON a;"
    assert split(body, [2, 6], [], "w", setof=False) == ("02", [2, 6], [], "w")
    with pytest.raises(TooManyRows, match="got 2") as caught:
        split(body, [1, 2], [], "w", setof=False)
    assert {o.state for o in caught.value.outcomes.values()} == {"committed"}


def test_several_hashes_copy_an_element(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router(
        {"userdb": databases4}, hashes={"upto": lambda n: list(range(n + 1))}
    )
    function = driver.define(
        f"CREATE FUNCTION parts{HEAD} RETURNS SETOF record LANGUAGE plproxy AS "
        "$$ CLUSTER 'userdb'; SPLIT a; RUN ON upto(a); $$"
    )
    rows = function([0, 1, 2, -1], [], "w")
    assert [(row.place, row.x) for row in rows] == [
        ("00", [0, 1, 2]),
        ("01", [1, 2]),
        ("02", [2]),
    ]


def test_equal_targets_are_one(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    a, b = databases4[:2]
    driver = make_router({"userdb": [a, b, a, b]})
    function = driver.define(
        f"CREATE FUNCTION parts{HEAD} RETURNS SETOF record LANGUAGE plproxy AS "
        "$$ CLUSTER 'userdb'; SPLIT a; RUN ON a; $$"
    )
    rows = function([0, 1, 2, 3], [], "w")
    assert [(row.place, row.x) for row in rows] == [("00", [0, 2]), ("01", [1, 3])]
