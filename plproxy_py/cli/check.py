"""Check that functions, sessions and hashes are the same everywhere."""

from __future__ import annotations

import asyncio

import click

from plproxy_py._router_base import RouterBase
from plproxy_py.cli import render
from plproxy_py.cli.check_report import records, show
from plproxy_py.cli.common import (
    Seconds,
    Settings,
    find_cluster,
    functions,
    json_option,
    pass_settings,
    registered_hashes,
    timeout_option,
)
from plproxy_py.cli.completing import complete_cluster
from plproxy_py.config import ClusterConfig
from plproxy_py.function import ProxyFunction
from plproxy_py.ops.check.findings import Finding
from plproxy_py.ops.check.home import described, home_findings
from plproxy_py.ops.check.running import Limits, Report, check_cluster

SECONDS = Seconds(min=0.01)


@click.command()
@click.argument("cluster", required=False, shell_complete=complete_cluster)
@click.option(
    "--tables",
    metavar="NAME",
    multiple=True,
    help="Also compare this table's copies on all partitions; can be said again.",
)
@timeout_option(3.0, "How many seconds each partition has to answer.")
@click.option(
    "--table-timeout",
    type=SECONDS,
    metavar="S",
    default=300.0,
    show_default=True,
    help="How many seconds each partition has for the checksums of --tables.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    default=16,
    show_default=True,
    help="How many partitions are asked at a time.",
)
@json_option
@pass_settings
@click.pass_context
def check(
    ctx: click.Context,
    settings: Settings,
    cluster: str | None,
    tables: tuple[str, ...],
    timeout: float,
    table_timeout: float,
    jobs: int,
) -> None:
    """Check that functions, sessions and hashes are the same everywhere.

    Each partition of the CLUSTER, or of all clusters, prepares what calls of the
    declared functions would send, so that whether they can be made is PostgreSQL's
    own verdict; its catalog tells why not. What passes and is wrong nevertheless is
    looked for as well: a function's OUT types, volatility, SETOF, attributes and body,
    which are to be the same everywhere, and the right to EXECUTE it. So are a
    partition's settings, its clock, its hash functions, rights on tables that the role
    does not need, and connect strings that lead to one database in different words.
    Hash functions given to the router are held against those of the home database.

    Nothing is changed. Functions whose CLUSTER is an expression are held against the
    home database only.

    The exit code is 1 if there is a fault, or a partition that could not be asked.
    Advice is printed as well, and leaves it at 0.

    \b
    plproxy check userdb
    plproxy check --tables countries --tables currencies
    """
    with settings.router() as router:
        if cluster is not None:
            clusters = [find_cluster(router, cluster)]
        else:
            clusters = list(router.clusters.values())
        limits = Limits(timeout, table_timeout, jobs)
        at_home = asyncio.run(_at_home(router, cluster, timeout))
        reports = [_report(router, config, tables, limits) for config in clusters]
    if settings.as_json:
        rows = [row for report in reports for row in records(report)]
        rows += records(None, at_home)
        render.show(rows, (), as_json=True)
    else:
        show(reports, at_home, _unchecked(router))
    found = [*at_home, *(one for report in reports for one in report.findings)]
    ctx.exit(1 if any(one.level == "fault" for one in found) else 0)


async def _at_home(
    router: RouterBase, cluster: str | None, timeout: float
) -> list[Finding]:
    own = [
        found
        for found in functions(router)
        # Those of a computed cluster may be of any.
        if cluster is None or found.cluster == cluster or _is_computed(found)
    ]
    return await home_findings(router, own, registered_hashes(router), timeout)


def _report(
    router: RouterBase, config: ClusterConfig, tables: tuple[str, ...], limits: Limits
) -> Report:
    own = [found for found in functions(router) if found.cluster == config.name]
    count = len({partition.target for partition in config.partitions})

    async def run() -> Report:
        known = await described(router, own, limits.timeout)
        return await check_cluster(router, config, known, tables, limits, done)

    with render.progress(f"Checking {config.name}", count) as done:
        return asyncio.run(run())


def _unchecked(router: RouterBase) -> list[str]:
    """Return the functions that run on no cluster that their declaration names."""
    return [found.signature.key for found in functions(router) if _is_computed(found)]


def _is_computed(function: ProxyFunction) -> bool:
    return function.connect is not None or not isinstance(function.cluster, str)
