"""A configuration as one text: a TOML file, or SQL to be run in a home database.

`Text.notes` tell what the text leaves out, or what somebody would stumble upon.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from psycopg import sql

from plproxy_py.config import ClusterConfig, Partition
from plproxy_py.ops.configuration import sql_text
from plproxy_py.ops.configuration.reading import Configuration
from plproxy_py.ops.configuration.secrecy import Placeholders, has_secrets, kept
from plproxy_py.ops.configuration.toml_text import (
    definition,
    document_text,
    home_text,
)

Form = Literal["toml", "sqlmed", "functions"]


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and what is to be said about it, a line each."""

    text: str
    notes: tuple[str, ...]


def export(
    configuration: Configuration,
    form: Form,
    *,
    role: str | None = None,
    with_passwords: bool = False,
    folder: Path | None = None,
) -> Text:
    """Return the text that defines these clusters. Raise `ConfigError`.

    ``role``: who may use the servers, None for whoever runs the text. ``folder``:
    where a TOML file will be.
    """
    if form == "toml":
        return _toml(configuration, folder, with_passwords=with_passwords)
    statements: list[sql.Composed] = []
    for config in configuration.configs.values():
        if form == "sqlmed":
            statements += sql_text.servers(config, role, with_passwords=with_passwords)
        else:
            statements += sql_text.tables(config, with_passwords=with_passwords)
    notes = tuple(sql_notes(configuration.configs, form, with_passwords=with_passwords))
    lines = [*_HEADS[form], *notes]
    blocks = [
        "\n".join(f"-- {line}" for line in lines),
        "SET client_encoding = 'UTF8';\nBEGIN;",
        *(f"{statement.as_string(None)};" for statement in statements),
        "COMMIT;",
    ]
    return Text("\n\n".join(blocks) + "\n", notes)


_HEADS = {
    "sqlmed": (
        "Foreign servers for PL/Proxy's wrapper. A database without PL/Proxy needs",
        "it first: CREATE FOREIGN DATA WRAPPER plproxy;",
    ),
    "functions": (
        "For the tables of sql/config_tables.sql, behind plproxy.get_cluster_version,",
        "plproxy.get_cluster_config and plproxy.get_cluster_partitions.",
    ),
}


def sql_notes(
    configs: Mapping[str, ClusterConfig], form: str, *, with_passwords: bool
) -> Iterator[str]:
    """Yield what is to be said about clusters that become SQL."""
    for name, config in configs.items():
        if not with_passwords and has_secrets(config.partitions):
            yield f"cluster {name!r}: passwords are left out: {_place(config, form)}"
        if any(
            "user" not in dict(partition.target.parameters)
            for partition in config.partitions
        ):
            yield (
                f"cluster {name!r}: connect strings without a user: PL/Proxy connects "
                "under the name of whoever calls"
            )
        ours = [
            key for key in sql_text.option_texts(config) if key in sql_text.OURS_ONLY
        ]
        if ours:
            yield (
                f"cluster {name!r}: PL/Proxy itself refuses {' and '.join(ours)}; only "
                "plproxy_py reads it"
            )


def _place(config: ClusterConfig, form: str) -> str:
    """Say where passwords can be put by hand."""
    if form != "sqlmed":
        return "put them into the connect strings, or into a password file"
    login = sql_text.server_login(config, with_passwords=False)
    said = [dict(partition.target.parameters) for partition in config.partitions]
    if login.user is None and any("user" in parameters for parameters in said):
        # PL/Proxy looks at no mapping where a connect string names a user.
        return "there are several users, put them into a password file"
    return "put the one into the user mapping"


def _toml(
    configuration: Configuration, folder: Path | None, *, with_passwords: bool
) -> Text:
    placeholders = None if with_passwords else Placeholders()
    document: dict[str, Any] = {}
    if configuration.home is not None:
        document["home"] = home_text(configuration.home, placeholders)
    if configuration.functions:
        document["functions"] = _functions(configuration, folder)
    document["clusters"] = {
        name: definition(config, placeholders)
        for name, config in configuration.configs.items()
    }
    notes = _variables(placeholders)
    return Text(document_text(document, notes), notes)


def _variables(placeholders: Placeholders | None) -> tuple[str, ...]:
    if placeholders is None or not placeholders.names:
        return ()
    names = ", ".join(placeholders.names)
    return (f"Passwords come from the environment: {names}.",)


def _functions(configuration: Configuration, folder: Path | None) -> list[str]:
    """Return the function files as a file in the folder would name them."""
    if folder is None or configuration.folder is None:
        return list(configuration.functions)
    here = configuration.folder
    return [
        name if Path(name).is_absolute() else os.path.relpath(here / name, folder)
        for name in configuration.functions
    ]


def merged(
    file: Configuration, others: Mapping[str, ClusterConfig], *, with_passwords: bool
) -> Text:
    """Return the text of a file with some of its clusters replaced, or new ones.

    What it says of the others stays word for word, and so do the passwords of
    partitions that stay; comments are lost.
    """
    placeholders = None if with_passwords else Placeholders()
    clusters = dict(file.document["clusters"])
    for name, config in others.items():
        if name in file.clusters and not with_passwords:
            config = _with_kept(file.clusters[name].config, config)
        clusters[name] = definition(config, placeholders)
    notes = _variables(placeholders)
    return Text(document_text({**file.document, "clusters": clusters}, notes), notes)


def _with_kept(before: ClusterConfig, after: ClusterConfig) -> ClusterConfig:
    known = {partition.target: partition.target for partition in before.partitions}
    return replace(
        after,
        partitions=tuple(
            Partition(
                partition.number,
                (
                    kept(known[partition.target])
                    if partition.target in known
                    else partition.target,
                ),
            )
            for partition in after.partitions
        ),
    )
