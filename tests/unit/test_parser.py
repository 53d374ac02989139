"""Statements and bodies: what PL/Proxy's grammar makes of a text."""

from __future__ import annotations

import pytest

from plproxy_py.errors import ParseError
from plproxy_py.language.body import (
    ArgumentValue,
    Body,
    Expression,
    Literal,
    Part,
    Reference,
    RunAll,
    RunAny,
    RunNumber,
)
from plproxy_py.language.parser import (
    Keyword,
    parse_body,
    parse_statement,
    parse_statements,
)

# f(a int4, "Key" text, int4[], tags text[], "t.c" text, target text)
NAMES = ["a", "Key", None, "tags", "t.c", "target"]
ARRAYS = [False, False, True, True, False, False]
USERDB = Literal("userdb", 1)


def parse(text: str) -> Body:
    return parse_body(text, NAMES, ARRAYS)


def shown(value: object) -> object:
    """Return the text of an expression, arguments as <index>; all else as it is."""
    return value.sql("<{}>".format) if isinstance(value, Expression) else value


@pytest.mark.parametrize(
    ("text", "connect", "cluster"),
    [
        ("CLUSTER 'userdb';", None, USERDB),
        ("cluster'userdb' ;\n", None, USERDB),
        ("CLUSTER 'It''s;'; ", None, Literal("It's;", 1)),
        ("CLUSTER '';", None, Literal("", 1)),
        ("cluster f(key);", None, "f(<1>)"),
        ("cluster text (KEY)||'x';", None, "text (<1>)||'x'"),
        ("CONNECT 'dbname=x';", Literal("dbname=x", 1), None),
        ("connect KEY;", ArgumentValue(1, 1), None),
        ("connect $1;", ArgumentValue(0, 1), None),
        ("connect nobody;", "nobody", None),
        ("connect f() where a;", "f() where <0>", None),
        ("connect t.c;", ArgumentValue(4, 1), None),
        ("connect t . c;", "t . c", None),
    ],
)
def test_connect_and_cluster(text: str, connect: object, cluster: object) -> None:
    body = parse(text)
    assert (shown(body.connect), shown(body.cluster)) == (connect, cluster)
    assert body == Body(connect=body.connect, cluster=body.cluster)


@pytest.mark.parametrize(
    ("text", "run_on"),
    [
        ("ALL", RunAll()),
        ("any", RunAny()),
        ("0", RunNumber(0, 1)),
        ("007", RunNumber(7, 1)),
        ("0" * 5000 + "2147483647", RunNumber(2**31 - 1, 1)),
        ("a", ArgumentValue(0, 1)),
        ("$02", ArgumentValue(1, 1)),
        ("foo", "foo"),
        ("x . a", "x . a"),
        ("hashtext(key)", "hashtext(<1>)"),
        ("a(a)", "a(<0>)"),
        ("any(all)", "any(all)"),
        ("target(target)", "target(<5>)"),
        ("f( )", "f( )"),
        ("f( ", "f( "),
        ("s\n. f\t(a) ", "s\n. f\t(<0>) "),
        ("f(a,\nkey) where $1 > 0", "f(<0>, <1>) where <0> > 0"),
    ],
)
def test_run_on(text: str, run_on: object) -> None:
    body = parse(f"cluster 'userdb'; run on {text};")
    assert shown(body.run_on) == run_on
    assert body == Body(cluster=USERDB, run_on=body.run_on)


@pytest.mark.parametrize(
    ("text", "split", "split_all"),
    [
        ("tags", (3,), False),
        ("TAGS , $3", (3, 2), False),
        ("all", (2, 3), True),
    ],
)
def test_split(text: str, split: tuple[int, ...], split_all: bool) -> None:
    body = Body(cluster=USERDB, split=split, split_all=split_all)
    assert parse(f"cluster 'userdb'; split {text} ;") == body


def test_split_all_may_find_no_array() -> None:
    body = parse_body("cluster 'userdb'; split all;", ["a"], [False])
    assert (body.split, body.split_all) == ((), True)
    assert str(body) == "CLUSTER 'userdb';\nSPLIT ALL;"
    assert str(Body(split=())) == "SPLIT ALL;"


@pytest.mark.parametrize("name", ["f", "Other . Fn", "x\n.y", "$1", "a", "é.ü"])
def test_a_target_is_kept_as_written(name: str) -> None:
    assert parse(f"cluster 'userdb'; target {name} ;").target == name


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (
            "SeLeCt   key,/* c ; */a -- x ;\n  , $2, $1, x.a, \"a\", 'a', $$a;$$ ...",
            "SeLeCt <1>, <0>  , <1>, <0>, x.a, \"a\", 'a', $$a;$$ ...",
        ),
        ('select(key)||$2||KEY||"KEY"', 'select(<1>)||<1>||<1>||"KEY"'),
        ("select a, a::int4, :a, count(a)", "select <0>, <0>::int4, :<0>, count(<0>)"),
        ('select "t".a, t /**/ . a', 'select "t".<0>, t   . <0>'),
        ("select t.a, t . a, t\n.a", "select t.a, t . a, t\n.a"),
        ("select t.c, T.C, t . c", "select <4>, <4>, t . c"),
        ("select (a).key, ($1).x", "select (<0>).<1>, (<0>).x"),
        ("select a [ 1 ], tags[1]", "select <0> [ 1 ], <3>[1]"),
        ("select B'101', a'x'", "select B'101', <0>'x'"),
        ("select E'a\\'', e'a'", "select E'a\\'', e'a'"),
        ("select $3a$1", "select <2><0><0>"),
        ("select target(target)", "select <5>(<5>)"),
        ("select 1e5.a, 1.a", "select 1e5.a, 1.<0>"),
        ("select ", "select "),
        ("select -", "select -"),
        ("select\n", "select "),
        ("select/**/.x", "select .x"),
        ("select x/**/.E'\\'; $1'", "select x .E'\\'; $1'"),
        ("select x./**/E'\\'; $1'", "select x. E'\\'; $1'"),
        ("select t./**/c, t/**/.a, ", "select t. c, t .<0>, "),
        ("select $a$ $1 ; $a$", "select $a$ $1 ; $a$"),
        ("SELECT ((0*0))", "SELECT ((0*0))"),
    ],
)
def test_select(text: str, sent: str) -> None:
    body = parse(f"cluster 'userdb'; {text};")
    assert shown(body.select) == sent
    assert body == Body(cluster=USERDB, select=body.select)
    assert parse(str(body)) == body


def test_parts_are_joined_texts_and_references() -> None:
    select = parse("cluster 'c'; select a, /**/ $2$1 + 'a', t . x, t /**/ . x;").select
    parts: tuple[Part, ...] = (
        *("select ", Reference(0), ",   ", Reference(1), Reference(0)),
        *(" + 'a', t . x, t   ", ".", " x"),
    )
    assert select == Expression(parts, 1)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("Arg", "ARG", True),
        ("ARG", "arg", True),
        ("é", "é", True),
        ("é", "É", False),
        ("É", "É", True),
        ("K", "\u212a", False),  # the kelvin sign, a k in Unicode's lower case
        ("\u212a", "k", False),
        ("t.c", "T.C", True),
        ("t.c", "t .c", False),
        ("c", "t.c", False),
        ("all", '"all"', False),
    ],
)
def test_names_fold_in_ascii_only(name: str, text: str, found: bool) -> None:
    body = parse_body(f"cluster 'c'; select {text};", [name], [False])
    assert body.select is not None
    assert (Reference(0) in body.select.parts) is found


def test_the_first_of_two_equal_names_is_meant() -> None:
    body = parse_body("cluster 'c'; run on A;", [None, "a", "A"], [False] * 3)
    assert body.run_on == ArgumentValue(1, 1)


def test_legal_though_unusual() -> None:
    body = parse("split tags; target f; connect 'd';")
    assert body == Body(connect=Literal("d", 1), split=(3,), target="f")
    assert body.run_on == RunAny()


def test_lines_do_not_count_when_values_are_compared() -> None:
    text = "\ncluster\n'x\n';\nrun on\nf\n(a);\nsplit all; select\n\n1;"
    body = parse(text)
    assert isinstance(body.cluster, Literal)
    assert isinstance(body.run_on, Expression)
    assert isinstance(body.select, Expression)
    assert [body.cluster.line, body.run_on.line, body.select.line] == [4, 7, 8]
    assert body == parse(
        text.replace("\n", " ").replace("'x '", "'x\n'").replace("f (", "f\n(")
    )
    assert hash(body) == hash(parse("\n" + text))
    numbered = parse("cluster f(a);\nrun on\n5;")
    assert isinstance(numbered.run_on, RunNumber)
    assert numbered.run_on.line == 3
    argument = parse("\nconnect\nkey;").connect
    assert isinstance(argument, ArgumentValue)
    assert argument.line == 3


def test_text_is_canonical() -> None:
    text = """-- a comment
        split TAGS , $3; run on hashtext(Key)/**/%2 where  -- b
        "x  y" ; cluster  'it''s'; target other . fn; """
    body = parse(text)
    assert str(body) == (
        "CLUSTER 'it''s';\n"
        'RUN ON hashtext($2) %2 where /**/"x  y" ;\n'
        "SPLIT $4, $3;\n"
        "TARGET other . fn;"
    )
    assert parse(str(body)) == body
    assert str(parse("connect KEY; select a;")) == "CONNECT $2;\nselect $1;"
    assert str(parse("cluster f(a); run on foo;")) == "CLUSTER f($1);\nRUN ON foo;"
    assert str(parse("cluster 'c'; run on 03;")) == "CLUSTER 'c';\nRUN ON 3;"
    assert str(parse("cluster 'c'; run on $1;")) == "CLUSTER 'c';\nRUN ON $1;"
    assert str(parse("cluster 'c'; run on all;")) == "CLUSTER 'c';\nRUN ON ALL;"
    assert str(parse("cluster 'c'; run on any;")) == "CLUSTER 'c';"
    assert str(RunAny()) == "ANY"


@pytest.mark.parametrize(
    ("keyword", "text", "value"),
    [
        ("CONNECT", "'x'", Literal("x", 1)),
        ("CONNECT", "f(key)", "f(<1>)"),
        ("CLUSTER", "'x'", Literal("x", 1)),
        ("CLUSTER", "\nf(a)", "f(<0>)"),
        ("RUN ON", "ALL", RunAll()),
        ("RUN ON", "3", RunNumber(3, 1)),
        ("RUN ON", "$1", ArgumentValue(0, 1)),
        ("RUN ON", "hashtext(key)", "hashtext(<1>)"),
        ("RUN ON", "foo", "foo"),
        ("SPLIT", "tags, $3", (3, 2)),
        ("SPLIT", "all", (2, 3)),
        ("TARGET", "x.f", "x.f"),
        ("SELECT", "a from x", "SELECT <0> from x"),
        ("SELECT", "(a)", "SELECT (<0>)"),
        ("SELECT", "/**/select a", "select <0>"),
    ],
)
@pytest.mark.parametrize("end", ["", ";", ";\n", "\n-- c", ";-- c\n", "/* c */"])
def test_one_statement(keyword: Keyword, text: str, value: object, end: str) -> None:
    found = shown(parse_statement(keyword, text + end, NAMES, ARRAYS))
    assert (found.rstrip() if isinstance(found, str) else found) == value


def test_statements_one_by_one_make_a_body() -> None:
    """No text reaches into the next, as joined ones would behind a comment."""
    texts: dict[Keyword, str] = {
        "RUN ON": "hashtext(key) -- c",
        "SPLIT": "ALL;",
        "SELECT": "select a",
        "CLUSTER": "'userdb' /* ; */",
    }
    body = parse_statements(texts, NAMES, ARRAYS)
    assert str(body) == (
        "CLUSTER 'userdb';\nRUN ON hashtext($2) ;\nSPLIT ALL;\nselect $1;"
    )
    assert parse(str(body)) == body
    with pytest.raises(ParseError, match="only the RUN ON statement") as caught:
        parse_statements({"CLUSTER": "'c'", "RUN ON": "\nall; split all"}, [], [])
    assert caught.value.line == 2
