"""Connections: what one is, how it is looked at, lent out and closed.

Once open (see `_connector`), a connection's socket is polled by whoever leased it.
"""

from __future__ import annotations

import os
import random
import select
import socket
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import pq
from psycopg.adapt import AdaptersMap

from plproxy_py._notices import Notice
from plproxy_py._prepared import Prepared
from plproxy_py.config import Partition, Target

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
    not ride on a connection that was opened with the right one. ``partition``: the
    first of those that share the target.
    """

    target: Target
    timezone: str | None
    pooler: bool
    partition: Partition | None = field(default=None, compare=False)
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
    link's lifetime a little, so that they don't all end together. ``slot``: what it
    occupies in its pool (see `_leases`); with a link that is forgotten it comes back.
    """

    __slots__ = (
        "__weakref__",
        "_handed_out",
        "adapters",
        "connection",
        "fileno",
        "listener",
        "opened",
        "pgconn",
        "poll",
        "prepared",
        "slot",
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
        self.slot: Any = None
        self.pgconn.notice_handler = _notice_handler(self)
        _all.add(self)

    def __del__(self) -> None:
        # One that was interrupted, and forgotten in whatever state: its server is told.
        self.pgconn.finish()

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
    def is_handed_out(self) -> bool:
        """Whether a user has the connection as psycopg's own."""
        return self._handed_out is not None

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
        self.pgconn.notice_handler = _notice_handler(self)
        self.pgconn.notify_handler = None
        self.prepared.clear()
        return (
            self.pgconn.status == pq.ConnStatus.OK
            and self.pgconn.pipeline_status == pq.PipelineStatus.OFF
            and self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE
        )

    def cut_off(self) -> None:
        """End the connection under whoever uses it, on whatever thread."""
        with suppress(psycopg.Error, OSError):
            copy = socket.socket(fileno=os.dup(self.pgconn.socket))
            with copy:
                copy.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; what its server was doing goes on until it notices."""
        self.pgconn.finish()


def open_links() -> list[Link]:
    """Return all links of this process."""
    while True:
        try:
            return list(_all)
        except RuntimeError:
            continue  # one was opened meanwhile


def _notice_handler(link: Link) -> Callable[[PGresult], None]:
    """Return what hands notices on, and does not keep the link alive."""
    found = weakref.ref(link)

    def hand_on(result: PGresult) -> None:
        link = found()
        if link is not None and link.listener is not None:
            callback, function, partition = link.listener
            callback(Notice.of(result, function, partition))

    return hand_on


def _poller(fileno: int) -> Callable[[float], object]:
    """Return what waits so many milliseconds at most for the socket to be readable."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(fileno, select.POLLIN)
        return poll.poll
    return lambda timeout: select.select([fileno], [], [], timeout / 1000)[0]


def _cut_off() -> None:
    """Give a forked child dead sockets in the place of its parent's.

    Whatever it does with an inherited connection, be it to close it as it ends, the
    parent's own does not hear of it.
    """
    dead, other = socket.socketpair()
    with dead, other:
        for link in list(_all):
            # One that broke has no socket, and its number may be anybody's by now.
            with suppress(psycopg.Error):
                os.dup2(dead.fileno(), link.pgconn.socket, inheritable=False)


_all: weakref.WeakSet[Link] = weakref.WeakSet()

os.register_at_fork(after_in_child=_cut_off)
