"""plproxy audit: rows that lie on the wrong partition, and nothing else."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from plproxy_py.hashing import hashtext
from plproxy_py.ops.placing import tables
from tests.fix_cli import Run, lines, rows
from tests.fix_placing import STRAYS, USERS
from tests.fix_plproxy import Plproxy
from tests.fix_server import Pg
from tests.snippets import ROOT

MMH3_SQL = (ROOT / "sql" / "mmh3.sql").read_text(encoding="utf-8")


class Audited:
    """A run with --json: its partitions and its rows."""

    def __init__(self, result: Result) -> None:
        found = rows(result)
        self.partitions = [row for row in found if row.pop("kind") == "partition"]
        self.rows = [row for row in found if "key" in row]
        assert len(self.partitions) + len(self.rows) == len(found)

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.partitions]


@pytest.fixture
def audit(cli: Run, placing: Path) -> Run:
    """Audit a table of a cluster; no other options."""

    def run(cluster: str, table: str, key: str, *args: str, code: int = 0) -> Result:
        arguments = ("audit", cluster, "--table", table, "--key", key, *args)
        return cli(*arguments, code=code, PLPROXY_CONFIG=str(placing))

    return run


def test_five_misplaced_rows(audit: Run) -> None:
    found = Audited(audit("placed", "strays", "username", "--json", code=1))
    belong = [hashtext(name) & 3 for name in STRAYS]
    assert {0, 3} == set(belong)
    assert found.rows == [
        {"key": name, "lies_on": 1, "belongs_to": partition}
        for name, partition in zip(STRAYS, belong, strict=True)
    ]
    assert found.column("misplaced") == [0, 5, 0, 0]
    assert found.column("belong_to")[1] == {"0": belong.count(0), "3": belong.count(3)}
    assert sum(found.column("rows")) == len(USERS) + 5

    result = audit("placed", "strays", "username", code=1)
    shown = lines(result)
    assert shown[0] == ["partition", "rows", "misplaced", "belong", "to"]
    assert [line[2] for line in shown[1:5]] == ["0", "5", "0", "0"]
    assert [line for line in shown if line[:1] and line[0] in STRAYS] == [
        [name, "1", str(partition)]
        for name, partition in zip(STRAYS, belong, strict=True)
    ]
    assert "5 of 2,005 rows lie on the wrong partition." in result.stdout


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("users", "username"),
        ("public.users", "username"),
        ("numbers", "id"),
        ('"Odd.Schema"."a ""table"', "100 % {key}"),
    ],
)
def test_all_is_where_it_belongs(audit: Run, table: str, key: str) -> None:
    result = audit("placed", table, key)
    assert "rows that were counted lie where they belong." in result.stdout
    found = Audited(audit("placed", table, key, "--json"))
    assert found.column("misplaced") == [0] * 4
    assert min(found.column("rows")) > 0
    assert found.rows == []


@pytest.mark.parametrize("cluster", ["doubled", "reworded"])
def test_a_database_that_is_two_partitions(audit: Run, cluster: str) -> None:
    found = Audited(audit(cluster, "users", "username", "--json"))
    assert found.column("partitions") == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert sum(found.column("rows")) == len(USERS)
    found = Audited(audit(cluster, "strays", "username", "--json", code=1))
    assert [row["belongs_to"] for row in found.rows] == [
        hashtext(name) & 7 for name in STRAYS
    ]
    assert lines(audit(cluster, "users", "username"))[1][:2] == ["0,", "4"]


def test_modular_mapping(audit: Run) -> None:
    found = Audited(audit("modular", "users", "username", "--json", code=1))
    # They were placed by a mask of four.
    for partition, row in enumerate(found.partitions):
        here = [name for name in USERS if hashtext(name) & 3 == partition]
        wrong = [name for name in here if abs(hashtext(name)) % 3 != partition]
        assert (row["rows"], row["misplaced"]) == (len(here), len(wrong))


def test_listed_are_some_and_counted_are_all(
    audit: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in (0, 2, 5, 6):
        args = ("placed", "strays", "username", "--limit", str(limit))
        found = Audited(audit(*args, "--json", code=1))
        assert sum(found.column("misplaced")) == 5
        assert [row["key"] for row in found.rows] == STRAYS[:limit]
        listed = f"Listed are {limit} of them: --limit lists more."
        assert (listed in audit(*args, code=1).stdout) == (limit < 5)

    # In pieces, as of very many.
    whole = audit("placed", "strays", "username", "--json", code=1).stdout
    # The module, not the command of that name.
    for module in (sys.modules["plproxy_py.cli.audit"], tables):
        monkeypatch.setattr(module, "BATCH", 2)
    assert audit("placed", "strays", "username", "--json", code=1).stdout == whole
    shown = audit("placed", "strays", "username", code=1).stdout
    assert [name in shown for name in STRAYS] == [True] * 5
    assert shown.count("belongs to") == 3


def test_a_key_that_is_null_belongs_nowhere(
    audit: Run, pg: Pg, placed: list[str]
) -> None:
    pg.execute(placed[2], "INSERT INTO strays VALUES (NULL)")
    try:
        found = Audited(audit("placed", "strays", "username", "--json", code=1))
        shown = audit("placed", "strays", "username", code=1).stdout
    finally:
        pg.execute(placed[2], "DELETE FROM strays WHERE username IS NULL")
    assert found.partitions[2]["belong_to"] == {"null": 1}
    assert found.rows[-1] == {"key": None, "lies_on": 2, "belongs_to": None}
    assert "1 to none (NULL)" in shown


def test_a_hash_that_some_servers_lack(audit: Run, pg: Pg, placed: list[str]) -> None:
    pg.execute(placed[0], "INSERT INTO hashed VALUES ('marko'), (NULL)")
    args = ("placed", "hashed", "name", "--hash", "mmh3")
    try:
        everywhere_here = audit(*args, "--json", code=1).stdout
        assert "partitions 0, 1, 2, 3 lack mmh3" in audit(*args, code=1).stdout
        for name in placed[:2]:
            pg.execute(name, MMH3_SQL)
        mixed = audit(*args, "--json", code=1).stdout
        assert "partitions 2, 3 lack mmh3" in audit(*args, code=1).stdout
        for name in placed[2:]:
            pg.execute(name, MMH3_SQL)
        on_servers = audit(*args, "--json", code=1).stdout
        assert "lack" not in audit(*args, code=1).stdout
    finally:
        pg.execute(placed[0], "DELETE FROM hashed WHERE name = 'marko' OR name IS NULL")
        for name in placed:
            pg.execute(name, "DROP SCHEMA IF EXISTS plproxy CASCADE")
    assert everywhere_here == mixed == on_servers
    found = [row["key"] for row in json.loads(mixed) if row["kind"] == "row"]
    assert sorted(found, key=str) == [None, "marko"]


def test_a_hash_that_only_python_has(
    cli: Run, placing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cli_app.py").write_text(
        "from plproxy_py import AsyncRouter, Router\n"
        "from plproxy_py.hashing import hashtext\n"
        "hashes = {'own': lambda key: hashtext(key), 'wrong': lambda key: 3}\n"
        "router, aio = Router(hashes=hashes), AsyncRouter(hashes=hashes)\n"
        f"router.configure({str(placing)!r})\n"
        f"aio.configure({str(placing)!r})\n"
    )
    monkeypatch.chdir(tmp_path)
    common = ("audit", "placed", "--table", "strays", "--key", "username", "--hash")
    for router in ("router", "aio"):
        app = ("--app", f"cli_app:{router}")
        found = Audited(cli(*app, *common, "own", "--json", code=1))
        assert [row["key"] for row in found.rows] == STRAYS
        result = cli(*app, *common, "wrong", code=1)
        assert "do calls run on another hash than wrong?" in result.stdout


def two_databases(
    plproxy: Plproxy, path: Path, names: list[str], encoding: str, type: str
) -> str:
    """Make a cluster of users in two databases; return its config file."""
    connstrs = []
    for partition in range(2):
        name = f"audited{partition}"
        plproxy.create_database(name, encoding=encoding)
        plproxy.admin(
            name,
            "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2',"
            " deterministic = false)",
        )
        plproxy.admin(name, f"CREATE TABLE users (username {type})")
        mine = [key for key in names if hashtext(key) & 1 == partition]
        plproxy.admin(name, "INSERT INTO users SELECT unnest(%s::text[])", mine)
        connstrs.append(plproxy.connstr(name, user="postgres"))
    path.write_text(f"[clusters.two]\npartitions = {json.dumps(connstrs)}\n")
    return str(path)


@pytest.mark.parametrize(
    ("encoding", "type", "here"),
    [("LATIN1", "text", True), ("UTF8", "text COLLATE loose", False)],
)
def test_a_server_that_would_hash_other_bytes(
    cli: Run, plproxy: Plproxy, tmp_path: Path, encoding: str, type: str, here: bool
) -> None:
    names = [f"{letter}{number}" for number in range(50) for letter in "éE"]
    config = two_databases(plproxy, tmp_path / "two.toml", names, encoding, type)
    # Of the server's own hashes, half would be wrong.
    own = plproxy.admin("audited0", "SELECT hashtext(username) & 1 FROM users")
    assert {number for (number,) in own} == {0, 1}
    args = ("audit", "two", "--table", "users", "--key", "username")
    result = cli(*args, PLPROXY_CONFIG=config)
    assert "All 100 rows" in result.stdout
    assert ("partitions 0, 1 lack hashtext" in result.stdout) == here


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("plced", "users", "username"), "F0000: .*did you mean 'placed'"),
        (("placed", "usres", "username"), "42P01: .*did you mean 'users'"),
        (
            ("placed", "public.usres", "username"),
            "42P01: .*did you mean 'public.users'",
        ),
        (("placed", "users", "usrname"), "42703: .*did you mean 'username'"),
        (("placed", "users", "username", "--hash", "hashtxt"), "mean 'hashtext'"),
        (("placed", "uuids", "id"), "by --hash what functions run on, uuid_hash or"),
        (("placed", "a..b", "id"), "22023: 'a..b' is no table's name"),
        (("placed", "users; DROP TABLE users", "x"), "42P01: there is no table"),
    ],
)
def test_names_that_there_are_not(audit: Run, args: tuple[str, ...], told: str) -> None:
    result = audit(*args, code=1)
    assert result.stdout == ""
    assert re.search(told, result.stderr), result.stderr


def test_a_partition_that_is_down(audit: Run) -> None:
    found = Audited(audit("half", "users", "username", "--json", code=1))
    assert [bool(error) for error in found.column("error")] == [0, 0, 0, 1]
    assert found.column("misplaced") == [0, 0, 0, None]
    shown = audit("half", "users", "username", code=1).stdout
    assert "/nowhere" in shown
    assert "1 of 4 databases could not be asked." in shown


def test_a_table_that_one_partition_lacks(
    audit: Run, pg: Pg, placed: list[str]
) -> None:
    for name in placed[:3]:
        pg.execute(name, "CREATE TABLE partly AS SELECT * FROM users")
    try:
        found = Audited(audit("placed", "partly", "username", "--json", code=1))
    finally:
        for name in placed[:3]:
            pg.execute(name, "DROP TABLE partly")
    assert found.column("error")[:3] == [None] * 3
    assert "no table 'partly'" in found.column("error")[3]


def test_nothing_is_changed(audit: Run, pg: Pg, placed: list[str]) -> None:
    for name in placed:
        pg.execute(
            name,
            "CREATE FUNCTION spoil(key text) RETURNS text LANGUAGE plpgsql AS "
            "$$ BEGIN DELETE FROM users; RETURN key; END $$;"
            "CREATE VIEW trap AS SELECT spoil(username) AS username FROM users",
        )
    try:
        for hash in ("hashtext", "mmh3"):
            args = ("placed", "trap", "username", "--hash", hash, "--json")
            found = Audited(audit(*args, code=1))
            assert ["read-only" in error for error in found.column("error")] == [1] * 4
    finally:
        for name in placed:
            pg.execute(name, "DROP VIEW trap; DROP FUNCTION spoil")
    assert sum(len(pg.execute(name, "SELECT 1 FROM users")) for name in placed) == 2000


def test_rows_that_row_security_hides_are_not_passed_over(
    cli: Run, plproxy: Plproxy, tmp_path: Path
) -> None:
    plproxy.create_database("guarded")
    plproxy.admin(
        "guarded",
        "CREATE TABLE users (username text);"
        "INSERT INTO users VALUES ('a'), ('b');"
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY one ON users USING (username = 'a')",
    )
    config = tmp_path / "guarded.toml"
    connstr = json.dumps(plproxy.connstr("guarded"))
    config.write_text(f"[clusters.guarded]\npartitions = [{connstr}]\n")
    args = ("audit", "guarded", "--table", "users", "--key", "username", "--json")
    found = Audited(cli(*args, code=1, PLPROXY_CONFIG=str(config)))
    assert "row-level security" in found.column("error")[0]
