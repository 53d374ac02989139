"""Whether a server computes the hashes that are computed here.

Every function of `hashing.KNOWN` that a server has is asked for some values, which are
written here once as SQL has them and once as they are hashed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import psycopg

from plproxy_py.hashing import KNOWN
from plproxy_py.ops.check.findings import Finding
from plproxy_py.ops.sessions import Session

_SEEDS = (0, -1)

# Beyond ASCII, one and several bytes each, one of them composed of two characters.
_WORDS = ("Ærøskøbing", "Müller", "e\u0301", "東京", "🐘")
_ASCII = ("", "marko", "a key of more than twelve bytes", "0123456789" * 5)
_INTS = (0, 1, -1, 32767, -32768)
_UUID = "11111111-2222-3333-4444-5555ffffffff"
_MOMENT = datetime(2026, 2, 28, 23, 59, 59, 123456)


def _quoted(texts: Sequence[str]) -> list[tuple[str, Any]]:
    return [(f"'{text}'", text) for text in texts]


def _numbers(numbers: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(f"'{number}'", number) for number in numbers]


PROBES: dict[str, list[tuple[str, Any]]] = {
    "text": _quoted([*_ASCII, "trailing  "]),
    "name": _quoted(_ASCII),
    "bpchar": _quoted([*_ASCII, "trailing  "]),
    "char": _quoted(["", "k"]),
    "bytea": [("decode('00ff10', 'hex')", b"\x00\xff\x10"), ("''", b"")],
    "bool": [("true", True), ("false", False)],
    "int2": _numbers(_INTS),
    "int4": _numbers([*_INTS, 2**31 - 1, -(2**31)]),
    "int8": _numbers([*_INTS, 2**32, -(2**32) - 1, 2**63 - 1, -(2**63)]),
    "oid": _numbers([0, 16384, 2**32 - 1]),
    "float4": _numbers([0.0, -0.0, 1.5, -0.25, float("nan"), float("inf")]),
    "float8": _numbers([0.0, -0.0, 1.5, 0.1, float("nan"), float("-inf")]),
    "numeric": _numbers([Decimal(n) for n in ("0", "-12.340", "1e20", "0.00001")]),
    "uuid": [(f"'{_UUID}'", UUID(_UUID))],
    "timestamp": [(f"'{_MOMENT}'", _MOMENT), ("'1999-12-31'", datetime(1999, 12, 31))],
    "timestamptz": [(f"'{_MOMENT}+00'", _MOMENT.replace(tzinfo=UTC))],
    "date": [("'2026-02-28'", date(2026, 2, 28)), ("'1999-12-31'", date(1999, 12, 31))],
    "time": [("'00:00'", time()), ("'23:59:59.123456'", _MOMENT.time())],
    "timetz": [
        ("'12:00+02'", time(12, tzinfo=timezone(timedelta(hours=2)))),
        ("'12:00-03:30'", time(12, tzinfo=timezone(-timedelta(hours=3.5)))),
    ],
    "interval": [
        ("'1 day'", timedelta(days=1)),
        ("'-1.5 hours'", timedelta(hours=-1.5)),
    ],
    "jsonb": [
        ("""'{"a": [1, null, true], "b": "c"}'""", {"a": [1, None, True], "b": "c"}),
        ("'[]'", []),
    ],
}
"""By type: a value as SQL has it and as it is hashed, all in ASCII."""

BEYOND_ASCII = {type: _quoted(_WORDS) for type in ("text", "name", "bpchar")}


def written_type(name: str) -> str:
    """Return a type of `PROBES` as SQL writes it."""
    return '"char"' if name == "char" else name


@dataclass(frozen=True, slots=True)
class Probe:
    """One question. ``name``: of the hash function. ``expected``: its answer here."""

    name: str
    sql: str
    expected: int


@cache
def probes(major: int, has_mmh3: bool, beyond_ascii: bool) -> tuple[Probe, ...]:
    """Return what a server of a major version is asked.

    ``has_mmh3``: sql/mmh3.sql was installed. ``beyond_ascii``: that, or all else.
    """
    return tuple(_probes(major, has_mmh3, BEYOND_ASCII if beyond_ascii else PROBES))


def _probes(
    major: int, has_mmh3: bool, values: dict[str, list[tuple[str, Any]]]
) -> Iterator[Probe]:
    for name, entries in KNOWN.items():
        for known in entries:
            if known.since > major or (name == "mmh3" and not has_mmh3):
                continue
            schema = "plproxy" if name == "mmh3" else "pg_catalog"
            type, *seeded = known.parameters
            written = written_type(type)
            seeds = [(f", '{seed}'::int8", (seed,)) for seed in _SEEDS]
            for literal, value in values.get(type, ()):
                for further, seed in seeds if seeded else [("", ())]:
                    yield Probe(
                        name,
                        f"{schema}.{name}({literal}::{written}{further})",
                        known.call(value, *seed),
                    )


async def builtin_faults(
    connection: Session, encoding: str, has_mmh3: bool
) -> list[Finding]:
    """Return what a server computes otherwise, as one finding.

    Two round trips at most, but where the database's encoding is a small one.
    """
    major = connection.info.server_version // 10000
    plain = probes(major, has_mmh3, False)
    beyond = probes(major, has_mmh3, True)
    asked = [plain + beyond]
    if encoding not in ("UTF8", "SQL_ASCII"):
        # A character that it lacks makes the whole statement fail.
        asked = [plain, *((probe,) for probe in beyond)]
    wrong: list[tuple[Probe, str]] = []
    for some in asked:
        try:
            answers = await _answers(connection, some)
        except psycopg.Error as error:
            if connection.closed:
                raise
            wrong.append((some[0], f"an error: {said(error)}"))
            continue
        wrong += [
            (probe, str(answer))
            for probe, answer in zip(some, answers, strict=True)
            if answer != probe.expected
        ]
    if not wrong:
        return []
    probe, answer = wrong[0]
    others = sorted({other.name for other, _ in wrong} - {probe.name})
    also = f"; other values also by {', '.join(others)}" if others else ""
    return [
        Finding(
            probe.name,
            None,
            "hash",
            f"{probe.sql} is {answer} there, and {probe.expected} here{also}",
            _remedy(encoding),
        )
    ]


def _remedy(encoding: str) -> str:
    if encoding != "UTF8":
        return (
            f"Move the database from {encoding} to UTF8: a hash is of the bytes that a "
            "text has in the database."
        )
    return (
        "Route no key by this function before it is known why: its rows would be "
        "looked for on another partition than they are."
    )


async def _answers(connection: Session, some: Sequence[Probe]) -> list[int]:
    expressions = ", ".join(f"{probe.sql}::int8" for probe in some)
    cursor = await connection.execute(f"SELECT ARRAY[{expressions}]".encode())
    row = await cursor.fetchone()
    assert row is not None
    answers: list[int] = row[0]
    return answers


def said(error: psycopg.Error) -> str:
    """Return an error's SQLSTATE and first line."""
    text = error.diag.message_primary or str(error).partition("\n")[0]
    return f"{error.sqlstate or ''} {text}".strip()
