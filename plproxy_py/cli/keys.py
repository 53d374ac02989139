"""A key's place, as a person at a terminal asks for it."""

from __future__ import annotations

from dataclasses import dataclass

import click

from plproxy_py import values
from plproxy_py._router_base import RouterBase
from plproxy_py.cli.arguments import read_text
from plproxy_py.cli.common import registered_hashes
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import RoutingError
from plproxy_py.keys import key_of


@dataclass(frozen=True, slots=True)
class Place:
    """A key's hash and partition; ``sql`` computes the same hash on a server."""

    expression: str
    hash: int
    partition: int
    sql: str


def locate(
    router: RouterBase, cluster: ClusterConfig, hash_name: str, text: str
) -> Place:
    """Return where a key lives, its text read as the hash function's type.

    Raise a usage error for an unknown hash, TypeError or ValueError for a text that
    does not fit.
    """
    registered = registered_hashes(router)
    try:
        key = key_of(hash_name, registered)
    except RoutingError as error:
        raise click.BadParameter(str(error), param_hint="--hash") from None
    value = read_text(key.type, text)
    if value is None:
        raise ValueError(f"the key of {hash_name} is NULL, which lives nowhere")
    value, hash, partition = key.partition(value, cluster, registered)
    codec = values.codec(key.type)
    assert codec is not None
    literal = "'" + codec.text(value).replace("'", "''") + f"'::{key.type.cast}"
    schema = "plproxy." if hash_name == "mmh3" else ""
    return Place(
        key.call.sql(lambda index: "key"),
        hash,
        partition,
        f"SELECT {schema}{key.call.sql(lambda index: literal)}",
    )
