"""Peak memory of streams and of many calls, each in a process of its own.

    python tests/benchmarks/memory.py [--rows N] [--calls N] [--wide N]

Prints how much the resident set grew at its highest, and the most bytes that were
buffered at a time, by the library's own count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from plproxy_py import Router
from plproxy_py._batches import Batch
from plproxy_py._embedded import Server
from plproxy_py._many import _run as run_batch
from plproxy_py._preparing import Callee

PARTITIONS = 4
PAGE = 4096
WIDE = 10_000_000

FUNCTIONS = """
CREATE FUNCTION rows(n int) RETURNS TABLE (id int, name text)
    LANGUAGE sql AS $$ SELECT i, 'name ' || i FROM generate_series(1, n) i $$;
CREATE FUNCTION wide_rows(n int) RETURNS SETOF text
    LANGUAGE sql AS $$ SELECT repeat('x', 10000000) FROM generate_series(1, n) $$;
CREATE FUNCTION one(key text) RETURNS text LANGUAGE sql AS $$ SELECT key $$;
CREATE FUNCTION wide(key text) RETURNS text
    LANGUAGE sql AS $$ SELECT repeat('x', 10000000) $$;
"""


def resident() -> int:
    """Return the resident set in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


class Peak:
    """The highest resident set while the block runs, over what it was before."""

    def __enter__(self) -> Peak:
        self._before = self._highest = resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self._highest = max(self._highest, resident())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        return self._highest - self._before


def stream(router: Router, function: str, count: int) -> dict[str, Any]:
    proxy: Any = getattr(_streams(router), function)
    for _ in proxy(1):
        pass
    with Peak() as peak:
        rows = proxy(count)
        source = rows._source
        number = sum(1 for _ in rows)
    return {"number": number, "buffered": source.most_held, "growth": peak.growth}


def _streams(router: Router) -> Any:
    class Declared:
        @staticmethod
        @router.proxy("rows(n int) RETURNS TABLE (id int, name text)", **ALL)
        def rows(n: int) -> Iterator[tuple[Any, ...]]: ...

        @staticmethod
        @router.proxy("wide_rows(n int) RETURNS SETOF text", **ALL)
        def wide_rows(n: int) -> Iterator[str]: ...

    return Declared


ALL: dict[str, Any] = {"cluster": "demo", "run_on": "ALL"}


def many(router: Router, function: str, count: int) -> dict[str, Any]:
    proxy = router.define(
        f"CREATE FUNCTION {function}(key text) RETURNS text AS $$ CLUSTER 'demo'; "
        "RUN ON hashtext(key); $$ LANGUAGE plproxy"
    )
    proxy("warm")
    with Peak() as peak:
        batch = Batch(router._calls, Callee(lambda: proxy.definition))
        items = ((f"key{number}",) for number in range(count))
        number = sum(1 for _ in run_batch(batch, items))
    return {"number": number, "buffered": batch.gauge.most, "growth": peak.growth}


def measure(kind: str, function: str, count: int, connstrs: list[str]) -> None:
    """Measure in this process, and print what was found as JSON."""
    with Router({"demo": connstrs}) as router:
        started = time.monotonic()
        found = (stream if kind == "stream" else many)(router, function, count)
        found["seconds"] = time.monotonic() - started
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--wide", type=int, default=200, help="values of 10 MB")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        kind, function, count, *connstrs = given.measure
        measure(kind, function, int(count), connstrs)
        return
    cases = [
        ("stream", "rows", given.rows // PARTITIONS),
        ("stream", "wide_rows", given.wide // PARTITIONS),
        ("many", "one", given.calls),
        ("many", "wide", given.wide),
    ]
    with Server() as server:
        names = [f"part{number:02}" for number in range(PARTITIONS)]
        with psycopg.connect(server.connstr(), autocommit=True) as connection:
            for name in names:
                connection.execute(f"CREATE DATABASE {name}")
        connstrs = [server.connstr(name) for name in names]
        for connstr in connstrs:
            with psycopg.connect(connstr, autocommit=True) as connection:
                connection.execute(FUNCTIONS)
        print(f"{'':24}{'number':>12}{'seconds':>9}{'buffered MB':>13}{'RSS +MB':>9}")
        for kind, function, count in cases:
            command = [sys.executable, __file__, "--measure", kind, function]
            done = subprocess.run(
                [*command, str(count), *connstrs],
                check=True,
                capture_output=True,
                text=True,
            )
            found = json.loads(done.stdout)
            print(
                f"{kind + ' ' + function:24}{found['number']:>12,}"
                f"{found['seconds']:>9.1f}{found['buffered'] / 1e6:>13.2f}"
                f"{found['growth'] / 1e6:>9.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
