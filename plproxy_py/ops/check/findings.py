"""What a check can find, and how findings are put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from plproxy_py.ops.numbers import spans

T = TypeVar("T", bound=Hashable)

Level = Literal["fault", "advice"]

PROBLEMS: Mapping[str, Level] = {
    "missing": "fault",
    "argument types": "fault",
    "ambiguous": "fault",
    "OUT names": "fault",
    "OUT types": "fault",
    "SETOF": "fault",
    "volatility": "fault",
    "repeatable": "advice",
    "body": "fault",
    "attributes": "fault",
    "EXECUTE": "fault",
    "refused": "fault",
    "expression": "fault",
    "hash": "fault",
    "table rights": "fault",
    "superuser": "advice",
    "unreachable": "fault",
    "not answered": "fault",
    "same target": "fault",
    "server version": "advice",
    "encoding": "fault",
    "collation": "fault",
    "collation version": "fault",
    "TimeZone": "fault",
    "DateStyle": "fault",
    "statement_timeout": "advice",
    "clock": "fault",
    "table": "fault",
}
"""Every kind of problem. Calls go wrong by a fault; advice is for a worse day."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to be mended.

    ``subject``: a function's signature, a table, or what of a partition it is about.
    ``partition`` is None for what is about the home database. ``problem`` is one of
    `PROBLEMS`. ``sqlstate``: PostgreSQL's verdict, where it gave one.
    """

    subject: str
    partition: int | None
    problem: str
    reason: str
    remedy: str
    sqlstate: str | None = None
    level: Level = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", PROBLEMS[self.problem])


def majority(values: Mapping[int, T]) -> T:
    """Return the value that most partitions have; of equals, the first one's."""
    counted = Counter(values[partition] for partition in sorted(values))
    return counted.most_common(1)[0][0]


def outliers(values: Mapping[int, T]) -> tuple[T | None, dict[int, T]]:
    """Return what most partitions have, and the values of those that differ."""
    if not values:
        return None, {}
    usual = majority(values)
    return usual, {n: value for n, value in sorted(values.items()) if value != usual}


def holders(values: Mapping[int, T], value: T) -> str:
    """Name the partitions that have a value."""
    return named([number for number, found in values.items() if found == value])


def named(partitions: Iterable[int]) -> str:
    """Return ``partition 3`` or ``partitions 0-2``."""
    numbers = sorted(partitions)
    return f"partition{'s' if len(numbers) > 1 else ''} {spans(numbers)}"
