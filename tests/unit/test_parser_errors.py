"""What is not PL/Proxy's language: the reason, the line and the token."""

from __future__ import annotations

import pytest

from plproxy_py.errors import ParseError
from plproxy_py.language.parser import (
    Keyword,
    parse_body,
    parse_statement,
    parse_statements,
)

# f(a int4, "Key" text, int4[], tags text[], "t.c" text, target text)
NAMES = ["a", "Key", None, "tags", "t.c", "target"]
ARRAYS = [False, False, True, True, False, False]


def refused(text: str) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse_body(text, NAMES, ARRAYS)
    assert caught.value.sqlstate == "42601"
    return caught.value


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
        ("\nrun on $7;", 2, "$7", "bad argument reference: $7, the function has 6"),
        ("connect $0", 1, "$0", "bad argument reference: $0, the function"),
        ("select '\n',\n$7", 3, "$7", "bad argument reference: $7, the function"),
        ("cluster f($4294967297", 1, "$4294967297", "bad argument reference: $42949"),
        ("split $" + "1" * 5000, 1, "$" + "1" * 5000, f"ence: ${'1' * 36}..., the f"),
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
    with pytest.raises(ParseError, match="the function has 0 arguments"):
        parse_body("connect $1;", [], [])
    with pytest.raises(ParseError, match=r"\$2, the function has 1 argument$"):
        parse_body("connect $2;", [None], [True])


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
