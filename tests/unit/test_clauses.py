"""ORDER BY, LIMIT, OFFSET, combine: what is declared, sent and asked for in a call."""

from __future__ import annotations

from typing import Any

import pytest

from plproxy_py.clauses import Clauses
from plproxy_py.combine import Combiner
from plproxy_py.errors import SignatureError
from plproxy_py.function import ProxyFunction
from plproxy_py.gather import Combined, Custom, Ordered
from plproxy_py.options import Options
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.query import WINDOW
from tests.compiled import CLUSTER, define

HEAD = "f(a text, n int, m bigint) returns setof int"
ALL = CLUSTER + "RUN ON ALL;"


def clauses(head: str = HEAD, body: str = ALL, **given: Any) -> ProxyFunction:
    """Compile a function with these keywords; ``first`` is an option."""
    options = Options(first=given.pop("first", False))
    return define(head, body, clauses=Clauses(**given), options=options)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"order_by": "id"}, r"order_by is a tuple of texts: write order_by=\('id',\)"),
        ({"group_by": "id"}, r"group_by is a tuple of texts: write group_by=\('id',\)"),
        ({"order_by": (1,)}, "order_by is a tuple of texts"),
        ({"order_by": {"id"}}, "order_by is a tuple of texts"),
        ({"order_by": None}, "order_by is a tuple of texts"),
        ({"group_by": b"id"}, "group_by is a tuple of texts"),
        ({"limit": True}, "limit is a number, or a parameter's name, not bool"),
        ({"limit": 1.0}, "limit is a number, .* not float"),
        ({"offset": (1,)}, "offset is a number, .* not tuple"),
        ({"offset": None}, "offset is a number, .* not NoneType"),
        ({"combine": 5}, "combine is a rule, a mapping .* or a callable, not int"),
        ({"combine": ("sum",)}, "combine is a rule, .* not tuple"),
    ],
    ids=str,
)
def test_values_that_are_none(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(TypeError, match=f"^{reason}"):
        Clauses(**given)


@pytest.mark.parametrize(
    ("head", "body", "given", "reason"),
    [
        (HEAD, ALL, {"group_by": ("r",)}, "group_by= goes with combine="),
        *(
            (
                HEAD,
                ALL,
                {name: value} | other,
                f"{name}= can't be combined with {word}=",
            )
            for name, value in (("order_by", ["r"]), ("limit", 0), ("offset", "n"))
            for word, other in (
                ("combine", {"combine": "sum"}),
                ("first", {"first": True}),
            )
        ),
        (HEAD, ALL, {"combine": max, "first": True}, "combine= can't be .* first="),
        *(
            (head, CLUSTER, {name: value}, f"{name}= needs a set-returning function")
            for name, value in (("order_by", ["r"]), ("limit", 0), ("offset", 1))
            for head in ("f(a int) returns int", "f(out a int, out b int)")
        ),
        (HEAD, ALL, {"limit": -1}, "limit= must not be negative"),
        (HEAD, ALL, {"offset": -1}, "offset= must not be negative"),
        (HEAD, ALL, {"limit": "nobody"}, "limit= names no parameter: 'nobody'"),
        (HEAD, ALL, {"offset": "A"}, "offset= names no parameter: 'A'"),
        (HEAD, ALL, {"offset": "a"}, "offset= takes an integer, and a is text"),
        (
            "f(n int[]) returns setof int",
            ALL,
            {"limit": "n"},
            r"limit= takes an integer, and n is int4\[\]",
        ),
        ("f() returns setof void", ALL, {"limit": 1}, "limit= is for results"),
        (
            "f() returns setof void",
            ALL,
            {"combine": "count"},
            "combine= is for results",
        ),
        ("f() returns void", ALL, {"combine": max}, "combine= is for results"),
        *(
            ("f() returns setof record", ALL, {name: value}, f"{name}= needs columns")
            for name, value in (
                ("order_by", ["id"]),
                ("limit", 1),
                ("combine", "sum"),
                ("combine", max),
            )
        ),
        (HEAD, ALL, {"order_by": ["id"]}, 'column "id" does not exist'),
        (HEAD, ALL, {"order_by": ["r", "r"]}, "order_by 'r': the column stands there"),
        (
            "f() returns setof text",
            ALL,
            {"combine": "sum"},
            "combine .*; partitions send text: the signature as text declares that, "
            "the hint what the caller gets",
        ),
        (
            'f(out "A" int, out b text) returns setof record',
            ALL,
            {"combine": {"c": "sum"}},
            r'combine .*; partitions send \("A" int4, b text\): ',
        ),
    ],
    ids=str,
)
def test_refused(head: str, body: str, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(
        SignatureError, match=rf"^PL/Proxy function public.f\(\d\): .*{reason}"
    ):
        clauses(head, body, **given)


RECORD = "f(a text, out id int, out name name) returns setof record"


@pytest.mark.parametrize(
    ("head", "body", "given", "sql", "feeds"),
    [
        (
            "f(a text) returns setof int",
            "RUN ON ALL;",
            {"order_by": ["r desc"]},
            "SELECT r::int4 FROM public.f($1::text) r ORDER BY r DESC",
            (0,),
        ),
        (
            RECORD,
            "RUN ON ALL;",
            {"order_by": ("name nulls first", "id"), "limit": 5},
            "SELECT id::int4, name::name FROM public.f($1::text)"
            " ORDER BY name NULLS FIRST, id LIMIT $2::int8",
            (0, WINDOW),
        ),
        (
            RECORD,
            "RUN ON ALL; TARGET other.g;",
            {"limit": 0},
            "SELECT id::int4, name::name FROM other.g($1::text) LIMIT $2::int8",
            (0, WINDOW),
        ),
        (
            RECORD,
            "RUN ON ALL; SELECT id, name FROM t WHERE a = b ORDER BY 1;",
            {"order_by": ("id",), "limit": 5},
            "SELECT * FROM (SELECT id, name FROM t WHERE $1::text = b ORDER BY 1\n)"
            " AS q ORDER BY id LIMIT $2::int8",
            (0, WINDOW),
        ),
        (
            "f(a text) returns setof int",
            "RUN ON ALL; SELECT 7;",
            {"order_by": ("1",)},
            "SELECT * FROM (SELECT 7\n) AS q(r) ORDER BY r",
            (),
        ),
        # A partition can't know which rows are skipped.
        (
            RECORD,
            "RUN ON ALL; SELECT 1, 'x';",
            {"offset": 3},
            "SELECT 1, 'x'",
            (),
        ),
        (
            "f(a text) returns setof int",
            "RUN ON ALL;",
            {"combine": "sum"},
            "SELECT r::int4 FROM public.f($1::text) r",
            (0,),
        ),
    ],
)
def test_what_is_sent(
    head: str, body: str, given: dict[str, Any], sql: str, feeds: tuple[int, ...]
) -> None:
    query = clauses(head, CLUSTER + body, **given).query
    assert query.sql.decode() == sql
    assert query.feeds == feeds


MOST = 2**63 - 1


@pytest.mark.parametrize(
    ("given", "args", "window", "sent"),
    [
        ({"limit": 10}, ("x", 1, 2), (0, 10), 10),
        ({"limit": 0}, ("x", 1, 2), (0, 0), 0),
        ({"limit": 10, "offset": 5}, ("x", 1, 2), (5, 10), 15),
        ({"limit": "n"}, ("x", 7, 2), (0, 7), 7),
        ({"limit": "n", "offset": "m"}, ("x", 7, 2), (2, 7), 9),
        ({"limit": "n", "offset": "m"}, ("x", 7, None), (0, 7), 7),
        ({"limit": "n", "offset": "m"}, ("x", None, 7), (7, None), None),
        ({"limit": 1, "offset": "m"}, ("x", 0, MOST), (MOST, 1), MOST),
        ({"limit": MOST}, ("x", 0, 0), (0, MOST), MOST),
        ({"offset": 5}, ("x", 1, 2), (5, None), ...),
        ({"order_by": ["r"]}, ("x", 1, 2), (0, None), ...),
        ({}, ("x", 1, 2), (0, None), ...),
    ],
    ids=str,
)
def test_the_rows_of_a_call(
    given: dict[str, Any],
    args: tuple[Any, ...],
    window: tuple[int, int | None],
    sent: Any,
) -> None:
    """Each partition may have all the rows that are wanted, the skipped ones too."""
    function = clauses(**given)
    normals = function.arguments(args, {})
    assert function.window(normals) == window
    texts = [None if arg is None else str(arg).encode() for arg in args]
    if sent is ...:
        assert function.fed(normals) == args
        assert function.params(normals) == texts
    else:
        assert function.fed(normals) == (*args, sent)
        sent = None if sent is None else str(sent).encode()
        assert function.params(normals) == [*texts, sent]


@pytest.mark.parametrize("keyword", ["limit", "offset"])
def test_a_negative_number_of_rows(keyword: str) -> None:
    function = clauses(**{"limit": 1} | {keyword: "n"})
    reason = rf"^public.f\(3\): {keyword} must not be negative"
    for ask in (function.window, function.fed, function.params):
        with pytest.raises(ValueError, match=reason):
            ask(["x", -1, 0])


@pytest.mark.parametrize("given", [{}, {"offset": 0}, {"order_by": []}], ids=str)
def test_nothing_is_gathered_without_clauses(given: dict[str, Any]) -> None:
    function = clauses(**given)
    assert function.gather is None
    assert function.sent is function.answer is not None


def test_an_order() -> None:
    function = clauses(RECORD, order_by=("name desc", "id"), limit=3)
    assert function.sent is function.answer is not None
    gather = function.gather
    assert isinstance(gather, Ordered)
    assert [column for column, _ in gather.keys] == [1, 0]
    # An order of nobody's choice is the partitions'.
    assert clauses(limit=3).gather == Ordered(())
    assert clauses(offset=3).gather == Ordered(())


@pytest.mark.parametrize(
    ("head", "given", "columns", "setof"),
    [
        ("f() returns int", {"combine": "min"}, parse_type("int"), False),
        ("f() returns setof text", {"combine": "distinct"}, parse_type("text"), True),
        ("f() returns int[]", {"combine": "array_agg"}, parse_type("int[]"), False),
        (
            "f(out a int, out b text) returns setof record",
            {"combine": "max", "group_by": ["b"]},
            (("a", parse_type("int")), ("b", parse_type("text"))),
            True,
        ),
    ],
)
def test_a_rule(head: str, given: dict[str, Any], columns: Any, setof: bool) -> None:
    """What partitions send are values; the caller's rows are made of what comes out."""
    function = clauses(head, **given)
    assert isinstance(function.gather, Combined)
    combiner: Combiner = function.gather.combiner
    assert (combiner.columns, combiner.setof) == (columns, setof)
    sent, answer = function.sent, function.answer
    assert sent is not None
    assert answer is not None
    assert sent.make_row is tuple
    assert sent.setof is function.signature.setof
    types = (columns,) if isinstance(columns, PgType) else tuple(c[1] for c in columns)
    assert (answer.types, answer.setof) == (types, setof)


def test_a_callable() -> None:
    for head, made in (
        ("f() returns int", 7),
        ("f(out a int, out b int)", (7, 8)),
        ("f(out a int, out b int) returns setof record", [(7, 8)]),
    ):
        function = clauses(head, combine=max)
        gather, sent = function.gather, function.sent
        assert isinstance(gather, Custom)
        assert gather.function is max
        assert gather.each is sent is not None
        assert sent.collect([[sent.make_row((7, 8))]]) == made
        assert function.answer is not None
        assert not function.answer.setof
        assert function.answer.optional


@pytest.mark.parametrize("given", [{"combine": "sum"}, {"combine": max}, {"first": 1}])
def test_several_partitions_for_one_row(given: dict[str, Any]) -> None:
    """RUN ON ALL, and hashes of several partitions, without SETOF."""
    given = {key: value == 1 or value for key, value in given.items()}
    head = "f(a int) returns int"
    clauses(head, **given)
    body = CLUSTER + "RUN ON several(a);"
    options = Options(first="first" in given)
    given.pop("first", None)
    function = define(
        head,
        body,
        registered={"several": lambda a: [0, 1]},
        clauses=Clauses(**given),
        options=options,
    )
    assert getattr(function.run_on, "setof", None) is True


def test_a_limit_is_an_int8() -> None:
    with pytest.raises(SignatureError, match="limit is at most 9223372036854775807"):
        Clauses(limit=2**63)
