"""Find rows that lie on the wrong partition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import click

from plproxy_py._router_base import RouterBase
from plproxy_py.cli import audits, render
from plproxy_py.cli.common import (
    Settings,
    error_line,
    find_cluster,
    json_option,
    pass_settings,
    registered_hashes,
    timeout_option,
)
from plproxy_py.cli.completing import complete_cluster
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import Error
from plproxy_py.ops.audit import Audit, Audited, Misplaced
from plproxy_py.ops.placing.look import look
from plproxy_py.ops.placing.tables import BATCH, Wanted

LISTED = ("key", "lies_on", "belongs_to")


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
    type=click.IntRange(0, 1_000_000_000),
    metavar="N",
    default=20,
    show_default=True,
    help="List so many of the misplaced rows; all are counted.",
)
@timeout_option(3.0, "How many seconds each partition has to show the table.")
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
            add(map(audits.json_row, audited))
            async for batch in rows:
                add({"kind": "row", **audits.row_of(one)} for one in batch)
    else:
        audits.show_partitions(audited)
        async for batch in rows:
            click.echo()
            render.show([audits.row_of(one) for one in batch], LISTED, as_json=False)
        click.echo()
        for line in audits.words(seen, audited, limit):
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
            click.echo(f"partition {one.place.first}: {error_line(error)}", err=True)
    if batch:
        yield batch
