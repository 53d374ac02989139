"""Where a key lives: a hash function by its name, and a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plproxy_py import values
from plproxy_py._record import record
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import RoutingError, nearest
from plproxy_py.expression import compile_expression
from plproxy_py.hashing import KNOWN
from plproxy_py.language.body import Expression, Reference
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.tagging import hashes_of

Registered = Mapping[str, Callable[..., Any]]


@record
class Key:
    """A hash function's parameter: ``call`` hashes one key.

    Where the function takes a seed, the seed is 0.
    """

    name: str
    type: PgType
    call: Expression

    def partition(
        self, value: object, cluster: ClusterConfig, registered: Registered
    ) -> tuple[Any, int, int]:
        """Return a key's normal form, its hash and its partition.

        Raise TypeError or ValueError for a value of another type, `RoutingError` for
        NULL.
        """
        if value is None:
            raise RoutingError(f"the key of {self.name} is NULL, which lives nowhere")
        if self.name in registered:
            given = registered[self.name](value)
        else:
            codec = values.codec(self.type)
            assert codec is not None, "every known hash takes a type with a codec"
            value = codec.normal(value)
            if self.type.name == "timestamptz":
                value = values.localized(value, cluster.timezone)
            given = compile_expression(self.call, [self.type], {}).value([value])
        (hash,) = hashes_of(given, setof=False)
        return value, hash, cluster.partition_of(hash)


def key_of(name: str, registered: Registered) -> Key:
    """Return what hashes keys with the function ``name``. Raise `RoutingError`."""
    if name in registered:
        type, further = PgType("text"), ""
    elif name in KNOWN:
        types = KNOWN[name][0].parameters
        # Quoted, since the grammar's char is another type than "char".
        type = parse_type(f'"{types[0]}"')
        further = ", 0" if len(types) > 1 else ""
    else:
        hint = nearest(name, [*KNOWN, *registered])
        raise RoutingError(f"no hash {name!r} is known{hint}")
    return Key(name, type, Expression((f"{name}(", Reference(0), f"{further})"), 1))


def default_hash(value: object) -> str:
    """Return the hash function of a key by its type: hashtext, or hashint8 for int."""
    return "hashint8" if isinstance(value, int) else "hashtext"
