"""What sessions are told when they open: names, versions, options."""

from __future__ import annotations

from pathlib import Path

import pytest

from plproxy_py import Router
from plproxy_py._knocking import Manners
from plproxy_py._links import Session
from plproxy_py._sessions import application_name, startup
from plproxy_py.config import ClusterConfig, cluster_config, parse_connstr
from plproxy_py.sources.toml import from_file

CHECK = "-c client_connection_check_interval=1s"


@pytest.mark.parametrize(
    ("name", "title", "shown"),
    [
        ("app", "userdb 17", "app userdb 17"),
        ("app", "", "app"),
        ("", "userdb", "userdb"),
        ("a" * 70, "userdb 17", "a" * 53 + " userdb 17"),
        ("app", "u" * 70, "app " + "u" * 59),
        ("a" * 70, "u" * 70, "a" * 31 + " " + "u" * 31),
        # bytes count, and no character is cut in two
        ("ä" * 40, "userdb 17", "ä" * 26 + " userdb 17"),
    ],
)
def test_names_fit(name: str, title: str, shown: str) -> None:
    assert application_name(name, title) == shown
    assert len(shown.encode()) <= 63


@pytest.mark.parametrize(
    ("connstr", "manners", "options"),
    [
        ("", Manners(), CHECK),
        ("options='-c a=b'", Manners(), f"{CHECK} -c a=b"),
        ("", Manners(checks=False), None),
        ("options='-c a=b'", Manners(checks=False), None),
        ("", Manners(is_pooled=True), None),
        # a service file may have options that ours would hide
        ("service=s", Manners(), None),
        ("service=s options=''", Manners(), CHECK),
        (
            "",
            Manners(settings={"DateStyle": "ISO, MDY", "TimeZone": "UTC"}),
            f"{CHECK} -c DateStyle=ISO,MDY -c TimeZone=UTC",
        ),
    ],
)
def test_startup_options(
    connstr: str,
    manners: Manners,
    options: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGOPTIONS", raising=False)
    session = Session(parse_connstr(connstr), None, False)
    assert startup(session, manners).get("options") == options


def test_a_pooler_is_given_nothing() -> None:
    session = Session(parse_connstr("options='-c a=b'"), None, True)
    assert startup(session, Manners(settings={"DateStyle": "ISO"})) == {}


def test_an_encoding_is_a_parameter_of_its_own() -> None:
    session = Session(parse_connstr(""), None, False)
    manners = Manners(settings={"client_encoding": "UTF8"})
    assert startup(session, manners)["client_encoding"] == "UTF8"


def test_versions_are_shown(tmp_path: Path) -> None:
    """A file's is a digest; an application's own mapping has none."""
    file = tmp_path / "plproxy.toml"
    titles = []
    for host in "aab":
        file.write_text(f"[clusters]\nuserdb = ['host={host} password={host}']")
        titles.append(from_file(file)[0]["userdb"].title)
    assert titles[0] == titles[1] != titles[2]
    assert titles[0].startswith("userdb ")
    assert len(titles[0]) == len("userdb 12345678")
    assert Router({"userdb": ["host=a"]}).clusters["userdb"].title == "userdb"


def config(connstr: str, **options: object) -> ClusterConfig:
    return cluster_config("c", {"partitions": [connstr], **options})


def test_a_digest_knows_no_password() -> None:
    assert config("password=a").digest() == config("password=b").digest()
    assert config("dbname=a").digest() != config("dbname=b").digest()
    assert config("dbname=a").digest() != config("dbname=a", pooler=True).digest()
