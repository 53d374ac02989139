"""Tokens, row by row as PL/Proxy's two lexical modes describe them."""

from __future__ import annotations

import contextlib

import pytest

from plproxy_py.errors import ParseError
from plproxy_py.language.scanner import Kind, is_reserved, scan, unfold

KEYWORDS = [kind.name for kind in list(Kind)[:9]]


def tokens(text: str) -> list[tuple[str, str]]:
    return [(token.kind.name, token.text) for token in scan(text)][:-1]


def lines(text: str) -> list[tuple[str, int]]:
    return [(token.text, token.line) for token in scan(text)]


def in_sql(text: str) -> list[tuple[str, str]]:
    head, *found = tokens("f(" + text)
    assert head == ("CALL", "f(")
    return found


@pytest.mark.parametrize("word", KEYWORDS)
def test_keywords_have_no_case_of_their_own(word: str) -> None:
    for spelling in (word, word.lower(), word.title(), word[0].lower() + word[1:]):
        assert tokens(spelling) == [(word, spelling)]
        assert is_reserved(spelling)


@pytest.mark.parametrize(
    "text",
    [
        "selects",
        "run_on",
        "all1",
        "_any",
        "ONé",
        "\u017felect",  # a long s, which is an s in Unicode's other case only
        "all.x",
        "x . target",
        "select . x",
        "select\n.\tx",
        "a",
        "_1",
        "é",
        "\xa0",
        "\U0010ffff",
        "Schema.Name",
        "t \t\n\r. b . c",
        "$1",
        "$007",
        "$0",
    ],
)
def test_a_name_is_one_token_as_written(text: str) -> None:
    assert tokens(text) == [("NAME", text)]
    assert in_sql(" " + text) == [("TEXT", " "), ("NAME", text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", [("NUMBER", "0")]),
        ("0012", [("NUMBER", "0012")]),
        ("-1", [("SYMBOL", "-"), ("NUMBER", "1")]),
        ("1a", [("NUMBER", "1"), ("NAME", "a")]),
        ("$1a", [("NAME", "$1"), ("NAME", "a")]),
        ("a$1", [("NAME", "a"), ("NAME", "$1")]),
        ("$ 1", [("SYMBOL", "$"), ("NUMBER", "1")]),
        ("a. .b", [("NAME", "a"), ("SYMBOL", "."), ("SYMBOL", "."), ("NAME", "b")]),
        ("a.1", [("NAME", "a"), ("SYMBOL", "."), ("NUMBER", "1")]),
        ("''", [("STRING", "''")]),
        ("'a''b;'", [("STRING", "'a''b;'")]),
        ("'a\n-- /* \\'", [("STRING", "'a\n-- /* \\'")]),
        ("E'a'", [("NAME", "E"), ("STRING", "'a'")]),
        (
            "$$a$$",
            [("SYMBOL", "$"), ("SYMBOL", "$"), ("NAME", "a")] + [("SYMBOL", "$")] * 2,
        ),
        ("'a", [("SYMBOL", "'"), ("NAME", "a")]),
        ("'a''b", [("STRING", "'a'"), ("SYMBOL", "'"), ("NAME", "b")]),
        ("'a''b''c", [("STRING", "'a''b'"), ("SYMBOL", "'"), ("NAME", "c")]),
        ('"a"', [("SYMBOL", '"'), ("NAME", "a"), ("SYMBOL", '"')]),
        ("a -- b\nc", [("NAME", "a"), ("NAME", "c")]),
        ("a--", [("NAME", "a")]),
        ("a/* /* ; ' */b", [("NAME", "a"), ("NAME", "b")]),
        ("/**//***/", []),
        ("/*/ a */", []),
        ("a*/", [("NAME", "a"), ("SYMBOL", "*"), ("SYMBOL", "/")]),
        (" \t\n\r", []),
        ("\f", [("SYMBOL", "\f")]),
        ("\v", [("SYMBOL", "\v")]),
        ("a\f.b", [("NAME", "a"), ("SYMBOL", "\f"), ("SYMBOL", "."), ("NAME", "b")]),
        (";,", [("SYMBOL", ";"), ("SYMBOL", ",")]),
        ("f(", [("CALL", "f(")]),
        ("x . f \n(", [("CALL", "x . f \n(")]),
        ("any(", [("CALL", "any(")]),
        ("CONNECT ('x')", [("CALL", "CONNECT ("), ("TEXT", "'x'"), ("TEXT", ")")]),
        ("selects(", [("CALL", "selects(")]),
        ("select.x(", [("CALL", "select.x(")]),
        ("f/**/(", [("NAME", "f"), ("SYMBOL", "(")]),
        ("$1(", [("NAME", "$1"), ("SYMBOL", "(")]),
        ("SELECT(", [("SELECT", "SELECT"), ("TEXT", "(")]),
        ("Select \n(", [("SELECT", "Select"), ("TEXT", " "), ("TEXT", "(")]),
        (
            "select .5",
            [("SELECT", "select"), ("TEXT", " "), ("TEXT", "."), ("TEXT", "5")],
        ),
    ],
)
def test_statements(text: str, expected: list[tuple[str, str]]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" \t\r\n ", [" "]),
        ("-- a ; '\n\t", [" "]),
        ("-- a ; '", []),
        ("--\n", [" "]),
        ("/* ; ' */", [" "]),
        ("/**/", [" "]),
        ("/*/*/", [" "]),
        ("/***/ /* */", [" ", " ", " "]),
        ("-/**/-", ["-", " ", "-"]),
        ("''", ["''"]),
        ("'a''; $1 -- \\'", ["'a''; $1 -- \\'"]),
        ("'a'''", ["'a'''"]),
        ("'a' 'b'", ["'a'", " ", "'b'"]),
        (r"E'\'; $1 \\'", [r"E'\'; $1 \\'"]),
        ("e'a''b\\\n'", ["e'a''b\\\n'"]),
        (r"E'\\''\''", [r"E'\\''\''"]),
        ("$$ ' ; $1 $a$ $$", ["$$ ' ; $1 $a$ $$"]),
        ("$a$ $b$ $$ $A$ $a $a$", ["$a$ $b$ $$ $A$ $a $a$"]),
        ("$é1$ ; $é1$", ["$é1$ ; $é1$"]),
        ("$$$$", ["$$$$"]),
        ('"a;$1"', ['"a;$1"']),
        ('"a"";"', ['"a"";"']),
        ('"a\\"', ['"a\\"']),
        ("1.5.", ["1.5."]),
        (".5", [".", "5"]),
        ("1..2", ["1..2"]),
        *((symbol, [symbol]) for symbol in "-!#%&()*+,/:<=>?@[]^{|}~."),
        ("||::", list("||::")),
    ],
)
def test_sql_text(text: str, expected: list[str]) -> None:
    assert in_sql(text) == [("TEXT", piece) for piece in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" fooE'a'", [("TEXT", " "), ("NAME", "fooE"), ("TEXT", "'a'")]),
        (" B'1'", [("TEXT", " "), ("NAME", "B"), ("TEXT", "'1'")]),
        (" a$$b$$", [("TEXT", " "), ("NAME", "a"), ("TEXT", "$$b$$")]),
        ("$1$a$b$a$", [("NAME", "$1"), ("TEXT", "$a$b$a$")]),
        ("1e5", [("TEXT", "1"), ("NAME", "e5")]),
        ("1e'a'", [("TEXT", "1"), ("TEXT", "e'a'")]),
        (" all", [("TEXT", " "), ("NAME", "all")]),
        (" f (", [("TEXT", " "), ("NAME", "f"), ("TEXT", " "), ("TEXT", "(")]),
        ("-a.", [("TEXT", "-"), ("NAME", "a"), ("TEXT", ".")]),
        ('"t".a', [("TEXT", '"t"'), ("TEXT", "."), ("NAME", "a")]),
    ],
)
def test_names_in_sql(text: str, expected: list[tuple[str, str]]) -> None:
    assert in_sql(text) == expected


@pytest.mark.parametrize("character", ["`", "\\", "$", "\f", "\x01", "\x7f"])
def test_characters_without_a_place_in_sql(character: str) -> None:
    assert in_sql(character) == [("SYMBOL", character)]


def test_a_semicolon_ends_the_sql() -> None:
    assert tokens("select';';all f();any") == [
        ("SELECT", "select"),
        ("TEXT", "';'"),
        ("SYMBOL", ";"),
        ("ALL", "all"),
        ("CALL", "f("),
        ("TEXT", ")"),
        ("SYMBOL", ";"),
        ("ANY", "any"),
    ]


def test_lines_are_those_of_the_last_character() -> None:
    assert lines("") == [("", 1)]
    assert lines("\n a\n.\nb 'c\n'\n/*\n*/--\n;\r\n") == [
        ("a\n.\nb", 4),
        ("'c\n'", 5),
        (";", 8),
        ("", 9),
    ]
    assert lines("f\n( \n'\n'\n$$\n$$") == [
        ("f\n(", 2),
        (" ", 3),
        ("'\n'", 4),
        (" ", 5),
        ("$$\n$$", 6),
        ("", 6),
    ]
    assert lines("select\n(") == [("select", 1), (" ", 2), ("(", 2), ("", 2)]


@pytest.mark.parametrize(
    ("opening", "rest"),
    [
        ("/*", " a ** / \n"),
        ("'", "a\n''"),
        ("E'", "a''b\\'\n"),
        ("e'", "\\\n"),
        ('"', 'a\n""b'),
        ("$$", "a\n$a$"),
        ("$tag$", "a\n$$ $Tag$ $tag"),
    ],
)
def test_what_stays_open_is_refused_at_the_end(opening: str, rest: str) -> None:
    with pytest.raises(ParseError) as caught:
        list(scan("\nselect\n" + opening + rest))
    error = caught.value
    assert (error.line, error.token) == (4, None)
    assert str(error) == f"syntax error at the end: {opening} of line 3 is not closed"


def test_a_long_tag_is_shown_by_its_beginning() -> None:
    with pytest.raises(ParseError) as caught:
        list(scan("f($" + "a" * 5000 + "$"))
    assert len(str(caught.value)) < 100


def test_an_open_comment_between_statements_is_refused() -> None:
    """PL/Proxy drops the rest of the body without a word."""
    found = scan("all;\n/* any;\n")
    assert [next(found).kind, next(found).text] == [Kind.ALL, ";"]
    with pytest.raises(ParseError, match=r"/\* of line 2 is not closed") as caught:
        next(found)
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("a b", "a b"),
        ("a  b   ", "a /**/b /**//**/"),
        ("'a  b' $$  $$ \"  \"", "'a  b' $$  $$ \"  \""),
        ("t  .  b", "t  .  b"),
        (" \0.b\0  c", "/**/.b/**//**/c"),
        ("a  \0.\0 E'\\'  '", "a/**//**/./**/E'\\'  '"),
    ],
)
def test_unfolded_text_folds_to_the_same(sql: str, text: str) -> None:
    assert unfold(sql) == text
    assert "".join(piece for _, piece in in_sql(text)) == sql.replace("\0", "")


# Each of these would take hours if a pattern tried its ways in turn.
SIZE = 200_000


@pytest.mark.parametrize(
    "text",
    [
        "f('" + "''" * (SIZE // 2),
        "'" + "''" * (SIZE // 2),
        "f(E'" + "''" * (SIZE // 2),
        "f(E'" + "\\'" * (SIZE // 2),
        'f("' + '""' * (SIZE // 2),
        "/*" + "*" * SIZE,
        "f(/*" + "*" * SIZE,
        "f(" + "/**/" * (SIZE // 20),
        "f($" + "a" * SIZE,
        "f($" + "a" * (SIZE // 2) + "$" + "$aaaaaaaaa" * (SIZE // 20),
        "a" + " . a" * (SIZE // 4) + " .",
        "a" + " . a" * (SIZE // 4) + "(",
        "f(" + ("a" + " " * 99) * (SIZE // 100),
        ("a" + " " * 99) * (SIZE // 100),
        ("a" + " " * 49 + "." + " " * 49) * (SIZE // 100) + "1",
        "a" + " " * SIZE + "." + " " * SIZE + ".",
        "f(" + "1." * SIZE,
        "1" * SIZE,
        "select" * (SIZE // 6),
        "--" + "\n--" * (SIZE // 30),
    ],
    ids=lambda text: text[:12].replace("\n", "|"),
)
def test_long_texts_are_read_once(text: str) -> None:
    read = 0
    with contextlib.suppress(ParseError):
        for token in scan(text):
            read += len(token.text)
    assert read <= len(text)
