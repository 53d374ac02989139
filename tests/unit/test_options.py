"""Options of a declaration: what they may be."""

from __future__ import annotations

from typing import Any

import pytest

from plproxy_py.options import Options


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"timeout": 0.5},
        {"timeout": 3},
        {"settle": 0},
        {"settle": None},
        {"settle": 2.5},
        {"need": 7},
        {"first": True, "idempotent": True, "partial": True},
        {"retry": None},
        {"retry": 0},
        {"retry": 3},
        {"sensitive": ("ssn",)},
    ],
    ids=str,
)
def test_options(given: dict[str, Any]) -> None:
    options = Options(**given)
    for name, value in given.items():
        assert getattr(options, name) == value


@pytest.mark.parametrize(
    ("given", "kind", "reason"),
    [
        ({"timeout": 0}, ValueError, "timeout is above 0 seconds"),
        ({"timeout": -1}, ValueError, "timeout is above 0 seconds"),
        ({"timeout": float("nan")}, ValueError, "timeout is above 0 seconds"),
        ({"timeout": True}, TypeError, "timeout is a number of seconds, not bool"),
        ({"timeout": "1"}, TypeError, "timeout is a number of seconds, not str"),
        ({"settle": -0.1}, ValueError, "settle is"),
        ({"settle": "1"}, TypeError, "settle is a number of seconds, not str"),
        ({"need": 0}, ValueError, "need is at least 1"),
        ({"need": True}, TypeError, "need is a number, not bool"),
        ({"need": 1.0}, TypeError, "need is a number, not float"),
        ({"need": None}, TypeError, "need is a number, not NoneType"),
        ({"first": 1}, TypeError, "first is True or False"),
        ({"idempotent": "no"}, TypeError, "idempotent is True or False"),
        ({"retry": -1}, ValueError, "retry is at least 0"),
        ({"retry": 1.5}, TypeError, "retry is a number, not float"),
        ({"sensitive": (1,)}, TypeError, "sensitive is a tuple of names"),
        ({"partial": None}, TypeError, "partial is True or False"),
    ],
    ids=str,
)
def test_refused(given: dict[str, Any], kind: type[Exception], reason: str) -> None:
    with pytest.raises(kind, match=f"^{reason}"):
        Options(**given)


def test_a_number_beyond_all_floats_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout is out of range"):
        Options(timeout=10**400)
