"""Measuring: contenders in turn, round by round, and the medians of the rounds.

A machine gets faster and slower in the course of a run. Contenders that are measured
side by side in each round get the same share of that, so that their ratio holds where
the figures themselves do not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Sample(NamedTuple):
    """Seconds a call: by the clock, and of CPU in all threads of the client."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of doing it; ``measure`` makes that many calls."""

    name: str
    measure: Callable[[int], Sample]


def timed(calls: Callable[[int], object]) -> Callable[[int], Sample]:
    """Return what measures ``calls``, which makes as many calls as it is told to.

    Each sample begins without garbage; the collector stays on, as in a program.
    """

    def measure(count: int) -> Sample:
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        calls(count)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Sample(wall / count, cpu / count)

    return measure


@dataclass(frozen=True, slots=True)
class Result:
    """The samples of one contender, by round."""

    samples: tuple[Sample, ...]

    @property
    def wall(self) -> float:
        """The median of the seconds a call."""
        return statistics.median(sample.wall for sample in self.samples)

    @property
    def cpu(self) -> float:
        """The median of the CPU seconds a call."""
        return statistics.median(sample.cpu for sample in self.samples)


def race(
    contenders: Sequence[Contender], rounds: int, calls: int, warm_rounds: int = 1
) -> dict[str, Result]:
    """Let each contender make ``calls`` calls in each round: A B C A B C …"""
    samples: dict[str, list[Sample]] = {each.name: [] for each in contenders}
    for number in range(-warm_rounds, rounds):
        for each in contenders:
            sample = each.measure(calls)
            if number >= 0:
                samples[each.name].append(sample)
    return {name: Result(tuple(of_one)) for name, of_one in samples.items()}


def middle_half(values: Sequence[float]) -> tuple[float, float]:
    """Return the quartiles: how far the rounds are apart."""
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third
