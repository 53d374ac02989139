"""SQL types as the text of Python hints, and the imports that these need."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from plproxy_py import values
from plproxy_py.pgtypes import PgType
from plproxy_py.signature import Columns
from plproxy_py.stubs.literals import quoted
from plproxy_py.stubs.names import identifier

# Of all other types only their adapters know what they are in Python.
_HINTS = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), "int"),
    **dict.fromkeys(("float4", "float8"), "float"),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", '"char"'), "str"),
    **dict.fromkeys(("time", "timetz"), "time"),
    "bool": "bool",
    "bytea": "bytes",
    "date": "date",
    "interval": "timedelta",
    "numeric": "Decimal",
    "timestamp": "Timestamp",
    "timestamptz": "datetime",
    "uuid": "UUID",
}
_ANY = "Any"

# What a module may import, in the order of its imports.
_MODULES = {
    "builtins": "bool bytes float int list str".split(),
    "dataclasses": ["dataclass"],
    "datetime": "date datetime time timedelta".split(),
    "decimal": ["Decimal"],
    "typing": "TYPE_CHECKING Annotated Any cast".split(),
    "uuid": ["UUID"],
    "plproxy_py": "AsyncRouter Router Row Timestamp".split(),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}
DEFAULT = "DEFAULT"
RESERVED = {*_HOMES, DEFAULT, "NotImplementedError"}


class Hints:
    """Writes hints, and keeps what has to be imported for them.

    ``taken``: names of the module's functions, which no import may hide.
    """

    def __init__(self, taken: Collection[str]) -> None:
        self._taken = frozenset(taken)
        self.used: set[tuple[str, str]] = set()

    def name(self, name: str, hidden: Collection[str] = ()) -> str:
        """Return a name to be used, under which it will be imported.

        ``hidden``: names that mean something else there.
        """
        alias = name
        while alias in hidden or (alias != name and alias in self._taken):
            alias = f"_{name}" if alias == name else f"{alias}_"
        self.used.add((name, alias))
        return alias

    def imports(self) -> str:
        """Return what imports the names that were used."""
        lines: list[str] = []
        for module, names in _MODULES.items():
            if module == "plproxy_py":
                lines.append("")
            used = [name for name in names if (name, name) in self.used]
            if used and module != "builtins":
                lines.append(f"from {module} import {', '.join(used)}")
            lines += [
                f"from {module} import {name} as {alias}"
                for name, alias in sorted(self.used)
                if name in names and name != alias
            ]
        return "\n".join(lines).strip()

    def plain(self, type: PgType, hidden: Collection[str] = ()) -> str:
        """Return the hint of an argument."""
        hint = self.name(_HINTS.get(type.name, _ANY), hidden)
        return f"{self.name('list', hidden)}[{hint}]" if type.is_array else hint

    def nullable(
        self, type: PgType, hidden: Collection[str] = (), *, exact: bool = False
    ) -> str:
        """Return the hint of a column or a value that comes back.

        ``exact``: the hint declares the type, where no text does.
        """
        hint = self.plain(type, hidden)
        if exact:
            annotated = self.name("Annotated", hidden)
            return f"{annotated}[{hint}, {quoted(type.cast)}] | None"
        return hint if _is_any(type) else f"{hint} | None"

    def result(self, type: PgType) -> str:
        """Return the hint of a single value, as the result of a call."""
        # A bare list would be a set of rows.
        return self.nullable(type, exact=type.is_array)

    def default(self, type: PgType, value: Any) -> str | None:
        """Return a constant DEFAULT as Python has it, None where it has none.

        ``value``: as a caller may pass it, a text perhaps.
        """
        codec = values.codec(type)
        if value is None or value in ([], {}):
            return repr(value)
        if type.is_array or type.name in ("json", "jsonb"):
            return None
        normal = value if codec is None else codec.normal(value)
        match normal:
            case float() if not math.isfinite(normal):
                return None
            case int() | float():
                return repr(normal)
            case str() if _HINTS.get(type.name, _ANY) in ("str", _ANY):
                return quoted(normal)
            case bytes():
                return f"{self.name('bytes')}.fromhex({quoted(normal.hex())})"
            case Decimal() | UUID():
                return f"{self.plain(type)}({quoted(str(normal))})"
            case date() | time():
                name = self.name(normal.__class__.__name__)
                return f"{name}.fromisoformat({quoted(normal.isoformat())})"
        return None

    def fields(self, columns: Columns, *, exact: bool) -> list[str]:
        """Return the lines of a class's fields. ``exact``: as `nullable` has it."""
        # Within the class a field's name is the field, to a checker.
        hidden = {name for name, _ in columns}
        return [
            f"{name}: {self.nullable(type, hidden, exact=exact)}"
            for name, type in columns
        ]


def _is_any(type: PgType) -> bool:
    return type.name not in _HINTS and not type.is_array


def is_router_name(name: str) -> bool:
    """Tell whether the module's router can have this name."""
    return name == identifier(name) and name not in RESERVED
