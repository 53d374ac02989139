"""What psycopg does not wrap of libpq, from the very libpq which psycopg uses.

That is the one its module was linked with, or the one that it found: a connection
belongs to the library that opened it. Where it can't be told which one that is, or
where nothing was compiled, all goes by psycopg's own functions; so it does with
PLPROXY_PY_PURE.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from psycopg import pq

try:
    if os.environ.get("PLPROXY_PY_PURE"):
        raise ImportError("Python was chosen")
    from plproxy_py import _roundtrip as _compiled
except ImportError:
    _compiled = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

Converse = Callable[[int, bytes, "list[bytes | None]", float], int]
Queue = Callable[[int, bytes, "list[bytes | None]"], int]

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
    name = ctypes.util.find_library("pq") if module.endswith(".py") else module
    try:
        library = ctypes.CDLL(name)
        return library if library.PQlibVersion() else None
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


def _bound() -> tuple[Converse | None, Queue | None]:
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


converse, queue = _bound()
