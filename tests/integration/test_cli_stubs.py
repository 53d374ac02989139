"""`plproxy stubs`: typed modules of real catalogs, imported and called."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from plproxy_py import AsyncRouter, Router
from plproxy_py.function import ProxyFunction
from tests.fix_cli import Run
from tests.fix_proxydb import ProxyDb
from tests.fix_server import Pg
from tests.integration import test_source_catalog
from tests.stubs import assert_same
from tests.typing import test_typing

catalog = test_source_catalog.catalog
python = test_typing.python

HEADS = [
    *test_source_catalog.HEADS,
    "f_users(a text) RETURNS SETOF tab",
    'f_one(a text) RETURNS "My ""S"."Type"',
    'f_odd(a text, OUT "a b" int, OUT "class" text)',
    'f_hidden(a text, OUT date date, OUT "int" int, OUT count bigint)',
    "f_dynamic(OUT int, OUT text)",
    "f_later(a text, at timestamptz DEFAULT now(), n int DEFAULT 7) RETURNS numeric",
    'f_args("class" text, "self" int, "a b" int, "ä" int) RETURNS int',
    '"class"(a text) RETURNS int',
    '"__all__"(a text) RETURNS int',
    '"router"(a text) RETURNS int',
    '"int"(a text) RETURNS int',
    '"ﬁnd"(a text) RETURNS int',
    '"\'\'\' """"""\\ \n# type: ignore\u2028"("\n" text) RETURNS int',
    '"My ""S"."\nimport os\n"(a text, OUT "\\" text, OUT """""""" text)',
]
BODIES = [
    "CLUSTER 'it''s \"\"\" \\ $$'; -- \"\"\" '''\n RUN ON 3;",
    'CLUSTER \'c\'; RUN ON ANY; SELECT \'"""\\\', $$\\$$, 1 AS "x\ny";',
    "CLUSTER 'c'; RUN ON ALL; TARGET f_record;",
]
SECRET = "CONNECT 'host=x password=sekret';"


def url(proxydb: ProxyDb) -> str:
    with proxydb.connect() as conn:
        return conn.info.dsn


def load(path: Path) -> ModuleType:
    """Import a module by its path."""
    spec = importlib.util.spec_from_file_location("made", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def formatted(text: str) -> str:
    """Return the text as ruff formats it."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "-"],
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout


def definitions(router: Router | AsyncRouter) -> dict[str, ProxyFunction]:
    return {key: call.definition for key, call in router.functions.items()}


def test_a_hostile_catalog(catalog: ProxyDb, cli: Run, tmp_path: Path) -> None:
    create = test_source_catalog.create
    for head in HEADS:
        hashed = "CLUSTER 'c'; RUN ON hashtext(a);"
        create(catalog, head, hashed if "(a text" in head else "CLUSTER 'c';")
    for number, body in enumerate(BODIES):
        create(catalog, f"g{number}() RETURNS SETOF text STRICT", body)
    create(catalog, "z_secret() RETURNS int", SECRET)
    result = cli("--home", url(catalog), "stubs")
    assert "z_secret" in result.stderr
    assert result.stderr.count("\n") == 1
    assert formatted(result.stdout) == result.stdout
    path = tmp_path / "made.py"
    path.write_text(result.stdout, encoding="utf-8")
    with Router.from_database(url(catalog)) as router:
        router.reflect()
        wanted = definitions(router)
    del wanted["public.z_secret()"]
    made = definitions(load(path).router)
    assert made.keys() == wanted.keys()
    for key in wanted:
        assert_same(made[key], wanted[key])
    assert len(made) == len(HEADS) + len(BODIES)


REMOTE = r"""
CREATE SCHEMA app;
CREATE TYPE app.mood AS ENUM ('happy', 'sad');
CREATE DOMAIN app.positive AS int CHECK (value > 0);
CREATE TABLE app.users (id int, name text, mood app.mood, tags text[], date date,
    until date, born timestamp);
CREATE FUNCTION app.get_user(name text) RETURNS SETOF app.users STABLE LANGUAGE sql
    AS $$ SELECT 7, name, 'sad'::app.mood, '{a,b}'::text[], date '2026-01-02',
        NULL::date, timestamp '2026-01-02 03:04' $$;
COMMENT ON FUNCTION app.get_user(text) IS
    E'Return users.\n\n\x22\x22\x22\\\n plproxy: CLUSTER ''userdb'';\n RUN ON '
    'hashtext(name);';
CREATE FUNCTION app.balance(id int, OUT amount numeric, OUT "class" text)
    IMMUTABLE STRICT LANGUAGE sql AS $$ SELECT 1.50, 'x' $$;
COMMENT ON FUNCTION app.balance IS 'plproxy: CLUSTER ''userdb''; RUN ON id;';
CREATE FUNCTION app."class"(k app.positive, m app.mood DEFAULT 'sad', n int = 1 + 1,
    at timestamptz = timestamptz '2026-01-01 00:00:00+00' + interval '36 hours')
    RETURNS text[] LANGUAGE plpgsql AS $$ BEGIN RETURN ARRAY[k::text, m::text, n::text];
    END $$;
COMMENT ON FUNCTION app."class" IS 'PLPROXY:CLUSTER ''userdb'';RUN ON 0;';
CREATE FUNCTION app.anywhere() RETURNS jsonb LANGUAGE sql
    AS $$ SELECT jsonb '{"k": 1}' $$;
COMMENT ON FUNCTION app.anywhere IS 'plproxy: CLUSTER ''userdb''; RUN ON ANY;';
CREATE FUNCTION app.dynamic(q text) RETURNS SETOF record LANGUAGE sql
    AS $$ SELECT 1, q $$;
COMMENT ON FUNCTION app.dynamic IS 'plproxy: CLUSTER ''userdb''; RUN ON ALL;';
CREATE FUNCTION app.since(at timestamptz DEFAULT '2026-01-01 00:00:00+00',
    days float8 DEFAULT '0.12345678901234567', raw bytea DEFAULT '\xff')
    RETURNS timestamptz LANGUAGE sql AS $$ SELECT at $$;
COMMENT ON FUNCTION app.since IS 'plproxy: CLUSTER ''userdb''; RUN ON ANY;';
CREATE FUNCTION app.feel() RETURNS app.mood LANGUAGE sql
    AS $$ SELECT 'sad'::app.mood $$;
COMMENT ON FUNCTION app.feel IS 'plproxy: CLUSTER ''userdb''; RUN ON ANY;';

CREATE FUNCTION app.unrouted() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION app.documented() RETURNS int LANGUAGE sql AS 'SELECT 1';
COMMENT ON FUNCTION app.documented IS 'like plproxy: but not';
CREATE FUNCTION public.elsewhere() RETURNS int LANGUAGE sql AS 'SELECT 1';
COMMENT ON FUNCTION public.elsewhere IS 'plproxy: CLUSTER ''userdb'';';

CREATE FUNCTION app.wrong(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
COMMENT ON FUNCTION app.wrong IS E'Not right.\nplproxy: CLUSTER ''userdb'';\n RUN a;';
CREATE FUNCTION app.variadic(VARIADIC a int[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
COMMENT ON FUNCTION app.variadic IS 'plproxy: CLUSTER ''userdb'';';
CREATE PROCEDURE app.does(a int) LANGUAGE sql AS 'SELECT 1';
COMMENT ON PROCEDURE app.does IS 'plproxy: CLUSTER ''userdb'';';
"""


@pytest.fixture(scope="module")
def partition(pg: Pg) -> str:
    """The connect string of a database with routed functions in the schema app."""
    pg.execute("stubs", REMOTE)
    return pg.connstr("stubs")


@pytest.fixture
def app(cli: Run, partition: str, tmp_path: Path) -> Path:
    """The module of these functions."""
    path = tmp_path / "app.py"
    cli("--home", partition, "stubs", "--schema", "app", "--output", str(path))
    return path


def test_functions_of_a_schema_are_called(app: Path, partition: str) -> None:
    made = load(app)
    router: Router = made.router
    with router:
        router.configure({"userdb": [partition]})
        (user,) = made.get_user("marko")
        assert type(user) is made.UsersRow
        assert (user.id, user.name, user.mood, user.tags) == (
            7,
            "marko",
            "sad",
            [*"ab"],
        )
        assert str(user.date) == "2026-01-02"
        assert user.born.tzinfo is None
        assert made.balance(1)["class"] == "x"
        assert made.balance(None) is None
        assert made.anywhere() == {"k": 1}
        assert made.class_(1, "happy", 3, datetime.now(UTC)) == ["1", "happy", "3"]
        assert made.since().isoformat() == "2026-01-01T00:00:00+00:00"
        assert made.feel() == "sad"
        rows = made.dynamic.returning("a int, b text")("x")
        assert [tuple(row) for row in rows] == [(1, "x")]
    assert set(router.functions) == {
        "app.anywhere()",
        "app.balance(int4)",
        "app.class(app.positive,app.mood,int4,timestamptz)",
        "app.dynamic(text)",
        "app.feel()",
        "app.get_user(text)",
        "app.since(timestamptz,float8,bytea)",
    }


def test_a_default_that_home_computes(
    app: Path, partition: str, tmp_path: Path
) -> None:
    config = tmp_path / "plproxy.toml"
    config.write_text(
        f"home = {json.dumps(partition)}\n"
        f"[clusters.userdb]\npartitions = [{json.dumps(partition)}]\n"
    )
    made = load(app)
    with made.router:
        made.router.configure(config)
        assert made.class_(1) == ["1", "sad", "2"]


def test_async_functions(cli: Run, partition: str, tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    options = ["--async", "--router", "db", "--output", str(path)]
    cli("--home", partition, "stubs", "--schema", "app", *options)
    made = load(path)
    db: AsyncRouter = made.db

    async def main() -> Any:
        async with db:
            db.configure({"userdb": [partition]})
            return await made.get_user("marko"), await made.balance(1)

    users, balance = asyncio.run(main())
    assert users[0].name == "marko"
    assert balance["amount"] == balance.amount
    assert "stubs --schema app --async --router db\n" in path.read_text()


def test_what_is_not_written_is_told(cli: Run, partition: str, app: Path) -> None:
    result = cli("--home", partition, "stubs", "--schema", "app")
    assert result.stdout == app.read_text(encoding="utf-8")
    # What the catalog knows to be no row type takes the plain way.
    assert '@router.proxy("app.feel() RETURNS app.mood", ' in result.stdout
    reasons = [
        'PL/Proxy function app."variadic"(1): PL/Proxy does not support VARIADIC',
        "PL/Proxy function app.does(1): no SELECT can call a procedure",
        "PL/Proxy function app.wrong(1): Compile error at line 3: syntax error",
    ]
    told = result.stderr.splitlines()
    in_module = [line for line in result.stdout.splitlines() if "# Not" in line]
    assert len(told) == len(in_module) == 3
    for reason, line, comment in zip(reasons, told, in_module, strict=True):
        assert line.startswith(f"Warning: not written: {reason}")
        assert comment.startswith(f"# Not written: {reason}")
    for name in ("unrouted", "documented", "elsewhere"):
        assert f"{name}(" not in result.output
    assert formatted(result.stdout) == result.stdout


def test_plproxy_functions_of_a_schema(catalog: ProxyDb, cli: Run) -> None:
    test_source_catalog.create(catalog, '"My ""S".f(a text) RETURNS int')
    test_source_catalog.create(catalog, '"My ""S".g(a text) RETURNS int')
    test_source_catalog.create(catalog, "f(a text) RETURNS int")
    catalog.run(
        """CREATE PROCEDURE "My ""S".p() LANGUAGE plproxy AS $$ CLUSTER 'c'; $$"""
    )
    catalog.run('ALTER FUNCTION "My ""S".g STABLE')
    catalog.run("""COMMENT ON FUNCTION "My ""S".f IS 'plproxy: CLUSTER ''other'';'""")
    result = cli("--home", url(catalog), "stubs", "--schema", 'My "S')
    assert result.stdout.count("@router.proxy") == 2
    assert "def p() -> None:" in result.stdout
    assert """'"My ""S".f(a text) RETURNS int4', cluster="c",""" in result.stdout
    assert "must be volatile" in result.stderr
    assert """stubs --schema 'My "S'\n""" in result.stdout


def test_types_hold(
    app: Path, python: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # "test" in a path would make pyright look at it with other eyes.
    project = tmp_path_factory.mktemp("app")
    (project / "app.py").write_text(app.read_text("utf-8"), "utf-8")
    (project / "user.py").write_text(USER)
    (project / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    executable = f"--python-executable={python}"
    output = test_typing.check("mypy", "--strict", executable, ".", cwd=project)
    assert [line.split(":")[1] for line in output.splitlines()[:-1]] == ["18"], output
    output = test_typing.check(
        "basedpyright", "--outputjson", f"--pythonpath={python}", cwd=project
    )
    found = json.loads(output)["generalDiagnostics"]
    assert [each["range"]["start"]["line"] for each in found] == [17], output


USER = """\
from datetime import date, datetime
from decimal import Decimal
from typing import assert_type

import app
from plproxy_py import Row

for user in app.get_user("marko"):
    assert_type(user.id, int | None)
    assert_type(user.tags, list[str] | None)
    assert_type(user.date, date | None)
    assert_type(user.until, date | None)
    assert_type(user.born, datetime | None)
assert_type(app.balance(1), Row | None)
assert_type(app.class_(1), list[str] | None)
assert_type(app.since(datetime.now()), datetime | None)
assert_type(app.dynamic("x"), list[Row])
app.get_user(Decimal(1))
"""


def test_the_session_does_not_matter(cli: Run, partition: str, app: Path) -> None:
    for setting in (
        "search_path=app,public",
        "TimeZone=Asia/Kolkata",
        "DateStyle=German",
        "extra_float_digits=-5",
        "IntervalStyle=iso_8601",
        "bytea_output=escape",
        "quote_all_identifiers=on",
    ):
        result = cli(
            "--home", f"{partition} options='-c {setting}'", "stubs", "--schema", "app"
        )
        assert result.stdout == app.read_text(encoding="utf-8"), setting


def test_the_functions_of_a_file(
    cli: Run, cli_config: Path, databases4: list[str], tmp_path: Path
) -> None:
    result = cli("stubs")
    assert result.stderr.splitlines() == [
        "Warning: not written: cli.elsewhere(): CONNECT has a password in its connect "
        "string",
        "Warning: not written: cli.wrong(): CONNECT has a connect string that libpq "
        "can't parse (its text is not shown, since it may hold a password)",
    ]
    assert "\n    plproxy -c FILE stubs\n" in result.stdout
    path = tmp_path / "made.py"
    path.write_text(result.stdout, encoding="utf-8")
    made = load(path)
    with Router.from_config(cli_config) as router:
        wanted = definitions(router)
    for key, function in definitions(made.router).items():
        assert_same(function, wanted.pop(key))
    assert wanted.keys() == {"cli.elsewhere()", "cli.wrong()"}
    with made.router:
        made.router.configure({"userdb": databases4})
        assert made.whereami("marko").endswith(" marko")
        assert made.nothing_int8(7) is None
        assert len(made.everywhere()) == 8
        assert made.types().amount == 12.5


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--app", "x:router", "stubs"], "--app are in Python already"),
        (["stubs", "--schema", "x"], "--schema goes with --home"),
        (["stubs", "--router", "class"], "can't be the name of a router"),
    ],
)
def test_wrong_usage(cli: Run, args: list[str], text: str) -> None:
    assert text in cli(*args, code=2).stderr


def test_a_schema_that_is_not_there(cli: Run, partition: str) -> None:
    result = cli("--home", partition, "stubs", "--schema", "apps", code=1)
    assert result.stderr == (
        "Error 3F000: there is no schema 'apps'; did you mean 'app'?\n"
    )


def test_a_database_that_is_not_there(cli: Run) -> None:
    result = cli("--home", "host=/nowhere password=sekret", "stubs", code=1)
    assert "the database can't be asked" in result.stderr
