"""A check of one cluster: all partitions are asked at once, then all is compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from plproxy_py._router_base import RouterBase
from plproxy_py.config import ClusterConfig, Target
from plproxy_py.errors import Error, PartitionError, QueryTimeout
from plproxy_py.function import ProxyFunction
from plproxy_py.language.body import RunNumber
from plproxy_py.ops.check import functions as compared
from plproxy_py.ops.check import settings
from plproxy_py.ops.check.catalog import Proc
from plproxy_py.ops.check.findings import Finding
from plproxy_py.ops.check.looking import Look, look
from plproxy_py.ops.check.tables import copies, table_findings
from plproxy_py.ops.sessions import Session, on_each

OK, NOT_ASKED, NOT_NEEDED = "ok", "not asked", None

Verdict = str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """``timeout``: seconds for each partition; ``tables``: the same for checksums.

    ``jobs``: how many are asked at a time.
    """

    timeout: float = 3.0
    tables: float = 300.0
    jobs: int = 16


@dataclass(slots=True)
class Report:
    """What a check of a cluster found.

    ``verdicts``: by function, for each partition `OK`, the problem, `NOT_ASKED`, or
    `NOT_NEEDED` where the function never runs. ``looks``: by partition. ``findings``:
    functions first, then partitions, each in order.
    """

    cluster: ClusterConfig
    functions: Sequence[ProxyFunction]
    looks: dict[int, Look | Error] = field(default_factory=dict)
    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def answered(self) -> dict[int, Look]:
        """The partitions that could be asked."""
        return {n: found for n, found in self.looks.items() if isinstance(found, Look)}


async def check_cluster(
    router: RouterBase,
    cluster: ClusterConfig,
    functions: Sequence[ProxyFunction],
    tables: Sequence[str],
    limits: Limits,
    done: Callable[[], object] = lambda: None,
) -> Report:
    """Check a cluster. ``functions``: those that it has to have."""
    report = Report(cluster, functions)

    # Partitions of one target are one database, which is asked once.
    sharing: dict[Target, list[int]] = {}
    for partition in cluster.partitions:
        sharing.setdefault(partition.target, []).append(partition.number)

    async def looked(connection: Session, partition: int) -> Look:
        numbers = sharing[cluster.target(partition)]
        needed = [found for found in functions if _needs(found, numbers)]
        return await look(connection, needed)

    firsts = [numbers[0] for numbers in sharing.values()]
    looks = await on_each(
        router,
        cluster.name,
        firsts,
        looked,
        timeout=limits.timeout,
        jobs=limits.jobs,
        done=done,
    )
    for partition in cluster.partitions:
        first = sharing[partition.target][0]
        report.looks[partition.number] = looks[first]
    judge(report)
    if tables:
        found = await on_each(
            router,
            cluster.name,
            [number for number in firsts if number in report.answered],
            lambda connection, _: copies(connection, tables),
            timeout=limits.tables,
            jobs=limits.jobs,
        )
        report.findings += table_findings(tables, found)
    return report


def _needs(function: ProxyFunction, partitions: Sequence[int]) -> bool:
    run_on = function.run_on
    return not isinstance(run_on, RunNumber) or run_on.number in partitions


def judge(report: Report) -> None:
    """Compare what partitions said; fill in verdicts and findings."""
    answered = report.answered
    for partition, found in report.looks.items():
        if isinstance(found, Error):
            report.findings.append(_unreachable(partition, found))
    for function in report.functions:
        _judge_function(report, function)
    for partition, answer in answered.items():
        report.findings += [
            replace(fault, partition=partition) for fault in answer.hashes
        ]
    facts = {number: answer.catalog.facts for number, answer in answered.items()}
    report.findings += settings.same_places(report.cluster, facts)
    report.findings += settings.differing(facts)
    for partition, answer in answered.items():
        report.findings += settings.alone(partition, answer.catalog)


def _judge_function(report: Report, function: ProxyFunction) -> None:
    key = function.signature.key
    verdicts: list[Verdict] = []
    callees: dict[int, Proc] = {}
    found: dict[tuple[int | None, str], Finding] = {}
    # Most partitions have the same: it is compared once.
    known: dict[tuple[Proc, str], list[Finding]] = {}
    for partition, answer in report.looks.items():
        if not _needs(function, [partition]):
            verdicts.append(NOT_NEEDED)
            continue
        if isinstance(answer, Error):
            verdicts.append(NOT_ASKED)
            continue
        verdicts.append(OK)
        catalog = answer.catalog
        if (error := answer.refused.get(key)) is not None:
            faults = [compared.refused(function, partition, error, catalog.procs)]
        else:
            proc = compared.callee(function, catalog.procs)
            if proc is None:
                continue
            callees[partition] = proc
            same = proc, catalog.facts.role
            if same not in known:
                known[same] = list(compared.mismatches(function, *same))
            faults = [replace(fault, partition=partition) for fault in known[same]]
        found |= {(fault.partition, fault.problem): fault for fault in faults}
    for fault in compared.differences(function, callees):
        found.setdefault((fault.partition, fault.problem), fault)
    for fault in found.values():
        number = fault.partition
        # The first one tells most: what PostgreSQL said, if it did.
        if fault.level == "fault" and number is not None and verdicts[number] == OK:
            verdicts[number] = fault.problem
    report.verdicts[key] = verdicts
    report.findings += found.values()


def _unreachable(partition: int, error: Error) -> Finding:
    problem, remedy = "not answered", "See to what it says, and check again."
    if isinstance(error, QueryTimeout):
        problem, remedy = (
            "unreachable",
            "Is it frozen, or far away? --timeout gives it more time.",
        )
    elif isinstance(error, PartitionError):
        problem, remedy = (
            "unreachable",
            "See to its server, its connect string and its password.",
        )
    return Finding("connection", partition, problem, str(error), remedy, error.sqlstate)
