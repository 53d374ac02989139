"""A whole configuration, as a router would read it: of a file, a database, a router.

Beside the values it is known which were said, and where. Nothing here opens a
partition's connection. A database is read in one transaction that changes nothing.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from plproxy_py import sources
from plproxy_py._catalog import Catalog
from plproxy_py._router_base import RouterBase
from plproxy_py.config import ClusterConfig, Target, parse_connstr
from plproxy_py.errors import (
    ConfigError,
    DeclarationError,
    Error,
    NoSuchCluster,
    nearest,
    remote_error_class,
    scrubbed,
)
from plproxy_py.ops.configuration.comparing import OPTIONS
from plproxy_py.ops.configuration.secrecy import remembering
from plproxy_py.sources.database import Loaded, cluster_question
from plproxy_py.sources.functions import functions_question
from plproxy_py.sources.options import split_option
from plproxy_py.sources.question import Question

T = TypeVar("T")

_DEFAULTS = {name: ClusterConfig.__dataclass_fields__[name].default for name in OPTIONS}
# A server is a cluster where it has partitions, whatever its wrapper.
_SERVERS = r"""
SELECT srvname FROM pg_catalog.pg_foreign_server
 WHERE EXISTS (SELECT FROM unnest(srvoptions) AS o
                WHERE o ~ '^(partition_|p)\s*\+?\d*=')"""
_TABLE = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
        ON n.oid = c.relnamespace
     WHERE n.nspname = 'plproxy' AND c.relname = 'cluster'
       AND has_schema_privilege(n.oid, 'USAGE')
       AND has_table_privilege(c.oid, 'SELECT')
       AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attname = 'name'))"""
_SAID = """
SELECT coalesce(w.fdwoptions, '{}'), coalesce(s.srvoptions, '{}')
  FROM pg_catalog.pg_foreign_server s
  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
 WHERE s.srvname = %s"""


@dataclass(frozen=True, slots=True)
class Defined:
    """A cluster; ``origin`` is where its partitions stand, ``said`` its options."""

    config: ClusterConfig
    origin: str
    said: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Clusters by name. ``unreadable``: those that somebody names and nobody defines.

    ``functions``: files as the source writes them, ``folder`` what they are beside.
    ``document``: of a file, what stands in it.
    """

    source: str
    clusters: Mapping[str, Defined]
    home: Target | None = None
    functions: tuple[str, ...] = ()
    folder: Path | None = None
    unreadable: Mapping[str, Error] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def configs(self) -> dict[str, ClusterConfig]:
        """The clusters' values by name."""
        return {name: defined.config for name, defined in self.clusters.items()}

    def only(self, names: Sequence[str]) -> Configuration:
        """Return these clusters alone, all if none is named. Raise `NoSuchCluster`."""
        for name in names:
            if name in self.unreadable:
                raise self.unreadable[name]
            check_cluster(name, self.clusters, self.source)
        if not names:
            return self
        chosen = {name: self.clusters[name] for name in dict.fromkeys(names)}
        return replace(self, clusters=chosen, unreadable={})


def check_cluster(name: str, known: Iterable[str], source: str) -> None:
    """Raise `NoSuchCluster` with the nearest name."""
    known = list(known)
    if name not in known:
        hint = nearest(name, known)
        text = f"{source}: cluster not found: {scrubbed(name)}{hint}"
        raise NoSuchCluster(text, cluster=name)


def is_connstr(source: str) -> bool:
    """Tell a connect string from a file's name, which wins if there is such a file."""
    if Path(source).suffix == ".toml" or Path(source).exists():
        return False
    return source.startswith(("postgresql://", "postgres://")) or "=" in source


def read(source: str, names: Sequence[str] = ()) -> Configuration:
    """Return the configuration of a TOML file, or of the database of a connstr.

    ``names``: clusters that are wanted, all if there are none. Raise `ConfigError`.
    """
    if is_connstr(source):
        return read_database(source, names)
    return read_file(Path(source)).only(names)


def read_file(path: Path) -> Configuration:
    """Return the configuration of a TOML file. Raise `ConfigError` naming it."""
    # Twice: for the errors, and for what a router forgets.
    sources.from_file(path)
    home = sources.home_of(path)
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    tables = document["clusters"]
    clusters = sources.from_mapping(tables, substitute=remembering)
    if home is not None:
        home = sources.private_cluster(document["home"], substitute=remembering)
    return Configuration(
        str(path),
        {
            name: Defined(config, str(path), _said_in(tables[name], str(path)))
            for name, config in clusters.items()
        },
        None if home is None else home.target(0),
        tuple(document.get("functions", ())),
        path.parent,
        document=document,
    )


def _said_in(table: object, origin: str) -> dict[str, str]:
    return dict.fromkeys(table, origin) if isinstance(table, Mapping) else {}


def of_router(router: RouterBase, source: str) -> Configuration:
    """Return the configuration in force of an application's router."""
    clusters = {}
    for name, config in router.clusters.items():
        said = {
            option: source
            for option in OPTIONS
            if getattr(config, option) != _DEFAULTS[option]
        }
        clusters[name] = Defined(config, source, said)
    # There is no public name for it.
    home = router._routing.home
    return Configuration(
        source, clusters, None if home is None else home.config.target(0)
    )


@contextlib.contextmanager
def connected(connstr: str) -> Iterator[psycopg.Connection[Any]]:
    """Give a connection, in a transaction that commits at the end.

    psycopg's errors come out as ours, without a password.
    """
    target = parse_connstr(connstr)
    try:
        with psycopg.connect(target.conninfo(client_encoding="utf8")) as conn:
            yield conn
    except Error:
        raise
    except psycopg.Error as error:
        state, text = error.sqlstate, target.scrub(_primary(error))
        kind = remote_error_class(state) if state else ConfigError
        where = f"the database {target.redacted}"
        raise kind(f"{where}: {text}", sqlstate=state) from None


def _primary(error: psycopg.Error) -> str:
    """Return what a server says without the statement and the row around it.

    Either may hold a password.
    """
    return error.diag.message_primary or str(error).strip()


def read_database(connstr: str, names: Sequence[str] = ()) -> Configuration:
    """Return what a database defines, for the role that the connect string names.

    Without ``names`` those are its clusters that are foreign servers, that stand in the
    tables of ``sql/config_tables.sql``, and that its proxy functions name. Raise what
    a router would be told of a cluster in ``names``.
    """
    home = parse_connstr(connstr)
    with connected(connstr) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        clusters: dict[str, Defined] = {}
        unreadable: dict[str, Error] = {}
        known = _names(conn)
        for name in names or known:
            try:
                with conn.transaction():
                    clusters[name] = _defined(conn, name)
            except Error as error:
                unreadable[name] = error
            except psycopg.Error as error:
                # What the version function raises.
                text = f"cluster {name!r}: {_primary(error)}"
                unreadable[name] = ConfigError(text, sqlstate=error.sqlstate)
    for name in names:
        if name in unreadable:
            check_cluster(name, known, home.redacted)
            raise unreadable[name]
    return Configuration(home.redacted, clusters, home, unreadable=unreadable)


def ask(conn: psycopg.Connection[Any], question: Question[T]) -> T:
    """Ask question after question on a connection; return the answer."""
    step: Question[T] | T = question
    while isinstance(step, Question):
        params = [param and param.decode() for param in step.params]
        step = step.read(psycopg.RawCursor(conn).execute(step.sql, params).fetchall())
    return step


def _names(conn: psycopg.Connection[Any]) -> list[str]:
    found = [name for (name,) in conn.execute(_SERVERS)]
    ((has_table,),) = conn.execute(_TABLE).fetchall()
    if has_table:
        found += [name for (name,) in conn.execute("SELECT name FROM plproxy.cluster")]
    found += _named_by_functions(conn)
    return sorted(dict.fromkeys(found))


def _named_by_functions(conn: psycopg.Connection[Any]) -> Iterator[str]:
    catalog = Catalog({})
    for each in ask(conn, functions_question()).functions:
        # What can't be called names no cluster that anybody could miss.
        with contextlib.suppress(DeclarationError):
            function = catalog.compile(
                each.signature, each.body, each.strict, each.columns
            )
            if isinstance(function.cluster, str):
                yield function.cluster


def _defined(conn: psycopg.Connection[Any], name: str) -> Defined:
    loaded: Loaded = ask(conn, cluster_question(name))
    if not loaded.is_server:
        keys = conn.execute(
            "SELECT k FROM plproxy.get_cluster_config(%s) AS f (k)", (name,)
        )
        origin = "plproxy.get_cluster_config"
        said = {key.lower(): origin for (key,) in keys}
        return Defined(loaded.config, "plproxy.get_cluster_partitions", said)
    ((of_wrapper, of_server),) = conn.execute(_SAID, (name,)).fetchall()
    said = dict.fromkeys(_keys(of_wrapper), "foreign data wrapper")
    said |= dict.fromkeys(_keys(of_server), "foreign server")
    return Defined(loaded.config, "foreign server", said)


def _keys(options: Iterable[str]) -> list[str]:
    return [split_option(option)[0].lower() for option in options]
