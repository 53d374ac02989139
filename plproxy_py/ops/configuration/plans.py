"""What changing a definition in SQL/MED and in tables has in common."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from plproxy_py.config import ClusterConfig, Partition, Target
from plproxy_py.ops.configuration.comparing import OPTIONS
from plproxy_py.ops.configuration.sql_text import option_texts

_COMMAND = re.compile(r"\A[A-Z ]+(?:plproxy\.\w+)?")
Connection = psycopg.Connection[Any]
# Where a wrapper says something else, the default has to be said.
DEFAULT_TEXTS = {
    "connection_lifetime": "7200",
    "modular_mapping": "0",
    "pooler": "0",
    "query_timeout": "0",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Statements for one cluster, and what it is before and after they ran.

    ``before``: None where nothing defines it, or nothing that can be read. Targets have
    the users as whom one would connect.
    """

    name: str
    before: ClusterConfig | None
    after: ClusterConfig | None
    statements: tuple[sql.Composed, ...]

    @property
    def text(self) -> str:
        """All statements, which two plans are compared by. It holds secrets."""
        return ";\n".join(statement.as_string(None) for statement in self.statements)

    @property
    def commands(self) -> list[str]:
        """The first words of each statement, before any name or value."""
        texts = (statement.as_string(None) for statement in self.statements)
        found = [word for text in texts for word in _COMMAND.findall(text)]
        return [command.removesuffix(" FOR ").strip() for command in found]


def with_users(config: ClusterConfig, user: str) -> ClusterConfig:
    """Return the cluster with a user in each connect string that names none."""
    partitions = [
        Partition(partition.number, (with_user(partition.target, user),))
        for partition in config.partitions
    ]
    return replace(config, partitions=tuple(partitions))


def with_user(target: Target, user: str) -> Target:
    """Return the target with a user if it names none."""
    said = {"user": user} | dict(target.parameters)
    return Target(tuple(sorted(said.items())), target.secrets)


def is_same(before: Target, after: Target, *, with_passwords: bool) -> bool:
    """Tell whether nothing has to be written for a target."""
    is_known = with_passwords and bool(after.secrets)
    return before == after and (not is_known or before.secrets == after.secrets)


def option_changes(
    before: ClusterConfig | None, after: ClusterConfig, beneath: Mapping[str, str]
) -> Iterator[tuple[str, str | None]]:
    """Yield the options that have to change with their text, None to take one away.

    ``beneath``: options that hold for all clusters. What is as it should be is left as
    it is written, since a text may say the default to others than us.
    """
    texts = option_texts(after)
    for option in OPTIONS:
        if before is None or getattr(before, option) != getattr(after, option):
            text = texts.get(option)
            if text is None and option in beneath:
                text = DEFAULT_TEXTS.get(option)
            yield option, text
    # It stands in the connect strings.
    yield "connect_timeout", None
