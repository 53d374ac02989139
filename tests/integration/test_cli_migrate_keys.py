"""`plproxy migrate-report --keys`: routes compared with the real PL/Proxy's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from plproxy_py import Router
from plproxy_py.cli import main
from plproxy_py.cli.migrate_routes import MOST_LISTED
from plproxy_py.config import parse_connstr
from plproxy_py.ops.migration.routes import BATCH
from tests.fix_migrate import MigrateHome, Report, keys_file
from tests.fix_plproxy import PARTS

KEYS = ["marko", "", "Õie", "o'hara", "a\tb", "{x,y}", "NULL", '"q"', "\\", "key3"]


def connstrs(home: MigrateHome) -> list[str]:
    return [home.plproxy.partition(part) for part in PARTS]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module for ``--app migrating:router``; the router is set by the test."""
    module = ModuleType("migrating")
    monkeypatch.setitem(sys.modules, "migrating", module)
    return module


APP = ("--app", "migrating:router")


def test_all_keys_go_the_same_way(
    report: Report, migrate_home: MigrateHome, tmp_path: Path
) -> None:
    keys = KEYS + [f"key{number}" for number in range(2 * BATCH)]
    file = keys_file(tmp_path, keys)
    result = report(migrate_home.connstr(), "--keys", file, "--json")
    assert json.loads(result.stdout) == []
    lines = result.stderr.splitlines()
    (line,) = (line for line in lines if line.startswith("hashtext($1) of text in mov"))
    assert line.endswith(f"functions): {len(keys)} keys, 0 go another way")
    (line,) = (line for line in lines if "namehash" in line)
    assert line.endswith("hashed by the database for routers too")
    (line,) = (line for line in lines if "tablehash" in line)
    assert "have no hash on either side" in line
    (line,) = (line for line in lines if "Without a route" in line)
    for name in ("everywhere()", "anything(text)", "nested(text)", "told(text)"):
        assert f"moving.{name}" in line
    table = report(migrate_home.connstr(), "--keys", file, "--function", "place")
    (line,) = table.stdout.splitlines()
    assert line == (
        f"hashtext($1) of text in moving (1 function): {len(keys)} keys, "
        "0 go another way"
    )


@pytest.mark.parametrize(
    ("name", "keys", "fitting"),
    [
        ("moving.number", ["0", "-1", str(2**63 - 1), "x"], 3),
        ("moving.number(int8)", ["-7"], 1),
        ("sums", ["1", "-2147483648", "2147483648", ""], 2),
        ("doubtful", ["a", "b"], 2),
    ],
)
def test_one_function_by_name(
    report: Report,
    migrate_home: MigrateHome,
    tmp_path: Path,
    name: str,
    keys: list[str],
    fitting: int,
) -> None:
    words = (migrate_home.connstr(), "--keys", keys_file(tmp_path, keys))
    (line,) = report(*words, "--function", name).stdout.splitlines()
    assert f": {fitting} keys, 0 go another way" in line
    assert ("are no int" in line) is (fitting < len(keys))


def test_a_python_version_that_differs_is_found(
    report: Report, migrate_home: MigrateHome, tmp_path: Path, app: ModuleType
) -> None:
    def namehash(key: str) -> int:
        if key == "boom":
            raise KeyError(key)
        return len(key.encode())  # the database counts characters

    hashes = {"moving.namehash": namehash}
    app.__dict__["router"] = Router(
        {"moving": connstrs(migrate_home), "slow": connstrs(migrate_home)},
        hashes=hashes,
    )
    file = keys_file(tmp_path, ["marko", "Õie", "boom"])
    words = (migrate_home.connstr(), "--keys", file, "--function", "custom")
    result = report(*words, "--json", before=APP, code=1)
    wrong, failing = json.loads(result.stdout)
    assert wrong == {
        "route": "moving.namehash($1) of text in moving",
        "functions": ["moving.custom(text)"],
        "key": "Õie",
        "home_hash": 3,
        "hash": 4,
        "home_partitions": 3,
        "partitions": 0,
        "home_place": wrong["home_place"],
        "place": wrong["place"],
    }
    assert wrong["home_place"].startswith(PARTS[3])
    assert wrong["place"].startswith(PARTS[0])
    assert (failing["key"], failing["home_hash"]) == ("boom", 4)
    assert (failing["hash"], failing["partitions"]) == ("KeyError", None)
    app.__dict__["router"] = Router({"moving": connstrs(migrate_home)}, hashes=hashes)
    table = report(*words, before=APP, code=1)
    head, first, *_ = table.stdout.splitlines()
    assert head.split()[:2] == ["route", "key"]
    assert "Õie" in first
    assert "2 go another way" in table.stdout
    app.__dict__["router"] = Router(
        {"moving": connstrs(migrate_home)}, hashes={"moving.namehash": len}
    )
    assert "0 go another way" in report(*words, before=APP).stdout


def test_another_map_is_found(
    report: Report, migrate_home: MigrateHome, tmp_path: Path
) -> None:
    """The hash is the same; the file has two of the partitions exchanged."""
    listed = connstrs(migrate_home)
    listed[1], listed[2] = listed[2], listed[1]
    path = tmp_path / "plproxy.toml"
    path.write_text(f"[clusters.moving]\npartitions = {json.dumps(listed)}\n")
    file = keys_file(tmp_path, ["0", "1", "2", "3"])
    words = (migrate_home.connstr(), "--keys", file, "--function", "sums", "--json")
    rows = json.loads(report(*words, before=("-c", str(path)), code=1).stdout)
    assert [row["key"] for row in rows] == ["1", "2"]
    assert [row["partitions"] for row in rows] == [1, 2]
    assert rows[0]["home_place"].startswith(f"{PARTS[1]} at ")
    assert rows[0]["place"].startswith(f"{PARTS[2]} at ")
    path.write_text(f"[clusters.moving]\npartitions = {json.dumps(listed[:2])}\n")
    rows = json.loads(report(*words, before=("-c", str(path)), code=1).stdout)
    assert [(row["home_partitions"], row["partitions"]) for row in rows][-1] == (3, 1)
    path.write_text(f"[clusters.movng]\npartitions = {json.dumps(listed)}\n")
    result = report(*words, before=("-c", str(path)), code=1)
    assert "did you mean 'movng'" in result.stderr


def test_the_list_is_bounded_and_the_count_is_not(
    report: Report, migrate_home: MigrateHome, tmp_path: Path, app: ModuleType
) -> None:
    app.__dict__["router"] = Router(
        {"moving": connstrs(migrate_home)}, hashes={"moving.namehash": lambda key: -1}
    )
    count = MOST_LISTED + 500
    file = keys_file(tmp_path, [f"key{number}" for number in range(count)])
    words = (migrate_home.connstr(), "--keys", file, "--function", "custom", "--json")
    result = report(*words, before=APP, code=1)
    assert len(json.loads(result.stdout)) == MOST_LISTED
    assert f"{count} keys, {count} go another way" in result.stderr


def test_keys_from_stdin(migrate_home: MigrateHome) -> None:
    words = ["migrate-report", migrate_home.connstr(), "--keys", "-"]
    result = CliRunner().invoke(main, words, input="marko\nmia")
    assert (result.exit_code, result.stdout.count("\n") > 5) == (0, True)
    assert "2 keys, 0 go another way" in result.stdout


@pytest.mark.parametrize(
    ("data", "words", "message"),
    [
        (b"marko\n\xff\n", (), "is not UTF-8"),
        (b"", (), "no key was compared"),
        (b"x\n", ("--function", "number"), "no key was compared"),
        (b"x\n", ("--function", "plce"), "did you mean 'place'"),
        (b"x\n", ("--function", "everywhere"), "RUN ON ALL has no hash"),
        (b"x\n", ("--function", "nested"), "may call a proxy function"),
    ],
)
def test_what_can_not_be_compared(
    report: Report,
    migrate_home: MigrateHome,
    tmp_path: Path,
    data: bytes,
    words: tuple[str, ...],
    message: str,
) -> None:
    file = tmp_path / "keys.txt"
    file.write_bytes(data)
    result = report(migrate_home.connstr(), "--keys", str(file), *words, code=1)
    assert message in result.stderr


def test_nothing_reaches_a_partition(
    report: Report, migrate_home: MigrateHome, tmp_path: Path
) -> None:
    """The clusters lead nowhere, and all routes are compared."""
    hosts = ["host=/nowhere dbname=a", "host=/nowhere dbname=b"]
    migrate_home.plproxy.cluster("moving", hosts, version=2, home="migrate_home")
    try:
        file = keys_file(tmp_path, KEYS)
        report(migrate_home.connstr(), "--keys", file)
    finally:
        migrate_home.plproxy.cluster("moving", PARTS, version=3, home="migrate_home")
    assert parse_connstr(connstrs(migrate_home)[0]).label == PARTS[0]


def test_a_key_that_the_database_refuses(
    report: Report, migrate_home: MigrateHome, tmp_path: Path, app: ModuleType
) -> None:
    """The others of its batch are compared all the same."""
    migrate_home.run(
        "create or replace function moving.namehash(key text) returns int4 immutable "
        "language plpgsql as $$ begin return length(key) / (key <> 'bad')::int; end $$"
    )
    router: Any = Router(
        {"moving": connstrs(migrate_home)}, hashes={"moving.namehash": len}
    )
    app.__dict__["router"] = router
    try:
        keys = [f"key{number}" for number in range(20)]
        file = keys_file(tmp_path, [*keys, "bad", *keys])
        words = (migrate_home.connstr(), "--keys", file, "--function", "custom")
        result = report(*words, "--json", before=APP, code=1)
    finally:
        migrate_home.run(
            "create or replace function moving.namehash(key text) returns int4 "
            "immutable language sql as 'select length(key)'"
        )
    (row,) = json.loads(result.stdout)
    assert (row["key"], row["home_hash"], row["hash"]) == ("bad", "error 22012", 3)
