"""A cluster on which `plproxy check` finds nothing, and SQL that changes that.

Databases check00 to check03 with the schema desk, made anew for each test. The role
may EXECUTE functions and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result
from psycopg.conninfo import make_conninfo

from tests.fix_cli import Run, rows
from tests.fix_server import Pg

COUNT = 4
ROLE = "plproxy_py_check"

REMOTE = f"""
DROP SCHEMA IF EXISTS desk CASCADE;
CREATE SCHEMA desk;
GRANT USAGE ON SCHEMA desk TO {ROLE};
CREATE TABLE desk.users (id int4, username text, email text);
CREATE TABLE desk.countries (code text, name text, since timestamptz);
INSERT INTO desk.countries VALUES ('no', 'Norge', '1905-06-07 12:00+01'),
    ('jp', '日本', NULL), ('jp', '日本', NULL);
CREATE FUNCTION desk.get_user(username text, OUT id int4, OUT email text)
    LANGUAGE sql STABLE AS $$ SELECT 1, 'x'::text $$;
CREATE FUNCTION desk.list_users(min_id int4) RETURNS SETOF text LANGUAGE sql
    AS $$ SELECT 'x'::text $$;
CREATE FUNCTION desk.count_users() RETURNS int8 LANGUAGE sql AS 'SELECT 1::int8';
CREATE FUNCTION desk.touch(username text) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION desk.anything(what text) RETURNS SETOF record LANGUAGE sql
    AS 'SELECT 1, 2';
"""
LAST = "CREATE FUNCTION desk.last(OUT n int4) LANGUAGE sql AS 'SELECT 1'"

PROXY = """
CREATE FUNCTION desk.get_user(username text, OUT id int4, OUT email text)
    LANGUAGE plproxy AS $$ CLUSTER 'desk'; RUN ON hashtext(username); $$;
CREATE FUNCTION desk.list_users(min_id int4) RETURNS SETOF text LANGUAGE plproxy
    AS $$ CLUSTER 'desk'; RUN ON ALL; $$;
CREATE FUNCTION desk.count_users() RETURNS SETOF int8 LANGUAGE plproxy
    AS $$ CLUSTER 'desk'; RUN ON ALL; $$;
CREATE FUNCTION desk.touch(username text) RETURNS void LANGUAGE plproxy
    AS $$ CLUSTER 'desk'; RUN ON hashtext(username); $$;
CREATE FUNCTION desk.anything(what text) RETURNS SETOF record LANGUAGE plproxy
    AS $$ CLUSTER 'desk'; RUN ON ANY; $$;
CREATE FUNCTION desk.last(OUT n int4) LANGUAGE plproxy
    AS $$ CLUSTER 'desk'; RUN ON 3; $$;
"""


@dataclass
class Desk:
    """The cluster, in a folder of its own. ``owner``: a superuser's connstrs."""

    cli: Run
    folder: Path
    owner: Sequence[str]

    @property
    def connstrs(self) -> list[str]:
        """Connect strings of the application's role."""
        return [make_conninfo(connstr, user=ROLE) for connstr in self.owner]

    def execute(self, partition: int, *statements: str) -> list[Any]:
        """Run SQL as a superuser; {db} in it is the database. Return the last rows."""
        with psycopg.connect(self.owner[partition], autocommit=True) as conn:
            for text in statements:
                cursor = conn.execute(text.replace("{db}", conn.info.dbname).encode())
            return cursor.fetchall() if cursor.description else []

    def configure(
        self,
        connstrs: Sequence[str] | None = None,
        *,
        proxy: str = PROXY,
        options: str = "",
        before: str = "",
    ) -> None:
        """Write the config file. ``before``: lines before the cluster's own."""
        (self.folder / "proxy.sql").write_text(proxy, encoding="utf-8")
        (self.folder / "plproxy.toml").write_text(
            f'functions = ["proxy.sql"]\n{before}\n[clusters.desk]\npartitions = '
            f"{json.dumps(connstrs or self.connstrs)}\n{options}\n",
            encoding="utf-8",
        )

    def run(self, *args: str, code: int = 0, **env: str | None) -> Result:
        """Run the command."""
        env.setdefault("PLPROXY_CONFIG", str(self.folder / "plproxy.toml"))
        return self.cli("check", *args, code=code, **env)

    def table(self, *args: str, code: int = 0) -> list[str]:
        """Return the lines that people see."""
        return self.run(*args, code=code).stdout.splitlines()

    def json(self, *args: str, code: int = 0) -> list[dict[str, Any]]:
        """Return the rows for programs."""
        found: list[dict[str, Any]] = rows(self.run("--json", *args, code=code))
        return found

    def findings(self, *args: str, code: int = 1) -> list[dict[str, Any]]:
        """Return the rows that are findings."""
        return [row for row in self.json(*args, code=code) if row["row"] == "finding"]

    def verdicts(self, function: str, code: int = 1) -> list[str | None]:
        """Return a function's verdicts by partition."""
        (found,) = (
            row["verdicts"]
            for row in self.json(code=code)
            if row["row"] == "function" and row["subject"] == function
        )
        verdicts: list[str | None] = found
        return verdicts


@pytest.fixture(scope="session")
def check_databases(pg: Pg) -> Iterator[list[str]]:
    """Four databases and the role; their connect strings."""
    names = [f"check{number:02}" for number in range(COUNT)]
    connstrs = pg.connstrs(names)
    pg.execute("postgres", f"DROP ROLE IF EXISTS {ROLE}")
    pg.execute("postgres", f"CREATE ROLE {ROLE} LOGIN")
    pg.execute("postgres", f"ALTER ROLE {ROLE} SET statement_timeout = '30s'")
    yield connstrs
    for name in names:
        pg.execute(name, f"DROP OWNED BY {ROLE}")
    pg.execute("postgres", f"DROP ROLE {ROLE}")


@pytest.fixture
def desk(check_databases: list[str], cli: Run, tmp_path: Path) -> Desk:
    """The cluster, on which nothing is found."""
    found = Desk(cli, tmp_path, check_databases)
    for number in range(COUNT):
        found.execute(number, "ALTER DATABASE {db} RESET ALL", REMOTE)
        found.execute(
            number, f"ALTER ROLE {ROLE} IN DATABASE {{db}} RESET statement_timeout"
        )
    found.execute(COUNT - 1, LAST)
    found.configure()
    return found
