"""The benchmarks run, and report by the names that they promise; no figure counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.snippets import ROOT

RUN = ROOT / "tests" / "benchmarks" / "run.py"
README = RUN.with_name("README.md")
NAMES = """
routed_call.vs_psycopg routed_call.vs_plproxy routed_call_database.vs_psycopg
routed_call_async.vs_asyncpg client_cpu.vs_psycopg fanout16.vs_plproxy
fanout16.vs_sequential fanout16_rows.vs_plproxy fanout16_rows.vs_asyncpg
split_1m.vs_plproxy split_1m_pure.vs_plproxy call_many_10k.vs_plproxy
call_many_10k.vs_one_by_one hashtext_16b.vs_mmh3 threads32.vs_psycopg_pool
tasks100.vs_asyncpg_pool import_vs_psycopg rss_per_partition_kb
threads_at_64_partitions scaling
""".split()


def _run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.usefixtures("pg")
def test_one_group_is_written_by_its_name(tmp_path: Path) -> None:
    """`--only` measures one group; --json writes its values, and what they come of."""
    file = tmp_path / "ratios.json"
    done = _run("--quick", "--only", "hashtext_16b", "--json", str(file))
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["ratios"].keys() == {"hashtext_16b.vs_mmh3"}
    assert document["ratios"]["hashtext_16b.vs_mmh3"] > 0
    assert document["machine"]["cores"] >= 1
    assert document["versions"].keys() >= {"python", "psycopg", "libpq", "postgresql"}
    assert document["n"]["one hash of a 16-byte key"]["rounds"] > 1
    assert "hashtext_16b.vs_mmh3" in done.stdout
    assert "≤ 1.5" in done.stdout


def test_names_are_those_that_are_promised() -> None:
    """Each name can be asked for, and stands in the README; others are refused."""
    known = _run("--only", "nothing")
    assert known.returncode == 2
    readme = README.read_text(encoding="utf-8")
    for name in NAMES:
        assert f"'{name}'" in known.stderr or f", {name}" in known.stderr, name
        assert f"`{name}`" in readme, name
