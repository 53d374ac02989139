"""The command `check`: custom hash functions, and tables that should be copies."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.fix_check import COUNT, ROLE, Desk
from tests.fix_cli import Run, rows
from tests.fix_plproxy import PARTS, PROXY, Plproxy

APP = """
from plproxy_py import Router

def first(key):
    return ord(key[0]) if key else 0

def lowered(key):
    return len(key.lower().encode())

def weighed(key, weight):
    return len(key) * weight

def cluster_of(key):
    return "desk"

def own(key):
    return 1

router = Router(
    {{"desk": {connstrs!r}}}, home={home!r}, application_name="check",
    hashes={{"First": first, "lowered": lowered, "weighed": weighed,
        "cluster_of": cluster_of, "own": own}},
)

@router.proxy("desk.touch(username text)", cluster="desk", run_on="first(username)",
    idempotent=True)
def touch(username: str) -> None: ...
"""

# The twins at home. first() fails for '' there, as Python's own gives 0.
TWINS = """
DROP FUNCTION IF EXISTS first(text), lowered(text), weighed(text, int4),
    cluster_of(text), own(point);
CREATE FUNCTION first(key text) RETURNS int4 LANGUAGE sql
    AS 'SELECT coalesce(ascii(key), 0)';
CREATE FUNCTION lowered(key text) RETURNS int8 LANGUAGE sql
    AS 'SELECT octet_length(lower(key))::int8';
CREATE FUNCTION weighed(key text, weight int4) RETURNS int8 LANGUAGE sql
    AS 'SELECT length(key) * weight::int8';
CREATE FUNCTION cluster_of(key text) RETURNS text RETURN 'desk';
CREATE FUNCTION own(key point) RETURNS int4 RETURN 2;
"""


@pytest.fixture
def app(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Check an application's router; return its findings about hashes."""
    connstrs, home = desk.connstrs, desk.owner[0]
    text = APP.format(connstrs=connstrs, home=home)
    (desk.folder / "check_app.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(desk.folder)
    monkeypatch.setattr(sys, "path", [str(desk.folder), *sys.path])
    desk.execute(0, TWINS)

    def run(*, code: int, timeout: str = "3") -> Any:
        sys.modules.pop("check_app", None)
        env = {"PLPROXY_CONFIG": None}
        command = ("--app", "check_app:router", "check", "--timeout", timeout)
        return desk.cli(*command, code=code, **env)

    return run


def test_twins_agree(app: Callable[..., Any]) -> None:
    """Also those of two arguments, of CLUSTER, and of types that nobody knows."""
    lines = app(code=0).stdout.splitlines()
    assert lines[-1] == "No fault, 1 advice."
    assert "advice: desk.touch(text), repeatable, partitions 0-3: calls may be" in (
        "\n".join(lines)
    )


@pytest.mark.parametrize(
    ("change", "signature", "there", "here"),
    [
        (
            "CREATE OR REPLACE FUNCTION first(key text) RETURNS int4 LANGUAGE sql "
            "AS 'SELECT ascii(right(key, 1))'",
            "first(text)",
            "('marko'::text) is 111 at home",
            "109 by the Python function",
        ),
        (
            "CREATE OR REPLACE FUNCTION lowered(key text) RETURNS int8 LANGUAGE sql "
            "AS 'SELECT length(lower(key))::int8'",
            "lowered(text)",
            "('Ærøskøbing'::text) is 10 at home",
            "13 by the Python function",
        ),
        (
            "CREATE OR REPLACE FUNCTION weighed(key text, weight int4) RETURNS int8 "
            "LANGUAGE sql AS 'SELECT length(key) / weight::int8'",
            "weighed(text,integer)",
            "(''::text, '0'::int4) is an error (22012 division by zero) at home",
            "0 by the Python function",
        ),
        (
            "CREATE OR REPLACE FUNCTION cluster_of(key text) RETURNS text "
            "RETURN 'disk'",
            "cluster_of(text)",
            "is disk at home",
            "desk by the Python function",
        ),
    ],
)
def test_a_twin_differs(
    app: Callable[..., Any],
    desk: Desk,
    change: str,
    signature: str,
    there: str,
    here: str,
) -> None:
    desk.execute(0, change)
    lines = app(code=1).stdout.splitlines()
    start = lines.index(f"fault: {signature}, hash, home database")
    assert there in lines[start + 1]
    assert here in lines[start + 1]
    assert "before anything is routed by it" in lines[start + 2]
    assert lines[-1] == "1 fault, 1 advice."


def test_what_both_refuse_is_no_difference(app: Callable[..., Any], desk: Desk) -> None:
    path = desk.folder / "check_app.py"
    path.write_text(path.read_text().replace("if key else 0", "if True else 0"))
    desk.execute(
        0,
        "CREATE OR REPLACE FUNCTION first(key text) RETURNS int4 LANGUAGE plpgsql AS "
        "$$ BEGIN IF key = '' THEN RAISE 'empty'; END IF; RETURN ascii(key); END $$",
    )
    app(code=0)


def test_home_is_not_written_to(app: Callable[..., Any], desk: Desk) -> None:
    desk.execute(
        0,
        "CREATE TABLE IF NOT EXISTS desk.seen (key text)",
        "CREATE OR REPLACE FUNCTION own(key text) RETURNS int4 LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO desk.seen VALUES (key); RETURN 1; END $$",
    )
    try:
        text = app(code=1).stdout
    finally:
        ((seen,),) = desk.execute(0, "SELECT count(*) FROM desk.seen")
        desk.execute(0, "DROP FUNCTION own(text)")
    assert seen == 0
    assert "25006 cannot execute INSERT in a read-only transaction" in text


def test_a_twin_that_does_not_come_back(app: Callable[..., Any], desk: Desk) -> None:
    desk.execute(
        0,
        "CREATE OR REPLACE FUNCTION first(key text) RETURNS int4 LANGUAGE sql "
        "AS 'SELECT 1 FROM pg_sleep(30)'",
    )
    started = time.monotonic()
    lines = app(code=1, timeout="0.5").stdout.splitlines()
    assert time.monotonic() - started < 5
    start = lines.index("fault: home database, unreachable")
    assert lines[start + 1] == "  no answer within 0.5 s"


TABLE = "desk.countries"


@pytest.fixture
def owned(desk: Desk) -> Desk:
    """The desk, as its superuser sees it."""
    desk.configure(desk.owner)
    return desk


def test_copies_are_equal(owned: Desk) -> None:
    """In any order, under any time zone, in columns of any order."""
    owned.execute(
        1,
        "ALTER DATABASE {db} SET timezone = 'Asia/Tokyo'",
        "CREATE TABLE desk.again (since timestamptz, name text, code text)",
        "INSERT INTO desk.again SELECT since, name, code FROM desk.countries "
        "ORDER BY code DESC",
        "DROP TABLE desk.countries",
        "ALTER TABLE desk.again RENAME TO countries",
    )
    found = owned.findings("--tables", TABLE)
    assert {row["problem"] for row in found if row["level"] == "fault"} == {"TimeZone"}


@pytest.mark.parametrize(
    ("change", "reason", "remedy"),
    [
        (
            "UPDATE {} SET name = 'Noreg' WHERE code = 'no'",
            "3 rows with checksum ",
            "copy it anew",
        ),
        (
            "DELETE FROM {0} WHERE ctid = (SELECT max(ctid) FROM {0})",
            "2 rows with checksum ",
            "from partitions 0, 2-3",
        ),
        ("INSERT INTO {0} SELECT * FROM {0} LIMIT 1", "4 rows with checksum ", ""),
        ("TRUNCATE {}", "0 rows with checksum ", "copy it anew"),
        (
            "ALTER TABLE {} ADD flag bool",
            "its columns differ: flag boolean there, none on partitions 0, 2-3",
            "Make its columns the same",
        ),
        (
            "DROP TABLE {}",
            "there is no such table; it is on partitions 0, 2-3",
            "Copy it from partitions 0, 2-3",
        ),
    ],
)
def test_a_copy_differs(owned: Desk, change: str, reason: str, remedy: str) -> None:
    owned.execute(1, change.format(TABLE))
    options = ("desk", "--tables", TABLE)
    (found,) = (row for row in owned.findings(*options) if row["level"] == "fault")
    assert (found["subject"], found["partition"], found["problem"]) == (
        TABLE,
        1,
        "table",
    )
    assert reason in found["reason"]
    assert remedy in found["remedy"]
    lines = owned.table(*options, code=1)
    start = lines.index(f"fault: {TABLE}, table, partition 1")
    assert reason in lines[start + 1]
    assert remedy in lines[start + 2]
    assert owned.findings("desk", code=0)


def test_a_table_that_nobody_has_and_one_that_none_may_read(desk: Desk) -> None:
    found = desk.findings("--tables", TABLE, "--tables", "Desk.nothing")
    reasons = {
        (row["subject"], row["reason"], row["sqlstate"], row["partition"])
        for row in found
    }
    assert reasons == {
        *(
            (TABLE, f"it can't be read: 42501 permission denied for {what}", "42501", n)
            for n in range(COUNT)
            for what in ("table countries",)
        ),
        *(("Desk.nothing", "there is no such table", None, n) for n in range(COUNT)),
    }
    desk.execute(2, f"GRANT SELECT ON {TABLE} TO {ROLE}")
    unread = [
        row["partition"]
        for row in desk.findings("--tables", TABLE)
        if row["problem"] == "table"
    ]
    assert unread == [0, 1, 3]


def test_a_table_that_takes_too_long(owned: Desk) -> None:
    owned.execute(
        1,
        "DROP TABLE desk.countries",
        "CREATE VIEW desk.countries AS SELECT pg_sleep(30)::text AS code, "
        "''::text AS name, NULL::timestamptz AS since",
    )
    options = ("--tables", TABLE, "--table-timeout", "0.5")
    (found,) = (row for row in owned.findings(*options) if row["level"] == "fault")
    assert (found["partition"], found["sqlstate"]) == (1, "57014")
    assert "--table-timeout" in found["remedy"]


def test_a_plproxy_database(cli: Run, plproxy: Plproxy) -> None:
    """Its functions, its clusters, and what it would be asked itself."""
    plproxy.cluster("clicheck", PARTS)
    function = (
        "CREATE OR REPLACE FUNCTION cli_check(key text) RETURNS text LANGUAGE plproxy "
        "AS $$ CLUSTER 'clicheck'; RUN ON cli_no_hash(key); {} $$"
    )
    plproxy.admin(PROXY, function.format("SELECT current_database()::text;"))
    try:
        command = ("--home", plproxy.connstr(), "--json", "check", "clicheck")
        found = rows(cli(*command, code=1))
        plproxy.admin(PROXY, function.format(""))
        missing = rows(cli(*command, code=1))
    finally:
        plproxy.admin(PROXY, "DROP FUNCTION cli_check(text)")
    about = [row for row in found if row["subject"] == "public.cli_check(text)"]
    assert about[0]["verdicts"] == ["ok"] * 4
    assert (about[1]["problem"], about[1]["partition"]) == ("expression", None)
    assert "function cli_no_hash(text) does not exist" in about[1]["reason"]
    assert [row["facts"]["version"].split(".")[0] for row in found if row["facts"]] == (
        ["15"] * 4
    )
    (verdicts,) = (row["verdicts"] for row in missing if row["verdicts"])
    assert verdicts == ["missing"] * 4
