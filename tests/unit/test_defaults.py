"""DEFAULTs that can be filled in here, and those that the caller must give."""

from __future__ import annotations

import pytest

from plproxy_py._defaults import constant_defaults
from plproxy_py.pgtypes import PgType
from plproxy_py.signature import Argument
from tests.unit.test_function import define


@pytest.mark.parametrize(
    ("declared", "default", "value"),
    [
        ("int", "5", "5"),
        ("int", "-1", "-1"),
        ("int", "'-1'::integer", "-1"),
        ("int8", "'7'", "7"),
        ("numeric(5,2)", "-1.50", "-1.50"),
        ("numeric", "'-1.50'::numeric", "-1.50"),
        ("float8", ".5e3", ".5e3"),
        ("text", "'it''s'", "it's"),
        ("text", "'x' :: text", "x"),
        ("varchar(2)", "'abc'::character varying", "abc"),
        ("bool", "TRUE", "TRUE"),
        ("bool", "'yes'", "yes"),
        ("text", "NULL", None),
        ("text", "null::varchar(3)", None),
        ("text[]", "null", None),
        ("text[]", "'{}'::text[]", []),
        ("jsonb", "'{}'::jsonb", {}),
        ("jsonb", """'{"a": [1.5, true]}'""", {"a": [1.5, True]}),
        ("json", "'[]'", []),
        ("mood", "'happy'::mood", "happy"),
        ("date", "'2007-03-12'::date", "2007-03-12"),
        ("bytea", r"'\x00'", r"\x00"),
    ],
)
def test_constant_defaults(declared: str, default: str, value: object) -> None:
    function = define(f"f(a {declared} default {default})")
    assert function.defaults == {0: value}
    function.arguments([], {})


@pytest.mark.parametrize(
    ("declared", "default"),
    [
        # only a server can compute these, or would cast them on the way
        ("int", "1.5"),
        ("int", "1 + 1"),
        ("int", "'x'"),
        ("int", "true"),
        ("numeric", "1.7::int"),
        ("text", "007"),
        ("text", "true"),
        ("text", "'abc'::varchar(2)"),
        ("text", "'abc'::varchar"),
        ("text", "'abc'::text || 'd'"),
        ("text", "null::text || 'd'"),
        ("text", "E'abc'"),
        ("text", "lower('X')"),
        ("varchar", "'abc'::varchar(2)"),
        ("bool", "1"),
        ("timestamp", "now()"),
        ("date", "'today'"),
        ("bytea", "'abc'"),
        ("text[]", "'{a}'"),
        ("text[]", "''"),
        ("int[]", "5"),
        ("jsonb", "'null'"),
        ("jsonb", "'{'"),
        ("jsonb", "'[0.10000000000000000000001]'"),
        ("jsonb", "5"),
        ("jsonb", "'" + "[" * 100_000 + "'"),
    ],
    ids=lambda value: value[:30],
)
def test_defaults_that_the_caller_must_give(declared: str, default: str) -> None:
    function = define(f"f(a {declared} default {default})")
    assert function.defaults == {}
    with pytest.raises(TypeError, match="argument a is missing"):
        function.arguments([], {})


def test_jsons_default_is_json() -> None:
    function = define("f(a jsonb default '{}')")
    assert function.params(function.arguments([], {}), None) == [b"{}"]


@pytest.mark.parametrize(
    "default",
    ["1" * 100_000 + "x", "'" + "''" * 100_000, "1::" + " " * 100_000 + "("],
    ids=["digits", "quotes", "blanks"],
)
def test_defaults_are_read_in_linear_time(default: str) -> None:
    """A quadratic reader would be at it for minutes."""
    assert constant_defaults([Argument("a", PgType("numeric"), default=default)]) == {}
