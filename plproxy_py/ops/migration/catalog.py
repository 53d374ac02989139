"""What the catalog says of a PL/Proxy database: its functions, and who calls them.

The functions are read as `reflect` reads them, with what else a report needs: owner,
rights, SET clauses and the definition's own text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from plproxy_py.errors import ConfigError, DeclarationError
from plproxy_py.ops.migration.home import HomeDatabase
from plproxy_py.pgtypes import quote_identifier
from plproxy_py.sources.functions import Reflected, Reflection, functions_question
from plproxy_py.sources.options import Options, split_option
from plproxy_py.sources.question import document

# Beside what `functions_question` asks of each function.
_MORE = """
                   'oid', p.oid::int8,
                   'owner', pg_get_userbyid(p.proowner),
                   'settings', p.proconfig,
                   'definition', pg_get_functiondef(p.oid),
                   'execute', (
                       SELECT jsonb_agg(DISTINCT CASE a.grantee WHEN 0 THEN ''
                                        ELSE pg_get_userbyid(a.grantee) END)
                         FROM aclexplode(coalesce(p.proacl,
                                  acldefault('f', p.proowner))) AS a
                        WHERE a.privilege_type = 'EXECUTE'),
                   'domains', (
                       SELECT jsonb_agg(DISTINCT t.typname)
                         FROM unnest(p.prorettype || coalesce(p.proallargtypes, '{}'),
                                     '{o}'::"char"[] || p.proargmodes) AS o (type, mode)
                         JOIN pg_catalog.pg_type t ON t.oid = o.type
                        WHERE t.typtype = 'd' AND o.mode IN ('o', 'b', 't')),
                   'kind', p.prokind,"""
_KIND = "'kind', p.prokind,"

# pg_describe_object qualifies names as the path requires.
_DEPENDENTS = """
SELECT DISTINCT d.refobjid::int8, CASE WHEN r.rulename = '_RETURN'
           THEN pg_describe_object('pg_class'::regclass, r.ev_class, 0)
           ELSE pg_describe_object(d.classid, d.objid, 0) END
  FROM pg_depend d
  LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
 WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = ANY ($1::oid[])
   AND d.deptype IN ('n', 'a')
 ORDER BY 2, 1"""

_OTHERS = """
  FROM pg_proc p
  JOIN pg_language l ON l.oid = p.prolang
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE l.lanname NOT IN ('plproxy', 'internal', 'c')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema')"""
_TEXTS = f"""
SELECT pg_describe_object('pg_proc'::regclass, p.oid, 0), l.lanname, p.prosrc,
       ARRAY(SELECT pg_describe_object('pg_trigger'::regclass, t.oid, 0)
               FROM pg_trigger t
              WHERE t.tgfoid = p.oid AND NOT t.tgisinternal ORDER BY 1)
{_OTHERS}
   AND EXISTS (SELECT FROM unnest($1::text[]) AS name
                WHERE strpos(lower(p.prosrc), name) > 0)
 ORDER BY 1"""

_NAMED = """
SELECT n.nspname, p.proname, format('%s.%s(%s)', quote_ident(n.nspname),
           quote_ident(p.proname), pg_get_function_identity_arguments(p.oid)),
       l.lanname, p.provolatile, t.typtype = 'd'
  FROM pg_proc p
  JOIN pg_language l ON l.oid = p.prolang
  JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_type t ON t.oid = p.prorettype
 WHERE p.proname = ANY ($1::text[]) AND n.nspname <> 'pg_catalog'
 ORDER BY 3"""

_SERVERS = """
SELECT s.srvname, coalesce(w.fdwoptions, '{}') || coalesce(s.srvoptions, '{}')
  FROM pg_foreign_server s
  JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
 ORDER BY 1"""

_VOLATILITY = {"i": "IMMUTABLE", "s": "STABLE", "v": "VOLATILE"}


@dataclass(frozen=True, slots=True)
class Found:
    """A function of the language. ``reflected`` is what can be used, or why it can't.

    ``execute``: the roles that may call it, its owner aside; "" is PUBLIC.
    ``domains``: the types of its results that are domains.
    """

    oid: int
    schema: str
    name: str
    reflected: Reflected | DeclarationError
    is_procedure: bool
    is_definer: bool
    owner: str
    execute: tuple[str, ...]
    settings: tuple[str, ...]
    domains: tuple[str, ...]
    definition: str


@dataclass(frozen=True, slots=True)
class Named:
    """A user's function that an expression may mean. ``title``: with types."""

    schema: str
    name: str
    title: str
    language: str
    volatility: str
    is_domain: bool


@dataclass(frozen=True, slots=True)
class Text:
    """The source of a function in another language; ``triggers`` that call it."""

    title: str
    language: str
    source: str
    triggers: tuple[str, ...]


def read_functions(home: HomeDatabase) -> list[Found]:
    """Return all functions of the language. Raise `ConfigError` without PL/Proxy."""
    if not home.rows("SELECT FROM pg_language WHERE lanname = 'plproxy'"):
        raise ConfigError(
            "this database has no language plproxy: name the proxy database, not a "
            "partition",
            sqlstate="42704",
        )
    question = functions_question()
    before, kind, after = question.sql.decode().partition(_KIND)
    assert kind
    found = document(home.rows(before + _MORE + after))
    return [
        _found(row, question.read([(_alone(found, row),)]))
        for row in found["functions"] or ()
    ]


def _alone(found: dict[str, Any], row: dict[str, Any]) -> str:
    """Return the document as if there were one function: its error is its own."""
    return json.dumps({**found, "functions": [row]})


def _found(row: dict[str, Any], reflection: object) -> Found:
    assert isinstance(reflection, Reflection)
    # One function was asked for.
    reflected = next(iter(reflection.functions), None) or reflection.errors[0]
    roles = (role for role in row["execute"] or () if role != row["owner"])
    return Found(
        row["oid"],
        row["schema"],
        row["name"],
        reflected,
        row["kind"] == "p",
        row["definer"],
        row["owner"],
        tuple(roles),
        tuple(row["settings"] or ()),
        tuple(row["domains"] or ()),
        row["definition"],
    )


def title_of(found: Found) -> str:
    """Return ``schema.name(types)``, or without types where these can't be used."""
    if isinstance(found.reflected, Reflected):
        return found.reflected.signature.key
    label = found.reflected.function
    return label or f"{quote_identifier(found.schema)}.{quote_identifier(found.name)}"


def read_dependents(
    home: HomeDatabase, functions: Iterable[Found]
) -> list[tuple[int, str]]:
    """Return what PostgreSQL knows to call functions: oid, and what calls it."""
    oids = [found.oid for found in functions]
    return [(oid, title) for oid, title in home.rows(_DEPENDENTS, oids)]


def read_texts(home: HomeDatabase, names: Iterable[str]) -> tuple[list[Text], int]:
    """Return the functions whose source has one of the names in it, of how many.

    For PostgreSQL such a source is a text: it keeps no dependencies.
    """
    wanted = sorted({name.lower() for name in names})
    texts = [
        Text(title, language, source, tuple(triggers))
        for title, language, source, triggers in home.rows(_TEXTS, wanted)
    ]
    ((count,),) = home.rows(f"SELECT count(*) {_OTHERS}")
    return texts, count


def read_named(home: HomeDatabase, names: Iterable[str]) -> list[Named]:
    """Return all functions of these names that are not PostgreSQL's own."""
    rows = home.rows(_NAMED, sorted(set(names)))
    return [
        Named(schema, name, title, language, _VOLATILITY[volatility], is_domain)
        for schema, name, title, language, volatility, is_domain in rows
    ]


def read_servers(home: HomeDatabase) -> dict[str, Options]:
    """Return the options of foreign servers, behind those of their wrappers."""
    rows: Sequence[tuple[str, Sequence[str]]] = home.rows(_SERVERS)
    return {name: [split_option(option) for option in given] for name, given in rows}
