"""The command that says what of a PL/Proxy database can move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO

import click

from plproxy_py._router_base import RouterBase
from plproxy_py.cli import render
from plproxy_py.cli.common import (
    Settings,
    json_option,
    one_line,
    pass_settings,
    registered_hashes,
)
from plproxy_py.cli.migrate_routes import compare_routes
from plproxy_py.ops.migration.home import HomeDatabase, home_database
from plproxy_py.ops.migration.report import Entry, Report, Verdict, make_report

# What a note says stands below the table, which would be wider than any terminal.
_COLUMNS = ("kind", "name", "verdict")


@click.command("migrate-report")
@click.argument("home", required=False)
@click.option(
    "--paste",
    is_flag=True,
    help="Print a Python module with the functions that can move.",
)
@click.option(
    "--keys",
    metavar="FILE",
    type=click.File(encoding="utf-8"),
    help="Compare the routes of the keys in FILE, one on each line; - is stdin.",
)
@click.option(
    "--function",
    "name",
    metavar="NAME",
    help="Compare the route of this function only.",
)
@json_option
@pass_settings
@click.pass_context
def migrate_report(
    ctx: click.Context,
    settings: Settings,
    home: str | None,
    paste: bool,
    keys: IO[str] | None,
    name: str | None,
) -> None:
    """Say what of a PL/Proxy database can move.

    HOME is the connect string of the database; --home before the command will do. It
    is read in READ ONLY transactions, and nothing is sent to partitions.

    Each function is "same", "same with a note" or "not supported". A note names a
    difference, which is a heading in docs/differences.md, and says what it means here.
    Behind the functions stand those who call them in SQL, which is what can't move,
    and the clusters. The exit code is 1 if anything is not supported. With --json,
    each row also has who may execute the function, and the declaration to paste.

    --keys compares routes: what HOME's own evaluation of RUN ON gives for each key,
    and what is computed here. It takes the functions whose RUN ON depends on one
    argument. The exit code is 1 if a key goes another way; the first 1000 are listed.

    With -c or --app, the hash functions of that router count as Python versions, and
    its clusters are compared with HOME's.

    \b
    plproxy migrate-report "host=proxy dbname=proxydb"
    plproxy --app app:router migrate-report "host=proxy dbname=proxydb" --keys keys.txt
    """
    connstr = home or settings.home
    if connstr is None:
        raise click.UsageError("Say which database: HOME, or --home CONNSTR.")
    if home is not None and settings.home is not None:
        raise click.UsageError("HOME and --home exclude each other.")
    if name is not None and keys is None:
        raise click.UsageError("--function goes with --keys FILE.")
    if paste and (keys is not None or settings.as_json):
        raise click.UsageError("--paste goes with neither --keys nor --json.")
    with ExitStack() as stack:
        router = None
        if settings.app is not None or (settings.config and settings.home is None):
            router = stack.enter_context(settings.router())
        database = stack.enter_context(home_database(connstr))
        if keys is not None:
            is_clean = compare_routes(settings, database, router, keys, name)
        else:
            is_clean = _report(settings, database, router, paste)
    ctx.exit(0 if is_clean else 1)


def _report(
    settings: Settings, database: HomeDatabase, router: RouterBase | None, paste: bool
) -> bool:
    report = make_report(database, registered_hashes(router) if router else {})
    if paste:
        module = report.module()
        for line in module.unwritten:
            click.echo(f"Warning: not written: {line}", err=True)
        # In UTF-8, which Python takes it for, whatever the terminal's encoding.
        click.echo(module.text.encode(), nl=False)
    else:
        rows = [_row(entry) for entry in report.entries]
        render.show(
            rows,
            _COLUMNS,
            as_json=settings.as_json,
            alarm=lambda row: row["verdict"] == Verdict.UNSUPPORTED,
        )
        if not settings.as_json:
            _print_notes(report)
    to_stderr = settings.as_json or paste
    if not to_stderr:
        click.echo()
    for line in _summary(report):
        click.echo(line, err=to_stderr)
    return report.is_clean


def _print_notes(report: Report) -> None:
    for entry in report.entries:
        if entry.notes:
            click.echo(f"\n{render.printable(entry.name)}")
        for note in entry.notes:
            click.echo(f"  {note.difference}: {one_line(note.text)}")


def _row(entry: Entry) -> render.Record:
    differences = dict.fromkeys(str(note.difference) for note in entry.notes)
    return {
        "kind": entry.kind,
        "name": entry.name,
        "verdict": str(entry.verdict),
        "differences": list(differences),
        "reason": one_line("\n".join(note.text for note in entry.notes)) or None,
        "execute": [role or "public" for role in entry.execute],
        "paste": entry.paste or None,
    }


def _summary(report: Report) -> Iterator[str]:
    counts = {
        verdict: sum(entry.verdict is verdict for entry in report.functions)
        for verdict in Verdict
    }
    yield (
        f"{len(report.functions)} functions: {counts[Verdict.SAME]} same, "
        f"{counts[Verdict.NOTE]} with a note, "
        f"{counts[Verdict.UNSUPPORTED]} not supported"
    )
    callers = len(report.of_kind("caller"))
    yield f"Callers in SQL: {callers}{', which can not move' if callers else ''}"
    yield (
        "Searched: views, rules, triggers, defaults, policies and standard SQL bodies, "
        f"by the catalog; {report.searched} functions, by their words. Not searched: "
        "other databases, applications, scheduled jobs, names put together at run time."
    )
