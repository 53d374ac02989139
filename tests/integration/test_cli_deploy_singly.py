"""``plproxy deploy --no-transaction``: a statement at a time, indexes first of all."""

from __future__ import annotations

import threading
import time

from tests.both import wait_until
from tests.fix_deploy import FIRST, Shop, states, write_config
from tests.fix_servers import Servers
from tests.integration.test_cli_deploy_faults import NAME, at

SINGLY = "--no-transaction"
INDEX = "CREATE UNIQUE INDEX CONCURRENTLY prices_price ON shop.prices (price);"
BROKEN = (
    "index prices_price is INVALID, left by a broken CREATE INDEX CONCURRENTLY: "
    "DROP INDEX CONCURRENTLY prices_price; then deploy again"
)
FAILED = "failed"
VALID = """SELECT indisvalid FROM pg_index
    WHERE indexrelid = to_regclass('shop.prices_price')"""


def test_an_index_beside_the_traffic(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    path = shop.file(f"{INDEX} VACUUM shop.prices;", "indexes.sql")
    wrong = shop.deploy(path, "--canary", "0", code=1)
    assert wrong[0]["error"].startswith(
        "25001: indexes.sql:1: CREATE UNIQUE INDEX CONCURRENTLY prices_price ON "
        "shop.price…: (--no-transaction is for this)"
    )
    listed = shop.deploy(path, SINGLY, "--dry-run")
    assert [(row["change"], row["line"]) for row in listed] == [
        *(("statement", 1), ("statement", 1)),
    ]
    reports = shop.deploy(path, SINGLY)
    assert [(r["state"], r["statements"]) for r in reports] == [("done", 2)] * 4
    assert shop.each(VALID) == [[(True,)]] * 4
    assert shop.journal(2)[-2:] == [("indexes.sql", 1, True), ("indexes.sql", 2, True)]
    assert states(shop.deploy(path, SINGLY)) == ["already there"] * 4


def test_an_index_that_breaks(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    shop.query(1, "INSERT INTO prices VALUES ('mate', 3)")
    path = shop.file(INDEX, "indexes.sql")
    reports = shop.deploy(path, SINGLY, "--keep-going", code=1)
    assert states(reports) == ["done", FAILED, "done", "done"]
    assert reports[1]["error"].startswith("23505: indexes.sql:1: CREATE UNIQUE INDEX")
    assert reports[1]["error"].endswith(BROKEN)
    assert shop.query(1, VALID) == [(False,)]
    again = shop.deploy(path, SINGLY, code=1)
    assert states(again)[1] == FAILED
    assert again[1]["error"] == f"55000: {BROKEN}"
    # IF NOT EXISTS would pass over it in silence.
    silent = shop.file(INDEX.replace("LY p", "LY IF NOT EXISTS p"), "silent.sql")
    assert shop.deploy(silent, SINGLY, "--keep-going", code=1)[1]["error"] == (
        f"55000: {BROKEN}"
    )
    shop.query(1, "DROP INDEX CONCURRENTLY prices_price")
    shop.query(1, "DELETE FROM prices WHERE item = 'mate'")
    assert states(shop.deploy(path, SINGLY)) == [
        *("already there", "done", "already there", "already there")
    ]


def test_an_index_that_is_stopped(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    shop.query(1, "INSERT INTO prices VALUES ('mate', 3)")
    late = "DO $$ BEGIN IF current_database() LIKE '%shop01' THEN "
    late += "PERFORM pg_sleep(1); END IF; END $$;"
    path = shop.file(late + INDEX, "indexes.sql")
    # It waits for this transaction when partition 1 fails.
    with shop.held(2, "SELECT * FROM prices"):
        reports = shop.deploy(path, SINGLY, "--canary", "0", code=1)
    assert states(reports)[:3] == ["done", FAILED, FAILED]
    assert reports[1]["error"].startswith("23505: ")
    assert reports[2]["error"] == f"55000: indexes.sql:1: it was stopped; {BROKEN}"
    assert shop.journal(2) == shop.journal(1)
    assert shop.journal(2)[-1] == ("indexes.sql", 1, True)


def test_an_index_waits_unless_told_otherwise(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    path = shop.file(INDEX, "indexes.sql")
    with shop.held(2, "SELECT * FROM prices"):
        given = (SINGLY, "--keep-going", "--lock-timeout", "0.2")
        reports = shop.deploy(path, *given, code=1)
        assert states(reports) == ["done", "done", FAILED, "done"]
        assert reports[2]["error"].startswith("55P03: indexes.sql:1: ")
        assert reports[2]["error"].endswith(BROKEN)
    shop.query(2, "DROP INDEX CONCURRENTLY prices_price")
    found: list[str] = []
    with shop.held(2, "SELECT * FROM prices"):
        deploy = threading.Thread(
            target=lambda: found.extend(states(shop.deploy(path, SINGLY)))
        )
        deploy.start()
        # Past the 3 s for which all others wait.
        time.sleep(3.4)
        assert found == []
    deploy.join()
    assert found == ["already there", "already there", "done", "already there"]


def test_a_server_that_dies_while_an_index_is_built(
    four_shops: Shop, servers: Servers
) -> None:
    four_shops.deploy(four_shops.file(FIRST))
    path = four_shops.file(INDEX, "indexes.sql")
    with (
        at(servers, "CREATE UNIQUE INDEX", servers[3].crash, VALID),
        four_shops.held(3, "SELECT * FROM prices", is_lost=True),
    ):
        reports = four_shops.deploy(path, SINGLY, code=1)
    assert states(reports) == ["done", "done", "done", "unknown"]
    assert reports[3]["error"].startswith(
        "08006: indexes.sql:1: CREATE UNIQUE INDEX CONCURRENTLY prices_price ON "
        "shop.price…: the connection was lost: "
    )
    assert "its end was not seen" in reports[3]["error"]
    servers.heal()
    assert four_shops.journal(3)[-1] == ("indexes.sql", 1, False)
    again = four_shops.deploy(path, SINGLY, code=1)
    assert again[3]["error"] == f"55000: {BROKEN}"
    four_shops.query(3, "DROP INDEX CONCURRENTLY prices_price")
    assert states(four_shops.deploy(path, SINGLY))[3] == "done"
    assert four_shops.journal(3)[-1] == ("indexes.sql", 1, True)
    assert four_shops.each(VALID) == [[(True,)]] * 4


def begin(shop: Shop, partition: int) -> None:
    """Leave the last entry as a run does that dies within its statement."""
    shop.query(
        partition,
        "UPDATE plproxy.deployed SET done_at = NULL "
        "WHERE id = (SELECT max(id) FROM plproxy.deployed)",
    )


def test_an_index_that_was_built_unseen(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    path = shop.file(INDEX, "indexes.sql")
    shop.deploy(path, SINGLY)
    begin(shop, 0)
    reports = shop.deploy(path, SINGLY)
    assert [(r["state"], r["statements"]) for r in reports] == [
        *(("done", 1), ("already there", 0), ("already there", 0), ("already there", 0))
    ]
    assert shop.journal(0)[-1] == ("indexes.sql", 1, True)


def test_what_may_run_twice_does(shop: Shop) -> None:
    path = shop.file("CREATE TABLE IF NOT EXISTS one ();", "twice.sql")
    shop.deploy(path, SINGLY)
    begin(shop, 1)
    reports = shop.deploy(path, SINGLY)
    assert reports[1]["state"] == "done"
    assert shop.journal(1) == [("twice.sql", 1, True)]
    begin(shop, 1)
    assert shop.deploy(path)[1]["state"] == "done"
    assert shop.journal(1) == [("twice.sql", 1, True)]


def test_what_may_not_run_twice_is_asked_for(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    path = shop.file("INSERT INTO prices VALUES ('mate', 5);", "once.sql")
    shop.deploy(path, SINGLY)
    begin(shop, 1)
    reports = shop.deploy(path, SINGLY, code=1)
    assert reports[1]["state"] == "unknown"
    error = reports[1]["error"]
    assert error.startswith(
        "55000: once.sql:1: INSERT INTO prices VALUES ( …: was begun"
    )
    assert shop.query(1, "SELECT count(*) FROM prices") == [(2,)]
    # The error's own words: it is done; and then, that it is not.
    done = error.partition("if so: ")[2].partition(";")[0]
    forget = error.partition("so that it runs: ")[2]
    # A transaction knows as little of it.
    assert shop.deploy(path, code=1)[1]["error"] == error
    (row,) = [
        row
        for row in shop.deploy(path, "--dry-run", code=1)
        if row["change"] == "error"
    ]
    assert (row["partitions"], row["what"]) == ([1], error)
    given = ("exec", "shop", "--partition", "1", "--write", "--yes")
    shop.run(*given, done)
    assert states(shop.deploy(path, SINGLY)) == ["already there"] * 4
    shop.query(1, "DELETE FROM prices WHERE item = 'mate'")
    shop.run(*given, forget)
    assert states(shop.deploy(path, SINGLY))[1] == "done"
    assert shop.query(1, "SELECT count(*) FROM prices") == [(2,)]


def test_settings_hold_for_each_statement(shop: Shop) -> None:
    text = """SET search_path = public; CREATE TABLE IF NOT EXISTS there ();
        SET search_path = shop; CREATE TABLE here ();"""
    shop.each("DROP TABLE IF EXISTS public.there")
    shop.deploy(shop.file(text), SINGLY)
    query = "SELECT to_regclass('public.there')::text, to_regclass('shop.here')::text"
    assert shop.each(query) == [[("public.there", "here")]] * 4


def test_calls_that_broke_are_told(shop: Shop) -> None:
    shop.deploy(shop.file(FIRST))
    path = shop.file("DROP FUNCTION price(text);", "drop.sql")
    reports = shop.deploy(path, SINGLY, "--canary", "0", code=1)
    assert states(reports) == [FAILED, *["not begun"] * 3]
    assert reports[0]["statements"] == 1
    assert reports[0]["error"].startswith("42883: calls that worked before would fail")


def test_what_has_run_stays_where_others_fail(
    four_shops: Shop, servers: Servers
) -> None:
    text = """CREATE TABLE one ();
        DO $$ BEGIN IF current_database() = 'part03' THEN PERFORM pg_sleep(1);
        RAISE EXCEPTION 'no luck'; ELSE PERFORM pg_sleep(30); END IF; END $$;
        CREATE TABLE two ();"""
    path = four_shops.file(text)
    reports = four_shops.deploy(path, SINGLY, code=1)
    assert states(reports) == [FAILED] * 4
    assert [report["statements"] for report in reports] == [1] * 4
    assert "stopped" in reports[0]["error"]
    assert "no luck" in reports[3]["error"]
    assert four_shops.journal(0) == [("shop.sql", 1, True)]
    wait_until(lambda: not servers.active(NAME, 0))
    query = "SELECT to_regclass('one')::text, to_regclass('two')::text"
    assert four_shops.each(query) == [[("one", None)]] * 4


def test_not_behind_a_pooler(shop: Shop) -> None:
    path = shop.file(INDEX)
    write_config(shop.folder, shop.connstrs, "pooler = true\n")
    result = shop.run("deploy", "shop", path, SINGLY, "--yes", code=2)
    assert "connect to its servers directly" in result.stderr
