"""`plproxy migrate-report` on a database with the real PL/Proxy and planted cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plproxy_py import ConfigError, Router
from plproxy_py.ops.migration.home import home_database
from tests.fix_migrate import (
    CALLERS_FOUND,
    HOME,
    NOTED,
    SAME,
    UNSUPPORTED,
    MigrateHome,
    Report,
    create,
    entries,
    keys_file,
)
from tests.fix_plproxy import PARTS, Plproxy


def functions(rows: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Return the functions' rows by bare name."""
    return {
        name.partition("(")[0].removeprefix("moving."): row
        for name, row in rows.items()
        if row["kind"] == "function"
    }


def test_every_function_and_its_verdict(
    report: Report, migrate_home: MigrateHome
) -> None:
    result = report(migrate_home.connstr(), "--json", code=1)
    rows = functions(entries(result))
    assert rows.keys() == SAME.keys() | NOTED.keys() | UNSUPPORTED.keys()
    for name in SAME:
        row = rows[name]
        assert (row["verdict"], row["reason"], row["differences"]) == ("same", None, [])
    for name, (_, _, differences) in NOTED.items():
        verdict = "same with a note" if differences else "same"
        assert rows[name]["differences"] == differences, name
        assert rows[name]["verdict"] == verdict, name
    for name, (_, _, differences, reason) in UNSUPPORTED.items():
        assert rows[name]["differences"] == differences, name
        assert rows[name]["verdict"] == "not supported", name
        assert reason in str(rows[name]["reason"])


def test_the_reasons_name_what_is_meant(
    report: Report, migrate_home: MigrateHome
) -> None:
    rows = functions(entries(report(migrate_home.connstr(), "--json", code=1)))
    said = {
        "custom": "moving.namehash(key text) is IMMUTABLE, LANGUAGE sql",
        "twice": "moving.tablehash(key text) may read tables",
        "nested": "moving.hash_at(key text) is a proxy function",
        "defined": "as its owner postgres",
        "timed": "statement_timeout=5s",
        "guarded": "EXECUTE is granted to app here",
        "later": "DEFAULT of at is computed by the home database: now()",
        "since": "at is timestamptz",
        "checked": "conditions of positive",
        "doubtful": "RUN ON mmh3(key)",
        "queried": "view moving.all_users",
    }
    for name, text in said.items():
        assert text in str(rows[name]["reason"]), name
    assert rows["guarded"]["execute"] == ["app"]
    assert rows["place"]["execute"] == ["public"]


def test_procedures_are_told_apart(report: Report, migrate_home: MigrateHome) -> None:
    rows = entries(report(migrate_home.connstr(), "--json", code=1))
    row = rows["moving.proceed(text)"]
    assert (row["kind"], row["verdict"]) == ("procedure", "same")
    with psycopg.connect(migrate_home.connstr()) as conn:
        conn.execute("call moving.proceed('x')")
    with Router.from_database(migrate_home.connstr()) as router:
        names = {"router": router}
        exec(row["paste"], names)
        proceed: Any = names["proceed"]
        assert proceed("x") is None


def test_another_encoding_is_asked_at_home(
    report: Report, plproxy: Plproxy, tmp_path: Path
) -> None:
    name = "migrate_eucjp"
    plproxy.create_database(name, encoding="EUC_JP")
    try:
        plproxy.admin(name, "create extension plproxy; create schema moving")
        plproxy.admin(name, "grant usage on schema moving to app")
        head = ("(key text) returns text", "cluster 'c'; run on hashtext(key);")
        plproxy.admin(name, create("f", *head))
        connstr = plproxy.connstr(name)
        row = entries(report(connstr, "--json", code=1))["moving.f(text)"]
        assert "hashes-that-home-may-answer-otherwise" in row["differences"]
        file = keys_file(tmp_path, ["marko", "\u3042"])
        line = report(connstr, "--keys", file).stdout.strip()
        assert "2 keys, 0 go another way, hashed by the database" in line
    finally:
        plproxy.drop_database(name)


def test_callers_in_sql_can_not_move(report: Report, migrate_home: MigrateHome) -> None:
    rows = entries(report(migrate_home.connstr(), "--json", code=1))
    callers = {name: row for name, row in rows.items() if row["kind"] == "caller"}
    assert callers.keys() == CALLERS_FOUND.keys()
    for name, how in CALLERS_FOUND.items():
        assert callers[name]["verdict"] == "not supported"
        assert callers[name]["differences"] == ["in-the-application"]
        assert "calls moving.queried(text) in SQL" in callers[name]["reason"]
        assert how in callers[name]["reason"]


def test_clusters(report: Report, migrate_home: MigrateHome) -> None:
    rows = entries(report(migrate_home.connstr(), "--json", code=1))
    clusters = {name: row for name, row in rows.items() if row["kind"] == "cluster"}
    assert clusters.keys() == {"med", "moving", "nowhere", "slow"}
    whose_name = "whose-name-connections-are-made-in"
    assert clusters["moving"]["differences"] == [whose_name]
    assert "all partitions name no user" in clusters["moving"]["reason"]
    assert clusters["slow"]["differences"] == ["deadlines-are-real", whose_name]
    assert "query_timeout = 5" in clusters["slow"]["reason"]
    assert "partitions 0 name no user" in clusters["med"]["reason"]
    assert clusters["nowhere"]["verdict"] == "not supported"
    assert clusters["nowhere"]["reason"] == "no such cluster: nowhere"


def test_a_role_without_a_user_mapping_still_sees_the_timeout(
    report: Report, migrate_home: MigrateHome
) -> None:
    rows = entries(report(migrate_home.connstr("postgres"), "--json", code=1))
    med = rows["med"]
    assert med["verdict"] == "same with a note"
    assert "user mapping not found for 'postgres'" in med["reason"]
    assert "query_timeout = 7" in med["reason"]


def test_the_table_and_its_summary(report: Report, migrate_home: MigrateHome) -> None:
    result = report(migrate_home.connstr(), code=1)
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["kind", "name", "verdict"]
    (line,) = (line for line in lines if " moving.defined(" in line)
    assert line.split("  ")[0] == "function"
    assert line.endswith("  same with a note")
    at = lines.index("moving.defined(text)")
    assert lines[at + 1].startswith("  security-definer: PL/Proxy connects as its")
    assert "moving.place(text)" not in lines
    # A procedure is the same as well.
    same = 1 + len(SAME) + sum(not noted[2] for noted in NOTED.values())
    noted = sum(bool(noted[2]) for noted in NOTED.values())
    counts = f"{same} same, {noted} with a note, {len(UNSUPPORTED)} not supported"
    assert lines[-3] == f"{same + noted + len(UNSUPPORTED)} functions: {counts}"
    assert lines[-2] == "Callers in SQL: 5, which can not move"
    assert lines[-1].startswith("Searched: views, rules, ")
    assert "Not searched: other databases, applications" in lines[-1]
    again = report("--json", before=("--home", migrate_home.connstr()), code=1)
    assert counts in again.stderr
    assert len(json.loads(again.stdout)) == lines.index("")


def test_what_can_move_exits_with_0(report: Report, plproxy: Plproxy) -> None:
    name = "migrate_clean"
    plproxy.create_database(name)
    try:
        plproxy.admin(name, "create extension plproxy")
        connstr = plproxy.connstr(name)
        assert report(connstr).stdout.splitlines()[-3] == (
            "0 functions: 0 same, 0 with a note, 0 not supported"
        )
        plproxy.admin(
            name,
            "create server alone foreign data wrapper plproxy options "
            f"(p0 'dbname={PARTS[0]} user=app'); grant usage on foreign server alone "
            "to app; create user mapping for app server alone; create schema moving",
        )
        plproxy.admin(name, create("f", "() returns int", "cluster 'alone'; select 1;"))
        rows = entries(report(connstr, "--json"))
        assert {row["verdict"] for row in rows.values()} == {"same"}
        assert rows.keys() == {"moving.f()", "alone"}
    finally:
        plproxy.drop_database(name)


def test_nothing_is_written(report: Report, migrate_home: MigrateHome) -> None:
    """The role may write, and a function that is asked does: it fails, and is told."""
    migrate_home.run(
        "create or replace function plproxy.get_cluster_config("
        "cluster_name text, out key text, out val text) returns setof record "
        "security definer language plpgsql as $$ begin insert into moving.users "
        "values ('x'); return; end $$"
    )
    try:
        rows = entries(report(migrate_home.connstr(), "--json", code=1))
    finally:
        migrate_home.run(
            "create or replace function plproxy.get_cluster_config("
            "cluster_name text, out key text, out val text) returns setof record "
            "security definer language sql as $$ select key, val from "
            "plproxy.config where cluster = cluster_name $$"
        )
    assert "read-only transaction" in rows["moving"]["reason"]
    assert rows["moving.place(text)"]["verdict"] == "not supported"
    assert migrate_home.run("select count(*) from moving.users") == [(0,)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Say which database"),
        (["dbname=x", "--function", "f"], "--function goes with --keys"),
        (["dbname=x", "--paste", "--json"], "--paste goes with neither"),
    ],
)
def test_wrong_usage(report: Report, words: list[str], message: str) -> None:
    assert message in report(*words, code=2).stderr


def test_two_homes_are_one_too_many(report: Report) -> None:
    result = report("dbname=x", before=("--home", "dbname=y"), code=2)
    assert "exclude each other" in result.stderr


def test_errors_are_one_line(
    report: Report, plproxy: Plproxy, migrate_home: MigrateHome
) -> None:
    partition = report(plproxy.connstr(PARTS[0]), code=1).stderr
    assert partition.startswith("Error 42704: this database has no language plproxy")
    nowhere = report(f"{migrate_home.connstr()} dbname=nowhere", code=1).stderr
    assert nowhere.startswith("Error")
    assert 'database "nowhere" does not exist' in nowhere
    secret = report("host=/nowhere password=sekret", code=1).stderr
    assert secret.startswith("Error")
    garbled = report("sekret nonsense", code=1).stderr
    assert garbled.startswith("Error F0000")
    for text in (partition, nowhere, secret, garbled):
        assert text.count("\n") == 1


def test_it_reads_only(migrate_home: MigrateHome) -> None:
    with home_database(migrate_home.connstr("postgres")) as home:
        with home.snapshot(), pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            home.rows("create table moving.written ()")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            home.hashes(b"insert into moving.keys select unnest($1::text[])", ["x"])
        with pytest.raises(ConfigError), home.snapshot():
            home.rows("select 1 / 0")
    assert migrate_home.plproxy.admin(HOME, "select count(*) from moving.keys") == [
        (10,)
    ]
