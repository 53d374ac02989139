"""Keywords beyond PL/Proxy's statements, on decorated functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import pytest

from plproxy_py import Int4, Router, Row
from plproxy_py.answers import Partial
from plproxy_py.errors import SignatureError
from plproxy_py.function import ProxyFunction
from plproxy_py.gather import Combined, Custom, Ordered
from plproxy_py.pgtypes import parse_type
from plproxy_py.signature import parse_columns

CONFIG = {"userdb": [f"dbname=part{n}" for n in range(4)]}


class City(NamedTuple):
    city: str
    total: int


class Mean(NamedTuple):
    mean: Decimal


def one() -> int: ...
def cities() -> list[City]: ...
def numbers() -> list[int]: ...
def partial_numbers() -> Partial[int]: ...
def names() -> list[str]: ...
def partly() -> Partial[City]: ...
def stream() -> Iterator[int]: ...
def mean() -> Decimal: ...
def mean_row() -> Mean: ...
def rough_mean() -> Annotated[float, "numeric"]: ...
def rows() -> list[Row]: ...
def row_stream() -> Iterator[Row]: ...
def strange() -> dict[str, int] | str: ...


@pytest.fixture
def router() -> Router:
    """A router that will never connect."""
    return Router(CONFIG)


def declared(
    router: Router, python: Callable[..., Any], *text: str, **keywords: Any
) -> ProxyFunction:
    """Return what ``python`` declares, on all partitions unless it says otherwise."""
    keywords = {"cluster": "userdb", "run_on": "ALL"} | keywords
    given = {key: value for key, value in keywords.items() if value is not ...}
    function: ProxyFunction = router.proxy(*text, **given)(python).definition
    return function


@pytest.mark.parametrize(
    ("python", "text", "keywords", "combined", "setof", "sent_setof"),
    [
        (one, None, {"combine": "sum"}, "int8", False, False),
        (one, None, {"combine": "count"}, "int8", False, False),
        (one, "f() returns int", {"combine": "max"}, "int4", False, False),
        (one, "f(out a int)", {"combine": "max"}, "int4", False, False),
        (
            cities,
            None,
            {"combine": "sum", "group_by": ["city"]},
            "city text, total int8",
            True,
            True,
        ),
        (
            partly,
            None,
            {"combine": {"total": "max"}, "group_by": ("city",)},
            "city text, total int8",
            True,
            True,
        ),
        (names, None, {"combine": "distinct"}, "text", True, True),
        # as ever, a list makes OUT arguments a set
        (
            cities,
            "f(out city text, out total int8)",
            {"combine": "sum", "group_by": ["city"]},
            "city text, total int8",
            True,
            True,
        ),
        # array_agg makes one array of a set, or of arrays
        (numbers, None, {"combine": "array_agg"}, "int8[]", False, True),
        (
            numbers,
            "f() returns setof int",
            {"combine": "array_agg"},
            "int4[]",
            False,
            True,
        ),
        (
            numbers,
            "f() returns int[]",
            {"combine": "array_agg"},
            "int4[]",
            False,
            False,
        ),
        *(
            (
                python,
                "f(out total int8, out n int8)",
                {"combine": {"mean": ("avg", "total", "n")}},
                "numeric",
                False,
                False,
            )
            for python in (mean, rough_mean)
        ),
        (
            mean_row,
            "f(out total int8, out n int8)",
            {"combine": {"mean": ("avg", "total", "n")}},
            "mean numeric",
            False,
            False,
        ),
    ],
)
def test_what_is_combined(
    router: Router,
    python: Callable[..., Any],
    text: str | None,
    keywords: dict[str, Any],
    combined: str,
    setof: bool,
    sent_setof: bool,
) -> None:
    function = declared(router, python, *([text] if text else []), **keywords)
    assert isinstance(function.gather, Combined)
    assert function.answer is not None
    assert function.sent is not None
    if " " in combined:
        columns = parse_columns(combined)
        assert function.answer.columns == tuple(name for name, _ in columns)
        assert function.answer.types == tuple(type for _, type in columns)
    else:
        assert function.answer.types == (parse_type(combined),)
    assert (function.answer.setof, function.sent.setof) == (setof, sent_setof)


def test_what_is_combined_is_of_the_hinted_class(router: Router) -> None:
    text, keywords = "f(out total int8, out n int8)", {"mean": ("avg", "total", "n")}
    for python, made in (
        (mean, Decimal(2)),
        (rough_mean, 2.0),
        (mean_row, Mean(Decimal(2))),
    ):
        function = declared(router, python, text, combine=keywords)
        assert isinstance(function.gather, Combined)
        keys = [
            key(text)
            for (_, key), text in zip(function.gather.keys, (b"4", b"2"), strict=True)
        ]
        ((value,),) = function.gather.rows([[(tuple(keys), (4, 2))]])
        assert function.answer is not None
        row = function.answer.make_row((value,))
        assert row == made
        assert type(row) is type(made)


def test_no_rows_make_an_empty_array(router: Router) -> None:
    function = declared(router, numbers, combine="array_agg")
    assert isinstance(function.gather, Combined)
    (combined,) = function.gather.rows([[], []])
    assert function.answer is not None
    assert function.answer.make_row(combined) == []


def test_a_callable_needs_no_hint_that_sql_knows(router: Router) -> None:
    for text in ("f() returns int", "f(out a int)"):
        function = declared(router, strange, text, combine=max)
        assert isinstance(function.gather, Custom)
        assert function.sent is not None
        assert not function.sent.setof
    # A set of the partition's own is what the text says, not the hint.
    function = declared(router, cities, "f(out a int, out b int)", combine=max)
    assert function.sent is not None
    assert not function.sent.setof


@pytest.mark.parametrize(
    ("python", "text", "keywords", "reason"),
    [
        (one, None, {"combine": max}, "one: combine= is a callable, .* as text"),
        (one, "f(a int)", {"combine": max}, "f: combine= is a callable, .* as text"),
        (
            partly,
            "f() returns int",
            {"combine": max},
            "partly: what a callable combines",
        ),
        (
            mean,
            None,
            {"combine": {"m": ("avg", "a", "b")}},
            "partitions send numeric: ",
        ),
        (one, None, {"combine": "nonsense"}, "combine 'nonsense': unknown rule"),
        (one, None, {"combine": "distinct"}, "combine= gives a list of rows, .* say"),
        (
            cities,
            None,
            {"combine": {"total": "max"}},
            "combine= gives one row, and so must",
        ),
        (partly, None, {"combine": "array_agg"}, "combine= gives one row, and so must"),
        (
            partial_numbers,
            None,
            {"combine": "array_agg"},
            "combine= gives one row, and",
        ),
        (names, "f() returns int", {"combine": "array_agg"}, "stands for text.* int4"),
        (
            one,
            "f() returns numeric",
            {"combine": "sum"},
            "stands for int8, .* has numeric; partitions send numeric: the signature",
        ),
        (cities, "f() returns setof record", {"combine": "max"}, "combine= needs col"),
        (rows, "f() returns setof record", {"order_by": ["a"]}, "order_by= needs col"),
        (one, "f() returns record", {"limit": 1}, "limit= needs a set-returning"),
        (stream, None, {"combine": "distinct"}, "write list.* in place of Iterator"),
        (
            row_stream,
            "f() returns record",
            {"run_on": 0},
            "a list as return hint and SETOF in",
        ),
        (one, None, {"first": True}, "first= breaks calls off, .* idempotent=True"),
        (one, "f() volatile", {"first": True}, "first= breaks calls off"),
        *(
            (one, None, {"first": True, "idempotent": True} | other, "first= is for")
            for other in (
                {"run_on": "ANY"},
                {"run_on": 3},
                {"run_on": ..., "cluster": ..., "connect": "dbname=x"},
            )
        ),
        (stream, None, {"first": True, "idempotent": True}, "first= takes the rows of"),
        (partly, None, {"first": True, "idempotent": True}, "first= takes the rows of"),
        (one, "f() stable immutable", {}, "syntax error"),
    ],
)
def test_refused(
    router: Router,
    python: Callable[..., Any],
    text: str | None,
    keywords: dict[str, Any],
    reason: str,
) -> None:
    with pytest.raises(SignatureError, match=reason):
        declared(router, python, *([text] if text else []), **keywords)
    assert router.functions == {}


@pytest.mark.parametrize(
    ("keywords", "kind", "reason"),
    [
        ({"order_by": "id"}, TypeError, r"write order_by=\('id',\)"),
        ({"limit": "5"}, SignatureError, "limit= names no parameter: '5'"),
        ({"settle": -1}, ValueError, "settle"),
        ({"need": 0}, ValueError, "need is at least 1"),
        ({"first": 1}, TypeError, "first is True or False"),
        ({"combine": 5}, TypeError, "combine is a rule"),
        ({"retry": True}, TypeError, "retry is a number, not bool"),
        ({"sensitive": True}, TypeError, "sensitive is a tuple of names"),
        ({"sensitive": "ssn"}, TypeError, r"write sensitive=\('ssn',\)"),
        ({"sensitive": (1,)}, TypeError, "sensitive is a tuple of names"),
        ({"sensitive": ("idd",)}, SignatureError, "names no argument: 'idd'"),
        ({"ordr_by": ("id",)}, TypeError, "did you mean 'order_by'"),
    ],
    ids=str,
)
def test_values_of_keywords(
    router: Router, keywords: dict[str, Any], kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason):
        declared(router, numbers, **keywords)


def test_options(router: Router) -> None:
    options = declared(router, one, run_on=0, settle=None, need=2).options
    assert (options.settle, options.need, options.partial) == (None, 2, False)
    assert declared(router, one, run_on=0).options.settle == 1.0
    options = declared(router, partly, settle=0).options
    assert (options.settle, options.partial) == (0, True)


@pytest.mark.parametrize("word", ["stable", "IMMUTABLE", "volatile", ""])
def test_what_only_reads_may_be_broken_off(router: Router, word: str) -> None:
    reads = word not in ("volatile", "")
    for text in (f"f() returns int8 {word}", f"f() {word}", f"f(out a int) {word}"):
        function = declared(router, one, text, run_on=0)
        assert function.options.idempotent is reads
        assert "stable" not in str(function.signature)
    function = declared(router, one, f"f() {word}", first=True, idempotent=True)
    assert function.options.first


def test_first_of_several_hashes(router: Router) -> None:
    def get(keys: list[int]) -> str: ...

    for run_on in (lambda keys: keys, "hashint8(1)", "ALL"):
        function = declared(router, get, run_on=run_on, first=True, idempotent=True)
        assert not function.answer.setof
    call = router.proxy(
        cluster="userdb", run_on=lambda keys: keys, first=True, idempotent=True
    )(get)
    assert call.plan([3, 0]).partitions == (3, 0)


def test_a_plan_shows_the_limit(router: Router) -> None:
    @router.proxy(
        cluster="userdb",
        run_on="ALL",
        order_by=("total desc", 'city collate "C"'),
        limit="most",
        offset="skipped",
    )
    def top(most: Int4 = 10, skipped: Int4 = 0) -> list[City]: ...

    function = top.definition
    assert isinstance(function.gather, Ordered)
    assert function.query.sql.decode() == (
        "SELECT city::text, total::int8 FROM public.top($1::int4, $2::int4)"
        ' ORDER BY total DESC, city::text COLLATE "C" LIMIT $3::int8'
    )
    assert function.fed([10, 5]) == (10, 5, 15)
    assert function.window([10, 5]) == (5, 10)


def test_a_parameter_has_two_names(router: Router) -> None:
    def top(most: int) -> list[int]: ...

    for name in ("most", "i_most"):
        function = declared(router, top, "top(i_most int8)", limit=name)
        assert function.window([7]) == (0, 7)


def test_a_comment_ends_a_select(router: Router) -> None:
    function = declared(
        router, numbers, order_by=["r"], select="n from t -- all of them"
    )
    assert function.query.sql.decode() == (
        "SELECT * FROM (SELECT n from t \n) AS q(r) ORDER BY r"
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ((), "numbers"),
        (("numbers(OUT id int8) RETURNS SETOF int8",), "id"),
        (("numbers() RETURNS TABLE (id int8)",), "id"),
    ],
)
def test_the_only_column_has_the_name_that_servers_give_it(
    router: Router, text: tuple[str, ...], name: str
) -> None:
    function = declared(router, numbers, *text, order_by=(f"{name} desc",))
    assert function.query.sql.endswith(b" r ORDER BY r DESC")
    with pytest.raises(SignatureError, match="does not exist"):
        declared(router, numbers, *text, order_by=("nothing",))
