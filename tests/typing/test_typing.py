"""A user's project under both type checkers: right types pass, wrong uses do not.

``project/`` is checked as its author would check it, with plproxy_py installed in the
project's environment, together with the snippets of the documentation. A line that
ends in ``# expect-error`` must be refused by both checkers, any other by neither.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.snippets import ROOT, python_module

MARK = "# expect-error"
DOCUMENTS = {
    "readme.py": "README.md",
    "quickstart.py": "docs/quickstart.md",
    "answers.py": "docs/answers.md",
    "retries.py": "docs/retries.md",
    "observability.py": "docs/observability.md",
    "from_plproxy.py": "docs/from-plproxy.md",
}

Lines = set[tuple[str, int]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, with the documents' snippets as modules of it."""
    # "test" in a path would make pyright look at it with other eyes.
    project = tmp_path_factory.mktemp("app") / "project"
    shutil.copytree(Path(__file__).parent / "project", project)
    for module, document in DOCUMENTS.items():
        text = python_module(ROOT / document)
        (project / module).write_text(text, encoding="utf-8")
    return project


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment in which plproxy_py is installed.

    An editable install won't do: its import hook is nothing that checkers run.
    """
    place = tmp_path_factory.mktemp("env") / "venv"
    venv.EnvBuilder(symlinks=True).create(place)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "plproxy_py").symlink_to(ROOT / "plproxy_py")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin" / "python"


def check(checker: str, *arguments: str, cwd: Path) -> str:
    """Run a checker and return its output; without it skip, on CI fail."""
    if importlib.util.find_spec(checker) is None:
        reason = f"{checker} is not installed: pip install -e '.[test]'"
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-m", checker, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )
    # 1 is for errors in the code; anything above, for the checker's own.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def marked(project: Path) -> Lines:
    return {
        (path.name, number)
        for path in project.glob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.endswith(MARK)
    }


def compare(project: Path, messages: list[tuple[str, int, str]]) -> None:
    """Hold the found errors to the marks."""
    expected = marked(project)
    assert expected
    found = {(file, line) for file, line, _ in messages}
    unmarked = [
        f"{DOCUMENTS.get(file, file)}:{line}: {text}"
        for file, line, text in messages
        if (file, line) not in expected
    ]
    assert not unmarked, "errors that nothing announces:\n" + "\n".join(unmarked)
    missing = [f"{file}:{line}" for file, line in sorted(expected - found)]
    assert not missing, "should be errors: " + ", ".join(missing)


def test_mypy(project: Path, python: Path, request: pytest.FixtureRequest) -> None:
    cache = getattr(request.config, "cache", None)
    output = check(
        "mypy",
        f"--cache-dir={cache.mkdir('mypy') if cache else os.devnull}",
        f"--python-executable={python}",
        "--output=json",
        ".",
        cwd=project,
    )
    found: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    compare(
        project,
        [
            (message["file"], message["line"], message["message"])
            for message in found
            if message["severity"] == "error"
        ],
    )


def test_basedpyright(project: Path, python: Path) -> None:
    output = check(
        "basedpyright", "--outputjson", f"--pythonpath={python}", cwd=project
    )
    report: dict[str, Any] = json.loads(output)
    assert report["summary"]["filesAnalyzed"] == len(list(project.glob("*.py")))
    compare(
        project,
        [
            (
                Path(message["file"]).name,
                message["range"]["start"]["line"] + 1,
                message["message"],
            )
            for message in report["generalDiagnostics"]
            if message["severity"] != "information"
        ],
    )
