"""The home database: questions of sources, asked in the course of a call.

Also what is asked on behalf of functions that were declared as text: which columns a
row type has that their signature only names.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from plproxy_py._connector import Connector
from plproxy_py._exchange import Exchange, Statement
from plproxy_py._pools import Wired
from plproxy_py._steps import Steps, run_async
from plproxy_py._waiting import INFINITE
from plproxy_py.errors import ConfigError, Error, PartitionError
from plproxy_py.function import ProxyFunction
from plproxy_py.signature import Columns
from plproxy_py.sources.question import Question
from plproxy_py.sources.rowtypes import row_type_question

T = TypeVar("T")

ASK_TIMEOUT = 10.0


class Home:
    """Asks the database that ``wired`` leads to."""

    def __init__(self, wired: Wired, exchange: Exchange) -> None:
        self.wired = wired
        self._exchange = exchange

    def ask(self, question: Question[T], deadline: float = INFINITE) -> Steps[T]:
        """Ask a question, and those that its answer leads to.

        Raise `QueryTimeout` if ``deadline`` (monotonic seconds) passes, `ConfigError`
        if the database can't be asked.
        """
        step: Question[T] | T = question
        while isinstance(step, Question):
            statement = Statement(
                "configuration",
                step.sql,
                [step.params],
                min(deadline, time.monotonic() + ASK_TIMEOUT),
            )
            try:
                rows = yield from self._exchange.rows(self.wired, (0,), statement)
            except Error as error:
                # Nothing of the caller's went anywhere.
                error.partition, error.sent, error.outcomes = None, False, {}
                error.function = None  # whoever is told adds who asked
                if time.monotonic() >= deadline:
                    raise
                if isinstance(error, PartitionError):
                    raise ConfigError(f"the home database: {error}") from error
                raise
            step = step.read(rows[0])
        return step


class RowTypes:
    """Columns of row types by name, taken as current for ``ttl`` seconds.

    Then they are asked for anew: in the background, or with 0 in each call.
    """

    def __init__(
        self,
        home: Home,
        connector: Connector,
        ttl: float,
        describe: Callable[[ProxyFunction, Columns], ProxyFunction],
    ) -> None:
        self._home = home
        self._connector = connector
        self._ttl = ttl
        self._describe = describe
        self._known: dict[str, Columns] = {}
        self._due: dict[str, float] = {}
        self._described: dict[str, tuple[ProxyFunction, Columns, ProxyFunction]] = {}

    def described(
        self, function: ProxyFunction, deadline: float
    ) -> Steps[ProxyFunction]:
        """Return the function with the columns of its row type, if it has one."""
        name = function.row_type
        if name is None:
            return function
        if name not in self._known or self._ttl == 0:
            yield from self._look(name, deadline)
        elif time.monotonic() >= self._due[name]:
            self._due[name] = time.monotonic() + self._ttl
            self._connector.submit(run_async(self._look(name)))
        columns = self._known[name]
        if not columns:
            return function
        key = function.signature.key
        found = self._described.get(key)
        if found is None or found[0] is not function or found[1] != columns:
            found = (function, columns, self._describe(function, columns))
            self._described[key] = found
        return found[2]

    def _look(self, name: str, deadline: float = INFINITE) -> Steps[None]:
        question = row_type_question(name)
        try:
            self._known[name] = yield from self._home.ask(question, deadline)
        except Error:
            # With the database down, what was last seen goes on.
            if name not in self._known:
                raise
        self._due[name] = time.monotonic() + self._ttl
