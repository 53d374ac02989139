"""Where clusters come from: a mapping, a TOML file, a connect string."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plproxy_py.config import parse_connstr
from plproxy_py.errors import ConfigError, PartitionCountError
from plproxy_py.sources import from_file, from_mapping, home_of, private_cluster
from plproxy_py.sources.toml import substitute

A = "dbname=a"

FILE = """
functions = ["functions.sql", "more/other.sql"]

[clusters.userdb]
partitions = { "0-1" = "host=db0 dbname=part{partition:02} password=${PASSWORD}" }
connection = { user = "${NAME}$$", connect_timeout = 3 }
query_timeout = 5

[clusters."Other DB"]
partitions = ["dbname=a", "dbname=b", "dbname=c"]
modular_mapping = true
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "plproxy.toml"


def test_a_mapping() -> None:
    clusters = from_mapping({"one": [A], "two": {"partitions": (A, A)}})
    assert {name: cluster.part_count for name, cluster in clusters.items()} == {
        "one": 1,
        "two": 2,
    }
    assert [cluster.name for cluster in clusters.values()] == ["one", "two"]
    assert from_mapping({}) == {}


@pytest.mark.parametrize(
    ("clusters", "kind", "reason"),
    [
        ({5: [A]}, ConfigError, "a cluster's name is a text, not 5"),
        ({"c": A}, ConfigError, "cluster 'c': a list of connect strings or a table"),
        ({"c": None}, ConfigError, "cluster 'c': a list of connect strings or a table"),
        ({"c": {"partition": [A]}}, ConfigError, "cluster 'c': unknown key"),
        ({"c": [A] * 3}, PartitionCountError, "cluster 'c' has 3 partitions"),
    ],
)
def test_refused_mappings(
    clusters: dict[Any, Any], kind: type[ConfigError], reason: str
) -> None:
    with pytest.raises(kind, match=f"^{reason}"):
        from_mapping(clusters)


def test_a_connect_strings_own_cluster() -> None:
    cluster = private_cluster("host=h dbname=a")
    assert (cluster.name, cluster.part_count) == ("", 1)
    assert cluster.target(0) == parse_connstr("dbname=a host=h")
    with pytest.raises(ConfigError):
        private_cluster("nonsense")


def test_a_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "it's dbname=evil")
    monkeypatch.setenv("NAME", "ü")
    file.write_text(FILE, encoding="utf-8")
    clusters, functions = from_file(file)
    assert list(clusters) == ["userdb", "Other DB"]
    target = clusters["userdb"].target(1)
    assert target.redacted == (
        "connect_timeout=3 dbname=part01 host=db0 user=ü$ password=****"
    )
    assert target.secrets == (("password", "it's dbname=evil"),)
    assert clusters["userdb"].query_timeout == 5.0
    assert clusters["Other DB"].partition_of(5) == 2
    # They lie beside the file, wherever the process runs.
    assert functions == (
        file.parent / "functions.sql",
        file.parent / "more" / "other.sql",
    )


def test_a_file_without_functions(file: Path) -> None:
    file.write_text("[clusters.c]\npartitions = ['dbname=a']")
    assert from_file(file)[1] == ()


def test_a_files_home(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "it's dbname=evil")
    file.write_text("home = 'host=cfg dbname=proxydb password=${PASSWORD}'\n" + FILE)
    home = home_of(file)
    assert home is not None
    assert (home.name, home.part_count) == ("", 1)
    assert home.target(0).redacted == "dbname=proxydb host=cfg password=****"
    assert home.target(0).secrets == (("password", "it's dbname=evil"),)
    file.write_text(FILE)
    assert home_of(file) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("home = 5", "'home' is a connect string"),
        ("home = ['dbname=x']", "'home' is a connect string"),
        ("home = 'nonsense'", "a connect string that libpq can't parse"),
        ("home = 'dbname=${MISSING}'", "the environment variable 'MISSING' is not"),
        ("a = x", "is no TOML"),
    ],
)
def test_refused_homes(file: Path, text: str, reason: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"plproxy.toml: {reason}"):
        home_of(file)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("", ConfigError, r"the key 'clusters' is missing: write \[clusters.NAME\]"),
        ("clusters = 5", ConfigError, "the key 'clusters' is missing"),
        ("[clusters]", ConfigError, "the key 'clusters' is missing"),
        ("[cluster.x]", ConfigError, "unknown key 'cluster'; did you mean 'clusters'"),
        ("hom = 'dbname=x'", ConfigError, "unknown key 'hom'; did you mean 'home'"),
        ("[clusters.c]", ConfigError, "cluster 'c': the key 'partitions' is missing"),
        ("[clusters]\nc = 5", ConfigError, "cluster 'c': a list of connect strings"),
        (
            "[clusters.c]\npartitions = ['a=SECRET']",
            ConfigError,
            "cluster 'c': partition 0: a connect string that libpq can't parse",
        ),
        (
            "[clusters.c]\npartitions = ['dbname=a', 'password=${MISSING}']",
            ConfigError,
            "cluster 'c': partition 1: the environment variable 'MISSING' is not set",
        ),
        (
            "[clusters.c]\npartitions = ['password=p${SECRET word}']",
            ConfigError,
            "cluster 'c': partition 0: ",
        ),
        (
            "[clusters.c]\npartitions = ['dbname=a', 'dbname=b', 'dbname=c']",
            PartitionCountError,
            "cluster 'c' has 3 partitions",
        ),
        (
            "functions = 'f.sql'\n[clusters]\nc = ['dbname=a']",
            ConfigError,
            "'functions' is a list of file names",
        ),
        (
            "functions = ['f.sql', 5]\n[clusters]\nc = ['dbname=a']",
            ConfigError,
            "'functions' is a list of file names",
        ),
        ("a = x", ConfigError, "is no TOML: .*line 1"),
        ("a = " + "[" * 100_000, ConfigError, "is no TOML: "),
        ("a = " + "9" * 5000, ConfigError, "is no TOML: "),
    ],
    ids=lambda value: str(value)[:30],
)
def test_refused_files(
    file: Path, text: str, kind: type[ConfigError], reason: str
) -> None:
    file.write_text(text)
    with pytest.raises(kind, match=f": {reason}") as caught:
        from_file(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert "SECRET" not in message
    assert caught.value.cluster == ("c" if "cluster 'c'" in message else None)
    assert caught.value.sqlstate == "F0000"


def test_the_partition_is_kept(file: Path) -> None:
    file.write_text("[clusters.c]\npartitions = ['dbname=a', 'port=x']")
    with pytest.raises(ConfigError) as caught:
        from_file(file)
    assert (caught.value.cluster, caught.value.partition) == ("c", 1)


def test_files_that_can_not_be_read(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"plproxy\.toml: there is no such file"):
        from_file(file)
    with pytest.raises(ConfigError, match="can't be read: "):
        from_file(file.parent)
    file.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="can't be read: 'utf-8' codec"):
        from_file(file)


@pytest.mark.parametrize(
    ("value", "substituted"),
    [
        ("", ""),
        ("no dollars", "no dollars"),
        ("${A_1}", "one"),
        ("x${A_1}y${A_1}", "xoneyone"),
        ("$$", "$"),
        ("$${A_1}", "${A_1}"),
        ("$$${A_1}", "$one"),
        ("$A_1 $ $1 a$", "$A_1 $ $1 a$"),
        ("${B}", "${A_1} $$"),
        ("${EMPTY}", ""),
    ],
)
def test_substitution(
    value: str, substituted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_1", "one")
    monkeypatch.setenv("B", "${A_1} $$")
    monkeypatch.setenv("EMPTY", "")
    assert substitute(value) == substituted


@pytest.mark.parametrize("value", ["${", "${}", "${A", "a${b-c}", "${1}", "${ä}"])
def test_no_variable(value: str) -> None:
    # Perhaps a password with a dollar: not a piece of it is shown.
    with pytest.raises(ConfigError) as caught:
        substitute(value)
    assert str(caught.value) == "write ${NAME} for a variable, and $$ for a dollar"


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISSING", raising=False)
    with pytest.raises(ConfigError, match="variable 'MISSING' is not set"):
        substitute("a${MISSING}")
