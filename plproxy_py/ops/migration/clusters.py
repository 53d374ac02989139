"""The clusters that a PL/Proxy database defines, and what is different of them here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import psycopg

from plproxy_py.config import ClusterConfig, Target, parse_connstr
from plproxy_py.errors import ConfigError, Error, NoSuchCluster
from plproxy_py.ops.migration.differences import Difference, Note
from plproxy_py.ops.migration.home import HomeDatabase
from plproxy_py.sources.database import cluster_question
from plproxy_py.sources.options import (
    IGNORED,
    Login,
    Options,
    make_cluster,
    read_options,
    split_partitions,
    to_integer,
)

_PARTITION = re.compile(r"(?:partition_|p)\s*\+?[0-9]*")
# The role that looks has no mapping, or may not use the server: others may.
_NOT_OURS = ("42501", "42704")


def server_names(servers: Mapping[str, Options]) -> list[str]:
    """Return the foreign servers that are clusters: those with partitions."""
    return [
        name
        for name, options in servers.items()
        if any(_PARTITION.fullmatch(option) for option, _ in options)
    ]


def load(
    home: HomeDatabase, name: str, servers: Mapping[str, Options]
) -> tuple[ClusterConfig | None, list[Note]]:
    """Return a cluster, None if it can't be loaded, and what is to be known of it."""
    try:
        loaded = home.attempt(cluster_question(name))
    except NoSuchCluster as error:
        return None, [Note(Difference.DEFINITIONS, str(error), is_obstacle=True)]
    except (Error, psycopg.Error) as error:
        if name in servers and error.sqlstate in _NOT_OURS:
            return _server(name, servers[name], error)
        text = error.diag.message_primary or str(error)
        return None, [Note(Difference.DEFINITIONS, text, is_obstacle=True)]
    notes = [*_notes(loaded.config), *_users(home, name, servers)]
    if loaded.ignored:
        notes.append(_ignored(loaded.ignored))
    return loaded.config, notes


def _server(
    name: str, options: Options, refusal: psycopg.Error
) -> tuple[ClusterConfig | None, list[Note]]:
    """Read a foreign server that the role which looks can't use."""
    hidden = "hidden from" in str(refusal)
    difference = Difference.PUBLIC_MAPPINGS if hidden else Difference.WHOSE_NAME
    notes = [
        Note(
            difference,
            f"the role that asks can't use it: {refusal}; run this as the role that "
            "the router has",
        )
    ]
    try:
        connstrs, others = split_partitions(options)
        known = read_options(others)
        config = make_cluster(name, connstrs, known, Login("?"))
    except ConfigError as error:
        return None, [Note(Difference.DEFINITIONS, str(error), is_obstacle=True)]
    notes += _notes(config)
    if ignored := [key for key in IGNORED if to_integer(known.get(key, "")) > 0]:
        notes.append(_ignored(ignored))
    return config, notes


def _ignored(keys: Sequence[str]) -> Note:
    return Note(
        Difference.CLUSTER_OPTIONS,
        f"{', '.join(keys)}: without effect, as in PL/Proxy",
    )


def _notes(config: ClusterConfig) -> Iterator[Note]:
    if config.query_timeout:
        yield Note(
            Difference.DEADLINES,
            f"query_timeout = {config.query_timeout:g}: PL/Proxy looks at it when "
            "something arrives, so that it never fired while partitions were silent; "
            "here it ends calls, and cancels their statements",
        )
    if config.pooler or config.timezone:
        yield Note(
            Difference.CLUSTER_OPTIONS,
            "pooler and timezone are for this library: PL/Proxy refuses the cluster",
        )


def _users(
    home: HomeDatabase, name: str, servers: Mapping[str, Options]
) -> Iterator[Note]:
    """Yield what concerns the connect strings, as they stand there."""
    try:
        connstrs = _connstrs(home, name, servers)
        targets = [parse_connstr(connstr) for connstr in connstrs]
    except (ConfigError, psycopg.Error):
        return  # the definition, which could be loaded, has changed since
    yield from compared(connstrs, targets)


def compared(connstrs: Sequence[str], targets: Sequence[Target]) -> Iterator[Note]:
    """Yield what PL/Proxy makes of connect strings by their bytes, and we do not."""
    if len(set(targets)) < len(set(connstrs)):
        yield Note(
            Difference.EQUAL_PARTITIONS,
            "some partitions are the same database in other words: PL/Proxy calls "
            "each, a router calls it once",
        )
    for number, connstr in enumerate(connstrs):
        if "://" in connstr and "user=" not in connstr:
            yield Note(
                Difference.CONNECT_STRINGS,
                f"partition {number} is a URI without user=, which PL/Proxy spoils",
            )
            break
    anonymous = [
        str(number)
        for number, target in enumerate(targets)
        if "user" not in dict(target.parameters)
    ]
    if anonymous:
        which = "all partitions"
        if len(anonymous) < len(targets):
            which = f"partitions {', '.join(anonymous)}"
        yield Note(
            Difference.WHOSE_NAME,
            f"{which} name no user: PL/Proxy connects as whoever calls, a router as "
            "one role",
        )


def _connstrs(
    home: HomeDatabase, name: str, servers: Mapping[str, Options]
) -> list[str]:
    if name in servers:
        return split_partitions(servers[name])[0]
    rows = home.rows("SELECT plproxy.get_cluster_partitions($1::text)", name)
    return [connstr for (connstr,) in rows]
