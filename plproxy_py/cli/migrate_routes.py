"""How routes compare, key by key: the other half of `migrate-report`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import click

from plproxy_py._router_base import RouterBase
from plproxy_py.cli import render
from plproxy_py.cli.common import Failure, Settings, find_cluster, registered_hashes
from plproxy_py.ops.migration.home import HomeDatabase
from plproxy_py.ops.migration.report import load_clusters, make_moves
from plproxy_py.ops.migration.routes import (
    Comparison,
    Mismatch,
    Route,
    Tally,
    find_routes,
)

# So many mismatches are listed; all are counted.
MOST_LISTED = 1000

_COLUMNS = (
    *("route", "key", "home_hash", "hash", "home_partitions", "partitions"),
    *("home_place", "place"),
)


def compare_routes(
    settings: Settings,
    database: HomeDatabase,
    router: RouterBase | None,
    keys: IO[str],
    name: str | None,
) -> bool:
    """Print how the routes of keys compare; tell whether all are the same."""
    with database.snapshot():
        moves = make_moves(database, registered_hashes(router) if router else {})
        theirs, _ = load_clusters(database, moves)
        routes, without = find_routes(moves, name, database)
    ours = theirs
    if router is not None:
        names = {route.cluster for route in routes if route.cluster in theirs}
        ours = {each: find_cluster(router, each) for each in names if each is not None}
    comparison = Comparison(database, routes, theirs, ours)
    listed: list[render.Record] = []
    with render.progress(f"comparing the routes of {keys.name}") as done:
        for mismatch in comparison.compare(_lines(keys), done):
            if len(listed) < MOST_LISTED:
                listed.append(_mismatch(mismatch, routes))
    if listed or settings.as_json:
        columns = [
            column
            for column in _COLUMNS
            if any(row[column] is not None for row in listed)
        ]
        render.show(listed, columns, as_json=settings.as_json, alarm=lambda row: True)
        click.echo(err=True)
    for route, tally in comparison.tallies.items():
        line = _route_line(route, tally, len(routes[route]))
        click.echo(line, err=settings.as_json)
    if without:
        line = f"Without a route of one key: {', '.join(without)}"
        click.echo(line, err=settings.as_json)
    tallies = comparison.tallies.values()
    if not any(tally.keys for tally in tallies):
        raise Failure("no key was compared")
    return not any(tally.mismatches for tally in tallies)


def _route_line(route: Route, tally: Tally, functions: int) -> str:
    counts = [f"{tally.keys} keys", f"{tally.mismatches} go another way"]
    if tally.hashless:
        counts.append(f"{tally.hashless} have no hash on either side")
    if tally.unfit:
        counts.append(f"{tally.unfit} others are no {route.type.cast}")
    if not route.is_computed:
        counts.append("hashed by the database for routers too")
    named = f"{functions} function{'s' if functions > 1 else ''}"
    return f"{route.title} ({named}): {', '.join(counts)}"


def _lines(keys: IO[str]) -> Iterator[str]:
    try:
        for line in keys:
            yield line.removesuffix("\n")
    except UnicodeDecodeError:
        raise Failure(f"{keys.name} is not UTF-8") from None


def _mismatch(found: Mismatch, routes: dict[Route, list[str]]) -> render.Record:
    return {
        "route": found.route.title,
        "functions": routes[found.route],
        "key": found.key,
        "home_hash": _single(found.home_hash),
        "hash": _single(found.hash),
        "home_partitions": _single(found.home_partitions),
        "partitions": _single(found.partitions),
        "home_place": found.home_place,
        "place": found.place,
    }


def _single(found: list[int] | str | None) -> object:
    """Return an only number by itself."""
    return found[0] if isinstance(found, list) and len(found) == 1 else found
