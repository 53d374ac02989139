"""Hosts of a connect string, its time limit, and libpq's verbose texts."""

from __future__ import annotations

import pytest

from plproxy_py import _dialling, _libpq
from plproxy_py._dialling import Refused, split_hosts


@pytest.fixture(autouse=True)
def _no_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "HOSTADDR", "PORT", "SERVICE"):
        monkeypatch.delenv(f"PG{name}", raising=False)


@pytest.mark.parametrize(
    ("given", "split"),
    [
        ({}, [{}]),
        ({"host": "a"}, [{"host": "a"}]),
        ({"host": "a,b"}, [{"host": "a"}, {"host": "b"}]),
        (
            {"host": "a,b", "port": "5"},
            [{"host": "a", "port": "5"}, {"host": "b", "port": "5"}],
        ),
        (
            {"host": "a,b", "port": "5,6", "user": "u"},
            [
                {"host": "a", "port": "5", "user": "u"},
                {"host": "b", "port": "6", "user": "u"},
            ],
        ),
        (
            {"host": "a,b", "hostaddr": "1.1.1.1,"},
            [{"host": "a", "hostaddr": "1.1.1.1"}, {"host": "b", "hostaddr": ""}],
        ),
        # libpq says what is wrong with these
        ({"host": "a,b", "port": "5,6,7"}, [{"host": "a,b", "port": "5,6,7"}]),
        ({"host": "a", "hostaddr": "1,2"}, [{"host": "a", "hostaddr": "1,2"}]),
        # and what a service adds is in its file
        ({"host": "a,b", "service": "s"}, [{"host": "a,b", "service": "s"}]),
    ],
)
def test_hosts(given: dict[str, str], split: list[dict[str, str]]) -> None:
    assert split_hosts(given) == split


def test_hosts_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "a,b")
    monkeypatch.setenv("PGPORT", "5")
    assert split_hosts({"port": "6"}) == [
        {"host": "a", "port": "6"},
        {"host": "b", "port": "6"},
    ]
    assert split_hosts({"host": "c"}) == [{"host": "c", "port": "5"}]
    monkeypatch.setenv("PGSERVICE", "s")
    assert split_hosts({}) == [{}]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("10", 10), ("2.9", 2), ("1", 2), ("0", 130), ("-5", 130), ("", 130)],
)
def test_time_limits_are_libpqs(given: str, seconds: float) -> None:
    assert _dialling._timeout({"connect_timeout": given}) == seconds
    assert _dialling._timeout({}) == 130


@pytest.mark.parametrize("given", ["soon", "inf", "nan"])
def test_a_time_limit_is_a_number(given: str) -> None:
    with pytest.raises(Refused, match="connect_timeout is a number"):
        _dialling._timeout({"connect_timeout": given})


def test_libpq_can_be_told_to_give_codes() -> None:
    """psycopg does not wrap that function: it is found in the libpq that it uses."""
    assert _libpq._verbosity() is not None
