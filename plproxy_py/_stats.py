"""What is counted of each target: calls, errors, seconds, connections.

Counting costs a call a fraction of a microsecond, so it takes no lock: an increment is
one step for Python's threads, a copy of a list as well. A snapshot is drawn from such
copies, and its sums are made of what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Bucket n counts what took below 2**n microseconds, and no bucket before it has; the
# last one takes the rest: more than 9 minutes.
BUCKETS = 31
BOUNDS = tuple(2**n / 1e6 for n in range(BUCKETS - 1))


class TargetStats:
    """Counters of one target.

    ``errors``: by SQLSTATE class, its first two characters. ``buckets``: calls by
    latency. ``seconds``: of all calls together. ``connects``: connections that were
    opened, ``lost`` those that broke or were found broken.
    """

    __slots__ = ("buckets", "connects", "errors", "lost", "seconds")

    def __init__(self) -> None:
        self.errors: dict[str, int] = {}
        self.buckets = [0] * BUCKETS
        self.seconds = 0.0
        self.connects = 0
        self.lost = 0

    @property
    def calls(self) -> int:
        """How many conversations with this target have ended, well or not."""
        return sum(self.buckets)

    def record(self, seconds: float, sqlstate: str | None = None) -> None:
        """Count a call that has ended. ``sqlstate``: of its error, if there was one."""
        bucket = int(seconds * 1e6).bit_length()
        if bucket >= BUCKETS:
            bucket = BUCKETS - 1
        self.buckets[bucket] += 1
        self.seconds += seconds
        if sqlstate is not None:
            group = sqlstate[:2]
            self.errors[group] = self.errors.get(group, 0) + 1


def record_all(stats: Iterable[TargetStats], seconds: float) -> None:
    """Count a call that has ended well on several targets at once."""
    bucket = min(int(seconds * 1e6).bit_length(), BUCKETS - 1)
    for one in stats:
        one.buckets[bucket] += 1
        one.seconds += seconds


def figures(stats: Iterable[TargetStats]) -> dict[str, Any]:
    """Return what several counters of one target hold together, as plain values."""
    errors: dict[str, int] = {}
    counts = [0] * BUCKETS
    seconds, connects, lost = 0.0, 0, 0
    for one in stats:
        counts = [a + b for a, b in zip(counts, one.buckets.copy(), strict=True)]
        for group, count in one.errors.copy().items():
            errors[group] = errors.get(group, 0) + count
        seconds += one.seconds
        connects += one.connects
        lost += one.lost
    return {
        "calls": sum(counts),
        "errors": errors,
        "latency": {"bounds": list(BOUNDS), "counts": counts, "sum": seconds},
        "connects": connects,
        "lost": lost,
    }
