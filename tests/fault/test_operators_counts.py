"""A frozen partition delays no others in balance, audit and budget."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from tests.fix_cli import Run, rows
from tests.fix_servers import Servers

TABLE = ("--table", "counted", "--key", "token")


@pytest.mark.parametrize(
    "command",
    [
        ("balance", "userdb"),
        ("balance", "userdb", *TABLE),
        ("audit", "userdb", *TABLE),
        ("budget", "userdb", "--processes", "1"),
    ],
    ids=" ".join,
)
def test_a_frozen_partition(
    cli: Run, servers: Servers, tmp_path: Path, command: tuple[str, ...]
) -> None:
    config = tmp_path / "plproxy.toml"
    connstrs = json.dumps(servers.connstrs())
    config.write_text(f"[clusters.userdb]\npartitions = {connstrs}\n")
    for connstr in servers.connstrs():
        with psycopg.connect(connstr, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS counted (token text)")
    servers[2].freeze()
    args = (*command, "--timeout", "2", "--json")
    found = rows(cli(*args, code=1, PLPROXY_CONFIG=str(config)))
    each = [row for row in found if row.get("kind") != "server"]
    errors = {
        str(row.get("partition", number)): row["error"]
        for number, row in enumerate(each)
    }
    assert [number for number, error in errors.items() if error] == ["2"]
    assert "in time" in errors["2"]
