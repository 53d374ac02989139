"""A key's hash and its partition's number: computed here, or as SQL for a server.

Both come from the same names and types, so that either side gives the same number.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql

from plproxy_py import values
from plproxy_py._hash_many import MANY
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import RoutingError
from plproxy_py.expression import compile_expression
from plproxy_py.hashing import KNOWN, mask_partition, modular_partition
from plproxy_py.keys import Key, Registered, key_of
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.tagging import hashes_of

# Their hash on a server is that of the bytes in the database's encoding, and under a
# nondeterministic collation that of a sort key.
_TEXTS = ("text", "bpchar")


@dataclass(frozen=True, slots=True)
class Numbering:
    """``count`` partitions, and how a hash becomes the number of one."""

    count: int
    modular: bool

    def of(self, hash: int) -> int:
        """Return the number of a hash's partition."""
        place = modular_partition if self.modular else mask_partition
        return place(hash, self.count)

    def sql(self, hash: str) -> str:
        """Return the same in SQL; ``hash`` is an expression."""
        if self.modular:
            return f"abs({hash}::int8 % {self.count})::int4"
        return f"({hash}::int8 & {self.count - 1})::int4"


class KeyHash:
    """A hash function by its name, as keys are hashed with it.

    ``column``: the type of the keys' column, where there is one. Raise `RoutingError`
    for an unknown name.
    """

    def __init__(
        self,
        name: str,
        cluster: ClusterConfig,
        registered: Registered,
        column: str | None = None,
    ) -> None:
        self.key: Key = key_of(name, registered)
        self.name = name
        self.cluster = cluster
        self.own: Callable[..., Any] | None = registered.get(name)
        known = KNOWN.get(name, ())
        self._call = known[0].call if known else None
        for entry in known:
            if column == entry.parameters[0]:
                self.key = replace(self.key, type=parse_type(f'"{column}"'))
                self._call = entry.call
        self.takes_seed = bool(known) and len(known[0].parameters) > 1
        self._codec = values.codec(self.key.type)

    @property
    def type(self) -> PgType:
        """The type that the function takes."""
        return self.key.type

    @property
    def signature(self) -> str | None:
        """The function on a server, None for one that only Python has."""
        if self.own is not None:
            return None
        seed = ", int8" if self.takes_seed else ""
        return f"{self._schema}.{self.name}({self.type.cast}{seed})"

    @property
    def _schema(self) -> str:
        # sql/mmh3.sql installs it; all others are PostgreSQL's own.
        return "plproxy" if self.name == "mmh3" else "pg_catalog"

    def agrees(self, encoding: str) -> bool:
        """Tell whether a server with this encoding gives the hash that we give."""
        # plproxy.mmh3 takes the UTF-8 of a text, whatever the encoding.
        is_text = self.type.name in (*_TEXTS, "name") and self.name != "mmh3"
        return encoding == "UTF8" or not is_text

    def sql(self, column: str) -> str:
        """Return the hash of a column in SQL."""
        argument = f"{sql.Identifier(column).as_string(None)}::{self.type.cast}"
        if self.type.name in _TEXTS:
            argument = f'({argument}) COLLATE pg_catalog."C"'
        return f"{self._schema}.{self.key.call.sql(lambda _: argument)}"

    def normal(self, value: object) -> Any:
        """Return what is hashed of a value. Raise TypeError or ValueError."""
        if self.own is not None:
            return value
        assert self._codec is not None, "every known hash takes a type with a codec"
        value = self._codec.normal(value)
        if self.type.name == "timestamptz":
            value = values.localized(value, self.cluster.timezone)
        return value

    def hashes(self, normals: Sequence[Any]) -> Iterable[int]:
        """Return the hashes of values in their normal form, None not among them.

        Raise `RoutingError` for what a Python function made of one.
        """
        if self.own is not None:
            return [self._own_hash(self.own, value) for value in normals]
        many = MANY.get(self._call) if self._call else None
        if many is not None:
            packed = many(list(normals))
            assert packed is not None, "no key is None"
            return array("q", packed)
        computed = compile_expression(self.key.call, [self.type], {}).value
        return [hashes_of(computed([value]), setof=False)[0] for value in normals]

    def _own_hash(self, own: Callable[..., Any], value: object) -> int:
        try:
            (hash,) = hashes_of(own(value), setof=False)
        except RoutingError:
            raise
        except Exception as error:  # whatever a user's function may raise
            raise RoutingError(
                f"{self.name} failed on a key: {type(error).__name__}"
            ) from None
        return hash


def default_hash_name(column: str, type: str) -> str:
    """Return the hash of a column's keys by its type.

    Raise `RoutingError` where functions might run on one or on another.
    """
    if type in ("int2", "int4", "int8"):
        return "hashint8"
    if type in ("text", "varchar", "bpchar", "name"):
        return "hashtext"
    fitting = [
        name
        for name, (known, *_) in KNOWN.items()
        if known.parameters == (type,) and known.returns == "int4"
    ]
    names = [*fitting[:1], f"hashtext (of {column}::text)"]
    raise RoutingError(
        f"the column {column} is of type {type}: say by --hash what functions run on, "
        + " or ".join(names)
    )
