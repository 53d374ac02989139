"""Statements and bodies: PL/Proxy's grammar, its errors and their lines."""

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


def refused(text: str) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert caught.value.sqlstate == "42601"
    return caught.value


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
        ("select $a$ $1 ; $a$", "select $a$ $1 ; $a$"),
        ("SELECT ((0*0))", "SELECT ((0*0))"),
    ],
)
def test_select(text: str, sent: str) -> None:
    body = parse(f"cluster 'userdb'; {text};")
    assert shown(body.select) == sent
    assert body == Body(cluster=USERDB, select=body.select)
    assert parse(str(body)) == body


def test_parts_are_texts_and_references_by_turns() -> None:
    select = parse("cluster 'c'; select a, /**/ $2$1 + 'a';").select
    parts: tuple[Part, ...] = (
        *("select ", Reference(0), ",   "),
        *(Reference(1), Reference(0), " + 'a'"),
    )
    assert select == Expression(parts, 1)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("Arg", "ARG", True),
        ("ARG", "arg", True),
        ("é", "é", True),
        ("é", "É", False),
        ("K", "\u212a", False),  # the kelvin sign, a k in Unicode's lower case
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


SYNTAX = "syntax error at "


@pytest.mark.parametrize(
    ("text", "line", "token", "reason"),
    [
        # No statement begins so.
        (";", 1, ";", f'{SYNTAX}";": a statement begins with CONNECT'),
        ("cluster 'c';\n;", 2, ";", f'{SYNTAX}";": a statement begins'),
        ("\nwith x as (select 1);", 2, "with", f'{SYNTAX}"with": a statement begins'),
        ("insert into x;", 1, "insert", f'{SYNTAX}"insert": a statement begins'),
        ("\n\n'x';", 3, "'x'", f"{SYNTAX}\"'x'\": a statement begins"),
        ("on all;", 1, "on", f'{SYNTAX}"on": a statement begins'),
        ("\f", 1, "\f", f'{SYNTAX}"\\x0c": a statement begins'),
        ("f(x);", 1, "f(", f'{SYNTAX}"f(": a statement begins'),
        ("connect\n('x');", 2, "connect\n(", f'{SYNTAX}"connect (": connect before "'),
        # Operands.
        ("connect 1;", 1, "1", f"{SYNTAX}\"1\": CONNECT takes 'a connect string', an"),
        ("connect;", 1, ";", f'{SYNTAX}";": CONNECT takes'),
        ("cluster\n key;", 2, "key", f"{SYNTAX}\"key\": CLUSTER takes 'a name' or a"),
        ("cluster any;", 1, "any", f'{SYNTAX}"any": CLUSTER takes'),
        ('cluster "x";', 1, '"', f'{SYNTAX}""": quoted names are known only in SQL'),
        ("cluster 'x;\n", 1, "'", f'{SYNTAX}"\'": the string is not closed'),
        ("cluster\n'x''y;z", 2, "'", f'{SYNTAX}"\'": the string is not closed'),
        ("cluster 'x\n'\n'y'", 3, "'y'", f'{SYNTAX}"\'y\'": ";" expected'),
        ("run all;", 1, "all", f'{SYNTAX}"all": RUN is followed by ON'),
        ("run\non", 2, None, f"{SYNTAX}the end: RUN ON takes ALL, ANY, a partition"),
        ("run on -1;", 1, "-", f'{SYNTAX}"-": RUN ON takes'),
        ("run on 'x';", 1, "'x'", f"{SYNTAX}\"'x'\": RUN ON takes"),
        ("run on (a);", 1, "on (", f'{SYNTAX}"on (": on before "(" is read as'),
        ("run on target;", 1, "target", "or a function call, $6 for the argument"),
        ("run on select;", 1, "select", f'{SYNTAX}"select": RUN ON takes'),
        ("run on 1 a;", 1, "a", f'{SYNTAX}"a": ";" expected'),
        ("run on 2147483648;", 1, "2147483648", "partition number out of range: 2147"),
        ("run on\n4294967296;", 2, "4294967296", "partition number out of range: 42"),
        ("run on " + "9" * 5000, 1, "9" * 5000, f"out of range: {'9' * 37}..."),
        ("split;", 1, ";", f'{SYNTAX}";": SPLIT takes ALL, or array arguments'),
        ("split tags\n$3;", 2, "$3", f'{SYNTAX}"$3": ";" expected'),
        ("split tags,;", 1, ";", f'{SYNTAX}";": SPLIT takes'),
        ("split all, tags;", 1, ",", f'{SYNTAX}",": ";" expected'),
        ("split tags, all;", 1, "all", f'{SYNTAX}"all": SPLIT takes'),
        ("split target;", 1, "target", "$6 for the argument target"),
        ("split (tags);", 1, "split (", f'{SYNTAX}"split (": split before "("'),
        ("target 'f';", 1, "'f'", f"{SYNTAX}\"'f'\": TARGET takes a function's name"),
        ("target f(x);", 1, "f(", f'{SYNTAX}"f(": TARGET takes'),
        ("target any;", 1, "any", f'{SYNTAX}"any": TARGET takes'),
        ("target f a;", 1, "a", f'{SYNTAX}"a": ";" expected'),
        ("select;", 1, ";", f'{SYNTAX}";": nothing follows select'),
        ("run on\n f\n(;", 3, ";", f'{SYNTAX}";": nothing follows f ('),
        ("select", 1, None, f"{SYNTAX}the end: nothing follows select"),
        # The end.
        ("cluster 'c'\nrun on all;", 2, "run", f'{SYNTAX}"run": ";" expected'),
        ("cluster 'c'\n\n", 3, None, f'{SYNTAX}the end: ";" expected'),
        ("run on f(a)\n", 2, None, f'{SYNTAX}the end: ";" expected'),
        ("split tags", 1, None, f'{SYNTAX}the end: ";" expected'),
        ("select 1\n `x;\n", 2, "`", f'{SYNTAX}"`": SQL text can hold it only within'),
        ("select\n\n\\;", 3, "\\", f'{SYNTAX}"\\": SQL text can hold it only within'),
        ("select a $ 1;", 1, "$", f'{SYNTAX}"$": SQL text can hold it only within'),
        ("select 1\n'x\n", 3, None, f"{SYNTAX}the end: ' of line 2 is not closed"),
        ("split tags; /* \n\n", 3, None, f"{SYNTAX}the end: /* of line 1 is not clo"),
        # References.
        ("\nrun on $7;", 2, "$7", "bad argument reference: $7, there are 6 arguments"),
        ("connect $0", 1, "$0", "bad argument reference: $0, there are"),
        ("select '\n',\n$7", 3, "$7", "bad argument reference: $7, there are"),
        ("cluster f($4294967297", 1, "$4294967297", "bad argument reference: $42949"),
        ("split $" + "1" * 5000, 1, "$" + "1" * 5000, f"ence: ${'1' * 36}..., there"),
        ("split\nx\n.\ny z", 4, "x\n.\ny", "bad argument reference: x . y, no argu"),
        # What can't be stored or sent.
        ("cluster 'c';\n\0", 2, "\0", "PostgreSQL's text can't hold '\\x00'"),
        ("cluster '\udcff';", 1, "\udcff", "PostgreSQL's text can't hold '\\udcff'"),
    ],
)
def test_errors_at_a_token(text: str, line: int, token: str, reason: str) -> None:
    error = refused(text)
    assert (error.line, error.token) == (line, token)
    assert reason in str(error)
    assert len(str(error)) < 150


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("connect 'a'; connect\n'b'\n;\n", 3, "only one CONNECT statement is allowed"),
        ("cluster 'a'; cluster\nf()\n;\n", 3, "only one CLUSTER statement is allowed"),
        ("run on all; run on any\n;\n", 2, "only one RUN ON statement is allowed"),
        ("split tags; split\n$3;\n", 2, "only one SPLIT statement is allowed"),
        ("split tags; split\nall;\n", 2, "only one SPLIT statement is allowed"),
        ("target a; target\nb;\n", 2, "only one TARGET statement is allowed"),
        ("select 1; \nselect\n2;", 2, "only one SELECT statement is allowed"),
        ("select 1; \nselect\n(2);", 2, "only one SELECT statement is allowed"),
        ("", 1, "CLUSTER missing: write CLUSTER 'name'; or CONNECT 'connect string';"),
        ("\n-- cluster 'c';\nselect 1;\n", 4, "CLUSTER missing"),
        ("run on all;\n", 2, "CLUSTER missing"),
        ("target x; select 1;\n\n", 3, "CLUSTER missing"),
        ("connect 'a';\ncluster 'b';\n", 3, "CONNECT cannot be combined with CLUSTER"),
        ("cluster 'b';\nconnect 'a';", 2, "CONNECT cannot be combined with CLUSTER"),
        ("connect 'a';\nrun on any;\n", 3, "CONNECT cannot be combined with RUN ON"),
        ("run on 0;\nconnect 'a';\n", 3, "CONNECT cannot be combined with RUN ON"),
        ("connect 'a'; run on 0; target f; select 1;", 1, "CONNECT cannot be combined"),
        ("cluster 'c'; target f; select 1;\n", 2, "TARGET cannot be combined with SEL"),
        ("select 1; target f; cluster 'c';\n", 2, "TARGET cannot be combined with SEL"),
    ],
)
def test_illegal_combinations(text: str, line: int, reason: str) -> None:
    error = refused(text)
    assert error.line == line
    assert reason in str(error)


@pytest.mark.parametrize(
    ("text", "reason", "token"),
    [
        ("split tags,\ntags;", "SPLIT argument specified more than once: tags", "tags"),
        ("split tags, $4", "SPLIT argument specified more than once: $4", "$4"),
        ("split $3; split $3", "SPLIT argument specified more than once: $3", "$3"),
        (
            "split all; split TAGS",
            "SPLIT argument specified more than once: TAGS",
            "TAGS",
        ),
        ("split\nKEY", "SPLIT argument is not an array: KEY", "KEY"),
        ("split all; split a", "SPLIT argument is not an array: a", "a"),
    ],
)
def test_arguments_that_cannot_be_split(text: str, reason: str, token: str) -> None:
    error = refused(text)
    assert (error.line, error.token, str(error)) == (None, token, reason)


def test_an_argument_count_of_one() -> None:
    with pytest.raises(ParseError, match="there are 0 arguments"):
        parse_body("connect $1;", [], [])
    with pytest.raises(ParseError, match=r"\$2, there are 1 argument$"):
        parse_body("connect $2;", [None], [True])


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


@pytest.mark.parametrize(
    ("keyword", "text", "line", "reason"),
    [
        ("CLUSTER", "", 1, "syntax error at the end: CLUSTER takes"),
        ("CLUSTER", "'x'; run on all", 1, "only the CLUSTER statement can stand here"),
        ("CLUSTER", "'x';\n;", 2, "only the CLUSTER statement can stand here"),
        ("CLUSTER", "'x' run on all;", 1, 'syntax error at "run": ";" expected'),
        ("RUN ON", "f(", 1, "syntax error at the end: nothing follows f("),
        ("RUN ON", "select 1", 1, 'syntax error at "select": RUN ON takes'),
        ("RUN ON", "f(a); any", 1, "only the RUN ON statement can stand here"),
        ("RUN ON", "f('a", 1, "' of line 1 is not closed"),
        ("RUN ON", "all /*", 1, "/* of line 1 is not closed"),
        ("RUN ON", "(a)", 1, 'leave the "(" out'),
        ("SPLIT", "tags,", 1, "syntax error at the end: SPLIT takes"),
        ("SPLIT", "tags, a", None, "SPLIT argument is not an array: a"),
        ("TARGET", "f g", 1, 'syntax error at "g": ";" expected'),
        ("SELECT", "", 1, "syntax error at the end: nothing follows SELECT"),
        ("SELECT", " -- \n", 1, "syntax error at the end: nothing follows SELECT"),
        ("SELECT", "select", 1, "syntax error at the end: nothing follows select"),
        ("SELECT", "1;\nselect 2", 2, "only the SELECT statement can stand here"),
        ("SELECT", "\n$9", 2, "bad argument reference: $9"),
        ("SELECT", "a\0", 1, "can't hold"),
    ],
)
def test_one_statement_refused(
    keyword: Keyword, text: str, line: int | None, reason: str
) -> None:
    with pytest.raises(ParseError) as caught:
        parse_statement(keyword, text, NAMES, ARRAYS)
    assert caught.value.line == line
    assert reason in str(caught.value)


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


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({}, "CLUSTER missing"),
        ({"CLUSTER": "'c'", "CONNECT": "'x'"}, "CONNECT cannot be combined with CLU"),
        ({"CONNECT": "'x'", "RUN ON": "any"}, "CONNECT cannot be combined with RUN ON"),
    ],
)
def test_statements_that_make_no_body(texts: dict[Keyword, str], reason: str) -> None:
    with pytest.raises(ParseError, match=reason) as caught:
        parse_statements(texts, [], [])
    assert caught.value.line is None
