"""What is asked of libpq itself: what psycopg does not wrap, and what it does slower.

It is the very libpq which psycopg uses, the one its module was linked with, or the one
that it found: a connection belongs to the library that opened it. Where it can't be
told which one that is, or where nothing was compiled, all goes by psycopg's own
functions; so it does with PLPROXY_PY_PURE.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq
from psycopg.pq.misc import find_libpq_full_path

from plproxy_py._waiting import INFINITE, TICK
from plproxy_py.arrays import Binary

try:
    if os.environ.get("PLPROXY_PY_PURE"):
        raise ImportError("Python was chosen")
    from plproxy_py import _roundtrip as _compiled
except ImportError:
    _compiled = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

# In the order of `bind`, which takes one that came with libpq 17 after them.
_ROUND_TRIP = (
    "PQsendQueryPrepared",
    "PQflush",
    "PQconsumeInput",
    "PQisBusy",
    "PQsocket",
)
_QUEUED_SYNC = "PQsendPipelineSync"


@functools.cache
def _library() -> ctypes.CDLL | None:
    module = sys.modules[pq.PGconn.__module__].__file__ or ""
    name = find_libpq_full_path() if module.endswith(".py") else module
    try:
        library = ctypes.CDLL(name)
        # Two of them may be installed, and neither reads the other's structures.
        return library if name and library.PQlibVersion() == pq.version() else None
    except (AttributeError, OSError, TypeError):
        return None


def address(pgconn: PGconn) -> int | None:
    """Return where libpq's own structure is, None once the connection is closed."""
    # psycopg has it for whatever it does not wrap; its protocol class leaves it out.
    found: int | None = getattr(pgconn, "pgconn_ptr", None)
    return found


def set_verbosity(pgconn: PGconn, verbosity: int) -> None:
    """Choose the form of error messages, where that can be done."""
    setter, pointer = _verbosity(), address(pgconn)
    if setter is not None and pointer is not None:
        setter(pointer, verbosity)


@functools.cache
def _verbosity() -> Callable[[int, int], int] | None:
    try:
        setter = _library().PQsetErrorVerbosity  # type: ignore[union-attr]
    except AttributeError:
        return None
    setter.argtypes = [ctypes.c_void_p, ctypes.c_int]
    setter.restype = ctypes.c_int
    return lambda pointer, kind: int(setter(pointer, kind))


def _bound() -> tuple[
    Callable[[int, bytes, list[bytes | None], float], int] | None,
    Callable[[int, bytes, list[bytes | None]], int] | None,
]:
    library = _library()
    if _compiled is None or library is None:
        return None, None

    def find(name: str) -> int:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0

    try:
        found = [find(name) for name in _ROUND_TRIP]
        sync = find(_QUEUED_SYNC) if pq.version() >= 170000 else 0
        _compiled.bind(*found, sync)
    except AttributeError:
        return None, None
    return _compiled.converse, _compiled.queue if sync else None


_converse, _queue = _bound()


def converse(
    pgconn: PGconn,
    poll: Callable[[float], object],
    name: bytes,
    params: list[bytes | None],
    deadline: float,
) -> bool:
    """Send a prepared statement with texts, and wait on this thread for an answer.

    Return whether one came: not where the socket did not take all of it, nor at the
    deadline, monotonic seconds. ``poll`` waits milliseconds for the socket.
    """
    if _converse is not None:
        # As in `address`: each function between here and C is a hundredth of a call.
        pointer: int | None = pgconn.pgconn_ptr  # type: ignore[attr-defined]
        left = INFINITE if deadline == INFINITE else deadline - time.monotonic()
        state = _converse(pointer or _open(pgconn), name, params, left)
        if state < 0:
            raise _broken(pgconn)
        return state > 0
    pgconn.send_query_prepared(name, params)
    if pgconn.flush():
        return False
    while True:
        # A signal that arrives just before an endless poll would be seen late.
        wait = TICK
        if deadline != INFINITE:
            wait = min(wait, deadline - time.monotonic())
            if wait <= 0:
                return False
        if poll(wait * 1000):
            pgconn.consume_input()
            if not pgconn.is_busy():
                return True


def queue(pgconn: PGconn, name: bytes, params: Sequence[bytes | None]) -> int:
    """Queue a prepared call and its Sync in a pipeline; return about how many bytes.

    They leave with the next flush. 0: nothing was queued, psycopg must send it.
    """
    if _queue is None:
        return 0
    for param in params:
        if type(param) is Binary:
            return 0
    queued = _queue(_open(pgconn), name, list(params))
    if queued < 0:
        raise _broken(pgconn)
    return queued


def _open(pgconn: PGconn) -> int:
    pointer = address(pgconn)
    if pointer is None:
        raise psycopg.OperationalError("the connection is closed")
    return pointer


def _broken(pgconn: PGconn) -> psycopg.Error:
    return psycopg.OperationalError(pgconn.error_message.decode(errors="replace"))
