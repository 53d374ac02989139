"""A partition's own connection on loan, for what a function call can't do.

What comes back is made as new, whatever was done to it; what can't be is closed, and
the pool opens another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from plproxy_py import _wire
from plproxy_py._links import Link
from plproxy_py._pools import Loan, Pools
from plproxy_py._preparing import Preparer
from plproxy_py._steps import Steps, Talk
from plproxy_py._waiting import INFINITE, Stepper
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import Error, RoutingError, placed
from plproxy_py.keys import default_hash, key_of
from plproxy_py.language.body import RunNumber
from plproxy_py.options import Options
from plproxy_py.tagging import tag

CLEAN_TIMEOUT = 5.0


class Borrowed:
    """One link on loan."""

    def __init__(self, loan: Loan, is_pooled: bool) -> None:
        self._loan = loan
        self._is_pooled = is_pooled

    @property
    def link(self) -> Link:
        return self._loan.links[0]

    def check_ended(self) -> None:
        """Raise ProgrammingError for what can't be committed; psycopg would hang."""
        if self.link.in_the_middle:
            raise psycopg.ProgrammingError(
                "the connection was left in the middle of a COPY or of another "
                "statement: nothing was committed"
            )

    def give_back(self) -> Steps[None]:
        """Clean the connection and give it back, or close it."""
        good = False
        try:
            # Behind a pooler, the server that would be cleaned is another's by now.
            if not self._is_pooled and self.link.take_back():
                good = yield from _cleaned(self.link)
        finally:
            self._loan.give_back([0] if good else [], lambda _: self.link.close())


def _cleaned(link: Link) -> Steps[bool]:
    committed = False

    def finished(_: int, results: Any, error: Exception | None) -> float:
        nonlocal committed
        committed = error is None and _wire.failure(results, link.pgconn) is None
        return INFINITE

    stepper: Stepper[Any] = Stepper(time.monotonic() + CLEAN_TIMEOUT, finished)
    # DISCARD ALL can't run in a transaction, and ROLLBACK warns outside of one.
    for sql in (b"DISCARD ALL",) if link.at_rest else (b"ROLLBACK", b"DISCARD ALL"):
        committed = False
        stepper.start(0, _wire.call_gen(link.pgconn, sql, ()), link.fileno)
        yield Talk(stepper)
        if not committed:
            return False
    return True


def _partition_of(
    key: object,
    hash: str | None,
    config: ClusterConfig,
    registered: Mapping[str, Callable[..., Any]],
) -> int:
    """Return where a key lives. Raise TypeError or ValueError for what is none."""
    if not (hash is None or isinstance(hash, str)):
        raise TypeError(
            f"connection: hash is a hash function's name, not {type(hash).__name__}"
        )
    known = key_of(hash or default_hash(key), registered)
    try:
        return known.partition(key, config, registered)[2]
    except Error:
        raise
    except Exception as error:  # a key's own methods may raise whatever they like
        kind = ValueError if isinstance(error, ValueError) else TypeError
        hint = "" if hash else "; hash= names another, without it keys are str or int"
        raise kind(
            f"connection: a key of type {type(key).__name__} for {known.name}: "
            f"{error}{hint}"
        ) from None


def borrow(
    preparer: Preparer,
    pools: Pools,
    registered: Mapping[str, Callable[..., Any]],
    cluster: str,
    key: object,
    partition: int | None,
    hash: str | None,
    timeout: float | None,
) -> Steps[Borrowed]:
    """Lend the connection of the partition where ``key`` lives, or of ``partition``.

    Raise `RoutingError` for neither or both, or for what leads nowhere.
    """
    Options(timeout=timeout)
    deadline = time.monotonic() + (timeout or INFINITE)
    try:
        yield from preparer.refresh(deadline)
        wired = yield from preparer.cluster(cluster, deadline)
        config = wired.config
        if (key is None) == (partition is None):
            raise RoutingError("connection() takes key= or partition=")
        if partition is None:
            partition = _partition_of(key, hash, config, registered)
        elif hash is not None:
            raise RoutingError("hash= goes with key=")
        if isinstance(partition, bool) or not isinstance(partition, int):
            raise RoutingError("partition is a number, from 0")
        tag(RunNumber(partition, 1), (), config, preparer.routing.pick)
        loan = yield from pools.lend(wired, (partition,), deadline)
    except Error as error:
        error.cluster = cluster
        raise placed(error, "connection") from None
    return Borrowed(loan, config.pooler)
