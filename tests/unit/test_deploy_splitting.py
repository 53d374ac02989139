"""Where statements end, what is refused, and what a journal knows one by."""

from __future__ import annotations

import pytest

from plproxy_py.errors import ParseError
from plproxy_py.ops.deploy.files import read_steps
from plproxy_py.ops.deploy.indexes import (
    Build,
    built_by,
    is_concurrent,
    is_repeatable,
)
from plproxy_py.ops.deploy.splitting import Statement, split


def only(text: str) -> Statement:
    (statement,) = split(text)
    return statement


BODY = """CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC
    SELECT CASE WHEN a = $1 THEN 1 END;
    SELECT x.case FROM (SELECT 1 AS "case") x;
    SELECT 1 AS end;
    SELECT 2;
END"""


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("", []),
        (" ;; -- nothing\n /* nor; /* here; */ */ ;", []),
        ("select 1", ["select 1"]),
        ("\ufeffselect 1;select 2;\n", ["select 1", "select 2"]),
        ("select ';', E'\\';', \";\"; x", ["select ';', E'\\';', \";\"", "x"]),
        ("select $$;$$, $a$;$$;$a$; x", ["select $$;$$, $a$;$$;$a$", "x"]),
        ("/* ; */ select -- ;\n 1 /* ; */; x", ["select -- ;\n 1", "x"]),
        ("create rule r as on insert to t do (a; b); x",
            ["create rule r as on insert to t do (a; b)", "x"]),
        (f"{BODY}; x", [BODY, "x"]),
        ("create procedure p() begin atomic end; x",
            ["create procedure p() begin atomic end", "x"]),
        ("create function begin() returns int as ';' language sql; x",
            ["create function begin() returns int as ';' language sql", "x"]),
        ("do $$ begin atomic; $$; x", ["do $$ begin atomic; $$", "x"]),
        ("select begin atomic; x", ["select begin atomic", "x"]),
        ("select a) ; x", ["select a)", "x"]),
    ],
)  # fmt: skip
def test_statements(text: str, statements: list[str]) -> None:
    assert [statement.text for statement in split(text)] == statements


def test_lines() -> None:
    found = list(split("-- one\nselect\n1; select 2;\n\nselect '\n';select 3"))
    assert [statement.line for statement in found] == [2, 3, 5, 6]
    assert found[0].line_at(1) == 2
    assert found[0].line_at(8) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("select 1;\n\\copy t from x\n", "f.sql:2: \\copy is a command of psql's own"),
        ("select 1 \\gset\n", "f.sql:1: \\gset is a command of psql's own"),
        ("\\\n", "f.sql:1: \\ is a command of psql's own"),
        ("x;\nBegin;", "f.sql:2: BEGIN: the deploy itself"),
        ("start transaction read only;", "f.sql:1: START: the deploy"),
        ("commit and chain;", "f.sql:1: COMMIT: the deploy"),
        ("end;", "f.sql:1: END: the deploy"),
        ("rollback to a;", "f.sql:1: ROLLBACK: the deploy"),
        ("abort;", "f.sql:1: ABORT: the deploy"),
        ("savepoint a;", "f.sql:1: SAVEPOINT: the deploy"),
        ("release a;", "f.sql:1: RELEASE: the deploy"),
        ("prepare transaction 'a';", "f.sql:1: PREPARE: the deploy"),
        ("copy t from stdin;\n1\n'\n\\.\n", "f.sql:1: COPY through the client"),
        ("copy (select 1) to stdout", "f.sql:1: COPY through the client"),
        ("insert into t values ($1)", "f.sql:1: there is no parameter $1"),
        ("x;\nselect 'a", "f.sql:2: unterminated quoted string"),
        ("x;\nselect (1;", "f.sql:2: unterminated"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(ParseError) as caught:
        list(read_steps("f.sql", text))
    assert str(caught.value).startswith(said)
    assert caught.value.sqlstate == "42601"


def test_what_only_looks_like_that_is_taken() -> None:
    text = (
        "copy t from '/file'; prepare p as select $1; create function f(int) returns "
        "int language sql return $1; start_it; select a$1; create table begin (a int)"
    )
    assert len(list(read_steps("f.sql", text))) == 6


def test_settings() -> None:
    settings = [
        "set role x",
        "SET LOCAL a = 1",
        "reset all",
        "load 'x'",
        "select set_config('a', 'b', false)",
        "select pg_catalog.set_config('search_path', '', false)",
    ]
    others = ["settle", "select set_configs()", "update t set a = 1", "alter role x"]
    steps = list(read_steps("f.sql", ";".join([*settings, *others])))
    assert [step.is_setting for step in steps] == [True] * 6 + [False] * 4


def test_digests_pass_over_comments_and_white_space() -> None:
    digest = only("create table t (a int)").digest
    assert only(" create  table -- t\n t\t(a /* one */ int) ;").digest == digest
    others = [
        "create table t (a  int8)",
        "create table t(a int)",
        "CREATE table t (a int)",
    ]
    assert digest not in [only(text).digest for text in others]
    assert only("select ' '").digest != only("select '  '").digest


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("alter role x password 'sekret' login", "alter role x password '****' login"),
        ("create user x ENCRYPTED PASSWORD E'sek\\'ret'",
            "create user x ENCRYPTED PASSWORD '****'"),
        ("OPTIONS (a 'b', password $$sekret$$)", "OPTIONS (a 'b', password '****')"),
        ("OPTIONS (\"sslpassword\" 'sekret')", "OPTIONS (\"sslpassword\" '****')"),
        ("create subscription s connection 'host=a password=sekret' publication p",
            "create subscription s connection '****' publication p"),
        ("as $$ password=x $$, 'plain'", "as $$ password=x $$, 'plain'"),
    ],
)  # fmt: skip
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    statement = only(f"x; {text}".partition("; ")[2])
    assert statement.shown == shown
    assert "sekret" not in statement.head


def test_heads_end_before_the_first_literal() -> None:
    assert only("insert into t\n values (1, 'a')").head == "insert into t values (1, …"
    long = only("select " + "a, " * 100)
    assert len(long.head) == 60
    assert long.head.endswith("…")


@pytest.mark.parametrize(
    ("text", "build"),
    [
        ("create index concurrently i on t (a)", Build("t", "i")),
        ("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS I ON ONLY s.\"T t\" (a)",
            Build('s."T t"', "i")),
        ("create index concurrently on t (a)", Build("t", None)),
        ("create index i on t (a)", None),
        ("drop index concurrently i", None),
        ("create table t (a int)", None),
    ],
)  # fmt: skip
def test_indexes_that_are_built(text: str, build: Build | None) -> None:
    assert built_by(only(text)) == build


def test_what_works_beside_the_traffic() -> None:
    beside = [
        "create unique index concurrently i on t (a)",
        "drop index concurrently i",
        "reindex (verbose) table concurrently t",
    ]
    others = [
        "create index i on t (a)",
        "vacuum t",
        "create table concurrently (a int)",
    ]
    assert all(is_concurrent(only(text)) for text in beside)
    assert not any(is_concurrent(only(text)) for text in others)


def test_what_may_run_twice() -> None:
    twice = [
        "vacuum t",
        "create or replace view v as select 1",
        "drop index concurrently if exists i",
        "create table if not exists t (a int)",
        "grant select on t to u",
    ]
    once = ["create table t (a int)", "insert into t select 1", "drop table t"]
    assert all(is_repeatable(only(text)) for text in twice)
    assert not any(is_repeatable(only(text)) for text in once)
