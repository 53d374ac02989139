"""How a deploy is shown: what it will do, what is done where, what a trial found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from plproxy_py.cli import render
from plproxy_py.cli.common import error_line, one_line
from plproxy_py.ops.deploy.partition import Report
from plproxy_py.ops.deploy.planning import Plan
from plproxy_py.ops.deploy.running import Survey
from plproxy_py.ops.deploy.trial import Findings
from plproxy_py.ops.numbers import spans

COLUMNS = ("partition", "state", "statements", "seconds", "warning", "error")
TRIAL_COLUMNS = ("partitions", "change", "what", "file", "line")


def announce(cluster: str, found: Survey) -> None:
    """Say on stderr what will be done."""
    groups: dict[Plan, list[int]] = {}
    for number in found.awaiting:
        groups.setdefault(_comparable(found.plans[number]), []).append(number)
    for new, numbers in groups.items():
        click.echo(f"On partition {spans(numbers)} of {cluster}:", err=True)
        for step in new.news:
            text = render.printable(f"  {step.place}: {step.statement.head}")
            click.echo(text, err=True)
        if new.withdrawn:
            count = len(new.withdrawn)
            text = f"  (journaled, and no longer in these files: {count})"
            click.echo(text, err=True)


def _comparable(new: Plan) -> Plan:
    """Return the plan without what is each partition's own."""
    return Plan(new.steps, (), tuple(range(len(new.withdrawn))))


def show(reports: Sequence[Report], as_json: bool) -> None:
    rows = [
        {
            "partition": report.partition,
            "state": report.state,
            "statements": report.statements,
            "seconds": round(report.seconds, 2),
            "warning": one_line("\n".join(report.warnings)) or None,
            "error": error_line(report.error),
        }
        for report in reports
    ]
    columns = [
        name
        for name in COLUMNS
        if name not in ("warning", "error") or any(row[name] for row in rows)
    ]
    render.show(rows, columns, as_json=as_json, alarm=lambda row: row["error"])


def show_trial(findings: Mapping[int, Findings], found: Survey, as_json: bool) -> None:
    groups: dict[tuple[tuple[object, ...], ...], list[int]] = {}
    for number, first in found.first.items():
        if first == number:
            groups.setdefault(tuple(_changes(findings[number])), []).append(number)
    rows = [
        {
            "partitions": numbers if as_json else spans(numbers),
            **dict(zip(TRIAL_COLUMNS[1:], change, strict=True)),
        }
        for changes, numbers in groups.items()
        for change in changes
    ]
    render.show(
        rows,
        TRIAL_COLUMNS,
        as_json=as_json,
        alarm=lambda row: row["change"] in ("call fails", "error"),
    )


def _changes(found: Findings) -> list[tuple[object, ...]]:
    """Return what a deploy would do, as rows without their partition."""
    rows: list[tuple[object, ...]] = [
        ("statement", step.statement.head, step.file, step.statement.line)
        for step in found.news
    ]
    rows += [
        (f"function {change}", name, None, None)
        for name, change in (found.functions or {}).items()
    ]
    rows += [("call fails", one_line(text), None, None) for text in found.broken]
    rows += [("warning", one_line(text), None, None) for text in found.warnings]
    if found.error is not None:
        rows.append(("error", error_line(found.error), None, None))
    return rows or [("nothing new", None, None, None)]
