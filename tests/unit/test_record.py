"""Records are as dataclasses are: compared, hashed and shown by their fields."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import pytest

from plproxy_py._record import record


@record
class Place:
    host: str
    port: int = 5432
    seen: int = field(default=0, compare=False, repr=False)


@record
class Elsewhere:
    host: str
    port: int = 5432
    seen: int = 0


@record
class Secret:
    text: str

    def __repr__(self) -> str:
        return "Secret(…)"


def test_fields_decide() -> None:
    assert Place("db0", seen=1) == Place("db0", seen=2)
    assert hash(Place("db0", seen=1)) == hash(Place("db0", seen=2))
    assert Place("db0") != Place("db1")
    assert repr(Place("db0", seen=1)) == "Place(host='db0', port=5432)"


@pytest.mark.parametrize("other", [Elsewhere("db0"), ("db0", 5432, 0), None])
def test_of_another_class(other: Any) -> None:
    assert Place("db0") != other


def test_methods_of_its_own_stay() -> None:
    assert repr(Secret("x")) == "Secret(…)"
    assert Secret("x") == Secret("x")


def test_slots() -> None:
    with pytest.raises(AttributeError):
        Place("db0").elsewhere = 1  # type: ignore[attr-defined]
