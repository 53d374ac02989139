"""``plproxy deploy``, killed at random moments and run again.

No function is ever half replaced, and in the end all is as after one clean run.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
from click.testing import CliRunner

from plproxy_py.cli import main
from tests.fix_cli import rows
from tests.fix_deploy import CLEAN, Shop, states

KILLS = 20
KILLS_SINGLY = 6

# Loads what takes long once, then forks a command for a line that it reads, and writes
# its process id; for the next line it waits for its end, and writes its exit code.
FORKING = [
    sys.executable,
    "-c",
    """
import os, sys
from plproxy_py.cli import main
while sys.stdin.readline():
    pid = os.fork()
    if not pid:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        main(sys.argv[1:])
    print(pid, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
""",
]


def version(number: int) -> str:
    """Return a file's text: two functions of this version, and all rows so far."""
    inserts = [f"INSERT INTO log VALUES ({n});" for n in range(1, number + 1)]
    return f"""
        CREATE TABLE log (n int PRIMARY KEY);
        CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql
            AS 'SELECT {number}';
        SELECT pg_sleep(0.03), {number};
        CREATE OR REPLACE FUNCTION two() RETURNS int LANGUAGE sql
            AS 'SELECT {number}';
        {"".join(inserts)}"""


SOURCES = "SELECT prosrc FROM pg_proc WHERE pronamespace = 'shop'::regnamespace"
END = """SELECT pg_get_functiondef(p.oid) FROM pg_proc p
        WHERE pronamespace = 'shop'::regnamespace
    UNION ALL SELECT n::text FROM shop.log
    UNION ALL SELECT concat_ws(' ', file, number, digest, statement, done_at IS NULL)
        FROM plproxy.deployed WHERE withdrawn_at IS NULL ORDER BY 1"""


class Killer:
    """Runs deploys, each killed at a moment of chance."""

    def __init__(self, shop: Shop, path: Path, *options: str) -> None:
        seed = random.randrange(10**6)
        print(f"seed {seed}")
        self._chance = random.Random(seed)
        self._process = subprocess.Popen(
            [*FORKING, "deploy", "shop", str(path), "--yes", *options],
            env={**os.environ, "PLPROXY_CONFIG": str(shop.config)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
        )

    def __enter__(self) -> Killer:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def _ask(self) -> int:
        """Return a new process's id, or how it has ended, in turns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def duration(self) -> float:
        """Run a deploy to its end; return how long it took."""
        self._ask()
        started = time.monotonic()
        assert self._ask() == 0
        return time.monotonic() - started

    def kill_one(self, longest: float) -> bool:
        """Run a deploy and kill it; tell whether it had not ended."""
        pid = self._ask()
        time.sleep(self._chance.uniform(0, longest))
        # Nobody waits for it before that is asked for: the number is still its own.
        os.kill(pid, signal.SIGKILL)
        return self._ask() == -signal.SIGKILL


def whole(shop: Shop) -> None:
    """Fail if a partition has one of a version and not all of it."""
    for connstr in shop.connstrs:
        with psycopg.connect(connstr) as conn:
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            sources = [text for (text,) in conn.execute(SOURCES)]
            if not sources:
                continue
            ((count,),) = conn.execute("SELECT count(*) FROM log").fetchall()
        assert sources == [f"SELECT {count}"] * 2


def clean(shop: Shop) -> None:
    for number in range(4):
        ((database,),) = shop.query(number, "SELECT current_database()")
        shop.query(number, CLEAN.format(database))


def test_killed_at_any_moment(shop: Shop) -> None:
    path = shop.file(version(0))
    number = killed = 0
    with Killer(shop, path, "--jobs", "2") as killer:
        longest = killer.duration()
        clean(shop)
        while killed < KILLS:
            number += 1
            shop.file(version(number))
            killed += killer.kill_one(longest)
            whole(shop)
    # The last one killed may still be known to a server.
    reports = shop.deploy(path, "--lock-timeout", "10")
    assert set(states(reports)) <= {"done", "already there"}
    assert states(shop.deploy(path)) == ["already there"] * 4
    after = shop.each(END)
    assert len(after[0]) == 2 + number + (4 + number)
    clean(shop)
    assert states(shop.deploy(path)) == ["done"] * 4
    assert shop.each(END) == after


INDEXES = """SELECT c.relname, i.indisvalid, (SELECT count(*) FROM plproxy.deployed
        WHERE statement LIKE '% ' || c.relname || ' %' AND done_at IS NOT NULL)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = 'shop.wide'::regclass ORDER BY 1"""


def test_indexes_killed_at_any_moment(shop: Shop) -> None:
    wide = "CREATE TABLE wide AS SELECT n FROM generate_series(1, 20000) n;"
    shop.deploy(shop.file(wide, "wide.sql"))
    path = shop.file(
        "".join(f"CREATE INDEX CONCURRENTLY wide_{n} ON wide (n);" for n in range(8))
    )
    with Killer(shop, path, "--no-transaction") as killer:
        for _ in range(KILLS_SINGLY):
            killer.kill_one(0.5)
    for _ in range(4 * KILLS_SINGLY):
        command = ["deploy", "shop", str(path), "--yes", "--json", "--no-transaction"]
        command += ["--keep-going", "--lock-timeout", "10"]
        env = {"PLPROXY_CONFIG": str(shop.config)}
        found: list[Any] = rows(CliRunner().invoke(main, command, env=env))
        if not any(report["error"] for report in found):
            break
        for report in found:
            # What the error says is what has to be done.
            if report["error"]:
                remedy = report["error"].partition("CONCURRENTLY: ")[2]
                shop.query(report["partition"], remedy.partition(";")[0])
    assert set(states(found)) <= {"done", "already there"}
    assert shop.each(INDEXES) == [[(f"wide_{n}", True, 1) for n in range(8)]] * 4
