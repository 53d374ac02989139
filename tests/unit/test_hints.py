"""Python hints → SQL types, and return hints → the shape of what is returned."""

from __future__ import annotations

import typing
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Annotated, Any, NamedTuple, NewType, Optional
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
    hinted_answer,
    hinted_arguments,
    hinted_signature,
    read_hints,
)
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.result import Answer, Row
from plproxy_py.signature import VOID, Columns, parse_columns

Email = NewType("Email", str)
Point = namedtuple("Point", "x y")  # without hints
INT, TEXT = PgType("int4"), PgType("text")


@dataclass
class User:
    id: Int4
    name: str | None
    tags: list[str] = field(default_factory=list)
    rank: int = 0
    shown: str = field(default="", init=False)


@dataclass(kw_only=True)
class ByName:
    id: int
    name: str


class Pair(NamedTuple):
    left: Int4
    right: Annotated[Decimal, "numeric(20,10)"] = Decimal(0)


@dataclass
class One:
    value: int


@dataclass
class Host:
    address: IPv4Address


@dataclass
class Hosts:
    name: str
    address: IPv4Address


@dataclass
class Nothing:
    pass


class Sub(Row):
    pass


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


def signature_of(hint: Any) -> str:
    return str(hinted_signature("f", "public", returning(hint), ()))


def answer_of(hint: Any, columns: Columns | PgType) -> Answer:
    return hinted_answer(returning(hint, typed=False).returns, columns)


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
        *(object, Any, IPv4Address, set[str], str | int, str | int | None, User),
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


@pytest.mark.parametrize(
    ("hint", "signature"),
    [
        (None, "public.f() RETURNS void"),
        (list[None], "public.f() RETURNS SETOF void"),
        (str, "public.f() RETURNS text"),
        (Int4 | None, "public.f() RETURNS int4"),
        (list[str], "public.f() RETURNS SETOF text"),
        (list[str | None], "public.f() RETURNS SETOF text"),
        (list[list[str]], "public.f() RETURNS SETOF text[]"),
        (Annotated[list[int], "int4[]"], "public.f() RETURNS int4[]"),
        (Annotated[list[int] | None, "int4[]"], "public.f() RETURNS int4[]"),
        (Annotated[Any, "record"], "public.f() RETURNS record"),
        (One, "public.f(OUT value int8)"),
        (Pair, 'public.f(OUT "left" int4, OUT "right" numeric(20,10))'),
        (
            list[User | None],
            "public.f(OUT id int4, OUT name text, OUT tags text[], OUT rank int8)"
            " RETURNS SETOF record",
        ),
    ],
    ids=str,
)
def test_signatures(hint: Any, signature: str) -> None:
    assert signature_of(hint) == signature


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        (Row, "f: Row names no columns"),
        (tuple, "f: tuple names no columns"),
        (tuple[int, str], "f: tuple names no columns"),
        (Nothing, "f: Nothing names no columns"),
        (Point, r"f: the return hint: Point.x: .*Any has no SQL type"),
        (Host, "f: the return hint: Host.address: IPv4Address has no SQL type"),
        (IPv4Address, "f: the return hint: IPv4Address has no SQL type"),
        (Any, "f: the return hint: .*Any has no SQL type"),
        (list[str] | None, "a list is empty, never None"),
        (Iterator[str], "Iterator has no SQL type"),
        (str | int, "has no SQL type"),
    ],
    ids=str,
)
def test_return_hints_that_declare_nothing(hint: Any, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        signature_of(hint)


@pytest.mark.parametrize("hint", [list[str] | None, Iterator[str], str | int])
def test_return_hints_that_no_text_explains(hint: Any) -> None:
    with pytest.raises(SignatureError, match="f: the return hint: "):
        returning(hint, typed=False)


def test_a_row_with_unresolved_hints() -> None:
    @dataclass
    class Broken:
        id: Nobody  # noqa: F821

    with pytest.raises(SignatureError, match="Broken: a hint can't be resolved"):
        signature_of(Broken)
    # Where a text declares the column, nobody asks for its hint.
    assert answer_of(Broken, INT).make_row((7,)) == Broken(7)


COLUMNS = parse_columns("id int, name text")


@pytest.mark.parametrize(
    ("hint", "columns", "values", "made"),
    [
        (str, TEXT, ("a",), "a"),
        (IPv4Address, PgType("inet"), ("a",), "a"),
        (Any, PgType("public.mood"), ("a",), "a"),
        (None, VOID, ("",), None),
        (User, COLUMNS, (1, "a"), User(1, "a")),
        (User, parse_columns("name text, id int"), ("a", 1), User(1, "a")),
        (ByName, COLUMNS, (1, "a"), ByName(id=1, name="a")),
        (Pair, parse_columns('"left" int'), (1,), Pair(1)),
        (
            Pair,
            parse_columns('"right" numeric, "left" int'),
            (1, 2),
            Pair(2, Decimal(1)),
        ),
        (Point, parse_columns("y int, x int"), (1, 2), Point(2, 1)),
        (Hosts, parse_columns("name text, address inet"), ("a", "b"), Hosts("a", "b")),
        (Row, COLUMNS, (1, "a"), (1, "a")),
        (tuple, COLUMNS, (1, "a"), (1, "a")),
        # a record of one column is a scalar to PostgreSQL
        (One, INT, (7,), One(7)),
        (Host, PgType("inet"), ("a",), Host("a")),
        (Row, INT, (7,), (7,)),
        (tuple[int], INT, (7,), (7,)),
        # of NULLs only
        (User | None, COLUMNS, (None, None), None),
        (User | None, COLUMNS, (1, None), User(1, None)),
        (list[User | None], COLUMNS, (None, None), None),
        (User, COLUMNS, (None, None), User(None, None)),
        (One | None, INT, (None,), None),
        (str | None, TEXT, (None,), None),
    ],
    ids=str,
)
def test_made_rows(
    hint: Any, columns: Columns | PgType, values: tuple[Any, ...], made: object
) -> None:
    row = answer_of(hint, columns).make_row(values)
    assert row == made
    assert isinstance(row, type(made))


def test_a_row_class_that_takes_any_columns() -> None:
    row = answer_of(Row, COLUMNS).make_row((1, "a"))
    assert row._asdict() == {"id": 1, "name": "a"}
    assert answer_of(Sub, INT).make_row((7,)).r == 7


@pytest.mark.parametrize(
    ("hint", "setof", "optional", "nullable"),
    [
        (None, False, False, True),
        (str, False, False, False),
        (str | None, False, True, True),
        (Annotated[str | None, "varchar"], False, True, True),
        (list[str], True, False, False),
        (list[str | None], True, False, True),
        (list[Annotated[str | None, "varchar"]], True, False, True),
        # a row of NULLs is a row, unless the hint allows None in its place
        (User, False, False, True),
        (User | None, False, True, True),
        (list[User], True, False, True),
    ],
    ids=str,
)
def test_what_may_be_none(
    hint: Any, setof: bool, optional: bool, nullable: bool
) -> None:
    columns = VOID if hint is None else COLUMNS if "User" in str(hint) else TEXT
    answer = answer_of(hint, columns)
    assert (answer.setof, answer.optional, answer.nullable) == (
        setof,
        optional,
        nullable,
    )


@pytest.mark.parametrize(
    ("hint", "columns", "reason"),
    [
        (str, COLUMNS, "several columns: the hint must be a dataclass"),
        (None, COLUMNS, "several columns: the hint must be a dataclass"),
        (User, parse_columns("id int, mail text"), "User has no field for .* 'mail'"),
        (
            User,
            parse_columns("name text, rank int"),
            "no column for field 'id' of User",
        ),
        (Nothing, COLUMNS, "Nothing has no field for column 'id'"),
        (User, INT, "User has 4 fields, the signature one column"),
        (Hosts, PgType("users"), "Hosts.address: IPv4Address has no SQL type"),
        (str, VOID, "the signature returns void: the hint must be None"),
        (One, VOID, "the signature returns void: the hint must be None"),
        (IPv4Address, VOID, "the signature returns void: the hint must be None"),
    ],
    ids=str,
)
def test_hints_that_do_not_fit(hint: Any, columns: Any, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        answer_of(hint, columns)


def test_ready_made_types_are_what_they_say() -> None:
    assert parse_type(Int4.__metadata__[0]) == INT
