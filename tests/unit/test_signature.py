"""Heads of functions: what is a name, what a type, what comes back."""

from __future__ import annotations

import pickle

import pytest

from plproxy_py.errors import SignatureError
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.signature import (
    RECORD,
    VOID,
    Argument,
    Mode,
    Record,
    Signature,
    parse_declaration,
    parse_signature,
)

INT, TEXT = PgType("int4"), PgType("text")


def arguments(text: str) -> list[tuple[str, str | None, str]]:
    found = parse_signature(f"f({text})").arguments
    return [(a.mode.value, a.name, a.type.declared) for a in found]


def test_the_arguments_of_get_data() -> None:
    found = parse_signature(
        "get_data(IN first_name text, IN last_name text,"
        " OUT bdate date, OUT balance numeric(20,10))"
    )
    assert found == Signature(
        "public",
        "get_data",
        (
            Argument("first_name", TEXT),
            Argument("last_name", TEXT),
            Argument("bdate", PgType("date"), Mode.OUT),
            Argument("balance", PgType("numeric", "(20,10)"), Mode.OUT),
        ),
    )
    assert found.inputs == found.arguments[:2]
    assert found.outputs == found.arguments[2:]
    assert found.shape() == Record(
        (("bdate", PgType("date")), ("balance", PgType("numeric", "(20,10)")))
    )
    assert found.qname == "public.get_data"
    assert found.label == "public.get_data(2)"
    assert found.key == "public.get_data(text,text)"
    assert str(found) == (
        "public.get_data(first_name text, last_name text,"
        " OUT bdate date, OUT balance numeric(20,10))"
    )


@pytest.mark.parametrize(
    "text",
    """
    int|double precision|timestamp with time zone|time (3) without time zone|bit varying
    |national character varying(3)|character varying(10)|interval year to month
    |int array|text array[3]|mood|s.mood|"Odd name"|json|double
    """.replace("\n", "").split("|"),
)
def test_a_type_alone_is_an_unnamed_argument(text: str) -> None:
    for mode in (Mode.IN, Mode.OUT, Mode.INOUT):
        (found,) = parse_signature(f"f({mode.value} {text})").arguments
        assert found == Argument(None, parse_type(text), mode)
    assert parse_signature(f"f({text}, {text})").arguments == (
        Argument(None, parse_type(text)),
        Argument(None, parse_type(text)),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a int", [("IN", "a", "int4")]),
        ("A Int", [("IN", "a", "int4")]),
        ('"A" int', [("IN", "A", "int4")]),
        ('"a""b" int', [("IN", 'a"b', "int4")]),
        ("in a int", [("IN", "a", "int4")]),
        ("a in int", [("IN", "a", "int4")]),
        ("a out int", [("OUT", "a", "int4")]),
        ("InOut a int", [("INOUT", "a", "int4")]),
        ("a inout int", [("INOUT", "a", "int4")]),
        ("in out a int", [("INOUT", "a", "int4")]),
        ("a in out int", [("INOUT", "a", "int4")]),
        ("a double precision", [("IN", "a", "float8")]),
        ("double double precision", [("IN", "double", "float8")]),
        ("double int", [("IN", "double", "int4")]),
        ('double "precision"', [("IN", "double", '"precision"')]),
        ("x character varying(10)", [("IN", "x", "varchar(10)")]),
        ("x timestamp with time zone", [("IN", "x", "timestamptz")]),
        ("x interval day", [("IN", "x", "interval day")]),
        ("x int array", [("IN", "x", "int4[]")]),
        ('"Odd name" text', [("IN", "Odd name", "text")]),
        ("text text", [("IN", "text", "text")]),
        ("int4 int", [("IN", "int4", "int4")]),
        ("left mood", [("IN", "left", "mood")]),
        ("year int", [("IN", "year", "int4")]),
        ("language language", [("IN", "language", "language")]),
        ('x "char"', [("IN", "x", '"char"')]),
        ("x s.mood[]", [("IN", "x", "s.mood[]")]),
        # a keyword since PostgreSQL 16 only
        ("json json", [("IN", "json", "json")]),
        # the same name going in and coming out is two arguments
        ("a int, out a int", [("IN", "a", "int4"), ("OUT", "a", "int4")]),
        ("/* a */ a -- b\n int", [("IN", "a", "int4")]),
    ],
)
def test_name_and_type_are_told_apart_as_postgresql_does(
    text: str, expected: list[tuple[str, str | None, str]]
) -> None:
    assert arguments(text) == expected


@pytest.mark.parametrize(
    ("text", "defaults"),
    [
        ("a int default 1", ["1"]),
        ("a int = -1, b text", None),
        ("a int, b int = 2", [None, "2"]),
        ("a int default 1 , b int = 2", ["1", "2"]),
        ("int default 1", ["1"]),
        ("mood DEFAULT 'x, y)'", ["'x, y)'"]),
        (
            "a int[] default array[1, 2], b int = (f(1, 2))",
            ["array[1, 2]", "(f(1, 2))"],
        ),
        ("a int = 1 /* b */ + 2 -- c\n", ["1 /* b */ + 2"]),
        ("inout a int = 1, out b int, c int = 2", ["1", None, "2"]),
        ("a json default '{}'::json", ["'{}'::json"]),
        ("a text default $$,)$$", ["$$,)$$"]),
        ("out a int = 1", None),
        ("a int =", None),
        ("a int default , b int", None),
        ("a int := 1", None),
        ("a int = 1]", None),
        ("a int = (1", None),
        ("a int = 1; 2", None),
    ],
)
def test_defaults(text: str, defaults: list[str | None] | None) -> None:
    if defaults is None:
        with pytest.raises(SignatureError):
            parse_signature(f"f({text})")
    else:
        found = parse_signature(f"f({text})").arguments
        assert [argument.default for argument in found] == defaults


@pytest.mark.parametrize(
    ("text", "qname", "key"),
    [
        ("f()", "public.f", "public.f()"),
        ("F(INT)", "public.f", "public.f(int4)"),
        ("s.f(varchar(3)[], out int)", "s.f", "s.f(varchar[])"),
        (
            '"My Schema"."Fn Name"(s2.mood, inout "char")',
            '"My Schema"."Fn Name"',
            '"My Schema"."Fn Name"(s2.mood,"char")',
        ),
        ('s."weird""q"()', 's."weird""q"', 's."weird""q"()'),
        ("s.select()", 's."select"', 's."select"()'),
    ],
)
def test_names_are_as_sql_writes_them(text: str, qname: str, key: str) -> None:
    found = parse_signature(text)
    assert (found.qname, found.key) == (qname, key)


def test_a_name_without_a_schema_goes_into_the_given_one() -> None:
    assert parse_signature("f()", schema="My Schema").qname == '"My Schema".f'
    assert parse_signature("s.f()", schema="x").qname == "s.f"


@pytest.mark.parametrize(
    "name",
    """
    cstring record any* anyelement anyarray anynonarray anyenum anyrange anymultirange
    anycompatible anycompatiblearray anycompatiblenonarray anycompatiblerange internal
    trigger event_trigger language_handler fdw_handler index_am_handler tsm_handler
    table_am_handler opaque unknown pg_ddl_command void record[] void[] cstring[]
    pg_catalog.cstring
    """.replace("any*", '"any"').split(),
)
def test_pseudo_types_are_refused(name: str) -> None:
    reason = f"unsupported pseudo type: {name.removeprefix('pg_catalog.')}"
    texts = [f"f(a {name})", f"f(out {name})", f"f() returns table(a {name})"]
    if name not in ("record", "void"):
        texts.append(f"f() returns {name}")
    for text in texts:
        with pytest.raises(SignatureError) as caught:
            parse_signature(text)
        assert str(caught.value).endswith(reason)


@pytest.mark.parametrize("place", ["f(int4multirange)", "f() returns int4multirange"])
def test_multirange_types_are_refused(place: str) -> None:
    with pytest.raises(SignatureError, match="unsupported type code: int4multirange"):
        parse_signature(place)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("f(variadic int[])", "does not support VARIADIC"),
        ("f(a variadic int[])", "does not support VARIADIC"),
        ("f(setof int)", "functions cannot accept set arguments"),
        ("f(a setof int)", "functions cannot accept set arguments"),
        ("f(a int, A text)", 'parameter name "a" used more than once'),
        ("f(a int, inout a text)", 'parameter name "a" used more than once'),
        ("f(out a int, out a text)", 'parameter name "a" used more than once'),
        ("f(inout a int) returns table(a int)", 'name "a" used more than once'),
        ("f() returns table(a int, a int)", 'name "a" used more than once'),
        ("f(out a int default 1)", "only input parameters can have default values"),
        ("f(a int = 1, b int)", "after one with a default need one too"),
        ("f(a int = 1, int)", "after one with a default need one too"),
        ("f(out a int) returns table(b int)", "aren't allowed in RETURNS TABLE"),
        ("f(inout a int) returns table(b int)", "aren't allowed in RETURNS TABLE"),
        ("f(out a int) returns text", "must be int4 because of OUT"),
        ("f(out a int) returns void", "must be int4 because of OUT"),
        ("f(out a int) returns record", "must be int4 because of OUT"),
        ("f(out a mood) returns int", "must be mood because of OUT"),
        ("f(out a int, out b int) returns text", "must be record because of OUT"),
        ("f(out a int, inout b int) returns mood", "must be record because of OUT"),
        ("f(a serial)", "serial is no type"),
        ("f(a t.c%type)", "%TYPE needs a catalog"),
        ("f() returns t.c%type", "%TYPE needs a catalog"),
    ],
)
def test_what_can_not_be_created_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SignatureError) as caught:
        parse_signature(text)
    assert reason in str(caught.value)
    assert caught.value.line == 1
    assert caught.value.token or "TABLE" in reason


@pytest.mark.parametrize(
    "text",
    """
    |f|f(|f)|f()x|f(a|f(a int|f(a int,)|f(,)|f(a int b)|f(int int)|f(timestamp with)
    |f(1)|f('a')|f(a.b.c int)|1()|a.b.c()|select()|between()|""()|f() returns
    |f() returns setof|f() returns setof setof int|f() returns int int|f() returns null
    |f() returns table|f() returns table()|f() returns table(int)|f() returns table(a)
    |f() returns table(a int|f() language sql|f(a int collate "C")|f(select int)
    |f(out out)|f(in)|f(a in)|f(a int);|create function f() returns int|f(a int '
    |f(/* a int)|f(a int) returns "int
    """.replace("\n    ", "").split("|"),
)
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(SignatureError) as caught:
        parse_signature(text)
    assert (caught.value.sqlstate, caught.value.line) == ("42P13", 1)
    assert str(caught.value).startswith(f"signature {text!r}: ")


def test_an_error_tells_line_token_and_function() -> None:
    with pytest.raises(SignatureError) as caught:
        parse_signature("f(\n  a int,\n  b cstring)")
    assert (caught.value.line, caught.value.token) == (3, "cstring")
    with pytest.raises(SignatureError) as caught:
        parse_signature("\ns.f(\n  a int,\n  a int)")
    assert (caught.value.line, caught.value.token) == (2, "a")
    assert caught.value.function == "s.f(2)"


def test_a_signature_made_by_hand_obeys_the_same_rules() -> None:
    with pytest.raises(SignatureError, match=r"public.f\(1\): unsupported pseudo type"):
        Signature("public", "f", (Argument("a", VOID),))
    with pytest.raises(SignatureError, match="unsupported pseudo type: anyelement"):
        Signature("public", "f", returns=PgType("anyelement"))
    with pytest.raises(SignatureError, match="unsupported type code"):
        Signature("public", "f", (Argument("a", PgType("int8multirange")),))
    column = Argument("a", INT, Mode.TABLE)
    with pytest.raises(SignatureError, match="no other RETURNS goes with it"):
        Signature("public", "f", (column,), INT, setof=True)
    with pytest.raises(SignatureError, match="RETURNS TABLE is a set"):
        Signature("public", "f", (column,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("F(In A Int, text)", "public.f(a int4, text)"),
        ("f(inout a int = 1)", "public.f(INOUT a int4 DEFAULT 1)"),
        ('f("A b" int[])', 'public.f("A b" int4[])'),
        ("f() returns setof mood", "public.f() RETURNS SETOF mood"),
        ("f() returns void", "public.f() RETURNS void"),
        (
            'f(a int) returns table("X" varchar(3), y text)',
            'public.f(a int4) RETURNS TABLE("X" varchar(3), y text)',
        ),
    ],
)
def test_a_signature_reads_as_sql(text: str, expected: str) -> None:
    found = parse_signature(text)
    assert str(found) == expected
    assert parse_signature(expected) == found


@pytest.mark.parametrize(
    ("names", "expected"), [("a", "SETOF int4"), ("ab", "SETOF record")]
)
def test_a_set_of_out_columns_reads_as_one(names: str, expected: str) -> None:
    outputs = tuple(Argument(name, INT, Mode.OUT) for name in names)
    found = Signature("public", "f", outputs, setof=True)
    assert str(found).endswith(f") RETURNS {expected}")
    assert parse_signature(str(found)).setof


def test_signatures_pickle_and_hash() -> None:
    found = parse_signature("f(a int, out b int, out c int) returns setof record")
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again.key == found.key
    assert len({again, found}) == 1
    assert found.returns == RECORD


@pytest.mark.parametrize(
    ("text", "read_only"),
    [
        ("f(a text) returns int", False),
        ("f(a text) returns int volatile", False),
        ("f(a text) returns int STABLE", True),
        ("f(a text) immutable", True),
        ("f(a text, out b int) stable -- it reads", True),
        ("f(a text) returns table(b int) stable", True),
    ],
)
def test_a_declaration_says_whether_it_only_reads(text: str, read_only: bool) -> None:
    signature, found = parse_declaration(text, schema="s")
    assert found is read_only
    assert signature.key == "s.f(text)"


@pytest.mark.parametrize(
    "text",
    [
        "f(a text) stable volatile",
        "f() returns int stable strict",
        "f() stable returns int",
        "f() returns int strict",
    ],
)
def test_a_declaration_says_nothing_more(text: str) -> None:
    with pytest.raises(SignatureError, match=r"^signature .*: syntax error at or near"):
        parse_declaration(text, schema="s")


def test_no_other_signature_says_it() -> None:
    with pytest.raises(SignatureError, match='syntax error at or near "stable"'):
        parse_signature("f() returns int stable")
