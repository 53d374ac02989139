"""The statements prepared on one connection.

A name is a digest of its SQL, so that no two statements ever share one. Parameter types
stand in the SQL as casts: a value never makes another statement.
"""

from __future__ import annotations

from typing import Any

# 500 of them cost a server 8 MB.
MOST_PREPARED = 100


class Prepared:
    """Their ``names``, by SQL. ``enabled`` False: nothing is prepared here.

    ``loaders``: what `_rows` knows of the columns of each, as long as it is the same.
    ``in_chunks``: the connection's last statement may have been a stream.
    """

    __slots__ = ("_seen", "enabled", "in_chunks", "loaders", "names")

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.names: dict[bytes, bytes] = {}
        self._seen: set[bytes] = set()
        self.loaders: dict[bytes, Any] = {}
        self.in_chunks = False

    def is_due(self, sql: bytes) -> bool:
        """Whether to prepare the statement now: it comes for the second time."""
        if not self.enabled:
            return False
        if sql in self._seen:
            return True
        if len(self._seen) >= 10 * MOST_PREPARED:
            self._seen.clear()
        self._seen.add(sql)
        return False

    def oldest(self) -> tuple[bytes, bytes] | None:
        """Return what has to go before another can come, as (SQL, name)."""
        if len(self.names) < MOST_PREPARED:
            return None
        return next(iter(self.names.items()))

    def add(self, sql: bytes) -> None:
        self.names[sql] = new_name(sql)

    def forget(self, sql: bytes) -> None:
        self.names.pop(sql, None)
        self.loaders.pop(sql, None)

    def clear(self) -> None:
        """Note that the server has forgotten all of them."""
        self.names.clear()
        self.loaders.clear()


def new_name(sql: bytes) -> bytes:
    """Return the name of a statement: 128 bits of its digest."""
    import hashlib  # 2 ms, where nobody asks for it

    return b"plproxy_" + hashlib.sha256(sql).hexdigest()[:32].encode()
