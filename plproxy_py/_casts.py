"""What PostgreSQL casts by itself, and closures that compute as it does.

Knows pg_cast's rows as far as a value stays the same on every session, and that a
strict function gives NULL for NULL. What is not in these tables is not computed here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from plproxy_py._hash_many import HashMany
from plproxy_py._record import record
from plproxy_py.errors import RoutingError
from plproxy_py.hashing import KnownHash
from plproxy_py.pgtypes import PgType

Cast = Callable[[Any], Any]


@record
class Computed:
    """A compiled expression: its SQL type, None where only Python knows it.

    ``value``: normal forms of the arguments → a value, None for NULL. ``doubtful``: it
    calls what not every server has, so that the name may mean somebody's own function.
    ``argument``: the index of the argument that it is. ``by``: what hashes many of an
    argument at once, and the index of that, where it is such a hash.
    """

    type: str | None
    value: Callable[[Sequence[Any]], Any]
    doubtful: bool = False
    argument: int | None = None
    by: tuple[HashMany, int] | None = None


def same(value: Any) -> Any:
    """Return the value: the cast between types of one form."""
    return value


def _typed(value: Any) -> Any:
    # 'infinity', or an interval's text, which only a server can read.
    if isinstance(value, str):
        raise RoutingError(
            "a text in place of a date, time or interval can't be hashed here; pass "
            "the Python value"
        )
    return value


def _read_json(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def _read_json_array(items: Sequence[str | None]) -> list[Any]:
    return [None if item is None else json.loads(item) for item in items]


TEXT_CASTS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "varchar": str,
    "bpchar": lambda value: value.rstrip(" "),
    "int2": str,
    "int4": str,
    "int8": str,
    "uuid": str,
    "unknown": str,
}

_IMPLICIT: dict[str, dict[str, Cast]] = {
    "text": {
        "text": same,
        "varchar": same,
        "bpchar": lambda value: value.rstrip(" "),
        "name": same,
        '"char"': same,
        "unknown": same,
    },
    "bpchar": {"bpchar": same, "text": same, "varchar": same},
    "name": {"name": same},
    "char": {'"char"': same},
    "int2": {"int2": same},
    "int4": {"int2": same, "int4": same},
    "int8": {"int2": same, "int4": same, "int8": same},
    "numeric": {
        "numeric": same,
        "int2": Decimal,
        "int4": Decimal,
        "int8": Decimal,
    },
    "timestamp": {
        "timestamp": _typed,
        "date": lambda value: datetime.combine(_typed(value), time()),
    },
    "timestamptz": {"timestamptz": _typed},
    "date": {"date": _typed},
    "interval": {"interval": _typed},
    "jsonb": {"jsonb": _read_json},
}

# A Python function takes a JSON value, not its text.
_PYTHON: dict[str, Cast] = {
    "json": json.loads,
    "jsonb": json.loads,
    "json[]": _read_json_array,
    "jsonb[]": _read_json_array,
}


def implicit_casts(known: KnownHash, types: Sequence[str | None]) -> list[Cast] | None:
    """Return the casts under which the function takes these types, None if it can't."""
    if len(types) != len(known.parameters):
        return None
    casts = []
    for parameter, type in zip(known.parameters, types, strict=True):
        # A type that stands in no row of the table fits itself alone.
        cast = _IMPLICIT.get(parameter, {parameter: same}).get(type or "")
        if cast is None:
            return None
        casts.append(cast)
    return casts


def argument(index: int, type: PgType) -> Computed:
    """Return the expression that is an argument."""
    return Computed(type.cast, lambda args: args[index], argument=index)


def applied(
    function: Callable[..., Any], arguments: Sequence[Computed]
) -> Callable[[Sequence[Any]], Any]:
    """Return a closure that calls a Python function, also with None.

    It takes normal forms, but for json and jsonb what their text says.
    """
    values = [
        argument.value
        if argument.type not in _PYTHON
        else strict(_PYTHON[argument.type], (same,), [argument])
        for argument in arguments
    ]
    if len(values) == 1:
        (only,) = values
        return lambda args: function(only(args))
    return lambda args: function(*[value(args) for value in values])


def strict(
    function: Callable[..., Any], casts: Sequence[Cast], arguments: Sequence[Computed]
) -> Callable[[Sequence[Any]], Any]:
    """Return a closure that gives None where any argument is None."""
    values = [argument.value for argument in arguments]
    index = arguments[0].argument if list(casts) == [same] else None
    if index is not None and arguments[0].type not in _PYTHON:
        # The commonest hash, of an argument as it is.
        def plain(args: Sequence[Any]) -> Any:
            value = args[index]
            return None if value is None else function(value)

        return plain
    if len(values) == 1:
        (only,), (cast,) = values, casts

        def single(args: Sequence[Any]) -> Any:
            value = only(args)
            if value is None:
                return None
            try:
                return function(value if cast is same else cast(value))
            except RecursionError:
                raise RoutingError("JSON nested too deep to be read here") from None

        return single

    def several(args: Sequence[Any]) -> Any:
        given = [value(args) for value in values]
        if any(item is None for item in given):
            return None
        try:
            return function(*[cast(it) for cast, it in zip(casts, given, strict=True)])
        except RecursionError:
            raise RoutingError("JSON nested too deep to be read here") from None

    return several


def checked(symbol: str, limit: int, type: str) -> Callable[[int, int], int]:
    """Return an integer operator whose result must stay below ``limit`` in size."""
    operation = _OPERATIONS[symbol]

    def compute(a: int, b: int) -> int:
        result = operation(a, b)
        if not -limit <= result < limit:
            raise RoutingError(f"{type} out of range", sqlstate="22003")
        return result

    return compute


def _remainder(a: int, b: int) -> int:
    if b == 0:
        raise RoutingError("division by zero", sqlstate="22012")
    # The sign of the dividend, as in C; Python's % takes the divisor's.
    return int(math.copysign(1, a)) * (abs(a) % abs(b))


_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "&": int.__and__,
    "+": int.__add__,
    "-": int.__sub__,
    "%": _remainder,
}
