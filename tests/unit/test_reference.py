"""The reference is complete: public names, errors, and SQLSTATEs raised by the code."""

from __future__ import annotations

import ast
import re

import psycopg
import pytest

import plproxy_py
from plproxy_py import errors
from tests.snippets import ROOT

API = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
ERRORS = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "plproxy_py"

CLASSES = [
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.Error)
]


def rows(*titles: str) -> list[list[str]]:
    """Return the cells of the tables whose first columns have these titles."""
    head = re.escape(f"| {' | '.join(titles)} |")
    tables = re.findall(rf"^{head}.*\n\|[-|]+\n((?:\|.*\n)+)", ERRORS, re.M)
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for table in tables
        for line in table.splitlines()
    ]


def sqlstates() -> dict[str, str]:
    """Return each SQLSTATE that stands in the package, with one file that has it.

    A fake server's own are no errors of the library.
    """
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if PACKAGE / "testing" in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value = node.value if isinstance(node, ast.Constant) else None
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if isinstance(text, str) and is_sqlstate(text):
                found[text] = str(path.relative_to(ROOT))
    return found


def is_sqlstate(text: str) -> bool:
    if not re.fullmatch("[0-9A-Z]{5}", text):
        return False
    try:
        psycopg.errors.lookup(text)
    except KeyError:
        return False
    return True


def test_each_public_name_is_in_the_reference() -> None:
    listed = re.findall(r"^::: plproxy_py\.(\w+)$", API, re.M)
    assert sorted(listed) == sorted(plproxy_py.__all__)


@pytest.mark.parametrize("name", CLASSES)
def test_each_error_has_a_cause_and_a_remedy(name: str) -> None:
    if name in ("Error", "DeclarationError", "PartitionError"):
        assert f"`{name}`" in ERRORS  # never raised as such
        return
    own = [cells for cells in rows("error", "cause") if cells[0] == f"`{name}`"]
    ((_, cause, remedy),) = own
    assert cause
    assert remedy


def test_the_table_of_errors_has_their_sqlstates() -> None:
    listed: set[str] = set()
    for names, states, _ in rows("error", "SQLSTATE"):
        classes = re.findall(r"`(\w+)`", names)
        known = [getattr(plproxy_py, name).default_sqlstate for name in classes]
        told = [state for state in states.split(", ") if state != "the server's"]
        assert list(dict.fromkeys(filter(None, known))) == told, names
        listed.update(classes)
    assert listed == set(CLASSES) - {"Error", "DeclarationError"}


@pytest.mark.parametrize(("sqlstate", "path"), sqlstates().items())
def test_each_sqlstate_is_explained(sqlstate: str, path: str) -> None:
    own = [cells for cells in rows("SQLSTATE") if sqlstate in cells[0].split(", ")]
    assert own, f"{sqlstate} of {path} does not stand in docs/reference/errors.md"
    assert all(cause and remedy for _, _, cause, remedy in own)


def test_each_sqlstate_of_a_class_names_the_class() -> None:
    for name in CLASSES:
        state = getattr(errors, name).default_sqlstate
        if state is not None:
            own = [cells[1] for cells in rows("SQLSTATE") if cells[0] == state]
            assert any(f"`{name}`" in cell for cell in own), name
