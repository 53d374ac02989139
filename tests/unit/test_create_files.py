"""Files of SQL around the functions: dumps, scripts for psql, torn ones."""

from __future__ import annotations

import pytest

from plproxy_py.errors import ParseError
from plproxy_py.language.create import read_functions
from plproxy_py.pgtypes import PgType
from plproxy_py.signature import Record, Scalar

FUNCTION = "CREATE FUNCTION {}() RETURNS int LANGUAGE plproxy AS 'x';\n"

# What pg_dump 15 writes, shortened; made from a database with all these objects.
DUMP = r"""--
-- PostgreSQL database dump
--

\restrict qjAS0uJCfGr12KtTk89PrPOgbhHs6OpHjCsQJo3OofVSshylazj6svjFxUzhwmu

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: Fn Name("My Schema"."T"[], text); Type: FUNCTION; Owner: it's (
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


def test_a_dump_gives_its_functions_and_nothing_else() -> None:
    found = read_functions(DUMP)
    assert [(f.signature.key, f.line, f.body_line) for f in found] == [
        ('"My Schema"."Fn Name"("My Schema"."T"[],text)', 15, 19),
        ("public.f2(int4,text)", 34, 36),
        ("public.p1(int4,text)", 47, 49),
        ("public.f3()", 64, 67),
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


def test_a_file_may_begin_with_a_byte_order_mark() -> None:
    assert len(read_functions("\ufeff" + FUNCTION.format("f"))) == 1


def test_a_dump_may_have_lines_of_windows() -> None:
    found = read_functions(DUMP.replace("\n", "\r\n"))
    assert [f.line for f in found] == [15, 34, 47, 64]


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
    (found,) = read_functions(FUNCTION.format("f").removesuffix(";\n") + end)
    assert found.body == "x"


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
