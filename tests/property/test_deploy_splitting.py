"""Statements of files: what was joined comes apart again, and nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plproxy_py.ops.deploy.splitting import Statement, split

_pieces = st.sampled_from(
    [
        *("select", "a", '"a;"', "1.5", "(", "$$ ; ' $$", "$t$ ; $$ $t$", "="),
        *("';'", "'it''s;'", "E'\\';'", "'a'\n';'", "case", "end", "begin", "atomic"),
        *("/* ; ' /* */ */", "-- ; '\n", "create", "function", ",", ".", "::", "é"),
    ]
)  # fmt: skip
_gaps = st.sampled_from([" ", "\n", "\t ", " /* ; */ ", " -- ;\n", "\r\n"])


@st.composite
def _statements(draw: st.DrawFn) -> str:
    """Return a statement without a semicolon of its own, parentheses closed."""
    pieces = draw(st.lists(_pieces, min_size=1, max_size=9))
    text = "x" + "".join(draw(_gaps) + piece for piece in pieces)
    return text + ")" * pieces.count("(")


_files = st.lists(st.tuples(_statements(), st.sampled_from([";", ";\n", " ; ;", ";;"])))


def _found(text: str) -> list[Statement]:
    return list(split(text))


@given(_files)
def test_joined_statements_come_apart(parts: list[tuple[str, str]]) -> None:
    text = "".join(statement + end for statement, end in parts)
    tokens = [[token.text for token in statement.tokens] for statement in _found(text)]
    alone = [
        [token.text for token in statement.tokens]
        for part, _ in parts
        for statement in _found(part)
    ]
    assert tokens == alone


@given(_files)
def test_nothing_is_lost(parts: list[tuple[str, str]]) -> None:
    text = "".join(statement + end for statement, end in parts)
    position = 0
    for statement in _found(text):
        start = statement.tokens[0].start
        assert text[start : start + len(statement.text)] == statement.text
        assert statement.line == text.count("\n", 0, start) + 1
        assert _found(text[position:start]) == []
        position = start + len(statement.text)
    assert _found(text[position:]) == []


# Across a line break two strings would become one.
@given(_statements(), st.sampled_from([" ", "\t  ", " /* ; */ "]))
def test_a_digest_is_that_of_any_spacing(text: str, gap: str) -> None:
    (statement,) = _found(text)
    tokens = iter(statement.tokens)
    spaced = next(tokens).text
    end = statement.tokens[0].end
    for token in tokens:
        spaced += (gap if token.start > end else "") + token.text
        end = token.end
    assert [other.digest for other in _found(gap + spaced + ";")] == [statement.digest]
