"""What a source asks the home database, as values that whoever has a connection sends.

A `Question` is one statement and the function that reads its rows. What `read` returns
is the answer, or the next question on the way to it:

    step = cluster_question("userdb")
    while isinstance(step, Question):
        step = step.read(rows_of(step.sql, step.params))

Each answer is one row with one text, a JSON document, so that no adapter that a user
registers can change how it is read. Knows no connection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Question(Generic[T_co]):
    """One statement with text parameters, and what its rows mean.

    ``read`` takes the rows, whose values are Python's, and returns the answer or the
    next question. It raises what the source says.
    """

    sql: bytes
    params: tuple[bytes | None, ...]
    read: Callable[[Sequence[Sequence[Any]]], Question[T_co] | T_co]


def document(rows: Sequence[Sequence[Any]]) -> Any:
    """Return the JSON document that is the only value of the only row."""
    ((text,),) = rows
    return json.loads(text)
