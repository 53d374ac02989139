"""``python tests/benchmarks/run.py [--quick] [--json FILE] [--only NAME]``.

Runs the groups on a server of its own, prints a table of each as it is done, and all
values by name at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# As a script it would find only its neighbours.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from plproxy_py._embedded import EmbeddedError
from tests.benchmarks import (
    calls,
    environment,
    fanout,
    hashes,
    many,
    process,
    scaling,
    split,
    table,
    throughput,
)
from tests.benchmarks.groups import Group, Report, Stage
from tests.benchmarks.servers import Servers

GROUPS: tuple[Group, ...] = (
    *hashes.GROUPS,
    *calls.GROUPS,
    *fanout.GROUPS,
    *split.GROUPS,
    *many.GROUPS,
    *throughput.GROUPS,
    *process.GROUPS,
    *scaling.GROUPS,
)


def main() -> None:
    args = _arguments()
    started = time.monotonic()
    try:
        servers = Servers()
    except EmbeddedError as error:
        sys.exit(str(error))
    with servers:
        machine, versions = environment.machine(), environment.versions(servers)
        print(table.environment(machine, versions), flush=True)
        reports = []
        for group in _chosen(args.only):
            began = time.monotonic()
            reports.append(_run(servers, group, args.quick))
            print(table.report(reports[-1]), flush=True)
            print(f"  took {time.monotonic() - began:.0f} s", flush=True)
    print(table.summary(reports))
    print(f"\n{time.monotonic() - started:.0f} s in all")
    if args.json:
        document = _document(reports, machine, versions)
        args.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time plproxy_py beside others.")
    parser.add_argument("--quick", action="store_true", help="less of it, in a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write values there")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=sorted({part for group in GROUPS for part in _known_as(group)}),
        help="run the group that reports NAME, such as routed_call; may be repeated",
    )
    return parser.parse_args()


def _known_as(group: Group) -> set[str]:
    """Return what --only may call a group: its values, with or without the rival."""
    return {*group.names, *(name.partition(".")[0] for name in group.names)}


def _chosen(only: list[str] | None) -> list[Group]:
    if only is None:
        return list(GROUPS)
    return [group for group in GROUPS if _known_as(group) & set(only)]


def _run(servers: Servers, group: Group, quick: bool) -> Report:
    with ExitStack() as exits:
        return group.run(Stage(servers, group.quick if quick else group.full, exits))


def _document(
    reports: list[Report], machine: dict[str, Any], versions: dict[str, Any]
) -> dict[str, Any]:
    values = [value for report in reports for value in report.values]
    scaled = [report.scaling for report in reports if report.scaling]
    return {
        "ratios": {value.name: value.value for value in values},
        "goals_met": {
            value.name: value.is_met for value in values if value.goal is not None
        },
        "machine": machine,
        "versions": versions,
        "n": {report.title: report.size.as_dict() for report in reports},
        "medians_us": {
            report.title: {
                name: {"wall": result.wall * 1e6, "cpu": result.cpu * 1e6}
                for name, result in report.results.items()
            }
            for report in reports
            if report.results
        },
        "notes": sorted({note for report in reports for note in report.notes}),
        "scaling": scaled[0] if scaled else {},
    }


if __name__ == "__main__":
    main()
