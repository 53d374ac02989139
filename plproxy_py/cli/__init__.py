"""The command ``plproxy``: what the router knows and does, from a shell."""

from __future__ import annotations

import io
import sys

import click
from click.core import ParameterSource

from plproxy_py import __version__
from plproxy_py._versions import versions
from plproxy_py.cli.audit import audit
from plproxy_py.cli.balance import balance
from plproxy_py.cli.budget import budget
from plproxy_py.cli.calls import call, route
from plproxy_py.cli.check import check
from plproxy_py.cli.common import Commands, Settings
from plproxy_py.cli.completion import completion
from plproxy_py.cli.config import config as config_command
from plproxy_py.cli.demo import demo
from plproxy_py.cli.deploy import deploy
from plproxy_py.cli.exec import exec_command
from plproxy_py.cli.look import clusters, functions_command, partitions
from plproxy_py.cli.migrate import migrate_report
from plproxy_py.cli.stubs import stubs

# Commands whose results are no rows.
TEXTS = ("stubs", "completion", "demo")


@click.group(
    "plproxy",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "-c",
    "--config",
    metavar="FILE",
    envvar="PLPROXY_CONFIG",
    show_envvar=True,
    help="A TOML file of clusters and functions.",
)
@click.option(
    "--home",
    metavar="CONNSTR",
    help="A PL/Proxy database, with its clusters and functions.",
)
@click.option(
    "--app",
    metavar="MODULE:ROUTER",
    help="The router of an application, with its clusters and functions.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document: a list with an object for each row.",
)
@click.version_option(__version__, message=f"%(prog)s %(version)s, {versions()}")
@click.pass_context
def main(
    ctx: click.Context,
    config: str | None,
    home: str | None,
    app: str | None,
    as_json: bool,
) -> None:
    """Route calls of PostgreSQL functions to the partitions of clusters.

    Try "plproxy demo" first: it needs no server and no configuration.

    Results go to stdout, everything else to stderr. The exit code is 1 for an error,
    which is one line with its SQLSTATE, 2 for wrong usage, and 130 after Ctrl-C.
    """
    if as_json and ctx.invoked_subcommand in TEXTS:
        raise click.UsageError(
            f"{ctx.invoked_subcommand} prints no rows: --json can't go with it."
        )
    from_option = ctx.get_parameter_source("config") is ParameterSource.COMMANDLINE
    if sum((app is not None, home is not None, from_option)) > 1:
        raise click.UsageError("-c, --home and --app exclude each other.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal can't show is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    ctx.obj = Settings(config, home, app, as_json)


for _command in (
    clusters,
    partitions,
    functions_command,
    route,
    call,
    exec_command,
    check,
    deploy,
    balance,
    audit,
    budget,
    config_command,
    stubs,
    migrate_report,
    completion,
    demo,
):
    main.add_command(_command)
