"""``plproxy deploy`` where partitions die, freeze and fail under it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.both import wait_until
from tests.fix_cli import PLPROXY
from tests.fix_deploy import FIRST, Shop, states, write_config
from tests.fix_network import Fault, FaultProxy
from tests.fix_servers import Servers

# What a session of the command is called in pg_stat_activity.
NAME = "plproxy_py"
ON_3 = "DO $$ BEGIN IF current_database() = 'part03' THEN {}; ELSE {}; END IF; END $$;"
SLEEP = "PERFORM pg_sleep(30)"
FAIL = "RAISE EXCEPTION 'no luck'"
NOTHING = "PERFORM 1"
# Fires at COMMIT, and takes its time on partition 3.
SLOW_COMMIT = """
CREATE TABLE slow (seconds float8);
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_database() = 'part03' THEN PERFORM pg_sleep(NEW.seconds); END IF;
    RETURN NEW; END $$;
CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION wait();
INSERT INTO slow VALUES ({});
"""
OTHERS_DONE = ["done", "done", "done"]
THERE = ["already there"] * 3


@contextmanager
def at(
    servers: Servers,
    beginning: str,
    action: Callable[[], object],
    others: str = "SELECT to_regclass('plproxy.deployed') IS NOT NULL",
) -> Iterator[None]:
    """Act when a statement that begins so is at work on partition 3.

    ``others``: what has to be true of the other partitions by then, as SQL.
    """

    def is_there() -> bool:
        found = servers.active(NAME)
        return any(text.startswith(beginning) for text in found)

    def act() -> None:
        wait_until(is_there, 20)
        for number in range(3):
            wait_until(lambda n=number: servers.execute(n, others) == [(True,)])  # type: ignore[misc]
        action()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_partition_that_dies_in_the_middle(
    four_shops: Shop, servers: Servers
) -> None:
    path = four_shops.file(FIRST + ON_3.format(SLEEP, NOTHING))
    with at(servers, "DO", servers[3].crash):
        reports = four_shops.deploy(path, code=1)
    assert states(reports) == [*OTHERS_DONE, "failed"]
    assert reports[3]["error"].startswith("08006: shop.sql:6: DO …: the connection was")
    given = ("deploy", "shop", path, "--yes", "--keep-going")
    table = four_shops.run(*given, code=1).stdout
    assert table.count("already there") == 3
    assert "08001" in table
    servers.heal()
    assert four_shops.query(3, "SELECT to_regclass('plproxy.deployed')") == [(None,)]
    then = four_shops.file(FIRST + ON_3.format(NOTHING, NOTHING))
    assert states(four_shops.deploy(then)) == ["done"] * 4
    assert four_shops.each("SELECT count(*) FROM prices") == [[(1,)]] * 4
    assert [len(four_shops.journal(number)) for number in range(4)] == [4] * 4


def test_what_is_under_way_is_rolled_back(four_shops: Shop, servers: Servers) -> None:
    path = four_shops.file(FIRST + ON_3.format(FAIL, SLEEP))
    reports = four_shops.deploy(path, code=1)
    assert states(reports) == [*["rolled back"] * 3, "failed"]
    table = four_shops.run("deploy", "shop", path, "--yes", code=1).stdout
    assert table.count("rolled back") == 3
    assert table.count("no luck") == 1
    assert four_shops.each("SELECT to_regclass('prices')::text") == [[(None,)]] * 4
    for number in range(4):
        wait_until(lambda n=number: not servers.active(NAME, n))  # type: ignore[misc]
    fewer = four_shops.deploy(path, "--jobs", "1", "--canary", "3", code=1)
    assert states(fewer) == [*["not begun"] * 3, "failed"]


def test_a_partition_that_is_frozen(four_shops: Shop, servers: Servers) -> None:
    path = four_shops.file(FIRST)
    servers[3].freeze()
    reports = four_shops.deploy(path, "--timeout", "0.5", code=1)
    assert states(reports) == [*["not begun"] * 3, "failed"]
    assert reports[3]["error"].startswith("57014: ")
    given = ("--timeout", "0.5", "--keep-going")
    kept = four_shops.deploy(path, *given, code=1)
    assert states(kept) == [*OTHERS_DONE, "failed"]
    trial = four_shops.deploy(path, *given, "--dry-run", code=1)
    assert [(row["partitions"], row["change"]) for row in trial] == [
        ([0, 1, 2], "nothing new"),
        ([3], "error"),
    ]
    servers.heal()
    assert states(four_shops.deploy(path)) == [*THERE, "done"]


def test_a_partition_that_freezes_in_the_middle(
    four_shops: Shop, servers: Servers
) -> None:
    text = """DO $$ BEGIN PERFORM pg_sleep(CASE current_database()
        WHEN 'part03' THEN 30 WHEN 'part00' THEN 1 ELSE 0 END);
        IF current_database() = 'part00' THEN RAISE EXCEPTION 'no luck'; END IF; END $$;
        CREATE TABLE one ();"""
    with at(servers, "DO", servers[3].freeze, "SELECT true"):
        reports = four_shops.deploy(four_shops.file(text), code=1)
    assert states(reports)[::3] == ["failed", "rolled back"]
    servers.heal()
    wait_until(lambda: not servers.active(NAME))
    assert four_shops.query(3, "SELECT to_regclass('one')") == [(None,)]


def test_a_frozen_partition_is_given_up_with_its_statement(
    four_shops: Shop, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plproxy_py.ops.deploy.partition.LATE", 0.2)
    path = four_shops.file(ON_3.format(SLEEP, NOTHING))
    with at(servers, "DO", servers[3].freeze):
        reports = four_shops.deploy(path, "--statement-timeout", "1.5", code=1)
    assert states(reports) == [*OTHERS_DONE, "failed"]
    assert reports[3]["error"].startswith("57014: no answer 0.2 s after its statement")


def test_a_canary_that_is_down(four_shops: Shop, servers: Servers) -> None:
    servers[3].stop()
    path = four_shops.file(FIRST)
    reports = four_shops.deploy(path, "--canary", "3", "--keep-going", code=1)
    assert states(reports) == [*["not begun"] * 3, "failed"]


def test_a_commit_whose_end_was_not_seen(four_shops: Shop, servers: Servers) -> None:
    path = four_shops.file(SLOW_COMMIT.format(30))
    with at(servers, "COMMIT", servers[3].crash):
        reports = four_shops.deploy(path, code=1)
    assert states(reports) == [*OTHERS_DONE, "unknown"]
    assert "the next run learns from the journal" in reports[3]["error"]
    servers.heal()
    again = four_shops.file(SLOW_COMMIT.format(30).replace("(30)", "( 0 )"))
    # Nothing of it is there: all of it runs, and an INSERT that takes no time.
    assert states(four_shops.deploy(again)) == ["done"] * 4
    assert four_shops.query(3, "SELECT * FROM slow") == [(0.0,)]


def test_a_commit_that_was_done_unseen(
    four_shops: Shop, servers: Servers, fault_proxy: FaultProxy
) -> None:
    last = servers.unix(3, host="127.0.0.1", port=fault_proxy.port)
    write_config(four_shops.folder, servers.connstrs(last))
    # Its server is not to notice that the client has gone.
    off = "ALTER DATABASE part03 SET client_connection_check_interval = 0"
    four_shops.query(3, off)
    path = four_shops.file(SLOW_COMMIT.format(2))
    with at(servers, "COMMIT", lambda: fault_proxy.fault(Fault("cut"), "old")):
        reports = four_shops.deploy(path, code=1)
    assert states(reports) == [*OTHERS_DONE, "unknown"]
    wait_until(lambda: not servers.active(NAME))
    assert states(four_shops.deploy(path)) == ["already there"] * 4
    assert four_shops.query(3, "SELECT * FROM slow") == [(2.0,)]


def test_ctrl_c_tells_what_is_done_where(four_shops: Shop, servers: Servers) -> None:
    path = four_shops.file(FIRST + ON_3.format(SLEEP, NOTHING))
    command = [*PLPROXY, "deploy", "shop", str(path), "--yes", "--json"]
    env = {**os.environ, "PLPROXY_CONFIG": str(four_shops.config)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as process:
        stop = lambda: process.send_signal(signal.SIGINT)  # noqa: E731
        with at(servers, "DO", stop):
            out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert states(json.loads(out)) == [*OTHERS_DONE, "rolled back"]
    assert b"Traceback" not in err
