"""Commands that move a configuration: into a text, a file or a database."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import click

from plproxy_py.cli import render
from plproxy_py.cli.changing import ask, check_answerable, yes_option
from plproxy_py.cli.common import (
    Settings,
    find_cluster,
    json_option,
    one_line,
    pass_settings,
)
from plproxy_py.cli.completing import complete_cluster
from plproxy_py.config import ClusterConfig, parse_connstr
from plproxy_py.ops.configuration import changing, exporting
from plproxy_py.ops.configuration.comparing import Difference, differences
from plproxy_py.ops.configuration.files import replace_file
from plproxy_py.ops.configuration.reading import (
    Configuration,
    of_router,
    read,
    read_database,
    read_file,
)

COMPARED = ("cluster", "subject", "old", "new", "moved_percent", "problem")

role_option = click.option(
    "--role",
    metavar="ROLE",
    help="For sqlmed: whose user mapping it is, and who may use the server; PUBLIC is "
    "everybody.  [default: who runs it]",
)
passwords_option = click.option(
    "--passwords", is_flag=True, help="Write passwords too, as they are."
)


def current(settings: Settings, names: Sequence[str] = ()) -> Configuration:
    """Return the configuration that was said before the command."""
    if settings.app is None and settings.home is not None:
        return read_database(settings.home, names)
    if settings.app is None and settings.config is not None:
        return read_file(Path(settings.config)).only(names)
    with settings.router() as router:
        for name in names:
            find_cluster(router, name)
        return of_router(router, settings.source).only(names)


def show_differences(found: Sequence[Difference], *, as_json: bool) -> None:
    """Print what differs; without a document, nothing is a line on stderr."""
    if not found and not as_json:
        click.echo("No difference.", err=True)
        return
    columns = [
        name
        for name in COMPARED
        if name != "problem" or any(each.problem for each in found)
    ]
    render.show(
        [dataclasses.asdict(each) for each in found],
        columns,
        as_json=as_json,
        alarm=lambda row: row["problem"],
    )


@click.command("export")
@click.argument(
    "clusters", metavar="[CLUSTER]...", nargs=-1, shell_complete=complete_cluster
)
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(["toml", "sqlmed", "functions"]),
    help="What to write.",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to FILE, all at once, rather than to stdout.",
)
@role_option
@passwords_option
@yes_option
@pass_settings
def export_command(
    settings: Settings,
    clusters: tuple[str, ...],
    form: str,
    output: Path | None,
    role: str | None,
    passwords: bool,
    yes: bool,
) -> None:
    """Write the configuration as a text.

    \b
    toml       a config file
    sqlmed     SQL: foreign servers of PL/Proxy's wrapper, with user mappings
    functions  SQL: rows for sql/config_tables.sql, whose functions
               plproxy.get_cluster_* PL/Proxy and plproxy_py read

    The text reads as the same clusters again, there as here. Without a CLUSTER, all
    are written.

    Passwords are left out: in their place a config file has variables, such as
    ${USERDB_PASSWORD}, and for SQL it is said what has to be added. --passwords writes
    them, into a FILE only, which nobody but its owner can read.

    \b
    plproxy -c plproxy.toml config export --to sqlmed --role app > servers.sql
    plproxy --home "host=proxy dbname=proxydb" config export --to toml
    """
    if settings.as_json:
        raise click.UsageError("export prints no rows: --json can't go with it.")
    if passwords and output is None:
        raise click.UsageError("--passwords goes with --output FILE.")
    if role is not None and form != "sqlmed":
        raise click.UsageError("--role goes with --to sqlmed.")
    configuration = current(settings, clusters)
    for error in configuration.unreadable.values():
        raise error
    made = exporting.export(
        configuration,
        cast(exporting.Form, form),
        role=role,
        with_passwords=passwords,
        folder=None if output is None else output.resolve().parent,
    )
    for note in made.notes:
        click.echo(one_line(note), err=True)
    if output is None:
        # In UTF-8, as TOML has to be, whatever the terminal's encoding.
        click.echo(made.text.encode(), nl=False)
        return
    if output.exists():
        check_answerable(yes)
        ask(f"{output} is there already. Replace it?", yes)
    replace_file(output, made.text, private=passwords)


@click.command("import")
@click.argument("source")
@click.argument(
    "clusters", metavar="[CLUSTER]...", nargs=-1, shell_complete=complete_cluster
)
@click.option(
    "--to",
    "form",
    type=click.Choice(["sqlmed", "functions"]),
    help="For a database: what to write.  [default: what it has]",
)
@role_option
@passwords_option
@yes_option
@json_option
@pass_settings
def import_command(
    settings: Settings,
    source: str,
    clusters: tuple[str, ...],
    form: str | None,
    role: str | None,
    passwords: bool,
    yes: bool,
) -> None:
    """Take over the clusters of SOURCE, after showing what changes.

    SOURCE is a TOML file, or the connect string of a database with cluster
    definitions. They go into the database of --home, or into the file of -c. Clusters
    that SOURCE does not name stay as they are, and so do partitions that lead to the
    same database already, with their passwords.

    A database is changed in one transaction: foreign servers and user mappings
    (sqlmed), or the tables of sql/config_tables.sql (functions). A file is written anew
    and replaced at once; comments in it are lost.

    New passwords are left out unless --passwords is given. What changes is shown as
    "plproxy config diff" shows it, and done after a yes.

    \b
    plproxy --home "host=proxy dbname=proxydb" config import plproxy.toml
    plproxy -c plproxy.toml config import "host=proxy dbname=proxydb" userdb
    """
    if settings.app is not None or (settings.home or settings.config) is None:
        raise click.UsageError("Say where to write: -c FILE, or --home CONNSTR.")
    configuration = read(source, clusters)
    for error in configuration.unreadable.values():
        raise error
    if settings.home is not None:
        way = changing.Way(cast(changing.Form | None, form), role, passwords)
        _into_database(settings, settings.home, configuration.configs, way, yes=yes)
    elif form is not None or role is not None:
        raise click.UsageError("--to and --role go with --home.")
    else:
        path = Path(settings.config or "")
        _into_file(settings, path, configuration, passwords=passwords, yes=yes)


def _into_database(
    settings: Settings,
    home: str,
    configs: Mapping[str, ClusterConfig],
    way: changing.Way,
    *,
    yes: bool,
) -> None:
    form, plans = changing.propose(home, configs, way)
    before = {plan.name: plan.before for plan in plans if plan.before is not None}
    after = {plan.name: plan.after for plan in plans if plan.after is not None}
    commands = [command for plan in plans for command in plan.commands]
    found = _changes(before, after, passwords=way.with_passwords)
    if found or not commands:
        show_differences(found, as_json=settings.as_json)
    if not commands:
        return
    for note in exporting.sql_notes(configs, form, with_passwords=way.with_passwords):
        click.echo(one_line(note), err=True)
    place = parse_connstr(home).redacted
    click.echo(one_line(f"In {place}: {', '.join(dict.fromkeys(commands))}"), err=True)
    check_answerable(yes)
    ask("Do it, in one transaction?", yes)
    changing.carry_out(home, configs, way, plans)


def _into_file(
    settings: Settings,
    path: Path,
    configuration: Configuration,
    *,
    passwords: bool,
    yes: bool,
) -> None:
    folder = path.resolve().parent
    if path.exists():
        file = read_file(path)
        found = _changes(file.configs, configuration.configs, passwords=passwords)
        show_differences(found, as_json=settings.as_json)
        if not found:
            return
        changed = {each.cluster for each in found}
        made = exporting.merged(
            file,
            {
                name: config
                for name, config in configuration.configs.items()
                if name in changed
            },
            with_passwords=passwords,
        )
        question = f"Write {path} anew? Comments in it are lost."
    else:
        found = _changes({}, configuration.configs, passwords=passwords)
        show_differences(found, as_json=settings.as_json)
        made = exporting.export(
            configuration, "toml", with_passwords=passwords, folder=folder
        )
        question = f"Write the new file {path}?"
    for note in made.notes:
        click.echo(one_line(note), err=True)
    check_answerable(yes)
    ask(question, yes)
    replace_file(path, made.text, private=passwords)


def _changes(
    before: Mapping[str, ClusterConfig],
    after: Mapping[str, ClusterConfig],
    *,
    passwords: bool,
) -> list[Difference]:
    """Return what would change; nothing is said of clusters that stay."""
    known = {name: config for name, config in before.items() if name in after}
    return [
        each
        for each in differences(known, after)
        if passwords or each.subject != "passwords"
    ]
