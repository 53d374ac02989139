"""Type names: from any SQL spelling to the one that casts are written with.

Knows PostgreSQL's grammar of types, the names in pg_catalog, and when an identifier
needs quotes. Knows no values and no catalog: a name that is not built in is taken as
written, be it a domain, an enum or a table. Source: PostgreSQL parser/gram.y,
``SimpleTypename``; utils/adt/ruleutils.c, ``quote_identifier``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from plproxy_py.errors import SignatureError
from plproxy_py.language.sqltokens import (
    COLUMN_NAME,
    RESERVED,
    TYPE_OR_FUNCTION,
    Cursor,
    Kind,
    shorten,
    tokenize,
    words,
)

PSEUDO_TYPES = words(
    """
    any anyarray anycompatible anycompatiblearray anycompatiblemultirange
    anycompatiblenonarray anycompatiblerange anyelement anyenum anymultirange
    anynonarray anyrange cstring event_trigger fdw_handler index_am_handler internal
    language_handler opaque pg_ddl_command record table_am_handler trigger tsm_handler
    unknown void
    """
)
MULTIRANGE_TYPES = words(
    """
    datemultirange int4multirange int8multirange nummultirange tsmultirange
    tstzmultirange
    """
)
BUILTIN_TYPES = (
    PSEUDO_TYPES
    | MULTIRANGE_TYPES
    | words(
        """
        aclitem bit bool box bpchar bytea char cid cidr circle date daterange float4
        float8 gtsvector inet int2 int2vector int4 int4range int8 int8range interval
        json jsonb jsonpath line lseg macaddr macaddr8 money name numeric numrange oid
        oidvector path pg_brin_bloom_summary pg_brin_minmax_multi_summary
        pg_dependencies pg_lsn pg_mcv_list pg_ndistinct pg_node_tree pg_snapshot point
        polygon refcursor regclass regcollation regconfig regdictionary regnamespace
        regoper regoperator regproc regprocedure regrole regtype text tid time timestamp
        timestamptz timetz tsquery tsrange tstzrange tsvector txid_snapshot uuid varbit
        varchar xid xid8 xml
        """
    )
)

# Bare, these are other types, or none.
_QUOTED_TYPES = ("any", "bit", "char")
_SHORT = {
    *("bool", "int2", "int4", "int8", "oid", "float4", "float8", "uuid", "interval"),
    *("date", "time", "timetz", "timestamp", "timestamptz"),
}
_PLAIN_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
_QUOTED_KEYWORDS = RESERVED | COLUMN_NAME | TYPE_OR_FUNCTION
# Spellings of one word that are no names in pg_catalog.
_KEYWORD_TYPES = {
    "bigint": "int8",
    "boolean": "bool",
    "dec": "numeric",
    "decimal": "numeric",
    "int": "int4",
    "integer": "int4",
    "numeric": "numeric",
    "real": "float4",
    "smallint": "int2",
    "varchar": "varchar",
}
_SERIAL = {f"{size}serial" for size in ("", "big", "small")} | {
    f"serial{size}" for size in (2, 4, 8)
}
# What modifiers a type takes and their limits; types not named here take none. The
# servers themselves cut the precision of times down to 6.
_LIMITS = {
    "bit": ((1, 83886080),),
    "bpchar": ((1, 10485760),),
    "float": ((1, 53),),
    "interval": ((0, 999),),
    "numeric": ((1, 1000), (-1000, 1000)),
    "time": ((0, 999),),
    "timestamp": ((0, 999),),
    "timestamptz": ((0, 999),),
    "timetz": ((0, 999),),
    "varbit": ((1, 83886080),),
    "varchar": ((1, 10485760),),
}
_INTERVAL_FIELDS = {
    "year": ("month",),
    "month": (),
    "day": ("hour", "minute", "second"),
    "hour": ("minute", "second"),
    "minute": ("second",),
    "second": (),
}


def quote_identifier(name: str) -> str:
    """Return ``name`` with quotes if SQL needs them, as quote_ident() does.

    Every keyword that is not "unreserved" in PostgreSQL 18 is quoted, also those
    that older servers leave bare: quotes never change what a name means.
    """
    if _PLAIN_IDENTIFIER.fullmatch(name) and name not in _QUOTED_KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class PgType:
    """A type as declared; equal however it was spelled.

    ``name`` is ready to stand in SQL: built-in types in pg_type's own form without a
    schema (``int4``, ``varchar``; ``"char"`` and ``"bit"`` keep their quotes, since
    the bare words mean other types), all others quoted where needed and qualified as
    written. ``modifiers`` is ``(20,10)``, `` day to second(3)`` and the like, or "".
    """

    name: str
    modifiers: str = ""
    is_array: bool = False

    @property
    def cast(self) -> str:
        """The type without modifiers: what an argument is cast to."""
        return f"{self.name}[]" if self.is_array else self.name

    @property
    def declared(self) -> str:
        """The type with its modifiers: what a result column is cast to."""
        return f"{self.name}{self.modifiers}{'[]' if self.is_array else ''}"

    @property
    def element(self) -> PgType:
        """The type of an array's elements. Raise `ValueError` if it is no array."""
        if not self.is_array:
            raise ValueError(f"{self} is not an array type")
        return PgType(self.name, self.modifiers)

    @property
    def is_builtin(self) -> bool:
        """Tell whether the type, or that of the elements, is one of pg_catalog's."""
        return self.name.strip('"') in BUILTIN_TYPES

    @property
    def is_short(self) -> bool:
        """Tell whether no value of the type has more than some 50 bytes as text."""
        return not self.is_array and self.name in _SHORT

    def __str__(self) -> str:
        return self.declared


def parse_type(text: str) -> PgType:
    """Return the type that ``text`` spells in SQL.

    Raise `SignatureError` if it spells none, or one that only a server can resolve
    (``%TYPE``) or that is no type of arguments (``serial``).
    """
    cursor = tokenize(text, SignatureError, f"type {shorten(text)!r}: ")
    found = read_type(cursor)
    cursor.end()
    return found


def read_type(cursor: Cursor) -> PgType:
    """Take a type; stop at the first token that is no part of it."""
    start = cursor.peek()
    element = _read_element(cursor)
    if not _accept_bounds(cursor):
        return element
    if element.is_array:
        cursor.refuse("the name of an array type takes no bounds", start)
    return PgType(element.name, element.modifiers, is_array=True)


def _accept_bounds(cursor: Cursor) -> bool:
    if cursor.accept("array"):
        if cursor.accept("["):
            _read_bound(cursor)
        return True
    bounded = False
    while cursor.accept("["):
        bounded = True
        if not cursor.accept("]"):
            _read_bound(cursor)
    return bounded


def _read_bound(cursor: Cursor) -> None:
    token = cursor.peek()
    if token.kind is not Kind.NUMBER or not token.text.isdecimal():
        cursor.fail()
    cursor.take()
    cursor.expect("]")


def _read_element(cursor: Cursor) -> PgType:
    word = cursor.peek().key
    if cursor.accept("double", "precision"):
        return PgType("float8")
    if cursor.accept("float"):
        bits = _read_modifiers(cursor, "float")
        return PgType("float4" if bits and int(bits[1:-1]) <= 24 else "float8")
    if cursor.accept("interval"):
        fields = _read_interval_fields(cursor)
        return PgType("interval", fields or _read_modifiers(cursor, "interval"))
    if cursor.accept("time") or cursor.accept("timestamp"):
        modifiers = _read_modifiers(cursor, word)
        if cursor.accept("with", "time", "zone"):
            return PgType(f"{word}tz", modifiers)
        cursor.accept("without", "time", "zone")
        return PgType(word, modifiers)
    if cursor.accept("bit"):
        name = "varbit" if cursor.accept("varying") else "bit"
    elif word in ("char", "character", "national", "nchar"):
        cursor.take()
        if word == "national" and not cursor.accept("char"):
            cursor.expect("character")
        name = "varchar" if cursor.accept("varying") else "bpchar"
    elif word in _KEYWORD_TYPES:
        cursor.take()
        name = _KEYWORD_TYPES[word]
    else:
        return _read_named(cursor)
    return PgType(_in_sql(name), _read_modifiers(cursor, name))


def _read_named(cursor: Cursor) -> PgType:
    start = cursor.peek()
    if start.key in _SERIAL:
        cursor.refuse(
            f"{start.key} is no type but a column's default: write int4 or int8"
        )
    path = [cursor.name()]
    while cursor.accept("."):
        path.append(cursor.label())
    if cursor.at("%"):
        cursor.refuse("%TYPE needs a catalog: write the type itself", start)
    if len(path) > 2:
        cursor.refuse("a type's name has two parts at most", start)
    known = _find_builtin(path[-1])
    if known is None or path[:-1] not in ([], ["pg_catalog"]):
        name = ".".join(map(quote_identifier, path))
        return PgType(name, _read_modifiers(cursor, None))
    name, is_array = known
    return PgType(_in_sql(name), _read_modifiers(cursor, name), is_array)


def _find_builtin(name: str) -> tuple[str, bool] | None:
    if name in BUILTIN_TYPES:
        return name, False
    if name.startswith("_") and name[1:] in BUILTIN_TYPES:
        return name[1:], True
    return None


def _in_sql(builtin: str) -> str:
    return f'"{builtin}"' if builtin in _QUOTED_TYPES else builtin


def _read_interval_fields(cursor: Cursor) -> str:
    first = cursor.peek().key
    if first not in _INTERVAL_FIELDS:
        return ""
    cursor.take()
    last = first
    if cursor.accept("to"):
        last = cursor.peek().key
        if last not in _INTERVAL_FIELDS[first]:
            cursor.fail()
        cursor.take()
    fields = first if last == first else f"{first} to {last}"
    precision = _read_modifiers(cursor, "interval") if last == "second" else ""
    return f" {fields}{precision}"


def _read_modifiers(cursor: Cursor, builtin: str | None) -> str:
    start = cursor.peek()
    if not cursor.accept("("):
        return ""
    items = [cursor.constant()]
    while not cursor.accept(")"):
        cursor.expect(",")
        items.append(cursor.constant())
    if builtin is not None:
        limits = _LIMITS.get(builtin, ())
        if len(items) > len(limits) or not all(map(_fits, items, limits)):
            cursor.refuse(f"{builtin} does not take ({','.join(items)})", start)
    return f"({','.join(items)})"


def _fits(modifier: str, limits: tuple[int, int]) -> bool:
    # Nine digits keep int() away from texts that it refuses for their length.
    if not re.fullmatch(r"-?[0-9]{1,9}", modifier):
        return False
    return limits[0] <= int(modifier) <= limits[1]
