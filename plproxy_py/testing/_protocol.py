"""PostgreSQL's wire protocol, version 3, as a server sees it: messages, no sockets.

What a client sends is read into values, what a server answers is written as bytes.
Knows neither SQL nor types. Source: PostgreSQL's manual, "Frontend/Backend Protocol".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

CANCEL = 80877102
ENCRYPTION = (80877103, 80877104)  # SSL and GSSAPI

TEXT, BINARY = 0, 1


class Malformed(ValueError):
    """A message that is none of the protocol's."""


@dataclass(frozen=True, slots=True)
class Startup:
    """A session begins; ``minor`` is the minor version that the client would speak."""

    parameters: Mapping[str, str]
    minor: int


@dataclass(frozen=True, slots=True)
class EncryptionRequest:
    """Wants an encrypted connection."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Wants the statement of another session cancelled."""

    key: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Query:
    """A simple query: one or more statements, without parameters."""

    sql: bytes


@dataclass(frozen=True, slots=True)
class Parse:
    """``statement`` is "" for the unnamed one; ``oids`` of parameters, 0 is unsaid."""

    statement: str
    sql: bytes
    oids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter's bytes, None for NULL."""

    data: bytes | None
    is_binary: bool = False


@dataclass(frozen=True, slots=True)
class Bind:
    """``formats`` are those that results are wanted in."""

    portal: str
    statement: str
    params: tuple[Param, ...]
    formats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Describe:
    """Of a portal, or of a statement."""

    name: str
    is_portal: bool


@dataclass(frozen=True, slots=True)
class Execute:
    """``limit`` of rows, 0 for all."""

    portal: str
    limit: int


@dataclass(frozen=True, slots=True)
class Close:
    """Of a portal, or of a statement."""

    name: str
    is_portal: bool


@dataclass(frozen=True, slots=True)
class Sync:
    """Ends a transaction, and what was skipped after an error."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Wants what is ready to be sent."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """The session ends."""


Message = Query | Parse | Bind | Describe | Execute | Close | Sync | Flush | Terminate


class _Payload:
    """A message's bytes, taken from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size or size < 0:
            raise Malformed("a message that is too short")
        self._at += size
        return taken

    def int16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def int32(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def string(self) -> bytes:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise Malformed("a string without an end")
        return self.take(end - self._at + 1)[:-1]

    def name(self) -> str:
        return self.string().decode(errors="replace")

    def int16s(self) -> tuple[int, ...]:
        return tuple(self.int16() for _ in range(self.int16()))

    def value(self) -> bytes | None:
        size = self.int32()
        return None if size == -1 else self.take(size)

    def is_portal(self) -> bool:
        kind = self.take(1)
        if kind not in b"PS":
            raise Malformed("neither a portal nor a statement")
        return kind == b"P"


def read_opening(data: bytes) -> Startup | EncryptionRequest | CancelRequest:
    """Return the message that a connection begins with, its length left out."""
    payload = _Payload(data)
    code = payload.int32()
    if code in ENCRYPTION:
        return EncryptionRequest()
    if code == CANCEL:
        return CancelRequest((payload.int32(), payload.int32()))
    if code >> 16 != 3:
        raise Malformed(f"protocol {code >> 16}.{code & 0xFFFF} is not spoken here")
    parameters = {}
    while name := payload.name():
        parameters[name] = payload.name()
    return Startup(parameters, code & 0xFFFF)


def _bind(payload: _Payload) -> Bind:
    portal, statement, formats = payload.name(), payload.name(), payload.int16s()
    values = [payload.value() for _ in range(payload.int16())]
    if len(formats) <= 1:
        # None: all are texts; one: all are of that format.
        formats = (formats or (TEXT,)) * len(values)
    if len(formats) != len(values):
        raise Malformed("not as many formats as parameters")
    params = tuple(
        Param(value, format == BINARY)
        for value, format in zip(values, formats, strict=True)
    )
    return Bind(portal, statement, params, payload.int16s())


def _parse(payload: _Payload) -> Parse:
    statement, sql = payload.name(), payload.string()
    return Parse(statement, sql, tuple(payload.int32() for _ in range(payload.int16())))


def _describe(payload: _Payload) -> Describe:
    is_portal = payload.is_portal()
    return Describe(payload.name(), is_portal)


def _close(payload: _Payload) -> Close:
    is_portal = payload.is_portal()
    return Close(payload.name(), is_portal)


_READERS: dict[bytes, Callable[[_Payload], Message]] = {
    b"Q": lambda payload: Query(payload.string()),
    b"P": _parse,
    b"B": _bind,
    b"D": _describe,
    b"E": lambda payload: Execute(payload.name(), payload.int32()),
    b"C": _close,
    b"S": lambda payload: Sync(),
    b"H": lambda payload: Flush(),
    b"X": lambda payload: Terminate(),
}


def read_message(kind: bytes, data: bytes) -> Message:
    """Return a client's message of a session. Raise `Malformed`."""
    if kind not in _READERS:
        raise Malformed(f"a message of kind {kind!r}")
    return _READERS[kind](_Payload(data))


_INT16, _INT32 = struct.Struct("!H").pack, struct.Struct("!i").pack


def _message(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return kind + _INT32(len(data) + 4) + data


def _string(text: str | bytes) -> bytes:
    data = text if isinstance(text, bytes) else text.encode(errors="replace")
    return data.replace(b"\0", b"?") + b"\0"


NO_ENCRYPTION = b"N"
AUTHENTICATION_OK = _message(b"R", _INT32(0))
PARSE_COMPLETE = _message(b"1")
BIND_COMPLETE = _message(b"2")
CLOSE_COMPLETE = _message(b"3")
NO_DATA = _message(b"n")
EMPTY_QUERY = _message(b"I")


def protocol_version(unknown: Sequence[str]) -> bytes:
    """Say that 3.0 is what is spoken here, and which options are ``unknown``."""
    listed = b"".join(map(_string, unknown))
    return _message(b"v", _INT32(3 << 16), _INT32(len(unknown)), listed)


def parameter_status(name: str, value: str) -> bytes:
    return _message(b"S", _string(name), _string(value))


def backend_key(key: tuple[int, int]) -> bytes:
    return _message(b"K", *map(_INT32, key))


def ready(status: str) -> bytes:
    """``status``: I idle, T in a transaction, E in one that failed."""
    return _message(b"Z", status.encode())


def parameter_description(oids: Sequence[int]) -> bytes:
    return _message(b"t", _INT16(len(oids)), *map(_INT32, oids))


def row_description(columns: Sequence[tuple[str, int]]) -> bytes:
    """``columns``: name and type's oid; their values are texts."""
    parts = [
        _string(name) + struct.pack("!ihihih", 0, 0, oid, -1, -1, TEXT)
        for name, oid in columns
    ]
    return _message(b"T", _INT16(len(columns)), *parts)


def data_row(values: Sequence[bytes | None]) -> bytes:
    parts = [
        _INT32(-1) if value is None else _INT32(len(value)) + value for value in values
    ]
    return _message(b"D", _INT16(len(values)), *parts)


def command_complete(tag: str) -> bytes:
    return _message(b"C", _string(tag))


def error_response(fields: Mapping[str, str]) -> bytes:
    """``fields`` by the protocol's letters: S and V severity, C SQLSTATE, M text."""
    parts = [letter.encode() + _string(text) for letter, text in fields.items()]
    return _message(b"E", *parts, b"\0")
