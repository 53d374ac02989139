"""Functions from the home database's catalog.

Interface: `functions_question` asks, in one statement, for every LANGUAGE plproxy
function; the answer is a `Reflection`, whose ``check`` is the one cheap question that
tells whether functions, their types and the tables they return are the same still:

    reflection = ask(functions_question())      # Reflection
    reflection.functions                        # for parse_body and compile_function
    reflection.errors                           # what can't be used, one error for each
    ask(reflection.check)                       # bool

Knows no connection, and no more of a body than its text. Modifiers (``varchar(10)``)
are left out, as PL/Proxy does: the catalog keeps none for arguments and results, and
those of a table's columns would cut what a partition answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plproxy_py.errors import DeclarationError, SignatureError, placed
from plproxy_py.pgtypes import PgType, parse_type, quote_identifier
from plproxy_py.signature import Argument, Columns, Mode, Signature
from plproxy_py.sources.question import Question, document

_MODES = {"i": Mode.IN, "o": Mode.OUT, "b": Mode.INOUT, "t": Mode.TABLE}

# The functions, the columns of the composites that they return, and each type that
# these name. Renaming an array's element renames the array, so elements don't count.
_USED = """
WITH found AS MATERIALIZED (
    SELECT p.oid, p.xmin AS changed, p.pronamespace, p.prorettype,
           coalesce(p.proallargtypes, p.proargtypes::oid[]) AS types
      FROM pg_catalog.pg_proc p
     WHERE p.prolang = (SELECT oid FROM pg_catalog.pg_language
                         WHERE lanname = 'plproxy')),
columns AS MATERIALIZED (
    SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.attisdropped,
           a.xmin AS changed
      FROM (SELECT DISTINCT prorettype FROM found) AS f
      JOIN pg_catalog.pg_type t ON t.oid = f.prorettype
      JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid
     WHERE t.typrelid <> 0 AND a.attnum > 0),
used AS MATERIALIZED (
    SELECT t.*, t.xmin AS changed
      FROM pg_catalog.pg_type t
     WHERE t.oid = ANY (ARRAY(
            SELECT unnest(types) FROM found
            UNION SELECT prorettype FROM found
            UNION SELECT atttypid FROM columns WHERE NOT attisdropped)))"""

# xmin of a catalog's row changes whenever the row does.
_FINGERPRINT = """
md5(concat_ws(' ',
    (SELECT string_agg(concat_ws('/', oid, changed), ' ' ORDER BY oid) FROM found),
    (SELECT string_agg(concat_ws('/', attrelid, changed), ' '
                       ORDER BY attrelid, attnum) FROM columns),
    (SELECT string_agg(concat_ws('/', oid, changed), ' ' ORDER BY oid) FROM used),
    (SELECT string_agg(concat_ws('/', oid, xmin), ' ' ORDER BY oid)
       FROM pg_catalog.pg_namespace
      WHERE oid IN (SELECT pronamespace FROM found
                    UNION SELECT typnamespace FROM used))))"""

_FUNCTIONS = f"""{_USED}
SELECT jsonb_build_object(
    'fingerprint', {_FINGERPRINT},
    'functions', (
        SELECT jsonb_agg(jsonb_build_object(
                   'schema', n.nspname,
                   'name', p.proname,
                   'kind', p.prokind,
                   'names', p.proargnames,
                   'modes', p.proargmodes,
                   'types', f.types,
                   'defaults', ARRAY(
                       SELECT pg_get_function_arg_default(p.oid, i)
                         FROM generate_series(1, cardinality(f.types)) AS i
                        WHERE p.pronargdefaults > 0),
                   'setof', p.proretset,
                   'returns', p.prorettype,
                   'volatile', p.provolatile = 'v',
                   'strict', p.proisstrict,
                   'definer', p.prosecdef,
                   'body', p.prosrc)
               ORDER BY n.nspname, p.proname, p.oid)
          FROM found f
          JOIN pg_catalog.pg_proc p ON p.oid = f.oid
          JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace),
    'types', (
        SELECT jsonb_object_agg(t.oid, jsonb_build_object(
                   'schema', n.nspname,
                   'name', coalesce(e.typname, t.typname),
                   'array', e.oid IS NOT NULL,
                   'kind', t.typtype,
                   'composite', t.typtype IN ('c', 'd') AND t.typcategory = 'C',
                   'columns', (
                       SELECT jsonb_agg(jsonb_build_array(attname, atttypid)
                                        ORDER BY attnum)
                         FROM columns
                        WHERE attrelid = t.typrelid AND NOT attisdropped)))
          FROM used t
          LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
          JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(
                e.typnamespace, t.typnamespace)))::text""".encode()

_CHECK = f"{_USED} SELECT {_FINGERPRINT}".encode()


@dataclass(frozen=True, slots=True)
class Reflected:
    """One function as the catalog has it.

    ``columns`` are the live ones of a composite or table that is returned, for
    ``signature.shape(columns)``; () otherwise.
    """

    signature: Signature
    body: str
    columns: Columns = ()
    strict: bool = False
    security_definer: bool = False
    procedure: bool = False


@dataclass(frozen=True, slots=True)
class Reflection:
    """All functions of the language, by schema and name; what can't be used beside.

    Each error names its function in ``.function``. ``check`` answers True while
    nothing has changed: functions, types, or the columns of a table that is returned.
    """

    functions: tuple[Reflected, ...]
    errors: tuple[DeclarationError, ...]
    check: Question[bool] = field(repr=False, compare=False)


def functions_question() -> Question[Reflection]:
    """Return the question for all LANGUAGE plproxy functions; it raises nothing."""
    return Question(_FUNCTIONS, (), _read)


def _read(rows: Sequence[Sequence[Any]]) -> Reflection:
    found = document(rows)
    types = _Types(found["types"] or {})
    functions: list[Reflected] = []
    errors: list[DeclarationError] = []
    for row in found["functions"] or ():
        try:
            functions.append(_reflect(row, types))
        except DeclarationError as error:
            errors.append(error)
    fingerprint = found["fingerprint"]
    check = Question(_CHECK, (), lambda rows: bool(rows[0][0] == fingerprint))
    return Reflection(tuple(functions), tuple(errors), check)


class _Types:
    """The types that functions name, by oid."""

    def __init__(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self._rows = rows

    def usable(self, oid: int) -> PgType:
        """Return a type of arguments and columns. Raise `SignatureError`."""
        row = self._rows[str(oid)]
        # Through the parser, so that it is written as a declared one is.
        path = [part.replace('"', '""') for part in (row["schema"], row["name"])]
        brackets = "[]" if row["array"] else ""
        found = parse_type(f'"{path[0]}"."{path[1]}"{brackets}')
        if row["kind"] == "m":
            # By kind, since a user's own have any name.
            reason = f"unsupported type code: {found.cast}"
            raise SignatureError(reason, token=found.cast)
        return found

    def result(self, oid: int) -> tuple[PgType, Columns]:
        """Return a result's type and live columns. Raise `SignatureError`."""
        found = self.usable(oid)
        row = self._rows[str(oid)]
        columns = row["columns"] or ()
        if row["composite"] and not columns:
            # A domain over a composite type, or a table without a column.
            raise SignatureError(f"unsupported type: {found.cast}", token=found.cast)
        return found, tuple((name, self.usable(type)) for name, type in columns)


def _reflect(row: Mapping[str, Any], types: _Types) -> Reflected:
    """Return a function. Raise `SignatureError` for what PL/Proxy does not call."""
    schema, name = row["schema"], row["name"]
    modes = row["modes"] or ["i"] * len(row["types"])
    try:
        if "v" in modes:
            raise SignatureError("PL/Proxy does not support VARIADIC arguments")
        if not row["volatile"]:
            raise SignatureError("PL/Proxy functions must be volatile")
        arguments = tuple(
            Argument(name or None, types.usable(oid), _MODES[mode], default)
            for name, oid, mode, default in zip(
                row["names"] or [None] * len(modes),
                row["types"],
                modes,
                row["defaults"] or [None] * len(modes),
                strict=True,
            )
        )
        result, columns = types.result(row["returns"])
    except SignatureError as error:
        inputs = len(modes) - modes.count("o") - modes.count("t")
        label = f"{quote_identifier(schema)}.{quote_identifier(name)}({inputs})"
        raise placed(error, label, "PL/Proxy function ") from None
    if columns:
        # An only OUT argument of a composite type is that type to PL/Proxy.
        arguments = tuple(
            dataclasses.replace(argument, mode=Mode.IN)
            for argument in arguments
            if argument.is_input
        )
    outputs = any(argument.mode is not Mode.IN for argument in arguments)
    return Reflected(
        Signature(schema, name, arguments, None if outputs else result, row["setof"]),
        row["body"],
        columns,
        row["strict"],
        row["definer"],
        row["kind"] == "p",
    )
