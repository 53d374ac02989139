"""What a group of benchmarks is, and what it reports."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import psycopg

from plproxy_py import AsyncRouter, Router
from tests.benchmarks.rounds import Contender, Result, middle_half, race
from tests.benchmarks.servers import CLUSTER, DBNAMES, PROXY, Servers

EMAIL_QUERY = "select r::text from get_user_email(%s::text) r"
EMAIL_QUERY_NUMBERED = "select r::text from get_user_email($1::text) r"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: ``calls`` by each contender in each of ``rounds``.

    ``elements``: how large one call is, where that can be chosen. ``warm_rounds`` go
    first and do not count: connections open and statements get prepared in them.
    """

    rounds: int
    calls: int
    elements: int = 1
    warm_rounds: int = 1

    def as_dict(self) -> dict[str, int]:
        """Return it for the JSON document."""
        return {"rounds": self.rounds, "calls": self.calls, "elements": self.elements}


@dataclass(frozen=True, slots=True)
class Value:
    """A figure by the name that it is known by, and its goal.

    ``low`` and ``high``: the middle half of the rounds.
    """

    name: str
    value: float
    goal: float | None = None
    higher_is_better: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached, None where there is none."""
        if self.goal is None:
            return None
        if self.higher_is_better:
            return self.value >= self.goal
        return self.value <= self.goal


@dataclass(slots=True)
class Report:
    """What came out of a group."""

    title: str
    size: Size
    results: dict[str, Result] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bars: list[str] = field(default_factory=list)
    scaling: dict[str, Any] = field(default_factory=dict)


class Stage:
    """What a group needs while it runs, closed when it is over."""

    def __init__(self, servers: Servers, size: Size, exits: ExitStack) -> None:
        self.servers = servers
        self.size = size
        self.exits = exits
        self.notes: list[str] = []
        self._runner: asyncio.Runner | None = None

    @property
    def runner(self) -> asyncio.Runner:
        """The event loop of all asyncio contenders of the group."""
        if self._runner is None:
            self._runner = self.exits.enter_context(asyncio.Runner())
        return self._runner

    def router(self, **options: Any) -> Router:
        """Return a router on the 16 partitions."""
        clusters = {CLUSTER: self.servers.connstrs()}
        return self.exits.enter_context(Router(clusters, **options))

    def async_router(self, **options: Any) -> AsyncRouter:
        """Return an AsyncRouter on the 16 partitions, for `runner`."""
        router = AsyncRouter({CLUSTER: self.servers.connstrs()}, **options)
        self.close_later(router)
        return router

    def cursors(self) -> list[psycopg.Cursor[Any]]:
        """Return a psycopg cursor on each partition."""
        return [self._cursor(dbname) for dbname in DBNAMES]

    def proxy_cursor(self) -> psycopg.Cursor[Any] | None:
        """Return a psycopg cursor on PL/Proxy's database; None, noted, without it."""
        if not self.servers.has_plproxy:
            self.notes.append(
                "without PL/Proxy: apt-get install postgresql-15 postgresql-15-plproxy"
            )
            return None
        return self._cursor(PROXY)

    def asyncpg_connections(self) -> list[Any] | None:
        """Return an asyncpg connection to each partition; None, noted, without it."""
        asyncpg = self.module("asyncpg")
        if asyncpg is None:
            return None
        conns = []
        for partition in range(len(DBNAMES)):
            options = self.servers.asyncpg_options(partition)
            conns.append(self.runner.run(asyncpg.connect(**options)))
            self.close_later(conns[-1])
        return conns

    def close_later(self, thing: Any) -> None:
        """Await its ``close`` when the group is over."""
        runner = self.runner
        self.exits.callback(lambda: runner.run(thing.close()))

    def module(self, name: str) -> Any:
        """Return a contender's module; None, noted, where it is not installed."""
        try:
            return importlib.import_module(name)
        except ImportError:
            self.notes.append(f"without {name}: pip install -e '.[benchmark]'")
            return None

    def _cursor(self, dbname: str) -> psycopg.Cursor[Any]:
        conn = self.exits.enter_context(self.servers.connect(dbname))
        return conn.cursor()


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours by theirs: of the time, of the client's CPU, or of the rate."""

    name: str
    ours: str
    theirs: str
    goal: float | None = None
    of: Literal["wall", "cpu", "rate"] = "wall"

    def value(self, results: dict[str, Result]) -> Value | None:
        """Return the ratio of the medians, None if one of both did not run."""
        if not {self.ours, self.theirs} <= results.keys():
            return None
        ours, theirs = results[self.ours], results[self.theirs]
        if self.of == "cpu":
            ratio = ours.cpu / theirs.cpu
            pairs = [
                a.cpu / b.cpu for a, b in zip(ours.samples, theirs.samples, strict=True)
            ]
        else:
            # A rate is calls by time: theirs is above.
            first, second = (theirs, ours) if self.of == "rate" else (ours, theirs)
            ratio = first.wall / second.wall
            pairs = [
                a.wall / b.wall
                for a, b in zip(first.samples, second.samples, strict=True)
            ]
        low, high = middle_half(pairs)
        return Value(self.name, ratio, self.goal, self.of == "rate", low, high)


class Group(Protocol):
    """Benchmarks that run together."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the values that it may report."""

    @property
    def full(self) -> Size:
        """How much is measured."""

    @property
    def quick(self) -> Size:
        """How much is measured in a hurry."""

    def run(self, stage: Stage) -> Report:
        """Measure."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is no race; ``measure`` fills in the report."""

    title: str
    names: tuple[str, ...]
    measure: Callable[[Stage, Report], None]
    full: Size
    quick: Size

    def run(self, stage: Stage) -> Report:
        """Measure."""
        report = Report(self.title, stage.size, notes=stage.notes)
        self.measure(stage, report)
        return report


@dataclass(frozen=True, slots=True)
class Race:
    """Contenders, and the ratios between them."""

    title: str
    enter: Callable[[Stage], list[Contender]]
    ratios: tuple[Ratio, ...]
    full: Size
    quick: Size

    @property
    def names(self) -> Sequence[str]:
        """The names of the ratios."""
        return [ratio.name for ratio in self.ratios]

    def run(self, stage: Stage) -> Report:
        """Let the contenders race."""
        size = stage.size
        contenders = self.enter(stage)
        results = race(contenders, size.rounds, size.calls, size.warm_rounds)
        values = [ratio.value(results) for ratio in self.ratios]
        found = [value for value in values if value is not None]
        return Report(self.title, size, results, found, stage.notes)
