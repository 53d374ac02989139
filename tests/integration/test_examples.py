"""Each example, run by its one command as a stranger would, says what it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fix_server import Pg
from tests.snippets import ROOT

EXAMPLES = ROOT / "examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")

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

REMOTE_CALL = """\
balance: 100
nobody's balance: None
paid 30, left 70
marko can't pay 80: 23514
nobody can't pay 5: 22004
orders: [('marko', Decimal('30'))]
refused here: 42501
"""

VERTICAL = """\
Marko: hammer, saw = 40
Asko: lamp = 40
customerdb has customers
orderdb has orders
"""

HORIZONTAL = """\
7 is on partition 3
messages: ['member 7: hello, 7', 'member 7: hello, 7']
partition 0: 2 members, 0 messages
partition 1: 3 members, 0 messages
partition 2: 3 members, 0 messages
partition 3: 2 members, 3 messages
no member: 23503 from partition 3
"""

TWO_LEVEL = """\
users_eu, partition 0: ann@example.com
users: [6, 1]
users_us, partition 0: ann@example.net
users: [2]
nothing sent: public.get_user_email(2): cluster not found: users_mars; did you mean \
'users_us'?
"""

REPLICAS = """\
not copied yet: None
from a replica: marko@example.com
databases that answer: 2
the large one about three times as often: True
users on each replica: [1, 1]
"""

LARGE_QUERY = """\
one database, [1000] numbers:
168 primes, the largest is 997
four databases, [250, 250, 250, 250] numbers:
168 primes, the same ones: True
as they come: [5, 13, 17, 29, 37]
only who has a part is asked: [3, 1]
"""

AGGREGATES = """\
revenue before the first sale: None
a partition: Estonia, 1 sold, 80 each
a partition: Latvia, 1 sold, 50 each
a partition: Estonia, 2 sold, 20 each
all: Estonia, 3 sold, up to 80, 40 each
all: Latvia, 1 sold, up to 50, 50 each
revenue: 170
"""

ARRAYS = """\
1000 users in 4 statements: [251, 244, 269, 236]
partition 0 found ['user1']
partition 2 found ['user2', 'user3']
together: ['user1', 'user2', 'user3']
no names, nobody asked: []
23505: {2: 'failed', 0: 'committed', 1: 'committed'}
"""

IDS = """\
ids of 21 orders and 20 tickets
by time, to the millisecond: True
orders: [18, 3]
found by id: 21
found by username: 21
tickets: 20
orders: [6, 0, 12, 4]
found by id: 22
found by username: 22
tickets: 20
"""

COMMON_TABLES = """\
ee is Estonia, on 2 partitions
no such country on partition 0: 23503
lv is Lettland, on 2 partitions
[('Estonia', 3), ('Lettland', 2)]
lv is Latvia, on 2 partitions
[('Estonia', 3), ('Latvia', 2)]
"""

MOVE_FUNCTION = """\
maindb: found 7
userdb: found 7
users in maindb: [7]
users in userdb: [7, 1]
"""

OUTPUTS = {
    "sync.py": SYNC,
    "async_.py": ASYNC,
    "verbatim.py": VERBATIM,
    "grow.py": GROW,
    "from_database.py": FROM_DATABASE,
    "remote_call.py": REMOTE_CALL,
    "vertical.py": VERTICAL,
    "horizontal.py": HORIZONTAL,
    "two_level.py": TWO_LEVEL,
    "replicas.py": REPLICAS,
    "large_query.py": LARGE_QUERY,
    "aggregates.py": AGGREGATES,
    "arrays.py": ARRAYS,
    "ids.py": IDS,
    "common_tables.py": COMMON_TABLES,
    "move_function.py": MOVE_FUNCTION,
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
    listed = re.findall(r"^\| .* \| \[(.+)\]\(\1\) \| ", README, re.MULTILINE)
    assert sorted(listed) == sorted(runnable)


def test_links_of_the_readme() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (EXAMPLES / link).exists(), link


def test_examples_are_typed(request: pytest.FixtureRequest) -> None:
    cache = getattr(request.config, "cache", None)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict"),
            # plproxy_py has a check of its own.
            "--follow-imports=silent",
            f"--cache-dir={cache.mkdir('mypy_examples') if cache else os.devnull}",
            *(path.name for path in EXAMPLES.glob("*.py")),
        ],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
