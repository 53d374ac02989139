"""Calls that reach more partitions than their servers allow at a time.

``max_connections_per_server`` is the limit. Each partition is lent, sent to and given
back by itself, so that as many run at a time as there is room for; nobody waits for a
slot while holding another. What was not sent when a partition fails is not sent at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from plproxy_py._conversations import LONG_GRACE, Conversations
from plproxy_py._links import Link
from plproxy_py._pools import Wired
from plproxy_py._scatter import Scatter
from plproxy_py._statements import Sender, Statement
from plproxy_py._steps import Steps, Talk
from plproxy_py._waiting import INFINITE
from plproxy_py.errors import ConnectionLost

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

T = TypeVar("T")


def in_waves(
    exchange: Sender,
    wired: Wired,
    partitions: Sequence[int],
    statement: Statement,
    read: Callable[[Conversations], T],
) -> Steps[T]:
    """Run the statement as `Exchange.run` does, on some partitions after others."""
    one = _Waves(exchange, wired, partitions, statement, _not_yet, None)
    one.talk.settle = INFINITE if statement.settle is None else statement.settle
    try:
        yield from one.talk.guard(exchange.pools.connector, one.hold())
        return read(one.talk)
    finally:
        one.give_back()


class _Waves(Scatter):
    """A scattered call that ends with the first failure."""

    def hold(self) -> Steps[None]:
        talk, stepper = self.talk, self.talk.stepper
        for index in range(len(self.partitions)):
            if not talk.causes:
                self.lend(index)
        while True:
            if talk.causes:
                self._send_no_more()
            until = min(talk.deadline, talk.settle_until)
            if not (stepper.wanted or self.waits) or time.monotonic() >= until:
                break
            stepper.enough = False
            stepper.until = min([until, *self.untils()])
            yield Talk(stepper, self.awaited())
            self.give_back_ended()
            if not talk.causes:
                self.advance()
        self._send_no_more()
        if talk.running:
            yield from talk.stop(self.exchange.pools.connector, LONG_GRACE)
        self.give_back_ended()

    def _send_no_more(self) -> None:
        talk = self.talk
        talk.settle_until = min(talk.settle_until, time.monotonic() + talk.settle)
        self.leave_queues()
        for index, link in enumerate(talk.links):
            if link is None and talk.errors[index] is None:
                talk.errors[index] = ConnectionLost(
                    "not sent, because another partition failed"
                )

    def load(self, index: int) -> None:
        """Load nothing before all have answered, or there is no answer."""


def _not_yet(link: Link, result: PGresult) -> list[Any]:
    raise NotImplementedError
