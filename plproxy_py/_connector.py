"""The background thread of a router: it opens connections and sends cancel requests.

Connections are opened there because libpq resolves names synchronously, so no deadline
would hold on the caller's own thread, and a thread per target would cost 64 threads for
64 targets. Cancel requests are sent from there too, since a frozen server may never
answer them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from plproxy_py._links import Adapters, Link, Session
from plproxy_py.config import Partition
from plproxy_py.errors import ConfigError, ConnectError, RouterClosed

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

T = TypeVar("T")

CANCEL_TIMEOUT = 5.0

Password = Callable[[Partition], Any]
"""Gives a new connection's password, on AsyncRouter also as an awaitable."""

# psycopg's loaders read these forms and no others.
_SESSION = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
}


class Connector:
    """The background thread that opens links and sends cancel requests.

    It starts with the first of them and ends with `close`.
    """

    def __init__(
        self,
        adapters: Adapters,
        application_name: str = "plproxy_py",
        password: Password | None = None,
    ) -> None:
        self._adapters = adapters
        self._application_name = application_name
        self._password = password
        # Again by the same thread where the collector, in `submit`, finds a stream.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def open(self, session: Session, cluster: str) -> Future[Link]:
        """Open a link. The future fails with a `ConnectError` or `ConfigError`."""
        return self.submit(self._open(session, cluster))

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

    async def _open(self, session: Session, cluster: str) -> Link:
        options = {"application_name": f"{self._application_name} {cluster}".rstrip()}
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
