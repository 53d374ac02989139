"""plproxy balance: how keys, rows and bytes spread, drawn and in words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from plproxy_py.cli import bars, main
from plproxy_py.hashing import hashint8, hashtext, mmh3
from plproxy_py.ops import balance as ops
from tests.fix_cli import Run, rows
from tests.fix_placing import USERS
from tests.fix_server import Pg


@pytest.fixture
def balance(cli: Run, placing: Path) -> Run:
    """Run the command on one of the clusters of `placing`."""

    def run(*args: str, code: int = 0, **env: str) -> Result:
        return cli("balance", *args, code=code, PLPROXY_CONFIG=str(placing), **env)

    return run


def kinds(result: Result) -> dict[str, list[dict[str, object]]]:
    """Return the rows of a JSON document by their kind."""
    found: dict[str, list[dict[str, object]]] = {}
    for row in rows(result):
        found.setdefault(row["kind"], []).append(row)
    return found


def by_partition(count: int, hash: object = hashtext) -> list[int]:
    assert callable(hash)
    counts = Counter(hash(name) & (count - 1) for name in USERS)
    return [counts[number] for number in range(count)]


TIMES = bars.sign()
USERS_TABLE = ("--table", "users", "--key", "username")


def test_sizes_and_estimates(balance: Run) -> None:
    result = balance("placed")
    title, heads, *drawn, verdict = result.stdout.splitlines()
    assert title.startswith("placed: ")
    assert heads.split() == ["partition", "size", TIMES, "share", "about", "rows"]
    assert [line.split()[0] for line in drawn] == ["0", "1", "2", "3"]
    assert all("████" in line for line in drawn)
    assert verdict.startswith("Even: furthest is partition ")
    found = kinds(balance("placed", "--json"))
    (server,) = found["server"]
    sizes = [row["bytes"] for row in found["partition"]]
    assert server["bytes"] == sum(map(int, map(str, sizes)))
    # The tables of all, and none of PostgreSQL's own.
    assert all(1500 < int(str(row["rows"])) < 4000 for row in found["partition"])


def test_rows_are_unknown_before_they_were_analyzed(
    balance: Run, pg: Pg, placed: list[str]
) -> None:
    pg.execute(placed[1], "CREATE TABLE fresh AS SELECT 1")
    try:
        found = kinds(balance("placed", "--json"))
        assert " - " not in balance("placed").stdout
    finally:
        pg.execute(placed[1], "DROP TABLE fresh")
    unknown = [row["rows"] is None for row in found["partition"]]
    assert unknown == [False, True, False, False]
    assert found["server"][0]["rows"] is None


def test_rows_of_a_table(balance: Run) -> None:
    found = kinds(balance("placed", *USERS_TABLE, "--json"))
    expected = by_partition(4)
    assert [row["rows"] for row in found["partition"]] == expected
    # A primary key has as many keys as rows.
    assert [row["keys"] for row in found["partition"]] == expected
    assert [row["times"] for row in found["partition"]] == [
        round(count / 500, 4) for count in expected
    ]
    assert {row["uneven"] for row in found["partition"]} == {False}
    assert "planned" not in found
    shown = balance("placed", *USERS_TABLE).stdout.splitlines()
    assert shown[0].startswith("placed: 2,000 rows of users (")
    assert [line.split()[2] for line in shown[2:6]] == list(map(str, expected))


def test_skewed_rows(balance: Run) -> None:
    args = ("placed", "--table", "skewed", "--key", "username")
    shown = balance(*args, code=1).stdout.splitlines()
    assert shown[5].split()[:1] == ["3"]
    assert f"1.60 {TIMES}" in shown[5]
    assert shown[6:8] == [
        f"Uneven: partition 3 holds 1.60 {TIMES} its share.",
        "Chance gives up to ± 23%.",
    ]
    # They are many rows of one key, on all four.
    assert shown[8].startswith("About 4 keys are few: with them, chance gives up to ")
    found = kinds(balance(*args, "--json", code=1))
    assert [row["uneven"] for row in found["partition"]] == [0, 0, 0, 1]
    assert [row["times"] for row in found["partition"]] == [0.8, 0.8, 0.8, 1.6]
    assert [row["keys"] for row in found["partition"]] == [1, 1, 1, 1]


@pytest.mark.parametrize("cluster", ["doubled", "reworded"])
def test_a_database_that_is_two_partitions(balance: Run, cluster: str) -> None:
    for args in ((), USERS_TABLE):
        found = kinds(balance(cluster, *args, "--json"))
        numbers = [row["partitions"] for row in found["partition"]]
        assert numbers == [[0, 4], [1, 5], [2, 6], [3, 7]]
        assert {row["share"] for row in found["partition"]} == {0.25}
    assert "\n      1,5  ██" in balance(cluster, *USERS_TABLE).stdout


@pytest.mark.parametrize("planned", [8, 32])
def test_what_a_doubling_would_give(balance: Run, planned: int) -> None:
    args = ("placed", *USERS_TABLE, "--if-partitions", str(planned))
    found = kinds(balance(*args, "--json"))
    assert [row["rows"] for row in found["planned"]] == by_partition(planned)
    assert [row["rows"] for row in found["partition"]] == by_partition(4)
    shown = balance(*args).stdout
    assert f"\nWith {planned} partitions:\n" in shown
    assert ("The most: partition " in shown) == (planned > bars.MOST_BARS)
    # Nothing of it is hashed here, unless the server has not the hash.
    args = ("placed", "--table", "hashed", "--key", "name", "--hash", "mmh3")
    found = kinds(balance(*args, "--if-partitions", str(planned), "--json"))
    assert [row["rows"] for row in found["planned"]] == by_partition(planned, mmh3)


def test_keys_of_a_file(
    balance: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "_BATCH", 7)
    file = tmp_path / "keys"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(USERS).encode())
    found = kinds(balance("placed", "--keys", str(file), "--json"))
    assert [row["keys"] for row in found["partition"]] == by_partition(4)
    assert found["partition"][0]["rows"] is None
    file.write_text("5\n-7\n5\n")
    args = ("--keys", str(file), "--hash", "hashint8", "--json")
    found = kinds(balance("placed", *args))
    counts = Counter(hashint8(key) & 3 for key in (5, -7, 5))
    assert [row["keys"] for row in found["partition"]] == [counts[n] for n in range(4)]


def test_keys_of_stdin(placing: Path) -> None:
    args = ("-c", str(placing), "balance", "half", "--keys", "-", "--json")
    result = CliRunner().invoke(main, args, input="marko\n" * 1000)
    assert result.exit_code == 1
    (mine,) = (row for row in rows(result) if row["partition"] == hashtext("marko") & 3)
    assert (mine["keys"], mine["times"], mine["uneven"]) == (1000, 4.0, True)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"1\n2\nx\n", "key 3: "),
        (b"1\n\\N\n", "key 2 is NULL"),
        (b"1\n\xff\n", "no UTF-8"),
        (b"1\n" + b"1" * 2**20, "key 2 is longer than any key should be"),
    ],
)
def test_what_is_no_key(
    balance: Run, tmp_path: Path, content: bytes, told: str
) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    args = ("placed", "--keys", str(file), "--hash", "hashint4")
    result = balance(*args, code=1)
    assert told in result.stderr
    assert result.stdout == ""


def test_a_sample_opens_no_connection(balance: Run) -> None:
    result = balance("half", "--sample", "1000")
    assert result.stdout.startswith("half: 1,000 keys on 4 partitions\n")
    balance("half", "--sample", "100", "--hash", "hashdate", code=1)


def test_many_partitions_are_summarised(balance: Run) -> None:
    args = ("placed", "--sample", "20000", "--if-partitions", "1024")
    shown = balance(*args).stdout.splitlines()
    assert len(shown) <= 24
    assert max(map(len, shown)) <= 80
    counts = [int(line.split()[-1].replace(",", "")) for line in shown if "██" in line]
    assert 0 < sum(counts) <= 1024
    assert shown[3].split() == [TIMES, "share", "partitions"]


def sixteen(tmp_path: Path) -> Path:
    """A config of 16 partitions on four servers, which are never asked."""
    path = tmp_path / "plproxy.toml"
    path.write_text(
        "[clusters.userdb]\npartitions = {"
        + ", ".join(
            f'"{first}-{first + 3}" = "host=db{first // 4} dbname=part{{partition:02}}"'
            for first in range(0, 16, 4)
        )
        + "}\n"
    )
    return path


def test_sixteen_partitions_fit_a_terminal(cli: Run, tmp_path: Path) -> None:
    config = str(sixteen(tmp_path))
    args = ("balance", "userdb", "--sample", "100000")
    shown = cli(*args, PLPROXY_CONFIG=config, COLUMNS="80").stdout.splitlines()
    assert len(shown) <= 24
    assert max(map(len, shown)) <= 80
    assert shown[1].split() == ["partition", "server", "keys", TIMES, "share"]
    drawn = [line.split() for line in shown if "██" in line]
    assert [line[0] for line in drawn[:16]] == list(map(str, range(16)))
    assert len(drawn) == 16
    assert shown[-1].startswith("Servers: of 4, ")


def test_servers_below_few_partitions(cli: Run, tmp_path: Path) -> None:
    path = tmp_path / "plproxy.toml"
    path.write_text(
        "[clusters.userdb]\npartitions = ["
        + ", ".join(f'"host=db{n // 3} dbname=part{n}"' for n in range(4))
        + "]\n"
    )
    args = ("balance", "userdb", "--sample", "40000")
    config = str(path)
    shown = cli(*args, PLPROXY_CONFIG=config).stdout.splitlines()
    drawn = [line.split() for line in shown if "██" in line]
    assert [line[:4] for line in drawn[4:]] == [
        ["3", "of", "4", "db0:5432"],
        ["1", "of", "4", "db1:5432"],
    ]
    # Three partitions are one and a half times a server's equal part: no fault.
    assert drawn[4][-2] == "1.50"
    first, second = kinds(cli(*args, "--json", PLPROXY_CONFIG=config))["server"]
    assert (first["partitions"], first["uneven"]) == ([0, 1, 2], False)
    assert second["share"] == 0.5


def test_a_partition_that_is_down(balance: Run) -> None:
    for args in ((), USERS_TABLE):
        found = kinds(balance("half", *args, "--json", code=1))
        errors = {row["partition"]: row["error"] for row in found["partition"]}
        assert [bool(errors[number]) for number in range(4)] == [0, 0, 0, 1]
        shown = balance("half", *args, code=1).stdout
        assert "Partition 3 could not be asked: " in shown
        assert shown.count("██") >= 3


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--table", "users"), "--table goes with --key"),
        (("--key", "username"), "--table goes with --key"),
        (("--sample", "3", *USERS_TABLE), "exclude each other"),
        (("--if-partitions", "8"), "--if-partitions and --hash go with"),
        (("--sample", "9", "--if-partitions", "6"), "a power of two is needed"),
        (("--keys", "/nowhere/keys"), "does not exist"),
    ],
)
def test_wrong_usage(balance: Run, args: tuple[str, ...], told: str) -> None:
    assert told in balance("placed", *args, code=2).stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("plced",), "did you mean 'placed'"),
        (("placed", "--table", "usres", "--key", "x"), "did you mean 'users'"),
        (("placed", "--table", "users", "--key", "usrname"), "mean 'username'"),
        (("placed", "--sample", "3", "--hash", "hashtxt"), "mean 'hashtext'"),
    ],
)
def test_names_that_there_are_not(
    balance: Run, args: tuple[str, ...], told: str
) -> None:
    assert told in balance(*args, code=1).stderr
