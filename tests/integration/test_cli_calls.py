"""The command line on calls: where they go, what they answer, how they fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from plproxy_py.hashing import KNOWN
from tests.fix_cli import Run, lines, rows
from tests.fix_server import Pg


def test_route_of_a_call(cli: Run) -> None:
    assert rows(cli("route", "whereami", "marko", "--json")) == [
        {
            "cluster": "userdb",
            "run_on": "hashtext(key)",
            "hash": 1416933399,
            "partition": 3,
            "target": rows(cli("partitions", "userdb", "--json"))[3]["connstr"],
            "sql": "SELECT r::text FROM cli.whereami($1::text) r",
        }
    ]
    table = cli("route", "everywhere").stdout.splitlines()
    assert [line.split()[:4] for line in table[1:]] == [
        ["userdb", "ALL", "-", str(number)] for number in range(4)
    ]


def test_route_of_a_key_opens_no_connection(cli: Run) -> None:
    (row,) = rows(cli("route", "faraway", "--key", "marko", "--json"))
    assert (row["hash"], row["partition"]) == (1416933399, 1)
    assert row["run_on"] == "hashtext(key)"
    assert "1416933399" in cli("route", "faraway", "--key", "marko").stdout


KEYS = {
    "bool": "true",
    "int2": "-7",
    "int4": "-7",
    "int8": "-7",
    "oid": "7",
    "float4": "0.1",
    "float8": "-0",
    "numeric": "1.50",
    "uuid": "8c0b1b33-6a40-4b8c-9d5d-2b7dbe8a4a11",
    "timestamp": "2026-11-21T10:00:00",
    "timestamptz": "2026-11-21 10:00:00",
    "date": "2026-11-21",
    "time": "10:00",
    "timetz": "10:00+02:00",
    "jsonb": '{"a": [1, 2.50]}',
    "bytea": r"\xff",
}


# A text of an interval is for a server to read.
HASHES = [name for name in KNOWN if not name.startswith("interval")]


@pytest.mark.parametrize("name", HASHES)
def test_the_sql_of_a_key_gives_its_hash(cli: Run, pg: Pg, name: str) -> None:
    known = KNOWN[name][0]
    if known.since * 10000 > pg.version:
        pytest.skip(f"the server has no {name}")
    if name == "mmh3":
        pg.execute("part00", (Path(__file__).parents[2] / "sql/mmh3.sql").read_text())
    key = KEYS.get(known.parameters[0], "x")
    args = ("route", "userdb", "--key", key, "--hash", name, "--json")
    (row,) = rows(cli(*args))
    pg.execute("part00", "SET TimeZone = 'UTC'")
    assert pg.execute("part00", row["sql"]) == [(row["hash"],)]


def test_a_call_names_the_partition(cli: Run) -> None:
    assert lines(cli("call", "whereami", "marko"))[0] == ["partition", "whereami"]
    (row,) = rows(cli("call", "whereami", "marko", "--json"))
    assert row["partition"] == 3
    assert row["whereami"].endswith("part03 marko")
    (row,) = rows(cli("call", "anywhere", "--json"))
    assert row["anywhere"].endswith(f"part0{row['partition']}")


def test_rows_of_all_partitions(cli: Run) -> None:
    found = rows(cli("call", "everywhere", "--json"))
    assert [(row["partition_number"], row["n"]) for row in found] == [
        (number, n) for number in range(4) for n in (1, 2)
    ]
    assert all(row["partition"].endswith(str(row["partition_number"])) for row in found)


def test_a_partition_can_be_chosen(cli: Run) -> None:
    (row,) = rows(cli("call", "whereami", "marko", "--partition", "1", "--json"))
    assert row["whereami"].endswith("part01 marko")
    found = rows(cli("call", "everywhere", "--partition", "2", "--json"))
    assert [row["partition_number"] for row in found] == [2, 2]


def test_values_as_json_has_them(cli: Run) -> None:
    assert rows(cli("call", "types", "--json")) == [
        {
            "partition": 2,
            "d": "2026-11-21",
            "amount": "12.50",
            "bytes": r"\xff00",
            "f": "nan",
            "j": {"k": [1, None]},
            "a": [1, 2],
            "t": "two\nlines \x1b[31m ö",
            "b": True,
            "nothing": None,
        }
    ]


def test_control_characters_stay_away_from_terminals(cli: Run) -> None:
    header, row = cli("call", "types").stdout.splitlines()
    assert r"two\nlines \x1b[31m ö" in row
    assert row.endswith("true     NULL")
    assert header.endswith("b     nothing")


def test_arguments_are_texts(cli: Run) -> None:
    args = ("-5", '["a b", null, "NULL"]', '{"k": 1}', "[0.10, 2]")
    (row,) = rows(cli("call", "given", *args, "--json"))
    assert row["partition"] == 3
    assert row["given"] == '-5 {"a b",NULL,"NULL"} {"k": 1} {0.10,2}'
    (row,) = rows(cli("call", "given", "4", r"\N", "null", r"\N", "--json"))
    assert row["given"] == "4 null"
    (row,) = rows(cli("call", "whereami", r"\\N", "--json"))
    assert row["whereami"].endswith(r" \N")


def test_void_and_overloaded(cli: Run) -> None:
    found = cli("call", "nothing(bigint)", "7", "--partition", "1")
    assert lines(found) == [["partition"], ["1"]]


def test_a_strict_function_is_not_called_with_null(cli: Run) -> None:
    assert rows(cli("call", "noisy", r"\N", "--json")) == []


def test_notices_go_to_stderr(cli: Run) -> None:
    result = cli("call", "noisy", "you", "--json")
    assert rows(result)[0]["noisy"] is None
    assert result.stderr.endswith("REMOTE NOTICE: hello you\n")


ERRORS = [
    (("-c", "/nowhere.toml", "clusters"), 1, "F0000: /nowhere.toml: there is no such"),
    (("partitions", "userbd"), 1, "F0000: cluster not found: userbd; did you mean"),
    (("call", "wherami", "x"), 1, "42883: no function wherami is declared; did you m"),
    (("route", "wherami", "x"), 1, "did you mean 'whereami'?"),
    (("call", "nothing", "7"), 1, "42725: function nothing is overloaded, say which"),
    (("call", "whereami"), 1, "22023: cli.whereami(1): argument key is missing"),
    (("route", "whereami", "a", "b"), 1, "takes 1 arguments, 2 were given"),
    (("call", "given", "x", "[]", "1", "[]"), 1, "argument n (int4): not an integer"),
    (("call", "given", "1", "{a}", "1", "[]"), 1, "argument words (text[]): not JSON"),
    (("call", "given", "1", '"a"', "1", "[]"), 1, "an array is written as a JSON list"),
    (("call", "given", "1", "[]", "'", "[]"), 1, "argument doc (jsonb): not JSON"),
    (("call", "given", "1", "[" * 5000, "1", "[]"), 1, "argument words (text[]): not"),
    (("call", "whereami", r"\N"), 1, "22023: cli.whereami(1): the hash is NULL"),
    (("call", "whereami", "x", "--partition", "4"), 1, "to 3; did you mean 3?"),
    (("call", "fails", "x"), 1, "22012: cli.fails(1): [part0"),
    (("call", "fails", "x"), 1, r"no; luck; HINT: try again"),
    (("call", "elsewhere"), 1, "08001: cli.elsewhere(0): [x] "),
    (("route", "faraway", "--key", r"\N"), 1, "the key of hashtext is NULL"),
    (("route", "faraway", "--key", "x", "--hash", "hashint8"), 1, "not an integer"),
    (("route", "userdb"), 2, "'userdb' is a cluster: add --key KEY"),
    (("route", "faraway", "--key", "x", "--hash", "hashtxt"), 2, "mean 'hashtext'?"),
    (("route", "faraway", "--hash", "hashtext"), 2, "--hash goes with --key"),
    (("route", "faraway", "x", "--key", "x"), 2, "--key goes with a CLUSTER"),
    (("call", "whereami", "--partitoin", "1"), 2, "No such option '--partitoin'"),
    (("-c", "x", "--app", "a:b", "clusters"), 2, "exclude each other"),
    (("--app", "nowhere", "clusters"), 2, "MODULE:ROUTER is needed"),
    (("--app", "nowhere_:router", "clusters"), 1, "No module named 'nowhere_'"),
    (("clusterz",), 2, "No such command 'clusterz'"),
]


@pytest.mark.parametrize(("args", "code", "text"), ERRORS)
def test_errors(cli: Run, args: tuple[str, ...], code: int, text: str) -> None:
    result = cli(*args, code=code)
    assert text in result.stderr
    assert not result.stdout
