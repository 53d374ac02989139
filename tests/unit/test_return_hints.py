"""Return hints → the signature's result, and the rows that a caller gets."""

from __future__ import annotations

import typing
from collections import namedtuple
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Annotated, Any, NamedTuple

import pytest

from plproxy_py.answers import Partial
from plproxy_py.errors import SignatureError
from plproxy_py.hints import (
    Int4,
    ReturnHint,
    hinted_answer,
    hinted_array,
    hinted_signature,
)
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.result import Answer, Row
from plproxy_py.signature import VOID, Columns, parse_columns
from tests.unit.test_hints import returning

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


class Plain(tuple[int, ...]):
    """A tuple whose items have no names."""


def hint_of(hint: Any, *, typed: bool = False) -> ReturnHint:
    returns = returning(hint, typed=typed).returns
    assert returns is not None
    return returns


def signature_of(hint: Any) -> str:
    return str(hinted_signature("f", "public", hint_of(hint, typed=True), ()))


def answer_of(hint: Any, columns: Columns | PgType) -> Answer:
    return hinted_answer(hint_of(hint), columns)


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
        (Iterator[str], "public.f() RETURNS SETOF text"),
        (typing.Iterator[str | None], "public.f() RETURNS SETOF text"),
        (AsyncIterator[Int4], "public.f() RETURNS SETOF int4"),
        (Partial[One], "public.f(OUT value int8) RETURNS SETOF int8"),
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
        (Plain, "f: the return hint: Plain has no SQL type"),
        (Point, r"f: the return hint: Point.x: .*Any has no SQL type"),
        (Host, "f: the return hint: Host.address: IPv4Address has no SQL type"),
        (IPv4Address, "f: the return hint: IPv4Address has no SQL type"),
        (Any, "f: the return hint: .*Any has no SQL type"),
        (list[str] | None, "a list is empty, never None"),
        (Partial[str] | None, "a Partial is empty, never None"),
        (Iterator[str] | None, "Iterator is empty, never None"),
        (Iterator[IPv4Address], "f: the return hint: IPv4Address has no SQL type"),
        (Generator[str], "Generator has no SQL type"),
        (str | int, "has no SQL type"),
    ],
    ids=str,
)
def test_return_hints_that_declare_nothing(hint: Any, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        signature_of(hint)


@pytest.mark.parametrize("hint", [list[str] | None, Generator[str], str | int])
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


@pytest.mark.parametrize(
    ("hint", "stream", "partial"),
    [
        (list[str], False, False),
        (Iterator[str], True, False),
        (typing.AsyncIterator[str], True, False),
        (Partial[str], False, True),
        (Partial[str | None], False, True),
    ],
    ids=str,
)
def test_sets_of_other_kinds(hint: Any, stream: bool, partial: bool) -> None:
    answer = answer_of(hint, TEXT)
    assert answer.setof
    assert (answer.stream, answer.partial) == (stream, partial)
    assert answer.nullable is ("None" in str(hint))
    assert not answer.optional


@pytest.mark.parametrize(
    ("hint", "type", "value", "made"),
    [
        (list[int], "int8[]", [1, 2], [1, 2]),
        (list[int], "int8[]", None, []),
        (list[int | None], "int4[]", [], []),
        (list[list[str]], "text[]", [["a"]], [["a"]]),
        (list[Annotated[float, "numeric"]], "numeric[]", [Decimal(1)], [1.0]),
        (list[IPv4Address], "inet[]", ["::1"], ["::1"]),
    ],
    ids=str,
)
def test_a_list_that_is_one_array(
    hint: Any, type: str, value: object, made: object
) -> None:
    answer = hinted_array(hint_of(hint), parse_type(type))
    assert (answer.setof, answer.optional, answer.nullable) == (False, False, False)
    assert repr(answer.make_row((value,))) == repr(made)


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        (list[str], r"the hint stands for text\[\], .* has int8\[\]"),
        (list[User], r"int8\[\] is given: the hint is a list of its items"),
        (list[None], r"int8\[\] is given: the hint is a list of its items"),
    ],
    ids=str,
)
def test_a_list_that_is_another_array(hint: Any, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        hinted_array(hint_of(hint), parse_type("int8[]"))
