"""Tables of figures in the documents agree with what they are taken from."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

from tests.snippets import ROOT

BENCHMARKS = ROOT / "tests" / "benchmarks" / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
SUPPORTED = ROOT / "docs" / "supported.md"


def rows(path: Path, mark: str) -> list[list[str]]:
    """Return the cells of a page's table rows in which a text stands."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and mark in line
    ]


def ratios(path: Path) -> dict[str, list[str]]:
    """Return the rows that begin with a ratio's name, by that name."""
    found = rows(path, "| `")
    return {
        cells[0].strip("`"): cells
        for cells in found
        if re.fullmatch(r"`[a-z]\w+(\.\w+)?`", cells[0]) and len(cells) > 3
    }


def test_performance_has_each_ratio_and_its_goal() -> None:
    theirs, ours = ratios(BENCHMARKS), ratios(PERFORMANCE)
    assert list(ours) == list(theirs)

    def bound(goal: str) -> tuple[str, float] | None:
        sign, _, number = goal.partition(" ")
        return (sign, float(number)) if number else None

    for name, (_, _, goal, measured, verdict) in ours.items():
        assert bound(goal) == bound(theirs[name][-1]), name
        match bound(goal):
            case None:
                assert verdict == ""
            case "≤", most:
                assert (float(measured) <= most) == (verdict == "met"), name
            case _, least:
                assert (float(measured) >= least) == (verdict == "met"), name


def test_performance_counts_what_was_missed() -> None:
    verdicts = [cells[-1] for cells in ratios(PERFORMANCE).values() if cells[-1]]
    said = f"**{verdicts.count('missed')} of {len(verdicts)} goals were missed**"
    assert said in PERFORMANCE.read_text(encoding="utf-8")


def test_supported_needs_what_setup_needs() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (python,) = rows(SUPPORTED, "| Python |")
    assert setup["options"]["python_requires"] == f">={python[1]}"
    (psycopg,) = rows(SUPPORTED, "| psycopg |")
    least, _, below = psycopg[1].partition(", below ")
    assert f"psycopg>={least},<{below}\n" in setup["options"]["install_requires"]
