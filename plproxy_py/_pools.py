"""Connections by target: how a call borrows them and gives them back.

A call borrows one link for each tagged partition, all slots in one step, looks at idle
links and has missing ones opened. Nothing is sent here. Whatever has to be waited for
is yielded (see `_steps`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial

from plproxy_py import _leases
from plproxy_py._links import Link, open_links
from plproxy_py._loans import Loan as Loan
from plproxy_py._loans import close_crowded_out, collect_lost, crowding, not_sent, wake
from plproxy_py._promises import Promise
from plproxy_py._steps import Arrival, Steps
from plproxy_py._targets import Pool as Pool
from plproxy_py._targets import Targets
from plproxy_py._targets import Wired as Wired
from plproxy_py._waiting import TICK
from plproxy_py.errors import (
    ConfigError,
    Error,
    PoolTimeout,
    QueryTimeout,
    RouterClosed,
)

# Seconds for which a caller waits at most before it looks whether it waits in vain.
LONGEST_PATIENCE = 5.0

# Seconds for which calls that `close` has cancelled may say how they ended.
LAST_WORDS = 1.0

# Seconds until calls on a partition's former target are looked at again, at first.
FIRST_PAUSE = 0.002


class Pools(Targets):
    """All pools of a router. Thread-safe."""

    def take(
        self, wired: Wired, pools: Sequence[Pool], now: float
    ) -> list[Link] | None:
        """Borrow a good idle link of each at once, None if there is one too few.

        Nobody who waits for a pool is passed. ``pools``: some of the cluster's.
        """
        lifetime = wired.config.connection_lifetime
        with self._lock:
            if self._drained is not None or wired.successor is not None:
                return None
            for pool in pools:
                if pool.waiting or not pool.users:
                    return None
            links = _leases.take(pools)
        if links is None:
            return None
        for link in links:
            if not link.usable(now, lifetime):
                break
        else:
            return links
        kept = [link if link.usable(now, lifetime) else None for link in links]
        for link, good in zip(links, kept, strict=True):
            if good is None:
                link.close()
        self.release(_leases.granted(pools, links), kept)
        return None

    def take_one(self, wired: Wired, pool: Pool, now: float) -> Link | None:
        """Do what `take` does for one pool; loops over one cost a call 3 µs in all."""
        with self._lock:
            if (
                self._drained is not None
                or wired.successor is not None
                or pool.waiting
                or not pool.users
                or not pool.idle
            ):
                return None
            link = pool.idle.pop()
        if link.usable(now, wired.config.connection_lifetime):
            return link
        link.close()
        self.release(_leases.granted((pool,), (link,)), [None])
        return None

    def put_one(self, pool: Pool, link: Link) -> None:
        """Give back what `take_one` gave."""
        with self._lock:
            if not pool.waiting and pool.users and self._drained is None:
                pool.idle.append(link)
                return
        self.release(_leases.granted((pool,), (link,)), [link])

    def put(self, pools: Sequence[Pool], links: Sequence[Link]) -> None:
        """Give back what `take` gave."""
        with self._lock:
            for pool in pools:
                if pool.waiting or not pool.users:
                    break
            else:
                if self._drained is None:
                    _leases.put(pools, links)
                    return
        self.release(_leases.granted(pools, links), links)

    def lend(
        self, wired: Wired, partitions: Sequence[int], deadline: float
    ) -> Steps[Loan]:
        """Borrow a good link to each partition, by position.

        Raise `PoolTimeout`, `QueryTimeout`, `ConnectError` or `ConfigError` naming the
        partition; nothing was sent then.
        """
        while True:
            pools = [wired.now(partition) for partition in partitions]
            lease = _leases.Lease(pools)
            loan = Loan(self, lease)
            try:
                yield from self._arrive(lease, wired, partitions, deadline)
                yield from self._queue(lease, wired, partitions, deadline)
                # What moved while it waited must not be written where it was. From
                # here on, a move waits for these slots.
                if pools == [wired.now(partition) for partition in partitions]:
                    yield from self._complete(lease, pools, wired, partitions, deadline)
                    return loan
            except BaseException:
                self._leave(lease)
                raise
            self._leave(lease)

    def _arrive(
        self,
        lease: _leases.Lease[Link],
        wired: Wired,
        partitions: Sequence[int],
        deadline: float,
    ) -> Steps[None]:
        """Wait until the calls on partitions' former targets have ended."""
        cluster, moves, pause = wired.config.name, self.moves, FIRST_PAUSE
        while not moves.is_over(cluster, lease.pools):
            self._check_open()
            now = time.monotonic()
            if now >= deadline:
                index = next(
                    index
                    for index, pool in enumerate(lease.pools)
                    if not moves.is_over(cluster, [pool])
                )
                error = QueryTimeout(
                    "the partition has moved, and calls on its former target go on",
                    phase="checkout",
                    partition=partitions[index],
                )
                error.outcomes = not_sent(partitions, error)
                raise error
            # A slot is given back without a word, and this is rare.
            yield Arrival([Promise()], min(deadline, now + pause))
            pause = min(2 * pause, TICK)

    def _queue(
        self,
        lease: _leases.Lease[Link],
        wired: Wired,
        partitions: Sequence[int],
        deadline: float,
    ) -> Steps[None]:
        """Wait until the lease is granted."""
        pools = lease.pools
        if self._servers.is_too_wide(pools):
            raise ConfigError(
                f"it needs {len(pools)} connections at a time, and "
                f"max_connections_per_server is {self._servers.most}"
            )
        with self._lock:
            self._check_open()
            _leases.request(lease)
            if lease.granted:
                return
            came: Promise[None] = Promise()
            lease.wake = lambda: came.set_result(None)
            if any(len(pool.waiting) > self._max_waiting for pool in pools):
                raise self._timeout(lease, wired, partitions)
        patience = TICK
        while not lease.granted:
            now = time.monotonic()
            moves = sum([pool.moves for pool in pools])
            yield Arrival([came], min(deadline, now + patience))
            if lease.granted:
                return
            self._check_open()
            if time.monotonic() >= deadline:
                with self._lock:
                    if lease.granted:
                        return
                    raise self._timeout(lease, wired, partitions)
            if patience >= 1 and moves == sum([pool.moves for pool in pools]):
                collect_lost()
            self._look_again(pools)
            patience = min(2 * patience, LONGEST_PATIENCE)

    def _check_open(self) -> None:
        if self._drained is not None:
            raise RouterClosed("the router is closed")

    def _look_again(self, pools: Sequence[_leases.Slots[Link]]) -> None:
        """Grant slots that came back by themselves."""
        with self._lock:
            woken = _leases.grant_waiting([pool for pool in pools if pool.waiting])
        wake(woken)

    def _leave(self, lease: _leases.Lease[Link]) -> None:
        """Leave the queues, and give back what was granted."""
        with self._lock:
            woken = _leases.give_up(lease)
        wake(woken)
        close_crowded_out(lease)
        if lease.granted:
            self.release(lease, lease.connections)

    def _timeout(
        self, lease: _leases.Lease[Link], wired: Wired, partitions: Sequence[int]
    ) -> Error:
        """Return why the lease, which gives up, was not granted."""
        _leases.leave_queues(lease)
        found = [i for i, pool in enumerate(lease.pools) if pool.is_full]
        found += [
            i
            for i, pool in enumerate(lease.pools)
            if pool.server and pool.server.in_use >= pool.server.limit
        ]
        index = (found or [0])[0]
        error = PoolTimeout(
            crowding(
                lease.pools[index],
                wired.config.target(partitions[index]).label,
                wired.config.name,
                self._max_waiting,
            ),
            partition=partitions[index],
        )
        error.outcomes = not_sent(partitions, error)
        return error

    def _complete(
        self,
        lease: _leases.Lease[Link],
        pools: Sequence[Pool],
        wired: Wired,
        partitions: Sequence[int],
        deadline: float,
    ) -> Steps[None]:
        """Look at the leased links, replace what is not good, open what is missing."""
        close_crowded_out(lease)
        now = time.monotonic()
        if now >= deadline:
            error = QueryTimeout(
                "the time was up before anything was sent", phase="checkout"
            )
            error.outcomes = not_sent(partitions, error)
            raise error
        lifetime = wired.config.connection_lifetime
        opening: dict[int, Future[Link]] = {}
        for index, link in enumerate(lease.connections):
            if link is None or not link.usable(now, lifetime):
                pool = pools[index]
                if link is not None:
                    pool.stats.lost += not link.usable(now, None)
                    lease.vacate(index)
                    link.close()
                opening[index] = self.connector.open(
                    pool.session,
                    wired.config.title,
                    deadline,
                    partial(self._spare, pool),
                )
        if not opening:
            return
        try:
            yield Arrival(list(opening.values()), deadline)
            for index, future in opening.items():
                if future.done():
                    link = future.result()
                    lease.occupy(index, link)
                    pools[index].stats.connects += 1
                    pools[index].encoding = link.server_encoding
            for index, future in opening.items():
                if not future.done():
                    label = wired.config.target(partitions[index]).label
                    raise QueryTimeout(
                        f"[{label}] no connection in time", phase="connect"
                    )
        except CancelledError:
            raise RouterClosed("the router was closed meanwhile") from None
        except Error as error:
            error.partition = partitions[index]
            error.outcomes = not_sent(partitions, error)
            raise
        finally:
            for index, future in opening.items():
                if lease.connections[index] is None:
                    # Else connects to a slow server would pile up.
                    pool, slot = pools[index], lease.withhold(index)
                    pool.unwanted.add(slot)
                    future.add_done_callback(partial(self._settle, pool, slot))

    def _spare(self, pool: Pool) -> Link | None:
        """Take an idle link out of its slot, for one whose connect is refused."""
        with self._lock:
            return next(iter(_leases.take_idle([pool], 1)), None)

    def _settle(self, pool: Pool, slot: _leases.Slot, future: Future[Link]) -> None:
        """Keep a link that came after its caller had left."""
        link = None
        if not future.cancelled() and future.exception() is None:
            link = future.result()
        with self._lock:
            pool.unwanted.discard(slot)
            if link is not None and not self._wanted(pool):
                link.close()
                link = None
            woken = _leases.put_spare(pool, slot, link)
        wake(woken)

    def release(self, lease: _leases.Lease[Link], kept: Sequence[Link | None]) -> None:
        """Give slots back and wake whoever was granted them."""
        with self._lock:
            kept = list(kept)
            for index, (link, pool) in enumerate(zip(kept, lease.pools, strict=True)):
                if link is not None and not self._wanted(pool):
                    link.close()
                    kept[index] = None
            woken = _leases.release(lease, kept)
            self._note_drained()
        wake(woken)

    def close(self, timeout: float) -> Steps[None]:
        """Refuse new loans, wait for those that are out, close all links.

        After ``timeout`` seconds what still runs is cancelled, and given a moment to
        say how it ended; what does not is cut off. A connection on loan to a user stays
        his: only the statement that runs on it is cancelled.
        """
        with self._lock:
            if self._drained is None:
                self._drained = Promise()
            self._note_drained()
            waiting = [
                found() for pool in self._pools.values() for found in pool.waiting
            ]
        wake([lease for lease in waiting if lease is not None])
        yield from self._drain(time.monotonic() + timeout)
        if not self._drained.done():
            self.is_stopping = True
            until = time.monotonic() + LAST_WORDS
            with suppress(RouterClosed):
                cancels = [
                    self.connector.cancel(link)
                    for link in self._lent()
                    if link.in_the_middle or not link.is_handed_out
                ]
                yield Arrival(cancels, until)
            yield from self._hear_out(until)
            for link in self._lent():
                if not link.is_handed_out:
                    link.cut_off()
            yield from self._hear_out(time.monotonic() + LAST_WORDS)
        self._finalize()

    def _hear_out(self, until: float) -> Steps[None]:
        """Wait until no call has a link any longer."""
        assert self._drained is not None
        while not all(link.is_handed_out for link in self._lent()):
            now = time.monotonic()
            if now >= until:
                break
            yield Arrival([self._drained], min(until, now + TICK))
            self._note_drained()

    def _drain(self, until: float) -> Steps[None]:
        """Wait until all links are back."""
        assert self._drained is not None
        while not self._drained.done() and (now := time.monotonic()) < until:
            yield Arrival([self._drained], min(until, now + TICK))
            self._note_drained()

    def _lent(self) -> list[Link]:
        """Return the links that somebody has."""
        pools = list(self._pools.values())
        taken = {slot for pool in pools for slot in pool.taken()}
        return [link for link in open_links() if link.slot in taken]
