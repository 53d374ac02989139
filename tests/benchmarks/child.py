"""Fresh processes: a job comes on the first line of standard input, as JSON.

``python -m tests.benchmarks.child`` answers each line with a line. It serves what can't
be measured in the process of the benchmark: another environment, memory and threads.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# Is sent questions and yields answers; what it yields first goes nowhere.
Job = Generator[Any, Any, None]

ROOT = Path(__file__).parents[2]
# Above psycopg's threshold for prepared statements.
USES = 6
KEY = "user000000000001"


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of child processes."""
    found = {**os.environ, **variables}
    # Processes that may not keep what they compiled would compile us at each start.
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found


class Child(AbstractContextManager["Child"]):
    """The near end of a child process."""

    def __init__(self, job: str, variables: dict[str, str], **words: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.child"],
            cwd=ROOT,
            env=environment(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._send({"job": job, **words})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def ask(self, question: Any = None) -> Any:
        """Send a question and return the answer."""
        self._send(question)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a child process ended with {self._process.wait()}")
        return json.loads(line)

    def _send(self, value: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()


def split(connstrs: list[str], elements: int) -> Job:
    """Answer a number of calls with the seconds that one took."""
    from tests.benchmarks.environment import is_compiled
    from tests.benchmarks.rounds import timed
    from tests.benchmarks.split import router_calls

    assert not is_compiled(), "PLPROXY_PY_PURE=1 left the compiled part in use"
    with _router(connstrs) as router:
        measure = timed(router_calls(router, elements))
        count = yield
        while True:
            count = yield measure(count)


def memory(connstrs: list[str], warm: int, kind: str) -> Job:
    """Answer with the growth in kB per connection, beyond the first ``warm`` ones.

    ``kind``: ``router``, or ``psycopg`` for plain connections.
    """
    connect = _connect_router if kind == "router" else _connect_psycopg
    grow = connect(connstrs, warm)
    next(grow)
    gc.collect()
    before, open_before = _resident_kb(), _open_files()
    next(grow)
    gc.collect()
    count = len(connstrs) - warm
    assert _open_files() - open_before >= count, "not every partition has a connection"
    yield
    yield (_resident_kb() - before) / count


def threads(connstrs: list[str]) -> Job:
    """Answer with the most threads seen while all partitions work on one call."""
    with _router(connstrs) as router:
        worker = threading.Thread(
            target=router.execute, args=("bench", "select pg_sleep(0.3)")
        )
        worker.start()
        most = 0
        while worker.is_alive():
            most = max(most, len(os.listdir("/proc/self/task")))
            worker.join(0.005)
        yield
        yield most - 1  # the caller's own


def _router(connstrs: list[str]) -> Any:
    from plproxy_py import Router

    definition = {"partitions": connstrs, "modular_mapping": True}
    return Router({"bench": definition})


def _connect_router(connstrs: list[str], warm: int) -> Iterator[None]:
    """Use ``warm`` partitions, then, under a new map, the others as well."""
    with _router(connstrs[:warm]) as router:
        for partition in range(warm):
            _use(router, partition)
        yield
        definition = {"partitions": connstrs, "modular_mapping": True}
        router.configure({"bench": definition})
        for partition in range(warm, len(connstrs)):
            _use(router, partition)
        yield


def _use(router: Any, partition: int) -> None:
    from tests.benchmarks.groups import EMAIL_QUERY_NUMBERED

    for _ in range(USES):
        router.execute("bench", EMAIL_QUERY_NUMBERED, KEY, run_on=partition)


def _connect_psycopg(connstrs: list[str], warm: int) -> Iterator[None]:
    import psycopg

    from tests.benchmarks.groups import EMAIL_QUERY

    conns = []
    for part in (connstrs[:warm], connstrs[warm:]):
        for connstr in part:
            conns.append(psycopg.connect(connstr, autocommit=True))
            for _ in range(USES):
                conns[-1].execute(EMAIL_QUERY, (KEY,)).fetchall()
        yield
    for conn in conns:
        conn.close()


def _resident_kb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


JOBS: dict[str, Callable[..., Job]] = {
    "split": split,
    "memory": memory,
    "threads": threads,
}


def main() -> None:
    words = json.loads(sys.stdin.readline())
    answers = JOBS[words.pop("job")](**words)
    next(answers)
    for line in sys.stdin:
        print(json.dumps(answers.send(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
