"""Connections: what one is, how it is looked at, lent out and closed.

Once open (see `_connector`), a connection's socket is polled by whoever leased it.
"""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import pq
from psycopg.adapt import AdaptersMap

from plproxy_py._notices import Notice
from plproxy_py._prepared import Prepared
from plproxy_py.config import Target

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

_OK = pq.ConnStatus.OK
C = TypeVar("C", bound="psycopg.BaseConnection[Any]")

Listener = tuple[Callable[[Notice], None], str, int]
"""Who is told of notices, and in the name of which function and partition."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a connection is opened with. Equal sessions share a pool.

    ``secrets`` count here, other than in targets: whoever brings another password must
    not ride on a connection that was opened with the right one.
    """

    target: Target
    timezone: str | None
    pooler: bool
    secrets: tuple[tuple[str, str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "secrets", self.target.secrets)


class Adapters(AdaptersMap):
    """psycopg's adapters of a router. ``version`` counts the loaders registered."""

    def __init__(self, template: AdaptersMap) -> None:
        super().__init__(template)
        self.version = 0

    def register_loader(self, oid: int | str, loader: type[Any]) -> None:
        super().register_loader(oid, loader)
        self.version += 1


class Link:
    """A connection to one target, and psycopg's adaptation context for its rows.

    ``opened`` is in monotonic seconds; ``spread``, from 0.9 to 1, shortens each
    link's lifetime a little, so that they don't all end together.
    """

    __slots__ = (
        "_handed_out",
        "adapters",
        "connection",
        "fileno",
        "listener",
        "opened",
        "pgconn",
        "poll",
        "prepared",
        "spread",
    )

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        adapters: Adapters,
        prepares: bool,
    ) -> None:
        self.connection = connection
        self.adapters = adapters
        self.pgconn: PGconn = connection.pgconn
        self.fileno = self.pgconn.socket
        self.opened = time.monotonic()
        self.prepared = Prepared(prepares)
        self.spread = random.uniform(0.9, 1.0)
        self.listener: Listener | None = None
        self.poll = _poller(self.fileno)
        self._handed_out: psycopg.BaseConnection[Any] | None = None
        self.pgconn.notice_handler = self._notice

    def _notice(self, result: PGresult) -> None:
        if self.listener is not None:
            callback, function, partition = self.listener
            callback(Notice.of(result, function, partition))

    def usable(self, now: float, lifetime: float | None) -> bool:
        """Look, without a round trip, whether the link can carry a call.

        A socket that is readable at rest holds the server's farewell: a look costs
        0.4 µs.
        """
        if lifetime is not None and now >= self.opened + lifetime * self.spread:
            return False
        return self.pgconn.status == _OK and not self.poll(0)

    @property
    def at_rest(self) -> bool:
        """Whether the last conversation ended and no transaction is open."""
        return self.pgconn.transaction_status == pq.TransactionStatus.IDLE

    @property
    def in_the_middle(self) -> bool:
        """Whether a COPY, or another statement, has not come to its end."""
        return (
            self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE
            and self.pgconn.pipeline_status == pq.PipelineStatus.OFF
        )

    @property
    def server_encoding(self) -> str:
        """The encoding of the database, as PostgreSQL names it."""
        return (self.pgconn.parameter_status(b"server_encoding") or b"").decode()

    def hand_out(self, kind: Callable[[PGconn], C], adapters: AdaptersMap) -> C:
        """Return the connection as one of psycopg's; `take_back` ends that."""
        connection = kind(self.pgconn)
        # psycopg has no other way to give a connection its adapters.
        connection._adapters = AdaptersMap(adapters)
        self._handed_out = connection
        self.listener = None  # what cleaning up has to say is of no call
        return connection

    def take_back(self) -> bool:
        """Take the connection away from whom it was handed to.

        Return whether a statement can be sent on it.
        """
        if self._handed_out is not None:
            # Whoever still holds it finds it closed.
            self._handed_out.pgconn = pq.PGconn()
            self._handed_out = None
        self.pgconn.notice_handler = self._notice
        self.pgconn.notify_handler = None
        self.prepared.clear()
        return (
            self.pgconn.status == pq.ConnStatus.OK
            and self.pgconn.pipeline_status == pq.PipelineStatus.OFF
            and self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE
        )

    def close(self) -> None:
        """Close the connection; what its server was doing goes on until it notices."""
        self.pgconn.finish()


def _poller(fileno: int) -> Callable[[float], object]:
    """Return what waits so many milliseconds at most for the socket to be readable."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(fileno, select.POLLIN)
        return poll.poll
    return lambda timeout: select.select([fileno], [], [], timeout / 1000)[0]
