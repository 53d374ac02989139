"""docs/operations.md is done for real, while writers go on and may lose nothing."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from plproxy_py import hashing
from plproxy_py._embedded import EmbeddedError, Server
from tests.documents import Page, commands
from tests.fix_plproxy import BINDIR
from tests.fix_server import no_server
from tests.snippets import ROOT, Snippet

PATH = ROOT / "docs" / "operations.md"
START = "The cluster of this page"


class Writers:
    """Threads that deposit, and remember what they were told has been done."""

    def __init__(self, page: Page, count: int = 4) -> None:
        self.deposited: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self._deposit = page.namespace.deposit
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(n,)) for n in range(count)
        ]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    def _write(self, number: int) -> None:
        done: Counter[str] = Counter()
        turn = 0
        try:
            while not self._is_over.is_set():
                # Some accounts are made while rows move.
                name = f"user{(turn * 4 + number) % 600}"
                self._deposit(name, 1)
                done[name] += 1
                turn += 1
        except BaseException as error:
            self.errors.append(error)
        self.deposited.update(done)


def balances(page: Page, partitions: dict[int, str]) -> dict[str, int]:
    """Return all accounts. Fail if one is on a partition where it does not belong."""
    found: dict[str, int] = {}
    for partition, dbname in partitions.items():
        with page.connect(dbname) as conn:
            rows = conn.execute("SELECT username, balance FROM accounts").fetchall()
        for username, balance in rows:
            assert hashing.hashtext(str(username)) & (len(partitions) - 1) == partition
            found[str(username)] = int(str(balance))
    return found


def refusals(server: Server) -> int:
    """Return how often a trigger turned a writer away, who was not told."""
    return server.log.read_text().count("being moved")


def check_nothing_was_lost(
    page: Page, writers: Writers, partitions: dict[int, str]
) -> None:
    assert not writers.errors, writers.errors
    assert sum(writers.deposited.values()) > 100
    expected = Counter({f"user{number}": 10 for number in range(200)})
    expected.update(writers.deposited)
    assert balances(page, partitions) == expected


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for all of the page's databases, four of which are there."""
    try:
        server = Server()
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        server.create_databases([f"part{number:02}" for number in range(4)])
        yield server


def of_another(partition: int) -> dict[str, str]:
    """Return what stands on the page for partition 4, and what does for this one."""
    old = partition - 4
    return {
        "part04": f"part{partition:02}",
        "host=db4": f"host=db{partition}",
        "part00": f"part{old:02}",
        "host=db0": f"host=db{old}",
        "& 7 = 4": f"& 7 = {partition}",
        "& 7 <> 4": f"& 7 <> {partition}",
        "not_4": f"not_{partition}",
    }


def moved(snippet: Snippet, partition: int) -> str:
    """Return a block of the page's move of partition 4 as that of this one."""
    names = of_another(partition)
    text = snippet.text
    if snippet.language == "console":
        # Outputs tell of the first move. All is well where it should be after the last.
        text = "".join(
            f"$ {command}\n{shown if command == 'echo $?' else ''}"
            for command, shown in commands(text)
            if partition == 7 or not re.match(r"plproxy audit|echo", command)
        )
    return re.sub("|".join(names), lambda found: names[found[0]], text)


def move_the_others(page: Page) -> None:
    """Move partitions 5 to 7 as the page moves 4, all three step by step."""
    for snippet in page.snippets("Move one partition"):
        if snippet.language == "toml":
            (last,) = page.snippets("When all four have moved")
            page.run_block(last)
        elif snippet.text.startswith("$ sleep"):
            page.run_block(snippet)
        else:
            for partition in range(5, 8):
                page.run_block(snippet, moved(snippet, partition))


def test_doubling(server: Server, tmp_path: Path) -> None:
    """4 partitions become 8: the page's move of one, then the other three."""

    def place(host: str, dbname: str) -> str:
        return server.connstr(dbname)

    with Page(PATH, tmp_path, place, exact=False) as page:
        page.run(START)
        with Writers(page) as writers:
            page.run("Double the partitions")
            page.run("Move one partition")
            move_the_others(page)
        names = {number: f"part{number:02}" for number in range(8)}
        check_nothing_was_lost(page, writers, names)
        assert refusals(server) > 0
        assert page.namespace.total() == sum(balances(page, names).values())


@pytest.fixture
def old() -> Iterator[Server]:
    """A server that is to be replaced: PostgreSQL 15 where there is one."""
    bindir = BINDIR if (BINDIR / "postgres").exists() else None
    try:
        server = Server(bindir=bindir, settings={"wal_level": "logical"})
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        server.create_databases(["part03"])
        yield server


def test_replacing_a_server(server: Server, old: Server, tmp_path: Path) -> None:
    """A partition moves to another server, and to another major version with it."""
    with psycopg.connect(server.connstr(), autocommit=True) as conn:
        conn.execute("DROP DATABASE part03")

    def place(host: str, dbname: str) -> str:
        return (old if host == "db3" else server).connstr(dbname)

    with Page(PATH, tmp_path, place, exact=False) as page:
        page.run(START)
        with page.connect("db3") as conn:
            conn.execute("CREATE SEQUENCE tickets")
            conn.execute("SELECT setval('tickets', 4711)")
        with Writers(page) as writers:
            page.run("Replace a server")
        with page.connect("db9") as conn:
            assert conn.execute("SELECT nextval('tickets')").fetchone() == (4712,)
        assert refusals(old) > 0
        names = {0: "part00", 1: "part01", 2: "part02", 3: "db9"}
        check_nothing_was_lost(page, writers, names)


@pytest.mark.parametrize(
    "section", ["Change a function's signature", "A slow partition at 3 am"]
)
def test_section(server: Server, tmp_path: Path, section: str) -> None:
    def place(host: str, dbname: str) -> str:
        return server.connstr(dbname)

    with Page(PATH, tmp_path, place, exact=False) as page:
        page.run(START)
        page.run(section)
