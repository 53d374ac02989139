"""Hypothesis strategies, all in one place."""

from __future__ import annotations

from hypothesis import strategies as st

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

# The arguments of the function whose body is generated: their names, the arrays.
BODY_NAMES = ["a", "Key", None, "tags", "t.c", "target"]
BODY_ARRAYS = [False, False, True, True, False, False]

_LINE = st.just(0)
_indexes = st.integers(0, len(BODY_NAMES) - 1)
_names = st.sampled_from(["x", "nobody", "s.f", "x . y", "é", "_1", "x\n.\ty", "E"])
_values = st.builds(ArgumentValue, _indexes, _LINE)
_storable = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_literals = st.builds(Literal, st.text(_storable, max_size=9), _LINE)

_pieces = _indexes.map(Reference) | st.sampled_from(
    [
        *("x", "y.z", "y . z", "all", "1", "1.5.", "é", "e5"),
        *("''", "'it''s ; $1  a'", "E'\\'; $1'", '"a  ""; b"', '"a\\"'),
        *("$$ ; ' $a$  $$", "$a$ $$ a ; $a$", "B'101'"),
    ]
)
# Not "-", "/" and "*": side by side they would be comments.
# A dot behind a space begins a part, and so does a space behind a dot.
_gaps = st.sampled_from(
    [
        *(
            (" ",),
            ("  ",),
            ("   ",),
            (", ",),
            ("(",),
            (") ",),
            ("||",),
            ("::",),
            (")[",),
        ),
        *((" ", "."), (" ", ".", " "), ("  ", ".", "  ")),
    ]
)


@st.composite
def _expressions(draw: st.DrawFn, heads: list[str]) -> Expression:
    """Draw SQL text in which a gap stands before each piece."""
    parts: list[Part] = [draw(st.sampled_from(heads))]
    for gap, piece in draw(st.lists(st.tuples(_gaps, _pieces), min_size=1, max_size=6)):
        _join(parts, gap[0])
        parts.extend(gap[1:])
        _join(parts, piece)
    return Expression(tuple(parts), 0)


def _join(parts: list[Part], part: Part) -> None:
    last = parts[-1]
    if isinstance(part, str) and isinstance(last, str):
        parts[-1] = last + part
    else:
        parts.append(part)


_calls = _expressions(["f(", "hashtext  (", "s . f\n(", "any(", "a(", "select . x("])
_selects = _expressions(["select", "SELECT", "SeLect"])
_bare = st.builds(Expression, st.tuples(_names), _LINE)
_run_on = st.one_of(
    st.just(RunAll()),
    st.just(RunAny()),
    st.builds(RunNumber, st.integers(0, 2**31 - 1), _LINE),
    _values,
    _bare,
    _calls,
)


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """Draw what a body over `BODY_NAMES` can say; all lines are 0."""
    arrays = [index for index, array in enumerate(BODY_ARRAYS) if array]
    split_all = draw(st.booleans())
    chosen = st.lists(st.sampled_from(arrays), min_size=1, unique=True).map(tuple)
    is_connect = draw(st.booleans())
    target, select = draw(
        st.tuples(st.none(), st.none() | _selects) | st.tuples(_names, st.none())
    )
    return Body(
        connect=draw(_literals | _values | _bare | _calls) if is_connect else None,
        cluster=None if is_connect else draw(_literals | _calls),
        run_on=RunAny() if is_connect else draw(_run_on),
        split=tuple(arrays) if split_all else draw(st.none() | chosen),
        split_all=split_all,
        target=target,
        select=select,
    )


_fragments = st.sampled_from(
    [
        *("CLUSTER", "connect", "RUN ON", "run", "On", "ALL", "any", "SPLIT", "target"),
        *("select", "SELECT (", "'c'", "'a''b'", "'", '"', '"q"', "E'\\''", "E'", "\\"),
        *("a", "KEY", "tags", "t.c", "t . c", "x", "é", "\u212a", "\xa0", "e5", "f("),
        *(
            "hashtext (",
            "(",
            ")",
            "$1",
            "$3",
            "$0",
            "$99",
            "$",
            "$$",
            "$a$",
            "7",
            "1e5",
        ),
        *(
            "4294967296",
            ";",
            ";",
            ";",
            ",",
            ".",
            "--",
            "-- c ;\n",
            "/*",
            "*/",
            "/* ; */",
        ),
        *("/", "*", "-", "|", "`", " ", "  ", "\n", "\r\n", "\t", "\f", "\0", "\ud800"),
        *(
            "cluster 'c';",
            "connect $2;",
            "run on all;",
            "run on f(a) + 1;",
            "split all;",
        ),
        *("split tags;", "split $3;", "target s.f;", "select 1, a;", "cluster f(a) ;"),
    ]
)
body_texts = st.lists(
    _fragments | st.text(st.characters(), max_size=5), max_size=12
).map("".join) | st.lists(_fragments, max_size=12).map(" ".join)
