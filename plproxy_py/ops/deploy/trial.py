"""A deploy that leaves no trace: the statements run, and their transaction rolls back.

Shows what no reading of SQL can: which functions' definitions would differ, and which
calls would fail. Locks are taken as by the deploy itself, for as long as it lasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from plproxy_py.errors import Error
from plproxy_py.ops.deploy.calls import newly_broken
from plproxy_py.ops.deploy.files import Step
from plproxy_py.ops.deploy.partition import Report, Stops, Transaction, Wish
from plproxy_py.ops.sessions import Session

_FUNCTIONS = """SELECT format('%I.%I(%s)', n.nspname, p.proname,
        pg_get_function_identity_arguments(p.oid)),
        hashtextextended(pg_get_functiondef(p.oid), 0)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prokind <> 'a' AND n.nspname <> 'information_schema'
    AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1"""

Change = Literal["new", "changed", "dropped"]


@dataclass
class Findings:
    """What a deploy would do on a partition. ``functions``: by signature.

    ``functions`` is None where statements can't be tried, outside of a transaction.
    ``broken``: what calls would fail, and why.
    """

    news: tuple[Step, ...] = ()
    functions: dict[str, Change] | None = None
    broken: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: Error | None = field(default=None, compare=False)

    @property
    def is_fine(self) -> bool:
        """Whether the deploy would succeed, as far as can be told."""
        return self.error is None and not self.broken


class Trial(Transaction):
    """The deploy of a partition, tried. It raises nothing: see `findings`."""

    def __init__(
        self, connection: Session, wish: Wish, stops: Stops, report: Report
    ) -> None:
        super().__init__(connection, wish, stops, report)
        self.findings = Findings()

    async def course(self) -> None:
        if not self.wish.in_transaction:
            self.findings.news = (await self.planned()).news
            return
        await self.lock()
        await self.reset()
        new = await self.planned()
        self.findings.news = new.news
        for step, entry in new.unsettled:
            self.check_settled(step, entry)
        functions = await self._functions()
        before = await self.broken()
        await self.statements(new.steps)
        after = await self.broken()
        self.findings.functions = changes(functions, await self._functions())
        self.findings.broken = tuple(
            call.broken(error) for call, error in newly_broken(before, after).items()
        )
        self.findings.warnings = tuple(
            f"{call.broken(error)} (as before)"
            for call, error in after.items()
            if call in before
        )
        # A deferred constraint would fail at COMMIT.
        await self.do(self._execute("SET CONSTRAINTS ALL IMMEDIATE"))
        await self.do(self._execute("ROLLBACK"))

    async def _functions(self) -> dict[str, int]:
        cursor = await self.do(self._execute(_FUNCTIONS))
        return dict(await cursor.fetchall())


def changes(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, Change]:
    """Return what differs between two looks at all functions."""
    found: dict[str, Change] = {}
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            found[name] = "new"
        elif name not in after:
            found[name] = "dropped"
        elif before[name] != after[name]:
            found[name] = "changed"
    return found
