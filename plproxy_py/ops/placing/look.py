"""The first look at a table on all databases of a cluster, before rows are counted."""

from __future__ import annotations

from dataclasses import dataclass

from plproxy_py._router_base import RouterBase
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import Error
from plproxy_py.keys import Registered
from plproxy_py.ops.placing.places import Place, places_of, united
from plproxy_py.ops.placing.tables import KeyTable, Wanted, described
from plproxy_py.ops.sessions import Session, on_each


@dataclass(frozen=True, slots=True)
class Look:
    """The databases, each once; the table on those that have shown it, or the error.

    ``tables`` and ``errors`` are by a place's first partition.
    """

    places: list[Place]
    tables: dict[int, KeyTable]
    errors: dict[int, Error]

    @property
    def hashed_here(self) -> list[int]:
        """The partitions whose servers can't compute the hash."""
        return [
            place.first
            for place in self.places
            if place.first in self.tables and not self.tables[place.first].on_server
        ]


async def look(
    router: RouterBase,
    cluster: ClusterConfig,
    wanted: Wanted,
    registered: Registered,
    timeout: float,
) -> Look:
    """Find the table on each database. ``timeout``: seconds for each.

    Raise the first error where all have failed: then a name is wrong, more likely.
    """

    async def describe(connection: Session, _: int) -> KeyTable:
        return await described(connection, cluster, wanted, registered)

    places = places_of(cluster)
    firsts = [place.first for place in places]
    found = await on_each(router, cluster.name, firsts, describe, timeout=timeout)
    tables: dict[int, KeyTable] = {}
    errors: dict[int, Error] = {}
    for partition, table in found.items():
        if isinstance(table, Error):
            errors[partition] = table
        else:
            tables[partition] = table
    if not tables:
        raise next(iter(errors.values()))
    databases = {first: table.database for first, table in tables.items()}
    return Look(united(places, databases), tables, errors)
