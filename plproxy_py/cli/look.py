"""Commands that show what there is: clusters, partitions, functions."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import click

from plproxy_py._router_base import RouterBase
from plproxy_py.cli import render
from plproxy_py.cli.common import (
    Seconds,
    Settings,
    error_line,
    execute,
    find_cluster,
    functions,
    json_option,
    pass_settings,
    timeout_option,
)
from plproxy_py.cli.completing import complete_cluster
from plproxy_py.cli.tls import tls_text
from plproxy_py.cli.words import cluster_text, run_on_text
from plproxy_py.config import ClusterConfig, Partition
from plproxy_py.errors import Error, PartitionError

# A standby that has replayed all it received is up to date, however long ago the last
# transaction was.
_STATUS = """
    SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
        (SELECT numbackends FROM pg_stat_database
            WHERE datname = current_database()) AS connections,
        CASE WHEN NOT pg_is_in_recovery() THEN NULL
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp())
        END::float8 AS replica_lag_s"""
_SIZE = ", pg_database_size(current_database()) AS size"


@click.command()
@json_option
@pass_settings
def clusters(settings: Settings) -> None:
    """Show the clusters, their source and their options.

    The version is the database's own, or a digest of the file's definition. As tls
    stands what verifies the servers: an sslmode, "local" for Unix sockets, or "not
    verified". Options that have their default value are left out.
    """
    with settings.router() as router:
        rows: list[render.Record] = [
            {
                "cluster": cluster.name,
                "partitions": cluster.part_count,
                "source": settings.source,
                "version": cluster.version or None,
                "tls": tls_text(cluster),
                "options": _options(cluster),
            }
            for cluster in router.clusters.values()
        ]
    columns = ("cluster", "partitions", "source", "version", "tls", "options")
    render.show(rows, columns, as_json=settings.as_json)


def _options(cluster: ClusterConfig) -> dict[str, object]:
    return {
        field.name: value
        for field in dataclasses.fields(cluster)
        if field.name != "version"
        and field.default is not dataclasses.MISSING
        and (value := getattr(cluster, field.name)) != field.default
    }


@click.command()
@click.argument("cluster", shell_complete=complete_cluster)
@click.option("--size", is_flag=True, help="Also show the size of each database.")
@click.option(
    "--watch",
    type=Seconds(min=0.1),
    metavar="S",
    help="Look again every S seconds, until Ctrl-C.",
)
@timeout_option(3.0, "How many seconds each partition has to answer.")
@json_option
@pass_settings
@click.pass_context
def partitions(
    ctx: click.Context,
    settings: Settings,
    cluster: str,
    size: bool,
    watch: float | None,
    timeout: float,
) -> None:
    """Show the partitions of a cluster and how they are.

    All are asked at the same time, so that a slow one does not delay the others.
    The latency is that of one round trip on an open connection. The connections are
    those to the partition's database, the one that asks among them. A replica lag,
    in seconds, is shown for a standby only.

    With --watch and --json, each look is one document on one line. The exit code is
    1 if a partition could not be asked; why is shown in its row.
    """
    with settings.router() as router:
        config = find_cluster(router, cluster)
        while True:
            rows = asyncio.run(_look(router, config, size, timeout))
            failed = any(row["error"] for row in rows)
            if watch:
                click.clear()
            columns = [name for name in rows[0] if name != "error" or failed]
            render.show(
                rows,
                columns,
                as_json=settings.as_json,
                alarm=lambda row: row["error"],
            )
            if not watch:
                break
            time.sleep(watch)
    ctx.exit(1 if failed else 0)


async def _look(
    router: RouterBase, cluster: ClusterConfig, size: bool, timeout: float
) -> list[render.Record]:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_status(router, cluster.name, partition, size, timeout))
            for partition in cluster.partitions
        ]
    return [task.result() for task in tasks]


async def _status(
    router: RouterBase, cluster: str, partition: Partition, size: bool, timeout: float
) -> render.Record:
    row: dict[str, object] = {
        "partition": partition.number,
        "connstr": partition.target.redacted,
        "reachable": True,
        "version": None,
        "latency_ms": None,
        "connections": None,
        "replica_lag_s": None,
        **({"size": None} if size else {}),
        "error": None,
    }
    sql = _STATUS + (_SIZE if size else "")
    try:
        (status,) = await execute(router, cluster, sql, partition.number, timeout)
        started = time.perf_counter()
        await execute(router, cluster, "SELECT 1", partition.number, timeout)
        row["latency_ms"] = round((time.perf_counter() - started) * 1000, 2)
        row |= status._asdict()
        if size:
            row["size"] = render.Size(status["size"])
    except Error as error:
        row["reachable"] = not isinstance(error, PartitionError)
        row["error"] = error_line(error, "execute")
    return row


@click.command("functions")
@json_option
@pass_settings
def functions_command(settings: Settings) -> None:
    """Show the declared functions and their SQL.

    The SQL is what a call sends to each of its partitions.
    """
    with settings.router() as router:
        rows: list[render.Record] = [
            {
                "signature": str(function.signature),
                "cluster": cluster_text(function),
                "run_on": run_on_text(function),
                "sql": function.query.sql.decode(),
            }
            for function in functions(router)
        ]
    columns = ("signature", "cluster", "run_on", "sql")
    render.show(rows, columns, as_json=settings.as_json)
