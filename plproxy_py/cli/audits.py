"""What an audit found, as rows for programs, as a table and in words for people."""

from __future__ import annotations

from collections.abc import Iterator

from plproxy_py.cli import render
from plproxy_py.cli.common import error_line
from plproxy_py.ops.audit import Audited, Misplaced
from plproxy_py.ops.placing.look import Look

# Beyond this share of rows, the hash is more likely wrong than the rows.
_SUSPICIOUS = 0.4


def row_of(one: Misplaced) -> dict[str, object]:
    """Return a misplaced row."""
    return {"key": one.key, "lies_on": one.lies_on, "belongs_to": one.belongs_to}


def json_row(one: Audited) -> render.Record:
    """Return a database for programs."""
    misplaced = one.misplaced
    return {
        "kind": "partition",
        "partition": one.place.first,
        "partitions": one.place.partitions,
        "rows": None if one.error else one.rows,
        "misplaced": None if one.error else sum(misplaced.values()),
        "belong_to": {
            "null" if number is None else str(number): count
            for number, count in misplaced.items()
        },
        "error": error_line(one.error, "connection"),
    }


def show_partitions(audited: list[Audited]) -> None:
    """Print a line for each database."""
    rows = [
        {
            **json_row(one),
            "partition": _numbers(one.place.partitions),
            "belong_to": _destinations(one.misplaced) or None,
        }
        for one in audited
    ]
    columns = ["partition", "rows", "misplaced", "belong_to"]
    if any(one.error for one in audited):
        columns.append("error")
    render.show(
        rows,
        columns,
        as_json=False,
        alarm=lambda row: row["misplaced"] or row["error"],
    )


def _numbers(partitions: tuple[int, ...]) -> int | str:
    return partitions[0] if len(partitions) == 1 else ", ".join(map(str, partitions))


def _destinations(misplaced: dict[int | None, int]) -> str:
    """Say where rows belong, the three most frequent first."""
    most = sorted(misplaced.items(), key=lambda item: -item[1])
    texts = [
        f"{count:,} to {'none (NULL)' if number is None else number}"
        for number, count in most[:3]
    ]
    rest = sum(count for _, count in most[3:])
    return ", ".join([*texts, f"{rest:,} to others"] if rest else texts)


def words(seen: Look, audited: list[Audited], limit: int) -> Iterator[str]:
    """Say what it comes to. ``limit``: of the rows that were listed."""
    rows = sum(one.rows for one in audited)
    wrong = sum(sum(one.misplaced.values()) for one in audited)
    if not wrong and not rows:
        yield "No rows were counted."
    elif not wrong:
        yield f"All {rows:,} rows that were counted lie where they belong."
    else:
        verb = "lies" if wrong == 1 else "lie"
        yield f"{wrong:,} of {rows:,} rows {verb} on the wrong partition."
    hash = next(iter(seen.tables.values())).hash.name
    if wrong > _SUSPICIOUS * rows:
        yield f"That is much: do calls run on another hash than {hash}? See --hash."
    if wrong > limit:
        yield f"Listed are {limit:,} of them: --limit lists more."
    if seen.hashed_here:
        where = ", ".join(map(str, seen.hashed_here))
        yield f"The servers of partitions {where} lack {hash}: it was computed here."
    if failed := sum(bool(one.error) for one in audited):
        yield f"{failed} of {len(audited)} databases could not be asked."
