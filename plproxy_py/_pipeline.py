"""Many calls of one statement on one connection, without waiting for each.

Pipeline mode, a Sync for each call: each is its own transaction, and an error undoes no
other. How much may be sent and read at a time is the owner's to say. The contract of a
``PQGen`` stands in `_wire`, which also decides what was committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import psycopg
from psycopg import pq

from plproxy_py import _libpq, _wire
from plproxy_py._prepared import Prepared, new_name
from plproxy_py._waiting import PAUSE, READ, WRITE

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn, PGresult

    from plproxy_py._wire import Param

# Calls in flight on one connection: 64 were nearly as fast, and from 270 on a Unix
# socket takes no more small ones.
MOST_IN_FLIGHT = 128

# From so many calls on, the first one is worth preparing the statement: a prepared
# call takes the server 0.6 of the time.
MANY = 4

# Bytes of calls that are worth a system call: a server that is woken by each call of a
# pipeline spends as much time on that as on the call.
ENOUGH = 2048

# Rows of a result that are looked at to judge its size.
SAMPLE = 16

_SYNC = pq.ExecStatus.PIPELINE_SYNC
_FATAL = pq.ExecStatus.FATAL_ERROR
_COPIES = (
    pq.ExecStatus.COPY_IN,
    pq.ExecStatus.COPY_OUT,
    pq.ExecStatus.COPY_BOTH,
)

# In place of a call's position: what is sent beside them.
_PREPARE, _DEALLOCATE = -1, -2


class Owner(Protocol):
    """Whose calls they are, by position."""

    def may_send(self, index: int) -> bool:
        """Whether there is room for a call; if so, it is sent."""

    def may_read(self) -> bool:
        """Whether there is room for an answer."""

    def answered(self, index: int, results: list[PGresult], is_prepared: bool) -> bool:
        """Take all results of a call, whose own Sync was read.

        Return what `may_read` would.
        """


class Pipeline:
    """The calls on one connection, ``params`` by position.

    Where there is no room, it pauses. ``stopping``: nothing more is sent; what was sent
    is still read. ``results``: of the call that is being answered, so far.
    """

    def __init__(
        self,
        pgconn: PGconn,
        sql: bytes,
        params: Sequence[Sequence[Param]],
        prepared: Prepared,
        owner: Owner,
    ) -> None:
        self.stopping = False
        self.results: list[PGresult] = []
        self._pgconn = pgconn
        self._sql = sql
        self._params = params
        self._prepared = prepared
        self._owner = owner
        self._waiting = deque(range(len(params)))
        self._awaited: deque[int] = deque()
        self._by_name = False  # how those in flight were sent, all the same way
        self._stale: list[int] = []
        self._is_announced = False
        self._name = prepared.names.get(sql)
        if self._name is None and (prepared.is_due(sql) or len(params) >= MANY):
            self._name = new_name(sql) if prepared.enabled else None

    @property
    def in_flight(self) -> bool:
        """Whether an answer is to be expected."""
        return bool(self._awaited)

    def run_gen(self) -> PQGen[list[PGresult]]:
        """Send the calls and read their answers, to the end."""
        if self._prepared.in_chunks:
            # libpq leaves a stream's mode with the next plain statement, and not with
            # the first one of a pipeline: its rows came as chunks.
            yield from _wire.call_gen(self._pgconn, b"SELECT", ())
            self._prepared.in_chunks = False
        self._pgconn.enter_pipeline_mode()
        try:
            yield from self._talk_gen()
        except psycopg.Error:
            self._salvage()
            raise
        self._pgconn.exit_pipeline_mode()
        return []

    def _talk_gen(self) -> PQGen[None]:
        pgconn, owner = self._pgconn, self._owner
        while True:
            unsent = pgconn.flush() or self._send()
            if not self._awaited:
                if self.stopping or not self._waiting:
                    return
                yield PAUSE
            elif not owner.may_read():
                yield PAUSE
                self._read()
            else:
                wanted = READ | WRITE if unsent else READ
                if (yield wanted) & READ:  # type: ignore[misc]
                    pgconn.consume_input()
                    while pgconn.notifies() is not None:
                        pass
                    self._read()

    def _send(self) -> int:
        """Send as many as may be; return 1 if the socket takes no more for now."""
        waiting, awaited = self._waiting, self._awaited
        if self._stale:
            if awaited:
                return 0
            # Nothing overtakes them.
            waiting.extendleft(reversed(self._stale))
            self._stale.clear()
        if len(awaited) > MOST_IN_FLIGHT // 2:
            return 0
        pgconn, params, may_send = self._pgconn, self._params, self._owner.may_send
        name = self._name
        self._by_name = name is not None
        queued = 0
        while waiting and len(awaited) < MOST_IN_FLIGHT and not self.stopping:
            index = waiting[0]
            if not may_send(index):
                break
            size = 0
            if name is None:
                _wire.send(pgconn, self._sql, params[index])
            else:
                if not self._is_announced:
                    self._announce(name)
                size = _libpq.queue(pgconn, name, params[index])
                if not size:
                    _wire.send_prepared(pgconn, name, params[index])
            awaited.append(waiting.popleft())
            if not size:
                pgconn.pipeline_sync()
            queued += size or ENOUGH
            # To send more than fits in libpq's buffer would make it read between two
            # sends, and if it then finds the connection broken, it does not know any
            # more what was answered.
            if queued >= ENOUGH:
                queued = 0
                if pgconn.flush():
                    return 1
        return pgconn.flush() if queued else 0

    def _announce(self, name: bytes) -> None:
        """Prepare the statement, unless it is; the oldest one makes room for it.

        If that fails, the calls will not find it, and tell themselves what is wrong.
        """
        self._is_announced = True
        prepared, pgconn = self._prepared, self._pgconn
        if prepared.names.get(self._sql) is not None:
            return
        if (oldest := prepared.oldest()) is not None:
            prepared.forget(oldest[0])
            pgconn.send_query_params(b"DEALLOCATE " + oldest[1], None)
            pgconn.pipeline_sync()
            self._awaited.append(_DEALLOCATE)
        pgconn.send_prepare(name, self._sql)
        pgconn.pipeline_sync()
        self._awaited.append(_PREPARE)

    def _salvage(self) -> None:
        """Read what came before the connection broke: it may answer some calls."""
        pgconn, before = self._pgconn, -1
        with suppress(psycopg.Error):
            while (
                before != len(self._awaited)
                and pgconn.pipeline_status != pq.PipelineStatus.OFF
            ):
                before = len(self._awaited)
                self._read()
                pgconn.consume_input()

    def _read(self) -> None:
        pgconn, awaited = self._pgconn, self._awaited
        was_none = False
        while awaited and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                # Between two statements, and without end where the connection is lost.
                if was_none and pgconn.status == pq.ConnStatus.BAD:
                    message = pgconn.error_message.decode(errors="replace")
                    raise psycopg.OperationalError(message)
                was_none = True
                continue
            was_none = False
            status = result.status
            if status == _SYNC:
                results, self.results = self.results, []
                if not self._synced(awaited.popleft(), results):
                    return
            elif status in _COPIES:
                raise psycopg.NotSupportedError("COPY in a call")
            else:
                self.results.append(result)

    def _synced(self, index: int, results: list[PGresult]) -> bool:
        """Take what a Sync ended; return whether there is room for more."""
        if index < 0:
            if index == _PREPARE:
                self._note_prepared(results)
        elif (
            self._by_name
            and results
            and results[-1].status == _FATAL
            and _wire.is_stale(results)
        ):
            # It was not executed, and is sent once more, in full.
            self._prepared.forget(self._sql)
            self._name = None
            self._stale.append(index)
        else:
            return self._owner.answered(index, results, self._by_name)
        return self._owner.may_read()

    def _note_prepared(self, results: Sequence[PGresult]) -> None:
        is_there = all(
            result.status != _FATAL
            # Of the same name, and so the same: kept by a pooler, for one.
            or result.error_field(pq.DiagnosticField.SQLSTATE) == b"42P05"
            for result in results
        )
        if is_there:
            self._prepared.add(self._sql)


def size_of(result: PGresult) -> int:
    """Return about how many bytes a result's values have, judged by some rows."""
    count, width = result.ntuples, result.nfields
    value = result.get_value
    if count == 1 == width:
        return len(value(0, 0) or b"")
    if not count:
        return 0
    rows = range(0, count, max(1, count // SAMPLE))
    total = sum([len(value(n, i) or b"") for n in rows for i in range(width)])
    return total * count // len(rows)
