"""What a check makes of what partitions said; no partition is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plproxy_py._catalog import Catalog as Functions
from plproxy_py.cli import check_matrix, render
from plproxy_py.config import ClusterConfig, cluster_config
from plproxy_py.errors import ConnectError, Error
from plproxy_py.hashing import KNOWN
from plproxy_py.ops.check import functions, hashes, settings
from plproxy_py.ops.check.catalog import Catalog, Facts, Proc
from plproxy_py.ops.check.findings import Finding, majority, outliers
from plproxy_py.ops.check.looking import Look
from plproxy_py.ops.check.running import Report, judge
from plproxy_py.ops.check.tables import Copy, table_findings
from plproxy_py.pgtypes import parse_type

FACTS = Facts(
    version="18.1",
    encoding="UTF8",
    collation="en_US.UTF-8",
    collation_version="2.36",
    recorded_version="2.36",
    timezone="UTC",
    datestyle="ISO, MDY",
    timeout="30s",
    timeout_source="user",
    role="app",
    superuser=False,
    database="part00",
    address="",
    place=("1767225600.123456", 16384),
)
PROC = Proc(
    "f(text)", ("text",), 0, "integer", (), False, "STABLE", "a", "", True, True
)


def problems(findings: Any) -> list[tuple[str, int | None]]:
    return [(found.problem, found.partition) for found in findings]


def test_equal_partitions_differ_in_nothing() -> None:
    assert problems(settings.differing({0: FACTS, 1: FACTS})) == []
    catalog = Catalog(FACTS, {}, 0, (), False)
    assert problems(settings.alone(0, catalog)) == []


@pytest.mark.parametrize(
    ("change", "problem", "reason"),
    [
        ({"version": "17.4"}, "server version", "17, on partitions 0, 2 18"),
        ({"encoding": "LATIN1"}, "encoding", "LATIN1, on partitions 0, 2 UTF8"),
        ({"collation": "C"}, "collation", "C, on partitions 0, 2 en_US.UTF-8"),
        ({"datestyle": "SQL, DMY"}, "DateStyle", "SQL, DMY, on partitions 0, 2 ISO"),
        ({"timezone": "CET"}, "TimeZone", "CET, on partitions 0, 2 UTC"),
        ({"timeout": "5s"}, "statement_timeout", "5s, on partitions 0, 2 30s"),
        ({"timeout": None}, "statement_timeout", "the role app has none"),
        (
            {"collation_version": "2.41", "recorded_version": "2.41"},
            "collation version",
            "en_US.UTF-8 is 2.41, on partitions 0, 2 2.36",
        ),
        (
            {"recorded_version": "2.31"},
            "collation version",
            "had version 2.31 when the database was made, and is 2.36",
        ),
    ],
)
def test_one_differs(change: dict[str, Any], problem: str, reason: str) -> None:
    facts = {0: FACTS, 1: replace(FACTS, **change), 2: FACTS}
    (found,) = settings.differing(facts)
    assert (found.problem, found.partition) == (problem, 1)
    assert reason in found.reason
    assert found.remedy


def test_minor_versions_may_differ() -> None:
    facts = {0: FACTS, 1: replace(FACTS, version="18.3")}
    assert problems(settings.differing(facts)) == []


@pytest.mark.parametrize(
    ("skew", "uncertainty", "is_found"),
    [(0.9, 0.0, False), (1.1, 0.0, True), (-1.1, 0.0, True), (1.1, 0.2, False)],
)
def test_a_clock_is_judged_beyond_the_round_trip(
    skew: float, uncertainty: float, is_found: bool
) -> None:
    facts = replace(FACTS, skew=skew, uncertainty=uncertainty)
    found = list(settings.alone(3, Catalog(facts, {}, 0, (), False)))
    assert problems(found) == [("clock", 3)] * is_found
    if found:
        assert ("ahead of" in found[0].reason) == (skew > 0)


def test_a_copy_of_a_server_is_another_place() -> None:
    """It has the same system identifier, and its databases the same numbers."""
    cluster = cluster_config("c", ["host=a dbname=x", "host=b dbname=x"])
    same = {0: FACTS, 1: FACTS}
    assert problems(settings.same_places(cluster, same)) == [("same target", 1)]
    copy = replace(FACTS, place=("1767225601.000001", 16384))
    assert problems(settings.same_places(cluster, {0: FACTS, 1: copy})) == []


@pytest.mark.parametrize(
    ("has", "declared", "fits"),
    [
        ("integer", "int4", True),
        ("integer", "bigint", True),
        ("bigint", "integer", False),
        ("smallint", "numeric(10,2)", True),
        ("numeric", "int8", False),
        ("real", "float8", True),
        ("double precision", "real", False),
        ("character varying", "text", True),
        ("timestamp with time zone", "text", True),
        ("text", "integer", False),
        ("text[]", "text", False),
        ("integer[]", "int8[]", True),
        ("jsonb", "json", True),
        ("record", "text", True),
        ("public.mood", "mood", True),
        ("public.mood", "text", True),
    ],
)
def test_what_a_cast_keeps(has: str, declared: str, fits: bool) -> None:
    assert functions._fits(has, parse_type(declared)) == fits


@given(st.dictionaries(st.integers(0, 40), st.sampled_from("abc"), min_size=1))
def test_outliers_are_all_but_the_majority(values: dict[int, str]) -> None:
    usual, others = outliers(values)
    counts = {value: list(values.values()).count(value) for value in values.values()}
    assert counts[str(usual)] == max(counts.values())
    assert majority(values) == usual
    assert {**others, **dict.fromkeys(values.keys() - others.keys(), usual)} == values
    assert usual not in others.values()


def test_every_known_hash_is_asked() -> None:
    """Of a server that has them all, texts beyond ASCII too."""
    asked = {probe.name for probe in hashes.probes(99, True, False)}
    assert asked == set(KNOWN)
    beyond = hashes.probes(99, True, True)
    assert {"hashtext", "hashtextextended", "mmh3", "hashname", "hashbpchar"} <= {
        probe.name for probe in beyond
    }
    assert not any(probe.sql.isascii() for probe in beyond)
    older = {probe.name for probe in hashes.probes(17, False, False)}
    assert asked - older >= {"hashbytea", "crc32", "mmh3"}


def test_a_call_is_of_the_function_that_fits() -> None:
    def callee(*procs: Proc) -> Proc | None:
        (function,) = _report(_cluster(1), [{}]).functions
        return functions.callee(function, {("f", "public"): procs})

    other = replace(PROC, types=("integer",))
    wide = replace(PROC, types=("text", "boolean"), defaults=1)
    assert callee() is None
    assert callee(PROC) is PROC
    assert callee(PROC, other) is PROC
    assert callee(other) is other
    assert callee(wide) is wide
    assert callee(other, wide) is None
    assert callee(replace(wide, defaults=0)) is None


def _cluster(count: int) -> ClusterConfig:
    return cluster_config("c", [f"dbname=p{number}" for number in range(count)])


def _report(cluster: ClusterConfig, changes: Sequence[Any]) -> Report:
    (entry,) = Functions({}).define(
        "CREATE FUNCTION f(a text) RETURNS int4 LANGUAGE plproxy AS "
        "$$ CLUSTER 'c'; RUN ON hashtext(a); $$;"
    )
    report = Report(cluster, [entry.function])
    for number, change in enumerate(changes):
        if isinstance(change, Error):
            report.looks[number] = change
            continue
        facts = replace(FACTS, place=("1", number))
        procs = {("f", "public"): (replace(PROC, **change),)}
        report.looks[number] = Look(Catalog(facts, procs, 0, (), False), {}, [])
    judge(report)
    return report


def test_verdicts_by_partition() -> None:
    changes = [{}, {"body": "b"}, ConnectError("gone"), {"execute": False}]
    report = _report(_cluster(4), changes)
    assert report.verdicts == {"public.f(text)": ["ok", "body", "not asked", "EXECUTE"]}
    assert problems(report.findings) == [
        ("unreachable", 2),
        ("EXECUTE", 3),
        ("body", 1),
    ]
    lines = [text.plain for text in check_matrix.matrix(report, 80)]
    assert lines[1].split() == ["public.f(text)", "✓", "≠", "?", "✗"]


def test_marks_without_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "is_unicode", lambda: False)
    report = _report(_cluster(2), [{}, {"body": "b"}])
    text = "\n".join(text.plain for text in check_matrix.matrix(report, 80))
    assert text.isascii()
    assert "+ !" in text


def test_a_thousand_partitions_in_80_columns() -> None:
    changes: list[Any] = [{}] * 1024
    changes[5] = {"volatility": "VOLATILE"}
    report = _report(_cluster(1024), changes)
    lines = [text.plain for text in check_matrix.matrix(report, 80)]
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == [*"c: 1 function, 1,024 partitions".split(), "a", "b"]
    assert lines[2:4] == ["a: partitions 0-4, 6-1023", "b: partition 5"]


def test_copies_of_which_most_are_missing() -> None:
    there = Copy(("code text",), 3, ("1", "2"))
    found = {0: {"t": Copy(None)}, 1: {"t": there}, 2: {"t": Copy(None)}}
    findings = list(table_findings(["t"], found))
    assert problems(findings) == [("table", 0), ("table", 2)]
    assert findings[0].reason == "there is no such table; it is on partition 1"


def test_two_copies_that_differ_are_one_finding() -> None:
    one, other = (Copy(("code text",), 3, (text, "2")) for text in "15")
    (found,) = table_findings(["t"], {0: {"t": one}, 1: {"t": other}})
    assert found.partition == 1
    assert "3 rows with checksum" in found.reason


def test_a_level_belongs_to_a_problem() -> None:
    assert Finding("f", 0, "missing", "", "").level == "fault"
    assert Finding("f", 0, "superuser", "", "").level == "advice"
    with pytest.raises(KeyError):
        Finding("f", 0, "nonsense", "", "")
