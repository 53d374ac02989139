"""Configurations that move: into SQL, into a database, into a file, and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plproxy_py import Router
from plproxy_py.config import ClusterConfig, cluster_config
from plproxy_py.errors import ConfigError
from plproxy_py.ops.configuration.changing import Way, carry_out, propose
from plproxy_py.ops.configuration.exporting import Form, export
from plproxy_py.sources.database import cluster_question
from tests.config_files import (
    answered,
    configs,
    configuration,
    connstr_of,
    write_config,
)
from tests.fix_cli import Run, rows
from tests.fix_proxydb import APP, PASSWORD, ProxyDb, answer, passwords

TWO = ["host=db0 dbname=part00 user=app", "host=db1 dbname=part01 user=app"]
MOVED = [TWO[0], "host=db9 dbname=part01 user=app"]


@pytest.fixture
def two(tmp_path: Path) -> str:
    options = "query_timeout = 5\nconnection_lifetime = 0"
    return write_config(tmp_path / "two.toml", TWO, options)


@pytest.fixture
def home(proxydb: ProxyDb) -> str:
    """The connect string of a home database with the tables and a wrapper."""
    proxydb.psql("config_tables.sql")
    proxydb.wrapper()
    return connstr_of(proxydb)


def same(cli: Run, one: str, other: str) -> bool:
    return not rows(cli("config", "diff", one, other, "userdb", "--json"))


@pytest.mark.parametrize("form", ["sqlmed", "functions"])
def test_there_as_a_script_and_back(
    cli: Run, proxydb: ProxyDb, home: str, two: str, tmp_path: Path, form: str
) -> None:
    script = tmp_path / "script.sql"
    cli("-c", two, "config", "export", "--to", form, "--output", str(script))
    proxydb.run(script.read_text())
    assert same(cli, two, home)
    back = tmp_path / "back.toml"
    cli("--home", home, "config", "export", "--to", "toml", "--output", str(back))
    assert same(cli, two, str(back))
    assert 'home = "dbname=plproxy_py_test_sources ' in back.read_text()


@pytest.mark.parametrize("form", ["sqlmed", "functions"])
def test_there_by_import_and_back(
    cli: Run, proxydb: ProxyDb, home: str, two: str, tmp_path: Path, form: str
) -> None:
    import_ = ("--home", home, "config", "import")
    (row,) = rows(cli(*import_, two, "--to", form, "--json", "--yes"))
    assert (row["subject"], row["old"], row["new"]) == ("cluster", None, "2 partitions")
    assert same(cli, two, home)
    # A second run finds nothing to do, and a change only what changed.
    again = cli(*import_, two)
    assert again.stderr == "No difference.\n"
    moved = write_config(tmp_path / "moved.toml", MOVED, "modular_mapping = true")
    assert "no terminal to ask at" in cli(*import_, moved, code=2).stderr
    result = answered("n", *import_, moved)
    assert result.exit_code == 1
    assert "rows of the old partition 1 here" in result.stdout
    assert same(cli, two, home)
    result = answered("y", *import_, moved)
    assert result.exit_code == 0, result.output
    assert same(cli, moved, home)
    # Back into the file: nothing but what differs.
    result = answered("y", "-c", two, "config", "import", home)
    assert result.exit_code == 0, result.output
    assert same(cli, two, home)


def test_more_and_fewer_partitions(
    cli: Run, proxydb: ProxyDb, home: str, tmp_path: Path
) -> None:
    for form, name in (("sqlmed", "a"), ("functions", "b")):
        for connstrs in (TWO, [*TWO, *TWO], TWO[:1], [*MOVED, *TWO]):
            path = tmp_path / f"{form}.toml"
            path.write_text(f"[clusters.{name}]\npartitions = {json.dumps(connstrs)}\n")
            cli("--home", home, "config", "import", str(path), "--to", form, "--yes")
            assert cli("config", "diff", str(path), home, name).stdout == ""
            assert proxydb.load(name, None).is_server is (form == "sqlmed")


def test_what_stays_is_not_touched(
    cli: Run, proxydb: ProxyDb, home: str, tmp_path: Path
) -> None:
    """Partitions that lead where they should keep names, texts and passwords."""
    proxydb.run(
        f"CREATE SERVER userdb FOREIGN DATA WRAPPER plproxy OPTIONS"
        " (partition_00 'user=app  dbname=part00 host=db0 password=sekret1',"
        "  p1 'host=db1 dbname=part01', connection_lifetime '7200');"
        f"CREATE USER MAPPING FOR {APP} SERVER userdb"
        " OPTIONS (user 'app', password 'sekret2')"
    )
    before = options(proxydb)
    file = write_config(tmp_path / "c.toml", TWO)
    import_ = ("--home", home, "config", "import", file, "--role", APP, "--yes")
    result = cli(*import_)
    # The role could not use the server; nothing else is missing.
    assert "GRANT USAGE" in result.stderr
    assert "ALTER" not in result.stderr
    assert options(proxydb) == before
    assert cli(*import_).stderr == "No difference.\n"
    assert passwords(proxydb.load("userdb")) == ["sekret1", "sekret2"]
    # One moves: the other keeps what it has, and who connects is still in the mapping.
    write_config(Path(file), MOVED)
    cli(*import_)
    assert options(proxydb) == {**before, "p1": "dbname=part01 host=db9"}
    assert passwords(proxydb.load("userdb")) == ["sekret1", "sekret2"]


def options(proxydb: ProxyDb) -> dict[str, str]:
    ((found,),) = proxydb.run("SELECT srvoptions FROM pg_foreign_server")
    return dict(option.split("=", 1) for option in found)


@pytest.mark.parametrize("form", ["sqlmed", "functions"])
def test_passwords_move_if_somebody_says_so(
    cli: Run, proxydb: ProxyDb, home: str, tmp_path: Path, form: str
) -> None:
    file = write_config(
        tmp_path / "c.toml", [f"{text} password=sekret" for text in TWO]
    )
    import_ = ("--home", home, "config", "import", file, "--to", form, "--yes")
    result = cli(*import_)
    assert "passwords are left out" in result.stderr
    assert passwords(proxydb.load("userdb", None)) == [None, None]
    cli(*import_, "--passwords")
    assert passwords(proxydb.load("userdb", None)) == ["sekret", "sekret"]
    if form == "sqlmed":
        # Every role can read them there.
        assert "sekret" not in str(options(proxydb))
    assert cli(*import_, "--passwords").stderr == "No difference.\n"
    # Without the word, they stay.
    cli(*import_)
    assert passwords(proxydb.load("userdb", None)) == ["sekret", "sekret"]
    back = tmp_path / "back.toml"
    cli("-c", str(back), "config", "import", home, "--passwords", "--yes")
    assert passwords_in(back) == ["sekret", "sekret"]
    assert back.stat().st_mode & 0o077 == 0


def passwords_in(path: Path) -> list[str | None]:
    with Router.from_config(path) as router:
        targets = [part.target for part in router.clusters["userdb"].partitions]
        return [dict(target.secrets).get("password") for target in targets]


def test_a_user_s_password_is_nobody_else_s(
    cli: Run, proxydb: ProxyDb, home: str, tmp_path: Path
) -> None:
    proxydb.run(
        "CREATE SERVER userdb FOREIGN DATA WRAPPER plproxy OPTIONS (p0 'dbname=x');"
        "CREATE USER MAPPING FOR CURRENT_USER SERVER userdb"
        " OPTIONS (user 'old', password 'sekret')"
    )
    file = write_config(tmp_path / "c.toml", ["dbname=x user=new"])
    result = cli("--home", home, "config", "import", file, "--yes")
    assert "ALTER USER MAPPING" in result.stderr
    loaded = proxydb.load("userdb", None)
    assert passwords(loaded) == [None]
    assert same(cli, file, home)


def test_a_wrapper_is_made_where_there_is_none(
    cli: Run, proxydb: ProxyDb, two: str
) -> None:
    home = connstr_of(proxydb)
    result = cli("--home", home, "config", "import", two, "--yes")
    assert ("CREATE FOREIGN DATA WRAPPER" in result.stderr) is not proxydb.is_real
    assert same(cli, two, home)


def test_all_or_nothing(cli: Run, proxydb: ProxyDb, home: str, tmp_path: Path) -> None:
    """A cluster that can't be written leaves those before it unwritten."""
    path = tmp_path / "c.toml"
    path.write_text(
        f"[clusters.fine]\npartitions = {json.dumps(TWO)}\n"
        f"[clusters.{'x' * 60}]\npartitions = {json.dumps(TWO)}\n"
    )
    proxydb.run(
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_query() LIKE '%xxxx%' THEN RAISE 'no more'; END IF; END $$;"
        "CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse()"
    )
    import_ = ("--home", home, "config", "import", str(path), "--to", "sqlmed", "--yes")
    result = answered("", *import_)
    assert result.exit_code == 1
    assert "no more" in result.stderr.splitlines()[-1]
    assert proxydb.run("SELECT FROM pg_foreign_server") == []
    path.write_text(f"[clusters.{'x' * 64}]\npartitions = {json.dumps(TWO)}\n")
    assert "has 1 to 63 bytes" in cli(*import_, code=1).stderr


def test_who_may_not_write(cli: Run, proxydb: ProxyDb, home: str, two: str) -> None:
    app = connstr_of(proxydb, APP)
    for form in ("sqlmed", "functions"):
        result = answered(
            "", "--home", app, "config", "import", two, "--to", form, "-y"
        )
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("Error 42501: ")
        assert PASSWORD not in result.output


def test_what_an_import_does_not_know(
    cli: Run, proxydb: ProxyDb, home: str, two: str, tmp_path: Path
) -> None:
    import_ = ("--home", home, "config", "import", two)
    role = cli(*import_, "--to", "sqlmed", "--role", f"{APP}x", code=1)
    assert f"did you mean '{APP}'?" in role.stderr
    cluster = cli(*import_, "userbd", code=1)
    assert "did you mean 'userdb'?" in cluster.stderr
    bare = connstr_of(proxydb).replace("dbname=", "dbname=nonex_")
    assert "does not exist" in cli("--home", bare, *import_[2:], code=1).stderr
    assert (
        "go with --home"
        in cli("-c", two, "config", "import", home, "--to", "sqlmed", code=2).stderr
    )
    proxydb.run("CREATE SERVER userdb FOREIGN DATA WRAPPER plproxy OPTIONS (p0 '')")
    first = cli(*import_, "--to", "functions", code=1)
    assert "there is a foreign server of this name" in first.stderr


def test_functions_without_tables(cli: Run, proxydb: ProxyDb, two: str) -> None:
    home = connstr_of(proxydb)
    result = cli("--home", home, "config", "import", two, "--to", "functions", code=1)
    assert "sql/config_tables.sql" in result.stderr


def test_a_file_takes_over_some_clusters(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGS", "sekret")
    file = tmp_path / "file.toml"
    file.write_text(
        'functions = ["f.sql"] # a comment\n'
        "[clusters.logs]\npartitions = { '0-1' = 'dbname=log{partition:02}' }\n"
        "connection = { password = '${LOGS}' }\n"
        "[clusters.userdb]\npartitions = ['dbname=a password=sekret1', 'dbname=b']\n"
    )
    other = write_config(
        tmp_path / "other.toml", ["dbname=a", "dbname=c password=sekret"]
    )
    result = answered("y", "-c", str(file), "config", "import", other)
    assert result.exit_code == 0, result.output
    assert "Comments in it are lost" in result.stderr
    assert "USERDB_1_PASSWORD" in result.stderr
    text = file.read_text()
    assert '{ 0-1 = "dbname=log{partition:02}" }' in text
    assert 'connection = { password = "${LOGS}" }' in text
    # It stood there before.
    assert "dbname=a password=sekret1" in text
    assert "dbname=c password=${USERDB_1_PASSWORD}" in text


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(config=configs(secrets=False), form=st.sampled_from(["sqlmed", "functions"]))
def test_any_cluster_goes_there_and_back(
    proxydb: ProxyDb, home: str, config: ClusterConfig, form: Form
) -> None:
    """Names and values with quotes, backslashes, dollars, line breaks, any letters."""
    if proxydb.is_real and form == "sqlmed":
        # Its validator knows what PL/Proxy knows.
        config = replace(config, pooler=False, timezone=None)
    with proxydb.connect() as conn, conn.transaction(force_rollback=True):
        text = export(configuration(config), form).text
        conn.execute(text.replace("BEGIN;", "").replace("COMMIT;", "").encode())
        assert answer(conn, cluster_question(config.name)).config == config


def test_several_users_beside_a_mapping(
    cli: Run, proxydb: ProxyDb, home: str, tmp_path: Path
) -> None:
    """Who is not the mapping's user stands in the connect string."""
    proxydb.run(
        "CREATE SERVER userdb FOREIGN DATA WRAPPER plproxy OPTIONS (p0 'dbname=x');"
        "CREATE USER MAPPING FOR CURRENT_USER SERVER userdb OPTIONS (user 'app')"
    )
    connstrs = ["dbname=a user=app", "dbname=b user=other"]
    file = write_config(tmp_path / "c.toml", connstrs)
    cli("--home", home, "config", "import", file, "--yes")
    assert options(proxydb) == {"p0": "dbname=a", "p1": "dbname=b user=other"}
    assert same(cli, file, home)


def test_a_proposal_that_is_old(proxydb: ProxyDb, home: str) -> None:
    configs = {"userdb": cluster_config("userdb", TWO)}
    way = Way("sqlmed")
    _, plans = propose(home, configs, way)
    assert proxydb.run("SELECT FROM pg_foreign_server") == []
    proxydb.run("CREATE SERVER userdb FOREIGN DATA WRAPPER plproxy OPTIONS (p0 '')")
    with pytest.raises(ConfigError, match="has changed since it was looked at"):
        carry_out(home, configs, way, plans)
    assert options(proxydb) == {"p0": ""}


def test_a_database_that_does_something_else(
    cli: Run, proxydb: ProxyDb, home: str, two: str
) -> None:
    """What was written is read before it is committed."""
    proxydb.run(
        "CREATE FUNCTION meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " ALTER SERVER userdb OPTIONS (SET p1 'dbname=elsewhere'); END $$;"
        "CREATE EVENT TRIGGER meddle ON ddl_command_end WHEN TAG IN ('CREATE SERVER')"
        " EXECUTE FUNCTION meddle()"
    )
    import_ = ("--home", home, "config", "import", two, "--to", "sqlmed", "--yes")
    result = answered("", *import_)
    assert result.exit_code == 1
    assert "'userdb' would not be as it should; nothing" in result.stderr
    assert proxydb.run("SELECT FROM pg_foreign_server") == []


def test_no_row_of_an_error_is_shown(
    proxydb: ProxyDb, home: str, tmp_path: Path
) -> None:
    """DETAIL quotes the row, and the row may hold a password."""
    proxydb.run(
        "ALTER TABLE plproxy.cluster_partition ADD CHECK (connstr NOT LIKE '%db9%')"
    )
    file = write_config(tmp_path / "c.toml", ["host=db9 password=sekret"])
    import_ = ("--home", home, "config", "import", file, "--to", "functions", "--yes")
    result = answered("", *import_, "--passwords")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error 23514: ")
    assert "db9" not in result.stderr
