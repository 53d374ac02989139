"""Count the connections that servers will see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import click

from plproxy_py.cli import render
from plproxy_py.cli.bars import shortened
from plproxy_py.cli.common import (
    Settings,
    error_line,
    find_cluster,
    json_option,
    pass_settings,
    timeout_option,
)
from plproxy_py.cli.completing import complete_cluster
from plproxy_py.ops.budget import (
    Plan,
    ServerBudget,
    pools_of,
    said_plan,
    server_budgets,
)

COLUMNS = (
    *("server", "databases", "wanted", "limit", "reserved", "in_use", "left", "fits"),
    "limited_by",
)


@click.command()
@click.argument("cluster", required=False, shell_complete=complete_cluster)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    required=True,
    help="The processes that have a router, on all machines together.",
)
@click.option(
    "--pool-size",
    type=click.IntRange(min=1),
    metavar="M",
    help="Connections of a process to each database.  [default: the router's, which "
    "is 8 unless --app says otherwise]",
)
@click.option(
    "--max-connections-per-server",
    "per_server",
    type=click.IntRange(min=1),
    metavar="M",
    help="Connections of a process to each server.  [default: the router's, which has "
    "no such limit unless --app says otherwise]",
)
@timeout_option(3.0, "How many seconds each server has to answer.")
@json_option
@pass_settings
@click.pass_context
def budget(
    ctx: click.Context,
    settings: Settings,
    cluster: str | None,
    processes: int,
    pool_size: int | None,
    per_server: int | None,
    timeout: float,
) -> None:
    """Count the connections that servers will see.

    Each process may open as many as its pools have room for: to each database of the
    CLUSTER, or of all clusters, and to the home database. They are held against what
    each server has left: max_connections without those that are reserved, or the limit
    of a role or a database where that is tighter, and without the sessions of others
    that are there now. Routers of these clusters are not counted as others, being told
    by their application_name.

    The exit code is 1 if they do not fit, or if a server could not be asked; why is
    shown in its row. Of a server behind a pooler nothing is said: the pooler decides.

    \b
    plproxy budget userdb --processes 25
    plproxy budget --processes 40 --pool-size 2
    """
    with settings.router() as router:
        if cluster is not None:
            find_cluster(router, cluster)
        plan = said_plan(router, processes, pool_size, per_server)
        pools = pools_of(router, cluster)
        with render.progress("Asking servers") as advance:
            found = asyncio.run(server_budgets(router, pools, plan, timeout, advance))
    rows = [_row(one) for one in found]
    failed = any(one.error for one in found)
    columns = [*COLUMNS, "error"] if failed else COLUMNS
    if settings.as_json:
        render.show(rows, columns, as_json=True)
    else:
        for row, one in zip(rows, found, strict=True):
            row["server"] = ", ".join(map(shortened, one.names))
            row["fits"] = None if one.fits is None else "yes" if one.fits else "no"
        render.show(
            rows,
            columns,
            as_json=False,
            alarm=lambda row: row["error"] or row["fits"] == "no",
        )
        click.echo()
        for line in _words(found):
            click.echo(line)
    ctx.exit(1 if failed or any(one.fits is False for one in found) else 0)


def _row(one: ServerBudget) -> dict[str, object]:
    limit = one.tightest
    return {
        "server": ", ".join(one.names),
        "databases": one.databases,
        "wanted": one.plan.wanted(limit.databases) if limit else one.wanted,
        "limit": limit and limit.most,
        "reserved": limit and limit.reserved,
        "in_use": limit and limit.in_use,
        "left": limit and limit.left,
        "fits": one.fits,
        "limited_by": limit and limit.name,
        "routers": one.routers if limit else None,
        "pool_size_that_fits": one.pool_size if limit else None,
        "per_server_that_fits": one.per_server if limit else None,
        "error": error_line(one.error),
    }


def _words(found: list[ServerBudget]) -> Iterator[str]:
    plan = found[0].plan
    yield (
        f"{_processes(plan)} with a pool of {plan.pool_size:,} for each database may "
        f"open {sum(one.wanted for one in found):,} connections."
    )
    for one in found:
        name = shortened(one.names[0])
        if one.is_pooled:
            yield f"{name}: behind a pooler, whose max_client_conn is to allow them."
        elif one.routers > one.wanted:
            yield (
                f"{name}: routers hold {one.routers:,} connections already; were all "
                "processes counted?"
            )
    tight = [one for one in found if one.fits is False]
    if tight:
        yield from _remedies(tight)


def _processes(plan: Plan) -> str:
    return f"{plan.processes:,} process{'es' if plan.processes > 1 else ''}"


def _remedies(tight: list[ServerBudget]) -> Iterator[str]:
    plan = tight[0].plan
    pool_size = min(one.pool_size for one in tight)
    per_server = min(one.per_server for one in tight)
    if pool_size:
        yield f"A pool_size of {pool_size:,} fits."
    if per_server:
        waves = any(per_server < one.databases for one in tight)
        yield f"max_connections_per_server = {per_server:,} fits" + (
            ": calls to more databases at a time then run in waves." if waves else "."
        )
    if not per_server:
        left = min(limit.left for one in tight for limit in one.limits)
        yield (
            f"Not even one connection for each process fits: {left:,} are left for "
            f"{_processes(plan)}. A pooler before the server does: PgBouncer in "
            "transaction mode, with pooler = true."
        )
    # Servers that lack the same are told in one line.
    raised: dict[tuple[str, int, int], list[str]] = {}
    for one in tight:
        for limit in one.limits:
            wanted = plan.wanted(limit.databases)
            if wanted > limit.left:
                least = wanted + limit.in_use + limit.reserved
                servers = raised.setdefault((limit.name, least, limit.most), [])
                servers.append(shortened(one.names[0]))
    for (name, least, most), servers in raised.items():
        yield f"Or {name} of {least:,}, now {most:,}, on {', '.join(servers)}."
