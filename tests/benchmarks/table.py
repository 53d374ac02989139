"""What a person sees of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks.groups import Report, Value


def environment(machine: Mapping[str, Any], versions: Mapping[str, Any]) -> str:
    """Return the machine and the versions, on a line each."""
    return "\n".join(
        ", ".join(f"{name} {value}" for name, value in facts.items())
        for facts in (machine, versions)
    )


def report(report: Report) -> str:
    """Return a group's table: contenders, then ratios, notes and bars."""
    size = report.size
    sized = f"{size.rounds} rounds of {size.calls:,}"
    if size.elements > 1:
        sized += f", {size.elements:,} elements"
    lines = ["", f"{report.title} ({sized})"]
    if report.results:
        lines += _columns(
            ["", "wall", "client CPU"],
            [
                [name, _duration(result.wall), _duration(result.cpu)]
                for name, result in report.results.items()
            ],
        )
    if report.values:
        lines += _values(report.values)
    lines += [f"  note: {note}" for note in dict.fromkeys(report.notes)]
    lines += [f"  {bar}" for bar in report.bars]
    return "\n".join(lines)


def summary(reports: Sequence[Report]) -> str:
    """Return all values with their goals."""
    values = [value for report in reports for value in report.values]
    met = [value.is_met for value in values if value.goal is not None]
    title = f"goals met: {sum(map(bool, met))} of {len(met)}"
    return "\n".join(["", title, *_values(values)])


def _values(values: Sequence[Value]) -> list[str]:
    return _columns(
        ["", "value", "middle half", "goal", ""],
        [
            [
                value.name,
                f"{value.value:.3g}",
                "" if value.low is None else f"{value.low:.3g} … {value.high:.3g}",
                _goal(value),
                {True: "met", False: "missed", None: ""}[value.is_met],
            ]
            for value in values
        ],
    )


def _goal(value: Value) -> str:
    if value.goal is None:
        return ""
    return f"{'≥' if value.higher_is_better else '≤'} {value.goal:g}"


def _duration(seconds: float) -> str:
    microseconds = seconds * 1e6
    if microseconds >= 10_000:
        return f"{microseconds / 1000:,.1f} ms"
    return (
        f"{microseconds:,.3g} µs" if microseconds < 100 else f"{microseconds:,.0f} µs"
    )


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines: names to the left, figures to the right."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  "
        + "  ".join(
            text.rjust(width) if column else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
