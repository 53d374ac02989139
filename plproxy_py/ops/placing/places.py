"""Places: databases, each with the partitions that lead there.

In a cluster that was doubled, or that will be, a database is several partitions.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from plproxy_py._servers import server_of
from plproxy_py.config import ClusterConfig, Target


@dataclass(frozen=True, slots=True)
class Place:
    """A database and its partitions, in ascending order."""

    partitions: tuple[int, ...]
    target: Target

    @property
    def first(self) -> int:
        """The partition under which it is asked."""
        return self.partitions[0]

    @property
    def server(self) -> str:
        """Its server's host and port."""
        return server_name(self.target)


def places_of(cluster: ClusterConfig) -> list[Place]:
    """Return a cluster's databases, each once, in the order of their partitions."""
    found: dict[Target, list[int]] = {}
    for partition in cluster.partitions:
        found.setdefault(partition.target, []).append(partition.number)
    return [Place(tuple(numbers), target) for target, numbers in found.items()]


def united(places: list[Place], databases: Mapping[int, Hashable]) -> list[Place]:
    """Return the places with those as one that are the same database.

    The same server may be named in different words. ``databases``: which one it is,
    by the place's first partition; those that could not be asked are missing.
    """
    found: dict[Hashable, Place] = {}
    for place in places:
        key = databases.get(place.first, place)
        if key in found:
            partitions = sorted(found[key].partitions + place.partitions)
            place = Place(tuple(partitions), found[key].target)
        found[key] = place
    return list(found.values())


def server_name(target: Target) -> str:
    """Return host and port as the connect string names them."""
    address, port = server_of(target)
    host = dict(target.parameters).get("host") or address or "local"
    return f"{host}:{port}"
