"""Show how keys, rows and bytes spread."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO

import click

from plproxy_py._router_base import RouterBase
from plproxy_py.cli import render
from plproxy_py.cli.arguments import read_text
from plproxy_py.cli.balances import json_rows, show
from plproxy_py.cli.common import (
    Settings,
    find_cluster,
    json_option,
    pass_settings,
    registered_hashes,
    timeout_option,
)
from plproxy_py.cli.completing import complete_cluster
from plproxy_py.config import MOST_PARTITIONS, ClusterConfig
from plproxy_py.errors import RoutingError
from plproxy_py.ops.balance import (
    Balance,
    count_keys,
    database_balance,
    keys_balance,
    made_keys,
    numbering,
    table_balance,
)
from plproxy_py.ops.placing.hashes import KeyHash
from plproxy_py.ops.placing.look import look
from plproxy_py.ops.placing.tables import Wanted

# A line that goes on and on should not fill the memory.
_LONGEST_KEY = 2**20

# About a second's work.
_MANY_KEYS = 500_000


@click.command()
@click.argument("cluster", shell_complete=complete_cluster)
@click.option("--table", metavar="T", help="Count this table's rows; goes with --key.")
@click.option("--key", metavar="COL", help="The column by which calls are routed.")
@click.option(
    "--keys",
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Hash the keys of a file, one a line; - is stdin.",
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Hash N made keys: key1, key2, …, or 1, 2, …",
)
@click.option(
    "--hash",
    "hash_name",
    metavar="NAME",
    help="The hash function of the keys.  [default: hashtext, or hashint8 for a "
    "column of integers]",
)
@click.option(
    "--if-partitions",
    "planned",
    type=click.IntRange(1, MOST_PARTITIONS),
    metavar="N",
    help="Show what N partitions would give.",
)
@timeout_option(
    3.0, "How many seconds each partition has to answer; counting has no limit."
)
@json_option
@pass_settings
@click.pass_context
def balance(
    ctx: click.Context,
    settings: Settings,
    cluster: str,
    table: str | None,
    key: str | None,
    file: str | None,
    sample: int | None,
    hash_name: str | None,
    planned: int | None,
    timeout: float,
) -> None:
    """Show how keys, rows and bytes spread over partitions and servers.

    Without options: each database's size, and its rows as the planner estimates them.
    With --table, rows are counted where they lie, in READ ONLY transactions. With
    --keys or --sample, keys are hashed here and no connection is opened.

    Each partition is shown with how many times its share it holds; a database that is
    two partitions has two shares. A partition is called uneven if it is more than 10 %
    off its share and chance would put any partition there less than once in 1,000
    times; of sizes, if it is more than 25 % off.

    With --json, the objects of partitions (kind: partition) are followed by those of
    servers (kind: server) and, with --if-partitions, of planned partitions (kind:
    planned). The exit code is 1 if a partition is uneven, now or as planned, or could
    not be asked.

    \b
    plproxy balance userdb
    plproxy balance userdb --table users --key username --if-partitions 32
    cut -f1 access.log | plproxy balance userdb --keys -
    """
    given = [value is not None for value in (table, file, sample)]
    if sum(given) > 1:
        raise click.UsageError("--table, --keys and --sample exclude each other.")
    if (table is None) != (key is None):
        raise click.UsageError("--table goes with --key.")
    if not any(given) and (planned or hash_name):
        raise click.UsageError(
            "--if-partitions and --hash go with --table, --keys or --sample."
        )
    with settings.router() as router:
        config = find_cluster(router, cluster)
        _check_planned(config, planned)
        if table is not None and key is not None:
            wanted = Wanted(table, key, hash_name)
            found = asyncio.run(_of_table(router, config, wanted, planned, timeout))
        elif file is None and sample is None:
            found = asyncio.run(database_balance(router, config, timeout))
        else:
            found = _of_keys(router, config, file, sample, hash_name, planned)
    if settings.as_json:
        render.show(list(json_rows(found)), (), as_json=True)
    else:
        show(found, cluster, table)
    ctx.exit(0 if found.is_even and not found.failed else 1)


def _check_planned(config: ClusterConfig, planned: int | None) -> None:
    if planned and planned & (planned - 1) and not config.modular_mapping:
        raise click.BadParameter(
            "a power of two is needed, unless modular_mapping is on",
            param_hint="--if-partitions",
        )


async def _of_table(
    router: RouterBase,
    config: ClusterConfig,
    wanted: Wanted,
    planned: int | None,
    timeout: float,
) -> Balance:
    seen = await look(router, config, wanted, registered_hashes(router), timeout)
    with render.progress("Counting rows", len(seen.tables)) as advance:
        return await table_balance(router, config, seen, planned, advance)


def _of_keys(
    router: RouterBase,
    config: ClusterConfig,
    file: str | None,
    sample: int | None,
    hash_name: str | None,
    planned: int | None,
) -> Balance:
    hash = KeyHash(hash_name or "hashtext", config, registered_hashes(router))
    by = numbering(config, planned)
    if sample is not None:
        counts = count_keys(made_keys(hash, sample), hash, by)
    else:
        with click.open_file(file or "-", "rb") as raw:
            counts = count_keys(_watched(_keys(raw, hash)), hash, by)
    return keys_balance(config, counts, planned)


def _watched(keys: Iterator[object]) -> Iterator[object]:
    """Give the keys, and show that it goes on once there are many."""
    with ExitStack() as stack:
        for number, key in enumerate(keys):
            if number == _MANY_KEYS:
                stack.enter_context(render.progress("Hashing keys"))
            yield key


def _keys(raw: IO[bytes], hash: KeyHash) -> Iterator[object]:
    """Read keys, one a line, as a hash function's type."""
    lines = io.TextIOWrapper(raw, encoding="utf-8-sig")
    number = 0
    try:
        while line := lines.readline(_LONGEST_KEY):
            number += 1
            text = line.removesuffix("\n")
            if len(line) == _LONGEST_KEY and text == line:
                raise RoutingError(f"key {number} is longer than any key should be")
            key = read_text(hash.type, text)
            if key is None:
                raise RoutingError(f"key {number} is NULL, which lives nowhere")
            yield key
    except UnicodeDecodeError:
        raise RoutingError(f"a key after key {number} is no UTF-8") from None
    except ValueError as error:
        raise RoutingError(f"key {number}: {error}") from None
    finally:
        # It is not ours to close.
        lines.detach()
