"""``plproxy deploy``: what runs, what is remembered, what is shown, what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess

import psycopg
import pytest
from click.testing import CliRunner

from plproxy_py.cli import main
from plproxy_py.ops.deploy import journal
from plproxy_py.ops.deploy.journal import KEYS
from tests.fix_cli import PLPROXY, lines
from tests.fix_deploy import FIRST, SECOND, Shop, states

DONE = ["done"] * 4
ALREADY = ["already there"] * 4
SNAPSHOT = """
    SELECT 'function', oid::regprocedure::text, xmin::text FROM pg_proc
        WHERE pronamespace = 'shop'::regnamespace
    UNION ALL SELECT 'relation', relname, xmin::text FROM pg_class
        WHERE relnamespace = 'shop'::regnamespace
    UNION ALL SELECT 'schema', nspname, xmin::text FROM pg_namespace
    ORDER BY 1, 2"""


def test_a_deploy_and_what_it_leaves(shop: Shop) -> None:
    path = shop.file(FIRST)
    first, *others = lines(shop.run("deploy", "shop", path, "--yes"))
    assert first == ["partition", "state", "statements", "seconds"]
    assert [line[:3] for line in others] == [[str(n), "done", "3"] for n in range(4)]
    assert shop.each("SELECT price('tea; green')") == [[(3,)]] * 4
    entries = [("shop.sql", number, True) for number in (1, 2, 3)]
    assert [shop.journal(number) for number in range(4)] == [entries] * 4
    (by,) = shop.query(0, "SELECT DISTINCT deployed_by = session_user::text, "
        "done_at - now() < interval '1 min' FROM plproxy.deployed")  # fmt: skip
    assert by == (True, True)


def test_a_second_run_does_nothing(shop: Shop) -> None:
    path = shop.file(FIRST)
    shop.deploy(path)
    before = shop.each("SELECT * FROM plproxy.deployed")
    reports = shop.deploy(path)
    assert [(r["state"], r["statements"]) for r in reports] == [
        ("already there", 0)
    ] * 4
    assert shop.each("SELECT * FROM plproxy.deployed") == before
    table = shop.run("deploy", "shop", path, "--yes")
    assert "already there" in table.stdout
    assert "Run this?" not in table.stderr


def test_of_a_changed_file_only_the_new_statements_run(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    reports = shop.deploy(shop.file(SECOND))
    assert [(r["state"], r["statements"]) for r in reports] == [("done", 2)] * 4
    assert (
        shop.each("SELECT price(item) FROM prices ORDER BY item") == [[(8,), (6,)]] * 4
    )
    # Back to the first: its function is new again, its INSERT has run.
    assert states(shop.deploy(shop.file(FIRST))) == DONE
    assert (
        shop.each("SELECT price(item) FROM prices ORDER BY item") == [[(4,), (3,)]] * 4
    )
    assert states(shop.deploy(shop.file(FIRST))) == ALREADY


def test_settings_of_a_file_hold_for_what_is_new(shop: Shop) -> None:
    text = (
        "CREATE SCHEMA IF NOT EXISTS other; SET search_path = other; CREATE TABLE a ();"
    )
    shop.each("DROP SCHEMA IF EXISTS other CASCADE")
    shop.deploy(shop.file(text))
    shop.deploy(shop.file(text + "CREATE TABLE b ();"))
    then = shop.file("CREATE TABLE c ();", "then.sql")
    both = shop.file(text + "CREATE TABLE b (); SELECT 1;")
    assert states(shop.deploy(both, then)) == DONE
    query = "SELECT oid::regclass::text FROM pg_class WHERE relname IN ('a', 'b', 'c')"
    assert shop.query(0, f"{query} ORDER BY 1") == [("c",), ("other.a",), ("other.b",)]


def test_a_role_that_a_file_takes_is_not_the_journals(shop: Shop) -> None:
    text = """
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shopkeeper') THEN
                CREATE ROLE shopkeeper;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
        END $$;
        GRANT ALL ON SCHEMA shop TO shopkeeper;
        SET ROLE shopkeeper;
        CREATE TABLE own ();
    """
    assert states(shop.deploy(shop.file(text), "--jobs", "1")) == DONE
    query = "SELECT tableowner FROM pg_tables WHERE tablename = 'own'"
    assert shop.each(query) == [[("shopkeeper",)]] * 4
    shop.each("DROP OWNED BY shopkeeper")
    shop.query(0, "DROP ROLE shopkeeper")


def test_a_dry_run_shows_and_changes_nothing(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    before = shop.each(SNAPSHOT)
    path = shop.file(
        SECOND + "CREATE FUNCTION added() RETURNS int LANGUAGE sql AS 'SELECT 1';"
    )
    table = shop.run("deploy", "shop", path, "--dry-run").stdout
    found = [line.split("  ") for line in table.splitlines()]
    assert found[0][0] == "partitions"
    assert "0-3         statement         CREATE OR REPLACE FUNCTION price(" in table
    assert "0-3         function changed  shop.price(item text)" in table
    assert "0-3         function new      shop.added()" in table
    listed = shop.deploy(path, "--dry-run")
    assert [(row["partitions"], row["change"], row["line"]) for row in listed] == [
        ([0, 1, 2, 3], "statement", 3),
        ([0, 1, 2, 3], "statement", 6),
        ([0, 1, 2, 3], "statement", 6),
        ([0, 1, 2, 3], "function new", None),
        ([0, 1, 2, 3], "function changed", None),
    ]
    assert shop.each(SNAPSHOT) == before
    shop.query(2, "ALTER TABLE prices RENAME TO older")
    failing = shop.deploy(path, "--dry-run", code=1)
    (error,) = [row for row in failing if row["change"] == "error"]
    assert error["partitions"] == [2]
    assert error["what"].startswith("42P01: shop.sql:")
    assert states(shop.deploy(path, code=1)).count("failed") == 1


def test_a_dry_run_where_nothing_is_new(shop: Shop) -> None:
    path = shop.file(FIRST)
    shop.deploy(path)
    (row,) = shop.deploy(path, "--dry-run")
    assert (row["partitions"], row["change"]) == ([0, 1, 2, 3], "nothing new")


AMBIGUOUS = FIRST + (
    "CREATE FUNCTION price(item text, taxed bool DEFAULT false) RETURNS int4 "
    "LANGUAGE sql AS 'SELECT 1';"
)


def test_a_call_that_would_become_ambiguous(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    before = shop.each(SNAPSHOT)
    path = shop.file(AMBIGUOUS)
    (row,) = [
        row
        for row in shop.deploy(path, "--dry-run", code=1)
        if row["change"] == "call fails"
    ]
    assert row["partitions"] == [0, 1, 2, 3]
    assert row["what"].startswith("shop.price(text): 42725 function shop.price(text)")
    reports = shop.deploy(path, "--keep-going", code=1)
    assert states(reports) == ["failed"] * 4
    assert "42725: calls that worked before" in reports[0]["error"]
    assert "shop.price(text)" in reports[0]["error"]
    assert shop.each(SNAPSHOT) == before
    table = shop.run("deploy", "shop", path, "--yes", "--canary", "2", code=1).stdout
    assert [line.split()[1] for line in table.splitlines()[1:]] == [
        *("not", "not", "failed", "not"),
    ]


def test_calls_of_a_version_that_still_runs(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    old = shop.file(
        "CREATE FUNCTION shop.price(item text, OUT price int4) LANGUAGE plproxy AS $$"
        "CLUSTER 'shop'; RUN ON hashtext(item); SELECT p FROM (SELECT price AS p FROM "
        "prices) x; $$;",
        "old.sql",
    )
    path = shop.file("ALTER TABLE prices RENAME COLUMN price TO amount;", "new.sql")
    assert states(shop.deploy(path, "--also-check", old, code=1)).count("failed") >= 1
    assert shop.each("SELECT price FROM prices") == [[(3,)]] * 4
    reports = shop.deploy(path, "--also-check", old, "--canary", "0", code=1)
    assert reports[0]["error"].startswith("42703: calls that worked before would fail")
    assert "shop.price(text) of old.sql" in reports[0]["error"]
    none = shop.file("SELECT 1;", "none.sql")
    result = shop.run("deploy", "shop", path, "--also-check", none, "--yes", code=1)
    assert "none.sql: declares no function of cluster 'shop'" in result.stderr


def test_what_was_broken_before_is_a_warning(shop: Shop) -> None:
    reports = shop.deploy(shop.file("CREATE TABLE other ();"))
    assert states(reports) == DONE
    assert reports[0]["warning"].startswith("shop.price(text): 42883 ")
    assert reports[0]["error"] is None


def test_the_canary_goes_first_and_alone(shop: Shop) -> None:
    text = (
        "DO $$ BEGIN IF current_database() LIKE '%shop02' THEN "
        "RAISE EXCEPTION 'no luck'; END IF; END $$;"
    )
    path = shop.file(f"{FIRST}{text}")
    reports = shop.deploy(path, "--canary", "2", "--keep-going", code=1)
    assert states(reports) == ["not begun", "not begun", "failed", "not begun"]
    assert reports[2]["error"] == "P0001: shop.sql:6: DO …: no luck"
    assert shop.each("SELECT to_regclass('prices')::text") == [[(None,)]] * 4
    kept = shop.deploy(path, "--canary", "1", "--keep-going", code=1)
    assert states(kept) == ["done", "done", "failed", "done"]


def test_a_lock_that_somebody_has(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    text = FIRST + "ALTER TABLE prices ADD COLUMN until date;"
    path = shop.file(text)
    with shop.held(1, "LOCK TABLE prices IN ACCESS SHARE MODE"):
        given = ("--lock-timeout", "0.2", "--keep-going")
        reports = shop.deploy(path, *given, code=1)
        assert states(reports) == ["done", "failed", "done", "done"]
        assert reports[1]["error"].startswith("55P03: shop.sql:6: ALTER TABLE prices")
        (trial,) = [
            row
            for row in shop.deploy(path, *given, "--dry-run", code=1)
            if row["change"] == "error"
        ]
        assert trial["partitions"] == [1]
        assert trial["what"].startswith("55P03: ")
    assert states(shop.deploy(path)) == [
        *("already there", "done", "already there", "already there")
    ]


def test_another_deploy_at_work(shop: Shop) -> None:
    path = shop.file(FIRST)
    with shop.held(3, f"SELECT pg_advisory_xact_lock{KEYS}") as pid:
        reports = shop.deploy(path, "--lock-timeout", "0.2", "--keep-going", code=1)
        assert states(reports) == ["done", "done", "done", "failed"]
        assert (
            f"55P03: another deploy is at work there: process {pid} of"
            in (reports[3]["error"])
        )


def test_a_statement_that_takes_too_long(shop: Shop) -> None:
    path = shop.file("SELECT pg_sleep(30);")
    given = ("--statement-timeout", "0.1", "--keep-going")
    reports = shop.deploy(path, *given, code=1)
    assert states(reports) == ["failed"] * 4
    assert reports[0]["error"].startswith("57014: shop.sql:1: SELECT pg_sleep(30)")


def test_a_constraint_that_fails_at_commit(shop: Shop) -> None:
    text = """CREATE TABLE a (id int PRIMARY KEY);
        CREATE TABLE b (id int REFERENCES a DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO b VALUES (1);"""
    reports = shop.deploy(shop.file(text), "--keep-going", code=1)
    assert states(reports) == ["failed"] * 4
    assert reports[0]["error"].startswith("23503: COMMIT: insert or update on table")
    assert reports[0]["statements"] == 0
    (row,) = [
        row
        for row in shop.deploy(shop.file(text), "--dry-run", code=1)
        if row["change"] == "error"
    ]
    assert row["what"].startswith("23503: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT 1;\n\\i other.sql\n", "Error 42601: shop.sql:2: \\i is a command of"),
        ("BEGIN;", "Error 42601: shop.sql:1: BEGIN: the deploy itself"),
        ("COPY t FROM STDIN;", "Error 42601: shop.sql:1: COPY through the client"),
        ("SELECT 'a", "Error 42601: shop.sql:1: unterminated quoted string"),
    ],
)
def test_files_that_are_refused(shop: Shop, text: str, said: str) -> None:
    result = shop.run("deploy", "shop", shop.file(text), "--yes", code=1)
    assert result.stderr.startswith(said)


def test_bad_input(shop: Shop) -> None:
    path = shop.file(FIRST)
    unsaid = shop.run("deploy", "shop", path, code=2)
    assert "there is no terminal to ask at: say --yes" in unsaid.stderr
    wrong = shop.run("deploy", "shap", path, "--yes", code=1)
    assert "cluster not found: shap; did you mean 'shop'?" in wrong.stderr
    wrong = shop.run("deploy", "shop", path, "--yes", "--canary", "4", code=1)
    assert "no partition 4, it has 0 to 3; did you mean 3?" in wrong.stderr
    assert "does not exist" in shop.run("deploy", "shop", "no.sql", code=2).stderr
    (shop.folder / "more").mkdir()
    other = shop.file(FIRST, "more/shop.sql")
    twice = shop.run("deploy", "shop", path, other, "--yes", code=1)
    assert "two files are called shop.sql" in twice.stderr
    shop.file("\xff").write_bytes(b"\xff")
    assert "can't be read" in shop.run("deploy", "shop", path, "--yes", code=1).stderr


def test_passwords_stay_out_of_sight(shop: Shop) -> None:
    text = "CREATE ROLE keeper PASSWORD 'sekret' NONSENSE;"
    reports = shop.deploy(shop.file(text), "--jobs", "1", "--keep-going", code=1)
    assert reports[0]["error"].startswith("42601: shop.sql:1: CREATE ROLE keeper ")
    text = "DO $$ BEGIN END $$; SELECT 'password=sekret';"
    assert states(shop.deploy(shop.file(text))) == DONE
    query = "SELECT statement FROM plproxy.deployed WHERE number = 2"
    assert shop.query(0, query) == [("SELECT '****'",)]


def test_two_numbers_of_one_database(shop: Shop) -> None:
    text = shop.config.read_text()
    database = "shop02"
    assert database in text
    # In other words: another target to a router, the same database.
    same = text.replace(database, "shop01", 1)
    there = "user=postgres"
    shop.config.write_text(same.replace(there, f"{there} connect_timeout=7", 1))
    reports = shop.deploy(shop.file(FIRST))
    assert [(r["state"], r["statements"]) for r in reports] == [
        *(("done", 3), ("done", 3), ("done", 0), ("done", 3))
    ]
    assert shop.query(1, "SELECT count(*) FROM prices") == [(1,)]
    assert shop.query(2, "SELECT to_regclass('prices')::text") == [(None,)]


def test_two_search_paths_of_one_database(shop: Shop) -> None:
    text = shop.config.read_text().replace("shop02", "shop01", 1)
    head, _, tail = text.partition("shop01")
    shop.config.write_text(head + "shop01" + tail.replace(
        "shop01", "shop01 options='-c search_path=public'", 1))  # fmt: skip
    result = shop.run("deploy", "shop", shop.file(FIRST), "--yes", code=1)
    assert "are one database under two search paths" in result.stderr


def test_it_is_asked_before_a_deploy(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["deploy", "shop", str(shop.file(FIRST)), "--canary", "0"]
    env = {"PLPROXY_CONFIG": str(shop.config)}
    monkeypatch.setattr("plproxy_py.cli.changing.is_answerable", lambda: True)
    no = CliRunner().invoke(main, command, input="n\n", env=env)
    assert no.exit_code == 1
    assert no.stderr.startswith("On partition 0-3 of shop:\n  shop.sql:2: CREATE TABLE")
    assert shop.each("SELECT to_regclass('plproxy.deployed')") == [[(None,)]] * 4
    yes = CliRunner().invoke(main, command, input="y\n", env=env)
    assert yes.exit_code == 0
    assert "Run this? [y/N]" in yes.stderr
    # Where nothing is new there is nothing to ask.
    assert CliRunner().invoke(main, command, env=env).exit_code == 0


def test_two_deploys_at_once(shop: Shop) -> None:
    path = shop.file(FIRST + "SELECT pg_sleep(0.3);")
    patience = ("--lock-timeout", "60")
    processes = [
        subprocess.Popen(
            [*PLPROXY, "deploy", "shop", str(path), "--yes", "--json", *patience],
            env={**os.environ, "PLPROXY_CONFIG": str(shop.config)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    found = [json.loads(process.communicate(timeout=90)[0]) for process in processes]
    for one, other in zip(*map(states, found), strict=True):
        assert {one, other} == {"done", "already there"}
    assert shop.each("SELECT count(*) FROM prices") == [[(1,)]] * 4
    assert [len(shop.journal(number)) for number in range(4)] == [4] * 4


def test_a_file_without_a_statement(shop: Shop) -> None:
    """It is a mistake rather than nothing to do."""
    path = shop.file("-- to be written\n/* nothing yet */;\n")
    result = shop.run("deploy", "shop", path, "--yes", code=1)
    assert f"{path}: there is no statement in it" in result.stderr


def test_a_journal_that_another_deploy_has_just_made(shop: Shop) -> None:
    """Our transaction began before that one ended, and the session knew of none."""

    async def meet() -> None:
        connect = psycopg.AsyncConnection.connect
        one = await connect(shop.connstrs[0], autocommit=True)
        other = await connect(shop.connstrs[0], autocommit=True)
        async with one, other:
            for question in (
                "to_regclass('plproxy.deployed')",
                "to_regnamespace('plproxy')",
            ):
                await one.execute(f"SELECT {question}".encode())
            assert await journal.read(one, ["shop.sql"]) == []
            await one.execute("BEGIN")
            await journal.make(other)
            await journal.make(one)
            assert await journal.read(one, ["shop.sql"]) == []

    asyncio.run(meet())
