"""Every error a caller can meet, and what it says about the partitions.

    Error(psycopg.Error)        .sqlstate .function .cluster .partition .sent .outcomes
    ├─ DeclarationError         while compiling a function: .line .token
    │   ├─ ParseError           42601  the body or the CREATE FUNCTION around it
    │   ├─ SignatureError       42P13  names, types, hints
    │   └─ UnsupportedError     0A000  legal, but nobody here can run it
    ├─ ConfigError              F0000
    │   ├─ NoSuchCluster
    │   ├─ PartitionCountError
    │   └─ HashMismatch         a partition hashes differently
    ├─ RoutingError             22023  before anything was sent
    ├─ ResultError              22000  what came back does not fit the declaration
    │   ├─ NoDataFound          P0002
    │   ├─ TooManyRows          P0003
    │   └─ ColumnMismatch       42804
    ├─ PartitionError           08000  one partition's connection or time
    │   ├─ ConnectError         08001
    │   ├─ ConnectionLost       08006  or the server's FATAL, 57P01 and the like
    │   └─ QueryTimeout         57014  .phase; also a TimeoutError
    │      └─ PoolTimeout       57014  in checkout; also psycopg_pool's
    ├─ RemoteError              the server's own SQLSTATE and diag; also an
    │                           instance of psycopg's class for that SQLSTATE
    └─ RouterClosed             08003

The only file of the two lowest floors that imports psycopg. It knows nothing of
functions, clusters or connections beyond their names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import psycopg
import psycopg_pool
from psycopg import errors as psycopg_errors

T = TypeVar("T")

State = Literal["committed", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of a call on one partition.

    ``state`` is *committed* (the server reported the end of the transaction and no
    error), *failed* (nothing of this call is in the partition) or *unknown* (a
    statement was sent and its end was not seen: look before you repeat it).
    ``rows`` is empty unless committed. ``sent`` tells whether any byte of the
    statement left for this partition. ``seconds`` counts from sending to the end.
    """

    state: State
    rows: list[T]
    error: Error | None
    sent: bool
    seconds: float


class Error(psycopg.Error):
    """The root: one ``except`` clause catches all that plproxy_py raises itself.

    ``sqlstate`` has five characters, or is None where the server gave none.
    ``function`` is ``schema.name(argument count)`` as PL/Proxy writes it, ``cluster``
    a name, ``partition`` an index from 0 (the first failed one in tag order).
    ``sent`` is False only if no byte of a statement left for any partition, so that
    the whole call may be repeated. ``outcomes`` maps each tagged partition to its
    `Outcome`; it is empty where nothing was tagged.
    """

    __module__ = "plproxy_py"

    default_sqlstate: str | None = None

    def __init__(
        self,
        *args: object,
        info: Any = None,
        encoding: str = "utf-8",
        sqlstate: str | None = None,
        function: str | None = None,
        cluster: str | None = None,
        partition: int | None = None,
        sent: bool = False,
        outcomes: Mapping[int, Outcome[object]] | None = None,
    ) -> None:
        # psycopg types its *args as sequences, its callers pass plain texts.
        super().__init__(*args, info=info, encoding=encoding)  # type: ignore[arg-type]
        self.sqlstate = sqlstate or self.diag.sqlstate or self.default_sqlstate
        self.function = function
        self.cluster = cluster
        self.partition = partition
        self.sent = sent
        self.outcomes: Mapping[int, Outcome[object]] = outcomes or {}

    def _state(self) -> dict[str, object]:
        reduced = psycopg.Error.__reduce__(self)
        info = reduced[2]["_info"] if isinstance(reduced, tuple) else None
        return {**self.__dict__, "_info": info, "_pgconn": None}

    def __reduce__(self) -> tuple[Any, ...]:
        # The state stands apart: among the outcomes in it is this error itself.
        return _rebuild, (type(self), self.args), self._state()


class DeclarationError(Error):
    """A function can't be compiled.

    ``line`` counts from 1 in the text that was given (for a body: the body's own
    lines, as PL/Proxy counts them); ``token`` is the text at which it was noticed.
    """

    __module__ = "plproxy_py"

    def __init__(
        self,
        *args: object,
        line: int | None = None,
        token: str | None = None,
        **context: Any,
    ) -> None:
        super().__init__(*args, **context)
        self.line = line
        self.token = token


class ParseError(DeclarationError):
    """The text is not PL/Proxy's language, or a combination that it forbids."""

    __module__ = "plproxy_py"
    default_sqlstate = "42601"


class SignatureError(DeclarationError):
    """Argument or result types, names or hints can't be declared so."""

    __module__ = "plproxy_py"
    default_sqlstate = "42P13"


class UnsupportedError(DeclarationError):
    """Legal in PL/Proxy, but it can't run here; the text names the way out."""

    __module__ = "plproxy_py"
    default_sqlstate = "0A000"


class ConfigError(Error):
    """A cluster definition, a connect string or the configuration file is wrong."""

    __module__ = "plproxy_py"
    default_sqlstate = "F0000"


class NoSuchCluster(ConfigError):
    """No source defines a cluster of this name."""

    __module__ = "plproxy_py"


class PartitionCountError(ConfigError):
    """The number of partitions is not a power of two, without modular_mapping."""

    __module__ = "plproxy_py"


class HashMismatch(ConfigError):
    """A partition computes another hash than this library for the same value."""

    __module__ = "plproxy_py"


class RoutingError(Error):
    """The arguments lead to no partition. Raised before anything is sent."""

    __module__ = "plproxy_py"
    default_sqlstate = "22023"


class ResultError(Error):
    """The partitions answered, and the answer does not fit the declaration."""

    __module__ = "plproxy_py"
    default_sqlstate = "22000"


class NoDataFound(ResultError):
    """A function that returns one row got none."""

    __module__ = "plproxy_py"
    default_sqlstate = "P0002"


class TooManyRows(ResultError):
    """A function that returns one row got several."""

    __module__ = "plproxy_py"
    default_sqlstate = "P0003"


class ColumnMismatch(ResultError):
    """The columns that came are not the declared ones."""

    __module__ = "plproxy_py"
    default_sqlstate = "42804"


class PartitionError(Error, psycopg.OperationalError):
    """One partition's connection or time failed."""

    __module__ = "plproxy_py"
    default_sqlstate = "08000"


class ConnectError(PartitionError):
    """A partition could not be reached. Nothing was sent to it."""

    __module__ = "plproxy_py"
    default_sqlstate = "08001"


class ConnectionLost(PartitionError):
    """A connection ended in the middle of a call."""

    __module__ = "plproxy_py"
    default_sqlstate = "08006"


class QueryTimeout(PartitionError, TimeoutError):
    """The call's ``timeout`` passed.

    ``phase`` says where: ``checkout``, ``connect``, ``send`` or ``read``.
    """

    __module__ = "plproxy_py"
    default_sqlstate = "57014"

    def __init__(self, *args: object, phase: str = "read", **context: Any) -> None:
        super().__init__(*args, **context)
        self.phase = phase


class PoolTimeout(QueryTimeout, psycopg_pool.PoolTimeout):
    """All connections to a target stayed in use, or too many callers wait."""

    __module__ = "plproxy_py"

    def __init__(self, *args: object, phase: str = "checkout", **context: Any) -> None:
        super().__init__(*args, phase=phase, **context)


class RemoteError(Error):
    """A partition's server refused the call, with its own SQLSTATE and diagnostics.

    Each instance is also one of psycopg's class for its SQLSTATE, so that
    ``except psycopg.errors.UniqueViolation`` works; an SQLSTATE that psycopg does
    not know gives a plain RemoteError.
    """

    __module__ = "plproxy_py"

    def __reduce__(self) -> tuple[Any, ...]:
        # The class is made at run time: name it by what it was made from.
        return _rebuild_remote, (type(self).sqlstate, self.args), self._state()


class RouterClosed(Error):
    """The router was closed."""

    __module__ = "plproxy_py"
    default_sqlstate = "08003"


def scrubbed(text: str) -> str:
    """Return what somebody typed without the password that may be in it.

    A connect string stands now and then where a name or a file belongs.
    """
    return _URI_PASSWORD.sub(r"\1****", _PASSWORD.sub(r"\1****", text))


_PASSWORD = re.compile(r"(?i)(password\s*=\s*)(?:'(?:[^'\\]|\\.)*'?|[^\s'&]+)")
_URI_PASSWORD = re.compile(r"(:/{1,2}[^:/@\s]*:)[^@\s]*(?=@)")


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest name, or nothing."""
    import difflib  # 3 ms, for errors alone

    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def placed(error: Error, function: str, prefix: str = "") -> Error:
    """Say of an error which function it is about, once; return the same error."""
    if error.function is None:
        error.function = function
        error.args = (f"{prefix}{function}: {error}",)
    return error


@functools.cache
def remote_error_class(sqlstate: str | None) -> type[RemoteError]:
    """Return the class for a server's error, made once for each SQLSTATE."""
    try:
        base = psycopg_errors.lookup(sqlstate or "")
    except KeyError:
        return RemoteError
    return type(base.__name__, (RemoteError, base), {"__module__": "plproxy_py"})


def _rebuild(cls: type[Error], args: tuple[Any, ...]) -> Error:
    return cls(*args)


def _rebuild_remote(sqlstate: str | None, args: tuple[Any, ...]) -> Error:
    return remote_error_class(sqlstate)(*args)
