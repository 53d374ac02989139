"""A configuration as a text reads as the same configuration."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from plproxy_py.config import ClusterConfig, cluster_config
from plproxy_py.errors import ConfigError
from plproxy_py.ops.configuration.exporting import Form, export, merged
from plproxy_py.ops.configuration.reading import Configuration, read_file
from tests.config_files import configs, configuration
from tests.strategies import CORE, keyword_connstr, passwords

few = settings(max_examples=60)


def read_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> Configuration:
    """Return what a file with this text says."""
    path = tmp_path_factory.getbasetemp() / "read_back.toml"
    path.write_bytes(text.encode())
    return read_file(path)


def secrets(config: ClusterConfig) -> list[tuple[tuple[str, str], ...]]:
    return [partition.target.secrets for partition in config.partitions]


@few
@given(config=configs(secrets=True))
def test_a_file_reads_as_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, config: ClusterConfig
) -> None:
    text = export(configuration(config), "toml", with_passwords=True).text
    found = read_back(tmp_path_factory, text)
    assert found.configs == {config.name: config}
    assert secrets(found.configs[config.name]) == secrets(config)
    # What was read writes itself again.
    assert export(found, "toml", with_passwords=True).text == text


@few
@given(config=configs(secrets=True))
def test_variables_stand_for_passwords(
    tmp_path_factory: pytest.TempPathFactory, config: ClusterConfig
) -> None:
    """With the variables set that it names, a file reads as what was written."""
    made = export(configuration(config), "toml")
    values = {}
    for number, partition in enumerate(config.partitions):
        for _, value in partition.target.secrets:
            values[number] = value
    with pytest.MonkeyPatch.context() as patch:
        for name in re.findall(r"\$\{([A-Z0-9_]+)\}", made.text):
            found_number = re.search(r"_(\d+)_PASSWORD(?:_\d+)?$", name)
            # A cluster may have a number for its name.
            number = int(found_number[1]) if found_number else 0
            patch.setenv(name, values.get(number, values.get(0, "")))
        found = read_back(tmp_path_factory, made.text)
    assert found.configs == {config.name: config}
    assert secrets(found.configs[config.name]) == secrets(config)
    assert export(found, "toml").text == made.text


@few
@given(before=configs(secrets=True), after=configs(secrets=False))
def test_a_file_that_takes_over_a_cluster(
    tmp_path_factory: pytest.TempPathFactory,
    before: ClusterConfig,
    after: ClusterConfig,
) -> None:
    text = export(configuration(before), "toml", with_passwords=True).text
    file = read_back(tmp_path_factory, text)
    made = merged(file, {after.name: after}, with_passwords=False)
    found = read_back(tmp_path_factory, made.text).configs
    assert found == {before.name: before} | {after.name: after}


@few
@given(password=passwords)
@pytest.mark.parametrize("form", ["toml", "sqlmed", "functions"])
def test_no_text_shows_a_password(form: Form, password: str) -> None:
    config = cluster_config("userdb", [keyword_connstr(password)] * 2)
    made = export(configuration(config), form)
    assert CORE not in made.text
    assert CORE not in str(made.notes)


@few
@given(
    password=passwords,
    users=st.lists(st.sampled_from(["a", "b"]), min_size=2, max_size=2),
)
def test_options_of_servers_hold_no_password(password: str, users: list[str]) -> None:
    """Every role can read them; what a user mapping can't hold is refused."""
    connstrs = [make_conninfo(keyword_connstr(password), user=user) for user in users]
    config = cluster_config("userdb", connstrs)
    if len(set(users)) > 1:
        with pytest.raises(ConfigError, match="one password"):
            export(configuration(config), "sqlmed", with_passwords=True)
        return
    text = export(configuration(config), "sqlmed", with_passwords=True).text
    server, _, mapping = text.partition("CREATE USER MAPPING")
    assert CORE not in server
    assert CORE in mapping
