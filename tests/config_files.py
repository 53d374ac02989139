"""Config files and home databases of tests that move configurations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from plproxy_py.cli import main
from plproxy_py.config import ClusterConfig, cluster_config
from plproxy_py.ops.configuration.reading import Configuration, Defined
from tests.fix_proxydb import PASSWORD, ProxyDb


def write_config(
    path: Path, connstrs: Sequence[str], options: str = "", **others: str
) -> str:
    """Write a config file of a cluster userdb; return its name."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in others.items()]
    lines += ["[clusters.userdb]", f"partitions = {json.dumps(connstrs)}", options]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def connstr_of(proxydb: ProxyDb, role: str | None = None) -> str:
    """Return the connect string of the home database."""
    with proxydb.connect(role) as conn:
        secret = {} if role is None else {"password": PASSWORD}
        return make_conninfo(conn.info.dsn, **secret)


def answered(answer: str, *args: str) -> Result:
    """Run a command that asks, as if at a terminal, and answer it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plproxy_py.cli.changing.is_answerable", lambda: True)
        runner, given = CliRunner(), f"{answer}\n"
        result = runner.invoke(main, args, input=given, prog_name="plproxy")
    assert "Traceback" not in result.output
    assert "sekret" not in result.output
    return result


def configuration(config: ClusterConfig) -> Configuration:
    """Return a configuration of one cluster."""
    return Configuration("test", {config.name: Defined(config, "test", {})})


_storable = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_words = st.sampled_from(
    [
        *("'", '"', "\\", "\\'", "$", "$$", "${HOME}", "%", "%%", "{partition}", " "),
        *(
            "\n",
            "\r\n",
            "\t",
            "ü",
            "\u2028",
            "\x7f",
            "\x1b",
            "user=",
            "a",
            "#",
            ";",
            "--",
        ),
    ]
)
_texts = st.lists(_words | st.text(_storable, max_size=3), max_size=5).map("".join)
_names = _texts.filter(lambda name: 0 < len(name.encode()) < 64)
_dbnames = _texts.filter(lambda text: "=" not in text and "://" not in text)
_users = _texts.filter(bool)


@st.composite
def configs(draw: st.DrawFn, *, secrets: bool) -> ClusterConfig:
    """Draw a cluster whose partitions name their users; passwords if ``secrets``."""
    modular = draw(st.booleans())
    count = draw(st.sampled_from([1, 2, 3, 4] if modular else [1, 2, 4]))
    said = {
        keyword: draw(_texts)
        for keyword in draw(st.sets(st.sampled_from(["application_name", "options"])))
    }
    users = draw(st.sampled_from([st.just(draw(_users)), _users]))
    passwords = draw(st.sampled_from([st.just(draw(_texts)), _texts, st.none()]))
    connstrs = []
    for _ in range(count):
        password = draw(passwords) if secrets else None
        keywords = {} if password is None else {"password": password}
        connstrs.append(
            make_conninfo(
                "",
                **{"host": draw(_texts), "dbname": draw(_dbnames), **said, **keywords},
                user=draw(users),
            )
        )
    seconds = st.none() | st.integers(0, 2**31 - 1)
    options = {
        "query_timeout": draw(seconds),
        "connection_lifetime": draw(seconds),
        "timezone": draw(st.sampled_from([None, "UTC", "Europe/Tallinn"])),
    }
    given = {key: value for key, value in options.items() if value is not None}
    return cluster_config(
        draw(_names),
        {
            "partitions": connstrs,
            "modular_mapping": modular,
            "pooler": draw(st.booleans()),
            **given,
        },
    )
