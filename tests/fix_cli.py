"""The command line, run in this process against real partitions."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from plproxy_py.cli import main
from tests.fix_server import Pg

REMOTE = r"""
DROP SCHEMA IF EXISTS cli CASCADE;
CREATE SCHEMA cli;
CREATE FUNCTION cli.whereami(key text) RETURNS text LANGUAGE sql
    AS 'SELECT current_database() || '' '' || key';
CREATE FUNCTION cli.anywhere() RETURNS text LANGUAGE sql
    AS 'SELECT current_database()::text';
CREATE FUNCTION cli.everywhere(OUT partition text, OUT n int4) RETURNS SETOF record
    LANGUAGE sql AS 'SELECT current_database()::text, i FROM generate_series(1, 2) i';
CREATE FUNCTION cli.types(OUT d date, OUT amount numeric, OUT bytes bytea,
    OUT f float8, OUT j jsonb, OUT a int4[], OUT t text, OUT b bool, OUT nothing text)
    LANGUAGE sql AS $$ SELECT date '2026-11-21', 12.50, '\xff00'::bytea, float8 'NaN',
        '{"k": [1, null]}'::jsonb, '{1,2}'::int4[], E'two\nlines \x1b[31m ö', true,
        NULL::text $$;
CREATE FUNCTION cli.given(n int4, words text[], doc jsonb, amounts numeric[])
    RETURNS text LANGUAGE sql
    AS $$ SELECT concat_ws(' ', n, words::text, doc::text, amounts::text) $$;
CREATE FUNCTION cli.nothing(n int8) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION cli.fails(key text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION E'no\nluck' USING ERRCODE = '22012', HINT = 'try again'; END $$;
CREATE FUNCTION cli.noisy(key text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
    RAISE NOTICE 'hello %', key; RETURN NULL; END $$;
"""

PROXY = """
CREATE FUNCTION cli.whereami(key text) RETURNS text LANGUAGE plproxy
    AS $$ CLUSTER 'userdb'; RUN ON hashtext(key); $$;
CREATE FUNCTION cli.anywhere() RETURNS text LANGUAGE plproxy
    AS $$ CLUSTER 'userdb'; RUN ON ANY; $$;
CREATE FUNCTION cli.everywhere(OUT partition text, OUT n int4) RETURNS SETOF record
    LANGUAGE plproxy AS $$ CLUSTER 'userdb'; RUN ON ALL; $$;
CREATE FUNCTION cli.types(OUT d date, OUT amount numeric, OUT bytes bytea,
    OUT f float8, OUT j jsonb, OUT a int4[], OUT t text, OUT b bool, OUT nothing text)
    LANGUAGE plproxy AS $$ CLUSTER 'userdb'; RUN ON 2; $$;
CREATE FUNCTION cli.given(n int4, words text[], doc jsonb, amounts numeric[])
    RETURNS text LANGUAGE plproxy AS $$ CLUSTER 'userdb'; RUN ON n; $$;
CREATE FUNCTION cli.nothing(n int8) RETURNS void LANGUAGE plproxy
    AS $$ CLUSTER 'userdb'; RUN ON hashint8(n); $$;
CREATE FUNCTION cli.nothing(t text) RETURNS void LANGUAGE plproxy
    AS $$ CLUSTER 'userdb'; RUN ON hashtext(t); $$;
CREATE FUNCTION cli.fails(key text) RETURNS text LANGUAGE plproxy
    AS $$ CLUSTER 'userdb'; RUN ON hashtext(key); $$;
CREATE FUNCTION cli.noisy(key text) RETURNS text LANGUAGE plproxy STRICT
    AS $$ CLUSTER 'userdb'; RUN ON hashtext(key); $$;
CREATE FUNCTION cli.elsewhere() RETURNS text LANGUAGE plproxy
    AS $$ CONNECT 'host=/nowhere dbname=x password=sekret'; $$;
CREATE FUNCTION cli.wrong() RETURNS text LANGUAGE plproxy
    AS $$ CONNECT 'sekret nonsense'; $$;
"""

UNREACHABLE = [
    "host=/nowhere dbname=part00 password=sekret",
    "postgresql://app:sekret@127.0.0.1:1/part01",
]

PLPROXY = [sys.executable, "-c", "from plproxy_py.cli import main; main()"]
Run = Callable[..., Result]


@pytest.fixture(scope="session")
def cli_config(
    pg: Pg, databases4: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A config file: userdb is real, and faraway can't be reached."""
    for number in range(4):
        pg.execute(f"part{number:02}", REMOTE)
    place = tmp_path_factory.mktemp("cli")
    (place / "proxy.sql").write_text(PROXY)
    path = place / "plproxy.toml"
    path.write_text(
        f"""
        functions = ["proxy.sql"]

        [clusters.userdb]
        partitions = {json.dumps(databases4)}
        query_timeout = 5
        timezone = "UTC"

        [clusters.faraway]
        partitions = {json.dumps(UNREACHABLE)}
        """
    )
    return path


@pytest.fixture
def cli(cli_config: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with the config file; no output ever shows a password."""
    monkeypatch.setenv("PLPROXY_CONFIG", str(cli_config))

    def run(*args: str, code: int = 0, **env: str | None) -> Result:
        # The router of an application is closed at the end of a command.
        sys.modules.pop("cli_app", None)
        result = CliRunner().invoke(main, args, env=env, prog_name="plproxy")
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        assert "sekret" not in result.output
        if code == 1 and not result.stdout:
            assert result.stderr.startswith("Error")
            assert result.stderr.count("\n") == 1
        return result

    return run


def rows(result: Result) -> Any:
    """Return the rows of a JSON document."""
    return json.loads(result.stdout)


def lines(result: Result) -> list[list[str]]:
    """Return the cells of a plain table, which has no blanks in its cells."""
    return [line.split() for line in result.stdout.splitlines()]
