"""The tables hold what they say: cases in README.md, SQLSTATEs that are used.

This file comes last in its folder, so that all cases have run.
"""

from __future__ import annotations

import pytest

from tests.parity import sqlstates
from tests.parity.cases import COUNT, collect, headings, table, written_table


def test_every_case_once() -> None:
    assert sorted(collect()) == list(range(1, COUNT + 1))


def test_readme_is_up_to_date() -> None:
    # python -m tests.parity.cases writes it.
    assert written_table() == table(collect())


def test_differences_are_explained() -> None:
    for found in collect().values():
        assert found.differs is None or found.differs in headings()


def test_every_sqlstate_is_used(request: pytest.FixtureRequest) -> None:
    run = {
        mark.args[0]
        for item in request.session.items
        for mark in item.iter_markers("case")
    }
    files = {item.path.name for item in request.session.items}
    if len(run) < COUNT or "test_failures.py" not in files:
        pytest.skip("only part of the cases were chosen")
    unused = {change.name for change in sqlstates.CHANGES} - sqlstates.USED
    assert not unused
