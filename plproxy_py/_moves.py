"""Partitions that move to another target: the old one's calls end first."""

from __future__ import annotations

from collections.abc import Iterable

from plproxy_py._leases import Slot, Slots
from plproxy_py._links import Link


class Former:
    """The calls on a partition's former target, as far as they have not ended."""

    def __init__(self, pool: Slots[Link]) -> None:
        self._pool = pool
        # Other clusters may go on with the pool: these slots were taken before.
        self._taken: list[Slot] = pool.taken()

    @property
    def is_over(self) -> bool:
        """Whether each has ended. Seen as it is asked, again and again."""
        taken = self._pool.taken()
        unwanted = self._pool.unwanted
        self._taken = [
            slot for slot in self._taken if slot in taken and slot not in unwanted
        ]
        return not self._taken


class Moves:
    """Which clusters wait for the former targets of their partitions.

    ``pending``: by cluster and new target, as long as anybody may have to wait.
    """

    def __init__(self) -> None:
        self.pending: dict[tuple[str, Slots[Link]], list[Former]] = {}

    def begin(self, cluster: str, old: Slots[Link], new: Slots[Link]) -> None:
        """Let a cluster's calls to the new target wait for those to the old one."""
        # What the old one waits for itself comes before it.
        earlier = self.pending.get((cluster, old), [])
        self.pending.setdefault((cluster, new), []).extend([*earlier, Former(old)])

    def is_over(self, cluster: str, pools: Iterable[Slots[Link]] | None = None) -> bool:
        """Whether nobody needs to wait, be it only for these pools."""
        if not self.pending:
            return True
        waits = False
        for key, formers in list(self.pending.items()):
            if key[0] == cluster and (pools is None or key[1] in pools):
                if all(former.is_over for former in formers):
                    self.pending.pop(key, None)
                else:
                    waits = True
        return not waits

    def clear(self) -> None:
        """Forget them all, in a forked child."""
        self.pending.clear()
