"""One CREATE FUNCTION: quotes, clauses, lines, and what is refused."""

from __future__ import annotations

import pytest

from plproxy_py.errors import ParseError, SignatureError
from plproxy_py.language.create import CreateFunction, read_functions
from plproxy_py.pgtypes import PgType
from plproxy_py.signature import Dynamic, Scalar, Void

OURS = "LANGUAGE plproxy AS 'x'"
BODY = " CLUSTER 'userdb'; RUN ON hashtext(i_user); "


def one(text: str) -> CreateFunction:
    (found,) = read_functions(text)
    return found


def with_clauses(clauses: str) -> CreateFunction:
    return one(f"CREATE FUNCTION f(a int) RETURNS int {clauses};")


def test_the_function_of_the_readme() -> None:
    found = one(
        "CREATE FUNCTION get_user_email(i_user text) RETURNS SETOF text AS $$"
        f"{BODY}$$ LANGUAGE plproxy;"
    )
    assert found.body == BODY
    assert found.signature.key == "public.get_user_email(text)"
    assert found.signature.shape() == Scalar(PgType("text"))
    assert found.signature.setof
    assert (found.line, found.body_line) == (1, 1)
    assert (found.strict, found.security_definer, found.procedure) == (False,) * 3
    assert (found.volatility, found.settings) == ("volatile", ())


@pytest.mark.parametrize(
    ("literal", "body"),
    [
        ("$$x$$", "x"),
        ("$$$$", ""),
        ("$a$ $$ $b$ $a$", " $$ $b$ "),
        ("$_$x$_$", "x"),
        ("$é$x$é$", "x"),
        ("$$a\r\nb$$", "a\r\nb"),
        ("$$ -- it's /* $$", " -- it's /* "),
        ("'CLUSTER ''x'';'", "CLUSTER 'x';"),
        (r"'\n\'", r"\n\ ".strip()),
        ("'a\nb'", "a\nb"),
        ("'a'\n  'b' \n 'c'''", "abc'"),
        (r"E'a\'b''c\\'", r"a'b'c\ ".strip()),
        (r"e'\b\f\n\r\t\q'", "\b\f\n\r\tq"),
        (r"E'\101\x42\x4\u0043\U00000044'", "AB\x04CD"),
        (r"E'\xc3\xa9 \303\251 é \u00e9'", "é é é é"),
        (r"E'\ud83d\ude00'", "😀"),
        ("E'\\\n'", "\n"),
        ("E'a'\n'b\\''", "ab'"),
    ],
)
def test_bodies_in_every_kind_of_quotes(literal: str, body: str) -> None:
    assert with_clauses(f"LANGUAGE plproxy AS {literal}").body == body


@pytest.mark.parametrize(
    "escapes",
    r"\u12 \U1234567 \U00110000 \Uffffffff \ud83d \ude00\ud83d \xff \0 \u0000".split(),
)
def test_a_body_of_no_characters_is_refused(escapes: str) -> None:
    with pytest.raises(ParseError, match="invalid escape"):
        with_clauses(f"LANGUAGE plproxy AS E'{escapes}'")
    # Other statements are not looked at.
    assert read_functions(f"SELECT E'{escapes}';") == ()


@pytest.mark.parametrize(
    "language", ["plproxy", "PLPROXY", "'plproxy'", '"plproxy"', "'PlProxy'"]
)
def test_the_language_in_every_spelling(language: str) -> None:
    assert with_clauses(f"LANGUAGE {language} AS ''").body == ""
    assert with_clauses(f"AS '' language {language}").body == ""


@pytest.mark.parametrize(
    "clauses",
    [
        "LANGUAGE sql AS 'select 1'",
        "LANGUAGE 'C' AS 'obj', 'link'",
        "LANGUAGE plpgsql AS $$begin return 1; end$$",
        "LANGUAGE plproxyu AS ''",
        "RETURN 1",
        "BEGIN ATOMIC SELECT 1; END",
        "BEGIN ATOMIC SELECT case 1 when 1 then 2 end; SELECT (1); END",
        "LANGUAGE sql BEGIN ATOMIC SELECT language plproxy FROM t; END",
        "no such clause LANGUAGE plperl AS $x$ ; $x$",
    ],
)
def test_other_languages_are_passed_over(clauses: str) -> None:
    text = f"CREATE FUNCTION f(a int) RETURNS language {clauses}; "
    assert read_functions(text) == ()
    ours = "CREATE FUNCTION g() RETURNS language LANGUAGE plproxy AS '';"
    assert one(text + ours).signature.name == "g"


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ("VOLATILE", {}),
        ("CALLED ON NULL INPUT", {}),
        ("SECURITY INVOKER", {}),
        ("EXTERNAL SECURITY INVOKER", {}),
        ("STRICT", {"strict": True}),
        ("returns null on null input", {"strict": True}),
        ("SECURITY DEFINER", {"security_definer": True}),
        ("EXTERNAL SECURITY DEFINER", {"security_definer": True}),
        ("COST 3 ROWS 1e3", {}),
        ("COST -1.5", {}),
        ("PARALLEL safe LEAKPROOF WINDOW", {}),
        ("NOT LEAKPROOF", {}),
        ("SUPPORT f", {}),
        ('SUPPORT s."F"', {}),
        ("TRANSFORM FOR TYPE hstore, FOR TYPE numeric(5,2)", {}),
        ("SET search_path = x", {"settings": ("search_path",)}),
        ('SET search_path TO "$user", public', {"settings": ("search_path",)}),
        ("SET search_path FROM CURRENT", {"settings": ("search_path",)}),
        ("SET my.Own = -1 SET b TO DEFAULT", {"settings": ("my.own", "b")}),
        ("SET TIME ZONE 'UTC'", {"settings": ("time zone",)}),
        ("SET SESSION AUTHORIZATION a", {"settings": ("session authorization",)}),
        ("SET XML OPTION content", {"settings": ("xml option",)}),
        ("SET ROLE app STRICT", {"settings": ("role",), "strict": True}),
        ("SET role TO app", {"settings": ("role",)}),
        ("SET a = on SECURITY DEFINER", {"settings": ("a",), "security_definer": True}),
    ],
)
def test_clauses_stand_in_any_order(clauses: str, expected: dict[str, object]) -> None:
    plain = {
        "strict": False,
        "volatility": "volatile",
        "security_definer": False,
        "settings": (),
    }
    for text in (
        f"LANGUAGE plproxy {clauses} AS 'x'",
        f"{clauses} AS 'x' LANGUAGE plproxy",
        f"AS 'x' LANGUAGE plproxy {clauses}",
    ):
        found = with_clauses(text)
        assert found.body == "x"
        assert {name: getattr(found, name) for name in plain} == plain | expected


def test_strict_may_follow_out_arguments_at_once() -> None:
    text = "CREATE FUNCTION f(a int, OUT b int) RETURNS NULL ON NULL INPUT"
    found = one(f"{text} LANGUAGE plproxy AS ''")
    assert (found.strict, found.signature.returns) == (True, None)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("p()", Void()),
        ("p(a int)", Void()),
        ("p(inout a int)", Scalar(PgType("int4"), "a")),
    ],
)
def test_a_procedure_is_a_function_that_returns_its_inout(
    text: str, shape: object
) -> None:
    found = one(
        f"CREATE OR REPLACE PROCEDURE {text} LANGUAGE plproxy SECURITY DEFINER"
        " SET a = 1 TRANSFORM FOR TYPE b AS 'x'"
    )
    assert (found.procedure, found.body) == (True, "x")
    assert found.signature.shape() == shape


def test_a_dynamic_record() -> None:
    found = one("create function q(t text) returns setof record language plproxy as ''")
    assert found.signature.shape() == Dynamic()


def test_lines_are_those_of_the_file() -> None:
    found = read_functions(
        "-- one\n/* two\n/* nested */ three */\nSELECT 'a\nb', \"c\nd\", $$e\nf$$;\n"
        "  CREATE\nFUNCTION f(a int)\nRETURNS int\nAS -- here\n$$\nx$$\n"
        "LANGUAGE plproxy;CREATE FUNCTION g() RETURNS int\n\nLANGUAGE plproxy AS\n''"
    )
    assert [(f.line, f.body_line, f.body) for f in found] == [
        (8, 12, "\nx"),
        (14, 17, ""),
    ]


@pytest.mark.parametrize(
    ("text", "line", "token", "reason"),
    [
        ("f() RETURNS int {}\nSTABLE", 3, "STABLE", "must be volatile"),
        ("f() RETURNS int {} immutable", 2, "immutable", "must be volatile"),
        ("f() {}", 2, "CREATE", "result type must be specified"),
        ("f(a int) {}", 2, "CREATE", "result type must be specified"),
        ("f(\na cstring) {}", 3, "cstring", "unsupported pseudo type"),
        ("f(\nvariadic a int[]) {}", 3, "variadic", "VARIADIC"),
        ("f(\na int, a int) {}", 2, "a", "more than once"),
        ("f(a t.b\n%TYPE) {}", 2, "t", "%TYPE"),
    ],
)
def test_what_plproxy_refuses_is_refused_where_it_stands(
    text: str, line: int, token: str, reason: str
) -> None:
    with pytest.raises(SignatureError, match=reason) as caught:
        read_functions(f"\nCREATE FUNCTION {text.format(OURS)}")
    assert (caught.value.line, caught.value.token) == (line, token)


@pytest.mark.parametrize(
    ("text", "line", "token", "reason"),
    [
        ("f(\n1) {}", 3, "1", "syntax error"),
        ("f(a int\n) RETURNS int {} banana", 3, "banana", "syntax error"),
        ("f(a int) RETURNS int\n\\echo\n{}", 3, "\\", "syntax error"),
        ("f() RETURNS int {} LANGUAGE sql", 2, "LANGUAGE", "redundant"),
        ("f() RETURNS int {} AS 'y'", 2, "AS", "redundant"),
        ("f() RETURNS int {} CALLED ON NULL INPUT\nSTRICT", 3, "STRICT", "redundant"),
        ("f() RETURNS int {} VOLATILE VOLATILE", 2, "VOLATILE", "redundant"),
        ("f() RETURNS int {} RETURNS NULL", 2, "RETURNS", "syntax error"),
        ("f() RETURNS int {} SECURITY", 2, "SECURITY", "syntax error"),
        ("f() RETURNS int {} COST ;", 2, ";", "syntax error"),
        ("f() RETURNS int {} COST -a", 2, "a", "syntax error"),
        ("f() RETURNS int {} SET a", 2, None, "at end of input"),
        ("f() RETURNS int {} SET a =", 2, None, "at end of input"),
        ("f() RETURNS int {} SET a = 1,", 2, None, "at end of input"),
        ("f() RETURNS int {} SET 1 = 1", 2, "1", "syntax error"),
        ("f() RETURNS int {} SUPPORT a.", 2, None, "at end of input"),
        ("f() RETURNS int {} TRANSFORM TYPE a", 2, "TYPE", "syntax error"),
        ("f() RETURNS int AS 1 LANGUAGE plproxy", 2, "1", "syntax error"),
        ("f() RETURNS int AS 'a', 'b' LANGUAGE plproxy", 2, ",", "syntax error"),
        ("f() RETURNS int LANGUAGE plproxy", 2, "CREATE", "no function body"),
        ('""() RETURNS int {}', 2, '""', "zero-length"),
    ],
)
def test_a_malformed_function_is_refused_where_it_stands(
    text: str, line: int, token: str | None, reason: str
) -> None:
    with pytest.raises(ParseError, match=reason) as caught:
        read_functions(f"\nCREATE FUNCTION {text.format(OURS)}")
    assert (caught.value.line, caught.value.token) == (line, token)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("p() RETURNS int", "a procedure has no RETURNS"),
        ("p() RETURNS TABLE(a int)", "a procedure has no RETURNS"),
        ("p() VOLATILE", "invalid attribute in procedure definition"),
        ("p() STRICT", "invalid attribute in procedure definition"),
        ("p() PARALLEL safe", "invalid attribute in procedure definition"),
    ],
)
def test_a_bad_procedure_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason) as caught:
        read_functions(f"\nCREATE PROCEDURE {text} LANGUAGE plproxy AS 'x'")
    assert caught.value.line == 2
