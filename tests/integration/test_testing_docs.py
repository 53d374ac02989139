"""docs/testing.md is a test file, and all of its tests pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from plproxy_py.testing import FakeCluster
from tests.snippets import ROOT, python_module

DOCUMENT = ROOT / "docs" / "testing.md"


def test_the_documents_tests_pass(tmp_path: Path) -> None:
    text = python_module(DOCUMENT)
    (tmp_path / "test_document.py").write_text(text, encoding="utf-8")
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, "test_document.py"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    count = len(re.findall(r"^def test_", text, re.MULTILINE))
    assert f"{count} passed" in done.stdout, done.stdout + done.stderr
    assert count == 9


def test_the_table_has_every_script() -> None:
    listed = set(re.findall(r"`fake\.(\w+)\(", DOCUMENT.read_text(encoding="utf-8")))
    public = {name for name in vars(FakeCluster) if not name.startswith("_")}
    assert public - {"calls_of"} <= listed
    assert listed <= public
