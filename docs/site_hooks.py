"""What mkdocs needs to be told of files outside docs/, and a look at what it made.

Documents link to the README, to SQL files and examples as GitHub sees them: by their
place in the repository. On the site those files stand under project/, Markdown as
pages, the others as pages with one code block; links to them are rewritten. So mkdocs
checks these links as it checks all others. It does not look at links that are HTML, nor
at those of docstrings: at the end all pages are read once more as a browser does.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PLACE = "project"
OUTSIDE = [
    "*.md",
    "sql/*.sql",
    "examples/*.md",
    "examples/*.py",
    "examples/*.sql",
    "tests/**/*.md",
]
LANGUAGES = {".py": "python", ".sql": "sql"}

log = logging.getLogger("mkdocs.hooks.site")

_LINK = re.compile(r"(?<=\]\()(?!\w+:|/|#)([^)#\s]+)(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Add the files outside docs/ that documents may link to."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            text = path.read_text(encoding="utf-8")
            if path.suffix in LANGUAGES:
                text = f"# {name}\n\n````{LANGUAGES[path.suffix]}\n{text}````\n"
            files.append(File.generated(config, _page(name), content=text))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Let links lead to where files of the repository stand on the site."""
    here = page.file.src_uri
    origin = _origin(here)

    def rewrite(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), match[1]))
        if (ROOT / target / "README.md").exists():
            target += "/README.md"
        if not (ROOT / target).exists():
            return match[1]
        return posixpath.relpath(_page(target), posixpath.dirname(here) or ".")

    return _LINK.sub(rewrite, markdown)


def _page(name: str) -> str:
    """Return where a file of the repository stands on the site."""
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    return f"{PLACE}/{name}" + ("" if name.endswith(".md") else ".md")


def _origin(page: str) -> str:
    """Return which file of the repository stands there on the site."""
    if not page.startswith(f"{PLACE}/"):
        return f"docs/{page}"
    name = page.removeprefix(f"{PLACE}/")
    stem = name.removesuffix(".md")
    return name if (ROOT / name).exists() else stem


class _Reader(HTMLParser):
    """The anchors of a page, and where its links and pictures lead."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors = {""}
        self.links: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            elif name in ("href", "src"):
                self.links.add(unquote(value or ""))


def on_post_build(config: Any) -> None:
    """Warn of each link in the HTML that leads nowhere; --strict makes it an error."""
    site = Path(config.site_dir).resolve()
    # The server that shows the 404 page says where the site begins.
    pages = {path: _Reader(path) for path in site.rglob("*.html") if path.stem != "404"}
    for path, page in pages.items():
        for link in _dead(path, page, pages):
            log.warning("%s: %r leads nowhere", path.relative_to(site), link)


def _dead(path: Path, page: _Reader, pages: dict[Path, _Reader]) -> Iterator[str]:
    for link in sorted(page.links):
        place, _, anchor = link.partition("#")
        if re.match(r"\w+:|//", place):
            continue
        target = (path.parent / place.partition("?")[0]).resolve() if place else path
        known = pages[target].anchors if target in pages else {""}
        if not target.exists() or anchor not in known:
            yield link
