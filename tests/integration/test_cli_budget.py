"""plproxy budget: connections that processes may open, and servers take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from plproxy_py import Router
from plproxy_py._embedded import EmbeddedError, Server
from tests.fix_cli import Run, lines, rows
from tests.fix_server import no_server

MOST, RESERVED = 30, 3


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    """A server of two partitions that takes 30 connections, 3 of them reserved."""
    try:
        server = Server(settings={"max_connections": str(MOST)})
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        server.create_databases(["part00", "part01"])
        with psycopg.connect(server.connstr(), autocommit=True) as conn:
            conn.execute("CREATE ROLE app LOGIN")
        yield server


@pytest.fixture
def config(small: Server, tmp_path: Path) -> Path:
    """Clusters on the small server: userdb as app, admin as its superuser."""
    path = tmp_path / "plproxy.toml"
    path.write_text(
        f"[clusters.userdb]\npartitions = {partitions(small, user='app')}\n"
        f"[clusters.admin]\npartitions = {partitions(small)}\n"
        f"[clusters.reworded]\npartitions = {partitions(small, user='app', port='')}\n"
        f"[clusters.pooled]\npooler = true\npartitions = {partitions(small)}\n"
        "[clusters.half]\npartitions = ["
        f"{json.dumps(small.connstr('part00', user='app'))}, "
        '"host=/nowhere dbname=part01 password=sekret"]\n'
    )
    return path


def partitions(server: Server, **options: str) -> str:
    connstrs = [server.connstr(name, **options) for name in ("part00", "part01")]
    return json.dumps([text.replace(" port=''", "") for text in connstrs])


@contextmanager
def others(server: Server, count: int, **options: str) -> Iterator[None]:
    """Hold so many connections that are nobody's router's."""
    with ExitStack() as stack:
        for _ in range(count):
            conn = psycopg.connect(server.connstr("part01", **options))
            stack.enter_context(conn)
        yield


@pytest.fixture
def budget(cli: Run, config: Path) -> Run:
    """Run the command."""

    def run(*args: str, code: int = 0) -> object:
        return cli("budget", *args, code=code, PLPROXY_CONFIG=str(config))

    return run  # type: ignore[return-value]


def test_ten_connections_left(budget: Run, small: Server) -> None:
    with others(small, MOST - RESERVED - 10):
        (row,) = rows(budget("userdb", "--processes", "2", "--json", code=1))
        shown = budget("userdb", "--processes", "2", code=1)
        (fitting,) = rows(
            budget("userdb", "--processes", "2", "--pool-size", "2", "--json")
        )
        (capped,) = rows(
            budget(
                *("userdb", "--processes", "2", "--json"),
                *("--max-connections-per-server", "5"),
            )
        )
    assert row["error"] is None
    # 2 processes, 8 in each pool, 2 partitions.
    assert {key: row[key] for key in ("wanted", "limit", "reserved", "in_use")} == {
        "wanted": 32,
        "limit": 30,
        "reserved": 3,
        "in_use": 17,
    }
    assert (row["left"], row["fits"], row["limited_by"]) == (
        10,
        False,
        "max_connections",
    )
    assert (row["pool_size_that_fits"], row["per_server_that_fits"]) == (2, 5)
    assert (fitting["wanted"], fitting["fits"]) == (8, True)
    assert (capped["wanted"], capped["fits"]) == (10, True)

    table = lines(shown)
    assert table[0][0] == "server"
    assert table[1][1:] == "2 32 30 3 17 10 no max_connections".split()
    words = shown.stdout.partition("\n\n")[2].splitlines()
    assert words[:3] == [
        "2 processes with a pool of 8 for each database may open 32 connections.",
        "A pool_size of 2 fits.",
        "max_connections_per_server = 5 fits.",
    ]
    assert words[3].startswith("Or max_connections of 52, now 30, on ")


def test_what_no_setting_helps(budget: Run, small: Server) -> None:
    with others(small, MOST - RESERVED - 10):
        shown = budget("userdb", "--processes", "11", code=1).stdout
        fits = budget("userdb", "--processes", "10", code=1).stdout
    assert "10 are left for 11 processes. A pooler before the server does" in shown
    assert "pool_size of" not in shown
    assert "max_connections_per_server = 1 fits: calls to more" in fits


def test_reserved_connections(budget: Run, small: Server) -> None:
    with psycopg.connect(small.connstr(), autocommit=True) as conn:
        if conn.info.server_version < 160000:
            pytest.skip("they came with PostgreSQL 16")
        ((reserved,),) = conn.execute("SHOW reserved_connections").fetchall()
    assert reserved == "0"
    small.stop()
    small.settings["reserved_connections"] = "5"
    try:
        small.start()
        (row,) = rows(budget("userdb", "--processes", "1", "--json"))
    finally:
        small.stop()
        del small.settings["reserved_connections"]
        small.start()
    assert (row["reserved"], row["left"]) == (8, 22)


def alter(server: Server, *statements: str) -> None:
    with psycopg.connect(server.connstr(), autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def test_limits_of_roles_and_databases(budget: Run, small: Server) -> None:
    alter(small, "ALTER ROLE app CONNECTION LIMIT 12")
    try:
        (row,) = rows(budget("userdb", "--processes", "1", "--json", code=1))
        assert (row["limited_by"], row["wanted"], row["left"]) == ("role app", 16, 12)
        # A superuser has no such limit, though it be said.
        alter(small, "ALTER ROLE postgres CONNECTION LIMIT 1")
        (row,) = rows(budget("admin", "--processes", "1", "--json"))
        assert row["limited_by"] == "max_connections"
        with others(small, 2, user="app"):
            (row,) = rows(budget("userdb", "--processes", "1", "--json", code=1))
        assert (row["in_use"], row["left"]) == (2, 10)

        alter(small, "ALTER DATABASE part01 CONNECTION LIMIT 3")
        (row,) = rows(budget("userdb", "--processes", "1", "--json", code=1))
        # Its 8 lack 5, the role's 16 only 4.
        assert row["limited_by"] == "database part01"
        assert (row["wanted"], row["left"], row["pool_size_that_fits"]) == (8, 3, 3)
        shown = budget("userdb", "--processes", "1", code=1).stdout
        assert "Or database part01 of 8, now 3, on " in shown
        assert "Or role app of 16, now 12, on " in shown
    finally:
        alter(
            small,
            "ALTER ROLE app CONNECTION LIMIT -1",
            "ALTER ROLE postgres CONNECTION LIMIT -1",
            "ALTER DATABASE part01 CONNECTION LIMIT -1",
        )


def test_routers_that_run_are_those_that_were_said(
    budget: Run, small: Server, config: Path
) -> None:
    with Router.from_config(config) as router:
        router.execute("userdb", "SELECT 1")
        (row,) = rows(budget("userdb", "--processes", "1", "--json"))
        assert (row["routers"], row["in_use"], row["left"]) == (2, 0, 27)
        # Another cluster's are others.
        (row,) = rows(budget("admin", "--processes", "1", "--json"))
        assert (row["routers"], row["in_use"], row["left"]) == (0, 2, 25)
        args = ("userdb", "--processes", "1", "--max-connections-per-server", "1")
        assert "routers hold 2 connections already" in budget(*args).stdout


def test_all_clusters(budget: Run) -> None:
    found = rows(budget("--processes", "1", "--pool-size", "1", "--json", code=1))
    real, nowhere = found
    # As app, once more in other words, as the superuser, and behind a pooler. What
    # half has of them is the same target.
    assert (real["databases"], real["wanted"], real["fits"]) == (8, 8, True)
    assert (nowhere["server"], nowhere["databases"]) == ("/nowhere:5432", 1)


def test_the_home_database_counts(cli: Run, small: Server, tmp_path: Path) -> None:
    path = tmp_path / "home.toml"
    path.write_text(
        f"home = {json.dumps(small.connstr('postgres'))}\n"
        f"[clusters.userdb]\npartitions = {partitions(small)}\n"
    )
    args = ("budget", "userdb", "--processes", "1", "--json")
    (row,) = rows(cli(*args, PLPROXY_CONFIG=str(path)))
    assert (row["databases"], row["wanted"]) == (3, 24)


def test_a_server_under_two_names(cli: Run, small: Server, tmp_path: Path) -> None:
    link = tmp_path / "socket"
    link.symlink_to(small.directory)
    first, second = small.connstr("part00"), small.connstr("part01", host=str(link))
    path = tmp_path / "two.toml"
    path.write_text(f"[clusters.two]\npartitions = {json.dumps([first, second])}\n")
    args = ("budget", "two", "--processes", "2", "--json")
    (row,) = rows(cli(*args, code=1, PLPROXY_CONFIG=str(path)))
    assert row["server"].count(":5432") == 2
    assert (row["databases"], row["wanted"], row["left"]) == (2, 32, 27)


def test_behind_a_pooler(budget: Run) -> None:
    (row,) = rows(budget("pooled", "--processes", "99", "--json"))
    assert row["fits"] is None
    shown = budget("pooled", "--processes", "99").stdout
    assert "behind a pooler, whose max_client_conn is to allow them" in shown


def test_a_server_that_is_down(budget: Run) -> None:
    first, second = rows(budget("half", "--processes", "1", "--json", code=1))
    assert (first["fits"], first["error"]) == (True, None)
    assert second["fits"] is None
    assert "/nowhere" in second["error"]
    assert "/nowhere" in budget("half", "--processes", "1", code=1).stdout


def test_a_database_that_is_not_there_hides_no_server(
    cli: Run, small: Server, tmp_path: Path
) -> None:
    connstrs = [small.connstr("none"), small.connstr("part01")]
    path = tmp_path / "none.toml"
    path.write_text(f"[clusters.c]\npartitions = {json.dumps(connstrs)}\n")
    args = ("budget", "c", "--processes", "1", "--json")
    (row,) = rows(cli(*args, PLPROXY_CONFIG=str(path)))
    assert (row["databases"], row["left"]) == (2, 27)


def test_a_full_server_is_told(budget: Run, small: Server) -> None:
    with others(small, MOST - RESERVED, user="app"):
        (row,) = rows(budget("userdb", "--processes", "1", "--json", code=1))
    assert row["fits"] is None
    assert "too many clients" in row["error"] or "reserved" in row["error"]


def test_wrong_usage(budget: Run) -> None:
    assert "--processes" in budget("userdb", code=2).stderr
    assert "--processes" in budget("userdb", "--processes", "0", code=2).stderr
    told = budget("usedb", "--processes", "1", code=1).stderr
    assert "did you mean 'userdb'" in told
