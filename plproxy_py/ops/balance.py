"""How keys, rows and bytes spread over partitions and servers.

Keys by hashing them here; a table's rows by counting them where they lie; databases by
their sizes and the planner's estimates. What another number of partitions would give
is found by hashing: on the servers where they can.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal
from uuid import UUID

from plproxy_py._router_base import RouterBase
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import Error, RoutingError
from plproxy_py.ops.placing.hashes import KeyHash, Numbering
from plproxy_py.ops.placing.look import Look
from plproxy_py.ops.placing.places import Place, places_of, united
from plproxy_py.ops.placing.spread import (
    BYTES_TOLERANCE,
    TOLERANCE,
    Spread,
    even_shares,
)
from plproxy_py.ops.placing.tables import (
    counted,
    database_of,
    looking,
    row_count,
    sized,
)
from plproxy_py.ops.sessions import Session, on_each

What = Literal["keys", "rows", "bytes"]

_BATCH = 10_000

_DATABASE = """
    SELECT pg_catalog.pg_database_size(pg_catalog.current_database()),
        CASE WHEN coalesce(bool_or((reltuples < 0 OR relpages = 0)
                AND pg_catalog.pg_relation_size(c.oid) > 0), false)
            THEN NULL
            ELSE coalesce(sum(reltuples) FILTER (WHERE reltuples > 0), 0) END::int8
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'm') AND nspname !~ '^(pg_|information_schema$)'"""


@dataclass(frozen=True, slots=True)
class Held:
    """What a database, a server, or a partition that is only planned holds.

    None is what was not counted. ``server`` is None for what is planned.
    """

    partitions: tuple[int, ...]
    server: str | None
    keys: int | None = None
    rows: int | None = None
    bytes: int | None = None
    error: Error | None = None

    def amount(self, what: What) -> int:
        """Return how much of this it holds."""
        return {"keys": self.keys, "rows": self.rows, "bytes": self.bytes}[what] or 0


@dataclass(frozen=True, slots=True)
class Group:
    """Those among which something spreads, and how even it is, by their positions."""

    held: list[Held]
    spread: Spread


@dataclass(frozen=True, slots=True)
class Balance:
    """How ``what`` spreads over databases, over servers and over planned partitions.

    ``failed`` are the databases that could not be asked.
    """

    what: What
    partitions: Group
    servers: Group
    planned: Group | None
    failed: list[Held]

    @property
    def key_count(self) -> int | None:
        """How many keys the rows have, None where that is not known."""
        return _sum(one.keys for one in self.partitions.held)

    @property
    def is_even(self) -> bool:
        """Tell whether no partition is uneven, now or as planned."""
        groups = [self.partitions, *([self.planned] if self.planned else [])]
        return not any(group.spread.uneven for group in groups)


def numbering(cluster: ClusterConfig, planned: int | None) -> Numbering:
    """Return a numbering from which both partitions and planned ones are found."""
    count = math.lcm(cluster.part_count, planned or 1)
    return Numbering(count, cluster.modular_mapping)


def keys_balance(
    cluster: ClusterConfig, counts: Counter[int], planned: int | None
) -> Balance:
    """Return the balance of keys by their number in `numbering`."""
    here = _folded(counts, cluster.part_count)
    held = [
        Held(
            place.partitions,
            place.server,
            keys=sum(here[number] for number in place.partitions),
        )
        for place in places_of(cluster)
    ]
    return _balance("keys", held, counts.total(), counts, planned)


async def table_balance(
    router: RouterBase,
    cluster: ClusterConfig,
    look: Look,
    planned: int | None,
    done: Callable[[], object],
) -> Balance:
    """Count a table's rows on each database, for as long as it takes."""
    by = numbering(cluster, planned)

    async def work(
        connection: Session, partition: int
    ) -> tuple[Counter[int | None], int, float | None]:
        table = look.tables[partition]
        if planned is None:
            counts = Counter[int | None]({None: await row_count(connection, table)})
        else:
            counts = await counted(connection, table, by)
        return counts, *await sized(connection, table)

    known = [place.first for place in look.places if place.first in look.tables]
    found = await on_each(router, cluster.name, known, work, done=done)
    held: list[Held] = []
    all_counts: Counter[int] = Counter()
    for place in look.places:
        answer = found.get(place.first) or look.errors[place.first]
        if isinstance(answer, Error):
            held.append(_failed(place, answer))
            continue
        counts, size, distinct = answer
        all_counts.update(
            {number: n for number, n in counts.items() if number is not None}
        )
        here = counts.total()
        keys = None if distinct is None else _keys(distinct, here)
        held.append(Held(place.partitions, place.server, keys, here, size))
    rows = sum(one.rows or 0 for one in held)
    return _balance("rows", held, rows, all_counts, planned)


def _keys(distinct: float, rows: int) -> int:
    """Return how many keys there are. ``distinct``: as pg_stats.n_distinct has it."""
    return min(rows, round(-distinct * rows if distinct < 0 else distinct))


async def database_balance(
    router: RouterBase, cluster: ClusterConfig, timeout: float
) -> Balance:
    """Ask each database for its size. ``timeout``: seconds for each."""

    async def work(
        connection: Session, _: int
    ) -> tuple[int, int | None, tuple[object, ...]]:
        async with looking(connection):
            cursor = await connection.execute(_DATABASE)
            ((size, rows),) = await cursor.fetchall()
            identity, _encoding = await database_of(connection)
            return size, rows, identity

    places = places_of(cluster)
    firsts = [place.first for place in places]
    found = await on_each(router, cluster.name, firsts, work, timeout=timeout)
    held = []
    databases = {
        first: answer[2]
        for first, answer in found.items()
        if not isinstance(answer, Error)
    }
    for place in united(places, databases):
        answer = found[place.first]
        if isinstance(answer, Error):
            held.append(_failed(place, answer))
        else:
            size, rows, _ = answer
            held.append(Held(place.partitions, place.server, None, rows, size))
    return _balance("bytes", held, None)


def _failed(place: Place, error: Error) -> Held:
    return Held(place.partitions, place.server, error=error)


def _balance(
    what: What,
    held: list[Held],
    independent: int | None,
    counts: Counter[int] | None = None,
    planned: int | None = None,
) -> Balance:
    answered = [one for one in held if one.error is None]
    servers = _by_server(answered)
    weights = [len(one.partitions) for one in answered]
    return Balance(
        what,
        _group(what, answered, weights, independent),
        # Servers may hold different numbers of partitions: that is for people to see.
        _group(what, servers, [1] * len(servers), None),
        None if planned is None else _planned(what, counts, planned, independent),
        [one for one in held if one.error is not None],
    )


def _planned(
    what: What, counts: Counter[int] | None, planned: int, independent: int | None
) -> Group:
    folded = _folded(counts or Counter(), planned)
    held = [
        Held(
            (number,),
            None,
            keys=folded[number] if what == "keys" else None,
            rows=folded[number] if what == "rows" else None,
        )
        for number in range(planned)
    ]
    return _group(what, held, [1] * planned, independent)


def _group(
    what: What, held: list[Held], weights: Sequence[int], independent: int | None
) -> Group:
    amounts = tuple(one.amount(what) for one in held)
    tolerance = BYTES_TOLERANCE if what == "bytes" else TOLERANCE
    return Group(held, Spread(amounts, even_shares(weights), independent, tolerance))


def _folded(counts: Counter[int], count: int) -> Counter[int]:
    """Return the counts by number among fewer partitions.

    Of a multiple of them, the remainder is the number under a mask and under modulus.
    """
    folded: Counter[int] = Counter()
    for number, amount in counts.items():
        folded[number % count] += amount
    return folded


def _by_server(held: list[Held]) -> list[Held]:
    found: dict[str, list[Held]] = {}
    for one in held:
        found.setdefault(one.server or "", []).append(one)
    return [
        Held(
            tuple(sorted(number for one in ones for number in one.partitions)),
            server,
            _sum(one.keys for one in ones),
            _sum(one.rows for one in ones),
            _sum(one.bytes for one in ones),
        )
        for server, ones in found.items()
    ]


def _sum(amounts: Iterable[int | None]) -> int | None:
    known = list(amounts)
    return None if None in known else sum(amount or 0 for amount in known)


def count_keys(keys: Iterable[Any], hash: KeyHash, by: Numbering) -> Counter[int]:
    """Count keys by their number, a bounded number of them at a time.

    Raise `RoutingError` for the first that the hash does not take, with its position,
    from 1.
    """
    counts: Counter[int] = Counter()
    found = iter(keys)
    read = 0
    while batch := list(islice(found, _BATCH)):
        normals = []
        for position, key in enumerate(batch, read + 1):
            try:
                normals.append(hash.normal(key))
            except (TypeError, ValueError) as error:
                raise RoutingError(f"key {position}: {error}") from None
        counts.update(map(by.of, hash.hashes(normals)))
        read += len(batch)
    return counts


def made_keys(hash: KeyHash, count: int) -> Iterator[Any]:
    """Make keys of the hash's type: text or bytes from key1 on, numbers from 1 on.

    Always the same. Raise `RoutingError` for a type of which none are made.
    """
    type = hash.type.name
    if type in ("text", "bpchar", "name"):
        return (f"key{number}" for number in range(1, count + 1))
    if type in ("int2", "int4", "int8", "oid"):
        return iter(range(1, count + 1))
    if type == "bytea":
        return (b"key%d" % number for number in range(1, count + 1))
    if type == "uuid":
        draw = random.Random(0).getrandbits
        return (UUID(int=draw(128), version=4) for _ in range(count))
    raise RoutingError(f"{hash.name} takes {type}, of which no keys are made")
