"""The background thread of a router: it opens connections and sends cancel requests.

Connections are opened there because libpq resolves names synchronously, so no deadline
would hold on the caller's own thread, and a thread per target would cost 64 threads for
64 targets. Cancel requests are sent from there too, since a frozen server may never
answer them. Who may try a target that failed is `_knocking`'s affair, what a session is
given `_sessions`', how libpq is driven `_dialling`'s.
"""

from __future__ import annotations

import _thread
import asyncio
import itertools
import random
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

import psycopg

from plproxy_py import _sessions
from plproxy_py._dialling import Refused, dial
from plproxy_py._forks import renew_in_children
from plproxy_py._knocking import LOCKOUTS, Door, Knocking
from plproxy_py._links import Adapters, Link, Session
from plproxy_py._passwords import Password as Password
from plproxy_py._passwords import Passwords
from plproxy_py._promises import spawn
from plproxy_py._waiting import INFINITE
from plproxy_py.config import Partition
from plproxy_py.errors import ConfigError, ConnectError, Error, RouterClosed

T = TypeVar("T")

CANCEL_TIMEOUT = 5.0

# Seconds that the one question to a new target may take.
LEARN_TIMEOUT = 10.0

# A server without a free connection is asked again until the caller's deadline, and
# without one for so many seconds; in pauses that grow to a quarter of a second, since
# each question costs it a process.
CROWDED = "53300"
MOST_CROWDED = 10.0
FIRST_CROWDED_PAUSE, LONGEST_CROWDED_PAUSE = 0.02, 0.25

Connection = psycopg.AsyncConnection[Any]


class Connector:
    """The background thread that opens links and sends cancel requests.

    It starts with the first of them and ends with `close`; a forked child has its own.
    """

    def __init__(
        self,
        adapters: Adapters,
        application_name: str = "plproxy_py",
        password: Password | None = None,
    ) -> None:
        self._adapters = adapters
        self._application_name = application_name
        self._passwords = None if password is None else Passwords(password)
        self._closed = False
        self._parents_loops: list[asyncio.AbstractEventLoop | None] = []
        self._begin()
        renew_in_children(self)

    def _begin(self) -> None:
        # Again by the same thread where the collector, in `submit`, finds a stream.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._knocking = Knocking()

    def open(
        self,
        session: Session,
        title: str,
        deadline: float = INFINITE,
        spare: Callable[[], Link | None] | None = None,
    ) -> Future[Link]:
        """Open a link. The future fails with a `ConnectError` or `ConfigError`.

        ``title``: cluster and version, for pg_stat_activity. While the server has no
        connection free, ``spare`` is asked for a link that serves as well, until the
        ``deadline`` (monotonic seconds).
        """
        if self._passwords is not None:
            self._passwords.note_loop(self._loop)
        return self.submit(self._open(session, title, deadline, spare))

    def is_knocking_vain(self, session: Session) -> bool:
        """Whether the target could not be reached the last time. On any thread.

        It is tried anew meanwhile, so that those who pass by learn when it is back.
        """
        if not self._knocking.has_failed(session):
            return False
        if self._knocking.is_probe_due(session):
            self.submit(self._probe(session))
        return True

    async def _probe(self, session: Session) -> None:
        with suppress(Error):
            link = await self._open(session, "", INFINITE, None)
            link.close()

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
                while thread.ident is None:
                    time.sleep(0.001)  # it is being started
                thread.join()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the background thread. Raise `RouterClosed`."""
        with self._lock:
            if self._closed:
                work.close()
                raise RouterClosed("the router is closed")
            if self._loop is None:
                self._start()
            assert self._loop is not None
            return spawn(work, self._loop)

    def _start(self) -> None:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=self._run, args=(loop,), name="plproxy_py connector", daemon=True
        )
        try:
            # Not on this thread: in `start`, Ctrl-C would break off a wait in such a
            # way that another error comes of it.
            _thread.start_new_thread(thread.start, ())
            # Last: what is half begun must not be taken for a thread that runs.
            self._loop, self._thread = loop, thread
        except BaseException:
            loop.call_soon_threadsafe(loop.stop)
            raise

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

    def after_fork(self) -> None:
        """Begin anew in a forked child: loop and thread are the parent's."""
        # A loop that is collected closes what is the parent's still.
        self._parents_loops.append(self._loop)
        self._begin()

    async def _open(
        self,
        session: Session,
        title: str,
        deadline: float,
        spare: Callable[[], Link | None] | None,
    ) -> Link:
        door = self._knocking.door(session)
        try:
            knock = await self._knocking.enter(door)
            try:
                return await self._patiently(session, title, door, deadline, spare)
            except ConnectError as error:
                if error.sqlstate != CROWDED:
                    self._knocking.failed(door, knock, error)
                raise
            except ConfigError:
                self._knocking.answered(door)
                raise
            finally:
                self._knocking.left(door, knock)
        except Error as error:
            failed = error
        # The frames below this one know passwords: nobody is shown them.
        failed.__cause__ = failed.__context__ = failed.__traceback__ = None
        try:
            raise failed
        finally:
            del failed

    async def _patiently(
        self,
        session: Session,
        title: str,
        door: Door,
        deadline: float,
        spare: Callable[[], Link | None] | None,
    ) -> Link:
        """Open a link, in several attempts where the server has no connection free."""
        started = time.monotonic()
        until = started + MOST_CROWDED if deadline == INFINITE else deadline
        for tries in itertools.count(1):
            try:
                link = await self._greet(session, title, door)
                self._knocking.answered(door)
                return link
            except ConnectError as error:
                if error.sqlstate != CROWDED:
                    raise
                text = str(error)
            # It answers: the others may ask as well.
            self._knocking.answered(door)
            longest = min(
                LONGEST_CROWDED_PAUSE, FIRST_CROWDED_PAUSE * 2 ** min(tries, 10)
            )
            pause = random.uniform(longest / 2, longest)
            now = time.monotonic()
            if now + pause < until:
                await asyncio.sleep(pause)
            if spare is not None and (other := spare()) is not None:
                return other
            if now + pause >= until:
                raise ConnectError(
                    f"{text} (the server had no connection free in "
                    f"{now - started:.1f} s, asked {tries} times)",
                    sqlstate=CROWDED,
                )
        raise AssertionError("counting has no end")

    async def _greet(self, session: Session, title: str, door: Door) -> Link:
        """Connect, and again if the session is not what it must be."""
        manners = door.manners
        given = _sessions.startup(session, manners)
        try:
            connection = await self._connect(session, title, given)
        except ConnectError as error:
            if "options" not in given:
                raise
            if _sessions.is_poolers(error):
                manners.is_pooled = True
            elif error.sqlstate in _sessions.UNABLE:
                manners.checks = False
            else:
                raise
            given = _sessions.startup(session, manners)
            connection = await self._connect(session, title, given)
        # Another version may hash otherwise.
        if manners.known != connection.pgconn.server_version:
            await self._learn(connection, session, door)
        pooled = session.pooler or manners.is_pooled
        wrong = _sessions.differences(connection.pgconn, session.timezone)
        if not pooled:
            manners.settings |= wrong
            if given != (better := _sessions.startup(session, manners)):
                connection.pgconn.finish()
                connection = await self._connect(session, title, better)
                wrong = _sessions.differences(connection.pgconn, session.timezone)
        if wrong:
            connection.pgconn.finish()
            manners.settings.clear()
            raise _misfit(session, wrong, pooled)
        return Link(connection, self._adapters, not pooled)

    async def _learn(
        self, connection: Connection, session: Session, door: Door
    ) -> None:
        try:
            async with asyncio.timeout(LEARN_TIMEOUT):
                await _sessions.learn(connection, session, door.manners)
        except ConfigError:
            connection.pgconn.finish()
            raise
        except (psycopg.Error, TimeoutError) as error:
            connection.pgconn.finish()
            reason = str(error).strip() or f"no answer within {LEARN_TIMEOUT:g} s"
            raise ConnectError(
                f"[{session.target.label}] {reason}",
                sqlstate=getattr(error, "sqlstate", None),
            ) from None
        except BaseException:
            connection.pgconn.finish()
            raise

    async def _connect(
        self, session: Session, title: str, given: dict[str, str]
    ) -> Connection:
        target = session.target
        name = _sessions.application_name(self._application_name, title)
        keywords = target.keywords(application_name=name) | given
        passwords = self._passwords
        # What a connect string from data brings along is to be tried, not ours.
        if passwords is None or (not title and "password" in keywords):
            return await self._dialled(session, keywords)
        partition = session.partition or Partition(0, (target,))
        keywords["password"] = await passwords.of(partition)
        try:
            return await self._dialled(session, keywords)
        except ConnectError as error:
            if error.sqlstate not in LOCKOUTS:
                raise
            before = keywords["password"]
            keywords["password"] = await passwords.of(partition)
            # The same one would only bring the account nearer to being locked.
            if keywords["password"] == before:
                raise
        return await self._dialled(session, keywords)

    async def _dialled(self, session: Session, keywords: dict[str, str]) -> Connection:
        target = session.target
        try:
            pgconn = await dial(keywords)
        except Refused as refused:
            text = target.scrub(str(refused)).strip()
            if password := keywords.get("password"):
                text = text.replace(password, "****")
            raise ConnectError(
                f"[{target.label}] {text}", sqlstate=_sessions.sqlstate_of(refused)
            ) from None
        connection: Connection = psycopg.AsyncConnection(pgconn)
        await connection.set_autocommit(True)
        return connection


def _misfit(session: Session, wrong: dict[str, str], pooled: bool) -> ConfigError:
    """Return the error for a session that would be misread."""
    knobs = ", ".join(f"{name} = {value}" for name, value in wrong.items())
    obstacle = "a pooler stands" if pooled else "the connect string's own options stand"
    if not pooled and "options" not in dict(session.target.parameters):
        return ConfigError(f"[{session.target.label}] the server does not take {knobs}")
    return ConfigError(
        f"[{session.target.label}] sessions need {knobs}: set it for the role or the "
        f"database (ALTER ROLE … SET), since {obstacle} in the way of doing it here"
    )
