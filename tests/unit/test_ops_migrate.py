"""What a migration report is made of, without a database."""

from __future__ import annotations

import ast
import re

import pytest

from plproxy_py._catalog import Catalog
from plproxy_py.config import parse_connstr
from plproxy_py.ops.migration.callers import (
    Call,
    called_by,
    calls_in,
    without_comments,
)
from plproxy_py.ops.migration.catalog import Found, Text
from plproxy_py.ops.migration.clusters import compared, server_names
from plproxy_py.ops.migration.differences import Difference
from plproxy_py.ops.migration.pasting import text_to_paste
from plproxy_py.sources.functions import Reflected
from tests.snippets import ROOT

DIFFERENCES = ROOT / "docs" / "differences.md"


def anchors(markdown: str) -> list[str]:
    """Return the headings' anchors, as GitHub and the site make them."""
    headings = re.findall(r"^#{2,3} (.*)$", markdown, re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return [word.replace(" ", "-") for word in words]


def test_each_difference_is_a_heading() -> None:
    found = anchors(DIFFERENCES.read_text(encoding="utf-8"))
    assert len(found) == len(set(found))
    assert {str(difference) for difference in Difference} <= set(found)


def test_differences_begin_with_what_a_client_can_not_do() -> None:
    assert anchors(DIFFERENCES.read_text(encoding="utf-8"))[:2] == [
        "what-a-client-cant-do",
        "in-the-application",
    ]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("select f(x)", {Call(None, "f")}),
        ("select F (x)", {Call(None, "f")}),
        ("perform s.f(x)", {Call("s", "f")}),
        ('select "S" . "F n"(x)', {Call("S", "F n")}),
        ('"a""b"(1)', {Call(None, 'a"b')}),
        ("execute 'select f($1)'", {Call(None, "f")}),
        ("select öf(x)", {Call(None, "öf")}),
        ("select f, g from f", set()),
        ("select 1f(x)", set()),
        ("$1(x)", set()),
    ],
)
def test_calls_are_words_with_a_parenthesis(sql: str, found: set[Call]) -> None:
    assert calls_in(sql) == found


@pytest.mark.parametrize(
    ("sql", "left"),
    [
        ("a -- f(x)\nb", "a  \nb"),
        ("a /* f(x)\n */ b", "a   b"),
        ("'--' || f(x)", "'--' || f(x)"),
        ("'it''s -- ' -- f(x)", "'it''s -- '  "),
        ('"/*" f(x) "*/"', '"/*" f(x) "*/"'),
    ],
)
def test_comments_are_no_calls(sql: str, left: str) -> None:
    assert without_comments(sql) == left


def reflected(text: str) -> tuple[Found, Catalog]:
    catalog = Catalog({})
    (function,) = catalog.read(text)
    found = Reflected(function.signature, "")
    signature = function.signature
    return (
        Found(
            *(1, signature.schema, signature.name, found, False, False, "o"),
            *((), (), (), text),
        ),
        catalog,
    )


def test_a_qualified_name_means_one_schema() -> None:
    found, _ = reflected(
        "CREATE FUNCTION app.f() RETURNS int LANGUAGE plproxy AS $$ CLUSTER 'c'; $$"
    )
    for source, is_call in [
        ("select f()", True),
        ("select app.f()", True),
        ("select other.f()", False),
        ("-- f()", False),
    ]:
        text = Text("function g()", "plpgsql", source, ())
        assert bool(called_by(text, [found])) is is_call
    # Two dashes are no comment everywhere.
    other = Text("function g()", "plpython3u", "x = 1 --f()", ())
    assert called_by(other, [found]) == [found]


def test_a_declaration_brings_its_imports_and_no_router() -> None:
    text = (
        "CREATE FUNCTION app.f(d date, OUT a numeric, OUT b record) LANGUAGE plproxy "
        "AS $$ CLUSTER 'c'; RUN ON 0; $$"
    ).replace("OUT b record", "OUT b text")
    found, catalog = reflected(text)
    paste = text_to_paste(found, catalog.read(text)[0], is_secret=False)
    tree = ast.parse(paste)
    assert [type(node).__name__ for node in tree.body] == [
        *["ImportFrom"] * 3,
        *("ClassDef", "FunctionDef"),
    ]
    assert "Router" not in paste
    assert "\n\n\n\n" not in paste


def test_what_has_no_decorator_is_defined() -> None:
    """One column of a row type: no Python class stands for it."""
    text = (
        "CREATE FUNCTION app.f() RETURNS app.single LANGUAGE plproxy "
        "AS $$ CLUSTER 'c'; RUN ON 0; $$"
    )
    found, catalog = reflected(text)
    signature = catalog.read(text)[0].signature
    columns = (("a b", signature.returns),)
    function = catalog.compile(
        signature,
        "CLUSTER 'c'; RUN ON 0;",
        columns=columns,  # type: ignore[arg-type]
    )
    paste = text_to_paste(found, function, is_secret=False)
    assert paste == f'router.define("""{text}""")\n'
    assert text_to_paste(found, function, is_secret=True) == ""


@pytest.mark.parametrize(
    ("connstrs", "said"),
    [
        (["dbname=a user=u", "dbname=b user=u"], []),
        (["dbname=a user=u", "user=u dbname=a"], [Difference.EQUAL_PARTITIONS]),
        (["dbname=a user=u", "dbname=a user=u"], []),
        (["dbname=a user=u", "dbname=b"], [Difference.WHOSE_NAME]),
        (
            ["postgresql://h/a", "postgresql://u@h/b"],
            [Difference.CONNECT_STRINGS, Difference.WHOSE_NAME],
        ),
    ],
)
def test_connect_strings_are_compared_with_their_bytes(
    connstrs: list[str], said: list[Difference]
) -> None:
    targets = [parse_connstr(connstr) for connstr in connstrs]
    assert [note.difference for note in compared(connstrs, targets)] == said


def test_servers_with_partitions_are_clusters() -> None:
    servers = {
        "a": [("p0", "x")],
        "b": [("query_timeout", "5"), ("partition_1", "x")],
        "c": [("host", "x"), ("port", "1")],
        "d": [],
    }
    assert server_names(servers) == ["a", "b"]
