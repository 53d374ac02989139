"""The limit of connections to one server, over all targets on one host and port."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from plproxy_py._leases import Lease, Server, Slots
from plproxy_py._links import Link
from plproxy_py.config import Target
from plproxy_py.errors import ConfigError


class Servers:
    """The servers of a router's targets. ``most``: connections to each, None for any.

    Raise `ConfigError` for a number that is none.
    """

    def __init__(self, most: int | None) -> None:
        if most is not None and (type(most) is not int or most < 1):
            raise ConfigError("max_connections_per_server is a whole number, from 1")
        self.most = most
        self._servers: dict[tuple[str, str], Server[Link]] = {}

    def join(
        self, pool: Slots[Link], target: Target, wired: Collection[Slots[Link]]
    ) -> None:
        """Count a target's new pool among its server's. ``wired``: those in use."""
        if self.most is None:
            return
        server = self._servers.setdefault(server_of(target), Server(self.most))
        # Those that were given up count until their last call has ended.
        server.pools = [one for one in server.pools if one in wired or one.in_use]
        server.pools.append(pool)
        pool.server = server

    def is_too_wide(self, pools: Sequence[Slots[Link]]) -> bool:
        """Whether the limit does not allow a connection of each at a time."""
        return self.most is not None and any(
            count > self.most for count in Lease(pools).servers.values()
        )

    def waves(self, pools: Sequence[Slots[Link]]) -> list[list[int]]:
        """Return which of them, by position, the limit allows together."""
        if self.most is None:
            return [list(range(len(pools)))]
        waves: list[list[int]] = [[]]
        for index in range(len(pools)):
            wave = [*waves[-1], index]
            if self.is_too_wide([pools[one] for one in wave]):
                waves.append([index])
            else:
                waves[-1] = wave
        return waves


def server_of(target: Target) -> tuple[str, str]:
    """Return a target's host, or the directory of its socket, and its port."""
    parameters = dict(target.parameters)
    host = parameters.get("hostaddr") or parameters.get("host", "")
    return host, parameters.get("port", "5432")
