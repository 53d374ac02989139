"""How a foreign server becomes the definition of a cluster, or of another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from plproxy_py.config import ClusterConfig, Target, parse_connstr
from plproxy_py.errors import ConfigError
from plproxy_py.ops.configuration import sql_text
from plproxy_py.ops.configuration.plans import (
    Connection,
    Plan,
    is_same,
    option_changes,
    with_user,
    with_users,
)
from plproxy_py.sources.options import (
    Login,
    effective_connstr,
    make_cluster,
    read_options,
    split_option,
    split_partitions,
)

_WRAPPER = "SELECT FROM pg_catalog.pg_foreign_data_wrapper WHERE fdwname = %s"
_SERVER = """
SELECT coalesce(w.fdwoptions, '{}'), coalesce(s.srvoptions, '{}'),
       has_server_privilege(%(role)s::name, s.oid, 'USAGE')
  FROM pg_catalog.pg_foreign_server s
  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
 WHERE s.srvname = %(server)s"""
# The role's own mapping goes before PUBLIC's. Of others the options are NULL.
_MAPPING = """
SELECT m.umuser <> 0 OR %(role)s = 'public', coalesce(m.umoptions, '{}'),
       m.umoptions IS NOT NULL
       OR (m.umuser <> 0 AND m.usename = current_user)
       OR (m.umuser = 0 AND pg_has_role(s.srvowner, 'USAGE'))
       OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
  FROM pg_catalog.pg_user_mappings m
  JOIN pg_catalog.pg_foreign_server s ON s.oid = m.srvid
 WHERE s.srvname = %(server)s
   AND (m.umuser = 0 OR (m.usename = %(role)s AND %(role)s <> 'public'))
 ORDER BY m.umuser DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Server:
    """A foreign server as the catalogs have it, and its user mapping for a role.

    ``mapping``: None if there is none. ``is_own``: it is the role's, not PUBLIC's.
    """

    wrapper: Sequence[tuple[str, str]]
    options: Sequence[tuple[str, str]]
    is_usable: bool
    mapping: Mapping[str, str] | None
    is_own: bool


def plan_wrapper(conn: Connection) -> Plan | None:
    """Return what has to be done before there can be servers, None if nothing."""
    if conn.execute(_WRAPPER, (sql_text.WRAPPER,)).fetchone() is not None:
        return None
    name = sql.Identifier(sql_text.WRAPPER)
    return Plan(
        "", None, None, (sql.SQL("CREATE FOREIGN DATA WRAPPER {}").format(name),)
    )


def plan_server(
    conn: Connection, config: ClusterConfig, role: str, *, with_passwords: bool
) -> Plan:
    """Return what makes the server of a cluster's name define it.

    ``role``: whose mapping it is, or ``"public"``. Raise `ConfigError` for what can't
    be written, and 42501 where a user mapping's options may not be read.
    """
    sql_text.check_name(config.name)
    server = _server(conn, config.name, role)
    if server is None:
        created = sql_text.servers(config, role, with_passwords=with_passwords)
        return Plan(config.name, None, with_users(config, role), tuple(created))
    options = dict(server.mapping or {})
    wanted = sql_text.server_login(config, with_passwords=with_passwords)
    if wanted.user is not None and options.get("user", role) != wanted.user:
        # Its password is somebody else's.
        options = {"user": wanted.user}
    if wanted.password is not None:
        options["password"] = wanted.password
    user = options.get("user", role)
    after = with_users(config, user)
    before = _before(config.name, server, role)
    statements = [
        *_mapping_changes(config.name, server, role, options),
        *_alter(
            config.name,
            [
                *_option_changes(server, before, after),
                *_partition_changes(
                    server,
                    config,
                    Login(user, list(options.items())),
                    with_passwords=with_passwords,
                ),
            ],
        ),
    ]
    if not server.is_usable:
        statements.append(sql_text.usage(sql.Identifier(config.name), role))
    return Plan(config.name, before, after, tuple(statements))


def _server(conn: Connection, name: str, role: str) -> Server | None:
    asked = {"server": name, "role": role}
    row = conn.execute(_SERVER, asked).fetchone()
    if row is None:
        return None
    wrapper, options, is_usable = row
    found = conn.execute(_MAPPING, asked).fetchone()
    is_own, mapping, is_visible = found or (False, None, True)
    if not is_visible:
        raise ConfigError(
            f"cluster {name!r}: the options of the user mapping of {role!r} are hidden "
            f"from you: connect as a superuser, or as {role!r}",
            cluster=name,
            sqlstate="42501",
        )
    return Server(
        _split(wrapper),
        _split(options),
        is_usable,
        None if mapping is None else dict(_split(mapping)),
        is_own,
    )


def _split(options: Iterable[str]) -> list[tuple[str, str]]:
    return [split_option(option) for option in options]


def _before(name: str, server: Server, role: str) -> ClusterConfig | None:
    """Return what the role is told now, None if that is no definition."""
    mapping = server.mapping or {}
    login = Login(mapping.get("user", role), list(mapping.items()))
    try:
        connstrs, others = split_partitions(server.options)
        known = read_options([*server.wrapper, *others])
        return with_users(make_cluster(name, connstrs, known, login), login.user)
    except ConfigError:
        return None


def _mapping_changes(
    name: str, server: Server, role: str, options: Mapping[str, str]
) -> list[sql.Composed]:
    had = server.mapping
    if had == options:
        return []
    place = sql.Identifier(name)
    if had is None or not server.is_own:
        return [sql_text.mapping(place, role, list(options.items()))]
    changes = [
        *(("SET" if key in had else "ADD", key, options[key]) for key in options),
        *(("DROP", key, None) for key in had if key not in options),
    ]
    changed = [
        change
        for change in changes
        if change[2] is None or change[2] != had.get(change[1])
    ]
    return [
        sql.SQL("ALTER USER MAPPING FOR {} SERVER {} OPTIONS ({})").format(
            sql_text.role_name(role), place, _changes(changed)
        )
    ]


Change = tuple[str, str, str | None]


def _option_changes(
    server: Server, before: ClusterConfig | None, after: ClusterConfig
) -> list[Change]:
    spelt = {key.lower(): key for key, _ in server.options}
    beneath = {key.lower(): value for key, value in server.wrapper}
    changes: list[Change] = []
    for key, text in option_changes(before, after, beneath):
        if text is not None:
            changes.append(
                ("SET" if key in spelt else "ADD", spelt.get(key, key), text)
            )
        elif key in spelt:
            changes.append(("DROP", spelt[key], None))
        elif key in beneath:
            raise ConfigError(
                f"cluster {after.name!r}: the foreign data wrapper says {key} for all "
                "servers, and there is no value that takes it back",
                cluster=after.name,
            )
    return changes


def _partition_changes(
    server: Server, config: ClusterConfig, login: Login, *, with_passwords: bool
) -> list[Change]:
    try:
        # Each option's name in the place of its value.
        names, _ = split_partitions([(name, name) for name, _ in server.options])
    except ConfigError as error:
        raise ConfigError(
            f"cluster {config.name!r}: its server can't be read: drop it first; "
            f"{error}",
            cluster=config.name,
        ) from None
    texts = dict(server.options)
    changes: list[Change] = []
    for partition in config.partitions:
        name = names[partition.number] if partition.number < len(names) else None
        target = with_user(partition.target, login.user)
        if name is not None and _leads_to(
            texts[name], login, target, with_passwords=with_passwords
        ):
            continue
        is_mapped = dict(target.parameters)["user"] == login.user
        text = sql_text.connstr(target, without="user" if is_mapped else "")
        if "user=" in text and is_mapped:
            # As PL/Proxy sees it, a user stands there already.
            text = sql_text.connstr(target)
        number = f"p{partition.number}"
        changes.append(("ADD", number, text) if name is None else ("SET", name, text))
    return [*changes, *(("DROP", name, None) for name in names[config.part_count :])]


def _leads_to(text: str, login: Login, target: Target, *, with_passwords: bool) -> bool:
    try:
        found = parse_connstr(effective_connstr(text, login))
    except ConfigError:
        return False
    return is_same(found, target, with_passwords=with_passwords)


def _alter(name: str, changes: Sequence[Change]) -> list[sql.Composed]:
    if not changes:
        return []
    return [
        sql.SQL("ALTER SERVER {} OPTIONS ({})").format(
            sql.Identifier(name), _changes(changes)
        )
    ]


def _changes(changes: Iterable[Change]) -> sql.Composed:
    # Whoever gives a keyword of SQL gives one of these three.
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(_ACTIONS[action], sql.Identifier(name))
        if value is None
        else sql.SQL("{} {} {}").format(
            _ACTIONS[action], sql.Identifier(name), sql.Literal(value)
        )
        for action, name, value in changes
    )


_ACTIONS = {word: sql.SQL(word) for word in ("ADD", "SET", "DROP")}
