"""The code blocks of a Markdown file, in order, each with its line in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

# A block that is a file begins with its name.
FILE = re.compile(r"# ((?:\w+/)?\w+\.\w+)\n")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    """``text`` of a fenced block in ``language``; ``line`` is its first, from 1."""

    language: str
    text: str
    line: int


def read_snippets(path: Path) -> list[Snippet]:
    """Return all fenced blocks of a Markdown file."""
    markdown = path.read_text(encoding="utf-8")
    return [
        Snippet(block[1], block[2], markdown.count("\n", 0, block.start(2)) + 1)
        for block in _BLOCK.finditer(markdown)
    ]


def python_module(path: Path) -> str:
    """Return a file's python blocks as one module, each line at its own number.

    Without those that begin with a file's name: they are modules of their own.
    """
    lines: list[str] = []
    for snippet in read_snippets(path):
        if snippet.language == "python" and not FILE.match(snippet.text):
            lines += [""] * (snippet.line - 1 - len(lines))
            lines += snippet.text.splitlines()
    return "\n".join(lines) + "\n"
