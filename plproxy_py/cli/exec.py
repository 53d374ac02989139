"""Run one SQL statement on all partitions."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO

import click

from plproxy_py.cli import render
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
    error_line,
    find_cluster,
    json_option,
    one_line,
    pass_settings,
    timeout_option,
)
from plproxy_py.cli.completing import complete_cluster
from plproxy_py.errors import Error
from plproxy_py.ops.executing import Answer, execute, one_statement
from plproxy_py.ops.numbers import spans


@click.command("exec")
@click.argument("cluster", shell_complete=complete_cluster)
@click.argument("sql", required=False)
@click.option(
    "-f",
    "--file",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help='Read the statement from FILE, "-" is stdin.',
)
@click.option(
    "--partition",
    "partitions",
    type=click.IntRange(min=0),
    metavar="N",
    multiple=True,
    help="On partition N only; may be given several times.",
)
@click.option("--all", "on_all", is_flag=True, help="On all partitions, the default.")
@click.option("--write", is_flag=True, help="Let it change data.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with a header.")
@click.option(
    "--watch",
    type=Seconds(min=0.1),
    metavar="S",
    help="Run it again every S seconds, until Ctrl-C.",
)
@timeout_option(30.0, "How many seconds each partition has.")
@yes_option
@json_option
@pass_settings
@click.pass_context
def exec_command(
    ctx: click.Context,
    settings: Settings,
    cluster: str,
    sql: str | None,
    file: IO[str] | None,
    partitions: tuple[int, ...],
    on_all: bool,
    write: bool,
    as_csv: bool,
    watch: float | None,
    timeout: float,
    yes: bool,
) -> None:
    """Run one SQL statement on all partitions and show the rows of all.

    It runs in a READ ONLY transaction that is rolled back; with --write by itself,
    outside of a transaction block. A statement without rows shows its tag and count.
    Partitions that are one target run it once, under the first number.

    The exit code is 1 if it failed on a partition; why is shown in its row.

    \b
    plproxy exec userdb "select count(*) from users"
    plproxy exec userdb "select pg_size_pretty(pg_total_relation_size('users'))" --csv
    plproxy exec userdb "vacuum analyze users" --write --partition 3
    """
    text = sql if file is None else _text(file)
    if text is None or (sql is not None and file is not None):
        raise click.UsageError("Give the SQL, or -f FILE.")
    if partitions and on_all:
        raise click.UsageError("--partition and --all exclude each other.")
    if as_csv and settings.as_json:
        raise click.UsageError("--csv and --json exclude each other.")
    if write and watch:
        raise click.UsageError("--watch does not go with --write.")
    if write:
        check_answerable(yes)
    statement = one_statement(text, write=write)
    with settings.router() as router:
        config = find_cluster(router, cluster)
        check_partitions(config, partitions)
        numbers = sorted(set(partitions)) or list(range(config.part_count))
        if write:
            click.echo(
                f"On partition {spans(numbers)} of {cluster}: "
                + render.printable(statement.head),
                err=True,
            )
            ask("Run this?", yes)
        while True:
            with progress(f"Asking {cluster}", len(numbers)) as step:
                answers = asyncio.run(
                    execute(
                        router,
                        config,
                        statement,
                        numbers,
                        write=write,
                        timeout=timeout,
                        done=step,
                        notice=_say,
                    )
                )
            if watch:
                click.clear()
            _show(answers, settings.as_json, as_csv)
            if not watch:
                break
            time.sleep(watch)
    failed = any(isinstance(answer, Error) for answer in answers.values())
    ctx.exit(1 if failed else 0)


def _show(answers: Mapping[int, Answer | Error], as_json: bool, as_csv: bool) -> None:
    rows, columns, error = _table(answers)
    if as_csv:
        _print_csv(rows, columns)
        return
    render.show(
        rows,
        columns,
        as_json=as_json,
        null="NULL",
        alarm=lambda row: error and row[error],
    )


def _text(file: IO[str]) -> str:
    try:
        return file.read()
    except ValueError:
        raise click.UsageError("The file is no UTF-8.") from None


def _table(
    answers: Mapping[int, Answer | Error],
) -> tuple[list[render.Record], list[str], str | None]:
    """Return rows, their columns in order, and the column of errors if any."""
    found: dict[str, None] = {}
    for answer in answers.values():
        if isinstance(answer, Answer):
            found |= dict.fromkeys(answer.columns or ([] if answer.has_rows else _TAG))
    # A column of the statement's own may have either name.
    first = "partition_number" if "partition" in found else "partition"
    last = "partition_error" if "error" in found else "error"
    failed = any(isinstance(answer, Error) for answer in answers.values())
    columns = [first, *found, *([last] if failed else [])]
    rows: list[render.Record] = []
    for number, answer in answers.items():
        blank: dict[str, object] = {**dict.fromkeys(columns), first: number}
        if isinstance(answer, Error):
            rows.append({**blank, last: error_line(answer)})
        elif not answer.has_rows:
            rows.append({**blank, "command": answer.command, "rows": answer.count})
        else:
            rows += [
                {**blank, **dict(zip(answer.columns, row, strict=True))}
                for row in answer.rows
            ]
    return rows, columns, last if failed else None


_TAG = ("command", "rows")


def _print_csv(rows: Sequence[render.Record], columns: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[column]) for column in columns])
    sys.stdout.flush()


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return render.printable(text) if sys.stdout.isatty() else text


def _say(partition: int, text: str) -> None:
    click.echo(one_line(f"partition {partition}: {text}"), err=True)
