"""Where a key lives: a cluster, a hash function by its name, and a text."""

from __future__ import annotations

from dataclasses import dataclass

import click

from plproxy_py import values
from plproxy_py._router_base import RouterBase
from plproxy_py.cli.arguments import read_text
from plproxy_py.cli.common import registered_hashes
from plproxy_py.config import ClusterConfig, nearest
from plproxy_py.expression import compile_expression
from plproxy_py.hashing import KNOWN
from plproxy_py.language.body import Expression, Reference
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.tagging import hashes_of


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
    type, further = _parameters(router, hash_name)
    codec = values.codec(type)
    assert codec is not None, "every known hash takes a type with a codec"
    value = read_text(type, text)
    if value is None:
        raise ValueError(f"the key of {hash_name} is NULL, which lives nowhere")
    value = codec.normal(value)
    if type.name == "timestamptz":
        value = values.localized(value, cluster.timezone)
    call = Expression((f"{hash_name}(", Reference(0), f"{further})"), line=1)
    computed = compile_expression(call, [type], registered_hashes(router))
    (hash,) = hashes_of(computed.value([value]), setof=False)
    literal = "'" + codec.text(value).replace("'", "''") + f"'::{type.cast}"
    schema = "plproxy." if hash_name == "mmh3" else ""
    return Place(
        call.sql(lambda index: "key"),
        hash,
        cluster.partition_of(hash),
        f"SELECT {schema}{call.sql(lambda index: literal)}",
    )


def _parameters(router: RouterBase, name: str) -> tuple[PgType, str]:
    """Return the type of a hash function's key, and its further arguments."""
    registered = registered_hashes(router)
    if name in registered:
        return PgType("text"), ""
    if name not in KNOWN:
        hint = nearest(name, [*KNOWN, *registered])
        raise click.BadParameter(
            f"no hash {name!r} is known{hint}", param_hint="--hash"
        )
    types = KNOWN[name][0].parameters
    # Quoted, since the grammar's char is another type than "char".
    return parse_type(f'"{types[0]}"'), ", 0" if len(types) > 1 else ""
