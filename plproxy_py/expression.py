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

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from plproxy_py._casts import (
    TEXT_CASTS,
    Computed,
    applied,
    argument,
    checked,
    implicit_casts,
    same,
    strict,
)
from plproxy_py._hash_many import MANY
from plproxy_py.errors import UnsupportedError
from plproxy_py.hashing import KNOWN
from plproxy_py.language.body import Expression, Reference
from plproxy_py.language.sqltokens import shorten
from plproxy_py.pgtypes import PgType

HashFunction = Callable[..., Any]


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


# A hash that anybody wrote has a dozen. With more, closures within closures would
# meet Python's recursion limit, on the day when the caller's own stack is deep.
MOST_TOKENS = 100


# All beyond ASCII is a letter, as in the scanner (there: why it is said by what is
# none): also a blank that SQL doesn't know. A name holds dots.
@cache
def _token() -> re.Pattern[str]:
    return re.compile(
        r"""[ \t\r\n]*(?:
        (?P<name>[^\x00-@\[-^`\x7b-\x7f][^\x00-\-/:-@\[-^`\x7b-\x7f]*)
      | (?P<number>[0-9]{1,19}(?![^\x00-\-/:-@\[-^`\x7b-\x7f]))
      | (?P<string>'(?:[^']|'')*')
      | (?P<symbol>::|[(),&%+-])
    )""",
        re.VERBOSE | re.ASCII,
    )


_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)
_INT_TYPES = ("int2", "int4", "int8")
_INT_LIMIT = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
# mmh3's twin for partitions is installed by sql/mmh3.sql.
_SCHEMAS = {"mmh3": "plproxy"}


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
        self.doubtful = False
        self.tokens = list(self._scan(expression.parts))
        if len(self.tokens) > MOST_TOKENS:
            raise self._unsupported("it is too long")
        self.next = 0

    def compile(self) -> Computed:
        computed = self._and()
        if self.next != len(self.tokens):
            raise self._unsupported()
        return dataclasses.replace(computed, doubtful=self.doubtful)

    def _unsupported(self, reason: str = "") -> UnsupportedError:
        shown = shorten(self.text.strip())
        return UnsupportedError(
            f"{shown} can't be computed here{reason and ': ' + reason}; "
            "register a Python function of that name (hashes=), or name the database "
            "that has it (home=)",
            line=self.line,
            token=shown,
        )

    def _scan(
        self, parts: Iterable[str | Reference]
    ) -> Iterable[tuple[str, str | int]]:
        for part in parts:
            if isinstance(part, Reference):
                yield "argument", part.index
                continue
            part = part.rstrip(" \t\r\n")
            end = 0
            while end < len(part):
                match = _token().match(part, end)
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
            if kind != "name" or _folded(name) != "text":
                raise self._unsupported()
            self.next += 1
            operand = self._as_text(operand)
        return operand

    def _as_text(self, operand: Computed) -> Computed:
        cast = TEXT_CASTS.get(operand.type or "")
        if cast is None:
            raise self._unsupported(f"{operand.type or '?'} as text")
        return Computed("text", strict(cast, (same,), [operand]))

    def _primary(self) -> Computed:
        kind, token = self._peek()
        self.next += 1
        if kind == "argument":
            return argument(int(token), self.types[int(token)])
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
            return self._call(_folded(token))
        raise self._unsupported()

    def _call(self, name: str) -> Computed:
        arguments: list[Computed] = []
        if not self._take(")"):
            arguments.append(self._and())
            while self._take(","):
                arguments.append(self._and())
            self._expect(")")
        if name in self.registered:
            return Computed(None, applied(self.registered[name], arguments))
        if name == "text" and len(arguments) == 1:
            return self._as_text(arguments[0])
        schema, _, bare = name.rpartition(".")
        known = KNOWN.get(bare)
        if known is None or schema not in ("", _SCHEMAS.get(bare, "pg_catalog")):
            raise self._unsupported(f"no function {name} is known")
        types = [argument.type for argument in arguments]
        for candidate in known:
            casts = implicit_casts(candidate, types)
            if casts is not None:
                self.doubtful |= not schema and (
                    candidate.since > 0 or bare in _SCHEMAS
                )
                by = None
                many, index = MANY.get(candidate.call), arguments[0].argument
                if many is not None and index is not None and casts == [same]:
                    by = many, index
                value = strict(candidate.call, casts, arguments)
                return Computed(candidate.returns, value, by=by)
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
        compute = checked(symbol, _INT_LIMIT[type], type)
        return Computed(type, strict(compute, (same, same), (left, right)))


def _folded(name: str | int) -> str:
    # As SQL folds names: the server leaves letters beyond ASCII alone.
    return str(name).translate(_FOLD)
