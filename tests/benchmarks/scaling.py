"""How calls grow with the cluster: not at all for a key, in a line for RUN ON ALL."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from typing import Any

from plproxy_py import ProxyCall, Router
from plproxy_py.hashing import hashtext
from tests.benchmarks.calls import email_function
from tests.benchmarks.fanout import declare
from tests.benchmarks.groups import Figures, Report, Size, Stage
from tests.benchmarks.rounds import Contender, race, timed
from tests.benchmarks.servers import CLUSTER, KEYS

KEYED_COUNTS = (4, 16, 64, 256, 1024)
ALL_COUNTS = (1, 2, 4, 8, 12, 16)
HOT_PARTITIONS = 4
KEYS_EACH = 4
BAR_WIDTH = 40


def measure(stage: Stage, report: Report) -> None:
    """Measure both curves, each interleaved over its partition counts."""
    size = stage.size
    keyed = _medians(
        {count: _keyed(stage, count) for count in KEYED_COUNTS},
        size.rounds,
        size.calls,
    )
    fanned = _medians(
        {count: _fanned(stage, count) for count in ALL_COUNTS},
        size.rounds,
        size.calls // 8,
    )
    spread = max(keyed.values()) / min(keyed.values()) - 1
    slope, base = statistics.linear_regression(list(fanned), list(fanned.values()))
    off = max(abs(us / (base + slope * n) - 1) for n, us in fanned.items())
    report.scaling = {
        "routed_call_us": {str(count): us for count, us in keyed.items()},
        "routed_call_spread": spread,
        "run_on_all_us": {str(count): us for count, us in fanned.items()},
        "run_on_all_fit": {
            "fixed_us": base,
            "per_partition_us": slope,
            "worst_deviation": off,
        },
    }
    report.bars = [
        f"routed call by partitions: flat within {spread:.0%} (goal: 10%)",
        *_bars(keyed),
        f"RUN ON ALL by partitions: {base:.0f} µs + {slope:.0f} µs each, "
        f"at most {off:.0%} off that line",
        *_bars(fanned),
    ]


def _keyed(stage: Stage, count: int) -> Callable[[int], None]:
    """Return calls of 16 keys on 4 partitions, however many there are."""
    function: ProxyCall[[str], str | None] = email_function(_router(stage, count))
    homes: dict[int, list[str]] = defaultdict(list)
    for key in KEYS:
        homes[hashtext(key) & (count - 1)].append(key)
    fullest = sorted(homes.values(), key=len, reverse=True)[:HOT_PARTITIONS]
    keys = [key for home in fullest for key in home[:KEYS_EACH]]
    assert len(keys) == HOT_PARTITIONS * KEYS_EACH

    def calls(calls: int) -> None:
        for key in islice(cycle(keys), calls):
            function(key)

    return calls


def _fanned(stage: Stage, count: int) -> Callable[[int], None]:
    count_events = declare(_router(stage, count), "count_events")

    def calls(calls: int) -> None:
        for _ in range(calls):
            count_events()

    return calls


def _router(stage: Stage, count: int) -> Router:
    partitions = stage.servers.connstrs(count)
    definition: Any = {"partitions": partitions}
    if count & (count - 1):
        definition["modular_mapping"] = True
    return stage.exits.enter_context(Router({CLUSTER: definition}))


def _medians(
    by_count: Mapping[int, Callable[[int], None]], rounds: int, calls: int
) -> dict[int, float]:
    """Return the microseconds of a call by partition count."""
    contenders = [
        Contender(str(count), timed(calls_of)) for count, calls_of in by_count.items()
    ]
    results = race(contenders, rounds, calls)
    return {count: results[str(count)].wall * 1e6 for count in by_count}


def _bars(figures: Mapping[int, float]) -> list[str]:
    longest = max(figures.values())
    return [
        f"{count:6}  {'█' * round(BAR_WIDTH * us / longest):{BAR_WIDTH}}  {us:,.0f} µs"
        for count, us in figures.items()
    ]


GROUPS = (
    Figures(
        "scaling",
        ("scaling",),
        measure,
        full=Size(rounds=31, calls=192),
        quick=Size(rounds=5, calls=160),
    ),
)
