"""Clusters from a PL/Proxy database: which questions to ask, and what rows mean.

Interface: `cluster_question` begins the load of one cluster; one to four questions
later the answer is a `Loaded`, whose ``check`` is the one cheap question that tells
whether the definition is still the same (True) or has to be loaded anew (False):

    loaded = ask(cluster_question("userdb"))    # Loaded, or ConfigError
    ask(loaded.check)                           # bool; may be asked any number of times

A foreign server of the cluster's name comes first, of whatever wrapper, else the three
functions plproxy.get_cluster_version, _config and _partitions. Rights are looked at in
every load and in every check. Knows no connection and no pool; errors that the server
raises, the version function's own among them, are its caller's to pass on.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plproxy_py.config import ClusterConfig
from plproxy_py.errors import ConfigError, NoSuchCluster, scrubbed
from plproxy_py.sources.options import (
    USERS,
    Login,
    ignored_options,
    make_cluster,
    read_options,
    split_option,
    split_partitions,
)
from plproxy_py.sources.question import Question, document

# The functions' version is read before and after; a definition that changes faster
# than it can be read is taken with the first, so that the next check loads it again.
MOST_ATTEMPTS = 3

# In one snapshot: who asks, the foreign server, and which functions there are. The
# view pg_user_mappings lists every mapping, but hides the options of all but one's own,
# so it has to be said whether NULL means "none" or "not for you".
_LOOK = """
SELECT jsonb_build_object(
    'users', jsonb_build_object('current_user', current_user,
                                'session_user', session_user),
    'server', (
        SELECT jsonb_build_object(
            'options', coalesce(w.fdwoptions, '{}') || coalesce(s.srvoptions, '{}'),
            'wrapper_options', cardinality(coalesce(w.fdwoptions, '{}')),
            'user', u.rolname,
            'usage', has_server_privilege(u.oid, s.oid, 'USAGE'),
            'mapping', (
                SELECT jsonb_build_object(
                    'visible', @visible@,
                    'options', @options@)
                  FROM pg_catalog.pg_user_mappings m @join@
                 WHERE m.srvid = s.oid AND m.umuser IN (0, u.oid)
                 ORDER BY m.umuser DESC
                 LIMIT 1))
          FROM pg_catalog.pg_foreign_server s
          JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
          JOIN pg_catalog.pg_roles u ON u.rolname = CASE (
                SELECT substr(o, 14)
                  FROM unnest(w.fdwoptions || s.srvoptions) WITH ORDINALITY AS d (o, n)
                 WHERE lower(substr(o, 1, 13)) = 'default_user='
                 ORDER BY n DESC
                 LIMIT 1)
              WHEN 'session_user' THEN session_user ELSE current_user END
         WHERE s.srvname = $1::text),
    'functions', (
        SELECT jsonb_object_agg(p.proname, CASE
                   WHEN p.proallargtypes IS NOT NULL THEN (
                       SELECT jsonb_agg(format_type(a.type, NULL))
                         FROM unnest(p.proallargtypes, p.proargmodes) AS a (type, mode)
                        WHERE a.mode <> 'i')
                   WHEN t.typrelid <> 0 THEN (
                       SELECT jsonb_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum)
                         FROM pg_catalog.pg_attribute a
                        WHERE a.attrelid = t.typrelid
                          AND a.attnum > 0 AND NOT a.attisdropped)
                   ELSE jsonb_build_array(format_type(t.oid, NULL)) END)
          FROM pg_catalog.pg_proc p
          JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
          JOIN pg_catalog.pg_type t ON t.oid = p.prorettype
         WHERE n.nspname = 'plproxy' AND p.proargtypes = '25'
           AND p.proname IN ('get_cluster_version', 'get_cluster_config',
                             'get_cluster_partitions')),
    'view', EXISTS (
        SELECT
          FROM pg_catalog.pg_class c
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'plproxy' AND c.relname = 'user_mapping' AND c.relkind = 'v'
           AND has_schema_privilege(n.oid, 'USAGE')
           AND has_table_privilege(c.oid, 'SELECT')))::text"""


def _look(**parts: str) -> bytes:
    return re.sub("@([a-z]+)@", lambda match: parts[match[1]], _LOOK).encode()


_OWN = _look(
    join="",
    options="m.umoptions",
    visible="""m.umoptions IS NOT NULL
                        OR pg_has_role(s.srvowner, 'USAGE')
                        OR (m.umuser <> 0 AND m.usename = current_user)""",
)
# The view says less than it could if one acts for session_user: so the mapping is still
# chosen from all, and the view asked for its options only.
_VIEW = _look(
    join="LEFT JOIN plproxy.user_mapping v ON v.umid = m.umid",
    options="v.umoptions",
    visible="v.umid IS NOT NULL",
)

# Read with a column list, so that columns behind the first don't matter, as in
# PL/Proxy. Sub-selects in this place run from left to right.
_VERSION = (
    "(SELECT jsonb_agg(v::text) FROM plproxy.get_cluster_version($1::text) AS f (v))"
)
_LOAD = f"""
SELECT jsonb_build_array(
    {_VERSION},
    (SELECT jsonb_agg(jsonb_build_array(k, v))
       FROM plproxy.get_cluster_config($1::text) AS f (k, v)),
    (SELECT jsonb_agg(c) FROM plproxy.get_cluster_partitions($1::text) AS f (c)),
    {_VERSION})::text""".encode()
_CHECK = f"""
SELECT (CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_foreign_server
                         WHERE srvname = $1::text)
        THEN NULL ELSE {_VERSION} END)::text""".encode()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A cluster as the database defines it.

    ``version`` is for people: the functions' version, or a digest of what the foreign
    server says, passwords left out. ``is_server``: it comes from SQL/MED. ``ignored``
    names the options that were given and have no effect here. ``check`` answers True
    while the definition is the same, whatever the direction of a change.
    """

    config: ClusterConfig
    version: str
    is_server: bool
    check: Question[bool] = field(repr=False, compare=False)
    ignored: tuple[str, ...] = ()


def cluster_question(name: str) -> Question[Loaded]:
    """Return the first question of a cluster's load.

    Its answers raise `NoSuchCluster` if no source defines the cluster; `ConfigError`
    42501 without USAGE on the foreign server, or if its PUBLIC user mapping can't be
    read (``sql/user_mapping.sql`` lets it); 42704 without a user mapping; otherwise
    `ConfigError` or `PartitionCountError` for what is wrong in the definition.
    """

    def read(rows: Sequence[Sequence[Any]]) -> Question[Loaded] | Loaded:
        found = document(rows)
        if found["server"] is not None:
            return _server(name, _OWN, rows)
        _check_functions(name, found["functions"] or {})
        return _load(name, found["users"], attempt=1)

    return Question(_OWN, _params(name), read)


def _params(name: str) -> tuple[bytes]:
    return (name.encode(),)


def _error(name: str, reason: str, sqlstate: str | None = None) -> ConfigError:
    return ConfigError(f"cluster {name!r}: {reason}", cluster=name, sqlstate=sqlstate)


# A foreign server


def _server(
    name: str, sql: bytes, rows: Sequence[Sequence[Any]]
) -> Question[Loaded] | Loaded:
    found = document(rows)
    server = found["server"]
    if server is None:
        # Dropped since the question before.
        return cluster_question(name)
    user, mapping = server["user"], server["mapping"]
    if not server["usage"]:
        raise _error(
            name, f"permission denied for foreign server {name} ({user})", "42501"
        )
    if mapping is None:
        raise _error(name, f"user mapping not found for {user!r}", "42704")
    if not mapping["visible"] and found["view"] and sql is _OWN:
        return Question(_VIEW, _params(name), lambda rows: _server(name, _VIEW, rows))
    options = _split(server["options"])
    wrapper = server["wrapper_options"]
    try:
        connstrs, others = split_partitions(options[wrapper:])
        known = read_options([*options[:wrapper], *others])
    except ConfigError as error:
        raise _error(name, str(error)) from None
    login = Login(user, _split(mapping["options"]) if mapping["visible"] else None)
    config = make_cluster(name, connstrs, known, login)
    check = Question(sql, _params(name), lambda rows: _is_server(rows, server))
    return _loaded(config, config.digest(), True, check, known)


def _loaded(
    config: ClusterConfig,
    version: str,
    is_server: bool,
    check: Question[bool],
    options: Mapping[str, str],
) -> Loaded:
    config = dataclasses.replace(config, version=version)
    return Loaded(config, version, is_server, check, ignored_options(options))


def _split(options: Sequence[str] | None) -> list[tuple[str, str]]:
    return [split_option(option) for option in options or ()]


def _is_server(rows: Sequence[Sequence[Any]], server: object) -> bool:
    return bool(document(rows)["server"] == server)


# The three functions


def _check_functions(name: str, functions: Mapping[str, Sequence[str]]) -> None:
    if len(functions) < 3:
        raise NoSuchCluster(
            f"cluster not found: {scrubbed(name)}: there is neither a foreign server "
            "of this name nor the functions plproxy.get_cluster_version, "
            "plproxy.get_cluster_config and plproxy.get_cluster_partitions (text)",
            cluster=name,
        )
    columns = functions["get_cluster_config"]
    if list(columns) != ["text", "text"]:
        raise _error(
            name,
            "plproxy.get_cluster_config has to return two columns of type text, not "
            + ", ".join(columns),
        )
    column = functions["get_cluster_partitions"][0]
    if column != "text":
        raise _error(
            name,
            f"plproxy.get_cluster_partitions has to return text, not {column}",
        )


def _load(name: str, users: Mapping[str, str], attempt: int) -> Question[Loaded]:
    def read(rows: Sequence[Sequence[Any]]) -> Question[Loaded] | Loaded:
        versions, pairs, connstrs, after = document(rows)
        version = _version(name, versions)
        if versions != after and attempt < MOST_ATTEMPTS:
            return _load(name, users, attempt + 1)
        if any(None in pair for pair in pairs or ()):
            raise _error(name, "plproxy.get_cluster_config returned a NULL")
        if None in (connstrs or ()):
            number = connstrs.index(None)
            raise _error(
                name, f"plproxy.get_cluster_partitions: partition {number} is NULL"
            )
        try:
            options = read_options(pairs or ())
        except ConfigError as error:
            raise _error(name, str(error)) from None
        login = Login(users[options.get("default_user", USERS[0])])
        config = make_cluster(name, connstrs or (), options, login)
        check = Question(
            _CHECK, _params(name), lambda rows: _is_version(rows, versions)
        )
        return _loaded(config, version, False, check, options)

    return Question(_LOAD, _params(name), read)


def _version(name: str, versions: Sequence[str | None] | None) -> str:
    count = len(versions or ())
    if not versions or count != 1:
        raise _error(name, f"plproxy.get_cluster_version returned {count} rows, not 1")
    if versions[0] is None:
        raise _error(name, "plproxy.get_cluster_version returned NULL")
    return versions[0]


def _is_version(rows: Sequence[Sequence[Any]], versions: object) -> bool:
    # NULL: a foreign server of this name has come up, which goes first.
    return rows[0][0] is not None and document(rows) == versions
