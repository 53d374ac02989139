"""docs/reliability.md names tests that are there, and every fault of the matrix."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.fault.test_faults_matrix import CASES
from tests.snippets import ROOT

DOCUMENT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
FAULT = ROOT / "tests" / "fault"
NAMED = re.findall(r"`(?:(test_\w+\.py)::)?(test_\w+)(?:\[([^\]`]+)\])?`", DOCUMENT)


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name", "case"), NAMED, ids="-".join)
def test_the_test_is_there(file: str, name: str, case: str) -> None:
    assert name in functions(FAULT / (file or "test_faults_matrix.py"))
    assert case in {"", *(each.name for each in CASES)}


def test_every_fault_is_in_the_table() -> None:
    assert {case for _, _, case in NAMED if case} == {case.name for case in CASES}


@pytest.mark.parametrize(
    "file", ["test_faults_deadlines", "test_faults_recovery", "test_faults_stops"]
)
def test_every_test_is_in_the_table(file: str) -> None:
    tests = {name for name in functions(FAULT / f"{file}.py") if name[:5] == "test_"}
    named = {name for there, name, _ in NAMED if there == f"{file}.py"}
    assert tests == named


def test_every_fault_has_a_row_that_says_all() -> None:
    table = DOCUMENT.partition("## Each fault")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    for row in rows[1:]:
        _, fault, sees, within, others, test, _ = row.split("|")
        assert fault.strip()
        assert sees.strip()
        assert others.strip()
        assert "`test_" in test
        assert within.strip() or sees.strip() == "nothing"
