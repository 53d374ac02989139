"""Compiled functions: binding, normal forms, parameters, defaults, what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from plproxy_py import hashing
from plproxy_py.config import cluster_config
from plproxy_py.errors import (
    DeclarationError,
    ParseError,
    RoutingError,
    SignatureError,
    UnsupportedError,
)
from plproxy_py.function import Opaque, ProxyFunction, compile_function
from plproxy_py.hints import read_hints
from plproxy_py.language.parser import parse_body
from plproxy_py.signature import parse_signature

FOUR = cluster_config("userdb", [f"dbname=part{n}" for n in range(4)])
CLUSTER = "CLUSTER 'userdb'; "


def define(head: str, body: str = CLUSTER, **options: Any) -> ProxyFunction:
    """Compile a function; ``head`` without RETURNS is one of void."""
    if "returns" not in head and "out " not in head:
        head += " returns void"
    signature = parse_signature(head)
    names = [argument.name for argument in signature.inputs]
    arrays = [argument.type.is_array for argument in signature.inputs]
    options.setdefault("registered", {})
    return compile_function(signature, parse_body(body, names, arrays), **options)


def with_hints(
    function: Callable[..., Any], head: str, **options: Any
) -> ProxyFunction:
    return define(head, hints=read_hints(function, {}, typed=False), **options)


@dataclasses.dataclass
class User:
    id: int
    name: str


def pick(count: int) -> int:
    return 1


@pytest.mark.parametrize(
    ("args", "kwargs", "bound"),
    [
        (("x", 7), {}, ["x", 7, True]),
        (("x", 7, False), {}, ["x", 7, False]),
        (("x",), {"b": 7}, ["x", 7, True]),
        ((), {"c": False, "b": 7, "a": "x"}, ["x", 7, False]),
        ((None, None, None), {}, [None, None, None]),
    ],
)
def test_bound_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any], bound: list[Any]
) -> None:
    function = define("f(a text, b int, c bool default true)")
    assert function.arguments(args, kwargs) == bound


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ((), {}, "argument a is missing"),
        (("x",), {}, r"argument \$2 is missing"),
        (("x",), {"c": True}, r"argument \$2 is missing"),
        (("x", 7, True, 8), {}, "takes 3 arguments, 4 were given"),
        (("x", 7), {"a": "y"}, "argument a was given twice"),
        (("x", 7), {"d": "y"}, "argument d is not declared"),
    ],
)
def test_arguments_that_do_not_bind(
    args: tuple[Any, ...], kwargs: dict[str, Any], reason: str
) -> None:
    function = define("f(a text, int default null, c bool default true)")
    function = dataclasses.replace(function, defaults={2: True})
    with pytest.raises(TypeError, match=rf"^public.f\(3\):? {reason}"):
        function.arguments(args, kwargs)


def test_normal_forms_are_hashed_and_sent() -> None:
    function = define(
        "f(key int, day date, at timestamptz, tags text[], what mood, note text)",
        CLUSTER + "RUN ON hashint4(key); SELECT at, key, what, tags, note, key;",
    )
    given = ["7", "2007-03-12", datetime(2007, 3, 12), ["a", None], object(), None]
    normals = function.arguments(given, {})
    assert given[0] == "7"
    assert normals[0] == 7
    params = function.params(normals, "Europe/Berlin")
    assert params == [
        b"2007-03-11T23:00:00+00:00",
        b"7",
        Opaque(given[4]),
        b'{"a",NULL}',
        None,
    ]
    # A naive datetime is placed before it is hashed.
    assert normals[2] == datetime(2007, 3, 11, 23, tzinfo=UTC)
    tags = function.tag(normals, FOUR, pick)
    assert tags.hashes == (hashing.hashint4(7),)
    assert tags.partitions == (hashing.hashint4(7) & 3,)


def test_parameters_of_types_that_only_a_server_knows() -> None:
    function = define("f(a mood, b mood, c point[])")
    normals = function.arguments(["ä", 5, [1]], {})
    assert function.params(normals, None) == ["ä".encode(), Opaque(5), Opaque([1])]


@pytest.mark.parametrize(
    ("head", "value", "kind", "reason"),
    [
        ("f(a int)", True, TypeError, r"argument a \(int4\): expected int, got bool"),
        ("f(int)", 2**31, ValueError, r"argument \$1 \(int4\): out of range"),
        ("f(a text)", "\0", ValueError, r"argument a \(text\): NUL character"),
        ("f(a text)", "\ud800", ValueError, r"argument a \(text\): lone surrogate"),
        ("f(a mood)", "\ud800", ValueError, r"argument a \(mood\): lone surrogate"),
        ("f(a mood)", "\0", ValueError, r"argument a \(mood\): NUL character"),
        ("f(a text[])", "x", TypeError, r"argument a \(text\[\]\): expected a list"),
        ("f(a jsonb)", {1, 2}, TypeError, r"argument a \(jsonb\): a value that JSON"),
    ],
)
def test_an_argument_that_does_not_fit(
    head: str, value: object, kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=rf"^public.f\(1\): {reason}"):
        define(head).arguments([value], {})


def test_a_naive_datetime_without_a_timezone() -> None:
    function = define("f(a text, at timestamptz)")
    normals = function.arguments(["x", datetime(2007, 3, 12)], {})
    with pytest.raises(
        ValueError, match=r"^public.f\(2\): argument at \(timestamptz\)"
    ):
        function.params(normals, None)


class Secret:
    """Lets nothing but its type's name be seen."""

    def __repr__(self) -> str:
        raise AssertionError("a value was shown")

    __str__ = __repr__


@pytest.mark.parametrize("declared", ["text", "int", "jsonb", "date[]", "numeric"])
def test_values_are_not_shown(declared: str) -> None:
    with pytest.raises(TypeError):
        define(f"f(a {declared})").arguments([Secret()], {})


def test_a_python_functions_own_defaults_count() -> None:
    def f(a: str, b: int = 7) -> None: ...

    function = with_hints(f, "f(x text default 'y', z int8 default 8)")
    assert function.names == ("a", "b")
    assert function.defaults == {1: 7}
    assert function.arguments((), {"a": "x"}) == ["x", 7]
    with pytest.raises(TypeError, match="argument a is missing"):
        function.arguments([], {})


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
    assert function.cluster_name(normals) == "userdb"
    assert function.tag(normals, FOUR, pick).partitions == (2,)
    assert seen == [(7, {"a": [1.5]}, None, [[1], None])] * 2


def test_clusters() -> None:
    assert define("f()").cluster_name([]) == "userdb"
    assert define("f(a text)", "CLUSTER text(a);").cluster_name(["x"]) == "x"
    named = define("f(a text)", "CLUSTER up(a);", registered={"up": str.upper})
    assert named.cluster_name(["x"]) == "X"
    for value in (None, 5, b"userdb"):
        wrong = define(
            "f()", "CLUSTER f();", registered={"f": lambda value=value: value}
        )
        with pytest.raises(RoutingError, match=f"it gave {type(value).__name__}"):
            wrong.cluster_name([])
    connect = define("f()", "CONNECT 'dbname=x';")
    assert (connect.connect, connect.cluster) == ("dbname=x", None)


@pytest.mark.parametrize(
    ("head", "body", "kind", "reason"),
    [
        ("f(a int[])", CLUSTER + "\nSPLIT a;", UnsupportedError, "SPLIT can't be"),
        ("f() returns int", CLUSTER + "RUN ON ALL;", ParseError, "set-returning"),
        ("f()", CLUSTER + "RUN ON ALL;", ParseError, "set-returning"),
        ("f() returns record", CLUSTER, UnsupportedError, "record needs its columns"),
        ("f(out int, out text)", CLUSTER, UnsupportedError, "record needs its columns"),
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
            "f(a text)",
            CLUSTER + "\nRUN ON lower(a);",
            UnsupportedError,
            "Compile error at line 2: .* no function lower is known",
        ),
        (
            "f(a text)",
            "\nCLUSTER hashtext(a);",
            SignatureError,
            "Compile error at line 2: CLUSTER takes a name of type text, not int4",
        ),
        (
            "f(a text)",
            "\n\nCONNECT a;",
            UnsupportedError,
            "Compile error at line 3: CONNECT from an argument",
        ),
        ("f(a text)", "CONNECT g(a);", UnsupportedError, "line 1: CONNECT from"),
    ],
)
def test_refused(
    head: str, body: str, kind: type[DeclarationError], reason: str
) -> None:
    with pytest.raises(kind, match=rf"^PL/Proxy function public.f\(\d\): .*{reason}"):
        define(head, body)


def test_hints_and_signature_go_together() -> None:
    def one(a: str) -> str: ...
    def many(a: str) -> list[str]: ...
    def pair(a: str, b: str) -> str: ...

    assert with_hints(one, "f(x text) returns text").answer.setof is False
    assert with_hints(many, "f(x text) returns setof text").answer.setof is True
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
    assert function.answer.make_row((1, "a")) == User(1, "a")


def test_options_are_kept() -> None:
    function = define("f(a text)", strict=True, timeout=1.5)
    assert (function.strict, function.timeout) == (True, 1.5)
    assert function.label == "public.f(1)"
    assert function.answer.void


def test_a_compiled_function_shows_no_codecs() -> None:
    assert "Codec" not in repr(define("f(a text)"))
