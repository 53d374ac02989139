"""Connections: how one is opened, looked at and closed.

They are opened on one background thread that runs an event loop: libpq resolves names
synchronously, so no deadline would hold on the caller's own thread, and a thread per
target would cost 64 threads for 64 targets. Once open, a connection's socket is polled
by whoever leased it. Cancel requests are sent from there too, since a frozen server
may never answer them.
"""

from __future__ import annotations

import asyncio
import random
import select
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import pq
from psycopg.adapt import AdaptersMap

from plproxy_py._notices import Notice
from plproxy_py._prepared import Prepared
from plproxy_py.config import Target
from plproxy_py.errors import ConfigError, ConnectError, RouterClosed

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

_OK = pq.ConnStatus.OK
T = TypeVar("T")
C = TypeVar("C", bound="psycopg.BaseConnection[Any]")

CANCEL_TIMEOUT = 5.0

Listener = tuple[Callable[[Notice], None], str, int]
"""Who is told of notices, and in the name of which function and partition."""

# psycopg's loaders read these forms and no others.
_SESSION = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
}


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


class Connector:
    """The background thread that opens links and sends cancel requests.

    It starts with the first of them and ends with `close`.
    """

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters
        # Again by the same thread where the collector, in `submit`, finds a stream.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def open(self, session: Session, application_name: str) -> Future[Link]:
        """Open a link. The future fails with a `ConnectError` or `ConfigError`."""
        return self.submit(self._open(session, application_name))

    def cancel(self, link: Link) -> Future[None]:
        """Ask the link's server to cancel; done when the server took the request."""
        return self.submit(link.connection.cancel_safe(timeout=CANCEL_TIMEOUT))

    def close(self) -> None:
        """End the thread. Connects and cancels under way are broken off."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            # A router that is forgotten may be collected on any thread.
            if thread is not threading.current_thread():
                thread.join()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the background thread. Raise `RouterClosed`."""
        with self._lock:
            if self._closed:
                work.close()
                raise RouterClosed("the router is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run,
                    args=(self._loop,),
                    name="plproxy_py connector",
                    daemon=True,
                )
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def _open(self, session: Session, application_name: str) -> Link:
        options = {"application_name": application_name}
        connection = await self._connect(session, options)
        wrong = _differences(connection.pgconn, session.timezone)
        if not wrong:
            return Link(connection, self._adapters, not session.pooler)
        connection.pgconn.finish()
        given = dict(session.target.parameters)
        if session.pooler or "options" in given:
            knobs = ", ".join(f"{name} = {value}" for name, value in wrong.items())
            raise ConfigError(
                f"[{session.target.label}] sessions need {knobs}: set it for the role "
                "or the database (ALTER ROLE … SET), since "
                + ("a pooler" if session.pooler else "the connect string's own options")
                + " stand in the way of doing it here"
            )
        if encoding := wrong.pop("client_encoding", None):
            options["client_encoding"] = encoding
        options["options"] = " ".join(
            f"-c {name}={value.replace(' ', '')}" for name, value in wrong.items()
        )
        connection = await self._connect(session, options)
        if wrong := _differences(connection.pgconn, session.timezone):
            connection.pgconn.finish()
            raise ConfigError(
                f"[{session.target.label}] the server does not take {wrong}"
            )
        return Link(connection, self._adapters, not session.pooler)

    async def _connect(
        self, session: Session, options: dict[str, str]
    ) -> psycopg.AsyncConnection[Any]:
        target = session.target
        try:
            return await psycopg.AsyncConnection.connect(
                target.conninfo(**options), autocommit=True
            )
        # A host name that IDNA can't encode is a UnicodeError.
        except (psycopg.Error, OSError, UnicodeError) as error:
            raise ConnectError(
                f"[{target.label}] {target.scrub(str(error)).strip()}",
                sqlstate=getattr(error, "sqlstate", None),
            ) from None


def _differences(pgconn: PGconn, timezone: str | None) -> dict[str, str]:
    """Return what the session must be set to, of what it is not."""
    wrong = {}
    for name, wanted in _SESSION.items():
        value = (pgconn.parameter_status(name.encode()) or b"").decode()
        first = wanted.partition(",")[0]
        if value.partition(",")[0].replace("-", "").upper() != first.upper():
            wrong[name] = wanted
    if timezone is not None:
        value = (pgconn.parameter_status(b"TimeZone") or b"").decode()
        if value != timezone:
            wrong["TimeZone"] = timezone
    return wrong
