"""Where a call runs: RUN ON's kinds, resolved to tagged partitions.

A tagged partition is one that the call will reach. Partitions with equal targets are
tagged once, in first-seen order, as PL/Proxy shares one connection between equal
connect strings. Does no I/O and opens nothing: chance comes in as ``pick``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from plproxy_py.errors import RoutingError
from plproxy_py.language.body import RunAll, RunAny, RunNumber

Pick = Callable[[int], int]
"""Return one of range(n), each as likely as the next."""


class Cluster(Protocol):
    """What tagging needs to know of a cluster."""

    @property
    def part_count(self) -> int: ...

    def partition_of(self, hash: int) -> int: ...

    def target(self, partition: int) -> Hashable: ...


@dataclass(frozen=True, slots=True)
class RunHash:
    """``hash``: normal forms of the arguments → a hash, or several for SETOF."""

    hash: Callable[[Sequence[Any]], Any]
    setof: bool


RunOn = RunAll | RunAny | RunNumber | RunHash


@dataclass(frozen=True, slots=True)
class Tags:
    """``partitions`` in tag order, each target once; ``hashes`` as they came."""

    partitions: tuple[int, ...]
    hashes: tuple[int, ...] = ()


def tag(run_on: RunOn, args: Sequence[Any], cluster: Cluster, pick: Pick) -> Tags:
    """Return the tagged partitions. Raise `RoutingError` before anything is sent."""
    if isinstance(run_on, RunHash):
        hashes = hashes_of(run_on.hash(args), run_on.setof)
        if len(hashes) == 1:
            return Tags((cluster.partition_of(hashes[0]),), hashes)
        return Tags(_once(map(cluster.partition_of, hashes), cluster), hashes)
    if isinstance(run_on, RunAll):
        return Tags(_once(range(cluster.part_count), cluster))
    if isinstance(run_on, RunAny):
        return Tags((pick(cluster.part_count),))
    if not 0 <= run_on.number < cluster.part_count:
        raise RoutingError(
            f"partition {run_on.number} is out of range, the cluster has "
            f"{cluster.part_count}"
        )
    return Tags((run_on.number,))


def hashes_of(value: Any, setof: bool) -> tuple[int, ...]:
    """Check what a hash function gave: an int, or several of them for SETOF."""
    values = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
    for hash in values:
        if hash is None:
            raise RoutingError("the hash is NULL")
        if isinstance(hash, bool) or not isinstance(hash, int):
            raise RoutingError(
                f"a hash must be an int, RUN ON gave {type(hash).__name__}"
            )
        if not -(2**63) <= hash < 2**63:
            raise RoutingError("the hash is out of range for int8")
    if len(values) != 1 and not setof:
        raise RoutingError(
            f"only a set-returning function may run on {len(values)} hashes"
        )
    return tuple(values)


def _once(partitions: Iterable[int], cluster: Cluster) -> tuple[int, ...]:
    first: dict[Hashable, int] = {}
    for partition in partitions:
        first.setdefault(cluster.target(partition), partition)
    return tuple(first.values())
