"""What a call has borrowed, until it gives it back, and what is told where it can't."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from plproxy_py._leases import Lease, Slots, granted
from plproxy_py._links import Link
from plproxy_py.errors import Error, Outcome


class Lender(Protocol):
    """Who takes back what was lent."""

    def release(self, lease: Lease[Link], kept: Sequence[Link | None]) -> None: ...


class Loan:
    """Links by position, to be given back."""

    @classmethod
    def of(
        cls, pools: Lender, taken: Sequence[Slots[Link]], links: Sequence[Link]
    ) -> Loan:
        """Return the loan of links that `Pools.take` gave."""
        return cls(pools, granted(taken, links))

    def __init__(self, pools: Lender, lease: Lease[Link]) -> None:
        self._pools = pools
        self._lease = lease

    @property
    def links(self) -> list[Link]:
        return [link for link in self._lease.connections if link is not None]

    def is_of(self, pools: Sequence[Slots[Link]]) -> bool:
        """Whether it was taken from these pools."""
        return list(self._lease.pools) == list(pools)

    def give_back(
        self, good: Iterable[int], close: Callable[[int], None] | None = None
    ) -> None:
        """Return the links at these positions to their pools, ``close`` the others."""
        if not self._lease.granted:
            return
        kept: list[Link | None] = [None] * len(self._lease.pools)
        for index in good:
            kept[index] = self._lease.connections[index]
        for index, link in enumerate(self._lease.connections):
            if close is not None and link is not None and kept[index] is None:
                close(index)
        self._pools.release(self._lease, kept)


def wake(leases: Iterable[Lease[Link]]) -> None:
    for lease in leases:
        close_crowded_out(lease)
        if lease.wake is not None:
            lease.wake()


def close_crowded_out(lease: Lease[Link]) -> None:
    """Close idle links that had to make room, be the lease used or not."""
    while lease.crowded_out:
        lease.crowded_out.pop().close()


def collect_lost() -> None:
    """Find slots that were forgotten in a circle of references, as tracebacks are.

    At most a 20th of the time goes into it.
    """
    global _collected_until
    now = time.monotonic()
    if now >= _collected_until:
        gc.collect()
        took = time.monotonic() - now
        _collected_until = now + max(1.0, 20 * took)


_collected_until = 0.0


def not_sent(partitions: Sequence[int], error: Error) -> dict[int, Outcome[object]]:
    return {
        partition: Outcome("failed", [], error, False, 0.0) for partition in partitions
    }


def crowding(pool: Slots[Link], label: str, cluster: str, max_waiting: int) -> str:
    """Say why there is no slot for a caller who has left the queue."""
    waiting = len(pool.waiting)
    text = f"[{label}] of cluster {cluster}: " if cluster else f"[{label}] "
    if waiting >= max_waiting:
        text += f"{waiting} callers wait already, max_waiting is {max_waiting}"
    else:
        text += "no connection became free in time"
    text += f" ({pool.in_use} of {pool.size} connections in use"
    if pool.server is not None:
        used, limit = pool.server.in_use, pool.server.limit
        text += f", of the server's {used} of {limit}: max_connections_per_server"
    return f"{text}, {waiting} waiting)"
