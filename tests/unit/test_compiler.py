"""Signature and body, compiled: the ways to a hash, to a name, and what is refused."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import pytest

from plproxy_py import hashing
from plproxy_py.compiler import returning
from plproxy_py.errors import (
    DeclarationError,
    ParseError,
    RoutingError,
    SignatureError,
    UnsupportedError,
)
from plproxy_py.function import Named
from plproxy_py.options import Options
from plproxy_py.query import RemoteQuery
from plproxy_py.signature import parse_columns
from plproxy_py.tagging import RunHome
from tests.compiled import CLUSTER, FOUR, define, pick, with_hints


@dataclasses.dataclass
class User:
    id: int
    name: str


def named(name: Named, normals: Sequence[Any]) -> Any:
    """Return what a call with these arguments would find."""
    assert callable(name)
    return name(normals)


@pytest.mark.parametrize(
    ("body", "args", "partitions"),
    [
        ("RUN ON ALL;", ["x", 0], (0, 1, 2, 3)),
        ("RUN ON ANY;", ["x", 0], (1,)),
        ("", ["x", 0], (1,)),
        ("RUN ON 3;", ["x", 0], (3,)),
        ("RUN ON b;", ["x", -1], (3,)),
        ("RUN ON $2;", ["x", 6], (2,)),
        ("RUN ON hashint4(b);", ["x", 7], (hashing.hashint4(7) & 3,)),
        ("RUN ON f(a);", ["xy", 7], (2,)),
        ("RUN ON several(a);", ["x", 7], (3, 0)),
    ],
)
def test_run_on(body: str, args: list[Any], partitions: tuple[int, ...]) -> None:
    function = define(
        "f(a text, b int) returns setof text",
        CLUSTER + body,
        registered={"f": len, "several": lambda text: [3, 0, 3]},
    )
    assert function.tag(args, FOUR, pick).partitions == partitions


@pytest.mark.parametrize("body", ["RUN ON b;", "RUN ON hashint4(b);"])
def test_a_null_hash(body: str) -> None:
    function = define("f(a text, b int)", CLUSTER + body)
    with pytest.raises(RoutingError, match="the hash is NULL"):
        function.tag(["x", None], FOUR, pick)


def test_callables_see_the_arguments_as_python_has_them() -> None:
    seen: list[Any] = []

    def hash(*args: Any) -> int:
        seen.append(args)
        return 6

    def cluster(*args: Any) -> str:
        seen.append(args)
        return "userdb"

    function = define(
        "f(key int, document jsonb, note text, more json[])",
        run_on=hash,
        cluster=cluster,
    )
    normals = function.arguments(["7", {"a": [1.5]}, None, [[1], None]], {})
    assert named(function.cluster, normals) == "userdb"
    assert function.tag(normals, FOUR, pick).partitions == (2,)
    assert seen == [(7, {"a": [1.5]}, None, [[1], None])] * 2


def test_clusters() -> None:
    assert define("f()").cluster == "userdb"
    assert named(define("f(a text)", "CLUSTER text(a);").cluster, ["x"]) == "x"
    up = define("f(a text)", "CLUSTER up(a);", registered={"up": str.upper})
    assert named(up.cluster, ["x"]) == "X"


def test_connect_strings() -> None:
    """A literal, an argument, what is computed here, a Python callable."""
    literal = define("f()", "CONNECT 'dbname=x';")
    assert (literal.connect, literal.cluster) == ("dbname=x", None)
    for body in ("CONNECT a;", "CONNECT $1;", "CONNECT text(a);"):
        assert named(define("f(a text)", body).connect, ["dbname=y"]) == "dbname=y"
    called = define("f(a text)", "CONNECT 'computed';", connect="dbname={}".format)
    assert named(called.connect, ["z"]) == "dbname=z"
    assert called.tag(["z"], FOUR, pick).partitions == (1,)


def test_callables_and_split_arrays() -> None:
    """RUN ON sees elements; CLUSTER and CONNECT see the whole arrays."""
    seen: list[Any] = []

    def see(*args: Any) -> str:
        seen.append(args)
        return "userdb"

    function = define(
        "f(keys int[], documents jsonb[]) returns setof int",
        CLUSTER + "SPLIT ALL;",
        run_on=lambda key, document: key + document["n"],
        cluster=see,
        connect=see,
    )
    normals = function.arguments([[1, 2], [{"n": 1}, {"n": 2}]], {})
    assert named(function.cluster, normals) == "userdb"
    assert named(function.connect, normals) == "userdb"
    assert seen == [([1, 2], [{"n": 1}, {"n": 2}])] * 2
    assert function.tag(normals, FOUR, pick).hashes == (2, 4)


class Ring(dict[str, int]):
    """A callable that is false while it is empty."""

    def __call__(self, key: str) -> Any:
        return self.get(key, 3)


def test_a_callable_may_be_false() -> None:
    ring = Ring()
    function = define("f(a text)", run_on=ring, cluster=ring, connect=ring)
    assert function.tag(["x"], FOUR, pick).partitions == (3,)
    assert named(function.cluster, ["x"]) == named(function.connect, ["x"]) == 3


@pytest.mark.parametrize(
    ("body", "sql", "feeds"),
    [
        ("RUN ON lower(b);", "SELECT * FROM lower($1::text)", (1,)),
        (
            "RUN ON f(b, $1) AS h WHERE h > a;",
            "SELECT * FROM f($1::text, $2::int4) AS h WHERE h > $2::int4",
            (1, 0),
        ),
        ("RUN ON s . f();", "SELECT * FROM s . f()", ()),
        ("RUN ON nobody;", "SELECT nobody", ()),
    ],
)
def test_hashes_that_home_computes(body: str, sql: str, feeds: tuple[int, ...]) -> None:
    function = define("f(a int, b text) returns setof int", "CLUSTER 'c'; " + body)
    query = RemoteQuery(sql.encode(), feeds)
    assert function.run_on == RunHome(query, None, setof=True)
    assert isinstance(function.needs_home, UnsupportedError)


@pytest.mark.parametrize(
    ("body", "sql", "feeds"),
    [
        ("CLUSTER g(b, a);", "SELECT g($1::text, $2::int4[])", (1, 0)),
        ("CLUSTER g(a) || 'x';", "SELECT g($1::int4[]) || 'x'", (0,)),
        ("CONNECT g(b) LIMIT 1;", "SELECT * FROM g($1::text) LIMIT 1", (1,)),
        ("CONNECT nobody;", "SELECT nobody", ()),
    ],
)
def test_names_that_home_computes(body: str, sql: str, feeds: tuple[int, ...]) -> None:
    """A split array stays whole here."""
    function = define("f(a int[], b text) returns setof int", body + " SPLIT a;")
    query = RemoteQuery(sql.encode(), feeds)
    assert query in (function.cluster, function.connect)
    assert isinstance(function.needs_home, UnsupportedError)


def test_split_asks_home_once() -> None:
    function = define(
        "f(a int[], b text) returns setof int", CLUSTER + "SPLIT a; RUN ON g(b, a);"
    )
    assert isinstance(function.run_on, RunHome)
    assert function.run_on.query.feeds == (1, 0)
    assert function.run_on.split_query is not None
    assert function.run_on.split_query.feeds == (0, 1)


def test_why_a_home_is_needed() -> None:
    """The reason waits, ready to be raised, until it is known that there is none."""
    function = define("f(a text)", CLUSTER + "\nRUN ON lower(a);")
    error = function.needs_home
    assert error is not None
    assert (error.line, error.function) == (2, "public.f(1)")
    assert re.match(
        r"PL/Proxy function public.f\(1\): Compile error at line 2: "
        r"lower\(\$1\) can't be computed here: no function lower is known; ",
        str(error),
    )
    assert define("f(a text)").needs_home is None


@pytest.mark.parametrize(
    ("head", "body", "kind", "reason"),
    [
        ("f() returns int", CLUSTER + "RUN ON ALL;", ParseError, "set-returning"),
        ("f()", CLUSTER + "RUN ON ALL;", ParseError, "set-returning"),
        (
            "f() returns record",
            CLUSTER + "SELECT 1;",
            ParseError,
            "SELECT can't be used with dynamic records",
        ),
        (
            "f(out int, out text)",
            CLUSTER + "SELECT 1;",
            ParseError,
            "SELECT can't be used with dynamic records",
        ),
        (
            "f(a text)",
            CLUSTER + "\nRUN ON a;",
            SignatureError,
            "Compile error at line 2: RUN ON takes a hash of type .*, not text",
        ),
        (
            "f(a text)",
            CLUSTER + "\nRUN ON text(a);",
            SignatureError,
            "Compile error at line 2: RUN ON takes a hash of type .*, not text",
        ),
        (
            "f(a int[])",
            CLUSTER + "\nRUN ON a;",
            SignatureError,
            r"Compile error at line 2: RUN ON takes a hash of .*, not int4\[\]",
        ),
        (
            "f(a text[])",
            CLUSTER + "SPLIT a;\nRUN ON a;",
            SignatureError,
            "Compile error at line 2: RUN ON takes a hash of type .*, not text",
        ),
        (
            "f(a text)",
            "\nCLUSTER hashtext(a);",
            SignatureError,
            "Compile error at line 2: CLUSTER takes a text, not int4",
        ),
        (
            "f(a text)",
            "\nCONNECT hashtext(a);",
            SignatureError,
            "Compile error at line 2: CONNECT takes a text, not int4",
        ),
        (
            "f(a int)",
            "\n\nCONNECT a;",
            SignatureError,
            "Compile error at line 3: CONNECT takes a text, not int4",
        ),
        (
            "f(a text[])",
            "CONNECT a; SPLIT a;",
            SignatureError,
            r"Compile error at line 1: CONNECT takes a text, not text\[\]",
        ),
    ],
)
def test_refused(
    head: str, body: str, kind: type[DeclarationError], reason: str
) -> None:
    with pytest.raises(kind, match=rf"^PL/Proxy function public.f\(\d\): .*{reason}"):
        define(head, body)


@pytest.mark.parametrize(
    ("head", "body", "sql", "setof"),
    [
        (
            "f(a text) returns setof record",
            CLUSTER,
            'SELECT id::int4, "b B"::numeric(5,2) FROM public.f($1::text)'
            ' AS (id int4, "b B" numeric(5,2))',
            True,
        ),
        (
            "f() returns record",
            CLUSTER + "TARGET other.fn;",
            'SELECT id::int4, "b B"::numeric(5,2) FROM other.fn()'
            ' AS (id int4, "b B" numeric(5,2))',
            False,
        ),
    ],
)
def test_returning(head: str, body: str, sql: str, setof: bool) -> None:
    """A dynamic record has no answer before its columns are listed."""
    function = define(head, body)
    assert function.answer is None
    listed = returning(function, parse_columns('id integer, "b B" numeric(5,2)'))
    assert listed.query.sql.decode() == sql
    assert listed.query.feeds == function.query.feeds
    assert listed.answer is not None
    assert listed.answer.setof is setof
    assert listed.answer.make_row((1, 2))["b B"] == 2
    assert function.answer is None
    with pytest.raises(SignatureError, match="the columns are declared"):
        returning(listed, parse_columns("id int"))


@pytest.mark.parametrize("result", ["text", "setof s.t", "void", "table(a int, b int)"])
def test_columns_that_are_declared_are_not_listed(result: str) -> None:
    function = define(f"f() returns {result}")
    with pytest.raises(SignatureError, match=r"^public.f\(0\): the columns are"):
        returning(function, parse_columns("id int"))


def test_columns_of_a_composite_that_a_catalog_knows() -> None:
    columns = parse_columns("id int, name text")
    function = define("f() returns setof s.t", columns=columns)
    assert function.query.sql == b"SELECT id::int4, name::text FROM public.f()"
    assert function.columns == columns
    assert function.answer is not None
    assert function.answer.make_row((1, "a")).name == "a"


def test_hints_and_signature_go_together() -> None:
    def one(a: str) -> str: ...
    def many(a: str) -> list[str]: ...
    def pair(a: str, b: str) -> str: ...

    for function, head in (
        (one, "f(x text) returns text"),
        (many, "f(x text) returns setof text"),
    ):
        answer = with_hints(function, head).answer
        assert answer is not None
        assert answer.setof is (function is many)
    for function, head, reason in (
        (one, "f(x text) returns setof text", "a list as return hint and SETOF"),
        (many, "f(x text) returns text", "a list as return hint and SETOF"),
        (pair, "f(x text) returns text", "has 2 parameters, the signature 1"),
        (one, "f(x text, out y int, out z int)", "the hint must be a dataclass"),
    ):
        with pytest.raises(SignatureError, match=rf"^PL/Proxy function .*{reason}"):
            with_hints(function, head)


def test_the_row_of_a_composite_type_lists_its_columns() -> None:
    def get_user(name: str) -> User: ...

    function = with_hints(get_user, "get_user(i text) returns users")
    assert function.query.sql == (
        b"SELECT id::int8, name::text FROM public.get_user($1::text)"
    )
    assert function.answer is not None
    assert function.answer.make_row((1, "a")) == User(1, "a")


def test_options_are_kept() -> None:
    options = Options(timeout=1.5)
    function = define("f(a text)", strict=True, options=options)
    assert (function.strict, function.options) == (True, options)
    assert function.label == "public.f(1)"
    assert function.answer is not None
    assert function.answer.void


class Found(NamedTuple):
    id: Annotated[int, "int4"]
    name: str


def test_a_face_lists_the_columns_of_a_dynamic_record() -> None:
    def f(q: str) -> list[Found]: ...

    function = with_hints(f, "f(q text) returns setof record")
    assert function.query.sql == (
        b"SELECT id::int4, name::text FROM public.f($1::text) AS (id int4, name text)"
    )
    assert function.answer is not None
    assert function.answer.make_row((1, "a")) == Found(1, "a")
