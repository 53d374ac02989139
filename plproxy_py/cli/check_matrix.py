"""Functions by partitions as a matrix of marks, and what partitions are.

Functions that are well on all partitions are counted where they are many, and so are
partitions that are all alike: 1,024 of them fit as well as four.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text

from plproxy_py.cli import render
from plproxy_py.ops.check.findings import named
from plproxy_py.ops.check.running import NOT_ASKED, NOT_NEEDED, OK, Report, Verdict
from plproxy_py.ops.numbers import spans

# By these a call fails, or would not reach the function that is meant.
_FAILS = frozenset(
    ("missing", "argument types", "ambiguous", "OUT names", "refused", "EXECUTE")
)
# Of more partitions, those of one verdict share a column; of more functions, those
# that are well are only counted.
_MOST_COLUMNS = 16
_MOST_ROWS = 20
_FINE, _FAIL, _DIFFER, _UNKNOWN, _NOTHING = range(5)
_MARKS = "✓✗≠?·"
_ASCII_MARKS = "+x!?."
_MEANINGS = ("can be called", "fails", "differs", "not asked", "not needed")
_STYLES = ("green", "red", "red", "yellow", "dim")


def matrix(report: Report, width: int) -> Iterator[Text]:
    """Draw a line for each function, a column for each partition or group of them."""
    count = report.cluster.part_count
    title = f"{report.cluster.name}: {counted(len(report.verdicts), 'function')}"
    if count > _MOST_COLUMNS:
        title += f", {count:,} partitions"
    if not report.verdicts:
        yield Text(title + " to check", "bold")
        return
    groups = _groups(report)
    columns = [numbers[0] for numbers in groups.values()]
    alike = len(columns) < count
    names = [chr(97 + n % 26) if alike else str(n) for n in range(len(columns))]
    size = max(map(len, names)) + 1
    shown = {
        key: verdicts
        for key, verdicts in report.verdicts.items()
        if len(report.verdicts) <= _MOST_ROWS
        or any(verdict not in (OK, NOT_NEEDED) for verdict in verdicts)
    }
    room = max(20, width - size * len(columns) - 1)
    keys = {key: _cut(render.printable(key), room) for key in shown}
    left = max(map(cell_len, (*keys.values(), title)))
    header = "".join(name.rjust(size) for name in names)
    yield Text.assemble((title.ljust(left) + header, "bold"))
    seen = set()
    for key, verdicts in shown.items():
        line = Text(keys[key] + " " * (left - cell_len(keys[key])))
        for column in columns:
            mark = _mark(verdicts[column])
            seen.add(mark)
            line.append(_signs()[mark].rjust(size), _STYLES[mark])
        yield line
    if rest := len(report.verdicts) - len(shown):
        yield Text(f"{counted(rest, 'function')} can be called wherever needed")
    if alike:
        for name, numbers in zip(names, groups.values(), strict=True):
            yield Text(f"{name}: {named(numbers)}")
    if seen - {_FINE}:
        legend = [f"{_signs()[mark]} {_MEANINGS[mark]}" for mark in sorted(seen)]
        yield Text("  ".join(legend), "dim")


def _groups(report: Report) -> dict[tuple[object, ...], list[int]]:
    """Return the partitions by column, all by themselves where they are few."""
    groups: dict[tuple[object, ...], list[int]] = {}
    is_wide = report.cluster.part_count > _MOST_COLUMNS
    for number in range(report.cluster.part_count):
        marks = tuple(_mark(found[number]) for found in report.verdicts.values())
        groups.setdefault(marks if is_wide else (number,), []).append(number)
    return groups


def _mark(verdict: Verdict) -> int:
    if verdict is NOT_NEEDED:
        return _NOTHING
    if verdict == OK:
        return _FINE
    if verdict == NOT_ASKED:
        return _UNKNOWN
    return _FAIL if verdict in _FAILS else _DIFFER


def _signs() -> str:
    return _MARKS if render.is_unicode() else _ASCII_MARKS


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return text
    dots = "…" if render.is_unicode() else "..."
    while cell_len(text) > width - len(dots):
        text = text[:-1]
    return text + dots


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def facts(report: Report) -> Iterator[Text]:
    """Draw what partitions are, those that are alike on one line."""
    alike: dict[tuple[str, ...], list[int]] = {}
    clocks: dict[tuple[str, ...], float] = {}
    for number, look in report.answered.items():
        found = look.catalog.facts
        version = f" {found.collation_version}" if found.collation_version else ""
        cells = (
            found.version,
            found.encoding,
            found.collation + version,
            found.timezone,
            found.datestyle,
            found.timeout or "none",
        )
        alike.setdefault(cells, []).append(number)
        clocks[cells] = max(clocks.get(cells, 0.0), found.skew, key=abs)
    titles = ("partitions", *_TITLES, "clock")
    lines = [titles] + [
        (spans(numbers), *cells, _clock_text(clocks[cells]))
        for cells, numbers in alike.items()
    ]
    if len(lines) == 1:
        return
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    yield Text()
    for line in lines:
        padded = map(_padded, map(render.printable, line), widths)
        yield Text("  ".join(padded).rstrip(), "bold" if line is titles else "")


_TITLES = ("server", "encoding", "collation", "TimeZone", "DateStyle", "timeout")


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _clock_text(skew: float) -> str:
    return f"{skew:+.1f} s" if abs(skew) >= 0.05 else "0.0 s"
