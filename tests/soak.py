"""Hours of calls under faults: ``python -m tests.soak --minutes 30``.

32 threads on a Router and 100 tasks on an AsyncRouter call four servers, one of which
is frozen, crashed, cut off its power or robbed of its sessions every few seconds. Every
answer is looked at, every write is held against the databases in the end, and resident
memory, descriptors and threads are measured. Not part of any run of pytest.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import gc
import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from plproxy_py import AsyncRouter, Router
from plproxy_py._embedded import Server
from tests.fault.model import COUNTS
from tests.soaking import REMOTE, SERVERS, Functions, Log, act, act_async

THREADS, TASKS, POOL_SIZE = 32, 100, 8
NAME = "soak"


class Soak:
    """Everything that runs at once until ``until``, monotonic seconds."""

    def __init__(self, servers: list[Server], log: Log, pace: float) -> None:
        self.servers, self.log, self.pace = servers, log, pace
        self.over = threading.Event()
        self.targets = [server.connstr(NAME) for server in servers]

    def thread(self, functions: Functions, seed: int) -> None:
        rng = random.Random(seed)
        while not self.over.wait(rng.random() * 2 * self.pace):
            try:
                act(functions, self.log, rng)
            except Exception as error:
                self.log.note_wrong(error)

    async def task(self, functions: Functions, seed: int) -> None:
        rng = random.Random(seed)
        while not self.over.is_set():
            await asyncio.sleep(rng.random() * 2 * self.pace)
            try:
                await act_async(functions, self.log, rng)
            except Exception as error:
                self.log.note_wrong(error)

    def tasks(self) -> None:
        async def main() -> None:
            async with AsyncRouter(
                {"userdb": self.targets}, pool_size=POOL_SIZE, application_name=NAME
            ) as router:
                functions = Functions(router)
                seeds = range(TASKS)
                await asyncio.gather(*(self.task(functions, seed) for seed in seeds))

        asyncio.run(main())

    def faults(self, seed: int) -> None:
        """Break a server every few seconds, and mend it soon."""
        rng = random.Random(seed)
        kill = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'soak %' AND random() < 0.5"
        )
        while not self.over.wait(rng.uniform(1, 4)):
            server, kind = rng.choice(self.servers), rng.choice(FAULTS)
            self.log.count(f"fault {kind}")
            if kind == "freeze":
                server.freeze()
                self.over.wait(rng.uniform(0.2, 3))
                server.thaw()
            elif kind == "end sessions":
                with psycopg.connect(server.connstr(), autocommit=True) as connection:
                    connection.execute(kill)
            else:
                how: Callable[[], None] = {
                    "crash": server.crash,
                    "power cut": server.kill,
                    "stop": server.stop,
                }[kind]
                how()
                self.over.wait(rng.uniform(0, 1.5))
                server.start()

    def run(self, minutes: float, seed: int) -> list[tuple[float, float]]:
        """Run for so long; return samples of (seconds, resident MB)."""
        samples: list[tuple[float, float]] = []
        router = Router(
            {"userdb": self.targets}, pool_size=POOL_SIZE, application_name=NAME
        )
        with router:
            functions = Functions(router)
            threads = [
                threading.Thread(target=self.thread, args=(functions, number))
                for number in range(THREADS)
            ]
            threads += [threading.Thread(target=self.tasks)]
            threads += [threading.Thread(target=self.faults, args=(seed,))]
            for thread in threads:
                thread.start()
            try:
                self.watch(samples, minutes * 60)
            finally:
                self.over.set()
                for thread in threads:
                    thread.join()
        return samples

    def watch(self, samples: list[tuple[float, float]], seconds: float) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"))
        console = Console(stderr=True)
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            task = progress.add_task("", total=seconds)
            began = time.monotonic()
            while (passed := time.monotonic() - began) < seconds:
                samples.append((passed, resident()))
                counts = self.log.counts
                text = f"{passed:.0f} s, {samples[-1][1]:.1f} MB, "
                text += ", ".join(f"{total(counts, w)} {w}" for w in WORDS)
                progress.update(task, completed=passed, description=text)
                if not console.is_terminal and len(samples) % 30 == 1:
                    print(text, file=sys.stderr, flush=True)
                time.sleep(1)


FAULTS = ("freeze", "freeze", "end sessions", "end sessions", "crash", "power cut")
WORDS = ("good", "error", "fault", "wrong")


def total(counts: collections.Counter[str], word: str) -> int:
    return sum(counts[what] for what in list(counts) if what.startswith(word))


def resident() -> float:
    """Return this process's memory in MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def slope(samples: list[tuple[float, float]]) -> float:
    """Return the least-squares slope in MB per 10 minutes."""
    count = len(samples)
    middle = sum(x for x, _ in samples) / count
    level = sum(y for _, y in samples) / count
    spread = sum((x - middle) ** 2 for x, _ in samples)
    return 600 * sum((x - middle) * (y - level) for x, y in samples) / spread


def batches(
    samples: list[tuple[float, float]], size: int
) -> Iterator[list[tuple[float, float]]]:
    """Yield so many samples at a time."""
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def check_truth(servers: list[Server], told: Path) -> collections.Counter[str]:
    """Hold what was told of writes against what is there; count them by state."""
    found: collections.Counter[str] = collections.Counter()
    there: list[collections.Counter[str]] = []
    for server in servers:
        with psycopg.connect(server.connstr(NAME)) as connection:
            rows = connection.execute("SELECT token FROM soaked")
            there.append(collections.Counter(token for (token,) in rows))
    for line in told.open():
        token, number, state = line.split()
        count = there[int(number)].pop(token, 0)
        found[f"told {state}"] += 1
        if count not in COUNTS[state]:
            found[f"WRONG: told {state}, {count} times there"] += 1
    for left in there:
        found["WRONG: there and never told of"] += len(left)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pace", type=float, default=0.05, help="seconds, on average")
    parser.add_argument("--json", type=Path, help="write the summary to this file too")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server()) for _ in range(SERVERS)]
        for server in servers:
            server.create_databases([NAME])
            with psycopg.connect(server.connstr(NAME), autocommit=True) as connection:
                connection.execute(REMOTE.encode())
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        before = descriptors(), threading.active_count()
        with (place / "told").open("w") as file:
            log = Log(file)
            soak = Soak(servers, log, given.pace)
            samples = soak.run(given.minutes, given.seed)
        for server in servers:
            server.thaw()
            server.start()
        after = descriptors(), threading.active_count()
        active = 0
        for server in servers:
            with psycopg.connect(server.connstr()) as connection:
                row = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE application_name LIKE 'soak%'"
                ).fetchone()
                active += row[0] if row else 0
        truth = check_truth(servers, place / "told")
    warm = [sample for sample in samples if sample[0] > given.minutes * 60 / 4]
    trend = slope(warm)
    tenth = max(1, len(samples) // 10)
    levels = [sum(y for _, y in part) / len(part) for part in batches(samples, tenth)]
    summary = {
        "minutes": given.minutes,
        "seed": given.seed,
        "threads": THREADS,
        "tasks": TASKS,
        **dict(sorted(log.counts.items())),
        **dict(sorted(truth.items())),
        "resident MB by tenths": " ".join(f"{level:.1f}" for level in levels),
        "MB per 10 minutes, last three quarters": round(trend, 2),
        "descriptors before and after": f"{before[0]}, {after[0]}",
        "threads before and after": f"{before[1]}, {after[1]}",
        "sessions left": active,
    }
    table = Table("what", "how much")
    for what, value in summary.items():
        table.add_row(what, str(value))
    Console().print(table)
    for wrong in log.wrong:
        print(wrong)
    if given.json:
        given.json.write_text(json.dumps({**summary, "wrong": log.wrong}, indent=1))
    is_wrong = log.counts["wrong"] or any(truth[w] for w in truth if "WRONG" in w)
    is_good = not is_wrong and before == after and not active and trend < 2
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
