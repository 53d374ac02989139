"""What functions answer with: scalars, records, and columns that a call lists."""

from __future__ import annotations

import pytest

from plproxy_py.errors import SignatureError
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.signature import (
    Columns,
    Dynamic,
    Record,
    Scalar,
    Shape,
    Void,
    parse_columns,
    parse_signature,
)

INT, TEXT = PgType("int4"), PgType("text")


def columns(**types: str) -> Columns:
    return tuple((name, parse_type(text)) for name, text in types.items())


def record(**types: str) -> Record:
    return Record(columns(**types))


@pytest.mark.parametrize(
    ("text", "setof", "shape"),
    [
        # one column, whatever its name
        ("f() returns int", False, Scalar(INT)),
        ("f() returns varchar(10)", False, Scalar(PgType("varchar", "(10)"))),
        ("f() returns setof text", True, Scalar(TEXT)),
        ("f(a int, out x text)", False, Scalar(TEXT, "x")),
        ("f(inout x text)", False, Scalar(TEXT, "x")),
        ("f(out text)", False, Scalar(TEXT)),
        ("f(out x text) returns text", False, Scalar(TEXT, "x")),
        ("f(out x numeric(5,2)) returns numeric", False, None),
        ("f(out x text) returns setof text", True, Scalar(TEXT, "x")),
        ("f() returns table(x int)", True, Scalar(INT, "x")),
        ("f() returns s2.mood", False, Scalar(PgType("s2.mood"))),
        ("f(out x mood) returns public.mood", False, Scalar(PgType("mood"), "x")),
        ("f() returns void", False, Void()),
        ("f() returns setof void", True, Void()),
        # columns by name
        ("f(out a int, out b text)", False, record(a="int", b="text")),
        (
            "f(a int, inout y text, out x int) returns setof record",
            True,
            record(y="text", x="int"),
        ),
        ("f() returns table(x int, y text)", True, record(x="int", y="text")),
        (
            "f(a int, out int, out b int)",
            False,
            record(column1="int", b="int"),
        ),
        # columns that the call lists
        ("f() returns record", False, Dynamic()),
        ("f() returns setof record", True, Dynamic()),
        (
            "f(int, out int, out text)",
            False,
            Dynamic(columns(column1="int", column2="text")),
        ),
    ],
)
def test_result_shapes(text: str, setof: bool, shape: Shape | None) -> None:
    found = parse_signature(text)
    assert found.setof is setof
    assert found.shape() == (shape or Scalar(PgType("numeric", "(5,2)"), "x"))


KNOWN = columns(id="int", name="text")


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("f() returns setof s2.tab", Record(KNOWN)),
        ("f() returns record", Dynamic(KNOWN)),
        ("f() returns int", Scalar(INT)),
        ("f() returns s2.tab[]", Scalar(PgType("s2.tab", is_array=True))),
        ("f(out a int, out b int)", record(a="int", b="int")),
        ("f() returns void", Void()),
    ],
)
def test_a_caller_may_know_the_columns_of_a_type(text: str, shape: Shape) -> None:
    assert parse_signature(text).shape(KNOWN) == shape


def test_no_result_has_no_shape() -> None:
    found = parse_signature("f(a int)")
    assert (found.returns, found.outputs) == (None, ())
    with pytest.raises(SignatureError, match="result type must be specified"):
        found.shape()


def test_a_column_list() -> None:
    text = 'id integer, "User name" character varying(3), b s.mood[]'
    assert parse_columns(text) == (
        ("id", INT),
        ("User name", PgType("varchar", "(3)")),
        ("b", PgType("s.mood", is_array=True)),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "syntax error at end of input"),
        ("id", "syntax error at end of input"),
        ("id int,", "syntax error at end of input"),
        ("id int text", 'syntax error at or near "text"'),
        ("int int", 'syntax error at or near "int"'),
        ("id int, id text", 'column name "id" specified more than once'),
        ("id record", "unsupported pseudo type: record"),
        ('id int, "a', "unterminated quoted identifier"),
    ],
)
def test_what_is_no_column_list_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SignatureError) as caught:
        parse_columns(text)
    assert reason in str(caught.value)
