"""How rows of ``sql/config_tables.sql`` become the definition of a cluster."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from plproxy_py.config import ClusterConfig, Target, parse_connstr
from plproxy_py.errors import ConfigError
from plproxy_py.ops.configuration import sql_text
from plproxy_py.ops.configuration.plans import (
    Connection,
    Plan,
    is_same,
    option_changes,
    with_users,
)
from plproxy_py.sources.options import Login, make_cluster, read_options

_IS_INSTALLED = "SELECT to_regprocedure('plproxy.set_cluster(text,text[])') IS NOT NULL"
_IS_SERVER = "SELECT FROM pg_catalog.pg_foreign_server WHERE srvname = %s"
_PARTITIONS = """
SELECT connstr FROM plproxy.cluster_partition WHERE cluster = %s ORDER BY number"""
_CONFIG = "SELECT key, val FROM plproxy.cluster_config WHERE cluster = %s"


def is_installed(conn: Connection) -> bool:
    """Tell whether the database has ``plproxy.set_cluster``."""
    return bool(conn.execute(_IS_INSTALLED).fetchall()[0][0])


def plan_tables(
    conn: Connection, config: ClusterConfig, role: str, *, with_passwords: bool
) -> Plan:
    """Return what makes the tables define a cluster.

    ``role``: as whom one connects where a connect string names no user. Raise
    `ConfigError` without the tables, or if a foreign server would go before them.
    """
    name = config.name
    if not is_installed(conn):
        raise ConfigError(
            "this database has no plproxy.set_cluster(text, text[]): run "
            "sql/config_tables.sql in it first"
        )
    if conn.execute(_IS_SERVER, (name,)).fetchone() is not None:
        raise ConfigError(
            f"cluster {name!r}: there is a foreign server of this name, which goes "
            "before the functions: write it as sqlmed, or drop the server",
            cluster=name,
        )
    texts = [text for (text,) in conn.execute(_PARTITIONS, (name,))]
    rows = conn.execute(_CONFIG, (name,)).fetchall()
    options = {key.lower(): value for key, value in rows}
    before = _before(name, texts, options, role)
    after = with_users(config, role)
    statements: list[sql.Composed] = []
    written = [
        texts[partition.number]
        if partition.number < len(texts)
        and _leads_to(
            texts[partition.number], partition.target, with_passwords=with_passwords
        )
        else sql_text.connstr(partition.target, with_secrets=with_passwords)
        for partition in config.partitions
    ]
    if written != texts:
        statements.append(sql_text.set_cluster(name, written))
    changes = dict(option_changes(before, after, {}))
    gone = [key for key in changes if key in options]
    if gone:
        statements.append(sql_text.unset_options(name, gone))
    given = {key: text for key, text in changes.items() if text is not None}
    statements += sql_text.set_options(name, given)
    return Plan(name, before, after, tuple(statements))


def _before(
    name: str, texts: list[str], options: Mapping[str, str], role: str
) -> ClusterConfig | None:
    try:
        known = read_options(options.items())
        return with_users(make_cluster(name, texts, known, Login(role)), role)
    except ConfigError:
        return None


def _leads_to(text: str, target: Target, *, with_passwords: bool) -> bool:
    try:
        return is_same(parse_connstr(text), target, with_passwords=with_passwords)
    except ConfigError:
        return False
