"""A balance as bars and in words, for people, and as rows for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import click

from plproxy_py.cli import bars, render
from plproxy_py.cli.common import error_line
from plproxy_py.ops.balance import Balance, Group, Held, What
from plproxy_py.ops.placing.spread import BYTES_TOLERANCE

_MOST_NAMED = 3


def show(found: Balance, cluster: str, table: str | None) -> None:
    """Print a balance. ``table``: of which the rows are."""
    what, group = found.what, found.partitions
    count = sum(len(one.partitions) for one in (*group.held, *found.failed))
    if not group.held:
        click.echo(f"{cluster}: none of {count:,} partitions could be asked")
        for one in found.failed:
            _say_failed(one)
        return
    held = _held_text(what, group, table)
    click.echo(f"{cluster}: {held} on {count:,} partitions")
    if found.planned is None:
        drawn = bars.fitting(group, found.servers)
        _draw(what, group, drawn)
        _say(found, group)
        if drawn is None and len(found.servers.held) > 1:
            click.echo(_servers(found.servers))
    else:
        click.echo(f"Now: {next(_verdict(what, group))}")
        click.echo(f"With {len(found.planned.held):,} partitions:")
        _draw(what, found.planned, None)
        _say(found, found.planned)
    for one in found.failed:
        _say_failed(one)


def _say_failed(one: Held) -> None:
    said = error_line(one.error, "connection")
    click.echo(f"Partition {bars.numbers(one)} could not be asked: {said}")


def _draw(what: What, group: Group, servers: Group | None) -> None:
    if len(group.held) <= bars.MOST_BARS:
        bars.show(list(bars.bars(what, group, servers)))
        return
    bars.show(list(bars.histogram(group)))
    for line in bars.extremes(group):
        click.echo(line)


def _held_text(what: What, group: Group, table: str | None) -> str:
    total = group.spread.total
    if what == "bytes":
        return str(render.Size(total))
    sizes = [one.bytes for one in group.held if one.bytes is not None]
    size = f" ({render.Size(sum(sizes))})" if sizes else ""
    things = what.removesuffix("s") if total == 1 else what
    return f"{total:,} {things}{f' of {table}' if table else ''}{size}"


def _say(found: Balance, group: Group) -> None:
    for line in _verdict(found.what, group):
        click.echo(line)
    keys = found.key_count
    if not group.spread.uneven or not keys or keys > group.spread.total / 2:
        return
    chance = replace(group.spread, independent=keys).chance or 0
    worst = group.spread.times(group.spread.uneven[0]) or 0
    if abs(worst - 1) <= chance:
        told = f"About {keys:,} keys are few: with them, chance gives up to"
    else:
        told = f"Some keys have many rows: about {keys:,} alike would give up to"
    click.echo(f"{told} {_off(chance)}.")


def _verdict(what: What, group: Group) -> Iterator[str]:
    """Say how even it is, then what that means."""
    spread = group.spread
    if not spread.total:
        yield f"Nothing to weigh: there are no {what}."
        return
    if what == "bytes":
        limit = f"even is within {BYTES_TOLERANCE:.0%}."
    else:
        limit = f"chance gives up to {_off(spread.chance or 0)}."
    worst = (spread.uneven or [spread.furthest])[0]
    name, times = bars.numbers(group.held[worst]), bars.times_text(spread, worst)
    if not spread.uneven:
        yield f"Even: furthest is partition {name}, {times} its share; {limit}"
        return
    texts = [
        f"{bars.numbers(group.held[index])} {bars.times_text(spread, index)}"
        for index in spread.uneven[1:_MOST_NAMED]
    ]
    if (more := len(spread.uneven) - _MOST_NAMED) > 0:
        texts.append(f"{more:,} more")
    others = ", ".join(["", *texts])
    yield f"Uneven: partition {name} holds {times} its share{others}."
    yield limit.capitalize()


def _off(part: float) -> str:
    return f"± {part:.1%}" if part < 0.1 else f"± {part:.0%}"


def _servers(servers: Group) -> str:
    """Say which server has the most, by what an equal part would be."""
    spread = servers.spread
    if not spread.total:
        return f"Servers: {len(servers.held):,}, all empty."
    most = max(range(len(servers.held)), key=spread.amounts.__getitem__)
    one = servers.held[most]
    return (
        f"Servers: of {len(servers.held):,}, {bars.shortened(one.server or '')} holds "
        f"most, {bars.times_text(spread, most)} an equal part."
    )


def json_rows(found: Balance) -> Iterator[render.Record]:
    """Return a balance for programs."""
    groups = [("partition", found.partitions), ("server", found.servers)]
    if found.planned is not None:
        groups.append(("planned", found.planned))
    for kind, group in groups:
        for index, one in enumerate(group.held):
            times = group.spread.times(index)
            yield {
                **_json_row(kind, one),
                "share": group.spread.shares[index],
                "times": None if times is None else round(times, 4),
                "uneven": kind != "server" and group.spread.is_uneven(index),
                "error": None,
            }
        if kind == "partition":
            for one in found.failed:
                nothing = {"share": None, "times": None, "uneven": False}
                said = error_line(one.error, "connection")
                yield {**_json_row(kind, one), **nothing, "error": said}


def _json_row(kind: str, one: Held) -> render.Record:
    return {
        "kind": kind,
        "partition": None if kind == "server" else one.partitions[0],
        "partitions": one.partitions,
        "server": one.server,
        "keys": one.keys,
        "rows": one.rows,
        "bytes": one.bytes,
    }
