"""What docs/check.md says of `plproxy check`: its example, and every finding."""

from __future__ import annotations

import re

import pytest

from plproxy_py.ops.check.findings import PROBLEMS
from tests.fix_check import COUNT, ROLE, Desk
from tests.snippets import ROOT, read_snippets

DOCUMENT = ROOT / "docs" / "check.md"
HEADING = re.compile(r"^### (.+)\n\n\*(Fault|Advice)", re.MULTILINE)

REMOTE = """
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
CREATE TABLE users (username text, email text);
CREATE FUNCTION get_user(username text, OUT id integer, OUT email text) LANGUAGE sql
    AS $$ SELECT 1, 'x'::text $$;
CREATE FUNCTION set_email(username text, email text) RETURNS void LANGUAGE sql
    AS $$ $$;
CREATE FUNCTION find_users(prefix text) RETURNS SETOF text LANGUAGE sql
    AS $$ SELECT 'x'::text $$;
CREATE FUNCTION count_users() RETURNS bigint LANGUAGE sql STABLE
    AS $$ SELECT count(*) FROM users $$;
"""


def test_every_finding_stands_in_the_document() -> None:
    """With its level, in the order of the table in the code."""
    told = HEADING.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert sorted(told) == sorted(
        (name, level.capitalize()) for name, level in PROBLEMS.items()
    )


@pytest.fixture
def documented(desk: Desk) -> Desk:
    """The document's cluster, after what was done to it."""
    proxy, faults = (
        found.text for found in read_snippets(DOCUMENT) if found.language == "sql"
    )
    by_partition = re.split(r"-- partition \d\n", faults)
    assert len(by_partition) == COUNT
    for number, text in enumerate(by_partition):
        desk.execute(number, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        desk.execute(number, REMOTE)
        desk.execute(number, f"GRANT USAGE ON SCHEMA public TO {ROLE}")
        desk.execute(number, "ALTER DATABASE {db} SET timezone = 'UTC'")
        desk.execute(number, text.replace("DATABASE part03", "DATABASE {db}"))
    desk.configure(proxy=proxy)
    toml = desk.folder / "plproxy.toml"
    toml.write_text(toml.read_text().replace("clusters.desk", "clusters.userdb"))
    return desk


def test_the_example(documented: Desk) -> None:
    (shown,) = (
        found.text
        for found in read_snippets(DOCUMENT)
        if found.text.startswith("$ plproxy check userdb\nuserdb:")
    )
    printed = "\n".join(documented.table("userdb", code=1))
    assert _comparable(printed) == _comparable(shown.partition("\n")[2])


def test_its_commands(documented: Desk) -> None:
    """They run, and find the faults. Of a pipe, only its first program."""
    for number in range(COUNT):
        documented.execute(number, "CREATE TABLE countries ()")
        documented.execute(number, "CREATE TABLE currencies ()")
    commands = [
        line.removeprefix("$ ").partition(" | ")[0].split()
        for found in read_snippets(DOCUMENT)
        if found.language == "console"
        for line in found.text.splitlines()
        if line.startswith("$ ")
    ]
    assert len(commands) == 5
    for program, *args in commands:
        env = {"PLPROXY_CONFIG": str(documented.folder / "plproxy.toml")}
        assert program == "plproxy"
        assert "ambiguous" in documented.cli(*args, code=1, **env).stdout


def _comparable(output: str) -> list[str]:
    """Return the lines, without what depends on the server's version and on time."""
    output = re.sub(r"\b\d+\.\d+ +UTF8", "V UTF8", output)
    output = re.sub(r"[+-]?\d\.\d s$", "0.0 s", output, flags=re.MULTILINE)
    return output.strip().splitlines()
