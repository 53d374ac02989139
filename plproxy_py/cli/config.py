"""Commands about the configuration as a whole: show it, and compare two."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import click

from plproxy_py.cli import render
from plproxy_py.cli.common import (
    Settings,
    find_cluster,
    json_option,
    one_line,
    pass_settings,
)
from plproxy_py.cli.completing import complete_cluster
from plproxy_py.cli.config_moving import (
    current,
    export_command,
    import_command,
    show_differences,
)
from plproxy_py.config import ClusterConfig
from plproxy_py.ops.configuration.comparing import differences
from plproxy_py.ops.configuration.reading import check_cluster, of_router, read
from plproxy_py.ops.configuration.showing import Setting, router_settings, shown

SHOWN = ("cluster", "option", "value", "state", "source")


@click.group()
def config() -> None:
    """Show the configuration, compare two, and move it elsewhere.

    A configuration is a TOML file, the foreign servers of a database, or what its
    functions plproxy.get_cluster_*() say.
    """


config.add_command(export_command)
config.add_command(import_command)


@config.command()
@click.argument("cluster", required=False, shell_complete=complete_cluster)
@json_option
@pass_settings
@click.pass_context
def show(ctx: click.Context, settings: Settings, cluster: str | None) -> None:
    """Show every option in force, its value, and who says so.

    An option is set, and the source is the file, foreign server or function that sets
    it, or it has its default value. Passwords are stars. What the router of --app was
    given counts as set where it is no default.

    No partition is connected to. The exit code is 1 if a cluster that is named
    somewhere can't be read; why stands on stderr.
    """
    names = [cluster] if cluster else []
    found: list[Setting] = []
    if settings.app is not None:
        with settings.router() as router:
            for name in names:
                find_cluster(router, name)
            found += router_settings(router, settings.source)
            configuration = of_router(router, settings.source).only(names)
    else:
        configuration = current(settings, names)
    found += shown(configuration)
    render.show(
        [dataclasses.asdict(setting) for setting in found],
        SHOWN,
        as_json=settings.as_json,
    )
    for error in configuration.unreadable.values():
        click.echo(one_line(f"Warning: {error}"), err=True)
    ctx.exit(1 if configuration.unreadable else 0)


@config.command()
@click.argument("old")
@click.argument("new")
@click.argument(
    "clusters", metavar="[CLUSTER]...", nargs=-1, shell_complete=complete_cluster
)
@json_option
@pass_settings
@click.pass_context
def diff(
    ctx: click.Context,
    settings: Settings,
    old: str,
    new: str,
    clusters: tuple[str, ...],
) -> None:
    """Say what another configuration would change.

    OLD and NEW are TOML files, or connect strings of databases with cluster
    definitions. Without a CLUSTER, all are compared.

    For each cluster and each new partition it is computed, not sampled, which share of
    all keys would be looked for in another database than the one that has their rows:
    moved_percent, for hashes that spread evenly. Two connect strings lead to one
    database if host, port and dbname are the same. Partitions where nothing changes
    are left out.

    The exit code is 1 if rows would not be found where the new configuration looks for
    them, or a cluster is gone: the problem says what has to be done first. It is 0 for
    a change that can be made at once, as 4 partitions that become 8 with each of their
    connect strings written twice.

    \b
    plproxy config diff plproxy.toml new.toml
    plproxy config diff "host=proxy dbname=proxydb" plproxy.toml userdb
    """
    before, after = read(old), read(new)
    for name in clusters:
        check_cluster(name, {**before.clusters, **after.clusters}, f"{old} and {new}")
    for configuration in (before, after):
        for name, error in configuration.unreadable.items():
            if not clusters or name in clusters:
                raise error
    found = differences(
        _chosen(before.configs, clusters), _chosen(after.configs, clusters)
    )
    show_differences(found, as_json=settings.as_json)
    ctx.exit(1 if any(each.problem for each in found) else 0)


def _chosen(
    configs: Mapping[str, ClusterConfig], names: Sequence[str]
) -> dict[str, ClusterConfig]:
    return {
        name: config for name, config in configs.items() if not names or name in names
    }
