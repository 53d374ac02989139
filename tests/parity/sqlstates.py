"""Where our SQLSTATE differs from PL/Proxy's by design, in one fixed table.

Nearly all of PL/Proxy's own errors are XX000, "internal error". Ours say what
happened. What a partition's server or the home database says keeps its SQLSTATE on
both sides. An entry that no test uses fails (test_table.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """``message`` is a pattern of PL/Proxy's own text; ``name`` says the class."""

    name: str
    message: str
    real: str
    ours: str

    def applies(self, sqlstate: str | None, message: str) -> bool:
        return sqlstate == self.real and re.search(self.message, message) is not None


CHANGES = (
    Change("a body that can't be read", r"Compile error at line", "XX000", "42601"),
    Change("SPLIT of an argument twice", r"SPLIT parameter", "XX000", "42601"),
    Change("RUN ON ALL returns a set", r"RUN ON ALL requires set", "XX000", "42601"),
    Change("volatility", r"must be volatile", "XX000", "42P13"),
    Change("variadic", r"does not support variadic args", "XX000", "42P13"),
    Change("pseudo-types", r"unsupported pseudo type", "XX000", "42P13"),
    # What a server says keeps its SQLSTATE when it refuses a connection, too.
    Change("no such database", r"PQconnect", "XX000", "3D000"),
    Change(
        "split lengths", r"split arrays must be of identical lengths", "XX000", "22023"
    ),
    Change("split dimensions", r"split multi-dimensional arrays", "XX000", "22023"),
    Change("columns of a scalar", r"single field", "XX000", "42804"),
    Change("column count", r"Got too (few|many) fields", "XX000", "42804"),
    Change("column name", r"does not exists in result", "XX000", "42804"),
    Change("partition count", r"invalid part(ition)? count", "XX000", "F0000"),
    Change(
        "partition numbers",
        r"wrong partitions number|duplicate partition number",
        "XX000",
        "F0000",
    ),
    Change("RUN ON number", r"part number out of range", "XX000", "22023"),
    Change("a hash that is NULL", r"Hash function returned NULL", "XX000", "22023"),
    Change("type of a hash", r"Hash result must be", "XX000", "22023"),
    Change("count of hashes", r"allows hashcount <> 1", "XX000", "22023"),
    Change("CLUSTER or CONNECT NULL", r"map func returned NULL", "XX000", "22023"),
    Change("type of CLUSTER", r"expected text", "XX000", "22023"),
    Change("rows of CLUSTER", r"returned \d+ rows, expected 1", "XX000", "22023"),
    Change("no row set", r"run_tag does not match", "XX000", "42804"),
    Change("SELECT of a dynamic record", r"dynamic RECORD", "XX000", "42601"),
    Change("no such cluster", r"cluster not found", "XX000", "F0000"),
    Change("version function", r"get_version: got", "XX000", "F0000"),
    Change(
        "partitions function",
        r"partition column 1 must be|connstr must not be NULL",
        "XX000",
        "F0000",
    ),
    Change(
        "configuration function",
        r"Config column \d must be|val must not be NULL|config must have 2 columns",
        "XX000",
        "F0000",
    ),
    Change("default_user", r"default_user", "XX000", "F0000"),
    Change("configuration option", r"Unknown config param", "XX000", "F0000"),
)
USED: set[str] = set()


def expected_sqlstate(sqlstate: str | None, message: str) -> str | None:
    """Return our SQLSTATE for an error of PL/Proxy's; note that its entry is used."""
    found = [change for change in CHANGES if change.applies(sqlstate, message)]
    if not found:
        return sqlstate
    assert len(found) == 1, f"{message}: {found}"
    USED.add(found[0].name)
    return found[0].ours
