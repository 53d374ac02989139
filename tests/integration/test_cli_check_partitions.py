"""The command `check`: what partitions are, where they lead, and who can't be asked."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from plproxy_py.ops.check import looking
from plproxy_py.ops.check.findings import PROBLEMS
from tests.fix_check import COUNT, PROXY, REMOTE, ROLE, Desk
from tests.fix_cli import UNREACHABLE
from tests.fix_server import Pg


def check_one(
    desk: Desk, problem: str, partition: int, reason: str, remedy: str
) -> dict[str, Any]:
    """Check that one problem is found, in table, JSON and exit status. Return it."""
    is_fault = PROBLEMS[problem] == "fault"
    found = [
        row for row in desk.findings(code=int(is_fault)) if row["problem"] == problem
    ]
    assert [row["partition"] for row in found] == [partition]
    assert found[0]["level"] == PROBLEMS[problem]
    assert reason in found[0]["reason"]
    assert remedy in found[0]["remedy"]
    lines = desk.table(code=int(is_fault))
    (heading,) = (
        number
        for number, line in enumerate(lines)
        if line.startswith(f"{PROBLEMS[problem]}: ")
        and problem in line
        and f"partition {partition}" in line
    )
    shown = "\n".join(lines[heading : heading + 3])
    assert reason in shown
    assert remedy in shown
    return dict(found[0])


def facts(desk: Desk, partition: int, code: int = 0) -> dict[str, Any]:
    """Return what JSON says of a partition."""
    (found,) = (
        row["facts"]
        for row in desk.json(code=code)
        if row["row"] == "partition" and row["partition"] == partition
    )
    return dict(found)


@contextmanager
def database(pg: Pg, desk: Desk, how: str) -> Iterator[str]:
    """Make a database as partition 1's; give the connstr of the application's role."""
    name = "plproxy_py_test_check_other"
    pg.execute("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    pg.execute("postgres", f"CREATE DATABASE {name} TEMPLATE template0 {how}")
    others = desk.owner
    try:
        owner = make_conninfo(others[0], dbname=name)
        desk.owner = [owner]
        desk.execute(0, REMOTE)
        desk.owner = [others[0], owner, *others[2:]]
        desk.configure()
        yield desk.connstrs[1]
    finally:
        desk.owner = others
        pg.execute("postgres", f"DROP DATABASE {name} WITH (FORCE)")


def test_what_a_partition_is(desk: Desk, pg: Pg) -> None:
    found = facts(desk, 2)
    assert found["version"].split(".")[0] == str(pg.version // 10000)
    ((collation, zone),) = desk.execute(
        2,
        "SELECT datcollate, current_setting('timezone') FROM pg_database "
        "WHERE datname = current_database()",
    )
    assert found | {"clock_skew_s": 0, "clock_uncertainty_s": 0} == {
        "version": found["version"],
        "encoding": "UTF8",
        "collation": collation,
        "collation_version": found["collation_version"],
        "timezone": zone,
        "datestyle": "ISO, MDY",
        "statement_timeout": "30s",
        "statement_timeout_source": "user",
        "role": ROLE,
        "superuser": False,
        "database": conninfo_to_dict(desk.owner[2])["dbname"],
        "address": found["address"],
        "clock_skew_s": 0,
        "clock_uncertainty_s": 0,
    }
    assert abs(found["clock_skew_s"]) < 5
    lines = desk.table()
    (title,) = (n for n, line in enumerate(lines) if line.startswith("partitions "))
    words = lines[title + 1].split("  ")
    assert words[0] == "0-3"
    assert {"UTF8", "ISO, MDY", "30s"} <= {word.strip() for word in words}


def test_another_time_zone(desk: Desk) -> None:
    desk.execute(2, "ALTER DATABASE {db} SET timezone = 'Asia/Tokyo'")
    check_one(
        desk,
        "TimeZone",
        2,
        "Asia/Tokyo, on partitions 0-1, 3 ",
        "SET timezone as on the others, or set the cluster's",
    )
    desk.configure(options="timezone = 'UTC'")
    assert desk.findings(code=0) == []


def test_another_date_style(desk: Desk) -> None:
    """Behind a pooler nobody sets it."""
    desk.configure(options="pooler = true")
    assert desk.findings(code=0) == []
    desk.execute(1, "ALTER DATABASE {db} SET datestyle = 'ISO, DMY'")
    check_one(desk, "DateStyle", 1, "ISO, DMY, on partitions 0, 2-3 ISO, MDY", "SET")


def test_a_role_without_a_timeout_is_advised(desk: Desk) -> None:
    role = f"ALTER ROLE {ROLE} IN DATABASE {{db}} SET statement_timeout"
    desk.execute(1, f"{role} = 0")
    reason = f"the role {ROLE} has none"
    remedy = f"ALTER ROLE {ROLE} SET statement_timeout = '30s';"
    check_one(desk, "statement_timeout", 1, reason, remedy)
    desk.execute(1, f"{role} = '5s'")
    check_one(desk, "statement_timeout", 1, "5s, on partitions 0, 2-3 30s", "= '30s'")
    assert facts(desk, 1)["statement_timeout_source"] == "database user"


def test_another_encoding(desk: Desk, pg: Pg) -> None:
    """Text is hashed there as other bytes: neither finding hides the other."""
    with database(pg, desk, "ENCODING 'LATIN1' LOCALE 'C'"):
        check_one(desk, "encoding", 1, "LATIN1, on partitions 0, 2-3 UTF8", "UTF8")
        reason = "pg_catalog.hashtext('Ærøskøbing'::text) is "
        found = check_one(desk, "hash", 1, reason, "from LATIN1 to UTF8")
    assert found["subject"] == "hashtext"
    assert "; other values also by " in found["reason"]


def test_sql_ascii_hashes_as_utf8(desk: Desk, pg: Pg) -> None:
    with database(pg, desk, "ENCODING 'SQL_ASCII' LOCALE 'C'"):
        assert "hash" not in {row["problem"] for row in desk.findings()}


def test_another_collation(desk: Desk, pg: Pg) -> None:
    with database(pg, desk, "LOCALE 'C.UTF-8'"):
        check_one(
            desk,
            "collation",
            1,
            "C.UTF-8, on partitions 0, 2-3 C",
            "sorted and compared",
        )


def test_a_collation_that_changed_under_its_database(desk: Desk, pg: Pg) -> None:
    if pg.version < 170000:
        pytest.skip("no collation of PostgreSQL's own that has a version")
    how = "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
    with database(pg, desk, how):
        desk.execute(
            0,
            "UPDATE pg_database SET datcollversion = '0.9' "
            "WHERE datname = 'plproxy_py_test_check_other'",
        )
        check_one(
            desk,
            "collation version",
            1,
            "C.UTF-8 (builtin) had version 0.9 when the database was made, and is 1",
            "ALTER DATABASE plproxy_py_test_check_other REFRESH COLLATION VERSION",
        )


def test_a_clock_that_is_wrong(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, here: that of all partitions is ahead of it."""
    real = time.time
    monkeypatch.setattr(looking, "wall_clock", lambda: real() - 90)
    found = [row for row in desk.findings() if row["problem"] == "clock"]
    assert [row["partition"] for row in found] == [0, 1, 2, 3]
    assert " s ahead of this machine's" in found[0]["reason"]
    assert 89 < facts(desk, 0, code=1)["clock_skew_s"] < 92
    assert any("+90." in line or "+89." in line for line in desk.table(code=1))


def test_rights_on_tables(desk: Desk) -> None:
    desk.execute(1, f"GRANT SELECT (email), UPDATE (email) ON desk.users TO {ROLE}")
    reason = f"the role {ROLE} has rights on tables: desk.users (SELECT, UPDATE)"
    check_one(desk, "table rights", 1, reason, f"REVOKE them from {ROLE} or PUBLIC")
    desk.execute(
        1,
        f"GRANT DELETE ON ALL TABLES IN SCHEMA desk TO {ROLE}",
        f"CREATE VIEW desk.v AS SELECT 1; GRANT SELECT ON desk.v TO {ROLE}",
        f"CREATE TABLE desk.w (); GRANT TRUNCATE ON desk.w TO {ROLE}",
    )
    reason = "desk.countries (DELETE), desk.users (SELECT, UPDATE, DELETE), "
    check_one(desk, "table rights", 1, f"{reason}desk.v (SELECT), 1 more", "REVOKE")


def test_a_superuser_is_advised(desk: Desk) -> None:
    desk.configure([*desk.connstrs[:3], desk.owner[3]])
    check_one(desk, "superuser", 3, "is a superuser", "sql/roles.sql makes one")


def test_one_target_in_other_words(desk: Desk) -> None:
    """The same words, in any order and any quotes, are one target."""
    first, *others = desk.connstrs
    words = make_conninfo(first, connect_timeout=7, password="sekret")
    desk.configure([first, *others[:2], words])
    desk.execute(0, "CREATE FUNCTION desk.last(OUT n int4) RETURN 1")
    found = check_one(
        desk, "same target", 3, "is the database of partition 0, ", "the same words"
    )
    assert "connect_timeout=7" in found["reason"]
    assert "password=****" in found["reason"]
    again = make_conninfo("", **dict(reversed(conninfo_to_dict(first).items())))
    desk.configure([first, *others[:2], again])
    assert desk.findings(code=0) == []


def test_an_unreachable_partition(desk: Desk) -> None:
    desk.configure([*desk.connstrs[:2], UNREACHABLE[1], desk.connstrs[3]])
    found = check_one(desk, "unreachable", 2, "Connection refused", "See to its server")
    assert found["sqlstate"] == "08001"
    assert desk.verdicts("desk.get_user(text)") == ["ok", "ok", "not asked", "ok"]
    lines = desk.table(code=1)
    assert lines[1].split()[1:] == ["✓", "✓", "?", "✓"]
    assert any(line.startswith("0-1, 3  ") for line in lines)


def test_a_silent_partition_delays_nobody(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connstr = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x"
        desk.configure([*desk.connstrs[:3], connstr])
        desk.execute(1, "DROP FUNCTION desk.touch(text)")
        started = time.monotonic()
        found = desk.findings("--timeout", "0.5")
        assert time.monotonic() - started < 3
    assert [(row["partition"], row["problem"]) for row in found] == [
        (3, "unreachable"),
        (1, "missing"),
    ]
    assert "--timeout gives it more time" in found[0]["remedy"]


def test_a_partition_that_can_not_be_used(desk: Desk) -> None:
    """Neither reached nor judged: psycopg reads ISO dates only."""
    desk.configure(options="pooler = true")
    desk.execute(1, "ALTER DATABASE {db} SET datestyle = 'German'")
    check_one(desk, "not answered", 1, "DateStyle", "See to what it says")


def test_a_fault_at_home_and_a_dead_home(desk: Desk) -> None:
    desk.configure(before=f"home = {json.dumps(UNREACHABLE[1])}")
    assert desk.findings(code=0) == []
    asks = PROXY + (
        "CREATE FUNCTION desk.asks(n int4) RETURNS int4 LANGUAGE plproxy AS "
        "$$ CLUSTER 'desk'; RUN ON desk.own_hash(n); $$;"
    )
    for number in range(COUNT):
        desk.execute(number, "CREATE FUNCTION desk.asks(n int4) RETURNS int4 RETURN 1")
    desk.configure(proxy=asks, before=f"home = {json.dumps(UNREACHABLE[1])}")
    (found,) = desk.findings()
    assert (found["subject"], found["problem"]) == ("home database", "unreachable")
    assert "Connection refused" in found["reason"]
    assert "fault: home database, unreachable" in desk.table(code=1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        home = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x"
        desk.configure(proxy=asks, before=f"home = {json.dumps(home)}")
        started = time.monotonic()
        (found,) = desk.findings("--timeout", "0.5")
        assert time.monotonic() - started < 3
    assert found["problem"] == "unreachable"
    desk.configure(proxy=asks, before=f"home = {json.dumps(desk.owner[0])}")
    (found,) = desk.findings()
    assert (found["subject"], found["problem"], found["sqlstate"]) == (
        "desk.asks(int4)",
        "expression",
        "42883",
    )
    assert "RUN ON asks the home database, which refuses: 42883" in found["reason"]
    assert "fault: desk.asks(int4), expression, home database" in desk.table(code=1)
    desk.execute(0, "CREATE FUNCTION desk.own_hash(n int4) RETURNS int4 RETURN 1")
    assert desk.findings(code=0) == []
