"""Cases 91 to 111: SPLIT and TARGET."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fix_plproxy import PARTS, Plproxy
from tests.parity.cases import case
from tests.parity.compare import Both

REMOTE = """
create function test_array(a text[], b text[], c text) returns text language sql as $$
    select current_database() || ' $1:' || array_to_string($1, ',')
        || ' $2:' || array_to_string($2, ',') || ' $3:' || $3
$$;
create function test_target_dst(xuser text, tmp boolean) returns text language sql as
$$ select 'dst' $$;
"""
ABCD, EFGH = ["a", "b", "c", "d"], ["e", "f", "g", "h"]
ON_TEXT = [("test_part2 $1:a,b,c,d $2:e,f,g,h $3:foo",)]
IN_PAIRS = [
    ("test_part1 $1:a $2:e $3:foo",),
    ("test_part2 $1:b $2:f $3:foo",),
    ("test_part3 $1:c $2:g $3:foo",),
    ("test_part0 $1:d $2:h $3:foo",),
]


@pytest.fixture(scope="module", autouse=True)
def _functions(plproxy: Plproxy) -> None:
    for dbname in PARTS:
        plproxy.admin(dbname, REMOTE)


def array(body: str, name: str = "test_array") -> str:
    return (
        f"create or replace function {name}(a text[], b text[], c text) returns setof"
        f" text as\n$$ {body} $$ language plproxy"
    )


@pytest.mark.parametrize(
    ("split", "line"),
    [
        pytest.param("$4", 1, id="91", marks=case(91, "SPLIT $4 of three arguments")),
        pytest.param("x", 1, id="92", marks=case(92, "SPLIT of an unknown name")),
        pytest.param(
            "a, b, b",
            None,
            id="93",
            marks=case(93, "SPLIT of one argument twice: an error without a line"),
        ),
        pytest.param(
            "$3",
            None,
            id="94",
            marks=case(94, "SPLIT of what is no array: an error without a line"),
        ),
    ],
)
def test_refused(both: Both, split: str, line: int | None) -> None:
    sql = array(f"split {split}; cluster 'parts'; run on 0;", "test_unsplit")
    assert both.refuse(sql).line == line
    assert both.fail("test_unsplit", ["a"], ["g"], "foo").sqlstate == "42883"


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        pytest.param(
            ["a"],
            ["b", "c"],
            "identical lengths",
            id="95",
            marks=case(95, "SPLIT of lengths 1 and 2"),
        ),
        pytest.param(
            ABCD,
            None,
            "identical lengths",
            id="96",
            marks=case(96, "SPLIT of an array and NULL"),
        ),
        pytest.param(
            None,
            EFGH,
            "identical lengths",
            id="97",
            marks=case(97, "SPLIT of NULL and an array"),
        ),
        pytest.param(
            [["a1"], ["a2"]],
            [["b1"], ["b2"]],
            "multi-dimensional",
            id="98",
            marks=case(98, "SPLIT of arrays with two dimensions"),
        ),
    ],
)
def test_lengths(both: Both, a: Any, b: Any, message: str) -> None:
    both.create(array("split a, b; cluster 'parts'; run on 0;"))
    assert message in both.fail("test_array", a, b, "foo").message


@pytest.mark.parametrize(
    ("body", "args", "expected"),
    [
        pytest.param(
            "split a; cluster 'parts'; run on ascii(a);",
            (ABCD, EFGH, "foo"),
            [
                ("test_part1 $1:a $2:e,f,g,h $3:foo",),
                ("test_part2 $1:b $2:e,f,g,h $3:foo",),
                ("test_part3 $1:c $2:e,f,g,h $3:foo",),
                ("test_part0 $1:d $2:e,f,g,h $3:foo",),
            ],
            id="99",
            marks=case(99, "SPLIT a, RUN ON ascii(a): rows in tag order, b whole"),
        ),
        pytest.param(
            "split a, b; cluster 'parts'; run on ascii(c);",
            (ABCD, EFGH, "foo"),
            ON_TEXT,
            id="100",
            marks=case(100, "SPLIT a, b, RUN ON ascii(c): one partition gets all"),
        ),
        pytest.param(
            "split a, b; cluster 'parts'; run on ascii(a);",
            (ABCD, EFGH, "foo"),
            IN_PAIRS,
            id="101",
            marks=case(101, "SPLIT a, b, RUN ON ascii(a): pairs stay together"),
        ),
        pytest.param(
            "split a, b; cluster 'parts'; run on ascii(a);",
            (None, None, None),
            [],
            id="102",
            marks=case(102, "SPLIT of NULLs: no rows"),
        ),
        pytest.param(
            "split a, b; cluster 'parts'; run on ascii(a);",
            ([], [], "foo"),
            [],
            id="103",
            marks=case(103, "SPLIT of empty arrays: no rows"),
        ),
        pytest.param(
            "split all; cluster 'parts'; run on ascii(c);",
            (ABCD, EFGH, "foo"),
            ON_TEXT,
            id="104",
            marks=case(104, "SPLIT ALL, RUN ON ascii(c)"),
        ),
        pytest.param(
            "split all; cluster 'parts'; run on ascii(a);",
            (ABCD, EFGH, "foo"),
            IN_PAIRS,
            id="106",
            marks=case(106, "SPLIT ALL, RUN ON ascii(a)"),
        ),
    ],
)
def test_split(
    both: Both, body: str, args: tuple[Any, ...], expected: list[tuple[str]]
) -> None:
    both.create(array(body))
    assert both.call("test_array", *args) == expected


@case(105, "SPLIT ALL without an array, and SELECT")
def test_nothing_to_split(both: Both) -> None:
    both.create(
        "create or replace function test_nonarray_split(a text, b text, c text)"
        " returns setof text as $$ split all; cluster 'parts'; run on ascii(a);"
        " select * from test_array(array[a], array[b], c); $$ language plproxy"
    )
    rows = both.call("test_nonarray_split", "a", "b", "c")
    assert rows == [("test_part1 $1:a $2:b $3:c",)]


def direct(split: str) -> str:
    return (
        "create or replace function test_array_direct(a integer[], b text[], c text)"
        f" returns setof text as $$ split {split}; cluster 'parts'; run on a;"
        " select test_array('{}'::text[], b, c); $$ language plproxy"
    )


@case(107, "SPLIT a, RUN ON a, of integers; b whole")
def test_direct(both: Both) -> None:
    both.create(direct("a"))
    assert both.call("test_array_direct", [2, 3], ABCD, "foo") == [
        ("test_part2 $1: $2:a,b,c,d $3:foo",),
        ("test_part3 $1: $2:a,b,c,d $3:foo",),
    ]


@case(108, "SPLIT a, b, RUN ON a, of integers")
def test_direct_pairs(both: Both) -> None:
    both.create(direct("a, b"))
    assert both.call("test_array_direct", [0, 1, 2, 3], ABCD, "foo") == [
        (f"test_part{number} $1: $2:{ABCD[number]} $3:foo",) for number in range(4)
    ]


def target(name: str, statements: str) -> str:
    return (
        f"create or replace function {name}(xuser text, tmp boolean) returns text as"
        f" $$\n cluster 'parts';\n run on 0;\n target test_target_dst;\n"
        f"{statements}$$ language plproxy"
    )


@case(109, "TARGET")
def test_target(both: Both) -> None:
    both.create(target("test_target", ""))
    assert both.call("test_target", "foo", True) == [("dst",)]


@pytest.mark.parametrize(
    ("statements", "line"),
    [
        pytest.param(
            " target test_target_dst;\n",
            5,
            id="110",
            marks=case(110, "two TARGETs: compile error at line 5"),
        ),
        pytest.param(
            " select 1;\n",
            6,
            id="111",
            marks=case(111, "TARGET and SELECT: compile error at line 6"),
        ),
    ],
)
def test_target_refused(both: Both, statements: str, line: int) -> None:
    assert both.refuse(target("test_target_err", statements)).line == line
    assert both.fail("test_target_err", "asd", True).sqlstate == "42883"
