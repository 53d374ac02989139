"""What a router asks its home database: RUN ON, CLUSTER, CONNECT and DEFAULT.

Each question is told by its SQL, and is known to a test by the expression's own text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plproxy_py.function import HomeDefault, ProxyFunction
from plproxy_py.language.body import Expression
from plproxy_py.pgtypes import PgType
from plproxy_py.query import RemoteQuery
from plproxy_py.tagging import RunHash, RunHome

COLUMN = "value"


@dataclass(frozen=True, slots=True)
class Question:
    """``text`` of an expression, and the types of what is sent for it.

    ``split``: how many parameters, the first ones, are arrays of which each element
    is asked about, None where it is asked once.
    """

    text: str
    types: Sequence[PgType]
    split: int | None = None

    def rows(self, value: Any, args: Sequence[Any]) -> list[Mapping[str, Any]]:
        """Return the rows for the scripted ``value``, or what a callable gives."""
        if self.split is None:
            return [{COLUMN: item} for item in _several(value, args)]
        arrays, others = args[: self.split], args[self.split :]
        return [
            {"number": number, "place": place, COLUMN: item}
            for number, elements in enumerate(zip(*arrays, strict=True), 1)
            for place, item in enumerate(_several(value, [*elements, *others]), 1)
        ]


def _several(value: Any, args: Sequence[Any]) -> list[Any]:
    found = value(*args) if callable(value) else value
    return list(found) if isinstance(found, (list, tuple)) else [found]


def question(sql: bytes, functions: Iterable[ProxyFunction]) -> Question | None:
    """Return which expression a statement asks about, None if none of a function's."""
    for function in functions:
        for query, text, split in _queries(function):
            if query.sql == sql:
                inputs = function.signature.inputs
                types = [inputs[index].type for index in query.feeds]
                return Question(text, types, split)
    return None


def normal(text: str) -> str:
    """Return an expression as it is compared: blanks don't count."""
    return re.sub(r"\s+", "", text)


def _queries(
    function: ProxyFunction,
) -> Iterator[tuple[RemoteQuery, str, int | None]]:
    """Yield what may be asked for a function."""
    body, run_on = function.body, function.run_on
    asked = run_on.at_home if isinstance(run_on, RunHash) else run_on
    if isinstance(asked, RunHome) and isinstance(body.run_on, Expression):
        text = _text(function, body.run_on)
        yield asked.query, text, None
        if asked.split_query is not None:
            yield asked.split_query, text, len(function.split or ())
    for query, written in (
        (function.cluster, body.cluster),
        (function.connect, body.connect),
    ):
        if isinstance(query, RemoteQuery) and isinstance(written, Expression):
            yield query, _text(function, written), None
    for index, default in function.defaults.items():
        if isinstance(default, HomeDefault):
            text = function.signature.inputs[index].default or ""
            yield RemoteQuery(default.sql.encode(), ()), normal(text), None


def _text(function: ProxyFunction, expression: Expression) -> str:
    names = [
        argument.name or f"${number}"
        for number, argument in enumerate(function.signature.inputs, 1)
    ]
    return normal(expression.sql(lambda index: names[index]))
