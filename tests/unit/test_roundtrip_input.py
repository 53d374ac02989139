"""What the compiled round trip refuses: libpq gets nothing but what is its own."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from plproxy_py import _libpq
from tests.fix_twins import compiled

pytestmark = pytest.mark.usefixtures("_bound")


@pytest.fixture
def _bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the compiled part be used, whatever was chosen."""
    monkeypatch.setattr(_libpq, "_compiled", compiled("_roundtrip"))
    converse, queue = _libpq._bound()
    monkeypatch.setattr(_libpq, "_converse", converse)
    monkeypatch.setattr(_libpq, "_queue", queue)


@pytest.mark.parametrize(
    "args",
    [
        (0, b"x", [], 1.0),
        (None, b"x", [], 1.0),
        ("1", b"x", [], 1.0),
        (1, "x", [], 1.0),
        (1, b"x", (), 1.0),
        (1, b"x", ["text"], 1.0),
        (1, b"x", [None, 7], 1.0),
        (1, b"x", [None] * 20 + ["text"], 1.0),
        (1, b"x", [], "1"),
        (1, b"x", []),
        (),
    ],
    ids=repr,
)
def test_converse_refuses(args: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        compiled("_roundtrip").converse(*args)


@pytest.mark.parametrize(
    "args",
    [(0, b"x", []), (1, "x", []), (1, b"x", ()), (1, b"x", ["text"]), (1, b"x"), ()],
    ids=repr,
)
def test_queue_refuses(args: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, ValueError)):
        compiled("_roundtrip").queue(*args)


def test_a_closed_connection() -> None:
    """psycopg forgets the address: nobody hands it to libpq again."""
    pgconn = psycopg.pq.PGconn.connect_start(b"host=/nonexistent dbname=x")
    assert _libpq.address(pgconn)
    pgconn.finish()
    assert _libpq.address(pgconn) is None
    for talk in (
        lambda: _libpq.converse(pgconn, lambda _: [], b"x", [], 1.0),
        lambda: _libpq.queue(pgconn, b"x", []),
    ):
        with pytest.raises(psycopg.OperationalError, match="the connection is closed"):
            talk()


def test_a_connection_that_never_was() -> None:
    """What libpq refuses is psycopg's error, with libpq's words."""
    pgconn = psycopg.pq.PGconn.connect_start(b"host=/nonexistent dbname=x")
    try:
        with pytest.raises(psycopg.OperationalError, match="no connection"):
            _libpq.converse(pgconn, lambda _: [], b"x", [], 1.0)
        with pytest.raises(psycopg.OperationalError):
            _libpq.queue(pgconn, b"x", [])
    finally:
        pgconn.finish()
