"""What is asked of one partition: four round trips, and nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from time import time as wall_clock

import psycopg

from plproxy_py.function import ProxyFunction
from plproxy_py.ops.check.catalog import Catalog, question, read
from plproxy_py.ops.check.findings import Finding
from plproxy_py.ops.check.functions import wanted
from plproxy_py.ops.check.hashes import builtin_faults
from plproxy_py.ops.preparing import prepared
from plproxy_py.ops.sessions import Session


@dataclass(frozen=True, slots=True)
class Look:
    """What a partition said. ``refused``: what it can't prepare, by signature.

    ``hashes``: what it computes otherwise, without its number.
    """

    catalog: Catalog
    refused: dict[str, psycopg.Error]
    hashes: list[Finding]


async def look(connection: Session, functions: Sequence[ProxyFunction]) -> Look:
    """Ask a partition for all that a check needs, then close the connection.

    A server's connections are not kept by a check of very many partitions.
    """
    await connection.set_autocommit(True)
    skew, uncertainty = await _clock(connection)
    names = sorted({wanted(function) for function in functions})
    cursor = psycopg.AsyncRawCursor(connection)
    await cursor.execute(
        question(connection.info.server_version).encode(),
        ([name for name, _ in names], [schema for _, schema in names]),
        prepare=False,
    )
    row = await cursor.fetchone()
    assert row is not None
    catalog = read(row[0], skew, uncertainty)
    refused = {
        function.signature.key: error
        for function, error in await prepared(connection, functions)
    }
    encoding = catalog.facts.encoding
    hashes = await builtin_faults(connection, encoding, catalog.has_mmh3)
    await connection.close()
    return Look(catalog, refused, hashes)


async def _clock(connection: Session) -> tuple[float, float]:
    """Return how many seconds a server's clock is ahead, and how far that may be off.

    It was read at some time of the round trip: half of it at most lies beside it.
    """
    asked, started = wall_clock(), time.monotonic()
    cursor = await connection.execute(
        "SELECT extract(epoch FROM clock_timestamp())::float8"
    )
    half = (time.monotonic() - started) / 2
    row = await cursor.fetchone()
    assert row is not None
    return row[0] - (asked + half), half
