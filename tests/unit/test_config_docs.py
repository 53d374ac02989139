"""docs/configuration.md has every key, with the default that is in force."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from plproxy_py import Router
from plproxy_py._router_base import RouterBase
from plproxy_py.config import (
    CONNECTION_DEFAULTS,
    ClusterConfig,
    cluster_config,
)
from plproxy_py.errors import ConfigError
from plproxy_py.sources import options, toml
from tests.snippets import ROOT

TEXT = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
TABLE = re.compile(r"^\| (\w+) \| default \|.*\n\|[-|]+\n((?:\|.*\n)+)", re.M)
_DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(ClusterConfig)
    if field.default is not dataclasses.MISSING and field.name != "version"
}


def tables() -> list[tuple[str, dict[str, str]]]:
    """Return each table's first heading, and its defaults by key."""
    found = []
    for heading, text in TABLE.findall(TEXT):
        rows = (row.strip("|").split("|")[:2] for row in text.splitlines())
        found.append(
            (heading, {key.strip(" `"): value.strip(" `") for key, value in rows})
        )
    return found


def written(value: object) -> str:
    """Return a default as the page writes it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "none" if value is None else json.dumps(value)


def test_the_page_has_five_tables() -> None:
    headings = [heading for heading, _ in tables()]
    assert headings == ["key", "key", "keyword", "keyword", "option"]


def test_keys_of_the_file() -> None:
    keys = tables()[0][1]
    assert sorted(keys) == sorted(toml._KEYS)
    assert [key for key, value in keys.items() if value == "needed"] == ["clusters"]


def test_keys_of_a_cluster() -> None:
    keys = tables()[1][1]
    defaults = {option: written(value) for option, value in _DEFAULTS.items()}
    assert keys == {"partitions": "needed", "connection": "none", **defaults}
    # All that is read, and nothing that is not.
    with pytest.raises(ConfigError, match="unknown key"):
        cluster_config("c", {"partitions": [""], "nothing": 1})
    with pytest.raises(ConfigError, match="'partitions' is missing"):
        cluster_config("c", {})
    read = inspect.getsource(cluster_config)
    assert "checked[key] = _OPTIONS[key]" in read


def test_keywords_of_connections() -> None:
    assert tables()[2][1] == CONNECTION_DEFAULTS


def test_keywords_of_a_router() -> None:
    given = dict(inspect.signature(RouterBase.__init__).parameters)
    given |= inspect.signature(Router.from_database).parameters
    for name in ("self", "clusters", "connstr", "options"):
        del given[name]
    assert tables()[3][1] == {
        name: str(parameter.default) for name, parameter in given.items()
    }


def test_options_of_servers() -> None:
    found = tables()[4][1]
    assert sorted(found) == sorted(options.KNOWN)
    in_force: Mapping[str, Any] = {
        **dict.fromkeys(options.KNOWN),
        **_DEFAULTS,
        "connect_timeout": int(CONNECTION_DEFAULTS["connect_timeout"]),
    }
    config = options.make_cluster("c", [""], {}, options.Login("app"))
    for name, text in found.items():
        if name == "default_user":
            assert text == options.USERS[0]
            continue
        value = getattr(config, name, in_force[name])
        # In SQL, a flag is a number.
        value = int(value) if isinstance(value, bool) else value
        assert text == written(value), name
    for name in options.IGNORED:
        assert re.search(rf"^\| `{name}` \| none \| without effect", TEXT, re.M), name
