"""What `plproxy clusters` says of TLS."""

from __future__ import annotations

import pytest

from plproxy_py.cli.tls import tls_text
from plproxy_py.config import cluster_config


def text(*connstrs: str) -> str:
    return tls_text(cluster_config("c", list(connstrs)))


@pytest.fixture(autouse=True)
def _no_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "HOSTADDR", "SERVICE", "SSLMODE", "SSLROOTCERT"):
        monkeypatch.delenv(f"PG{name}", raising=False)


@pytest.mark.parametrize(
    ("connstr", "shown"),
    [
        ("dbname=x", "local"),
        ("host=/run/postgresql sslmode=disable", "local"),
        ("host=@abstract", "local"),
        ("host=h sslmode=verify-full", "verify-full"),
        ("host=h sslmode=verify-ca", "verify-ca"),
        ("host=h sslrootcert=system", "verify-full"),
        ("host=h", "not verified (sslmode prefer)"),
        ("host=h sslmode=require", "not verified (sslmode require)"),
        ("hostaddr=10.0.0.1", "not verified (sslmode prefer)"),
        ("host=/run/postgresql,h", "not verified (sslmode prefer)"),
        ("postgresql://h/x?sslmode=disable", "not verified (sslmode disable)"),
        ("service=s", "not verified (the service file decides)"),
    ],
)
def test_one(connstr: str, shown: str) -> None:
    assert text(connstr) == shown


def test_partitions_that_differ() -> None:
    shown = text("dbname=a", "dbname=b", "host=h", "host=h sslmode=verify-full")
    assert shown == "0-1: local, 2: not verified (sslmode prefer), 3: verify-full"


def test_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "h")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert text("dbname=x") == "verify-full"
    assert text("sslmode=allow") == "not verified (sslmode allow)"
