"""Body → text → body, and what holds for any text at all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from plproxy_py.errors import ParseError
from plproxy_py.language.body import Body
from plproxy_py.language.parser import Keyword, parse_body, parse_statement
from tests.strategies import BODY_ARRAYS, BODY_NAMES, bodies, body_texts

KEYWORDS: list[Keyword] = ["CONNECT", "CLUSTER", "RUN ON", "SPLIT", "TARGET", "SELECT"]


def parse(text: str) -> Body | ParseError:
    """Return the body or the error; anything else that is raised fails the test."""
    try:
        return parse_body(text, BODY_NAMES, BODY_ARRAYS)
    except ParseError as error:
        return error


@given(bodies())
def test_a_body_is_what_its_text_says(body: Body) -> None:
    assert parse(str(body)) == body


@settings(max_examples=50)
@given(bodies())
def test_one_statement_says_what_it_says_in_a_body(body: Body) -> None:
    def statement(keyword: Keyword, value: object) -> object:
        return parse_statement(keyword, str(value), BODY_NAMES, BODY_ARRAYS)

    assert statement("RUN ON", body.run_on) == body.run_on
    if body.cluster is not None:
        assert statement("CLUSTER", body.cluster) == body.cluster
    if body.connect is not None:
        assert statement("CONNECT", body.connect) == body.connect
    if body.target is not None:
        assert statement("TARGET", body.target) == body.target
    if body.split is not None:
        listed = ", ".join(f"${index + 1}" for index in body.split)
        assert statement("SPLIT", listed) == body.split


@given(body_texts)
def test_any_text_is_a_body_or_a_parse_error(text: str) -> None:
    body = parse(text)
    if isinstance(body, ParseError):
        assert body.line is None or 1 <= body.line <= 1 + text.count("\n")
        assert body.token is None or body.token in text
    else:
        assert parse(str(body)) == body
        assert str(parse(str(body))) == str(body)


@given(body_texts, st.integers(1, 3))
def test_empty_lines_in_front_are_counted_and_nothing_else(
    text: str, more: int
) -> None:
    before, after = parse(text), parse("\n" * more + text)
    if isinstance(before, ParseError):
        assert isinstance(after, ParseError)
        if before.line is not None:
            assert after.line == before.line + more
    else:
        assert after == before


@given(body_texts, st.sampled_from(KEYWORDS))
def test_any_text_is_a_statement_or_a_parse_error(text: str, keyword: Keyword) -> None:
    try:
        value = parse_statement(keyword, text, BODY_NAMES, BODY_ARRAYS)
    except ParseError:
        return
    if isinstance(value, tuple):
        assert all(BODY_ARRAYS[index] for index in value)
    elif keyword != "SELECT":
        assert parse_statement(keyword, str(value), BODY_NAMES, BODY_ARRAYS) == value
