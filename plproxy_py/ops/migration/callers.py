"""Which functions a text of SQL calls, as far as its words tell.

No parser: a name with a parenthesis behind it is a call, also inside a string, since
that may be executed. Comments are left out where the language is SQL's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from plproxy_py.ops.migration.catalog import Found, Text

_WORD = r"(?:\"(?:[^\"]|\"\")+\"|[^\W\d][\w$]*)"
_CALL = re.compile(
    rf"(?<![\w\"$.])(?:(?P<schema>{_WORD})\s*\.\s*)?(?P<name>{_WORD})\s*\("
)
# Strings are matched to be kept: two dashes within begin no comment.
_KEPT_OR_COMMENT = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?P<comment>--[^\n]*|/\*.*?\*/)", re.DOTALL
)
_SQL = ("sql", "plpgsql")


@dataclass(frozen=True, slots=True)
class Call:
    """A name with a parenthesis behind it, as SQL reads it. ``schema``: if said."""

    schema: str | None
    name: str


def calls_in(sql: str) -> set[Call]:
    """Return what a text seems to call."""
    return {
        Call(match["schema"] and _folded(match["schema"]), _folded(match["name"]))
        for match in _CALL.finditer(sql)
    }


def without_comments(sql: str) -> str:
    """Return a text of SQL or PL/pgSQL, a blank in place of each comment."""
    return _KEPT_OR_COMMENT.sub(
        lambda match: " " if match["comment"] else match[0], sql
    )


def called_by(text: Text, functions: Iterable[Found]) -> list[Found]:
    """Return the functions that a source calls; of overloads, all."""
    source = text.source
    if text.language in _SQL:
        source = without_comments(source)
    calls = calls_in(source)
    return [
        found
        for found in functions
        if Call(None, found.name) in calls or Call(found.schema, found.name) in calls
    ]


def _folded(word: str) -> str:
    if word.startswith('"'):
        return word[1:-1].replace('""', '"')
    return word.lower()
