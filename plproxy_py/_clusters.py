"""The clusters a router serves now, and how a new map takes an old one's place.

A new definition is built and checked as a whole before it is swapped in; one that can't
be leaves the old one serving, and is reported once. Pools that no cluster names any
longer are closed as their calls end. Where a definition comes from is `sources`'
affair; those of a database are kept current by `_home_clusters`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from plproxy_py import sources
from plproxy_py._catalog import Catalog
from plproxy_py._forks import renew_in_children
from plproxy_py._pools import Pools, Wired
from plproxy_py._steps import Steps
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import (
    ConfigError,
    DeclarationError,
    NoSuchCluster,
    nearest,
    scrubbed,
)

logger = logging.getLogger("plproxy_py")

FILE_TTL = 1.0


class Clusters(Protocol):
    """Clusters by name, from one source."""

    def refresh(self, deadline: float) -> Steps[None]:
        """Look for a new map, if it is time. Never raises for a bad new map."""

    def get(self, name: str, deadline: float) -> Steps[Wired]:
        """Return a cluster. Raise `NoSuchCluster`, or `QueryTimeout`."""

    def current(self, name: str) -> Wired | None:
        """Return a cluster that can be taken as it is, None if one must look."""

    def configs(self) -> Mapping[str, ClusterConfig]:
        """Return what is known without asking anybody."""

    def stats(self) -> Mapping[str, Any]:
        """Return ``age`` (seconds since the map was last seen current), ``error``."""


class ClusterMap:
    """The clusters in force."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self.wired: dict[str, Wired] = {}
        self.after_fork()
        renew_in_children(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()

    def get(self, name: str) -> Wired:
        try:
            return self.wired[name]
        except KeyError:
            raise NoSuchCluster(
                f"cluster not found: {scrubbed(name)}{nearest(name, self.wired)}",
                cluster=name,
            ) from None

    def settled(self, name: str) -> Wired | None:
        """Return a cluster that waits for no former target of its partitions."""
        moves = self._pools.moves
        if moves.pending and not moves.is_over(name):
            return None
        return self.wired.get(name)

    def on_stale(self, expire: Callable[[], None]) -> None:
        """Name what is done when a server turns out not to be what a map says."""
        self._pools.on_stale = expire

    def swap(self, configs: Mapping[str, ClusterConfig]) -> None:
        """Put these clusters in force, in place of all others."""
        with self._lock:
            before = self.wired
            after = {
                name: before[name]
                if name in before and _is_same(before[name].config, config)
                else self._pools.wire(config)
                for name, config in configs.items()
            }
            # In force only then: who finds it must find what has to be waited for.
            for name, wired in after.items():
                if name in before:
                    _log_moves(before[name], wired)
                    self._pools.move(before[name], wired)
            self.wired = after
            for name, wired in before.items():
                if self.wired.get(name) is not wired:
                    self._pools.unwire(wired)

    def put(self, config: ClusterConfig) -> None:
        """Put one cluster in force, beside the others."""
        with self._lock:
            others = {name: wired.config for name, wired in self.wired.items()}
            self.swap({**others, config.name: config})


def _is_same(before: ClusterConfig, after: ClusterConfig) -> bool:
    """Tell whether nothing changed, passwords included, which targets leave out."""
    return before == after and all(
        was.target.secrets == now.target.secrets
        for was, now in zip(before.partitions, after.partitions, strict=True)
    )


def _log_moves(before: Wired, after: Wired) -> None:
    old, new = before.config.partitions, after.config.partitions
    if len(old) != len(new):
        logger.info(
            "cluster %s: %d partitions became %d", after.config.name, len(old), len(new)
        )
    for was, now in zip(old, new, strict=False):
        if was.target != now.target:
            logger.info(
                "cluster %s: partition %d moved from %s to %s",
                after.config.name,
                now.number,
                was.target.redacted,
                now.target.redacted,
            )


class FixedClusters:
    """Clusters from a mapping: they change when the application swaps them."""

    def __init__(self, map: ClusterMap, configs: Mapping[str, ClusterConfig]) -> None:
        self.map = map
        map.swap(configs)

    def refresh(self, deadline: float) -> Steps[None]:
        yield from ()

    def get(self, name: str, deadline: float) -> Steps[Wired]:
        yield from ()
        return self.map.get(name)

    def current(self, name: str) -> Wired | None:
        return self.map.settled(name)

    def configs(self) -> Mapping[str, ClusterConfig]:
        return {name: wired.config for name, wired in self.map.wired.items()}

    def stats(self) -> Mapping[str, Any]:
        return {"source": "mapping", "age": 0.0, "error": None}


class FileClusters(FixedClusters):
    """Clusters and functions from a TOML file, which are read anew when they change.

    The files are looked at on a call, at most once in `FILE_TTL` seconds.
    """

    def __init__(
        self,
        map: ClusterMap,
        catalog: Catalog,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._path = path
        self._clock = clock
        self._functions: tuple[Path, ...] = ()
        self._error: str | None = None
        self.after_fork()
        renew_in_children(self)
        self._home = sources.home_of(path)
        configs = self._read()
        self._checked = self._seen = clock()
        super().__init__(map, configs)
        map.on_stale(self._expire)

    def after_fork(self) -> None:
        self._checking = threading.Lock()

    def _read(self) -> Mapping[str, ClusterConfig]:
        """Read all files; the functions are in force when this returns."""
        self._stamps = self._stamp(self._functions)
        home = sources.home_of(self._path)
        if home != self._home:
            raise ConfigError(
                f"{self._path}: another home takes effect when the router starts anew"
            )
        configs, functions = sources.from_file(self._path)
        self._functions = functions
        # Of each file before it is read: what changes meanwhile is read next time.
        self._stamps = [self._stamps[0], *self._stamp(functions)[1:]]
        self._catalog.replace(
            "file",
            [found for file in functions for found in self._catalog.read_file(file)],
        )
        return configs

    def _stamp(self, functions: Iterable[Path]) -> list[tuple[int, int, int] | None]:
        stamps: list[tuple[int, int, int] | None] = []
        for path in (self._path, *functions):
            try:
                found = path.stat()
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except (OSError, ValueError):
                stamps.append(None)
        return stamps

    def _expire(self) -> None:
        self._checked = -FILE_TTL

    def refresh(self, deadline: float) -> Steps[None]:
        yield from ()
        now = self._clock()
        if now - self._checked < FILE_TTL or not self._checking.acquire(blocking=False):
            return
        try:
            self._checked = now
            if self._stamp(self._functions) != self._stamps:
                self.map.swap(self._read())
                logger.info("%s: read anew", self._path)
            elif self._error is not None:
                return
            self._error, self._seen = None, now
        except (ConfigError, DeclarationError) as error:
            self._error = str(error)
            logger.error("the last good configuration stays in force: %s", error)
        finally:
            self._checking.release()

    def current(self, name: str) -> Wired | None:
        is_due = self._clock() - self._checked >= FILE_TTL
        return None if is_due else super().current(name)

    def stats(self) -> Mapping[str, Any]:
        return {
            "source": str(self._path),
            "age": self._clock() - self._seen,
            "error": self._error,
        }
