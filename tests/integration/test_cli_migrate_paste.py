"""What `migrate-report` gives to paste answers as the real PL/Proxy does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest

from plproxy_py import ConfigError, Router, RoutingError
from tests.fix_migrate import NOTED, SAME, UNSUPPORTED, MigrateHome, Report, entries
from tests.fix_plproxy import PARTS

# By name: arguments to call it with. Others are refused, or tested by themselves.
CALLS: dict[str, list[tuple[Any, ...]]] = {
    "place": [("marko",), ("",), ("Õie",)],
    "strict_place": [("marko",), (None,)],
    "number": [(1,), (-5,), (2**40,)],
    "everywhere": [()],
    "sums": [([1, 2, 3, 5], ["a", "b", "c", "d"]), ([], [])],
    "done": [("x",)],
    "custom": [("a",), ("abc",)],
    "twice": [("key3",), ("key6",)],
    "users_of": [("marko",)],
    "since": [(datetime(2026, 1, 2, tzinfo=UTC), 3)],
    "later": [("a", date(2019, 1, 1)), ("a",)],
    "defined": [("marko",)],
    "timed": [("marko",)],
    "guarded": [("marko",)],
    "doubtful": [("a",), ("abc",)],
    "checked": [("a",)],
    "chosen": [("moving", "marko")],
    "slowly": [("a",)],
    "queried": [("marko",)],
    "hash_at": [("abc",)],
    "folded": [("Marko",)],
    "nested": [("abc",)],
}
PLACE = "moving.place(text)"
ALONE = {"anything", "told", "hidden"}


@pytest.fixture
def config(migrate_home: MigrateHome, tmp_path: Path) -> Path:
    """The same clusters in a file, with the PL/Proxy database for a home."""
    lines = [f"home = {json.dumps(migrate_home.connstr())}"]
    for name in ("moving", "slow"):
        rows = migrate_home.run(
            f"select connstr from plproxy.partition where cluster = '{name}' "
            "order by number"
        )
        connstrs = [f"{connstr} user=app" for (connstr,) in rows]
        lines.append(f"[clusters.{name}]\npartitions = {json.dumps(connstrs)}")
    path = tmp_path / "plproxy.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def theirs(conn: psycopg.Connection[Any], name: str, args: tuple[Any, ...]) -> Any:
    """Return what PL/Proxy answers, rows as tuples."""
    marks = ", ".join(["%s"] * len(args))
    return conn.execute(
        f"select * from moving.{name}({marks})".encode(), args
    ).fetchall()


def ours(value: Any) -> Any:
    """Return an answer of a typed function as rows."""
    rows = value if isinstance(value, list) else [value]
    return [tuple(_fields(row)) for row in rows]


def _fields(row: Any) -> Iterator[Any]:
    slots = getattr(row, "__slots__", None)
    if slots and not isinstance(row, tuple):
        yield from (getattr(row, slot) for slot in slots)
    else:
        yield row


def compare(names: dict[str, Any], conn: psycopg.Connection[Any], name: str) -> None:
    for args in CALLS[name]:
        wanted, got = theirs(conn, name, args), ours(names[name](*args))
        if name == "done":
            wanted = [(None,)]  # void is '' to psycopg
        assert got == wanted, (name, args)


def test_each_declaration_works_by_itself(
    report: Report, migrate_home: MigrateHome, config: Path
) -> None:
    rows = entries(report(migrate_home.connstr(), "--json", code=1))
    pastes = {
        name.partition("(")[0].removeprefix("moving."): row["paste"]
        for name, row in rows.items()
        if row["kind"] == "function"
    }
    assert CALLS.keys() | ALONE == SAME.keys() | NOTED.keys()
    assert {name for name, paste in pastes.items() if paste is None} == (
        UNSUPPORTED.keys() - {"lost_hash", "lost_cluster"} | {"hidden"}
    )
    with psycopg.connect(migrate_home.connstr()) as conn:
        for name in CALLS:
            with Router.from_config(config) as router:
                module = ModuleType("pasted")
                module.__dict__["router"] = router
                sys.modules["pasted"] = module
                try:
                    exec(compile(pastes[name], name, "exec"), module.__dict__)
                finally:
                    del sys.modules["pasted"]
                compare(module.__dict__, conn, name)


def test_the_module_works_as_a_whole(
    report: Report, migrate_home: MigrateHome, config: Path
) -> None:
    result = report(migrate_home.connstr(), "--paste", code=1)
    assert "moving.hidden(): CONNECT has a password" in result.stderr
    assert "# moving.defined(text): security-definer: PL/Proxy connects" in (
        result.stdout
    )
    module = ModuleType("pasted")
    sys.modules["pasted"] = module
    try:
        exec(compile(result.stdout, "pasted", "exec"), module.__dict__)
    finally:
        del sys.modules["pasted"]
    router: Router = module.__dict__["router"]
    router.configure(str(config))
    with router, psycopg.connect(migrate_home.connstr()) as conn:
        for name in CALLS:
            compare(module.__dict__, conn, name)
        query = "select 1, 'x'::text"
        wanted = conn.execute(
            "select * from moving.anything(%s) as (a int, b text)", [query]
        ).fetchall()
        anything = module.__dict__["anything"]
        assert anything.returning("a int, b text")(query) == wanted
        for refusing in (module.__dict__["place"], router.functions[PLACE]):
            with pytest.raises(RoutingError, match="the hash is NULL"):
                refusing(None)
        with pytest.raises(psycopg.errors.InternalError_, match="returned NULL"):
            theirs(conn, "place", (None,))


def test_connect_from_data_as_its_note_says(
    report: Report, migrate_home: MigrateHome
) -> None:
    row = entries(report(migrate_home.connstr(), "--json", code=1))["moving.told(text)"]
    connstr = migrate_home.plproxy.partition(PARTS[1])
    with psycopg.connect(migrate_home.connstr()) as conn:
        assert theirs(conn, "told", (connstr,)) == [(PARTS[1],)]
    for allowed in (False, True):
        router = Router.from_database(migrate_home.connstr(), allow_connect=allowed)
        with router:
            names = {"router": router}
            exec(row["paste"], names)
            told: Any = names["told"]
            if allowed:
                assert told(connstr) == PARTS[1]
            else:
                with pytest.raises(ConfigError, match="allow_connect"):
                    told(connstr)


def test_functions_without_a_declaration_are_reflected(
    report: Report, migrate_home: MigrateHome
) -> None:
    """What has a password has nothing to paste, and works as its note says."""
    with Router.from_database(migrate_home.connstr()) as router:
        router.reflect()
        assert router.call("moving.hidden") == "x"
