"""``plproxy exec``: one statement everywhere, which changes nothing unless it may."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
from functools import partial
from typing import Any

import pytest
from click.testing import CliRunner

from plproxy_py.cli import main
from tests.both import wait_until
from tests.fix_cli import PLPROXY, UNREACHABLE, lines, rows
from tests.fix_deploy import FIRST, Shop, write_config
from tests.fix_servers import Servers

WRITE = ("--write", "--yes")
COUNT_PRICES = "SELECT count(*) FROM shop.prices"


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    """The shop with a table, one row on each partition."""
    shop.deploy(shop.file(FIRST))
    return shop


def run(shop: Shop, *args: str, code: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows(
        shop.run("exec", "shop", "--json", *args, code=code)
    )
    return found


def test_rows_of_all_partitions(stocked: Shop) -> None:
    sql = "SELECT item, price FROM prices"
    assert lines(stocked.run("exec", "shop", sql.replace("item", "1 AS a"))) == [
        ["partition", "a", "price"],
        *[[str(number), "1", "3"] for number in range(4)],
    ]
    assert run(stocked, sql) == [
        {"partition": number, "item": "tea; green", "price": 3} for number in range(4)
    ]
    some = run(stocked, sql, "--partition", "2", "--partition", "0")
    assert [row["partition"] for row in some] == [0, 2]
    assert len(run(stocked, sql, "--all")) == 4
    assert run(stocked, f"{sql} WHERE false") == []


def test_values(shop: Shop) -> None:
    sql = """SELECT 1::int8 AS i, 0.5::float8 AS f, 'NaN'::float8 AS nan, true AS b,
        1.50 AS n, '{"a": [1]}'::jsonb AS j, 'infinity'::date AS d, '{1,2}'::int[] AS a,
        '\\x00ff'::bytea AS x, NULL AS nothing, '%s' AS t, 1 AS i"""
    (row,) = run(shop, sql, "--partition", "1")
    assert row == {
        "partition": 1,
        "i": 1,
        "f": 0.5,
        "nan": "NaN",
        "b": True,
        "n": "1.50",
        "j": {"a": [1]},
        "d": "infinity",
        "a": "{1,2}",
        "x": "\\x00ff",
        "nothing": None,
        "t": "%s",
        "i_2": 1,
    }


def test_csv(stocked: Shop) -> None:
    sql = "SELECT item, NULL AS n, true AS b FROM prices"
    text = stocked.run("exec", "shop", sql, "--csv", "--partition", "3").stdout
    assert list(csv.reader(io.StringIO(text))) == [
        ["partition", "item", "n", "b"],
        ["3", "tea; green", "", "true"],
    ]
    wrong = stocked.run("exec", "shop", sql, "--csv", "--json", code=2)
    assert "exclude each other" in wrong.stderr


def test_statements_without_rows(stocked: Shop) -> None:
    sql = "INSERT INTO prices SELECT 'x' || n, n FROM generate_series(1, 3) n"
    assert lines(stocked.run("exec", "shop", sql, *WRITE, "--partition", "1")) == [
        ["partition", "command", "rows"],
        ["1", "INSERT", "3"],
    ]
    assert stocked.each(COUNT_PRICES) == [[(1,)], [(4,)], [(1,)], [(1,)]]
    found = run(stocked, "UPDATE prices SET price = 1", *WRITE)
    assert [(row["command"], row["rows"]) for row in found] == [
        *(("UPDATE", 1), ("UPDATE", 4), ("UPDATE", 1), ("UPDATE", 1))
    ]
    found = run(stocked, "DELETE FROM prices RETURNING item, price", *WRITE)
    assert [row["partition"] for row in found] == [0, 1, 1, 1, 1, 2, 3]
    (vacuum, *_) = run(stocked, "VACUUM prices", *WRITE)
    assert vacuum == {"partition": 0, "command": "VACUUM", "rows": None}


def test_columns_may_differ(stocked: Shop) -> None:
    stocked.query(2, "ALTER TABLE prices ADD COLUMN partition text DEFAULT 'two'")
    stocked.query(3, "ALTER TABLE prices RENAME COLUMN price TO error")
    stocked.query(1, "DROP TABLE prices")
    result = stocked.run("exec", "shop", "TABLE prices", "--json", code=1)
    assert [list(row.values()) for row in rows(result)] == [
        [0, "tea; green", 3, None, None, None],
        [1, None, None, None, None, '42P01: relation "prices" does not exist'],
        [2, "tea; green", 3, "two", None, None],
        [3, "tea; green", None, None, 3, None],
    ]
    assert list(rows(result)[0]) == [
        *("partition_number", "item", "price", "partition", "error"),
        "partition_error",
    ]


ATTEMPTS = [
    "INSERT INTO shop.prices VALUES ('x', 1)",
    "WITH x AS (INSERT INTO shop.prices VALUES ('x', 1) RETURNING 1) SELECT * FROM x",
    "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM shop.prices; END $$",
    "DO $$ BEGIN COMMIT; DELETE FROM shop.prices; END $$",
    "DO $$ BEGIN PERFORM set_config('transaction_read_only', 'off', true); "
    "DELETE FROM shop.prices; END $$",
    "EXPLAIN ANALYZE DELETE FROM shop.prices",
    "CREATE TABLE shop.other ()",
    "TRUNCATE shop.prices",
    "VACUUM shop.prices",
    "COPY shop.prices FROM PROGRAM 'echo x'",
    "ALTER SYSTEM SET work_mem = '5MB'",
]


@pytest.mark.parametrize("sql", ATTEMPTS)
def test_nothing_is_changed_without_write(stocked: Shop, sql: str) -> None:
    found = run(stocked, sql, "--partition", "0", code=1)
    assert found[0]["error"][:6] in ("25006:", "25001:", "2D000:")
    assert stocked.query(0, "TABLE prices") == [("tea; green", 3)]


@pytest.mark.parametrize(
    "sql",
    [
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SET default_transaction_read_only = off",
        "SET search_path = nowhere",
        "SELECT set_config('search_path', 'nowhere', false)",
        "SELECT pg_advisory_lock(7)",
        "PREPARE later AS DELETE FROM shop.prices",
    ],
)
def test_nothing_sticks(stocked: Shop, sql: str) -> None:
    """What a session was told is gone with it: the next one reads, and as before."""
    for text in (sql, "TABLE prices"):
        assert len(run(stocked, text, "--partition", "0")) == 1
    changed = run(stocked, ATTEMPTS[0], "--partition", "0", code=1)
    assert changed[0]["error"].startswith("25006: ")
    assert stocked.query(0, "SELECT FROM pg_locks WHERE locktype = 'advisory'") == []


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("COMMIT; DELETE FROM shop.prices", "exec takes one statement, it has 2, on"),
        ("SELECT 1;\nSELECT 2", "exec takes one statement, it has 2, on lines 1, 2"),
        ("-- nothing", "exec takes one statement, it has none"),
        ("COMMIT", "COMMIT: exec itself begins and ends its transaction"),
        ("start transaction read write", "START: exec itself"),
        ("SELECT $1", "there is no parameter $1"),
        ("COPY shop.prices TO STDOUT", "COPY through the client"),
        ("\\dt", "\\dt is a command of psql's own"),
        ("SELECT 'a", "unterminated quoted string"),
    ],
)
@pytest.mark.parametrize("write", [(), WRITE])
def test_refused(stocked: Shop, sql: str, said: str, write: tuple[str, ...]) -> None:
    result = stocked.run("exec", "shop", *write, "--", sql, code=1)
    assert result.stderr.startswith("Error 42601: ")
    assert said in result.stderr
    assert stocked.query(0, COUNT_PRICES) == [(1,)]


def test_bad_input(shop: Shop) -> None:
    wrong = shop.run("exec", "shap", "SELECT 1", code=1)
    assert "cluster not found: shap; did you mean 'shop'?" in wrong.stderr
    wrong = shop.run("exec", "shop", "SELECT 1", "--partition", "9", code=1)
    assert "no partition 9, it has 0 to 3; did you mean 3?" in wrong.stderr
    assert "Give the SQL, or -f" in shop.run("exec", "shop", code=2).stderr
    both = shop.run("exec", "shop", "SELECT 1", "--all", "--partition", "1", code=2)
    assert "exclude each other" in both.stderr
    wrong = shop.run("exec", "shop", "SELECT 1", "--write", code=2)
    assert "there is no terminal to ask at: say --yes" in wrong.stderr
    wrong = shop.run("exec", "shop", "SELECT 1", *WRITE, "--watch", "1", code=2)
    assert "--watch does not go with --write" in wrong.stderr
    wrong = shop.run("exec", "shop", "SET a.b = 1", *WRITE, code=1)
    assert "SET would last no longer than its session" in wrong.stderr


def test_sql_of_a_file_and_of_stdin(stocked: Shop) -> None:
    path = stocked.file("-- how many\nSELECT count(*) AS n\nFROM prices;\n", "n.sql")
    assert [row["n"] for row in run(stocked, "-f", str(path))] == [1] * 4
    result = CliRunner().invoke(
        main,
        ["exec", "shop", "-f", "-", "--json"],
        input=path.read_text(),
        env={"PLPROXY_CONFIG": str(stocked.config)},
    )
    assert [row["n"] for row in rows(result)] == [1] * 4


def test_it_is_asked_before_a_change(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "INSERT INTO shop.prices VALUES ('x', 1)"
    command = ["exec", "shop", sql, "--write", "--partition", "1"]
    env = {"PLPROXY_CONFIG": str(stocked.config)}
    monkeypatch.setattr("plproxy_py.cli.changing.is_answerable", lambda: True)
    no = CliRunner().invoke(main, command, input="n\n", env=env)
    assert no.exit_code == 1
    assert "On partition 1 of shop: INSERT INTO shop.prices VALUES ( …\n" in no.stderr
    assert "Run this? [y/N]" in no.stderr
    assert stocked.query(1, COUNT_PRICES) == [(1,)]
    yes = CliRunner().invoke(main, command, input="y\n", env=env)
    assert yes.exit_code == 0
    assert stocked.each(COUNT_PRICES) == [[(1,)], [(2,)], [(1,)], [(1,)]]


def test_partitions_that_can_not_be_asked(shop: Shop) -> None:
    write_config(shop.folder, [*shop.connstrs[:2], *UNREACHABLE])
    found = run(shop, "SELECT 1 AS a", code=1)
    assert [row["a"] for row in found] == [1, 1, None, None]
    assert all(row["error"].startswith("08001: ") for row in found[2:])
    table = shop.run("exec", "shop", "SELECT 1 AS a", code=1).stdout
    assert [line.split()[0] for line in table.splitlines()[1:]] == ["0", "1", "2", "3"]
    assert table.count("08001: ") == 2


def test_what_partitions_say_beside_their_answers(shop: Shop) -> None:
    sql = "DO $$ BEGIN RAISE WARNING E'look\n%', current_database(); END $$"
    found = shop.run("exec", "shop", sql, "--partition", "1")
    assert found.stderr.startswith("partition 1: WARNING: look; ")
    assert found.stdout.splitlines()[-1].split()[:2] == ["1", "DO"]


def test_a_frozen_partition_delays_no_other(four_shops: Shop, servers: Servers) -> None:
    servers[3].freeze()
    found = run(four_shops, "SELECT 1 AS a", "--timeout", "0.5", code=1)
    assert [row["a"] for row in found] == [1, 1, 1, None]
    assert found[3]["error"].startswith("57014: ")


def test_a_statement_that_takes_too_long(stocked: Shop) -> None:
    found = run(stocked, "SELECT pg_sleep(30)", "--timeout", "0.3", code=1)
    assert [row["error"][:6] for row in found] == ["57014:"] * 4
    sql = "INSERT INTO prices SELECT 'x', 1 FROM pg_sleep(30)"
    found = run(stocked, sql, *WRITE, "--timeout", "0.3", code=1)
    # The server's own word: it took no effect.
    assert [row["error"] for row in found] == [
        "57014: canceling statement due to statement timeout"
    ] * 4


def test_a_change_whose_end_was_not_seen(four_shops: Shop, servers: Servers) -> None:
    def sleeps(number: int) -> bool:
        return "SELECT pg_sleep(30)" in servers.active("plproxy_py", number)

    servers[3].freeze()
    sql = "CREATE TABLE one ()"
    found = run(four_shops, sql, *WRITE, "--timeout", "0.5", code=1)
    assert [row["command"] for row in found] == [*["CREATE TABLE"] * 3, None]
    servers.heal()
    with subprocess.Popen(
        [*PLPROXY, "exec", "shop", "SELECT pg_sleep(30)", *WRITE, "--json"],
        env={**os.environ, "PLPROXY_CONFIG": str(four_shops.config)},
        stdout=subprocess.PIPE,
    ) as process:
        for number in range(4):
            wait_until(partial(sleeps, number), 20)
        servers[3].crash()
        for number in range(3):
            servers.execute(
                number,
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                "WHERE query = 'SELECT pg_sleep(30)'",
            )
        out, _ = process.communicate(timeout=20)
    errors = [row["error"] for row in json.loads(out)]
    assert errors[:3] == ["57014: canceling statement due to user request"] * 3
    assert errors[3].startswith("08006: the connection was lost: ")
    assert errors[3].endswith("; whether it took effect is unknown")


def test_partitions_that_are_one_target(stocked: Shop) -> None:
    connstrs = stocked.connstrs
    write_config(stocked.folder, [connstrs[0], connstrs[1], connstrs[0], connstrs[3]])
    found = run(stocked, "UPDATE prices SET price = price + 1", *WRITE)
    assert [row["partition"] for row in found] == [0, 1, 3]
    assert stocked.query(0, "SELECT price FROM prices") == [(4,)]
    found = run(stocked, "TABLE prices", "--partition", "2")
    assert [row["partition"] for row in found] == [2]


def test_watch(stocked: Shop) -> None:
    command = [*PLPROXY, "exec", "shop", COUNT_PRICES, "--watch", "0.1", "--json"]
    env = {**os.environ, "PLPROXY_CONFIG": str(stocked.config)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 130
    assert [[row["count"] for row in look] for look in looks] == [[1] * 4] * 2
