"""What is sent, and what those need who send it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from plproxy_py._conversations import Conversations
from plproxy_py._links import Link
from plproxy_py._pools import Pool, Pools, Wired
from plproxy_py._record import record
from plproxy_py.options import SETTLE


@record
class Statement:
    """What is sent, and in whose name.

    ``params``: for each partition, by position. ``deadline``: monotonic seconds.
    ``settle``: seconds that the others get once a partition failed. ``is_repeated``:
    worth preparing.
    """

    label: str
    sql: bytes
    params: Sequence[Sequence[bytes | None]]
    deadline: float
    settle: float | None = SETTLE
    is_repeated: bool = False


def note(pools: Pools, pool: Pool, talk: Conversations, index: int) -> None:
    """Note how a conversation ended, once its link was given back."""
    if talk.began[index]:
        pools.note_end(pool, talk.seconds[index], talk.errors[index])
    error = talk.errors[index]
    if error is not None and index in talk.causes:
        pools.note_error(pool, error)


class Sender(Protocol):
    """What an `Exchange` is to those who send a statement piece by piece."""

    pools: Pools

    def conversations(
        self, wired: Wired, partitions: Sequence[int], statement: Statement
    ) -> Conversations: ...

    def begin(
        self, talk: Conversations, index: int, link: Link, statement: Statement
    ) -> None: ...
