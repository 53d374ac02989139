"""What a check found, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from textwrap import wrap

import click
from rich.console import Console
from rich.text import Text

from plproxy_py.cli import render
from plproxy_py.cli.check_matrix import counted, facts, matrix
from plproxy_py.cli.common import one_line
from plproxy_py.ops.check.catalog import Facts
from plproxy_py.ops.check.findings import Finding, named
from plproxy_py.ops.check.running import Report, Verdict

# What differs from partition to partition is shown so often.
_MOST_ALIKE = 3


def records(report: Report | None, more: Sequence[Finding] = ()) -> list[render.Record]:
    """Return the rows of a JSON document: functions, partitions, findings."""
    if report is None:
        return [_record("finding", None, finding=finding) for finding in more]
    cluster = report.cluster.name
    rows: list[render.Record] = [
        _record("function", cluster, subject=key, verdicts=verdicts)
        for key, verdicts in report.verdicts.items()
    ]
    for number, look in report.answered.items():
        rows.append(
            _record(
                "partition",
                cluster,
                subject=report.cluster.target(number).redacted,
                partition=number,
                about=_facts_record(look.catalog.facts),
            )
        )
    rows += [_record("finding", cluster, finding=found) for found in report.findings]
    return rows


def _record(
    row: str,
    cluster: str | None,
    *,
    finding: Finding | None = None,
    subject: str | None = None,
    partition: int | None = None,
    verdicts: Sequence[Verdict] | None = None,
    about: dict[str, object] | None = None,
) -> dict[str, object]:
    return {
        "row": row,
        "cluster": cluster,
        "subject": finding.subject if finding else subject,
        "partition": finding.partition if finding else partition,
        "level": finding and finding.level,
        "problem": finding and finding.problem,
        "sqlstate": finding and finding.sqlstate,
        "reason": finding and one_line(finding.reason),
        "remedy": finding and finding.remedy,
        "verdicts": verdicts,
        "facts": about,
    }


def _facts_record(found: Facts) -> dict[str, object]:
    return {
        "version": found.version,
        "encoding": found.encoding,
        "collation": found.collation,
        "collation_version": found.collation_version,
        "timezone": found.timezone,
        "datestyle": found.datestyle,
        "statement_timeout": found.timeout,
        "statement_timeout_source": found.timeout_source,
        "role": found.role,
        "superuser": found.superuser,
        "database": found.database,
        "address": found.address or None,
        "clock_skew_s": round(found.skew, 3),
        "clock_uncertainty_s": round(found.uncertainty, 3),
    }


def show(
    reports: Sequence[Report], at_home: Sequence[Finding], unchecked: Sequence[str]
) -> None:
    """Print what was found in all clusters."""
    terminal = render.console()
    for report in reports:
        for text in (*matrix(report, terminal.width), *facts(report)):
            terminal.print(text, soft_wrap=True)
        _show_findings(terminal, report.findings)
    _show_findings(terminal, at_home)
    if unchecked:
        click.echo(f"Not held against a cluster: {', '.join(unchecked)}")
    click.echo(_summary([*(one for r in reports for one in r.findings), *at_home]))


Group = tuple[Finding, list[int]]


def grouped(findings: Iterable[Finding]) -> list[Group]:
    """Return findings with all partitions of which they are true, faults first."""
    groups: dict[tuple[str, ...], Group] = {}
    for found in findings:
        key = found.subject, found.problem, found.reason, found.remedy
        group = groups.setdefault(key, (found, []))
        if found.partition is not None:
            group[1].append(found.partition)
    return sorted(groups.values(), key=lambda group: group[0].level != "fault")


def _show_findings(terminal: Console, findings: Sequence[Finding]) -> None:
    alike: Counter[tuple[str, str]] = Counter()
    left_out: dict[tuple[str, str], list[int]] = {}
    if findings:
        terminal.print()
    for found, partitions in grouped(findings):
        kind = found.subject, found.problem
        alike[kind] += 1
        if alike[kind] > _MOST_ALIKE:
            left_out.setdefault(kind, []).extend(partitions)
            continue
        style = "red" if found.level == "fault" else "yellow"
        heading = f"{found.level}: {_subject(found, partitions)}"
        if found.level == "advice":
            _print(terminal, f"{heading}: {one_line(found.reason)}", style)
        else:
            _print(terminal, heading, style)
            _print(terminal, one_line(found.reason), indent="  ")
        arrow = "→ " if render.is_unicode() else "-> "
        _print(terminal, arrow + found.remedy, indent="  ")
    for (subject, problem), numbers in left_out.items():
        what = subject if subject == problem else f"{subject}, {problem}"
        _print(terminal, f"{what}: {named(numbers)} too, see --json")


def _subject(found: Finding, partitions: Sequence[int]) -> str:
    words = [found.subject]
    if found.problem != found.subject:
        words.append(found.problem)
    where = named(partitions) if partitions else "home database"
    if found.subject != where:
        words.append(where)
    return ", ".join(words)


def _print(terminal: Console, text: str, style: str = "", indent: str = "") -> None:
    """Print a text, broken at words on a terminal, elsewhere on one line."""
    text = render.printable(text)
    lines = [text]
    if terminal.is_terminal:
        room = max(40, terminal.width) - len(indent)
        lines = wrap(text, room, break_long_words=False, break_on_hyphens=False)
    for line in lines:
        terminal.print(Text(indent + line, style), soft_wrap=True)


def _summary(findings: Iterable[Finding]) -> str:
    levels = Counter(found.level for found, _ in grouped(findings))
    if not levels:
        return "All is well."
    faults = counted(levels["fault"], "fault") if levels["fault"] else "No fault"
    advice = f", {levels['advice']} advice" if levels["advice"] else ""
    return f"{faults}{advice}."
