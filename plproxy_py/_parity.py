"""Whether a server hashes as Python does: asked of each target on its first use.

Rows were put where PostgreSQL's own functions say, on whatever server, and are looked
for where Python says. A server that hashes otherwise (a database in another encoding, a
fork, a function replaced) would send rows and calls different ways without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from plproxy_py import hashing
from plproxy_py.errors import HashMismatch

# Function, argument as SQL and as Python has it. Above 12 bytes hash_bytes takes one
# more turn, and the sign matters to hashint8.
_PROBES: tuple[tuple[str, str, Any], ...] = (
    ("hashtext", "''", ""),
    ("hashtext", "'plproxy'", "plproxy"),
    ("hashtext", "'a longer key than that one'", "a longer key than that one"),
    ("hashint4", "-7", -7),
    ("hashint8", "12345678901", 12345678901),
    ("hashint8", "-12345678901", -12345678901),
)
# Only where texts are bytes of UTF8: elsewhere non-ASCII keys do hash differently,
# which the command `check` tells of. In a form that any client encoding can send.
_WORDS = "žluťoučký 漢"
_NOT_ASCII = (
    "hashtext",
    f"pg_catalog.convert_from(pg_catalog.decode('{_WORDS.encode().hex()}', 'hex'), "
    "'UTF8')",
    _WORDS,
)


def _probes(encoding: str) -> Sequence[tuple[str, str, Any]]:
    return (*_PROBES, _NOT_ASCII) if encoding == "UTF8" else _PROBES


@cache
def question(encoding: str) -> str:
    """Return one column of a query, an array, for a server of this encoding."""
    calls = (f"pg_catalog.{name}({text})" for name, text, _ in _probes(encoding))
    return f"ARRAY[{', '.join(calls)}]"


@cache
def _expected(encoding: str) -> tuple[int, ...]:
    functions: dict[str, Callable[[Any], int]] = {
        "hashtext": hashing.hashtext,
        "hashint4": hashing.hashint4,
        "hashint8": hashing.hashint8,
    }
    return tuple(functions[name](value) for name, _, value in _probes(encoding))


def check(label: str, encoding: str, found: Sequence[int]) -> None:
    """Compare what a server answered to the question. Raise `HashMismatch`."""
    expected = _expected(encoding)
    for (name, text, _), here, there in zip(
        _probes(encoding), expected, found, strict=True
    ):
        if there != here:
            raise HashMismatch(
                f"[{label}] {name}({text}) is {there} on this server and {here} here: "
                "calls would go to other partitions than its rows are on"
            )
