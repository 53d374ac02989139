"""Clusters and functions of a PL/Proxy database, kept current while calls go on.

A cluster is loaded when it is first named. From then on its check, one cheap question,
is asked at most every ``config_ttl`` seconds, in the background and by one asker; with
0 it is asked in each call, at PL/Proxy's own cadence. A call that finds an old map,
since there were no calls for a while, waits for the answer. With the database down the
last good map serves. A right that was taken away, or a cluster that was dropped, is no
bad definition: calls are refused until it is back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from plproxy_py._catalog import Catalog, Entry
from plproxy_py._clusters import ClusterMap
from plproxy_py._connector import Connector
from plproxy_py._forks import renew_in_children
from plproxy_py._home import Home
from plproxy_py._knocking import reason
from plproxy_py._pools import Wired
from plproxy_py._steps import Steps, run_async
from plproxy_py._waiting import INFINITE
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import (
    DeclarationError,
    Error,
    NoSuchCluster,
    RouterClosed,
)
from plproxy_py.function import ProxyFunction
from plproxy_py.sources.database import Loaded, cluster_question
from plproxy_py.sources.functions import Reflection, functions_question

logger = logging.getLogger("plproxy_py")

# A map is old, so that a call waits a little for a newer one, when it was current so
# many seconds ago, beside twice the config_ttl. While calls go on, it is asked before.
OLD = 1.0
MOST_WAIT = 1.0

# What a router must not go on without: USAGE, a user mapping.
_REFUSALS = ("42501", "42704")


@dataclass(slots=True)
class _Known:
    """A loaded cluster. ``seen``: when it was last current; ``error``: why not now."""

    loaded: Loaded
    seen: float
    error: Error | None = field(default=None)


class HomeClusters:
    """Clusters by name, from the database that ``home`` leads to."""

    def __init__(
        self,
        map: ClusterMap,
        catalog: Catalog,
        home: Home,
        connector: Connector,
        ttl: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._map = map
        self._catalog = catalog
        self._home = home
        self._connector = connector
        self._ttl = ttl
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._reflection: Reflection | None = None
        self._functions_error: str | None = None
        self._due = 0.0
        self.after_fork()
        renew_in_children(self)
        map.on_stale(self._expire)

    def _expire(self) -> None:
        self._due = self._clock()

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._asking = False

    def get(self, name: str, deadline: float) -> Steps[Wired]:
        """Return a cluster; load it if nobody has yet. Raise what its source says."""
        known = self._known.get(name)
        if known is None or name not in self._map.wired:
            yield from self._load(name, deadline)
        elif self._ttl == 0:
            yield from self._check(name, known, deadline)
        elif known.error is not None:
            if _refused(known.error):
                raise _again(known.error)
        elif (now := self._clock()) - known.seen > OLD + 2 * self._ttl:
            yield from self._check(name, known, min(deadline, now + MOST_WAIT))
        return self._map.get(name)

    def current(self, name: str) -> Wired | None:
        """Return a cluster that can be taken as it is, None if one must look."""
        known = self._known.get(name)
        if known is None or known.error is not None:
            return None
        # With a ttl of 0 it is always due.
        return None if self._clock() >= self._due else self._map.settled(name)

    def refresh(self, deadline: float) -> Steps[None]:
        """Start the background's round of questions, if it is due."""
        if self._ttl == 0:
            if self._reflection is not None:
                yield from self._check_functions(self._reflection, deadline)
            return
        if self._clock() < self._due:
            return
        with self._lock:
            if self._asking or not (self._known or self._reflection):
                return
            self._asking = True
        self._connector.submit(self._round())

    async def _round(self) -> None:
        """Ask about everything that is known. Runs on the connector's loop."""
        try:
            if self._reflection is not None:
                await run_async(self._check_functions(self._reflection))
            for name, known in list(self._known.items()):
                await run_async(self._quietly(name, known))
        except (asyncio.CancelledError, RouterClosed):
            pass
        finally:
            self._due = self._clock() + self._ttl
            self._asking = False

    def _quietly(self, name: str, known: _Known) -> Steps[None]:
        try:
            yield from self._check(name, known)
        except RouterClosed:
            return
        except Error as error:
            known.error = error

    def _load(self, name: str, deadline: float) -> Steps[None]:
        loaded = yield from self._home.ask(cluster_question(name), deadline)
        if loaded.ignored:
            logger.info(
                "cluster %s: without effect here: %s", name, ", ".join(loaded.ignored)
            )
        self._map.put(loaded.config)
        self._known[name] = _Known(loaded, self._clock())
        self._due = self._due or self._clock() + self._ttl

    def _check(
        self, name: str, known: _Known, deadline: float = INFINITE
    ) -> Steps[None]:
        """Look whether a cluster is still the same, load it anew if not.

        Raise only for a right that is gone or a cluster that was dropped: for all else
        the map in force goes on serving.
        """
        try:
            same = yield from self._home.ask(known.loaded.check, deadline)
            if not same:
                yield from self._load(name, deadline)
            else:
                known.seen, known.error = self._clock(), None
        except RouterClosed:
            raise
        except Error as error:
            if _refused(error):
                raise
            if known.error is None or reason(known.error) != reason(error):
                logger.error(
                    "cluster %s: the last good definition stays in force: %s",
                    name,
                    error,
                )
            known.error = error

    def reflect(self) -> Steps[list[Entry]]:
        """Read every function of the language from the catalog, and declare it.

        What can't be used is logged with its reason, and passed over.
        """
        reflection = yield from self._home.ask(functions_question())
        functions: list[ProxyFunction] = []
        errors: list[DeclarationError] = list(reflection.errors)
        for found in reflection.functions:
            try:
                functions.append(
                    self._catalog.compile(
                        found.signature, found.body, found.strict, found.columns
                    )
                )
            except DeclarationError as error:
                errors.append(error)
        for unusable in errors:
            logger.warning("passed over: %s", unusable)
        entries = self._catalog.replace("catalog", functions)
        self._reflection = reflection
        self._due = self._due or self._clock() + self._ttl
        return entries

    def _check_functions(
        self, reflection: Reflection, deadline: float = INFINITE
    ) -> Steps[None]:
        try:
            same = yield from self._home.ask(reflection.check, deadline)
            if not same:
                yield from self.reflect()
            self._functions_error = None
        except RouterClosed:
            raise
        except Error as error:
            if self._functions_error != reason(error):
                logger.error("the last good functions stay in force: %s", error)
            self._functions_error = reason(error)

    def configs(self) -> Mapping[str, ClusterConfig]:
        return {name: wired.config for name, wired in self._map.wired.items()}

    def stats(self) -> Mapping[str, Any]:
        now = self._clock()
        clusters: dict[str, dict[str, Any]] = {
            name: {
                "version": known.loaded.version,
                "age": now - known.seen,
                "error": None if known.error is None else str(known.error),
            }
            for name, known in self._known.items()
        }
        errors = [known["error"] for known in clusters.values() if known["error"]]
        if self._functions_error is not None:
            errors.append(self._functions_error)
        return {
            "source": self._home.wired.config.target(0).redacted,
            "age": max((known["age"] for known in clusters.values()), default=0.0),
            "error": errors[0] if errors else None,
            "clusters": clusters,
        }


def _refused(error: Error) -> bool:
    return isinstance(error, NoSuchCluster) or error.sqlstate in _REFUSALS


def _again(error: Error) -> Error:
    """Return a fresh copy: an error object belongs to one raise."""
    return type(error)(str(error), sqlstate=error.sqlstate, cluster=error.cluster)
