"""Every command against what can't be reached, is not there or can't be read."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from plproxy_py.cli import main
from plproxy_py.cli.completing import complete_cluster

UNREACHABLE = "host=127.0.0.1 port=1 dbname=x password=sekret"
FUNCTION = """
CREATE FUNCTION get_user(name text) RETURNS text LANGUAGE plproxy
    AS $$ CLUSTER '{cluster}'; RUN ON hashtext(name); $$;
"""
REFUSED = "Connection refused"

# Commands, and what they say to fail with where no partition can be reached; None
# where none is asked.
SWEEP = {
    "clusters": None,
    "partitions {cluster}": REFUSED,
    "partitions {cluster} --size": REFUSED,
    "functions": None,
    "route get_user marko": None,
    "route {cluster} --key marko": None,
    "call get_user marko": REFUSED,
    "call get_user marko --partition 0": REFUSED,
    "exec {cluster} 'SELECT 1'": REFUSED,
    "exec {cluster} 'SELECT 1' --csv": REFUSED,
    "exec {cluster} 'SELECT 1' --write --yes": REFUSED,
    "check": REFUSED,
    "check {cluster}": REFUSED,
    "check {cluster} --tables users": REFUSED,
    "deploy {cluster} {folder}/deployed.sql --yes": REFUSED,
    "deploy {cluster} {folder}/deployed.sql --yes --canary 0": REFUSED,
    "deploy {cluster} {folder}/deployed.sql --yes --keep-going": REFUSED,
    "deploy {cluster} {folder}/deployed.sql --dry-run": REFUSED,
    "balance {cluster}": REFUSED,
    "balance {cluster} --keys {folder}/keys.txt": None,
    "balance {cluster} --sample 10": None,
    "balance {cluster} --table users --key name": REFUSED,
    "audit {cluster} --table users --key name": REFUSED,
    "budget --processes 2": REFUSED,
    "budget {cluster} --processes 2": REFUSED,
    "config show": None,
    "config show {cluster}": None,
    "config diff {config} {config} {cluster}": None,
    "config diff {config} {folder}/moved.toml {cluster}": "move these rows first",
    "config diff {config} '{unreachable}'": REFUSED,
    "config export --to toml {cluster}": None,
    "config export --to sqlmed {cluster}": None,
    "config export --to functions {cluster}": None,
    "config import {config} {cluster} --yes": None,
    "config import '{unreachable}' --yes": REFUSED,
    "stubs": None,
    "migrate-report '{unreachable}'": REFUSED,
    "migrate-report '{unreachable}' --keys {folder}/keys.txt": REFUSED,
    "migrate-report '{unreachable}' --paste": REFUSED,
}
NOT_SWEPT = {
    "completion": "prints a script that knows no configuration",
    "demo": "starts a server of its own, and takes no configuration",
}
# Those that don't read what -c names, but the configurations among their arguments.
OF_NO_FILE = ("config import '{unreachable}'",)

BROKEN = {
    "no TOML": f'[clusters.userdb]\npartitions = ["{UNREACHABLE}"',
    "no connect string": f'[clusters.userdb]\npartitions = ["{UNREACHABLE} nonsense"]',
    "no URI": '[clusters.userdb]\npartitions = ["postgresql://app:sekret@[x/y"]',
    "no list": f'[clusters.userdb]\npartitions = "{UNREACHABLE}"',
    "no text": '[clusters.userdb]\npartitions = [{password = "sekret"}]',
    "no power of two": f"[clusters.userdb]\npartitions = {[UNREACHABLE] * 3}",
    "no such option": (
        f'[clusters.userdb]\npartitions = ["{UNREACHABLE}"]\npassword = "sekret"'
    ),
    "no number": (
        f'[clusters.userdb]\npartitions = ["{UNREACHABLE}"]\nquery_timeout = "sekret"'
    ),
    "no table": 'clusters = "sekret"',
}
# Whoever reads a config file reads it in one of these two ways.
READERS = ("clusters", "config show")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Config files, and the files that commands take."""
    (tmp_path / "f.sql").write_text(FUNCTION.format(cluster="userdb"))
    (tmp_path / "lost.sql").write_text(FUNCTION.format(cluster="usersdb"))
    (tmp_path / "wrong.sql").write_text(
        "CREATE FUNCTION f() RETURNS text LANGUAGE plproxy\n"
        f"    AS $$ CONNECT '{UNREACHABLE}' nonsense; $$;"
    )
    (tmp_path / "deployed.sql").write_text("SELECT 1;")
    (tmp_path / "keys.txt").write_text("marko\ngreg\n")
    for name, functions, connstr in (
        ("plproxy", "f.sql", UNREACHABLE),
        ("lost", "lost.sql", UNREACHABLE),
        ("wrong", "wrong.sql", UNREACHABLE),
        ("moved", "f.sql", UNREACHABLE.replace("dbname=x", "dbname=y")),
    ):
        (tmp_path / f"{name}.toml").write_text(
            f'functions = ["{functions}"]\n'
            f'[clusters.userdb]\npartitions = ["{connstr}"]\n'
        )
    return tmp_path


def invoke(*args: str) -> tuple[Result, str]:
    """Run a command; return its result and all that it said.

    No output ever shows a password, and an error without rows is one line.
    """
    env = {"PLPROXY_CONFIG": None}
    result = CliRunner().invoke(main, args, env=env, prog_name="plproxy")
    said = result.stdout + result.stderr
    # An exception that escapes would be a traceback in a shell.
    assert isinstance(result.exception, SystemExit | None)
    assert "sekret" not in said
    assert "Traceback" not in said
    assert "unexpected" not in said
    if result.exit_code == 1 and not result.stdout:
        assert result.stderr.startswith("Error"), said
        assert result.stderr.count("\n") == 1, said
    return result, said


def swept(
    command: str, config: Path, *before: str, cluster: str = "userdb"
) -> tuple[Result, str]:
    """Run a command of the table."""
    text = command.format(
        cluster=cluster,
        config=config,
        folder=config.parent,
        unreachable=UNREACHABLE,
    )
    return invoke("-c", str(config), *before, *shlex.split(text))


def leaves(
    group: click.Group, *above: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give the commands that are no groups, with the words that name them."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, *above, name)
        else:
            yield (*above, name), command


LEAVES = dict(leaves(main))


def named(command: str) -> tuple[str, ...]:
    """Return the words of the command that a line of the table runs."""
    words = tuple(command.split())
    return words[:2] if words[:2] in LEAVES else words[:1]


def test_every_command_is_swept() -> None:
    done = {named(command) for command in SWEEP}
    excepted = {(name,) for name in NOT_SWEPT}
    assert not done & excepted
    assert done | excepted == set(LEAVES)


@pytest.mark.parametrize("command", SWEEP)
def test_partitions_that_cannot_be_reached(command: str, folder: Path) -> None:
    result, said = swept(command, folder / "plproxy.toml")
    failure = SWEEP[command]
    assert result.exit_code == (failure is not None), said
    assert failure is None or failure in said


WITH_JSON = [
    command
    for command in SWEEP
    if any(option.name == "json" for option in LEAVES[named(command)].params)
    and not {"--csv", "--paste"} & set(command.split())
]


@pytest.mark.parametrize("command", WITH_JSON)
def test_the_same_as_a_document(command: str, folder: Path) -> None:
    result, said = swept(command, folder / "plproxy.toml", "--json")
    failure = SWEEP[command]
    assert result.exit_code == (failure is not None), said
    assert failure is None or failure in said
    if result.stdout:
        assert isinstance(json.loads(result.stdout), list)


@pytest.mark.parametrize("command", [each for each in SWEEP if "{cluster}" in each])
def test_a_cluster_that_is_not_there(command: str, folder: Path) -> None:
    result, said = swept(command, folder / "plproxy.toml", cluster="usersdb")
    assert (result.exit_code, result.stdout) == (1, ""), said
    assert "usersdb; did you mean 'userdb'?" in said


@pytest.mark.parametrize("command", [each for each in SWEEP if "get_user" in each])
def test_a_function_of_such_a_cluster(command: str, folder: Path) -> None:
    result, said = swept(command, folder / "lost.toml")
    assert (result.exit_code, result.stdout) == (1, ""), said
    assert "usersdb; did you mean 'userdb'?" in said


OF_A_FILE = [command for command in SWEEP if not command.startswith(OF_NO_FILE)]


@pytest.mark.parametrize("command", OF_A_FILE)
def test_a_file_that_is_not_there(command: str, folder: Path) -> None:
    result, said = swept(command, folder / "none.toml")
    assert (result.exit_code, result.stdout) == (1, ""), said
    assert "none.toml: there is no such file" in said


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        *itertools.product(OF_A_FILE, ("no TOML", "no connect string")),
        *itertools.product(READERS, BROKEN),
    ],
)
def test_a_file_that_is_broken(command: str, wrong: str, folder: Path) -> None:
    config = folder / "broken.toml"
    config.write_text(BROKEN[wrong])
    result, said = swept(command, config)
    assert (result.exit_code, result.stdout) == (1, ""), said
    assert f"{config}: " in said


# Those of configurations move the names of function files, and read none.
OF_FUNCTIONS = [command for command in OF_A_FILE if not command.startswith("config ")]


@pytest.mark.parametrize("command", OF_FUNCTIONS)
def test_a_function_file_that_is_broken(command: str, folder: Path) -> None:
    result, said = swept(command, folder / "wrong.toml")
    assert (result.exit_code, result.stdout) == (1, ""), said
    assert "wrong.sql: PL/Proxy function public.f(0): Compile error" in said
    (folder / "wrong.sql").unlink()
    result, said = swept(command, folder / "wrong.toml")
    assert (result.exit_code, result.stdout) == (1, ""), said
    assert "wrong.sql: can't be read" in said


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("connstr", [UNREACHABLE, "postgresql://app:sekret@[::1]:1/x"])
def test_a_connect_string_for_a_file(command: str, connstr: str) -> None:
    result, said = invoke("-c", connstr, *command.split())
    assert (result.exit_code, result.stdout) == (1, ""), said


@pytest.mark.parametrize("command", ["partitions {cluster}", "config show {cluster}"])
def test_a_connect_string_for_a_cluster(command: str, folder: Path) -> None:
    cluster = shlex.quote(UNREACHABLE)
    result, said = swept(command, folder / "plproxy.toml", cluster=cluster)
    assert (result.exit_code, result.stdout) == (1, ""), said


@pytest.mark.parametrize("command", ["functions", "call get_user marko"])
@pytest.mark.parametrize(
    "cluster",
    [
        pytest.param(UNREACHABLE, id="its name"),
        pytest.param("userdb' 'host=x password=sekret", id="behind its name"),
    ],
)
def test_a_connect_string_for_the_cluster_of_a_function(
    command: str, cluster: str, folder: Path
) -> None:
    (folder / "f.sql").write_text(FUNCTION.format(cluster=cluster))
    swept(command, folder / "plproxy.toml")


@pytest.mark.parametrize("command", SWEEP)
def test_wrong_usage(command: str, folder: Path) -> None:
    result, said = swept(f"{command} --nonsense sekret", folder / "plproxy.toml")
    assert (result.exit_code, result.stdout) == (2, ""), said
    assert result.stderr.startswith("Usage: plproxy")


CLUSTERS = [
    pytest.param(parameter, id=" ".join(words))
    for words, command in LEAVES.items()
    for parameter in command.params
    if isinstance(parameter, click.Argument)
    and parameter.name in ("cluster", "clusters")
]


@pytest.mark.parametrize("parameter", CLUSTERS)
def test_a_cluster_is_completed(parameter: click.Parameter) -> None:
    assert parameter._custom_shell_complete is complete_cluster


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "0", "-1"])
@pytest.mark.parametrize(
    "command",
    [
        "partitions userdb --timeout",
        "partitions userdb --watch",
        "check --timeout",
        "check --table-timeout",
        "exec userdb 'SELECT 1' --timeout",
        "exec userdb 'SELECT 1' --watch",
        "deploy userdb f.sql --yes --timeout",
        "deploy userdb f.sql --yes --lock-timeout",
        "deploy userdb f.sql --yes --statement-timeout",
        "balance userdb --timeout",
        "audit userdb --table t --key k --timeout",
        "budget userdb --processes 1 --timeout",
    ],
)
def test_what_is_no_number_of_seconds(command: str, seconds: str, folder: Path) -> None:
    result, said = swept(f"{command} {seconds}", folder / "plproxy.toml")
    assert (result.exit_code, result.stdout) == (2, ""), said
