"""Properties of what a migration report reads in texts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plproxy_py.ops.migration.callers import Call, calls_in, without_comments
from plproxy_py.pgtypes import quote_identifier

NAMES = st.text(
    st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1
)


@given(NAMES, NAMES)
def test_a_call_is_found_however_it_is_named(schema: str, name: str) -> None:
    qualified = f"{quote_identifier(schema)}.{quote_identifier(name)}"
    assert Call(schema, name) in calls_in(f"select {qualified}(1)")
    assert Call(None, name) in calls_in(f"select {quote_identifier(name)} (1)")


@given(NAMES, NAMES, NAMES)
def test_only_comments_go(before: str, comment: str, after: str) -> None:
    first, last = ("'" + text.replace("'", "''") + "'" for text in (before, after))
    comment = comment.replace("*/", "").rstrip("*")
    assert without_comments(f"{first}/*{comment}*/{last}") == f"{first} {last}"
