"""`config show`, `diff` and `export`: what they say of real definitions."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from plproxy_py.config import CONNECTION_DEFAULTS
from tests.config_files import answered, connstr_of, write_config
from tests.fix_cli import Run, rows
from tests.fix_proxydb import APP, MED, PASSWORD, ProxyDb

FOUR = [f"host=db{number} dbname=part{number:02} user=app" for number in range(4)]
EIGHT = [f"host=db{number} dbname=part{number:02} user=app" for number in range(8)]
SECRET = "password=sekret"


@pytest.fixture
def four(tmp_path: Path) -> str:
    return write_config(tmp_path / "four.toml", FOUR)


def test_every_option_with_its_source(cli: Run, tmp_path: Path) -> None:
    connstrs = [f"{FOUR[0]} {SECRET} connect_timeout=3", FOUR[1]]
    options = "query_timeout = 5\nmodular_mapping = false"
    path = write_config(
        tmp_path / "c.toml", connstrs, options, home=f"host=cfg {SECRET}"
    )
    found = {
        (row["cluster"], row["option"]): row
        for row in rows(cli("-c", path, "config", "show", "--json"))
    }
    assert found[None, "home"]["value"] == "host=cfg password=****"
    assert found[None, "functions"]["state"] == "default"
    assert found["userdb", "partition 0"] == {
        "cluster": "userdb",
        "option": "partition 0",
        "value": ("connect_timeout=3 dbname=part00 host=db0 user=app password=****"),
        "state": "set",
        "source": path,
    }
    states = {
        option: (row["value"], row["state"], row["source"])
        for (cluster, option), row in found.items()
        if cluster
    }
    assert states["query_timeout"] == (5.0, "set", path)
    # Said, though it is the default.
    assert states["modular_mapping"] == (False, "set", path)
    assert states["connection_lifetime"] == (7200.0, "default", None)
    assert states["timezone"] == (None, "default", None)
    assert states["connection.connect_timeout"] == ("0: 3; 1: 10", "set", path)
    for keyword, value in CONNECTION_DEFAULTS.items():
        if keyword != "connect_timeout":
            assert states[f"connection.{keyword}"] == (value, "default", None)
    table = cli("-c", path, "config", "show", "userdb").stdout
    assert "connection_lifetime" in table
    assert SECRET not in table


def test_show_an_unknown_cluster(cli: Run, four: str) -> None:
    result = cli("-c", four, "config", "show", "usrdb", code=1)
    assert "did you mean 'userdb'?" in result.stderr


def test_show_without_a_source(cli: Run) -> None:
    assert "-c FILE" in cli("config", "show", code=2, PLPROXY_CONFIG=None).stderr


def test_show_an_application(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cli_app.py").write_text(
        "from plproxy_py import Router\n"
        "router = Router({'userdb': {'partitions': ['dbname=x'], 'pooler': True}},"
        " pool_size=3)\n"
    )
    monkeypatch.chdir(tmp_path)
    found = {
        row["option"]: (row["value"], row["state"])
        for row in rows(cli("--app", "cli_app:router", "config", "show", "--json"))
    }
    assert found["pool_size"] == (3, "set")
    assert found["max_waiting"] == (1000, "default")
    assert found["max_connections_per_server"] == (None, "default")
    assert found["application_name"] == ("plproxy_py", "default")
    assert found["pooler"] == (True, "set")


def test_show_a_database(cli: Run, med: ProxyDb) -> None:
    med.run(
        f"CREATE USER MAPPING FOR {APP} SERVER {MED} OPTIONS (password 'sekret');"
        f"GRANT USAGE ON FOREIGN SERVER {MED} TO {APP};"
        f"ALTER FOREIGN DATA WRAPPER plproxy OPTIONS (query_timeout '3')"
    )
    home = connstr_of(med, APP)
    result = cli("--home", home, "config", "show", MED, "--json")
    assert PASSWORD not in result.output
    found = {
        row["option"]: (row["value"], row["state"], row["source"])
        for row in rows(result)
    }
    assert found["partition 1"] == (
        f"dbname=part01 user={APP} password=****",
        "set",
        "foreign server",
    )
    assert found["connection_lifetime"] == (1800.0, "set", "foreign server")
    assert found["query_timeout"] == (3.0, "set", "foreign data wrapper")
    assert found["timezone"] == (None, "default", None)


@pytest.mark.parametrize("proxydb", ["plproxy"], indirect=True)
def test_a_function_names_a_cluster_that_is_not_there(
    cli: Run, proxydb: ProxyDb
) -> None:
    proxydb.psql("config_tables.sql")
    proxydb.run(
        "SELECT plproxy.set_cluster('userdb', ARRAY['dbname=a user=u']);"
        "INSERT INTO plproxy.cluster_config VALUES ('userdb', 'query_timeout', '7')"
    )
    proxydb.run(
        "CREATE FUNCTION lost() RETURNS int LANGUAGE plproxy"
        " AS $$ CLUSTER 'usrdb'; RUN ON ANY; $$"
    )
    result = cli("--home", connstr_of(proxydb), "config", "show", "--json", code=1)
    assert "usrdb" in result.stderr
    found = {row["option"]: (row["state"], row["source"]) for row in rows(result)}
    assert found["query_timeout"] == ("set", "plproxy.get_cluster_config")
    assert found["partition 0"] == ("set", "plproxy.get_cluster_partitions")
    result = cli("--home", connstr_of(proxydb), "config", "show", "userdbs", code=1)
    assert "did you mean 'userdb'?" in result.stderr


def test_a_doubling_without_duplicates(cli: Run, four: str, tmp_path: Path) -> None:
    eight = write_config(tmp_path / "eight.toml", EIGHT)
    result = cli("config", "diff", four, eight, code=1)
    assert result.stdout.splitlines()[0].split() == [
        *("cluster", "subject", "old", "new", "moved", "percent", "problem")
    ]
    total, *others = rows(cli("--json", "config", "diff", four, eight, code=1))
    assert total["subject"] == "partitions"
    assert (total["old"], total["new"], total["moved_percent"]) == (4, 8, 50.0)
    assert "list the 4 connect strings 2 times over" in total["problem"]
    assert [row["subject"] for row in others] == [
        f"partition {number}" for number in (4, 5, 6, 7)
    ]
    assert others[3]["old"] == "dbname=part03 host=db3 user=app"
    assert others[3]["new"] == "dbname=part07 host=db7 user=app"
    assert others[3]["moved_percent"] == 12.5


def test_a_doubling_with_duplicates(cli: Run, four: str, tmp_path: Path) -> None:
    eight = write_config(tmp_path / "eight.toml", FOUR + FOUR)
    (row,) = rows(cli("config", "diff", four, eight, "--json"))
    assert (row["subject"], row["moved_percent"]) == ("partitions", 0)
    assert row["problem"] is None
    assert "problem" not in cli("config", "diff", four, eight).stdout


def test_a_moved_partition(cli: Run, four: str, tmp_path: Path) -> None:
    moved = write_config(tmp_path / "moved.toml", [*FOUR[:3], "host=new dbname=part03"])
    assert "move these rows first" in cli("config", "diff", four, moved, code=1).stdout
    total, row = rows(cli("config", "diff", four, moved, "--json", code=1))
    assert total["moved_percent"] == row["moved_percent"] == 25
    assert row["subject"] == "partition 3"
    assert "rows of the old partition 3 here" in row["problem"]


def test_no_difference(cli: Run, four: str) -> None:
    result = cli("config", "diff", four, four)
    assert (result.stdout, result.stderr) == ("", "No difference.\n")
    assert rows(cli("config", "diff", four, four, "--json")) == []


def test_changed_options_are_no_problem(cli: Run, four: str, tmp_path: Path) -> None:
    other = write_config(
        tmp_path / "other.toml", FOUR, "query_timeout = 2\npooler = true"
    )
    found = rows(cli("config", "diff", four, other, "--json"))
    assert [(row["subject"], row["old"], row["new"]) for row in found] == [
        ("query_timeout", None, 2.0),
        ("pooler", False, True),
    ]


def test_a_cluster_that_is_gone(cli: Run, four: str, tmp_path: Path) -> None:
    path = tmp_path / "both.toml"
    path.write_text(Path(four).read_text() + "[clusters.logs]\npartitions = ['']\n")
    (row,) = rows(cli("config", "diff", str(path), four, "--json", code=1))
    assert (row["cluster"], row["old"], row["new"]) == ("logs", "1 partition", None)
    assert rows(cli("config", "diff", str(path), four, "userdb", "--json")) == []
    (row,) = rows(cli("config", "diff", four, str(path), "--json"))
    assert (row["cluster"], row["problem"]) == ("logs", None)


def test_diff_of_a_file_and_a_database(cli: Run, med: ProxyDb, tmp_path: Path) -> None:
    med.run(f"CREATE USER MAPPING FOR CURRENT_USER SERVER {MED} OPTIONS (user 'own')")
    same = ["dbname=part00 user=own", "dbname=part01 user=own"]
    path = write_config(tmp_path / "c.toml", same, "connection_lifetime = 1800")
    assert rows(cli("config", "diff", connstr_of(med), path, "--json")) == []
    path = write_config(tmp_path / "c.toml", same[::-1])
    found = rows(cli("config", "diff", path, connstr_of(med), "--json", code=1))
    assert [row["subject"] for row in found] == [
        *("partitions", "connection_lifetime", "partition 0", "partition 1")
    ]
    assert found[0]["moved_percent"] == 100


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "there is no such file"),
        ("partitions = [", "is no TOML"),
        ("[clusters.userdb]\npartitions = ['host=db0 password=sekret x']\n", "libpq"),
        ("[clusters.userdb]\npartitions = ['a', 'b']\n", "can't parse"),
        ("[clusters.userdb]\npartitions = ['', '', '']\n", "a power of two is needed"),
        ("[clusters.userdb]\npartition = ['']\n", "did you mean 'partitions'?"),
        ("[clusters.userdb]\npartitions = ['user=${NOBODY_SET}']\n", "'NOBODY_SET'"),
    ],
)
def test_a_wrong_file(
    cli: Run, four: str, tmp_path: Path, text: str | None, reason: str
) -> None:
    path = tmp_path / "wrong.toml"
    if text is not None:
        path.write_text(text)
    for args in (
        ("config", "diff", four, str(path)),
        ("-c", str(path), "config", "show"),
        ("-c", str(path), "config", "export", "--to", "sqlmed"),
        ("-c", four, "config", "import", str(path)),
    ):
        result = cli(*args, code=1)
        assert reason in result.stderr
        assert str(path) in result.stderr


def test_a_database_that_is_not_there(cli: Run, four: str) -> None:
    home = f"host=/nowhere dbname=x {SECRET}"
    for args in (
        ("config", "diff", four, home),
        ("--home", home, "config", "show"),
        ("--home", home, "config", "import", four),
    ):
        assert "password=****" in cli(*args, code=1).stderr


def test_diff_of_an_unknown_cluster(cli: Run, four: str) -> None:
    result = cli("config", "diff", four, four, "userbd", code=1)
    assert "did you mean 'userdb'?" in result.stderr


def test_export_leaves_passwords_out(cli: Run, tmp_path: Path) -> None:
    connstrs = [f"{connstr} {SECRET}" for connstr in FOUR]
    path = write_config(tmp_path / "c.toml", connstrs)
    result = cli("-c", path, "config", "export", "--to", "toml")
    assert "${USERDB_PASSWORD}" in result.stdout
    assert result.stderr == "Passwords come from the environment: USERDB_PASSWORD.\n"
    for form in ("sqlmed", "functions"):
        result = cli("-c", path, "config", "export", "--to", form)
        assert "cluster 'userdb': passwords are left out" in result.stderr
        assert "password '" not in result.stdout


def test_passwords_go_into_a_file_of_its_owner(cli: Run, tmp_path: Path) -> None:
    path = write_config(
        tmp_path / "c.toml", [f"{connstr} {SECRET}" for connstr in FOUR]
    )
    export = ("-c", path, "config", "export", "--passwords", "--to")
    for form in ("toml", "sqlmed", "functions"):
        assert "--output" in cli(*export, form, code=2).stderr
        output = tmp_path / form
        cli(*export, form, "--output", str(output))
        assert "sekret" in output.read_text()
        assert stat.S_IMODE(output.stat().st_mode) == 0o600
    again = tmp_path / "toml"
    os.chmod(again, 0o644)
    cli(*export, "toml", "--output", str(again), "--yes")
    assert stat.S_IMODE(again.stat().st_mode) == 0o600
    assert rows(cli("config", "diff", path, str(again), "--json")) == []


def test_a_server_has_no_place_for_two_passwords(cli: Run, tmp_path: Path) -> None:
    connstrs = [f"{FOUR[0]} password=sekret1", f"{FOUR[1]} password=sekret2"]
    path = write_config(tmp_path / "c.toml", connstrs)
    output = str(tmp_path / "out.sql")
    export = ("-c", path, "config", "export", "--passwords", "--output", output)
    assert "one password" in cli(*export, "--to", "sqlmed", code=1).stderr
    assert not Path(output).exists()


def test_a_file_is_replaced_after_a_yes(cli: Run, four: str, tmp_path: Path) -> None:
    output = tmp_path / "out.sql"
    output.write_text("mine\n")
    export = ("-c", four, "config", "export", "--to", "sqlmed", "--output", str(output))
    assert "no terminal to ask at" in cli(*export, code=2).stderr
    result = answered("n", *export)
    assert result.exit_code == 1
    assert "is there already. Replace it?" in result.stderr
    assert output.read_text() == "mine\n"
    assert answered("y", *export).exit_code == 0
    assert "CREATE SERVER" in output.read_text()
    output.write_text("mine\n")
    cli(*export, "--yes")
    assert "CREATE SERVER" in output.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["four.toml", "out.sql"]


def test_half_seconds_can_not_be_written(cli: Run, tmp_path: Path) -> None:
    path = write_config(tmp_path / "c.toml", FOUR, "query_timeout = 0.5")
    assert (
        "query_timeout = 0.5"
        in cli("-c", path, "config", "export", "--to", "toml").stdout
    )
    result = cli("-c", path, "config", "export", "--to", "sqlmed", code=1)
    assert "query_timeout is 0.5 s" in result.stderr


def test_a_file_keeps_its_variables_and_functions(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_PASSWORD", "sekret")
    monkeypatch.setenv("DB", "db0")
    (tmp_path / "f.sql").write_text("")
    (tmp_path / "sub").mkdir()
    path = tmp_path / "c.toml"
    path.write_text(
        'home = "host=${DB}"\nfunctions = ["f.sql"]\n[clusters.userdb]\n'
        "partitions = ['host=${DB} dbname=a', 'host=${DB} dbname=b']\n"
        "connection = { password = '${APP_PASSWORD}' }\n"
    )
    output = tmp_path / "sub" / "out.toml"
    cli("-c", str(path), "config", "export", "--to", "toml", "--output", str(output))
    text = output.read_text()
    assert text.count("${DB}") == 3
    assert 'password = "${APP_PASSWORD}"' in text
    assert 'functions = [\n    "../f.sql",\n]' in text
    assert rows(cli("config", "diff", str(path), str(output), "--json")) == []
