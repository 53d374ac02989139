"""Clusters as SQL: foreign servers with user mappings, or rows of the tables.

The statements are psycopg's compositions: names and values are quoted by psycopg, and
connect strings by libpq. Source of what may stand where: PL/Proxy, plproxy.c and
cluster.c, ``plproxy_fdw_validator`` and ``get_connstr``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import sql
from psycopg.conninfo import make_conninfo

from plproxy_py.config import DEFAULT_LIFETIME, ClusterConfig, Target
from plproxy_py.errors import ConfigError

# What only plproxy_py knows. PL/Proxy's wrapper refuses a server with it, and PL/Proxy
# a cluster of the functions.
OURS_ONLY = ("connect_timeout", "pooler", "timezone")
WRITTEN = (
    *("connect_timeout", "connection_lifetime", "modular_mapping", "pooler"),
    *("query_timeout", "timezone"),
)
_NAMEDATALEN = 64
WRAPPER = "plproxy"
Pairs = Sequence[tuple[str, str]]


def option_texts(config: ClusterConfig) -> dict[str, str]:
    """Return the options that are not at their default, as PL/Proxy writes them.

    Raise `ConfigError` for what can't be written: PL/Proxy has whole seconds.
    """
    options = {}
    if config.connection_lifetime != DEFAULT_LIFETIME:
        options["connection_lifetime"] = _seconds(config, "connection_lifetime")
    if config.query_timeout is not None:
        options["query_timeout"] = _seconds(config, "query_timeout")
    if config.modular_mapping:
        options["modular_mapping"] = "1"
    if config.pooler:
        options["pooler"] = "1"
    if config.timezone is not None:
        options["timezone"] = config.timezone
    return options


def _seconds(config: ClusterConfig, option: str) -> str:
    value = getattr(config, option) or 0.0
    if not value.is_integer():
        raise ConfigError(
            f"cluster {config.name!r}: {option} is {value:g} s, and PL/Proxy's "
            "options have whole seconds",
            cluster=config.name,
        )
    return str(int(value))


@dataclass(frozen=True, slots=True)
class Login:
    """What of all connect strings goes into a user mapping: user, and password.

    ``user``: None where each connect string keeps its own, or none has one.
    """

    user: str | None
    password: str | None = field(default=None, repr=False)

    @property
    def options(self) -> list[tuple[str, str]]:
        """The options of the mapping."""
        said = (("user", self.user), ("password", self.password))
        return [(name, value) for name, value in said if value is not None]


def server_login(config: ClusterConfig, *, with_passwords: bool) -> Login:
    """Return what goes into the user mapping of a cluster's server.

    Raise `ConfigError` if a password is to be written that has no place there: options
    of servers can be read by every role.
    """
    targets = [partition.target for partition in config.partitions]
    users = {dict(target.parameters).get("user") for target in targets}
    user = users.pop() if len(users) == 1 else None
    # PL/Proxy takes these letters anywhere for a user, and does without the mapping.
    if any("user=" in connstr(target, without="user") for target in targets):
        user = None
    secrets = {target.secrets for target in targets}
    if not with_passwords or secrets == {()}:
        return Login(user)
    is_in_mapping = user is not None or users == {None}
    names = {name for name, _ in next(iter(secrets))}
    if len(secrets) > 1 or names != {"password"} or not is_in_mapping:
        raise ConfigError(
            f"cluster {config.name!r}: a user mapping holds one user and one password, "
            "and options of a server can be read by every role: leave the passwords "
            "out, or write the cluster as functions",
            cluster=config.name,
        )
    ((_, password),) = secrets.pop()
    return Login(user, password)


def connstr(target: Target, *, without: str = "", with_secrets: bool = False) -> str:
    """Return a partition's connect string, without one keyword."""
    said = dict(target.parameters)
    said.pop(without, None)
    return make_conninfo("", **said, **dict(target.secrets if with_secrets else ()))


def check_name(name: str) -> None:
    """Raise `ConfigError` if no server can have this name."""
    if not name or "\0" in name or len(name.encode()) >= _NAMEDATALEN:
        raise ConfigError(
            f"cluster {name!r}: a foreign server's name has 1 to "
            f"{_NAMEDATALEN - 1} bytes",
            cluster=name,
        )


def servers(
    config: ClusterConfig, role: str | None, *, with_passwords: bool
) -> list[sql.Composed]:
    """Return the statements that create a cluster's server and its user mapping.

    ``role``: who may use it; ``"public"``, or None for whoever runs the statements.
    """
    check_name(config.name)
    login = server_login(config, with_passwords=with_passwords)
    without = "" if login.user is None else "user"
    partitions = [
        (f"p{partition.number}", connstr(partition.target, without=without))
        for partition in config.partitions
    ]
    name = sql.Identifier(config.name)
    created = sql.SQL("CREATE SERVER {} FOREIGN DATA WRAPPER {} OPTIONS ({})").format(
        name,
        sql.Identifier(WRAPPER),
        options([*option_texts(config).items(), *partitions], long=True),
    )
    statements: list[sql.Composed] = [created, mapping(name, role, login.options)]
    if role is not None:
        statements.append(usage(name, role))
    return statements


def mapping(server: sql.Composable, role: str | None, pairs: Pairs) -> sql.Composed:
    """Return the statement that creates a user mapping."""
    given = sql.SQL(" OPTIONS ({})").format(options(pairs)) if pairs else sql.SQL("")
    return sql.SQL("CREATE USER MAPPING FOR {} SERVER {}{}").format(
        role_name(role), server, given
    )


def usage(server: sql.Composable, role: str) -> sql.Composed:
    """Return the statement that lets a role use a server."""
    return sql.SQL("GRANT USAGE ON FOREIGN SERVER {} TO {}").format(
        server, role_name(role)
    )


def role_name(role: str | None) -> sql.Composable:
    """Return a role as SQL names it; quoted, PUBLIC would be somebody."""
    if role is None:
        return sql.SQL("CURRENT_USER")
    return sql.SQL("PUBLIC") if role.lower() == "public" else sql.Identifier(role)


def options(pairs: Iterable[tuple[str, str]], *, long: bool = False) -> sql.Composed:
    """Return the inside of OPTIONS (), on lines of their own if ``long``."""
    listed = [
        sql.SQL("{} {}").format(sql.Identifier(name), sql.Literal(str(value)))
        for name, value in pairs
    ]
    if long:
        return sql.SQL("\n    {}").format(sql.SQL(",\n    ").join(listed))
    return sql.SQL(", ").join(listed)


def tables(config: ClusterConfig, *, with_passwords: bool) -> list[sql.Composed]:
    """Return the statements that define a cluster by ``sql/config_tables.sql``."""
    connstrs = [
        connstr(partition.target, with_secrets=with_passwords)
        for partition in config.partitions
    ]
    return [
        set_cluster(config.name, connstrs),
        unset_options(config.name, WRITTEN),
        *set_options(config.name, option_texts(config)),
    ]


def set_cluster(name: str, connstrs: Sequence[str]) -> sql.Composed:
    """Return the statement that gives a cluster its partitions."""
    listed = sql.SQL(",\n    ").join(map(sql.Literal, connstrs))
    return sql.SQL("SELECT plproxy.set_cluster({}, ARRAY[\n    {}])").format(
        sql.Literal(name), listed
    )


def unset_options(name: str, keys: Sequence[str]) -> sql.Composed:
    """Return the statement that takes options away from a cluster."""
    return sql.SQL(
        "DELETE FROM plproxy.cluster_config WHERE cluster = {} AND key IN ({})"
    ).format(sql.Literal(name), sql.SQL(", ").join(map(sql.Literal, keys)))


def set_options(name: str, values: Mapping[str, str]) -> list[sql.Composed]:
    """Return the statements that give a cluster options, which it does not have."""
    return [
        sql.SQL(
            "INSERT INTO plproxy.cluster_config (cluster, key, val) VALUES ({}, {}, {})"
        ).format(*map(sql.Literal, (name, key, value)))
        for key, value in values.items()
    ]
