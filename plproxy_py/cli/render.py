"""Rows for people and for programs: one place where commands print.

On a terminal a table, or one line for each value where the table would be wider than
the terminal, as psql's ``\\x auto`` has it. Elsewhere plain columns, nothing cut. With
``--json`` one document. Control characters, which a partition's data may hold, never
reach a terminal as such.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

Record = Mapping[str, object]
Alarm = Callable[[Record], object]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_GAP = "  "
_RULED_GAP = 3


class Size(int):
    """A number of bytes: a number to programs, ``7.4 MB`` to people."""

    def __str__(self) -> str:
        amount, unit = float(self), "B"
        for larger in ("kB", "MB", "GB", "TB"):
            if amount < 1024:
                break
            amount, unit = amount / 1024, larger
        return f"{amount:.3g} {unit}" if amount < 1000 else f"{amount:.0f} {unit}"


def console(*, stderr: bool = False) -> Console:
    """Return a console that writes texts as they are, in colours where they suit."""
    return Console(
        stderr=stderr,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )


def is_unicode() -> bool:
    """Tell whether stdout can take any character."""
    return (sys.stdout.encoding or "").lower().startswith("utf")


def printable(text: str) -> str:
    """Return the text with control characters as escapes."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def show(
    rows: Sequence[Record],
    columns: Sequence[str],
    *,
    as_json: bool,
    null: str = "-",
    alarm: Alarm | None = None,
) -> None:
    """Print rows, of which the table has ``columns``.

    ``alarm`` tells the rows that should catch the eye.
    """
    if as_json:
        document = [_plain(dict(row)) for row in rows]
        print(json.dumps(document, ensure_ascii=not is_unicode()), flush=True)
        return
    cells = [[_text(row[column], null) for column in columns] for row in rows]
    titles = [printable(column.replace("_", " ")) for column in columns]
    widths = [max(map(cell_len, values)) for values in zip(titles, *cells, strict=True)]
    numeric = [_is_numeric(row[column] for row in rows) for column in columns]
    alarms = [alarm is not None and bool(alarm(row)) for row in rows]
    terminal = console()
    if not terminal.is_terminal:
        _print_plain([titles, *cells], widths, numeric)
    elif sum(widths) + _RULED_GAP * (len(widths) - 1) <= terminal.width:
        _print_table(terminal, titles, cells, numeric, alarms)
    else:
        _print_records(terminal, titles, cells, alarms)
    sys.stdout.flush()


@contextmanager
def progress(task: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """Show on stderr what is going on; give what is to be called for each step."""
    errors = console(stderr=True)
    if not errors.is_terminal:
        errors.print(task)
        yield lambda: None
        return
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
    if total is not None:
        columns += [BarColumn(), MofNCompleteColumn()]
    with Progress(*columns, console=errors, transient=True) as shown:
        number = shown.add_task(task, total=total)
        yield lambda: shown.advance(number)


def _print_plain(
    lines: Iterable[Sequence[str]], widths: Sequence[int], numeric: Sequence[bool]
) -> None:
    for line in lines:
        padded = []
        for cell, width, right in zip(line, widths, numeric, strict=True):
            blank = " " * (width - cell_len(cell))
            padded.append(blank + cell if right else cell + blank)
        print(_GAP.join(padded).rstrip())


def _print_table(
    terminal: Console,
    titles: Sequence[str],
    cells: Sequence[Sequence[str]],
    numeric: Sequence[bool],
    alarms: Sequence[bool],
) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title, right in zip(titles, numeric, strict=True):
        table.add_column(Text(title), justify="right" if right else "left")
    for line, alarming in zip(cells, alarms, strict=True):
        table.add_row(*map(Text, line), style="red" if alarming else None)
    terminal.print(table)


def _print_records(
    terminal: Console,
    titles: Sequence[str],
    cells: Sequence[Sequence[str]],
    alarms: Sequence[bool],
) -> None:
    width = max(map(cell_len, titles))
    for number, (line, alarming) in enumerate(zip(cells, alarms, strict=True)):
        if number:
            terminal.print()
        for title, cell in zip(titles, line, strict=True):
            blank = " " * (width - cell_len(title)) + _GAP
            text = Text.assemble((title, "bold"), blank, cell)
            # The terminal breaks the line, so that it can be copied whole.
            terminal.print(text, style="red" if alarming else None, soft_wrap=True)


def _is_numeric(values: Iterable[object]) -> bool:
    return all(
        isinstance(value, (int, float)) and not isinstance(value, bool)
        for value in values
        if value is not None
    )


def _text(value: object, null: str) -> str:
    if value is None:
        return null
    if isinstance(value, Size):
        return str(value)
    plain = _plain(value)
    if isinstance(plain, str):
        return printable(plain)
    return printable(json.dumps(plain, ensure_ascii=False))


def _plain(value: object) -> object:
    """Return the value as JSON has it, text for what JSON does not know."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return f"\\x{value.hex()}"
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case _:
            return str(value)


@contextmanager
def document() -> Iterator[Callable[[Iterable[Record]], None]]:
    """Print one JSON document in pieces; give what adds rows to it."""
    separator = "["

    def add(rows: Iterable[Record]) -> None:
        nonlocal separator
        for row in rows:
            text = json.dumps(_plain(dict(row)), ensure_ascii=not is_unicode())
            print(separator + text, end="")
            separator = ", "

    yield add
    print("[]" if separator == "[" else "]", flush=True)
