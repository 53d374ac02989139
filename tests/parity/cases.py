"""The numbered cases: what each is about, and whether both sides agree.

``@case(25, "…")`` marks a test as the one of number 25 in PL/Proxy's regression suite,
counted in the order of its files. ``differs`` names the entry of the list of
differences that says why our side does something else; the test then shows what.
``python -m tests.parity.cases`` writes the table in README.md.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
README = HERE / "README.md"
DIFFERENCES = HERE.parents[1] / "docs" / "differences.md"
COUNT = 154

_BEGIN, _END = "<!-- cases -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Case:
    """``differs``: heading of the difference, None where both sides agree."""

    number: int
    title: str
    differs: str | None


CASES: dict[int, Case] = {}


def case(
    number: int, title: str, *, differs: str | None = None
) -> pytest.MarkDecorator:
    """Mark the one test of a case."""
    if number in CASES:
        raise ValueError(f"case {number} has two tests")
    CASES[number] = Case(number, title, differs)
    return pytest.mark.case(number)


def collect() -> dict[int, Case]:
    """Return all cases by number, of all modules here."""
    for path in sorted(HERE.glob("test_*.py")):
        importlib.import_module(f"tests.parity.{path.stem}")
    return CASES


def table(cases: dict[int, Case]) -> str:
    """Return the table of README.md."""
    lines = ["| case | about | verdict |", "|---|---|---|"]
    for number in sorted(cases):
        found = cases[number]
        verdict = f"different: {found.differs}" if found.differs else "same"
        lines.append(f"| {number} | {found.title} | {verdict} |")
    return "\n".join(lines) + "\n"


def written_table() -> str:
    """Return the table that stands in README.md."""
    text = README.read_text(encoding="utf-8")
    return text.partition(_BEGIN)[2].partition(_END)[0]


def headings() -> set[str]:
    """Return the headings of the differences."""
    text = DIFFERENCES.read_text(encoding="utf-8")
    return set(re.findall(r"^### (.*)$", text, re.MULTILINE))


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    README.write_text(
        before + _BEGIN + table(collect()) + _END + after, encoding="utf-8"
    )


if __name__ == "__main__":
    # Not as __main__, whose CASES would be another dictionary.
    importlib.import_module("tests.parity.cases").main()
