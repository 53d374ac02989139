"""Redaction: whatever the password is, no text shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plproxy_py.config import Target, cluster_config, parse_connstr
from plproxy_py.errors import ConfigError
from plproxy_py.sources import from_file, from_mapping, private_cluster
from plproxy_py.sources.toml import substitute
from tests.strategies import CORE, keyword_connstr, passwords, uri_connstr

few = settings(max_examples=40)


def shown(value: Any) -> str:
    """Return all that a log or a traceback would show of a value."""
    texts = [repr(value), str(value)]
    if isinstance(value, Target):
        texts += [value.redacted, value.label]
    if isinstance(value, BaseException):
        texts += [*map(repr, value.args), repr(vars(value))]
        for cause in (value.__cause__, value.__context__):
            if cause is not None and not value.__suppress_context__:
                texts.append(shown(cause))
    return "\n".join(texts)


def outcome(make: Callable[..., Any], *args: Any) -> Any:
    try:
        return make(*args)
    except ConfigError as error:
        return error


@few
@given(passwords, st.sampled_from([keyword_connstr, uri_connstr]))
def test_well_written(password: str, write: Callable[[str], str]) -> None:
    """A password that is quoted or encoded as it should be arrives, and is hidden."""
    target = parse_connstr(write(password))
    assert target.secrets == (("password", password),)
    assert dict(target.parameters) == {"host": "h", "dbname": "d", "user": "u"}
    assert CORE not in shown(target)
    assert parse_connstr(target.conninfo()).secrets == target.secrets
    assert CORE not in target.scrub(f"FATAL: bad password {password} for u")
    cluster = cluster_config("c", [write(password)] * 2)
    assert CORE not in shown(cluster)
    assert CORE not in shown(cluster.partitions)


@few
@given(passwords)
@example("@" + CORE)
@example("12/" + CORE)
@example("@?host=" + CORE)
@example("?" + CORE)
@example("%zz" + CORE)
def test_written_raw_into_a_uri(password: str) -> None:
    """As people do it: refused, or read and hidden; never shown."""
    for connstr in (
        f"postgresql://u:{password}@h/d",
        f"postgres://u:{password}@h:5432,i/d?connect_timeout=3",
        f"postgresql://h/d?user=u&password={password}",
    ):
        assert CORE not in shown(outcome(parse_connstr, connstr))
        assert CORE not in shown(outcome(private_cluster, connstr))
        assert CORE not in shown(outcome(from_mapping, {"c": [connstr]}))


@few
@given(passwords.filter(lambda password: not set(password) & set(" \t")))
def test_written_raw_among_keywords(password: str) -> None:
    connstr = f"host=h password={password} user=u"
    assert CORE not in shown(outcome(parse_connstr, connstr))
    assert CORE not in shown(outcome(from_mapping, {"c": [connstr] * 3}))


@few
@given(passwords)
def test_beside_an_error(password: str) -> None:
    """An error elsewhere in the definition shows nothing of it."""
    good = keyword_connstr(password)
    for definition in (
        [good, "port=x"],
        [good, good, good],
        [good, "nonsense " + password],
        [good, 5],
        {"partitions": {"0": good, "2": good}},
        {"partitions": {"0": good + "{partition"}},
        {"partitions": [good], "connection": {"password": password, "hots": password}},
        {"partitions": [good], "query_timeout": password},
        {"partitions": [good], "pooler": password},
        {"partitions": ["port=x"], "connection": {"password": password}},
    ):
        error = outcome(from_mapping, {"c": definition})
        assert isinstance(error, ConfigError)
        assert CORE not in shown(error)


@few
@given(passwords)
def test_from_the_connection_table(password: str) -> None:
    cluster = cluster_config(
        "c", {"partitions": ["dbname=d"], "connection": {"password": password}}
    )
    assert cluster.target(0).secrets == (("password", password),)
    assert CORE not in shown(cluster)


@few
@given(passwords)
def test_from_the_environment(password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLPROXY_TEST_PASSWORD", password)
        for write in (
            "password=${PLPROXY_TEST_PASSWORD} dbname=d",
            "postgresql://u:${PLPROXY_TEST_PASSWORD}@h/d",
        ):
            cluster = cluster_config("c", [write], substitute=substitute)
            assert cluster.target(0).secrets == (("password", password),)
            assert CORE not in shown(cluster)
        error = outcome(parse_connstr, "port=${PLPROXY_TEST_PASSWORD}")
    assert CORE not in shown(error)


@few
@given(password=passwords)
def test_from_a_file(tmp_path_factory: pytest.TempPathFactory, password: str) -> None:
    """Written raw into the file: whatever it does there, nothing is shown."""
    file: Path = tmp_path_factory.getbasetemp() / "plproxy.toml"
    for line in (
        f"partitions = ['password={password}']",
        f'partitions = ["password={password}"]',
        f"partitions = [password={password}]",
        f"partitions = ['''postgresql://u:{password}@h/d''', 5]",
    ):
        file.write_text(f"[clusters.c]\n{line}\n", encoding="utf-8")
        found = outcome(from_file, file)
        assert CORE not in shown(found)
