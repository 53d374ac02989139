"""PL/Proxy's cluster options, partition numbers and user rules → `ClusterConfig`.

What SQL/MED and the configuration functions have in common once their rows are read.
Options are pairs of texts, as the database has them. Source: PL/Proxy, cluster.c
``set_config_key``, ``reload_sqlmed_cluster`` and ``get_connstr``, but for connect
strings, which are parsed here rather than searched and appended to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

from plproxy_py.config import ClusterConfig, cluster_config, parse_connstr
from plproxy_py.errors import ConfigError, nearest

Options = Sequence[tuple[str, str]]

# PL/Proxy takes them as well, and does nothing with them.
IGNORED = (
    "keepalive_count",
    "keepalive_idle",
    "keepalive_interval",
    "statement_timeout",
)
KNOWN = (
    *IGNORED,
    "connect_timeout",
    "connection_lifetime",
    "default_user",
    "disable_binary",
    "modular_mapping",
    "pooler",
    "query_timeout",
    "timezone",
)
USERS = ("current_user", "session_user")

# strtoul() reads what follows the prefix: "p", "p07" and "p+3" are numbers to it.
_PARTITION = re.compile(r"(?:partition_|p)[ \t\n\v\f\r]*\+?([0-9]*)")
_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Login:
    """As whom to connect to partitions whose connect string names no user.

    ``options`` are the user mapping's: () without any, None if they may not be read.
    """

    user: str
    options: Options | None = field(default=(), repr=False)


def to_integer(value: str) -> int:
    """Return the number that C's atoi reads: junk is 0, what follows digits is lost."""
    match = _INTEGER.match(value)
    if match is None:
        return 0
    return (int(match[1]) + 2**31) % 2**32 - 2**31


def split_option(option: str) -> tuple[str, str]:
    """Return name and value of an option as catalogs store it, ``name=value``."""
    name, _, value = option.partition("=")
    return name, value


def split_partitions(options: Options) -> tuple[list[str], Options]:
    """Return a server's connect strings by partition number, and its other options.

    ``p3``, ``p03`` and ``partition_3`` are the same number; their order is free. Raise
    `ConfigError` for a number that is given twice or that is out of sequence.
    """
    connstrs: dict[int, str] = {}
    others: list[tuple[str, str]] = []
    for name, value in options:
        match = _PARTITION.fullmatch(name)
        if match is None:
            others.append((name, value))
            continue
        # Nine digits are more than partitions, and int() refuses thousands of them.
        number = int(match[1].lstrip("0")[:9] or 0)
        if number in connstrs:
            raise ConfigError(f"partition {number} is given twice, at last by {name!r}")
        connstrs[number] = value
    for number in range(len(connstrs)):
        if number not in connstrs:
            raise ConfigError(
                f"partition {number} is missing: partitions are numbered from 0 "
                f"without gaps, and there are {len(connstrs)}"
            )
    return [connstrs[number] for number in range(len(connstrs))], others


def read_options(options: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return options by lower-case key, the last of a key. Raise `ConfigError`."""
    read = {}
    for name, value in options:
        key = name.lower()
        if key not in KNOWN:
            raise ConfigError(f"unknown config option {name!r}{nearest(key, KNOWN)}")
        read[key] = value
    if read.get("default_user", USERS[0]) not in USERS:
        raise ConfigError(f"default_user is one of {' and '.join(USERS)}")
    return read


def ignored_options(options: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys that ask for something and get nothing, sorted."""
    return tuple(key for key in IGNORED if to_integer(options.get(key, "")) > 0)


def effective_connstr(connstr: str, login: Login) -> str:
    """Return the connect string with the login put in, if it names no user itself.

    All options of the mapping go in, and win over the connect string's own. Raise
    `ConfigError`, which quotes no value; 42501 if the options may not be read.
    """
    target = parse_connstr(connstr)
    parameters = dict(target.parameters) | dict(target.secrets)
    if "user" in parameters:
        return connstr
    if login.options is None:
        raise ConfigError(
            f"the options of the PUBLIC user mapping are hidden from {login.user!r}; "
            "sql/user_mapping.sql, run by a superuser in this database, shows them to "
            "those who have USAGE on the foreign server",
            sqlstate="42501",
        )
    parameters |= {"user": login.user, **dict(login.options)}
    try:
        return make_conninfo("", **parameters)
    except ProgrammingError:
        names = ", ".join(name for name, _ in login.options)
        raise ConfigError(
            f"libpq does not know an option of the user mapping: {names}"
        ) from None


def make_cluster(
    name: str, connstrs: Iterable[str], options: Mapping[str, str], login: Login
) -> ClusterConfig:
    """Return the cluster. ``options`` are those of `read_options`.

    Raise `ConfigError`, or `PartitionCountError`, naming cluster and partition.
    """
    partitions = []
    for number, connstr in enumerate(connstrs):
        try:
            partitions.append(effective_connstr(connstr, login))
        except ConfigError as error:
            raise ConfigError(
                f"cluster {name!r}: partition {number}: {error}",
                cluster=name,
                partition=number,
                sqlstate=error.sqlstate,
            ) from None
    definition: dict[str, Any] = {"partitions": partitions}
    for key in ("connection_lifetime", "query_timeout"):
        if key in options:
            definition[key] = max(to_integer(options[key]), 0)
    for key in ("modular_mapping", "pooler"):
        definition[key] = bool(to_integer(options.get(key, "")))
    if "connect_timeout" in options:
        seconds = max(to_integer(options["connect_timeout"]), 0)
        definition["connection"] = {"connect_timeout": seconds}
    if "timezone" in options:
        definition["timezone"] = options["timezone"]
    return cluster_config(name, definition)
