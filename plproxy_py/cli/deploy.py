"""Run SQL files on all partitions, once each."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from click.core import ParameterSource

from plproxy_py.cli.changing import (
    ask,
    check_answerable,
    check_partitions,
    progress,
    yes_option,
)
from plproxy_py.cli.common import (
    Seconds,
    Settings,
    find_cluster,
    functions,
    json_option,
    pass_settings,
    timeout_option,
)
from plproxy_py.cli.completing import complete_cluster
from plproxy_py.cli.deploys import announce, show, show_trial
from plproxy_py.ops.deploy.calls import declared_calls
from plproxy_py.ops.deploy.files import read_files
from plproxy_py.ops.deploy.partition import Wish
from plproxy_py.ops.deploy.running import Course, shared, survey
from plproxy_py.ops.numbers import spans


@click.command()
@click.argument("cluster", shell_complete=complete_cluster)
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show what is new and which functions would change; roll it back.",
)
@click.option(
    "--canary",
    type=click.IntRange(min=0),
    metavar="N",
    help="Partition N first; no other is begun before it is done.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    default=8,
    show_default=True,
    help="On so many partitions at a time.",
)
@click.option(
    "--keep-going", is_flag=True, help="Don't stop at the first partition that fails."
)
@click.option(
    "--no-transaction",
    is_flag=True,
    help="Each statement by itself, for CREATE INDEX CONCURRENTLY.",
)
@click.option(
    "--also-check",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="LANGUAGE plproxy functions of a version that still runs: their calls "
    "must go on working too.",
)
@click.option(
    "--lock-timeout",
    type=Seconds(min=0.001),
    metavar="S",
    default=3.0,
    show_default=True,
    help="How many seconds to wait for a lock. Unless it is given, statements that "
    "work CONCURRENTLY wait without end.",
)
@click.option(
    "--statement-timeout",
    type=Seconds(min=0.001),
    metavar="S",
    help="How many seconds a statement may take.  [default: no end]",
)
@timeout_option(10.0, "How many seconds a partition has to be reached and looked at.")
@yes_option
@json_option
@pass_settings
@click.pass_context
def deploy(
    ctx: click.Context,
    settings: Settings,
    cluster: str,
    files: tuple[Path, ...],
    dry_run: bool,
    canary: int | None,
    jobs: int,
    keep_going: bool,
    no_transaction: bool,
    also_check: tuple[Path, ...],
    lock_timeout: float,
    statement_timeout: float | None,
    timeout: float,
    yes: bool,
) -> None:
    """Run SQL files on all partitions, each statement once.

    Each partition runs what is new in one transaction, and remembers it in the table
    plproxy.deployed: a second run does nothing, one that was stopped goes on where it
    was, and of a file that has changed only the new statements run. Before each
    COMMIT the declared calls are prepared; if one that worked would fail, the
    partition is rolled back.

    At the first failure no other partition is begun, and those under way are rolled
    back; the table says what is done where. The exit code is 1 unless all of it is
    done everywhere.

    \b
    plproxy deploy userdb functions.sql --dry-run
    plproxy deploy userdb functions.sql --canary 0
    plproxy deploy userdb indexes.sql --no-transaction --yes
    """
    if not dry_run:
        check_answerable(yes)
    with settings.router() as router:
        config = find_cluster(router, cluster)
        check_partitions(config, () if canary is None else (canary,))
        if no_transaction and config.pooler:
            raise click.UsageError(
                f"--no-transaction needs a session of its own, and {cluster} is behind "
                "a pooler: connect to its servers directly."
            )
        source = ctx.get_parameter_source("lock_timeout")
        wish = Wish(
            read_files(files),
            declared_calls(router, cluster, functions(router), also_check),
            lock_timeout,
            source is ParameterSource.DEFAULT,
            statement_timeout,
            not no_transaction,
        )
        with progress(f"Looking at {cluster}", config.part_count) as step:
            found = asyncio.run(survey(router, config, wish, timeout, step))
        for numbers in shared(found.first):
            text = f"partitions {spans(numbers)} are one database"
            click.echo(f"{text}: what is done there is done once", err=True)
        course = Course(router, config, wish, found, jobs, timeout, keep_going)
        if dry_run:
            with progress("Trying", len(found.awaiting)) as course.done:
                findings = asyncio.run(course.try_all())
            show_trial(findings, found, settings.as_json)
            is_fine = all(finding.is_fine for finding in findings.values())
        else:
            stops = found.errors and not keep_going
            if found.awaiting and not stops:
                announce(cluster, found)
                ask("Run this?", yes)
            with progress("Deploying", len(found.awaiting)) as course.done:
                reports = asyncio.run(course.deploy(canary))
            show(reports, settings.as_json)
            is_fine = all(
                report.state in ("done", "already there") for report in reports
            )
    if course.is_interrupted:
        ctx.exit(130)
    ctx.exit(0 if is_fine else 1)
