"""The pictures in docs/captures show what the commands print.

After a change of their output, ``python docs/captures.py`` makes them anew.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.fix_server import Pg
from tests.snippets import ROOT

CAPTURES = ROOT / "docs" / "captures"


def test_the_pictures_are_current(pg: Pg, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "docs" / "captures.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    assert pictures(tmp_path) == pictures(CAPTURES)


def pictures(directory: Path) -> dict[str, str]:
    """Return the pictures by name, whatever version the server has."""
    version = re.compile(r"(?<=&#160;)\d\d\.\d+(?=&#160;)")
    return {
        path.name: version.sub("N", path.read_text("utf-8"))
        for path in directory.iterdir()
    }
