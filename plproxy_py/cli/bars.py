"""A spread as bars: a line for each partition, or a histogram of very many.

80 columns by 24 lines hold 16 partitions and their servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from plproxy_py.cli import render
from plproxy_py.ops.balance import Group, Held, What
from plproxy_py.ops.placing.spread import Spread

# Beyond so many, a histogram says more.
MOST_BARS = 20
# With the lines around them, 24.
MOST_LINES = 18

_EXTREMES = 3
_BUCKETS = 12
_WIDEST_SERVER = 24
_NARROWEST_BAR = 10
_EIGHTHS = "▏▎▍▌▋▊▉"
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


@dataclass(frozen=True, slots=True)
class Line:
    """One bar's line. ``cells`` stand before the bar, ``figures`` behind it."""

    cells: tuple[str, ...]
    bar: float | None
    figures: tuple[str, ...]
    alarm: bool = False


def bar(share: float, width: int) -> str:
    """Return a bar, as wide as ``width`` for 1."""
    if not render.is_unicode():
        return "#" * round(share * width)
    full, eighths = divmod(round(share * width * 8), 8)
    return "█" * full + (_EIGHTHS[eighths - 1] if eighths else "")


def show(lines: Sequence[Line]) -> None:
    """Print lines in columns, as wide as the terminal."""
    terminal = render.console()
    cells = _widths([line.cells for line in lines])
    figures = _widths([line.figures for line in lines])
    gaps = 2 * (len(cells) + len(figures))
    width = max(_NARROWEST_BAR, terminal.width - sum(cells) - sum(figures) - gaps)
    for line in lines:
        drawn = "" if line.bar is None else bar(line.bar, width)
        blank = " " * (width - cell_len(drawn))
        # Names read from the left, numbers from the right.
        first = _padded(line.cells[0], cells[0], right=True)
        rest = map(_padded, line.cells[1:], cells[1:])
        last = [
            _padded(text, size, right=True)
            for text, size in zip(line.figures, figures, strict=True)
        ]
        text = "  ".join([first, *rest, drawn + blank, *last]).rstrip()
        style = "red" if line.alarm else "bold" if line.bar is None else None
        terminal.print(text, style=style, soft_wrap=True)


def _widths(lines: Sequence[tuple[str, ...]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*lines, strict=True)]


def _padded(text: str, width: int, *, right: bool = False) -> str:
    blank = " " * (width - cell_len(text))
    return blank + text if right else text + blank


def fitting(partitions: Group, servers: Group) -> Group | None:
    """Return the servers if there is room for them below the partitions."""
    lines = len(partitions.held) + len(servers.held)
    return servers if lines <= MOST_LINES and len(servers.held) > 1 else None


def bars(what: What, partitions: Group, servers: Group | None) -> Iterator[Line]:
    """Draw each partition, and below them the servers, if any are given."""
    with_servers = len({one.server for one in partitions.held}) > 1
    other: What | None = "rows" if what == "bytes" else "bytes"
    if all(one.rows is None for one in partitions.held):
        other = None  # keys alone
    titles = ("partition", "server") if with_servers else ("partition",)
    heads = ("size" if what == "bytes" else what, f"{sign()} share", *_title(other))
    yield Line(titles, None, heads)
    yield from _lines(what, partitions, with_servers, other)
    if servers is not None:
        yield from _lines(what, servers, with_servers, other, are_servers=True)


def _title(what: What | None) -> tuple[str, ...]:
    if what is None:
        return ()
    return ("size",) if what == "bytes" else (f"about {what}",)


def _lines(
    what: What,
    group: Group,
    with_servers: bool,
    other: What | None,
    *,
    are_servers: bool = False,
) -> Iterator[Line]:
    most = max(group.spread.amounts, default=0) or 1
    count = sum(len(one.partitions) for one in group.held)
    for index, one in enumerate(group.held):
        name = numbers(one)
        if are_servers:
            name = f"{len(one.partitions)} of {count}"
        figures = [_figure(one, what), times_text(group.spread, index)]
        if other is not None:
            figures.append(_figure(one, other))
        yield Line(
            (name, shortened(one.server or "")) if with_servers else (name,),
            one.amount(what) / most,
            tuple(figures),
            alarm=group.spread.is_uneven(index) and not are_servers,
        )


def _figure(one: Held, what: What) -> str:
    if what == "bytes":
        return "-" if one.bytes is None else str(render.Size(one.bytes))
    amount = one.keys if what == "keys" else one.rows
    return "-" if amount is None else f"{amount:,}"


def numbers(one: Held) -> str:
    """Return its partitions' numbers, the first of many."""
    texts = list(map(str, one.partitions[:3]))
    return ",".join(texts) + (",…" if len(one.partitions) > len(texts) else "")


def shortened(server: str) -> str:
    """Return the end of a long name, where the port is."""
    if len(server) <= _WIDEST_SERVER:
        return server
    return "…" + server[1 - _WIDEST_SERVER :]


def sign() -> str:
    """Return the multiplication sign, or what stands for it in ASCII."""
    return "\N{MULTIPLICATION SIGN}" if render.is_unicode() else "x"


def times_text(spread: Spread, index: int) -> str:
    """Return how many times its share it is, as text."""
    times = spread.times(index)
    return "-" if times is None else f"{times:.2f} {sign()}"


def histogram(group: Group) -> Iterator[Line]:
    """Draw how many partitions hold how many times their share."""
    spread = group.spread
    found = [spread.times(index) or 0.0 for index in range(len(group.held))]
    least, most = min(found), max(found)
    span = (most - least) / (_BUCKETS - 1)
    step = next((step for step in _STEPS if span <= step), span)
    # A rounded quotient, so that 0.95 is not put below 0.95.
    first = int(round(least / step, 6))
    counts = [0] * (int(round(most / step, 6)) - first + 1)
    for times in found:
        counts[int(round(times / step, 6)) - first] += 1
    yield Line((f"{sign()} share",), None, ("partitions",))
    for number, count in enumerate(counts, first):
        name = f"{number * step:.2f} to {(number + 1) * step:.2f}"
        yield Line((name,), count / max(counts), (f"{count:,}",))


def extremes(group: Group) -> Iterator[str]:
    """Say which partitions hold the most and the least."""
    order = sorted(
        range(len(group.held)), key=lambda index: group.spread.times(index) or 0
    )
    for word, ends in (("most", order[: -_EXTREMES - 1 : -1]), ("least", order)):
        texts = [
            f"{numbers(group.held[index])} ({times_text(group.spread, index)})"
            for index in ends[:_EXTREMES]
        ]
        yield f"The {word}: partition {', '.join(texts)}."
