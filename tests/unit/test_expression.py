"""RUN ON expressions: what is computed here, to which value, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from plproxy_py import hashing, values
from plproxy_py.errors import RoutingError, UnsupportedError
from plproxy_py.expression import Computed, compile_expression
from plproxy_py.language.body import Expression
from plproxy_py.language.parser import parse_statement
from plproxy_py.pgtypes import parse_type

A_UUID = UUID("123e4567-e89b-12d3-a456-426614174000")

# The arguments of every expression here: name, type, normal form.
ARGUMENTS: dict[str, tuple[str, Any]] = {
    "t": ("text", "marko"),
    "v": ("varchar", "marko"),
    "c": ("bpchar", "marko  "),
    "n": ("name", "marko"),
    "ch": ('"char"', "m"),
    "i2": ("int2", -32768),
    "i4": ("int4", 2147483647),
    "i8": ("int8", -9223372036854775808),
    "seven": ("int4", 7),
    "o": ("oid", 7),
    "f4": ("float4", 1.5),
    "f8": ("float8", 0.1),
    "num": ("numeric", Decimal("1.10")),
    "b": ("bool", True),
    "by": ("bytea", b"marko"),
    "d": ("date", date(2007, 3, 12)),
    "ts": ("timestamp", datetime(2007, 3, 12)),
    "late": ("timestamp", "infinity"),
    "never": ("date", "-infinity"),
    "iv": ("interval", timedelta(days=1)),
    "soon": ("interval", "in a secret while"),
    "u": ("uuid", A_UUID),
    "j": ("jsonb", '{"a": [1.10, null]}'),
    "deep": ("jsonb", "[" * 2000 + "]" * 2000),
    "ja": ("jsonb[]", ["[1]", None]),
    "mood": ("mood", "happy"),
    "null": ("text", None),
    "nothing": ("int4", None),
}


def compiled(text: str, /, **registered: Callable[..., Any]) -> Computed:
    expression = parse_statement("RUN ON", text, list(ARGUMENTS), [False] * 99)
    assert isinstance(expression, Expression)
    types = [parse_type(declared) for declared, _ in ARGUMENTS.values()]
    return compile_expression(expression, types, registered)


def value_of(text: str, /, **registered: Callable[..., Any]) -> Any:
    return compiled(text, **registered).value(
        [value for _, value in ARGUMENTS.values()]
    )


@pytest.mark.parametrize(
    ("text", "type", "value"),
    [
        # a hash that PostgreSQL would find for the declared type
        ("hashtext(t)", "int4", hashing.hashtext("marko")),
        ("HashText ( $1 )", "int4", hashing.hashtext("marko")),
        ("pg_catalog.hashtext(t)", "int4", hashing.hashtext("marko")),
        ("hashtext(v)", "int4", hashing.hashtext("marko")),
        ("hashtext(c)", "int4", hashing.hashtext("marko")),
        ("hashtext(n)", "int4", hashing.hashtext("marko")),
        ("hashtext(ch)", "int4", hashing.hashtext("m")),
        ("hashtext('it''s')", "int4", hashing.hashtext("it's")),
        ("hashtextextended(t, 0)", "int8", hashing.hashtextextended("marko", 0)),
        ("hashtextextended(t, -1)", "int8", hashing.hashtextextended("marko", -1)),
        (
            "hashtextextended(t, i8)",
            "int8",
            hashing.hashtextextended("marko", -(2**63)),
        ),
        ("hashbpchar(c)", "int4", hashing.hashtext("marko")),
        ("hashbpchar(t)", "int4", hashing.hashtext("marko")),
        ("hashname(n)", "int4", hashing.hashname("marko")),
        ("hashchar(ch)", "int4", hashing.hashchar("m")),
        ("hashint2(i2)", "int4", hashing.hashint2(-32768)),
        ("hashint4(i2)", "int4", hashing.hashint4(-32768)),
        ("hashint8(i2)", "int4", hashing.hashint8(-32768)),
        ("hashint8(i8)", "int4", hashing.hashint8(-(2**63))),
        ("hashint4(5)", "int4", hashing.hashint4(5)),
        ("hashint8(2147483648)", "int4", hashing.hashint8(2**31)),
        ("hashoid(o)", "int4", hashing.hashoid(7)),
        ("hashfloat4(f4)", "int4", hashing.hashfloat4(1.5)),
        ("hashfloat8(f8)", "int4", hashing.hashfloat8(0.1)),
        ("hash_numeric(num)", "int4", hashing.hash_numeric(Decimal("1.1"))),
        ("hash_numeric(seven)", "int4", hashing.hash_numeric(Decimal(7))),
        ("hashbool(b)", "int4", hashing.hashbool(True)),
        ("hashbytea(by)", "int4", hashing.hashbytea(b"marko")),
        ("timestamp_hash(ts)", "int4", hashing.timestamp_hash(datetime(2007, 3, 12))),
        ("timestamp_hash(d)", "int4", hashing.timestamp_hash(datetime(2007, 3, 12))),
        ("interval_hash(iv)", "int4", hashing.interval_hash(timedelta(days=1))),
        ("uuid_hash(u)", "int4", hashing.uuid_hash(A_UUID)),
        ("jsonb_hash(j)", "int4", hashing.jsonb_hash({"a": [Decimal("1.1"), None]})),
        ("mmh3(t)", "int4", hashing.mmh3("marko")),
        ("plproxy.mmh3(t)", "int4", hashing.mmh3("marko")),
        ("mmh3(by)", "int4", hashing.mmh3(b"marko")),
        # as text
        ("hashtext(seven::text)", "int4", hashing.hashtext("7")),
        ("hashtext(i8::TEXT)", "int4", hashing.hashtext("-9223372036854775808")),
        ("hashtext(u::text)", "int4", hashing.hashtext(str(A_UUID))),
        ("hashtext(c::text::text)", "int4", hashing.hashtext("marko")),
        ("hashtext('x'::text)", "int4", hashing.hashtext("x")),
        (
            "hashtext(hashtext(t)::text)",
            "int4",
            hashing.hashtext(str(hashing.hashtext("marko"))),
        ),
        ("text(t)", "text", "marko"),
        ("text(c)", "text", "marko"),
        ("text(seven + 1)", "text", "8"),
        # integers, in PostgreSQL's order
        ("hashint4(seven) & 15", "int4", hashing.hashint4(7) & 15),
        ("hashint4(seven) & 3 + 4 % 3 - 1", "int4", hashing.hashint4(7) & 3),
        ("hashint4(1 - 2 - 3)", "int4", hashing.hashint4(-4)),
        ("hashint4((1 - (2 - 3)))", "int4", hashing.hashint4(2)),
        ("hashint4(- - 5)", "int4", hashing.hashint4(5)),
        ("hashint4(-5 % 3)", "int4", hashing.hashint4(-2)),
        ("hashint4(5 % -3)", "int4", hashing.hashint4(2)),
        ("hashint4(0 % -3)", "int4", hashing.hashint4(0)),
        ("hashint4(-2147483647 - 1)", "int4", hashing.hashint4(-(2**31))),
        ("hashint8(i8 % -1)", "int4", hashing.hashint8(0)),
        ("hashint8(i8 & -1)", "int4", hashing.hashint8(-(2**63))),
        ("hashint2(i2 % i2)", "int4", hashing.hashint2(0)),
        # NULL makes NULL
        ("hashtext(null)", "int4", None),
        ("hashtext(nothing::text)", "int4", None),
        ("hashint4(nothing + 1)", "int4", None),
        ("hashtextextended(null, 0)", "int8", None),
    ],
)
def test_computed(text: str, type: str, value: object) -> None:
    computed = compiled(text)
    assert computed.type == type
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "sqlstate", "reason"),
    [
        ("hashint4(i4 + 1)", "22003", "int4 out of range"),
        ("hashint2(-i2)", "22003", "int2 out of range"),
        ("hashint8(i2 + i8 - i8)", "22003", "int8 out of range"),
        ("hashint4(seven % 0)", "22012", "division by zero"),
        ("hashint4(seven % (seven - 7))", "22012", "division by zero"),
        ("timestamp_hash(late)", "22023", "can't be hashed here"),
        ("timestamp_hash(never)", "22023", "can't be hashed here"),
        ("interval_hash(soon)", "22023", "can't be hashed here"),
    ],
)
def test_refused_with_these_values(text: str, sqlstate: str, reason: str) -> None:
    compiled(text)
    with pytest.raises(RoutingError, match=reason) as caught:
        value_of(text)
    assert caught.value.sqlstate == sqlstate
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["jsonb_hash(deep)", "jsonb_hash_extended(deep, 1)", "f(deep)", "f(t, deep)"],
)
def test_json_too_deep_for_the_stack(text: str) -> None:
    with pytest.raises(RoutingError, match="JSON nested too deep"):
        value_of(text, f=len)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # what PostgreSQL itself would not find
        ("hashtext(5)", r"no function hashtext\(int4\)"),
        ("hashtext(u)", r"no function hashtext\(uuid\)"),
        ("hashtext(t, t)", r"no function hashtext\(text, text\)"),
        ("hashtext()", r"no function hashtext\(\)"),
        ("hashint4(i8)", r"no function hashint4\(int8\)"),
        ("hashint2(5)", r"no function hashint2\(int4\)"),
        ("hashint4(-2147483648)", r"no function hashint4\(int8\)"),
        ("hashint8(num)", r"no function hashint8\(numeric\)"),
        ("hashtext(mood)", r"no function hashtext\(mood\)"),
        ("hashtext(j)", r"no function hashtext\(jsonb\)"),
        ("jsonb_hash(ja)", r"no function jsonb_hash\(jsonb\[\]\)"),
        ("public.hashtext(t)", "no function public.hashtext is known"),
        ("pg_catalog.mmh3(t)", "no function pg_catalog.mmh3 is known"),
        ("lower(t)", "no function lower is known"),
        ("hashtext\xa0(t)", "no function hashtext\xa0 is known"),
        ("ha\u017fhtext(t)", "no function ha\u017fhtext is known"),
        ("hashtext(t & 5)", "& works on integers only"),
        ("hashtext(-t)", "- works on integers only"),
        ("hashtext(num % 2)", "% works on integers only"),
        ("hashtext(f8::text)", "float8 as text"),
        ("text(mood)", "mood as text"),
        ("text()", "no function text is known"),
        # more than the closed set
        ("hashtext(t) WHERE true", "can't be computed here; register"),
        ("hashtext(t)::int", "can't be computed here; register"),
        ("hashtext(t::varchar)", "can't be computed here; register"),
        ("hashtext(t::'text')", "can't be computed here; register"),
        ("hashtext(t || 'x')", "can't be computed here; register"),
        ("hashtext(E'x')", "can't be computed here; register"),
        ("hashtext(t", "can't be computed here; register"),
        ("hashtext(t 5)", "can't be computed here; register"),
        ("hashtext(,)", "can't be computed here; register"),
        ("hashtext(other)", "can't be computed here; register"),
        ("hashint4(1.5)", "can't be computed here; register"),
        ("hashint4(1e5)", "can't be computed here; register"),
        ("hashint4(5 * 3)", "can't be computed here; register"),
        ("hashint8(9223372036854775808)", "can't be computed here; register"),
        ("hashint8(" + "9" * 5000 + ")", "can't be computed here; register"),
        ("nobody", "can't be computed here; register"),
        # no stack is deep enough for these
        ("hashint4(" + "(" * 5000 + "1" + ")" * 5000 + ")", "it is too long"),
        ("hashint4(" + "- " * 5000 + "1)", "it is too long"),
        ("hashint4(1" + " + 1" * 5000 + ")", "it is too long"),
    ],
    ids=lambda value: value[:40],
)
def test_unsupported(text: str, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason) as caught:
        compiled("\n" + text)
    error = caught.value
    assert error.line == 2
    assert error.sqlstate == "0A000"
    # Both ways out.
    assert "hashes=" in str(error)
    assert "home=" in str(error)
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    "text",
    ["hashint4(" + "(" * 48 + "1" + ")" * 48 + ")", "hashint4(" + "- " * 96 + "1)"],
)
def test_the_longest_expression_fits_any_stack(text: str) -> None:
    def within(depth: int) -> object:
        return value_of(text) if depth == 0 else within(depth - 1)

    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    # What is left is less than half of what Python gives.
    assert within(sys.getrecursionlimit() - depth - 450) == hashing.hashint4(1)


def test_a_registered_function_comes_first() -> None:
    assert value_of("hashtext(t)", hashtext=len) == 5
    assert value_of("NameHash(t)", namehash=len) == 5
    assert compiled("f(t)", f=len).type is None
    assert value_of("f()", f=lambda: 3) == 3
    assert value_of("f(t, 2 + 3)", f=lambda *given: given) == ("marko", 5)
    assert value_of("text(t)", text=len) == 5
    with pytest.raises(UnsupportedError, match="& works on integers only"):
        compiled("f(t) & 15", f=len)


def test_a_registered_function_sees_null() -> None:
    assert value_of("f(null)", f=lambda given: given is None) is True
    assert value_of("f(null, t)", f=lambda *given: given) == (None, "marko")


def test_a_registered_function_sees_json_as_python_has_it() -> None:
    assert value_of("f(j)", f=lambda document: document["a"]) == [1.1, None]
    assert value_of("f(ja)", f=lambda documents: documents) == [[1], None]


def test_errors_of_a_registered_function_pass() -> None:
    def fails(value: str) -> int:
        raise LookupError(value)

    with pytest.raises(LookupError, match="marko"):
        value_of("fails(t)", fails=fails)


def test_what_is_hashed_is_what_is_sent() -> None:
    """A name that the server cuts is cut before it is hashed."""
    codec = values.codec(parse_type("name"))
    assert codec is not None
    computed = compile_expression(
        Expression(("hashtext(", *_reference(), ")"), 1), [parse_type("name")], {}
    )
    normal = codec.normal("n" * 70)
    assert computed.value([normal]) == hashing.hashtext(codec.text(normal))


def _reference() -> tuple[Any, ...]:
    expression = parse_statement("RUN ON", "f(x)", ["x"], [False])
    assert isinstance(expression, Expression)
    return expression.parts[1:2]
