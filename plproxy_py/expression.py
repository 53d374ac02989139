"""RUN ON and CLUSTER expressions that can be computed here.

Three ways lead from `f(args)` to a value: a Python function registered under that
name, a hash function of PostgreSQL's re-stated in `hashing`, or the database. This
file knows the first two, and around them a small closed set of SQL: arguments,
literals, parentheses, `::text` of text, integers and uuid, integer `& % + -`. What
PostgreSQL would not resolve to that very function for the declared types is not
computed here: `hashtext(5)` does not exist.

An expression is compiled once, to a closure over the arguments' normal forms.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from plproxy_py.errors import RoutingError, UnsupportedError
from plproxy_py.hashing import KNOWN, KnownHash
from plproxy_py.language.body import Expression, Reference
from plproxy_py.pgtypes import PgType

HashFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Computed:
    """A compiled expression: its SQL type, None where only Python knows it."""

    type: str | None
    value: Callable[[Sequence[Any]], Any]


def compile_expression(
    expression: Expression,
    types: Sequence[PgType],
    registered: Mapping[str, HashFunction],
) -> Computed:
    """Compile an expression over arguments of these types.

    Raise `UnsupportedError` with the expression's line where it is more than can be
    computed here.
    """
    return _Compiler(expression, types, registered).compile()


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<name>[A-Za-z_\x80-\U0010ffff][\w.]*)
      | (?P<number>[0-9]+(?![\w.]))
      | (?P<string>'(?:[^']|'')*')
      | (?P<symbol>::|[(),&%+-])
    )""",
    re.VERBOSE,
)

_INT_TYPES = ("int2", "int4", "int8")
_INT_LIMIT = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
_TEXT_CASTS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "varchar": str,
    "bpchar": lambda value: value.rstrip(" "),
    "int2": str,
    "int4": str,
    "int8": str,
    "uuid": str,
}


def _same(value: Any) -> Any:
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, str):
        raise RoutingError(f"{value} can't be hashed here")
    return value


# What PostgreSQL casts by itself when it looks for a function: pg_cast's implicit
# rows, as far as the value stays the same on every session.
_IMPLICIT: dict[str, dict[str, Callable[[Any], Any]]] = {
    "text": {
        "text": _same,
        "varchar": _same,
        "bpchar": lambda value: value.rstrip(" "),
        "name": _same,
        '"char"': _same,
        "unknown": _same,
    },
    "bpchar": {"bpchar": _same, "text": _same, "varchar": _same},
    "name": {"name": _same},
    "char": {'"char"': _same},
    "int2": {"int2": _same},
    "int4": {"int2": _same, "int4": _same},
    "int8": {"int2": _same, "int4": _same, "int8": _same},
    "numeric": {
        "numeric": _same,
        "int2": Decimal,
        "int4": Decimal,
        "int8": Decimal,
    },
    "timestamp": {
        "timestamp": _finite,
        "date": lambda value: datetime.combine(_finite(value), time()),
    },
    "timestamptz": {"timestamptz": _finite},
    "date": {"date": _finite},
    "interval": {"interval": _finite},
    "jsonb": {"jsonb": lambda value: json.loads(value, parse_float=Decimal)},
}


class _Compiler:
    """Recursive descent over the expression's tokens, PostgreSQL's precedence."""

    def __init__(
        self,
        expression: Expression,
        types: Sequence[PgType],
        registered: Mapping[str, HashFunction],
    ) -> None:
        self.line = expression.line
        self.text = expression.sql(lambda index: f"${index + 1}")
        self.types = types
        self.registered = registered
        self.tokens = list(self._scan(expression.parts))
        self.next = 0

    def compile(self) -> Computed:
        computed = self._and()
        if self.next != len(self.tokens):
            raise self._unsupported()
        return computed

    def _unsupported(self, reason: str = "") -> UnsupportedError:
        return UnsupportedError(
            f"{self.text.strip()} can't be computed here{reason and ': ' + reason}; "
            "register a Python function of that name (hashes=), or name the database "
            "that has it (home=)",
            line=self.line,
            token=self.text.strip(),
        )

    def _scan(
        self, parts: Iterable[str | Reference]
    ) -> Iterable[tuple[str, str | int]]:
        for part in parts:
            if isinstance(part, Reference):
                yield "argument", part.index
                continue
            part = part.rstrip()
            end = 0
            while end < len(part):
                match = _TOKEN.match(part, end)
                if match is None or match.lastgroup is None:
                    raise self._unsupported()
                yield match.lastgroup, match[match.lastgroup]
                end = match.end()

    def _peek(self) -> tuple[str, str | int]:
        return self.tokens[self.next] if self.next < len(self.tokens) else ("end", "")

    def _take(self, symbol: str) -> bool:
        found = self._peek() == ("symbol", symbol)
        self.next += found
        return found

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            raise self._unsupported()

    def _and(self) -> Computed:
        left = self._sum()
        while self._take("&"):
            left = self._operator("&", left, self._sum())
        return left

    def _sum(self) -> Computed:
        left = self._remainder()
        while (symbol := self._peek()[1]) in ("+", "-") and self._take(str(symbol)):
            left = self._operator(str(symbol), left, self._remainder())
        return left

    def _remainder(self) -> Computed:
        left = self._sign()
        while self._take("%"):
            left = self._operator("%", left, self._sign())
        return left

    def _sign(self) -> Computed:
        if not self._take("-"):
            return self._cast()
        zero = Computed("int2", lambda args: 0)
        return self._operator("-", zero, self._sign())

    def _cast(self) -> Computed:
        operand = self._primary()
        while self._take("::"):
            kind, name = self._peek()
            to_text = _TEXT_CASTS.get(operand.type or "")
            if kind != "name" or str(name).lower() != "text" or to_text is None:
                raise self._unsupported()
            self.next += 1
            operand = Computed("text", _strict(to_text, (_same,), [operand]))
        return operand

    def _primary(self) -> Computed:
        kind, token = self._peek()
        self.next += 1
        if kind == "argument":
            index = int(token)
            return Computed(self.types[index].cast, lambda args: args[index])
        if kind == "number":
            number = int(token)
            for type in ("int4", "int8"):
                if number < _INT_LIMIT[type]:
                    return Computed(type, lambda args: number)
        if kind == "string":
            text = str(token)[1:-1].replace("''", "'")
            return Computed("unknown", lambda args: text)
        if (kind, token) == ("symbol", "("):
            inner = self._and()
            self._expect(")")
            return inner
        if kind == "name" and self._take("("):
            return self._call(str(token).lower())
        raise self._unsupported()

    def _call(self, name: str) -> Computed:
        arguments: list[Computed] = []
        if not self._take(")"):
            arguments.append(self._and())
            while self._take(","):
                arguments.append(self._and())
            self._expect(")")
        if name in self.registered:
            return Computed(None, _applied(self.registered[name], arguments))
        known = KNOWN.get(name.removeprefix("pg_catalog."))
        if known is None:
            raise self._unsupported(f"no function {name} is known")
        types = [argument.type for argument in arguments]
        for candidate in known:
            casts = _casts(candidate, types)
            if casts is not None:
                return Computed(
                    candidate.returns, _strict(candidate.call, casts, arguments)
                )
        given = ", ".join(type or "?" for type in types)
        raise self._unsupported(f"PostgreSQL has no function {name}({given})")

    def _operator(self, symbol: str, left: Computed, right: Computed) -> Computed:
        ranks = [
            _INT_TYPES.index(side.type) if side.type in _INT_TYPES else -1
            for side in (left, right)
        ]
        if min(ranks) < 0:
            raise self._unsupported(f"{symbol} works on integers only")
        type = _INT_TYPES[max(ranks)]
        operation = _OPERATIONS[symbol]
        limit = _INT_LIMIT[type]

        def compute(a: int, b: int) -> int:
            result = operation(a, b)
            if not -limit <= result < limit:
                raise RoutingError(f"{type} out of range", sqlstate="22003")
            return result

        return Computed(type, _strict(compute, (_same, _same), (left, right)))


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


def _casts(
    known: KnownHash, types: Sequence[str | None]
) -> list[Callable[[Any], Any]] | None:
    if len(types) != len(known.parameters):
        return None
    casts = []
    for parameter, type in zip(known.parameters, types, strict=True):
        # A type that stands in no row of the table fits itself alone.
        cast = _IMPLICIT.get(parameter, {parameter: _same}).get(type or "")
        if cast is None:
            return None
        casts.append(cast)
    return casts


def _applied(
    function: HashFunction, arguments: Sequence[Computed]
) -> Callable[[Sequence[Any]], Any]:
    values = [argument.value for argument in arguments]
    if len(values) == 1:
        (only,) = values
        return lambda args: function(only(args))
    return lambda args: function(*[value(args) for value in values])


def _strict(
    function: HashFunction,
    casts: Sequence[Callable[[Any], Any]],
    arguments: Sequence[Computed],
) -> Callable[[Sequence[Any]], Any]:
    """Return a closure that gives None where any argument is None."""
    values = [argument.value for argument in arguments]
    if len(values) == 1 and casts[0] is _same:
        (only,) = values

        def single(args: Sequence[Any]) -> Any:
            value = only(args)
            return None if value is None else function(value)

        return single

    def several(args: Sequence[Any]) -> Any:
        given = [value(args) for value in values]
        if any(item is None for item in given):
            return None
        return function(*[cast(item) for cast, item in zip(casts, given, strict=True)])

    return several
