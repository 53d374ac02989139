"""The course of a deploy over the partitions: a look, the canary, then all others.

A database that has several numbers is one partition to a deploy: its first number
stands for it. At the first failure nothing new is begun, and what has not come to its
COMMIT is rolled back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from plproxy_py._router_base import RouterBase
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import ConfigError, Error
from plproxy_py.ops.deploy import journal
from plproxy_py.ops.deploy.partition import Report, Stops, Transaction, Wish, Work
from plproxy_py.ops.deploy.planning import Plan, plan
from plproxy_py.ops.deploy.singly import Singly
from plproxy_py.ops.deploy.trial import Findings, Trial
from plproxy_py.ops.sessions import Session, on_each, session

# Seconds that a COMMIT under way has to end in, once nobody wants to wait any longer.
LAST_SECONDS = 5.0

# Looks at a time: more connections at once would be a burden to servers that hold many.
MOST_LOOKS = 64

Make = Callable[[Session, Wish, Stops, Report], Work]


@dataclass
class Survey:
    """What is new where, before anything is done.

    ``plans`` and ``errors`` by the first number of each database, ``first`` from each
    number to that.
    """

    plans: dict[int, Plan] = field(default_factory=dict)
    errors: dict[int, Error] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)

    @property
    def awaiting(self) -> list[int]:
        """The partitions on which there is something to be done."""
        return [number for number, found in self.plans.items() if found.news]


async def survey(
    router: RouterBase,
    config: ClusterConfig,
    wish: Wish,
    timeout: float,
    done: Callable[[], object] = lambda: None,
) -> Survey:
    """Look at all partitions at once, ``timeout`` seconds each; change nothing.

    Raise `ConfigError` if one database has several numbers whose search paths differ.
    """
    names = [file.name for file in wish.files]

    async def look(connection: Session, _: int) -> tuple[journal.Place, Plan]:
        await connection.set_autocommit(True)
        place = await journal.read_place(connection)
        return place, plan(wish.files, await journal.read(connection, names))

    found = Survey()
    targets: dict[object, int] = {}
    for partition in config.partitions:
        found.first[partition.number] = targets.setdefault(
            partition.target, partition.number
        )
    answers = await on_each(
        router,
        config.name,
        targets.values(),
        look,
        timeout=timeout,
        jobs=MOST_LOOKS,
        done=done,
    )
    places: dict[str, tuple[int, journal.Place]] = {}
    for number, answer in answers.items():
        if isinstance(answer, Error):
            found.errors[number] = answer
            continue
        place, new = answer
        number_there, there = places.setdefault(place.database, (number, place))
        if number_there == number:
            found.plans[number] = new
            continue
        if there != place:
            raise ConfigError(
                f"partitions {number_there} and {number} are one database under two "
                "search paths: its journal could not tell them apart",
                cluster=config.name,
            )
        for own, first in found.first.items():
            if first == number:
                found.first[own] = number_there
    return found


@dataclass
class Course:
    """One run over the partitions that await it."""

    router: RouterBase
    config: ClusterConfig
    wish: Wish
    survey: Survey
    jobs: int
    timeout: float
    keep_going: bool = False
    done: Callable[[], object] = lambda: None
    stops: Stops = field(default_factory=Stops)
    is_interrupted: bool = False

    async def deploy(self, canary: int | None = None) -> list[Report]:
        """Deploy; return what became of each partition, by number."""
        reports = self._reports()
        make = Transaction if self.wish.in_transaction else Singly
        awaiting = self.survey.awaiting
        if self.survey.errors and not self.keep_going:
            awaiting = []
        if canary is not None:
            first = self.survey.first[canary]
            if first in awaiting:
                await self._on_all([first], reports, make)
            awaiting = [number for number in awaiting if number != first]
            if reports[first].state not in ("done", "already there"):
                awaiting = []
        await self._on_all(awaiting, reports, make)
        return [
            _as(reports[self.survey.first[partition.number]], partition.number)
            for partition in self.config.partitions
        ]

    def _reports(self) -> dict[int, Report]:
        reports = {number: Report(number) for number in self.survey.plans}
        for number, found in self.survey.plans.items():
            if not found.news:
                reports[number].state = "already there"
        for number, error in self.survey.errors.items():
            reports[number] = Report(number, "failed", error=error)
        return reports

    async def try_all(self) -> dict[int, Findings]:
        """Try the deploy on each partition; leave no trace."""
        findings = {
            number: Findings(error=error)
            for number, error in self.survey.errors.items()
        }
        reports = self._reports()

        def make(
            connection: Session, wish: Wish, stops: Stops, report: Report
        ) -> Trial:
            trial = Trial(connection, wish, stops, report)
            findings[report.partition] = trial.findings
            return trial

        self.keep_going = True
        awaiting = self.survey.awaiting
        await self._on_all(awaiting, reports, make)
        for number, report in reports.items():
            found = findings.setdefault(number, Findings())
            found.error = found.error or report.error
        return dict(sorted(findings.items()))

    async def _on_all(
        self, numbers: Iterable[int], reports: Mapping[int, Report], make: Make
    ) -> None:
        room = asyncio.Semaphore(self.jobs)

        async def one(number: int) -> None:
            async with room:
                if not self.stops.soon.is_set():
                    await self._on_one(reports[number], make)
            self.done()
            is_bad = reports[number].state in ("failed", "unknown")
            if is_bad and not self.keep_going:
                self.stops.soon.set()

        tasks = [asyncio.ensure_future(one(number)) for number in numbers]
        if not tasks:
            return
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            # Ctrl-C: what is done where is told all the same.
            self.is_interrupted = True
            self.stops.soon.set()
            asyncio.get_running_loop().call_later(LAST_SECONDS, self.stops.now.set)
            await asyncio.wait(tasks)
        for task in tasks:
            task.result()

    async def _on_one(self, report: Report, make: Make) -> None:
        lent = session(self.router, self.config.name, report.partition, self.timeout)
        try:
            async with lent as connection:
                await make(connection, self.wish, self.stops, report).run()
        except Error as error:
            # There was no connection: the work itself raises nothing.
            if report.state == "not begun":
                report.state, report.error = "failed", error


def _as(report: Report, number: int) -> Report:
    """Return the report of a database for another of its numbers."""
    if report.partition == number:
        return report
    return Report(number, report.state, 0, 0.0, report.error)


def shared(first: Mapping[int, int]) -> list[Sequence[int]]:
    """Return the numbers that stand for one database, where there are several."""
    groups: dict[int, list[int]] = {}
    for number, representative in first.items():
        groups.setdefault(representative, []).append(number)
    return [numbers for numbers in groups.values() if len(numbers) > 1]
