"""Rows on partitions where no call looks for them. Nothing is changed.

A row is right on a database if one of the partitions that lead there is its key's: in
a cluster that was doubled by entries that lead to the same databases, nothing is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from plproxy_py._router_base import RouterBase
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import Error
from plproxy_py.ops.placing.hashes import Numbering
from plproxy_py.ops.placing.look import Look
from plproxy_py.ops.placing.places import Place
from plproxy_py.ops.placing.tables import (
    BATCH,
    KeyTable,
    batches,
    counted,
    looking,
)
from plproxy_py.ops.sessions import Session, on_each, session


@dataclass(frozen=True, slots=True)
class Audited:
    """A database's rows by the partition where they belong, None for a NULL key.

    ``error`` in place of them where it could not be asked.
    """

    place: Place
    counts: Counter[int | None]
    error: Error | None = None

    @property
    def rows(self) -> int:
        """All rows."""
        return self.counts.total()

    @property
    def misplaced(self) -> dict[int | None, int]:
        """Rows that lie here, by the partition where they belong."""
        wrong = [
            (number, count)
            for number, count in self.counts.items()
            if number not in self.place.partitions
        ]
        return dict(sorted(wrong, key=lambda item: (item[0] is None, item[0] or 0)))


@dataclass(frozen=True, slots=True)
class Misplaced:
    """One row's key, the partition where it lies, and where it belongs, if anywhere."""

    key: Any
    lies_on: int
    belongs_to: int | None


class Audit:
    """An audit of one table, of which `look` has been taken."""

    def __init__(self, router: RouterBase, cluster: ClusterConfig, look: Look) -> None:
        self._router = router
        self._cluster = cluster
        self._numbering = Numbering(cluster.part_count, cluster.modular_mapping)
        self._look = look

    async def count(self, done: Callable[[], object]) -> list[Audited]:
        """Count the rows of each database, for as long as it takes."""

        async def work(connection: Session, partition: int) -> Counter[int | None]:
            return await counted(
                connection, self._look.tables[partition], self._numbering
            )

        known = [
            place.first
            for place in self._look.places
            if place.first in self._look.tables
        ]
        found = await on_each(self._router, self._cluster.name, known, work, done=done)
        audited = []
        for place in self._look.places:
            counts = found.get(place.first) or self._look.errors.get(place.first)
            if isinstance(counts, Error):
                audited.append(Audited(place, Counter(), counts))
            else:
                audited.append(Audited(place, counts or Counter()))
        return audited

    async def misplaced(
        self, place: Place, most: int
    ) -> AsyncGenerator[Misplaced, None]:
        """Read a database's misplaced rows, as many as are there, ``most`` of them.

        They are read in a transaction of their own, after they have been counted.
        """
        table = self._look.tables[place.first]
        partition = place.first
        async with (
            session(self._router, self._cluster.name, partition) as connection,
            looking(connection),
        ):
            read = self._read if table.on_server else self._picked
            async for row in read(connection, table, place, most):
                yield row

    async def _read(
        self, connection: Session, table: KeyTable, place: Place, most: int
    ) -> AsyncIterator[Misplaced]:
        query = sql.SQL(
            "SELECT key, number FROM ({}) AS numbered "
            "WHERE number IS NULL OR number NOT IN ({}) LIMIT {}"
        ).format(
            table.numbered(self._numbering),
            sql.SQL(", ").join(map(sql.Literal, place.partitions)),
            most,
        )
        async with connection.cursor(name="plproxy_misplaced") as cursor:
            cursor.itersize = BATCH
            await cursor.execute(query)
            async for key, number in cursor:
                yield Misplaced(key, place.first, number)

    async def _picked(
        self, connection: Session, table: KeyTable, place: Place, most: int
    ) -> AsyncIterator[Misplaced]:
        async for batch in batches(connection, table, self._numbering):
            for key, number in batch:
                if number in place.partitions:
                    continue
                if most == 0:
                    return
                most -= 1
                yield Misplaced(key, place.first, number)
