"""A PL/Proxy database with something of everything that a migration report tells.

The real extension is in it, on PostgreSQL 15; its partitions are ``test_part0`` to
``test_part3``, with functions of the same names in the schema ``moving``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from plproxy_py.cli import main
from tests.fix_plproxy import PARTS, SOURCE, USER_MAPPING, Plproxy

HOME = "migrate_home"
SEKRET = "sekret"

REMOTE = """
drop schema if exists moving cascade;
create schema moving;
grant usage on schema moving to public;
create type moving.mood as enum ('happy', 'sad');
create domain moving.positive as int check (value > 0);
create table moving.users (name text, mood moving.mood, born date);
create function moving.place(key text) returns text language sql
    as $$ select key || '@' || current_database() $$;
create function moving.strict_place(key text) returns text language sql
    as $$ select key || '@' || current_database() $$;
create function moving.custom(key text) returns text language sql
    as $$ select key || '@' || current_database() $$;
create function moving.twice(key text) returns text language sql
    as $$ select key || '@' || current_database() $$;
create function moving.number(id int8) returns text language sql
    as $$ select id || '@' || current_database() $$;
create function moving.everywhere(out place text, out n numeric) returns setof record
    language sql as $$ select current_database()::text, 1.50 $$;
create function moving.sums(ids int4[], words text[], out place text, out ids_sum int8,
    out words_all text) returns setof record language sql as $$ select
    current_database()::text, sum(i), string_agg(w, ',') from unnest(ids, words)
    as u(i, w) $$;
create function moving.users_of(i_name text) returns setof moving.users language sql
    as $$ select i_name, 'sad'::moving.mood, date '2026-01-02' $$;
create function moving.anything(q text) returns setof record language plpgsql
    as $$ begin return query execute q; end $$;
create function moving.since(at timestamptz, n int4) returns text language sql
    as $$ select at::text || ' ' || n $$;
create function moving.later(key text, at date) returns text language sql
    as $$ select key || ' ' || (at > '2020-01-01') $$;
create function moving.defined(key text) returns text language sql
    as $$ select key || '@' || current_database() $$;
create function moving.queried(key text) returns text language sql
    as $$ select key || '@' || current_database() $$;
create function moving.guarded(key text) returns text language sql
    as $$ select key || '@' || current_database() $$;
create function moving.timed(key text) returns text language sql
    as $$ select key || '@' || current_database() $$;
create function moving.chosen(part text, key text) returns text language sql
    as $$ select key || '@' || current_database() $$;
create function moving.proceed(key text) returns void language sql as '';
create function moving.done(key text) returns void language sql as '';
"""

HASHED = "cluster 'moving'; run on hashtext(key);"

# By name: the head behind it, and the body. What is the same in all ways.
SAME = {
    "place": ("(key text) returns text", HASHED),
    "strict_place": ("(key text) returns text strict", HASHED),
    "number": ("(id int8) returns text", "cluster 'moving'; run on hashint8(id);"),
    "everywhere": (
        "(out place text, out n numeric) returns setof record",
        "cluster 'moving'; run on all;",
    ),
    "sums": (
        "(ids int4[], words text[], out place text, out ids_sum int8, "
        "out words_all text) returns setof record",
        "cluster 'moving'; split ids, words; run on ids;",
    ),
    "done": ("(key text) returns void", HASHED),
}
# By name: head, body, and the differences that are to be named.
NOTED = {
    "custom": (
        "(key text) returns text",
        "cluster 'moving'; run on moving.namehash(key);",
        ["expressions-python-first-then-home"],
    ),
    "twice": (
        "(key text) returns text",
        "cluster 'moving'; run on moving.tablehash(key);",
        ["expressions-python-first-then-home", "no-callers-transaction"],
    ),
    "users_of": (
        "(i_name text) returns setof moving.users",
        "cluster 'moving'; run on hashtext(i_name);",
        ["row-types-in-text"],
    ),
    "anything": (
        "(q text) returns setof record",
        "cluster 'moving'; run on all;",
        ["column-lists-of-dynamic-records"],
    ),
    "since": (
        "(at timestamptz, n int4) returns text",
        "cluster 'moving'; run on n;",
        ["datetimes-without-time-zone"],
    ),
    "later": (
        "(key text, at date default now()) returns text",
        HASHED,
        ["default"],
    ),
    "defined": (
        "(key text) returns text security definer",
        HASHED,
        ["security-definer"],
    ),
    "timed": (
        "(key text) returns text set statement_timeout = '5s'",
        HASHED,
        ["set-clauses"],
    ),
    "guarded": ("(key text) returns text", HASHED, ["who-may-call"]),
    "doubtful": (
        "(key text) returns text",
        "cluster 'moving'; run on mmh3(key); select key || '@' || current_database();",
        ["hashes-that-home-may-answer-otherwise"],
    ),
    "checked": (
        "(key text) returns moving.positive",
        "cluster 'moving'; run on hashtext(key); select 7 as r;",
        ["domains-of-results"],
    ),
    "folded": (
        "(key text) returns text",
        "cluster 'moving'; run on hashtext(lower(key)); select key;",
        ["expressions-python-first-then-home"],
    ),
    "chosen": (
        "(part text, key text) returns text",
        "cluster moving.cluster_of(part); run on hashtext(key);",
        ["expressions-python-first-then-home"],
    ),
    "told": (
        "(connstr text) returns text",
        "connect connstr; select current_database();",
        ["connect-from-data"],
    ),
    "slowly": (
        "(key text) returns text",
        "cluster 'slow'; run on hashtext(key); select key;",
        [],
    ),
    "hidden": (
        "() returns text",
        f"connect '@part0@ password={SEKRET}'; select 'x'::text;",
        ["passwords-appear-in-no-text", "whose-name-connections-are-made-in"],
    ),
    "queried": ("(key text) returns text", HASHED, ["in-the-application"]),
    "nested": (
        "(key text) returns text",
        "cluster 'moving'; run on moving.hash_at(key); select key;",
        ["expressions-python-first-then-home", "in-the-application"],
    ),
    "hash_at": (
        "(key text) returns int4",
        "cluster 'slow'; run on 0; select length(key);",
        [],
    ),
}
# Head, body, difference, and what its reason says.
UNSUPPORTED = {
    "by_text": (
        "(key text) returns text",
        "cluster 'moving'; run on key;",
        ["refused-at-once"],
        "int2, int4 or int8, not text",
    ),
    "to_cstring": (
        "(key text) returns cstring",
        HASHED,
        ["result-types-are-refused-at-once"],
        "cstring",
    ),
    "fired": (
        "() returns trigger",
        "cluster 'moving'; run on 0;",
        ["result-types-are-refused-at-once"],
        "unsupported pseudo type: trigger",
    ),
    "lost_hash": (
        "(key text) returns text",
        "cluster 'moving'; run on moving.nohash(key);",
        ["expressions-python-first-then-home"],
        "function moving.nohash(text) does not exist",
    ),
    "lost_cluster": (
        "(key text) returns text",
        "cluster 'nowhere'; run on hashtext(key);",
        ["a-bad-definition-or-a-home-database-that-is-down"],
        "no such cluster: nowhere",
    ),
    "unclosed": (
        "(key text) returns text",
        "cluster 'moving'; run on hashtext(key); /* the end",
        ["refused-at-once"],
        "Compile error at line 1",
    ),
}
LOCAL = """
create schema moving;
grant usage on schema moving to public;
create type moving.mood as enum ('happy', 'sad');
create domain moving.positive as int check (value > 0);
create table moving.users (name text, mood moving.mood, born date);
create table moving.keys (key text primary key, hash int4);
grant select on moving.keys to public;
insert into moving.keys select 'key' || n, n from generate_series(0, 9) n;
create function moving.namehash(key text) returns int4 immutable language sql
    as 'select length(key)';
create function moving.tablehash(key text) returns int4 stable language sql
    as $$ select hash from moving.keys k where k.key = $1 $$;
create function moving.cluster_of(part text) returns text immutable language sql
    as 'select part';
create function public.mmh3(key text) returns int4 immutable language sql
    as 'select length(key) + 1';
"""
CALLERS = """
create view moving.all_users as select moving.queried(name) from moving.users;
create function moving.by_text_of(key text) returns text language plpgsql as $$
begin
    -- moving.place(key) is not called
    return queried(key);
end $$;
create function moving.standard(key text) returns text begin atomic
    select moving.queried(key); end;
create function moving.on_insert() returns trigger language plpgsql as $$
begin
    execute 'select moving.queried($1)' using new.name;
    return new;
end $$;
create trigger tell after insert on moving.users for each row
    execute function moving.on_insert();
create table moving.filled (x text default moving.queried('x'));
create function moving.innocent() returns text language plpgsql as $$
begin
    return 'queried' /* queried(x) */;
end $$;
"""
PROCEDURE = """
create procedure moving.proceed(key text) language plproxy as $$
    cluster 'moving'; run on hashtext(key); $$;
"""
# As superuser; the mapping is for the application's role only.
SERVER = """
create server med foreign data wrapper plproxy options (
    p0 '{}', p1 '{} user=app', query_timeout '7');
grant usage on foreign server med to app;
create user mapping for app server med;
"""
CALLERS_FOUND = {
    "view moving.all_users": "as the catalog says",
    "function moving.by_text_of(text)": "by its text",
    "function moving.standard(text)": "as the catalog says",
    "function moving.on_insert()": "called by trigger tell on table moving.users",
    "default value for column x of table moving.filled": "as the catalog says",
}


def create(name: str, head: str, body: str) -> str:
    return (
        f"create function moving.{name}{head} language plproxy as $body$ {body} $body$"
    )


class MigrateHome:
    """The database, and its connect strings."""

    def __init__(self, plproxy: Plproxy) -> None:
        self.plproxy = plproxy

    def setup(self) -> None:
        self.plproxy.create_database(HOME)
        self.run(SOURCE)
        self.run(USER_MAPPING.read_text(encoding="utf-8"))
        for name in ("moving", "slow"):
            self.plproxy.cluster(name, PARTS, home=HOME)
        self.plproxy.cluster("slow", PARTS, home=HOME, query_timeout=5)
        self.run(LOCAL)
        for functions in (SAME, NOTED, UNSUPPORTED):
            for name, (head, body, *_) in functions.items():  # type: ignore[attr-defined]
                body = body.replace("@part0@", self.place(PARTS[0]))
                self.run(create(name, head, body))
        self.run(PROCEDURE)
        self.run(CALLERS)
        self.run(SERVER.format(*map(self.place, PARTS[:2])))
        self.run("revoke execute on function moving.guarded from public")
        self.run("grant execute on function moving.guarded to app")
        for part in PARTS:
            self.plproxy.admin(part, REMOTE)

    def place(self, dbname: str) -> str:
        """Return a partition's connect string, ready to stand in a literal."""
        return self.plproxy.partition(dbname).replace("'", "''")

    def run(self, statement: str) -> list[Any]:
        """Run SQL as the superuser; return the rows, if any."""
        return self.plproxy.admin(HOME, statement)

    def connstr(self, user: str = "app") -> str:
        return self.plproxy.connstr(HOME, user=user)


@pytest.fixture(scope="session")
def migrate_home(plproxy: Plproxy) -> Iterator[MigrateHome]:
    """A PL/Proxy database with planted differences of each kind."""
    home = MigrateHome(plproxy)
    home.setup()
    yield home
    plproxy.drop_database(HOME)


Report = Callable[..., Result]


@pytest.fixture
def report(migrate_home: MigrateHome, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Run ``plproxy migrate-report``; no output ever shows a password."""
    monkeypatch.delenv("PLPROXY_CONFIG", raising=False)

    def run(*args: str, code: int = 0, before: tuple[str, ...] = ()) -> Result:
        words = [*before, "migrate-report", *args]
        result = CliRunner().invoke(main, words, prog_name="plproxy")
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        assert SEKRET not in result.output
        return result

    return run


def entries(result: Result) -> dict[str, Any]:
    """Return the rows of a JSON document by name."""
    return {row["name"]: row for row in json.loads(result.stdout)}


def keys_file(path: Path, keys: list[str]) -> str:
    file = path / "keys.txt"
    file.write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")
    return str(file)
