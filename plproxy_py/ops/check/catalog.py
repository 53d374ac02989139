"""What a partition is asked of its catalog, in one statement, and the answer as values.

Servers from 12 on. The role needs no rights for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_QUESTION = """
SELECT json_build_object(
  'settings', (
    SELECT json_object_agg(s.name, current_setting(s.name))
      FROM unnest(ARRAY['server_version', 'TimeZone',
                        'DateStyle', 'statement_timeout', 'is_superuser']) AS s (name)),
  'source', (SELECT source FROM pg_catalog.pg_settings
              WHERE name = 'statement_timeout'),
  'role', current_user,
  'started', extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text,
  'place', concat_ws(':', host(inet_server_addr()), inet_server_port()),
  'database', (
    SELECT to_jsonb(d) - 'datacl' || jsonb_build_object(
             'oid', d.oid::int8, 'encoding', pg_encoding_to_char(d.encoding),
             'actual', {actual})
      FROM pg_catalog.pg_database d WHERE d.datname = current_database()),
  'mmh3', EXISTS (
    SELECT FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = 'plproxy' AND p.proname = 'mmh3'
       AND has_schema_privilege(n.oid, 'USAGE')
       AND has_function_privilege(p.oid, 'EXECUTE')),
  'functions', (
    SELECT json_agg(json_build_object(
             'schema', n.nspname, 'name', p.proname,
             'function', p.oid::regprocedure::text,
             'types', (SELECT json_agg(format_type(a.type, NULL) ORDER BY a.n)
                         FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, n)),
             'defaults', p.pronargdefaults, 'kind', p.prokind,
             'returns', format_type(p.prorettype, NULL),
             'outputs', (
               SELECT json_agg(json_build_array(coalesce(a.name, ''),
                                 format_type(a.type, NULL)) ORDER BY a.n)
                 FROM unnest(p.proallargtypes, p.proargmodes, p.proargnames)
                      WITH ORDINALITY AS a (type, mode, name, n)
                WHERE a.mode IN ('o', 'b', 't')),
             'columns', (
               SELECT json_agg(json_build_array(a.attname,
                                 format_type(a.atttypid, NULL)) ORDER BY a.attnum)
                 FROM pg_catalog.pg_type t
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid
                WHERE t.oid = p.prorettype AND a.attnum > 0 AND NOT a.attisdropped),
             'setof', p.proretset,
             'volatility', CASE p.provolatile WHEN 'v' THEN 'VOLATILE'
                                WHEN 's' THEN 'STABLE' ELSE 'IMMUTABLE' END,
             'body', left(encode(sha256(convert_to(
                       l.lanname || ' ' || coalesce({sqlbody}, p.prosrc), 'UTF8')),
                     'hex'), 12),
             'attributes', concat_ws(' ',
               CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END,
               CASE WHEN p.proisstrict THEN 'STRICT' END,
               'SET ' || array_to_string(p.proconfig, ', SET ')),
             'usage', has_schema_privilege(n.oid, 'USAGE'),
             'execute', has_function_privilege(p.oid, 'EXECUTE'))
             ORDER BY p.oid::regprocedure::text)
      FROM unnest($1::text[], $2::text[]) AS wanted (name, schema)
      JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_catalog.pg_proc p
        ON p.pronamespace = n.oid AND p.proname = wanted.name
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang),
  'rights', CASE WHEN current_setting('is_superuser') = 'off' THEN (
    SELECT json_build_object('count', count(*), 'first',
             (array_agg(t.name || ' (' || t.rights || ')' ORDER BY t.name))[1:3])
      FROM (
        SELECT c.oid::regclass::text AS name, concat_ws(', ', {rights}) AS rights
          FROM pg_catalog.pg_class c
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
           AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
           AND has_schema_privilege(n.oid, 'USAGE')
           AND NOT EXISTS (
             SELECT FROM pg_catalog.pg_depend d
              WHERE d.classid = 'pg_catalog.pg_class'::regclass
                AND d.objid = c.oid AND d.deptype = 'e')) AS t
     WHERE t.rights <> '') END)"""

_RIGHTS = ", ".join(
    f"CASE WHEN has_any_column_privilege(c.oid, '{right}') THEN '{right}' END"
    if right in ("SELECT", "INSERT", "UPDATE", "REFERENCES")
    else f"CASE WHEN has_table_privilege(c.oid, '{right}') THEN '{right}' END"
    for right in (
        *("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"),
        *("REFERENCES", "TRIGGER"),
    )
)


def question(version: int) -> str:
    """Return what a server is asked. ``version``: its server_version_num.

    Parameters: the functions' names and schemas, side by side.
    """
    actual, sqlbody = "NULL::text", "NULL::text"
    if version >= 150000:
        actual = "pg_catalog.pg_database_collation_actual_version(d.oid)"
    if version >= 140000:
        sqlbody = "pg_catalog.pg_get_function_sqlbody(p.oid)"
    return _QUESTION.format(actual=actual, sqlbody=sqlbody, rights=_RIGHTS)


Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Proc:
    """A function of a partition. ``columns``: of its OUT arguments or its row type.

    They are () for a scalar, which is of the type ``returns``. ``body``: a digest of
    language and text. ``usage``: of the schema; that and ``execute`` by who asked.
    """

    function: str
    types: tuple[str, ...]
    defaults: int
    returns: str
    columns: Columns
    setof: bool
    volatility: str
    body: str
    attributes: str
    usage: bool
    execute: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What a partition is. ``skew``: seconds that its clock is ahead of ours.

    ``uncertainty``: half of the round trip in which it was asked. ``place`` tells one
    running database from all others, whatever words lead to it: a copy of a server has
    its identifier, and started at another microsecond. ``timeout``: None without one.
    """

    version: str
    encoding: str
    collation: str
    collation_version: str | None
    recorded_version: str | None
    timezone: str
    datestyle: str
    timeout: str | None
    timeout_source: str
    role: str
    superuser: bool
    database: str
    address: str
    place: tuple[str, int]
    skew: float = field(compare=False, default=0.0)
    uncertainty: float = field(compare=False, default=0.0)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The answer. ``procs``: by name and schema.

    ``tables``: on how many the role has rights, ``rights``: which, on the first three.
    """

    facts: Facts
    procs: Mapping[tuple[str, str], tuple[Proc, ...]]
    tables: int
    rights: tuple[str, ...]
    has_mmh3: bool


def read(answer: Mapping[str, Any], skew: float, uncertainty: float) -> Catalog:
    """Read what `question` was answered."""
    settings, database = answer["settings"], answer["database"]
    procs: dict[tuple[str, str], tuple[Proc, ...]] = {}
    for found in answer["functions"] or ():
        if found["kind"] == "f":
            key = found["name"], found["schema"]
            procs[key] = (*procs.get(key, ()), _proc(found))
    timeout = settings["statement_timeout"]
    facts = Facts(
        settings["server_version"].split(" ")[0],
        database["encoding"],
        _collation(database),
        database["actual"],
        database.get("datcollversion"),
        settings["TimeZone"],
        settings["DateStyle"],
        None if timeout == "0" else timeout,
        answer["source"],
        answer["role"],
        settings["is_superuser"] == "on",
        database["datname"],
        answer["place"],
        (answer["started"], database["oid"]),
        skew,
        uncertainty,
    )
    rights = answer["rights"] or {"count": 0, "first": None}
    first = tuple(rights["first"] or ())
    return Catalog(facts, procs, rights["count"], first, answer["mmh3"])


def _proc(found: Mapping[str, Any]) -> Proc:
    columns = found["outputs"] or found["columns"] or ()
    return Proc(
        found["function"],
        tuple(found["types"] or ()),
        found["defaults"],
        found["returns"],
        tuple((name, type) for name, type in columns),
        found["setof"],
        found["volatility"],
        found["body"],
        found["attributes"],
        found["usage"],
        found["execute"],
    )


def _collation(database: Mapping[str, Any]) -> str:
    """Return a database's collation, its ctype and provider where they say more."""
    provider = {"i": "icu", "b": "builtin"}.get(database.get("datlocprovider", "c"))
    libc = database["datcollate"]
    if database["datctype"] != libc:
        libc += f"/{database['datctype']}"
    if provider is None:
        return str(libc)
    locale = database.get("datlocale") or database.get("daticulocale")
    rules = " with rules" if database.get("daticurules") else ""
    return f"{locale} ({provider}){rules}"
