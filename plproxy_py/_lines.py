"""The calls of one target, and targets that are lent together.

What a `Window` is made of: it decides when, this file does what is to be done for one
target.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from plproxy_py import _wire
from plproxy_py._exchange import Exchange
from plproxy_py._links import Link
from plproxy_py._parts import BUDGET, Call, Gauge, Part, Single
from plproxy_py._pipeline import Pipeline, size_of
from plproxy_py._pools import Loan, Pool
from plproxy_py._steps import Arrival, Steps
from plproxy_py._waiting import Stepper
from plproxy_py.errors import ConnectionLost

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult


class Room(Protocol):
    """What a line knows of its window."""

    exchange: Exchange
    gauge: Gauge
    stepper: Stepper[list[PGresult]]
    is_starving: bool
    is_hurrying: bool

    @property
    def head(self) -> Call | None: ...


class Line:
    """The calls of one target, and the pipeline in which they go."""

    def __init__(self, window: Room, pool: Pool) -> None:
        self.window = window
        self.pool = pool
        self.parts: list[Part] = []
        self.link: Link | None = None
        self.pipeline: Pipeline | None = None
        self.is_over = self.is_good = False
        self.cancel: Future[None] | None = None

    def may_send(self, index: int) -> bool:
        window, part = self.window, self.parts[index]
        if part.began:
            return True  # once more
        if not window.gauge.send(part.size):
            if part.call is not window.head:
                window.is_starving = True
                return False
            window.gauge.send_anyway(part.size)
        part.began, part.link, part.state = time.monotonic(), self.link, "unknown"
        return True

    def may_read(self) -> bool:
        window = self.window
        if window.is_hurrying or not window.gauge.is_full:
            return True
        head = window.head
        return head is not None and any(part.pool is self.pool for part in head.parts)

    def answered(self, index: int, results: list[PGresult], is_prepared: bool) -> bool:
        part, window = self.parts[index], self.window
        part.seconds = time.monotonic() - part.began
        failed, width, gauge = _wire.sync_failure(results), 0, window.gauge
        if failed is None:
            part.state = "committed"
            width = size_of(results[-1])
            part.call.width += width
        else:
            part.error = failed
            if not isinstance(failed, ConnectionLost):
                part.state = "failed"
        gauge.took(part.size, width)
        self.pool.stats.record(part.seconds, failed.sqlstate if failed else None)
        if not (
            is_prepared
            and failed is None
            and type(part) is Single
            and part.land(results[-1])
        ):
            part.results = results
            part.call.end(part, window.exchange)
        if window.is_starving or gauge.held > BUDGET:
            window.stepper.enough = True
            return self.may_read()
        return True

    @property
    def unfinished(self) -> list[Part]:
        return [part for part in self.parts if not part.is_over]

    def close(self) -> None:
        """Close the link, after its cancel request if there is one."""
        link = self.link
        if link is None:
            return
        if self.cancel is None:
            link.close()
        else:
            self.cancel.add_done_callback(lambda _: link.close())


class Group:
    """Targets that share calls, and so are lent in one step.

    ``deadline``: monotonic seconds. ``lending`` began at ``asked``, for
    ``partitions`` by position of ``lines``, and waits for ``wait``.
    """

    def __init__(self, lines: list[Line], deadline: float) -> None:
        self.lines = lines
        self.deadline = deadline
        self.lending: Steps[Loan] | None = None
        self.partitions: Sequence[int] = ()
        self.asked = 0.0
        self.wait: Arrival | None = None
        self.loan: Loan | None = None

    def give_back(self) -> None:
        """Give the links back, those that can't be used any more closed."""
        if self.loan is not None:
            good = [i for i, line in enumerate(self.lines) if line.is_good]
            self.loan.give_back(good, lambda index: self.lines[index].close())
