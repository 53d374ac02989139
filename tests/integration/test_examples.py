"""Each example, run by its one command as a stranger would, says what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fix_server import Pg
from tests.snippets import ROOT

EXAMPLES = ROOT / "examples"

SYNC = """\
sent: SELECT r::text FROM public.get_user_email($1::text) r
to partition 3
marko: marko@example.com
nobody: None
with an m: ['mari', 'marko']
partition 0 holds 2
partition 1 holds 0
partition 2 holds 4
partition 3 holds 1
refused by partition 3: 23505
"""

ASYNC = """\
users: 100
first and last: user0@example.com user99@example.com
four half seconds took less than one: True
too slow: failed failed failed failed
and all is well: 100
"""

VERBATIM = """\
loaded: create_user get_user_email long_names users_on_some_partition
marko: marko@example.com
sent: SELECT username, length(username) FROM users WHERE length(username) >= $1::int4
kristo has 6 letters
peeter has 6 letters
some of the seven are on any partition: True
"""

GROW = """\
rows on the partitions: [200], found by key: 200
rows by owner: [54, 44, 53, 49]
rows on the partitions: [54, 44, 53, 49], found by key: 200
"""

FROM_DATABASE = """\
partitions: first second
users: [6, 1], found by key: 7
partitions: first spare
users: [6, 1], found by key: 7
logged: cluster userdb: the last good definition stays in force: cluster 'userdb' has \
3 partitions: a power of two is needed, or modular_mapping = true
partitions: first spare
users: [6, 1], found by key: 7
not in force: True
"""

OUTPUTS = {
    "sync.py": SYNC,
    "async_.py": ASYNC,
    "verbatim.py": VERBATIM,
    "grow.py": GROW,
    "from_database.py": FROM_DATABASE,
}


def run(example: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", f"examples/{example}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **env},
    )


def left_over(pg: Pg) -> list[object]:
    return pg.execute(
        "postgres",
        r"SELECT datname FROM pg_database WHERE datname LIKE 'plproxy\_example\_%'",
    )


@pytest.mark.parametrize("example", OUTPUTS)
def test_example(pg: Pg, example: str) -> None:
    done = run(example, PLPROXY_EXAMPLE_CONNSTR=pg.connstr())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == OUTPUTS[example]
    assert left_over(pg) == []


def test_every_example_is_here() -> None:
    runnable = {
        path.name for path in EXAMPLES.glob("*.py") if "__main__" in path.read_text()
    }
    assert runnable == set(OUTPUTS)


def test_a_config_file_may_name_the_server(pg: Pg, tmp_path: Path) -> None:
    config = tmp_path / "plproxy.toml"
    connstr = pg.connstr().replace("\\", "\\\\").replace('"', '\\"')
    config.write_text(f'[clusters.demo]\npartitions = ["{connstr}"]\n')
    done = run("sync.py", str(config), PLPROXY_EXAMPLE_CONNSTR="host=/nowhere")
    assert (done.stdout, done.stderr) == (SYNC, "")


def test_without_a_server_an_example_says_how_to_get_one() -> None:
    done = run("sync.py", PLPROXY_EXAMPLE_CONNSTR="")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "plproxy demo --keep" in done.stderr
    assert len(done.stderr.splitlines()) == 1
