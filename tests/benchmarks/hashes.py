"""One hash of a 16-byte key, the function called as a user would.

It is CPU that counts. By the clock of a busy machine the slower one is interrupted in
each sample and the faster one in none: 270 times the time, and 90 times the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

import mmh3

from plproxy_py.hashing import hashtext
from tests.benchmarks.groups import Race, Ratio, Size, Stage
from tests.benchmarks.rounds import Contender, timed
from tests.benchmarks.servers import KEYS


def enter(stage: Stage) -> list[Contender]:
    return [
        Contender("hashtext", timed(_repeated(hashtext))),
        Contender("mmh3.hash", timed(_repeated(mmh3.hash))),
    ]


def _repeated(hash: Callable[[str], int]) -> Callable[[int], Any]:
    def calls(count: int) -> None:
        for key in repeat(KEYS[1234], count):
            hash(key)

    return calls


GROUPS = (
    Race(
        "one hash of a 16-byte key",
        enter,
        (Ratio("hashtext_16b.vs_mmh3", "hashtext", "mmh3.hash", 1.5, "cpu"),),
        full=Size(rounds=21, calls=10_000),
        quick=Size(rounds=9, calls=5_000),
    ),
)
