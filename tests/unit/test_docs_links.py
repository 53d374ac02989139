"""Links in all Markdown files of the repository lead to files and headings there are.

The site's own build looks at its pages; these are links as GitHub and editors follow
them. Links to other hosts are not followed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.snippets import ROOT

PLACES = ["*.md", "docs/**/*.md", "examples/**/*.md", "tests/**/*.md"]
FILES = sorted(path for place in PLACES for path in ROOT.glob(place))


@functools.cache
def tokens(path: Path) -> list[Token]:
    parser = MarkdownIt("commonmark").enable("table")
    return parser.parse(path.read_text(encoding="utf-8"))


def links(path: Path) -> Iterator[str]:
    """Yield where the links and images of a file lead."""
    for block in tokens(path):
        for token in (block, *(block.children or ())):
            for name in ("href", "src"):
                if (target := token.attrGet(name)) is not None:
                    yield unquote(str(target))
            if token.type.startswith("html"):
                yield from re.findall(r'(?:href|src)="([^"]+)"', token.content)


@functools.cache
def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a file."""
    found: set[str] = set()
    for opening, inline in zip(tokens(path), tokens(path)[1:], strict=False):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            again = sum(
                re.fullmatch(rf"{slug}(-\d+)?", name) is not None for name in found
            )
            found.add(f"{slug}-{again}" if again else slug)
    return found


def faults(path: Path) -> Iterator[str]:
    """Yield the links of a file that lead nowhere."""
    for link in links(path):
        if re.match(r"\w+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = path.parent / place if place else path
        known = anchors(target) if target.suffix == ".md" and target.exists() else set()
        if not target.exists() or (anchor and anchor not in known):
            yield link


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(path: Path) -> None:
    assert list(faults(path)) == []


def test_what_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A `b`, *c* d\n\n## Same\n\n## Same\n")
    text = """# Own

[a](there.md) [b](there.md#a-b-c-d) ![c](no.svg) <img src="neither.svg">
[d](there.md#same-1) [e](there.md#same-2) [f](#own) [g](#not) `[h](no.md)`
[i](https://example.org/no) [j][k]

```
[l](no.md)
```

[k]: gone.md
"""
    (tmp_path / "here.md").write_text(text)
    wrong = ["no.svg", "neither.svg", "there.md#same-2", "#not", "gone.md"]
    assert list(faults(tmp_path / "here.md")) == wrong
