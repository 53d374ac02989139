"""Texts of a catalog in Python source, where they can be nothing but texts.

A name, a comment or a piece of SQL may hold quotes, backslashes, line breaks, or
characters that turn the direction of writing: what comes out of here is one literal,
or one comment, whatever goes in.
"""

from __future__ import annotations

import re


def quoted(text: str) -> str:
    """Return a literal on one line, in the quotes that need fewer escapes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + _escaped(text).replace(quote, "\\" + quote) + quote


def block(text: str) -> str:
    """Return a literal in triple quotes, its lines as they are."""
    lines = "\n".join(map(_escaped, text.split("\n")))
    # No three quotes in a row, and none before those that close.
    lines = re.sub(r'"(?=""|\Z)', r'\\"', lines)
    return f'"""{lines}"""'


def comment(text: str) -> str:
    """Return a comment of one line."""
    return f"# {plain(text)}".rstrip()


def plain(text: str) -> str:
    """Return a text on one line, each character that does not print as its escape."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _escaped(text: str) -> str:
    return plain(text.replace("\\", "\\\\"))
