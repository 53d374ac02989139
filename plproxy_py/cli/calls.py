"""Commands about one call: where it would go, and what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import click

from plproxy_py._catalog import Entry
from plproxy_py._handles import bind_call
from plproxy_py._router_base import RouterBase
from plproxy_py.cli import render
from plproxy_py.cli.arguments import ArgumentsCommand, misfits, read_arguments
from plproxy_py.cli.changing import check_partitions
from plproxy_py.cli.common import (
    Settings,
    find_cluster,
    find_function,
    json_option,
    pass_settings,
)
from plproxy_py.cli.completing import (
    complete_function,
    complete_function_or_cluster,
)
from plproxy_py.cli.keys import locate
from plproxy_py.cli.words import run_on_text
from plproxy_py.discretion import HIDDEN, hider
from plproxy_py.errors import SignatureError
from plproxy_py.function import ProxyFunction
from plproxy_py.language.body import RunAny, RunNumber
from plproxy_py.options import Options
from plproxy_py.result import Answer

ROUTE = ("cluster", "run_on", "hash", "partition", "target", "sql")


@click.command(cls=ArgumentsCommand)
@click.argument(
    "name",
    metavar="FUNCTION|CLUSTER",
    shell_complete=complete_function_or_cluster,
)
@click.argument("args", metavar="[ARG]...", nargs=-1)
@click.option("--key", help="Show where this key lives in the cluster.")
@click.option(
    "--hash",
    "hash_name",
    metavar="NAME",
    help="The hash function of the key.  [default: hashtext]",
)
@json_option
@pass_settings
def route(
    settings: Settings,
    name: str,
    args: tuple[str, ...],
    key: str | None,
    hash_name: str | None,
) -> None:
    """Show where a call or a key goes.

    Given a FUNCTION and its ARGs: the partitions that a call would run on, a row for
    each, and the SQL that it would send. RUN ON ANY shows the one that chance gave.
    ARGs are read as "plproxy call" reads them.

    Given a CLUSTER and --key: the partition where this key lives, and SQL that
    computes the same hash on a server. NAME is one of PostgreSQL's hash functions,
    mmh3, or one that the router of --app knows; where it takes a seed, the seed is 0.

    No connection is opened.

    \b
    plproxy route get_user marko
    plproxy route userdb --key marko
    plproxy route userdb --key 42 --hash hashint8
    """
    if key is None and hash_name is not None:
        raise click.UsageError("--hash goes with --key.")
    if key is not None and args:
        raise click.UsageError("--key goes with a CLUSTER, which takes no ARG.")
    with settings.router() as router, misfits():
        if key is None:
            rows = _call_routes(router, name, args)
        else:
            rows = [_key_route(router, name, key, hash_name or "hashtext")]
    render.show(
        [dict(zip(ROUTE, row, strict=True)) for row in rows],
        ROUTE,
        as_json=settings.as_json,
    )


def _call_routes(
    router: RouterBase, name: str, args: Sequence[str]
) -> list[tuple[object, ...]]:
    try:
        function = find_function(router, name)
    except SignatureError:
        if name in router.clusters:
            raise click.UsageError(f"{name!r} is a cluster: add --key KEY.") from None
        raise
    plan = bind_call(router, Entry(function)).plan(*read_arguments(function, args))
    run_on = run_on_text(function)
    if not plan.hashes:
        return [
            (plan.cluster, run_on, None, partition, target, plan.sql)
            for partition, target in zip(plan.partitions, plan.connstrs, strict=True)
        ]
    cluster = find_cluster(router, plan.cluster)
    # A hash may be the value itself.
    secret = hider(plan.params[index] for index in plan.sensitive)
    rows: list[tuple[object, ...]] = []
    for hash in plan.hashes:
        partition = cluster.partition_of(hash)
        target = cluster.target(partition).redacted
        shown = HIDDEN if secret and secret.search(str(hash)) else hash
        rows.append((plan.cluster, run_on, shown, partition, target, plan.sql))
    return rows


def _key_route(
    router: RouterBase, name: str, key: str, hash_name: str
) -> tuple[object, ...]:
    cluster = find_cluster(router, name)
    place = locate(router, cluster, hash_name, key)
    target = cluster.target(place.partition).redacted
    return name, place.expression, place.hash, place.partition, target, place.sql


@click.command(cls=ArgumentsCommand)
@click.argument("function", shell_complete=complete_function)
@click.argument("args", metavar="[ARG]...", nargs=-1)
@click.option(
    "--partition",
    type=click.IntRange(min=0),
    metavar="N",
    help="Run it on partition N, whatever RUN ON says.",
)
@json_option
@pass_settings
def call(
    settings: Settings, function: str, args: tuple[str, ...], partition: int | None
) -> None:
    """Call a function and show its rows.

    Each row is shown with the partition that it came from. FUNCTION is a name,
    schema.name, or name(argtypes) where the name is overloaded.

    ARGs are texts as PostgreSQL reads them, but arrays, json and jsonb are written as
    JSON. \\N is NULL, as in COPY, and \\\\N is the text of these two characters.

    \b
    plproxy call get_user marko
    plproxy call tag_user marko '["admin", "staff"]'
    plproxy call "get_balance(integer)" -5
    """
    with settings.router() as router, misfits():
        columns, rows = _answer(router, function, args, partition)
    render.show(
        [dict(zip(columns, row, strict=True)) for row in rows],
        columns,
        as_json=settings.as_json,
        null="NULL",
    )


class PartitionsApart(Answer):
    """An answer that leaves the rows of each partition by themselves, in tag order."""

    __slots__ = ()

    def collect(self, partitions: Sequence[Sequence[Any]]) -> Any:
        return partitions


def _answer(
    router: RouterBase, name: str, args: Sequence[str], partition: int | None
) -> tuple[list[str], list[tuple[object, ...]]]:
    """Call a function; return the columns, and the rows with their partition."""
    function = find_function(router, name)
    given = read_arguments(function, args)
    # What each partition sends is shown, not what a caller would be given of it.
    answer = function.sent
    if answer is None:
        raise SignatureError(
            f"{function.label} returns records whose columns only a caller can list"
        )
    columns = list(answer.columns or ([] if answer.void else [function.signature.name]))
    # A column of the function's own may have that name.
    first = "partition_number" if "partition" in columns else "partition"
    rows: list[tuple[object, ...]] = []
    if not (function.strict and any(value is None for value in given)):
        if partition is not None:
            if isinstance(function.cluster, str):
                check_partitions(find_cluster(router, function.cluster), [partition])
            function = _pinned(function, partition)
        partitions = bind_call(router, Entry(function)).plan(*given).partitions
        if isinstance(function.run_on, RunAny):
            # Chance must not choose again.
            function = _pinned(function, partitions[0])
        apart = PartitionsApart(
            answer.columns, answer.types, tuple, answer.setof, answer.optional
        )
        kept = Options(sensitive=function.options.sensitive)
        plain = dataclasses.replace(
            function, answer=apart, sent=apart, gather=None, options=kept
        )
        call = bind_call(router, Entry(plain))
        for number, answered in zip(partitions, call(*given), strict=True):
            rows += [(number, *row[: len(columns)]) for row in answered]
    return [first, *columns], rows


def _pinned(function: ProxyFunction, partition: int) -> ProxyFunction:
    return dataclasses.replace(function, run_on=RunNumber(partition, line=1))
