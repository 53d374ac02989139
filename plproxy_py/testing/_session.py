"""One connection to a fake partition: the conversation, as a server leads it."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from plproxy_py.testing import _protocol
from plproxy_py.testing._playbook import Playbook
from plproxy_py.testing._protocol import (
    Bind,
    Close,
    Describe,
    Execute,
    Flush,
    Malformed,
    Message,
    Param,
    Parse,
    Query,
    Sync,
    Terminate,
)
from plproxy_py.testing._scripts import Place, Refusal
from plproxy_py.testing._statements import (
    Command,
    Done,
    Lost,
    Statement,
    is_command,
)

T = TypeVar("T")

SERVER_VERSION = "15.0"

# What a server of that version reports; a session may have asked for others.
_REPORTED = {
    "server_version": SERVER_VERSION,
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "application_name": "",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "integer_datetimes": "on",
    "standard_conforming_strings": "on",
    "in_hot_standby": "off",
    "default_transaction_read_only": "off",
    "is_superuser": "off",
    "session_authorization": "fake",
}
_OPTION = re.compile(r"(?:-c\s*|--)(\w+)=((?:\\.|\S)*)")

# Rows are handed to the socket by so many bytes. Between them others are heard: with
# 64 KB an endless answer kept a cancel waiting for a second.
CHUNK = 4 * 1024
# In a pause, that a day has passed is as good as never.
DAY = 86400.0

_UNNAMED = ""


@dataclass(slots=True)
class _Portal:
    statement: Statement
    params: Sequence[Param]
    wants_columns: bool = False


class Session:
    """A session at one partition. ``key`` is what cancels its statement."""

    def __init__(
        self,
        place: Place,
        key: tuple[int, int],
        book: Playbook,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.place = place
        self.key = key
        self._book = book
        self._reader = reader
        self._writer = writer
        self._out = bytearray()
        self._status = "I"
        self._skipping = False
        self._statements: dict[str, Statement] = {}
        self._portals: dict[str, _Portal] = {}
        self._cancelled = asyncio.Event()
        self._running = False

    def cancel(self) -> None:
        """Cancel the statement that runs, if one does."""
        if self._running:
            self._cancelled.set()

    async def pause(self, seconds: float) -> None:
        """Do nothing for a while. Raise `Refusal` when it is cancelled."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(min(seconds, DAY)):
                await self._cancelled.wait()
        except TimeoutError:
            return
        raise _cancel()

    def forget(self, statement: str | None) -> None:
        """Forget a prepared statement, None for all."""
        if statement is None:
            self._statements.clear()
        else:
            _find(self._statements, statement, "26000", "prepared statement")
            del self._statements[statement]

    async def run(self, opening: _protocol.Startup) -> None:
        """Lead the conversation to its end."""
        self._greet(opening)
        try:
            while True:
                message = await self._read()
                if isinstance(message, Terminate):
                    return
                await self._answer(message)
        except Lost:
            return
        except Malformed as error:
            fields = {"S": "FATAL", "V": "FATAL", "C": "08P01", "M": str(error)}
            self._out += _protocol.error_response(fields)
            await self._flush()

    def _greet(self, opening: _protocol.Startup) -> None:
        unknown = [name for name in opening.parameters if name.startswith("_pq_.")]
        if opening.minor or unknown:
            self._out += _protocol.protocol_version(unknown)
        self._out += _protocol.AUTHENTICATION_OK
        for name, value in _settings(opening.parameters).items():
            self._out += _protocol.parameter_status(name, value)
        self._out += _protocol.backend_key(self.key)
        self._out += _protocol.ready(self._status)
        self._writer.write(bytes(self._out))
        self._out.clear()

    async def _read(self) -> Message:
        head = await self._reader.readexactly(5)
        (size,) = struct.unpack("!i", head[1:])
        data = await self._reader.readexactly(max(size - 4, 0))
        return _protocol.read_message(head[:1], data)

    async def _flush(self) -> None:
        self._writer.write(bytes(self._out))
        self._out.clear()
        await self._writer.drain()

    async def _answer(self, message: Message) -> None:
        if isinstance(message, Sync):
            self._skipping = False
            await self._ready()
        elif isinstance(message, Flush):
            await self._flush()
        elif not self._skipping:
            try:
                if isinstance(message, Query):
                    await self._query(message)
                else:
                    await self._extended(message)
            except Refusal as refusal:
                await self._refuse(refusal)
                self._skipping = not isinstance(message, Query)
            finally:
                self._running = False
            if isinstance(message, Query):
                await self._ready()

    async def _ready(self) -> None:
        self._portals.clear()
        self._out += _protocol.ready(self._status)
        await self._flush()

    async def _refuse(self, refusal: Refusal) -> None:
        if self._status == "T":
            self._status = "E"
        self._out += _protocol.error_response(refusal.fields)
        if refusal.is_fatal:
            await self._flush()
            raise Lost

    async def _extended(self, message: Message) -> None:
        match message:
            case Parse():
                self._parse(message)
            case Bind():
                self._bind(message)
            case Describe(name, is_portal=True):
                # A result's types may depend on its rows: they are told before these.
                _find(self._portals, name, "34000", "portal").wants_columns = True
            case Describe(name):
                statement = _find(self._statements, name, "26000", "prepared statement")
                self._out += _protocol.parameter_description(statement.oids)
                self._out += _protocol.NO_DATA
            case Execute(portal, limit):
                if limit:
                    raise Refusal("0A000", "no part of a result can be fetched here")
                await self._execute(_find(self._portals, portal, "34000", "portal"))
            case Close(name, is_portal):
                closed: dict[str, Any] = (
                    self._portals if is_portal else self._statements
                )
                closed.pop(name, None)
                self._out += _protocol.CLOSE_COMPLETE

    def _parse(self, message: Parse) -> None:
        name = message.statement
        if name != _UNNAMED and name in self._statements:
            raise Refusal("42P05", f'prepared statement "{name}" already exists')
        self._statements[name] = self._meaning(message.sql)
        self._out += _protocol.PARSE_COMPLETE

    def _bind(self, message: Bind) -> None:
        statement = _find(
            self._statements, message.statement, "26000", "prepared statement"
        )
        if any(format != _protocol.TEXT for format in message.formats):
            raise Refusal("0A000", "results come as texts here, not in binary format")
        self._portals[message.portal] = _Portal(statement, message.params)
        self._out += _protocol.BIND_COMPLETE

    def _meaning(self, sql: bytes) -> Statement:
        statement = self._book.find(sql, self.place)
        ends = isinstance(statement, Command) and statement.status is not None
        if self._status == "E" and not ends:
            raise Refusal(
                "25P02",
                "current transaction is aborted, commands ignored until end of "
                "transaction block",
            )
        return statement

    async def _query(self, message: Query) -> None:
        pieces = [piece for piece in message.sql.split(b";") if piece.strip()]
        # Only of commands can be told where they end.
        if not all(is_command(piece) for piece in pieces):
            pieces = [message.sql]
        for piece in pieces or [b""]:
            done = await self._run(_Portal(self._meaning(piece), ()))
            await self._send(done, done.rowset is not None)

    async def _execute(self, portal: _Portal) -> None:
        done = await self._run(portal)
        if portal.wants_columns and done.rowset is None:
            self._out += _protocol.NO_DATA
        await self._send(done, portal.wants_columns)

    async def _run(self, portal: _Portal) -> Done:
        self._cancelled.clear()
        self._running = True
        done = await portal.statement.run(portal.params, self)
        self._status = done.status or self._status
        return done

    async def _send(self, done: Done, wants_columns: bool) -> None:
        if done.rowset is None:
            self._out += (
                _protocol.command_complete(done.tag)
                if done.tag
                else _protocol.EMPTY_QUERY
            )
            return
        if wants_columns:
            self._out += _protocol.row_description(done.rowset.columns)
        count = 0
        for texts in done.rowset.rows:
            self._out += _protocol.data_row(texts)
            count += 1
            if len(self._out) >= CHUNK:
                await self._flush()
                # There may be no end of rows, and others to be heard.
                await asyncio.sleep(0)
                if self._cancelled.is_set():
                    raise _cancel()
        self._out += _protocol.command_complete(f"SELECT {count}")


def _find(known: Mapping[str, T], name: str, sqlstate: str, kind: str) -> T:
    if name not in known:
        raise Refusal(sqlstate, f'{kind} "{name}" does not exist')
    return known[name]


def _cancel() -> Refusal:
    return Refusal("57014", "canceling statement due to user request")


def _settings(asked: Mapping[str, str]) -> dict[str, str]:
    """Return what is reported, with what the session asked for."""
    options = {
        name: re.sub(r"\\(.)", r"\1", value)
        for name, value in _OPTION.findall(asked.get("options", ""))
    }
    wanted = {name.lower(): value for name, value in (options | dict(asked)).items()}
    return {name: wanted.get(name.lower(), value) for name, value in _REPORTED.items()}
