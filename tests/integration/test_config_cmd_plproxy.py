"""The real PL/Proxy reads what `config export` and `config import` write."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.fix_cli import Run, rows
from tests.fix_plproxy import BINDIR, PARTS, PROXY, ROLE, Plproxy


@pytest.fixture(scope="module")
def real(plproxy: Plproxy) -> Plproxy:
    for number, name in enumerate(PARTS):
        plproxy.admin(
            name,
            "create or replace function config_here() returns text language sql"
            f" as $$ select 'partition {number}'::text $$",
        )
    plproxy.admin(
        PROXY,
        "create or replace function config_here() returns setof text language plproxy"
        " as $$ cluster 'Config''d \"cluster\"'; run on all; $$",
    )
    return plproxy


def test_plproxy_itself_reads_it(cli: Run, real: Plproxy, tmp_path: Path) -> None:
    """A cluster of a strange name, with one user, into SQL/MED, by psql."""
    name = 'Config\'d "cluster"'
    connstrs = [real.server.connstr(part, user="postgres") for part in PARTS]
    connstrs[0] = make_conninfo(
        connstrs[0], fallback_application_name="it's $1 \\ 100 % ü"
    )
    path = tmp_path / "c.toml"
    path.write_text(
        f"[clusters.{json.dumps(name)}]\nquery_timeout = 5\n"
        f"connection_lifetime = 0\npartitions = {json.dumps(connstrs)}\n"
    )
    script = tmp_path / "script.sql"
    cli(
        "-c",
        str(path),
        "config",
        "export",
        "--to",
        "sqlmed",
        "--role",
        ROLE,
        "--output",
        str(script),
    )
    subprocess.run(
        [
            BINDIR / "psql",
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-f",
            script,
            real.connstr(PROXY, user="postgres"),
        ],
        check=True,
    )
    try:
        with psycopg.connect(real.connstr()) as conn:
            found = conn.execute("select * from config_here()").fetchall()
        assert found == [(f"partition {number}",) for number in range(4)]
        with real.router() as router:
            router.reflect()
            assert router.call("config_here") == [text for (text,) in found]
        diff = ("config", "diff", str(path), real.connstr(), name, "--json")
        assert rows(cli(*diff)) == []
        # It moves by import, and PL/Proxy follows.
        path.write_text(path.read_text().replace(PARTS[3], PARTS[2]))
        cli(
            "--home",
            real.connstr(user="postgres"),
            "config",
            "import",
            str(path),
            "--role",
            ROLE,
            "--yes",
        )
        with psycopg.connect(real.connstr()) as conn:
            found = conn.execute("select * from config_here()").fetchall()
        assert found[-1] == ("partition 2",)
    finally:
        real.admin(PROXY, 'drop server if exists "Config\'d ""cluster""" cascade')
