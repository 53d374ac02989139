"""Python hints → SQL types, and return hints → the shape of what is returned."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Annotated, Any, NewType, Optional
from uuid import UUID

import pytest

from plproxy_py.errors import SignatureError
from plproxy_py.hints import (
    Float4,
    Hints,
    Int2,
    Int4,
    Json,
    Timestamp,
    Varchar,
    hinted_arguments,
    read_hints,
)
from plproxy_py.pgtypes import PgType, parse_type

Email = NewType("Email", str)
INT, TEXT = PgType("int4"), PgType("text")


def typed(function: Callable[..., Any], **namespace: Any) -> Hints:
    return read_hints(function, namespace, typed=True)


def declared(hint: Any) -> str:
    """Return the SQL type that a parameter's hint declares."""

    def f(x) -> None: ...

    f.__annotations__["x"] = hint
    (argument,) = hinted_arguments(typed(f))
    return argument.type.declared


def returning(hint: Any, *, typed: bool = True) -> Hints:
    def f() -> None: ...

    f.__annotations__["return"] = hint
    return read_hints(f, {}, typed=typed)


@pytest.mark.parametrize(
    ("hint", "type"),
    [
        (str, "text"),
        (int, "int8"),
        (float, "float8"),
        (bool, "bool"),
        (bytes, "bytea"),
        (Decimal, "numeric"),
        (date, "date"),
        (time, "time"),
        (datetime, "timestamptz"),
        (timedelta, "interval"),
        (UUID, "uuid"),
        (dict, "jsonb"),
        (dict[str, Any], "jsonb"),
        (list[str], "text[]"),
        (list[int | None], "int8[]"),
        (list[list[int]], "int8[]"),
        (list[dict[str, int]], "jsonb[]"),
        (str | None, "text"),
        (Optional[str], "text"),  # noqa: UP045 - as older code has it
        ("str | None", "text"),
        (Email, "text"),
        (list[Email], "text[]"),
        (Int2, "int2"),
        (Int4, "int4"),
        (Int4 | None, "int4"),
        (list[Int4], "int4[]"),
        (Float4, "float4"),
        (Varchar, "varchar"),
        (Timestamp, "timestamp"),
        (Json, "json"),
        (Annotated[Any, "public.mood"], "public.mood"),
        (Annotated[str, 5, "char(3)", "text"], "bpchar(3)"),
        (Annotated[str, 5], "text"),
        (Annotated[str | None, "varchar"], "varchar"),
        (Annotated[list[str] | None, "varchar[]"], "varchar[]"),
    ],
    ids=str,
)
def test_types(hint: Any, type: str) -> None:
    assert declared(hint) == type


@pytest.mark.parametrize(
    "hint",
    [
        *(object, Any, IPv4Address, set[str], str | int, str | int | None, Hints),
        *(list, list[IPv4Address], list[Any], [int], ..., 5),
        getattr(typing, "List"),  # noqa: B009 - its bare form, which takes anything
        Iterator[str],
    ],
    ids=str,
)
def test_no_type(hint: Any) -> None:
    with pytest.raises(SignatureError, match=r"f: x: .* has no SQL type; .* Annotated"):
        declared(hint)


@pytest.mark.parametrize("text", ["nonsense(", "serial", "", "t.x%TYPE"])
def test_bad_sql_in_a_hint(text: str) -> None:
    with pytest.raises(SignatureError, match=r"^f: x: type"):
        declared(Annotated[str, text])
    with pytest.raises(SignatureError, match=r"^f: the return hint: type"):
        returning(Annotated[str, text])


@pytest.mark.parametrize(
    "hint", ["Nobody", "str | 'x'", "1 +", "datetime.nothing", "1 / 0"]
)
def test_a_hint_that_is_no_python(hint: str) -> None:
    with pytest.raises(SignatureError, match=r"^f: a hint can't be resolved"):
        returning(hint)


def test_hints_see_the_callers_locals() -> None:
    @dataclass
    class Local:
        id: int

    def f(x: Key) -> Local: ...  # noqa: F821

    hints = typed(f, Key=str, Local=Local)
    assert hints.types == (TEXT,)
    assert hints.returns.row is Local
    with pytest.raises(SignatureError, match="name 'Key' is not defined"):
        typed(f)


def test_parameters() -> None:
    def f(a: str, /, b: int = 5, *, c: bool = True) -> None: ...

    hints = typed(f)
    assert hints.names == ("a", "b", "c")
    assert hints.types == (TEXT, PgType("int8"), PgType("bool"))
    assert hints.defaults == {1: 5, 2: True}


def test_a_signature_text_needs_no_hints_of_parameters() -> None:
    def f(a, b: IPv4Address = 5) -> str: ...

    hints = read_hints(f, {}, typed=False)
    assert hints.names == ("a", "b")
    assert hints.types == (None, None)
    assert hinted_arguments(hints) == ()


def no_hint(a) -> None: ...
def no_return(a: str): ...
def many(*args: str) -> None: ...
def keywords(**kwargs: str) -> None: ...
def method(self: Any, a: str) -> None: ...
def class_method(cls: Any, a: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (no_hint, "no_hint: parameter a has no hint"),
        (no_return, "no_return has no return hint; write -> None"),
        (many, r"many: \* and \*\* parameters"),
        (keywords, r"keywords: \* and \*\* parameters"),
        (method, "method: a method can't be a proxy function"),
        (class_method, "class_method: a method can't be"),
    ],
)
def test_refused(function: Callable[..., Any], reason: str) -> None:
    with pytest.raises(SignatureError, match=reason) as caught:
        typed(function)
    assert caught.value.sqlstate == "42P13"


def test_self_may_be_a_later_parameter() -> None:
    def f(a: str, self: str) -> None: ...

    assert typed(f).names == ("a", "self")


def test_ready_made_types_are_what_they_say() -> None:
    assert parse_type(Int4.__metadata__[0]) == INT


def test_a_hint_that_stands_for_no_type_says_nothing_of_a_declared_one() -> None:
    def f(a: Annotated[str, "no type ("], b: IPv4Address, c) -> None: ...  # type: ignore[no-untyped-def]

    assert read_hints(f, {}, typed=False).types == (None, None, None)
