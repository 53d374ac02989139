"""Compiled functions: binding, normal forms, parameters, tagged partitions."""

from __future__ import annotations

import dataclasses
import struct
from datetime import UTC, datetime
from typing import Any

import pytest

from plproxy_py import hashing
from plproxy_py.arrays import Binary
from plproxy_py.errors import RoutingError
from plproxy_py.function import Opaque
from plproxy_py.tagging import RunHash, Tags
from tests.binary import unpacked
from tests.compiled import CLUSTER, FOUR, define, pick


@dataclasses.dataclass
class Pair:
    key: int
    name: str


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
    function.place(normals, "Europe/Berlin")
    # A naive datetime is placed before it is hashed.
    assert normals[2] == datetime(2007, 3, 11, 23, tzinfo=UTC)
    params = function.params(normals)
    assert params == [
        b"2007-03-11T23:00:00+00:00",
        b"7",
        Opaque(given[4]),
        b'{"a",NULL}',
        None,
    ]
    tags = function.tag(normals, FOUR, pick)
    assert tags.hashes == (hashing.hashint4(7),)
    assert tags.partitions == (hashing.hashint4(7) & 3,)


def test_parameters_of_types_that_only_a_server_knows() -> None:
    function = define("f(a mood, b mood, c point[], d comp, e comp[])")
    given = ["ä", 5, (1,), Pair(1, "x"), [Pair(2, "y"), None]]
    assert function.params(function.arguments(given, {})) == [
        "ä".encode(),
        Opaque(5),
        Opaque([1]),
        Opaque((1, "x")),
        Opaque([(2, "y"), None]),
    ]


def test_parameters_of_another_query() -> None:
    """The home database gets what it names, in its own order."""
    function = define("f(a int, b text, c int)")
    assert function.params([1, "x", None], (1, 2, 1)) == [b"x", None, b"x"]
    assert function.params([1, "x", None], ()) == []


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
        function.place(normals, None)


class Secret:
    """Lets nothing but its type's name be seen."""

    def __repr__(self) -> str:
        raise AssertionError("a value was shown")

    __str__ = __repr__


@pytest.mark.parametrize("declared", ["text", "int", "jsonb", "date[]", "numeric"])
def test_values_are_not_shown(declared: str) -> None:
    with pytest.raises(TypeError):
        define(f"f(a {declared})").arguments([Secret()], {})


def test_a_compiled_function_shows_no_codecs() -> None:
    assert "Codec" not in repr(define("f(a text)"))


SPLIT = CLUSTER + "SPLIT keys; RUN ON hashint4(keys);"


def test_split_arguments() -> None:
    """Each partition gets its own part of the arrays, the rest as it was given."""
    function = define("f(keys int[], note text, more int[]) returns setof int", SPLIT)
    assert function.split == (0,)
    args = [list(range(6)), "x", [7]]
    tags = function.tag(function.arguments(args, {}), FOUR, pick)
    assert tags.arguments is not None
    rows = {key: hashing.hashint4(key) & 3 for key in range(6)}
    assert tags.partitions == tuple(dict.fromkeys(rows.values()))
    for partition, own in zip(tags.partitions, tags.arguments, strict=True):
        keys = [struct.pack(">i", key) for key in rows if rows[key] == partition]
        packed, *others = function.params(own)
        assert isinstance(packed, Binary)
        assert unpacked(packed) == (23, keys)
        assert own[1:] == ["x", [7]]
        assert others == [b"x", b'{"7"}']


@pytest.mark.parametrize(
    ("type", "hash", "at_once"),
    [
        ("text", "hashtext(keys)", True),
        ("int", "keys", True),
        # A bpchar loses its blanks before it is hashed as text.
        ("bpchar", "hashtext(keys)", False),
        ("text", "hashtext(keys::text)", False),
        ("text", "hashtext(note)", False),
        ("int", "hashint4(keys) + 1", False),
    ],
)
def test_split_by_a_plain_hash_takes_all_rows_at_once(
    type: str, hash: str, at_once: bool
) -> None:
    body = f"{CLUSTER}SPLIT keys; RUN ON {hash};"
    function = define(f"f(keys {type}[], note text) returns setof int", body)
    normals = function.arguments([["7 ", "12 "], "x"], {})
    tags = function.tag(normals, FOUR, pick)
    assert tags.arguments is not None
    assert all(isinstance(own[0], Binary) is at_once for own in tags.arguments)
    assert isinstance(function.run_on, RunHash)
    rows = [(key, "x") for key in normals[0]]
    assert tuple(tags.hashes) == tuple(map(function.run_on.hash, rows))


def test_split_all_without_arrays_is_no_split() -> None:
    function = define("f(key int)", CLUSTER + "SPLIT ALL; RUN ON key;")
    assert function.split == ()
    assert function.tag([6], FOUR, pick) == Tags((2,), (6,))


def test_hashes_from_home() -> None:
    """What the home database answered stands in the hash's place."""
    head = "f(keys text[]) returns setof int"
    whole = define(head, CLUSTER + "RUN ON home_hash($1);")
    assert whole.tag([["a"]], FOUR, pick, (whole.run_on, [3, 4])) == Tags(
        (3, 0), (3, 4)
    )
    split = define(head, CLUSTER + "SPLIT keys; RUN ON home_hash(keys);")
    assert split.tag([["a", "b"]], FOUR, pick, (split.run_on, [[3], []])) == Tags(
        (3,), (3,), ([["a"]],)
    )
    with pytest.raises(RoutingError, match="the hash is NULL"):
        whole.tag([["a"]], FOUR, pick, (whole.run_on, [None]))


@pytest.mark.parametrize(
    ("signature", "given"),
    [
        (
            "f(a text, b int, c numeric, d bool[]) returns int",
            ["ž", -7, "1.50", [True]],
        ),
        ("f(a text, b int, c numeric, d bool[]) returns int", [None] * 4),
    ],
)
def test_texts_are_the_parameters_of_plain_functions(
    signature: str, given: list[Any]
) -> None:
    function = define(signature)
    normals = function.arguments(given, {})
    assert function.is_plain
    assert function.texts(normals) == function.params(normals)
    assert function.converted(given, {}) == (normals, function.texts(normals))


def test_converted_arguments_go_in_the_order_of_the_query() -> None:
    function = define("f(a int, b text) returns int", CLUSTER + "SELECT g(b, a);")
    normals, texts = function.converted((), {"b": "x", "a": 7})
    assert (normals, texts) == ([7, "x"], [b"x", b"7"])
    with pytest.raises(TypeError, match=r"f\(.*: argument b"):
        function.converted((1, 2.5), {})


def test_what_needs_more_than_texts_is_not_plain() -> None:
    assert not define("f(a timestamptz) returns int").is_plain
    assert not define("f(a inet) returns int").is_plain


def test_the_texts_of_split_arrays_are_their_parts() -> None:
    function = define("f(keys int[], note text) returns setof int", SPLIT)
    tags = function.tag(function.arguments([[1, 2], "x"], {}), FOUR, pick)
    assert tags.arguments is not None
    for own in tags.arguments:
        assert function.texts(own) == function.params(own)


class Raising:
    """No value at all: whoever looks at it is told nothing."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("not told")


def test_a_value_whose_methods_raise_is_a_misfit() -> None:
    function = define("f(a int, b int) returns int")
    for take in (function.arguments, function.converted):
        with pytest.raises(TypeError, match=r"argument b \(int4\).*raised Runtime"):
            take((1, Raising()), {})


def test_a_parameter_is_named_by_the_argument_it_comes_from() -> None:
    function = define("f(a int, b text) returns int", CLUSTER + "SELECT g(b, a);")
    assert function.parameter(0, function.query.feeds) == (
        "public.f(2): argument b (text)"
    )
