"""One partition's part of a deploy, in one transaction or a statement at a time.

Whatever happens, what is reported is true: *done* was committed, *failed* and *rolled
back* left nothing behind (without a transaction: nothing but the statements that are
counted), *unknown* is a COMMIT, or a statement without a transaction, whose end was
not seen. The journal, written with the statements, tells the next run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import psycopg

from plproxy_py.errors import ConnectionLost, Error, QueryTimeout, remote_error_class
from plproxy_py.ops.deploy import journal
from plproxy_py.ops.deploy.calls import Broken, Call, broken_calls, newly_broken
from plproxy_py.ops.deploy.files import SqlFile, Step
from plproxy_py.ops.deploy.indexes import is_repeatable
from plproxy_py.ops.deploy.planning import Entry, Plan, plan
from plproxy_py.ops.deploy.sending import (
    Stopped,
    ours,
    prepare_session,
    said,
    send,
    until,
)
from plproxy_py.ops.sessions import Session

T = TypeVar("T")
State = Literal[
    "done", "already there", "failed", "rolled back", "not begun", "unknown"
]

WRONG_STATE = "55000"

# Seconds by which a server may be late with its own statement_timeout.
LATE = 5.0


@dataclass(frozen=True)
class Wish:
    """What is to be deployed, and how. Timeouts are seconds.

    ``is_patient``: statements that work CONCURRENTLY wait for locks without end.
    """

    files: Sequence[SqlFile]
    calls: Sequence[Call] = ()
    lock_timeout: float = 3.0
    is_patient: bool = True
    statement_timeout: float | None = None
    in_transaction: bool = True


@dataclass
class Stops:
    """When a partition is to end what it does: before its COMMIT, or even in it."""

    soon: asyncio.Event = field(default_factory=asyncio.Event)
    now: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Report:
    """What became of a partition. ``statements``: how many took effect."""

    partition: int
    state: State = "not begun"
    statements: int = 0
    seconds: float = 0.0
    error: Error | None = None
    warnings: tuple[str, ...] = ()


class Work:
    """The deploy on one lent connection; what both ways of doing it share."""

    def __init__(
        self, connection: Session, wish: Wish, stops: Stops, report: Report
    ) -> None:
        self.connection = connection
        self.wish = wish
        self.report = report
        self._stops = stops
        self._limit = wish.statement_timeout + LATE if wish.statement_timeout else None

    async def run(self) -> None:
        """Do it; `report` tells how it went. Raise nothing."""
        started = time.monotonic()
        try:
            await prepare_session(self.connection)
            await self.course()
        except Stopped:
            self.stopped()
        except TimeoutError:
            text = f"no answer {LATE:g} s after its statement_timeout"
            self.failed(QueryTimeout(text, partition=self.report.partition))
        except psycopg.Error as error:
            self.failed(self.told(error))
        self.report.seconds = time.monotonic() - started

    async def course(self) -> None:
        """Do the work."""
        raise NotImplementedError

    def stopped(self) -> None:
        """Report that it was stopped."""
        self.report.state = "rolled back"

    def failed(self, error: Error) -> None:
        """Report that it failed, unless more than that has been said of it."""
        if self.report.error is None:
            self.report.state, self.report.error = "failed", error

    def check_settled(self, step: Step, entry: Entry) -> None:
        """Raise where nobody knows whether a statement has run, and it can't twice."""
        if is_repeatable(step.statement):
            return
        self.report.state = "unknown"
        self.report.error = Error(
            f"{step.place}: {step.statement.head}: was begun at "
            f"{entry.begun_at:%Y-%m-%d %H:%M:%S%z}, and its end was not seen. Look "
            "whether it is done; if so: UPDATE plproxy.deployed SET done_at = now() "
            f"WHERE id = {entry.id}; if not, so that it runs: DELETE FROM "
            f"plproxy.deployed WHERE id = {entry.id}",
            sqlstate=WRONG_STATE,
            partition=self.report.partition,
        )
        raise self.report.error

    def told(self, error: psycopg.Error, place: str = "") -> Error:
        """Return an error of our tree that says where it was."""
        return ours(error, self.connection, self.report.partition, place)

    @property
    def is_lost(self) -> bool:
        """Whether the session has ended under us."""
        return self.connection.closed

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do a piece of it, unless it is to stop."""
        return await until(self._stops.soon, self.connection, work, self._limit)

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do a piece that goes on while others are stopped."""
        return await until(self._stops.now, self.connection, work, self._limit)

    async def reset(self) -> None:
        """Take back what the statements have set, and set the limits."""
        local = "LOCAL " if self.wish.in_transaction else ""
        statements = [
            "RESET SESSION AUTHORIZATION",
            "RESET ROLE",
            "RESET ALL",
            f"SET {local}lock_timeout = {round(self.wish.lock_timeout * 1000)}",
        ]
        if self.wish.statement_timeout:
            limit = max(1, round(self.wish.statement_timeout * 1000))
            statements.append(f"SET {local}statement_timeout = {limit}")
        await self.do(self._execute("; ".join(statements)))

    async def _execute(self, sql: str) -> psycopg.AsyncCursor[Any]:
        return await self.connection.execute(sql.encode())

    async def lock(self) -> None:
        """Let no other deploy be at work there; in a transaction, begin it."""
        await self.do(
            journal.lock(
                self.connection,
                self.wish.lock_timeout,
                self._stops.soon,
                in_transaction=self.wish.in_transaction,
            )
        )

    async def planned(self) -> Plan:
        """Return what is new, by the journal as it is under the lock."""
        names = [file.name for file in self.wish.files]
        entries = await self.do(journal.read(self.connection, names))
        return plan(self.wish.files, entries)

    async def broken(self) -> Broken:
        """Return the declared calls that the server would refuse."""
        return await self.do(broken_calls(self.connection, self.wish.calls))

    def compare(self, before: Broken, after: Broken) -> None:
        """Raise the first call that broke; those that were broken are warnings."""
        self.report.warnings = tuple(
            f"{call.broken(error)} (as before)"
            for call, error in after.items()
            if call in before
        )
        broken = newly_broken(before, after)
        if broken:
            state = next(iter(broken.values())).sqlstate
            text = "; ".join(call.broken(error) for call, error in broken.items())
            raise remote_error_class(state)(
                f"calls that worked before would fail: {text}",
                sqlstate=state,
                partition=self.report.partition,
            )

    async def send(self, step: Step) -> None:
        """Run a statement. Raise our error, which says where it stands."""
        try:
            await self.do(send(self.connection, step.statement.text))
        except psycopg.Error as error:
            raise self._of_step(step, error) from None

    def _of_step(self, step: Step, error: psycopg.Error) -> Error:
        statement = step.statement
        line = statement.line
        position = error.diag.statement_position
        if position and position.isdecimal():
            line = statement.line_at(int(position))
        text = f"{step.file}:{line}: {statement.head}: "
        if error.sqlstate == "25001" and self.wish.in_transaction:
            text += "(--no-transaction is for this) "
        return self.told(error, text)


class Transaction(Work):
    """All of it, or nothing."""

    async def course(self) -> None:
        await self.lock()
        await self.reset()
        if await self.apply():
            await self._commit()

    async def apply(self) -> bool:
        """Do all but the COMMIT; tell whether there was anything."""
        await self.do(journal.make(self.connection))
        new = await self.planned()
        if not new.news:
            self.report.state = "already there"
            return False
        for step, entry in new.unsettled:
            self.check_settled(step, entry)
        before = await self.broken()
        await self.statements(new.steps)
        self.compare(before, await self.broken())
        for _, entry in new.unsettled:
            await self.do(journal.settle(self.connection, entry.id, is_done=False))
        await self.do(journal.withdraw(self.connection, new.withdrawn))
        for step in new.news:
            await self.do(journal.write(self.connection, step, is_done=True))
        self.report.statements = len(new.news)
        return True

    async def statements(self, steps: Sequence[Step]) -> None:
        """Run them; what one file has set does not reach the next."""
        file = ""
        for step in steps:
            if file and step.file != file:
                await self.reset()
            file = step.file
            await self.send(step)
        await self.reset()

    async def _commit(self) -> None:
        try:
            cursor = await self.finish(self._execute("COMMIT"))
        except (Stopped, TimeoutError):
            self._unknown("its COMMIT was sent, and no answer was waited for")
        except psycopg.Error as error:
            if self.is_lost:
                self._unknown(f"its COMMIT was sent, and then: {said(error)}")
            else:
                self.failed(self.told(error, "COMMIT: "))
        else:
            if cursor.statusmessage == "COMMIT":
                self.report.state = "done"
            else:
                self.failed(Error("COMMIT: the transaction had failed already"))

    def _unknown(self, text: str) -> None:
        self.report.state = "unknown"
        self.report.error = ConnectionLost(
            f"{text}; the next run learns from the journal whether it is there",
            partition=self.report.partition,
            sent=True,
        )

    def stopped(self) -> None:
        self.report.statements = 0
        super().stopped()

    def failed(self, error: Error) -> None:
        self.report.statements = 0
        super().failed(error)
