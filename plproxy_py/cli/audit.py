"""Find rows that lie on the wrong partition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import click

from plproxy_py._router_base import RouterBase
from plproxy_py.cli import render
from plproxy_py.cli.common import (
    Settings,
    find_cluster,
    json_option,
    one_line,
    pass_settings,
    registered_hashes,
)
from plproxy_py.cli.completing import complete_cluster
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import Error
from plproxy_py.ops.audit import Audit, Audited, Misplaced
from plproxy_py.ops.placing.look import Look, look
from plproxy_py.ops.placing.tables import BATCH, Wanted

LISTED = ("key", "lies_on", "belongs_to")

# Beyond this share of rows, the hash is more likely wrong than the rows.
_SUSPICIOUS = 0.4


@click.command()
@click.argument("cluster", shell_complete=complete_cluster)
@click.option("--table", metavar="T", required=True, help="The table, as SQL names it.")
@click.option(
    "--key", metavar="COL", required=True, help="The column by which calls are routed."
)
@click.option(
    "--hash",
    "hash_name",
    metavar="NAME",
    help="The hash function of the key.  [default: hashtext, or hashint8 for integers]",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    default=20,
    show_default=True,
    help="List so many of the misplaced rows; all are counted.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.01),
    metavar="S",
    default=3.0,
    show_default=True,
    help="How many seconds each partition has to show the table.",
)
@json_option
@pass_settings
@click.pass_context
def audit(
    ctx: click.Context,
    settings: Settings,
    cluster: str,
    table: str,
    key: str,
    hash_name: str | None,
    limit: int,
    timeout: float,
) -> None:
    """Find rows that lie on the wrong partition.

    Each partition counts its rows by the partition where their keys belong, in a READ
    ONLY transaction; a row whose key is NULL belongs nowhere. Where a server lacks the
    hash, as it does a Python function that the router of --app knows, the keys are
    read and hashed here, a few at a time. Counting takes as long as it takes.

    Names of tables and columns are written as they are stored; a dot or a quote within
    one is written in quotes, as in SQL.

    With --json, the objects of partitions (kind: partition) are followed by those of
    rows (kind: row). The exit code is 1 if a row is misplaced, or a partition could
    not be asked; why is shown in its row.

    \b
    plproxy audit userdb --table users --key username
    plproxy audit userdb --table shop.orders --key customer_id --hash hashint4
    """
    with settings.router() as router:
        config = find_cluster(router, cluster)
        wanted = Wanted(table, key, hash_name)
        code = asyncio.run(
            _run(router, config, wanted, limit, timeout, settings.as_json)
        )
    ctx.exit(code)


async def _run(
    router: RouterBase,
    cluster: ClusterConfig,
    wanted: Wanted,
    limit: int,
    timeout: float,
    as_json: bool,
) -> int:
    seen = await look(router, cluster, wanted, registered_hashes(router), timeout)
    task = Audit(router, cluster, seen)
    with render.progress("Counting rows", len(seen.tables)) as advance:
        audited = await task.count(advance)
    failed = any(one.error for one in audited)
    wrong = any(one.misplaced for one in audited)
    rows = _listed(task, audited, limit)
    if as_json:
        with render.document() as add:
            add(map(_json_row, audited))
            async for batch in rows:
                add({"kind": "row", **_row(one)} for one in batch)
    else:
        _show_partitions(audited)
        async for batch in rows:
            click.echo()
            render.show([_row(one) for one in batch], LISTED, as_json=False)
        click.echo()
        for line in _words(seen, audited, limit):
            click.echo(line)
    return 1 if wrong or failed else 0


async def _listed(
    task: Audit, audited: list[Audited], limit: int
) -> AsyncIterator[list[Misplaced]]:
    """Give the misplaced rows that are listed, a bounded number at a time."""
    batch: list[Misplaced] = []
    left = limit
    for one in audited:
        if not left or not one.misplaced:
            continue
        try:
            async with aclosing(task.misplaced(one.place, left)) as rows:
                async for row in rows:
                    left -= 1
                    batch.append(row)
                    if len(batch) == BATCH:
                        yield batch
                        batch = []
        except Error as error:
            click.echo(one_line(f"partition {one.place.first}: {error}"), err=True)
    if batch:
        yield batch


def _row(one: Misplaced) -> dict[str, object]:
    return {"key": one.key, "lies_on": one.lies_on, "belongs_to": one.belongs_to}


def _json_row(one: Audited) -> render.Record:
    misplaced = one.misplaced
    return {
        "kind": "partition",
        "partition": one.place.first,
        "partitions": one.place.partitions,
        "rows": None if one.error else one.rows,
        "misplaced": None if one.error else sum(misplaced.values()),
        "belong_to": {
            "null" if number is None else str(number): count
            for number, count in misplaced.items()
        },
        "error": _error(one),
    }


def _error(one: Audited) -> str | None:
    if one.error is None:
        return None
    return one_line(str(one.error)).removeprefix("connection: ")


def _show_partitions(audited: list[Audited]) -> None:
    rows = [
        {
            **_json_row(one),
            "partition": _numbers(one.place.partitions),
            "belong_to": _destinations(one.misplaced) or None,
        }
        for one in audited
    ]
    columns = ["partition", "rows", "misplaced", "belong_to"]
    if any(one.error for one in audited):
        columns.append("error")
    render.show(
        rows,
        columns,
        as_json=False,
        alarm=lambda row: row["misplaced"] or row["error"],
    )


def _numbers(partitions: tuple[int, ...]) -> int | str:
    return partitions[0] if len(partitions) == 1 else ", ".join(map(str, partitions))


def _destinations(misplaced: dict[int | None, int]) -> str:
    """Say where rows belong, the three most frequent first."""
    most = sorted(misplaced.items(), key=lambda item: -item[1])
    texts = [
        f"{count:,} to {'none (NULL)' if number is None else number}"
        for number, count in most[:3]
    ]
    rest = sum(count for _, count in most[3:])
    return ", ".join([*texts, f"{rest:,} to others"] if rest else texts)


def _words(seen: Look, audited: list[Audited], limit: int) -> Iterator[str]:
    rows = sum(one.rows for one in audited)
    wrong = sum(sum(one.misplaced.values()) for one in audited)
    if not wrong:
        yield f"All {rows:,} rows that were counted lie where they belong."
    else:
        verb = "lies" if wrong == 1 else "lie"
        yield f"{wrong:,} of {rows:,} rows {verb} on the wrong partition."
    hash = next(iter(seen.tables.values())).hash.name
    if wrong > _SUSPICIOUS * rows:
        yield f"That is much: do calls run on another hash than {hash}? See --hash."
    if wrong > limit:
        yield f"Listed are {limit:,} of them: --limit lists more."
    if seen.hashed_here:
        where = ", ".join(map(str, seen.hashed_here))
        yield f"The servers of partitions {where} lack {hash}: it was computed here."
    if failed := sum(bool(one.error) for one in audited):
        yield f"{failed} of {len(audited)} databases could not be asked."
