"""What using plproxy_py costs a process: time to import, memory, threads."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.child import ROOT, Child, environment
from tests.benchmarks.groups import Figures, Race, Ratio, Report, Size, Stage, Value
from tests.benchmarks.rounds import Contender, Sample, middle_half

WARM_PARTITIONS = 64
MEMORY = "rss_per_partition_kb"
THREADS = "threads_at_64_partitions"
NO_PROC = "not measured: this system has no /proc"


def enter_import(stage: Stage) -> list[Contender]:
    return [
        Contender("import psycopg", _program("import psycopg")),
        Contender(
            "import psycopg_pool, plproxy_py",
            _program("import psycopg_pool, plproxy_py"),
        ),
    ]


def _program(text: str) -> Callable[[int], Sample]:
    command, variables = [sys.executable, "-c", text], environment()

    def measure(count: int) -> Sample:
        cpu, wall = _children_cpu(), time.perf_counter()
        for _ in range(count):
            subprocess.run(command, cwd=ROOT, env=variables, check=True)
        wall, cpu = time.perf_counter() - wall, _children_cpu() - cpu
        return Sample(wall / count, cpu / count)

    return measure


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_memory(stage: Stage, report: Report) -> None:
    """Measure in fresh processes, of which the median counts."""
    if not Path("/proc/self/statm").exists():
        report.notes.append(NO_PROC)
        return
    connstrs = stage.servers.connstrs(stage.size.elements)
    grown: dict[str, list[float]] = {"psycopg": [], "router": []}
    for _ in range(stage.size.rounds):
        for kind, figures in grown.items():
            words = {"connstrs": connstrs, "warm": WARM_PARTITIONS, "kind": kind}
            with Child("memory", {}, **words) as child:
                figures.append(child.ask())
    ours = grown["router"]
    low, high = middle_half(ours)
    report.values.append(
        Value(MEMORY, statistics.median(ours), goal=100, low=low, high=high)
    )
    plain = statistics.median(grown["psycopg"])
    report.notes.append(f"a plain psycopg connection: {plain:.0f} kB")


def count_threads(stage: Stage, report: Report) -> None:
    """Count them while one call runs on all partitions."""
    if not Path("/proc/self/task").exists():
        report.notes.append(NO_PROC)
        return
    with Child("threads", {}, connstrs=stage.servers.connstrs(64)) as child:
        report.values.append(Value(THREADS, child.ask(), goal=8))


GROUPS = (
    Race(
        "import, in fresh processes",
        enter_import,
        (
            Ratio(
                "import_vs_psycopg",
                "import psycopg_pool, plproxy_py",
                "import psycopg",
                1.5,
            ),
        ),
        full=Size(rounds=15, calls=1),
        quick=Size(rounds=5, calls=1),
    ),
    Figures(
        "resident memory, one idle connection a partition",
        (MEMORY,),
        measure_memory,
        full=Size(rounds=3, calls=1, elements=320),
        quick=Size(rounds=1, calls=1, elements=160),
    ),
    Figures(
        "threads while 64 targets are in use",
        (THREADS,),
        count_threads,
        full=Size(rounds=1, calls=1),
        quick=Size(rounds=1, calls=1),
    ),
)
