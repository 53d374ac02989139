"""The command line on a PL/Proxy database: its functions, its clusters."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fix_cli import Run
from tests.fix_plproxy import PARTS, PROXY, Plproxy


def test_a_plproxy_database_is_all_it_takes(cli: Run, plproxy: Plproxy) -> None:
    plproxy.cluster("clidesk", PARTS)
    plproxy.admin(
        PROXY,
        "CREATE OR REPLACE FUNCTION cli_where(key text) RETURNS text LANGUAGE plproxy "
        "AS $$ CLUSTER 'clidesk'; RUN ON hashtext(key); "
        "SELECT current_database()::text; $$",
    )
    home = f"{plproxy.connstr()} password=sekret"

    def rows(*args: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(
            cli("--home", home, "--json", *args).stdout
        )
        return found

    (cluster,) = [row for row in rows("clusters") if row["cluster"] == "clidesk"]
    assert cluster["partitions"] == 4
    assert "password=****" in str(cluster["source"])
    assert "public.cli_where(key text) RETURNS text" in [
        row["signature"] for row in rows("functions")
    ]
    (called,) = rows("call", "cli_where", "marko")
    (route,) = rows("route", "cli_where", "marko")
    assert called == {"partition": 3, "cli_where": "test_part3"}
    assert (route["hash"], route["partition"]) == (1416933399, 3)


def test_one_source_at_a_time(cli: Run, tmp_path: Path) -> None:
    result = cli("--home", "dbname=x", "-c", str(tmp_path), "clusters", code=2)
    assert "exclude each other" in result.stderr


def test_a_home_that_is_not_there(cli: Run) -> None:
    result = cli("--home", "host=/nowhere password=sekret", "clusters", code=1)
    assert result.stderr.startswith("Error F0000: the home database")
