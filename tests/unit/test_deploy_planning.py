"""What is new: files held against journals."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from plproxy_py.ops.deploy.files import SqlFile, read_steps
from plproxy_py.ops.deploy.planning import Entry, Plan, plan

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def file(text: str, name: str = "a.sql") -> SqlFile:
    return SqlFile(name, tuple(read_steps(name, text)))


def journal(text: str, name: str = "a.sql", *, is_done: bool = True) -> list[Entry]:
    """Return the journal of a deploy of this text, ids from 1."""
    return [
        Entry(id, name, step.digest, NOW, is_done)
        for id, step in enumerate(plan([file(text, name)], []).news, 1)
    ]


def texts(found: Plan) -> list[str]:
    return [step.statement.text for step in found.steps]


@pytest.mark.parametrize(
    ("old", "new", "runs", "withdrawn"),
    [
        ("", "x; y", ["x", "y"], ()),
        ("x; y", "x; y", [], ()),
        ("x", "x; y", ["y"], ()),
        ("x; y", "z; x; y", ["z"], ()),
        ("x; y", "y; x", [], ()),
        ("x; y", "x; z", ["z"], (2,)),
        ("x; y", "x", [], (2,)),
        ("x", "x; x; x", ["x", "x"], ()),
        ("x; x; x", "x", [], (2, 3)),
        ("x", " /* now */ x ;", [], ()),
    ],
)
def test_new_statements(
    old: str, new: str, runs: list[str], withdrawn: tuple[int, ...]
) -> None:
    found = plan([file(new)], journal(old))
    assert texts(found) == runs
    assert found.withdrawn == withdrawn
    assert found.unsettled == ()


def test_a_file_is_known_by_its_name() -> None:
    entries = journal("x; y", "b.sql")
    found = plan([file("x; y")], entries)
    assert texts(found) == ["x", "y"]
    assert found.withdrawn == ()
    assert texts(plan([file("x"), file("y; z", "b.sql")], entries)) == ["x", "z"]


def test_settings_run_with_what_comes_after_them() -> None:
    text = "set a = 1; x; set b = 2; y; reset all"
    assert texts(plan([file(text)], [])) == ["set a = 1", "x", "set b = 2", "y"]
    found = plan([file(text)], journal("x"))
    assert texts(found) == ["set a = 1", "set b = 2", "y"]
    assert [step.number for step in found.news] == [4]
    assert texts(plan([file(text)], journal("x; y"))) == []


def test_settings_do_not_reach_another_file() -> None:
    files = [file("set a = 1; x"), file("y", "b.sql")]
    assert texts(plan(files, journal("x"))) == ["y"]


def test_what_was_begun_runs_again_and_is_named() -> None:
    begun = journal("x; y", is_done=False)[1:]
    found = plan([file("x; y; z")], [*journal("x"), *begun])
    assert texts(found) == ["y", "z"]
    assert [(step.number, entry.id) for step, entry in found.unsettled] == [(2, 2)]
