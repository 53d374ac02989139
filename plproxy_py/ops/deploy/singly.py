"""A deploy without a transaction: each statement by itself, journaled around it.

An entry is made before a statement and completed after it. One that was never
completed says that a statement was begun and that nobody saw its end: an index can be
looked for, what may run twice runs again, and all else needs a look.
"""

from __future__ import annotations

import psycopg

from plproxy_py.errors import Error
from plproxy_py.ops.deploy import journal
from plproxy_py.ops.deploy.files import Step
from plproxy_py.ops.deploy.indexes import (
    Build,
    built_by,
    find_index,
    is_concurrent,
)
from plproxy_py.ops.deploy.partition import WRONG_STATE, Work
from plproxy_py.ops.deploy.planning import Entry, Plan
from plproxy_py.ops.deploy.sending import Stopped


class Singly(Work):
    """One statement after the other, each committed by itself."""

    async def course(self) -> None:
        await self.lock()
        await self.reset()
        await self.do(journal.make(self.connection))
        new = await self.planned()
        if not new.news:
            self.report.state = "already there"
            return
        before = await self.broken()
        await self.do(journal.withdraw(self.connection, new.withdrawn))
        unsettled = dict(new.unsettled)
        for step in new.news:
            await self._step(step, new, unsettled.get(step))
        await self.reset()
        self.report.state = "done"
        self.compare(before, await self.broken())

    def stopped(self) -> None:
        # What has run stays; a statement that was stopped has said so itself.
        if self.report.state == "not begun" and not self.report.statements:
            self.report.state = "rolled back"
        elif self.report.state == "not begun":
            self.report.state = "failed"
            self.report.error = Error("stopped behind the statements that are done")

    async def _step(self, step: Step, new: Plan, entry: Entry | None) -> None:
        build = built_by(step.statement)
        await self._settings(step, new)
        if build is not None:
            is_there = await self._look(build, entry)
        else:
            is_there = False
            if entry is not None:
                self.check_settled(step, entry)
        await self.reset()
        if entry is not None:
            await self.do(journal.settle(self.connection, entry.id, is_done=is_there))
        if is_there:
            self.report.statements += 1
            return
        id = await self.do(journal.write(self.connection, step, is_done=False))
        await self._settings(step, new)
        await self._run(step, id, build)
        await self.reset()
        await self.finish(journal.settle(self.connection, id, is_done=True))
        self.report.statements += 1

    async def _settings(self, step: Step, new: Plan) -> None:
        """Set what the file has set before a statement."""
        if is_concurrent(step.statement) and self.wish.is_patient:
            await self.do(self._execute("SET lock_timeout = 0"))
        for other in new.steps:
            is_before = other.file == step.file and other.number < step.number
            if other.is_setting and is_before:
                await self.send(other)

    async def _look(self, build: Build, entry: Entry | None) -> bool:
        """Tell whether the index is there. Raise if it is INVALID."""
        index = await self.do(find_index(self.connection, build))
        if index is None:
            return False
        if not index.is_valid:
            raise Error(index.trouble, sqlstate=WRONG_STATE)
        return entry is not None

    async def _run(self, step: Step, id: int, build: Build | None) -> None:
        """Run a statement. Raise if it fails, or leaves an INVALID index."""
        try:
            await self.send(step)
        except (Stopped, TimeoutError):
            if self.is_lost:
                self._lost(f"{step.place}: {step.statement.head}: it was stopped")
            else:
                await self._took_no_effect(id)
                if trouble := await self._trouble(build):
                    text = f"{step.place}: it was stopped; {trouble}"
                    self.failed(Error(text, sqlstate=WRONG_STATE))
            raise
        except psycopg.Error as error:
            if self.is_lost:
                self._lost(str(error))
                raise
            await self._took_no_effect(id)
            if trouble := await self._trouble(build):
                error.args = (f"{error}; {trouble}",)
            raise
        if trouble := await self._trouble(build):
            await self._took_no_effect(id)
            raise Error(f"{step.place}: {trouble}", sqlstate=WRONG_STATE)

    async def _took_no_effect(self, id: int) -> None:
        for sql in ("RESET SESSION AUTHORIZATION", "RESET ROLE"):
            await self.finish(self._execute(sql))
        await self.finish(journal.settle(self.connection, id, is_done=False))

    async def _trouble(self, build: Build | None) -> str | None:
        """Say what an index has come to that is INVALID now."""
        if build is None:
            return None
        index = await self.finish(find_index(self.connection, build))
        return None if index is None or index.is_valid else index.trouble

    def _lost(self, reason: str) -> None:
        self.report.state = "unknown"
        self.report.error = Error(
            f"{reason}; its end was not seen, and the next run will look",
            sqlstate="08006",
            partition=self.report.partition,
            sent=True,
        )
