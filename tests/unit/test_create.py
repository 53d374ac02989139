"""CREATE FUNCTION in files of SQL: what is ours, where it stands, what it says."""

from __future__ import annotations

import contextlib
import time

import pytest

from plproxy_py.errors import DeclarationError, ParseError, SignatureError
from plproxy_py.language.create import CreateFunction, read_functions
from plproxy_py.pgtypes import PgType
from plproxy_py.signature import Dynamic, Record, Scalar, Void

BODY = " CLUSTER 'userdb'; RUN ON hashtext(i_user); "

# What pg_dump 15 writes, shortened; made from a database with all these objects.
DUMP = r"""--
-- PostgreSQL database dump
--

\restrict qjAS0uJCfGr12KtTk89PrPOgbhHs6OpHjCsQJo3OofVSshylazj6svjFxUzhwmu

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE EXTENSION IF NOT EXISTS plproxy WITH SCHEMA public;

CREATE TYPE "My Schema"."T" AS ENUM (
    'a',
    'b'
);

--
-- Name: Fn Name("My Schema"."T"[], text); Type: FUNCTION; Owner: postgres
--

CREATE FUNCTION "My Schema"."Fn Name"("odd ""q" "My Schema"."T"[], OUT x numeric, INOUT y text, OUT "Z z" character varying) RETURNS record
    LANGUAGE plproxy STRICT SECURITY DEFINER COST 3
    SET search_path TO 'a', 'b'
    SET work_mem TO '1MB'
    AS $_$ CLUSTER 'x'; SELECT $$a$$, '\'; $_$;


ALTER FUNCTION "My Schema"."Fn Name"("odd ""q" "My Schema"."T"[], OUT x numeric, INOUT y text, OUT "Z z" character varying) OWNER TO postgres;

CREATE FUNCTION public.f1(a integer) RETURNS integer
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (a > 0) THEN 1
             ELSE 2
         END AS "case";
 SELECT 2;
END;

CREATE FUNCTION public.f1b(a integer) RETURNS integer
    LANGUAGE sql
    RETURN (a + 1);

CREATE FUNCTION public.f2(language integer, b text DEFAULT 'x);('::text) RETURNS SETOF text
    LANGUAGE plproxy
    AS $$
    CLUSTER 'x'; /* '' */
    RUN ON ALL;
    $$;

COMMENT ON FUNCTION public.f2(language integer, b text) IS 'create function c() returns int language plproxy as ''CLUSTER ''''x'''';''; ';

CREATE FUNCTION public.g() RETURNS trigger
    LANGUAGE plpgsql
    AS $_$ begin execute 'create function z() returns int language plproxy as $$x$$;'; return new; end $_$;

CREATE PROCEDURE public.p1(IN a integer, INOUT b text)
    LANGUAGE plproxy
    AS $$CLUSTER 'x';$$;

CREATE RULE r AS
    ON INSERT TO public.v DO INSTEAD ( INSERT INTO public.t (a)
  VALUES (new.a);
 DELETE FROM public.t
  WHERE (t.a = 'x'::text);
);

COPY public.t (a, b) FROM stdin;
$$ ' ; create function x() returns int language plproxy as $$	it\\'s /* (
\\.	tab\t nl\n \\.
BEGIN ATOMIC (	\\copy
\.

CREATE FUNCTION public.f3() RETURNS TABLE(a integer, b timestamp with time zone)
    LANGUAGE plproxy ROWS 5
    SET "TimeZone" TO 'Etc/UTC'
    AS $$CLUSTER 'x'; RUN ON ALL;$$;

\unrestrict qjAS0uJCfGr12KtTk89PrPOgbhHs6OpHjCsQJo3OofVSshylazj6svjFxUzhwmu

"""  # noqa: E501 - pg_dump's own lines


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


def test_a_dump_gives_its_functions_and_nothing_else() -> None:
    found = read_functions(DUMP)
    assert [(f.signature.key, f.line, f.body_line) for f in found] == [
        ('"My Schema"."Fn Name"("My Schema"."T"[],text)', 22, 26),
        ("public.f2(int4,text)", 46, 48),
        ("public.p1(int4,text)", 59, 61),
        ("public.f3()", 76, 79),
    ]
    first, second, third, fourth = found
    assert first.body == r" CLUSTER 'x'; SELECT $$a$$, '\'; "
    assert (first.strict, first.security_definer) == (True, True)
    assert first.settings == ("search_path", "work_mem")
    assert isinstance(first.signature.shape(), Record)
    assert second.body == "\n    CLUSTER 'x'; /* '' */\n    RUN ON ALL;\n    "
    assert second.signature.inputs[1].default == "'x);('::text"
    assert third.procedure
    assert third.signature.shape() == Scalar(PgType("text"), "b")
    assert fourth.settings == ("TimeZone",)


def test_a_dump_may_have_lines_of_windows() -> None:
    found = read_functions(DUMP.replace("\n", "\r\n"))
    assert [f.line for f in found] == [22, 46, 59, 76]


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
    "literal",
    [
        r"E'\u12'",
        r"E'\U1234567'",
        r"E'\U00110000'",
        r"E'\Uffffffff'",
        r"E'\ud83d'",
        r"E'\ude00\ud83d'",
        r"E'\xff'",
        r"E'\0'",
        r"E'\u0000'",
    ],
)
def test_a_body_of_no_characters_is_refused(literal: str) -> None:
    with pytest.raises(ParseError, match="invalid escape"):
        with_clauses(f"LANGUAGE plproxy AS {literal}")
    # Other statements are not looked at.
    assert read_functions(f"SELECT {literal};") == ()


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


FUNCTION = "CREATE FUNCTION {}() RETURNS int LANGUAGE plproxy AS 'x';\n"


@pytest.mark.parametrize(
    "before",
    [
        "",
        ";;\n",
        "-- it's\n",
        "/* it's /* nested ; */ $$ */",
        "SELECT 'it''s; -- /*', \"odd;\"\";\", E'\\';', $a$;$$;$a$, a$$b, $1;\n",
        "SELECT a$b$c, d$b$e;\n",
        "SELECT U&'d\\0061t' UESCAPE '!', N'x', B'1', X'F';\n",
        "SELECT 1e5, 1.5, .5, 5., 0x1F, a::int, :'var', :\"v\";\n",
        "INSERT INTO t VALUES (';', (1)); DELETE FROM t;\n",
        "CREATE RULE r AS ON INSERT TO v DO (SELECT 1; SELECT 2);\n",
        "SELECT ')'; SELECT 1);\n",
        "BEGIN; SELECT case when true then 1 end; END;\n",
        "BEGIN ATOMIC; COMMIT;\n",
        "SELECT atomic; CREATE TABLE begin (atomic int);\n",
        "CREATE TABLE function (a int); CREATE OR REPLACE VIEW function AS SELECT 1;\n",
        "COPY t FROM stdin;\n'\n$$\n/*\n\\.\n",
        "COPY t (a, b) FROM STDIN WITH (FORMAT csv);\n\\.x\n \\.\n\\.\n",
        "COPY t FROM stdin;\n\\.\n",
        "COPY t FROM stdin\\g\n'\n\\.\n",
        "COPY (SELECT * FROM stdin) TO stdout;\n",
        "COPY t TO stdout;\n",
        "COPY t FROM '/tmp/stdin';\n",
        "\\copy t from stdin csv\n'\n\\.\n",
        "\\COPY t (a) FROM STDIN\n'\n\\.\n",
        "\\copy t from 'file'\n\\copy t to stdout\n",
        "\\connect it's\n\\echo \"\n  \\set x '\n\\.\n",
        "SELECT 1 \\gexec\n",
        "SELECT 1 \\gset x'\n",
        "SELECT 1 \\watch 5'\n",
        "SELECT 1 \\; SELECT 2;\n",
        "SELECT 1 \\echo it's\n + 2;\n",
        "\\g\n",
        "DO $$ begin perform 1; end $$;\n",
    ],
)
def test_other_statements_are_passed_over(before: str) -> None:
    assert read_functions(before) == ()
    found = read_functions(FUNCTION.format("f") + before + FUNCTION.format("g"))
    assert [f.signature.name for f in found] == ["f", "g"]
    assert found[1].line == before.count("\n") + 2


@pytest.mark.parametrize(
    "end", ["", ";", " ; ", "\\g", "\n\\g\nSELECT 1;", ";\n\\.", "\n-- end"]
)
def test_the_last_statement_may_end_as_it_likes(end: str) -> None:
    assert one(FUNCTION.format("f").removesuffix(";\n") + end).body == "x"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("\n'a\n", 2, "unterminated quoted string"),
        ("\nE'a\\'\n", 2, "unterminated quoted string"),
        ('\n\n"a\n', 3, "unterminated quoted identifier"),
        ("\nSELECT $a$\n$$", 2, "unterminated dollar-quoted string"),
        ("\n/* /* \n */", 2, "unterminated comment"),
        ("SELECT\n(\n(1)\n;", 2, 'unterminated "("'),
        ("SELECT ((1)\n", 1, 'unterminated "("'),
        ("CREATE FUNCTION f(\na int", 1, 'unterminated "("'),
        (
            "CREATE FUNCTION f() RETURNS int\nBEGIN\nATOMIC SELECT 1;",
            3,
            'unterminated "ATOMIC"',
        ),
        ("\nCOPY t\nFROM stdin;\n1\n", 2, "unterminated data of COPY"),
        ("\n\\copy t FROM stdin\n1\n", 2, "unterminated data of COPY"),
        ("COPY t FROM stdin", 1, "unterminated data of COPY"),
        ("\nSELECT 'a\0b'", 2, "is not allowed in SQL"),
        ("\n-- \ud800", 2, "is not allowed in SQL"),
        ("\nCREATE FUNCTION f() RETURNS int;", 2, "no language specified"),
        ("\nCREATE FUNCTION f(a int) RETURNS int AS 'x'", 2, "no language specified"),
        ("CREATE FUNCTION", 1, "no language specified"),
    ],
)
def test_a_torn_file_tells_where(text: str, line: int, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        read_functions(text)
    assert reason in str(caught.value)
    assert (caught.value.line, caught.value.sqlstate) == (line, "42601")


@pytest.mark.parametrize(
    ("text", "error", "line", "token", "reason"),
    [
        ("f() RETURNS int {}\nSTABLE", SignatureError, 3, "STABLE", "must be volatile"),
        (
            "f() RETURNS int {} immutable",
            SignatureError,
            2,
            "immutable",
            "must be volatile",
        ),
        ("f() {}", SignatureError, 2, "CREATE", "result type must be specified"),
        ("f(a int) {}", SignatureError, 2, "CREATE", "result type must be specified"),
        ("f(\na cstring) {}", SignatureError, 3, "cstring", "pseudo type"),
        ("f(\nvariadic a int[]) {}", SignatureError, 3, "variadic", "VARIADIC"),
        ("f(\na int, a int) {}", SignatureError, 2, "a", "more than once"),
        ("f(a t.b\n%TYPE) {}", SignatureError, 2, "t", "%TYPE"),
        ("f(\n1) {}", ParseError, 3, "1", "syntax error"),
        ("f(a int\n) RETURNS int {} banana", ParseError, 3, "banana", "syntax error"),
        ("f(a int) RETURNS int\n\\echo\n{}", ParseError, 3, "\\", "syntax error"),
        ("f() RETURNS int {} {}", ParseError, 2, "LANGUAGE", "redundant"),
        ("f() RETURNS int {} AS 'y'", ParseError, 2, "AS", "redundant"),
        ("f() RETURNS int {}\nSTRICT CALLED ON NULL INPUT", ParseError, 3, None, ""),
        ("f() RETURNS int {} VOLATILE VOLATILE", ParseError, 2, "VOLATILE", ""),
        ("f() RETURNS int {} RETURNS NULL", ParseError, 2, "RETURNS", "syntax error"),
        ("f() RETURNS int {} SECURITY", ParseError, 2, "SECURITY", "syntax error"),
        ("f() RETURNS int {} COST ;", ParseError, 2, ";", "syntax error"),
        ("f() RETURNS int {} COST -a", ParseError, 2, "a", "syntax error"),
        ("f() RETURNS int {} SET a", ParseError, 2, None, "at end of input"),
        ("f() RETURNS int {} SET a =", ParseError, 2, None, "at end of input"),
        ("f() RETURNS int {} SET a = 1,", ParseError, 2, None, "at end of input"),
        ("f() RETURNS int {} SET 1 = 1", ParseError, 2, "1", "syntax error"),
        ("f() RETURNS int {} SUPPORT a.", ParseError, 2, None, "at end of input"),
        ("f() RETURNS int {} TRANSFORM TYPE a", ParseError, 2, "TYPE", "syntax error"),
        ("f() RETURNS int AS 1 LANGUAGE plproxy", ParseError, 2, "1", "syntax error"),
        (
            "f() RETURNS int AS 'a', 'b' LANGUAGE plproxy",
            ParseError,
            2,
            ",",
            "syntax error",
        ),
        (
            "f() RETURNS int LANGUAGE plproxy",
            ParseError,
            2,
            "CREATE",
            "no function body",
        ),
        ('""() RETURNS int {}', ParseError, 2, '""', "zero-length"),
    ],
)
def test_a_bad_function_is_refused_where_it_stands(
    text: str, error: type[DeclarationError], line: int, token: str | None, reason: str
) -> None:
    text = "\nCREATE FUNCTION " + text.replace("{}", "LANGUAGE plproxy AS 'x'", 1)
    text = text.replace("{}", "LANGUAGE plproxy")
    with pytest.raises(error) as caught:
        read_functions(text)
    assert reason in str(caught.value)
    assert caught.value.line == line
    assert token in (caught.value.token, None)


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


@pytest.mark.parametrize(
    "hard",
    [
        "'" * 100_001,
        '"' * 100_001,
        "$a" * 20_000,
        "$a$ " * 20_000 + "$b$",
        "/*" * 50_000,
        "/**/" * 10_000,
        "(" * 10_000,
        "\\" * 100_000,
        "E'\\'" * 50_000,
        "'a'\n" * 50_000 + "'",
        "\\copy t from stdin\n\\.\n" * 2_000,
        "create function f() returns int begin atomic case " * 400,
        FUNCTION.format("f") * 200,
    ],
)
def test_no_text_takes_long(hard: str) -> None:
    started = time.process_time()
    with contextlib.suppress(DeclarationError):
        read_functions(hard)
    # Some 50 ms; a reader that looks twice at what is unterminated takes seconds.
    assert time.process_time() - started < 1
