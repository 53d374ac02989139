"""Whether keys go where PL/Proxy sends them: two hashes for each key, and no call.

The database evaluates RUN ON's expression, as it does for PL/Proxy, and it is computed
here, as a router would. The same functions, applied to the same cluster, give the same
partition; where another definition of the cluster is given, its partition is compared
too. Nothing is sent to a partition, and the database is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import psycopg

from plproxy_py import values
from plproxy_py._scalars import Codec
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import DeclarationError, Error, SignatureError, nearest
from plproxy_py.function import ProxyFunction
from plproxy_py.language.body import ArgumentValue, Expression, Reference
from plproxy_py.ops.migration.catalog import title_of
from plproxy_py.ops.migration.functions import calls_of
from plproxy_py.ops.migration.home import HomeDatabase
from plproxy_py.ops.migration.report import Move
from plproxy_py.pgtypes import PgType
from plproxy_py.query import RemoteQuery, home_split_query
from plproxy_py.tagging import RunHash, hashes_of

# Keys are asked for by so many at a time.
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Route:
    """A way from a key to a partition, which functions share.

    ``expression``: with ``$1`` for the key. ``function``: one of those that take it,
    with the key as its argument ``index``. ``is_computed``: a router hashes by itself
    and does not ask this database.
    """

    expression: str
    type: PgType
    cluster: str | None
    function: ProxyFunction = field(repr=False, compare=False)
    index: int = field(compare=False)
    sql: bytes = field(repr=False, compare=False)
    is_computed: bool = field(compare=False)

    @property
    def title(self) -> str:
        where = f" in {self.cluster}" if self.cluster is not None else ""
        return f"{self.expression} of {self.type.cast}{where}"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A key that goes another way. Hashes are lists, or the text of an error.

    Partitions are None where the cluster isn't known, or where a hash is an error.
    ``place``: where partitions of the same number are other databases.
    """

    route: Route
    key: str
    home_hash: list[int] | str
    hash: list[int] | str
    home_partitions: list[int] | None
    partitions: list[int] | None
    home_place: str | None = None
    place: str | None = None


@dataclass(slots=True)
class Tally:
    """What came of one route.

    ``unfit``: keys that its type does not take. ``hashless``: of ``keys``, those that
    neither side has a hash for.
    """

    keys: int = 0
    mismatches: int = 0
    unfit: int = 0
    hashless: int = 0


def find_routes(
    moves: Iterable[Move], name: str | None, home: HomeDatabase
) -> tuple[dict[Route, list[str]], dict[str, str]]:
    """Return each route with its functions' titles; and why others have none.

    ``name``: of the function that is meant, as `Router.call` takes names. Raise
    `SignatureError` if there is none of that name, or if it has no route.
    """
    routes: dict[Route, list[str]] = {}
    without: dict[str, str] = {}
    moves = list(moves)
    proxies = frozenset(move.found.name for move in moves)
    for move in _named(moves, name):
        title = title_of(move.found)
        found = _route(move.compiled, home.is_utf8, proxies)
        if isinstance(found, Route) and found not in routes:
            found = home.fault(RemoteQuery(found.sql, ())) or found
        if isinstance(found, str):
            without[title] = found
        else:
            routes.setdefault(found, []).append(title)
    if name is not None and not routes:
        reasons = "; ".join(f"{title}: {why}" for title, why in without.items())
        raise SignatureError(f"no route of one key to compare: {reasons}")
    return routes, without


def _named(moves: Sequence[Move], name: str | None) -> Sequence[Move]:
    if name is None:
        return moves
    found = [move for move in moves if name in _names(move)]
    if not found:
        known = [each for move in moves for each in _names(move)]
        raise SignatureError(
            f"no function {name} is in this database{nearest(name, known)}",
            sqlstate="42883",
        )
    return found


def _names(move: Move) -> tuple[str, ...]:
    title = title_of(move.found)
    qualified = title.partition("(")[0]
    return title, qualified, move.found.name, title.removeprefix("public.")


def _route(
    compiled: ProxyFunction | DeclarationError, is_utf8: bool, proxies: frozenset[str]
) -> Route | str:
    """Return the route of a function, or why it has none of one key."""
    if isinstance(compiled, DeclarationError):
        return str(compiled)
    run_on, types = compiled.body.run_on, compiled.signature.inputs
    if compiled.connect is not None:
        return "CONNECT has no hash"
    match run_on:
        case ArgumentValue(index=index):
            expression = Expression(("", Reference(index)), run_on.line)
            indexes = {index}
        case Expression() if any(call.name in proxies for call in calls_of(run_on)):
            # Not even the database's READ ONLY would hold partitions to anything.
            return f"RUN ON {run_on} may call a proxy function, which sends something"
        case Expression():
            expression = run_on
            indexes = {
                part.index for part in run_on.parts if isinstance(part, Reference)
            }
        case _:
            return f"RUN ON {run_on} has no hash"
    if len(indexes) != 1:
        return f"RUN ON {run_on} takes {len(indexes)} arguments, not one key"
    (index,) = indexes
    type = types[index].type
    if index in (compiled.split or ()):
        type = type.element
    elif type.is_array:
        return f"RUN ON {run_on} takes an array for a key"
    arrays = [each.type for each in types]
    arrays[index] = PgType(type.name, type.modifiers, is_array=True)
    prefix = "SELECT * FROM " if "(" in str(expression) else "SELECT "
    computed = isinstance(compiled.run_on, RunHash)
    if isinstance(compiled.run_on, RunHash) and compiled.run_on.at_home is not None:
        # As `Routing.asked_at_home` decides.
        computed = is_utf8 and not compiled.run_on.doubtful
    cluster = compiled.cluster if isinstance(compiled.cluster, str) else None
    return Route(
        expression.sql(lambda index: "$1").strip(),
        type,
        cluster,
        compiled,
        index,
        home_split_query(prefix, expression, arrays, [index]).sql,
        computed,
    )


class Comparison:
    """Compares keys batch by batch, and counts.

    ``theirs`` and ``ours``: the clusters by name as PL/Proxy's database and the router
    have them; the same unless the router has others.
    """

    def __init__(
        self,
        home: HomeDatabase,
        routes: Iterable[Route],
        theirs: Mapping[str, ClusterConfig],
        ours: Mapping[str, ClusterConfig],
    ) -> None:
        self._home = home
        self._theirs = theirs
        self._ours = ours
        self.tallies = {route: Tally() for route in routes}

    def compare(
        self, keys: Iterable[str], done: Callable[[], object] = lambda: None
    ) -> Iterator[Mismatch]:
        """Yield the keys that go another way. ``done`` is called for each batch."""
        rest = iter(keys)
        while batch := list(islice(rest, BATCH)):
            for route, tally in self.tallies.items():
                for mismatch in self._batch(route, tally, batch):
                    tally.mismatches += 1
                    yield mismatch
            done()

    def _batch(
        self, route: Route, tally: Tally, batch: Sequence[str]
    ) -> Iterator[Mismatch]:
        codec = values.codec(route.type)
        fitting = [(key, _normal(codec, key)) for key in batch]
        keys = [(key, normal) for key, normal in fitting if normal is not _UNFIT]
        tally.unfit += len(batch) - len(keys)
        tally.keys += len(keys)
        theirs = self._asked(route, [key for key, _ in keys])
        for (key, normal), home_hash in zip(keys, theirs, strict=True):
            hash = _computed(route, normal) if route.is_computed else home_hash
            if isinstance(home_hash, str) and isinstance(hash, str):
                # No call gets through, on either side.
                tally.hashless += 1
                continue
            mismatch = self._judged(route, key, home_hash, hash)
            if mismatch is not None:
                yield mismatch

    def _asked(self, route: Route, keys: Sequence[str]) -> list[list[int] | str]:
        """Return what the database hashes each key to; key by key if one fails."""
        if not keys:
            return []
        try:
            rows = self._home.hashes(route.sql, keys)
        except psycopg.Error as error:
            if isinstance(error, Error):
                raise
            if len(keys) == 1:
                return [_fault(error.sqlstate)]
            middle = len(keys) // 2
            return self._asked(route, keys[:middle]) + self._asked(route, keys[middle:])
        found: list[list[int] | str] = [[] for _ in keys]
        for number, group in groupby(rows, itemgetter(0)):
            found[number - 1] = _checked(route.function, [row[2] for row in group])
        return found

    def _judged(
        self, route: Route, key: str, home_hash: list[int] | str, hash: list[int] | str
    ) -> Mismatch | None:
        theirs = _partitions(self._theirs.get(route.cluster or ""), home_hash)
        ours = _partitions(self._ours.get(route.cluster or ""), hash)
        before, now = self._places(route, theirs, ours)
        if home_hash == hash and theirs == ours and before == now:
            return None
        return Mismatch(route, key, home_hash, hash, theirs, ours, before, now)

    def _places(
        self, route: Route, theirs: list[int] | None, ours: list[int] | None
    ) -> tuple[str | None, str | None]:
        """Return the first place that differs, on both sides."""
        if theirs is None or ours is None or self._ours is self._theirs:
            return None, None
        name = route.cluster or ""
        for before, now in zip(theirs, ours, strict=False):
            first = _place(self._theirs[name], before)
            second = _place(self._ours[name], now)
            if first != second:
                return first, second
        return None, None


_UNFIT = object()


def _normal(codec: Codec | None, key: str) -> Any:
    if codec is None:
        return key
    try:
        return codec.normal(key)
    except (TypeError, ValueError):
        return _UNFIT


def _computed(route: Route, normal: Any) -> list[int] | str:
    run_on = route.function.run_on
    assert isinstance(run_on, RunHash)
    arguments: list[Any] = [None] * len(route.function.signature.inputs)
    arguments[route.index] = normal
    try:
        return _checked(route.function, run_on.hash(arguments))
    except Error as error:
        return _fault(error.sqlstate)
    except Exception as error:  # a Python version may raise whatever it likes
        return f"{type(error).__name__}"


def _checked(function: ProxyFunction, given: Any) -> list[int] | str:
    """Return the hashes that a call would take, or why it would take none."""
    if isinstance(given, list) and len(given) == 1:
        (given,) = given
    try:
        return list(hashes_of(given, function.signature.setof))
    except Error as error:
        return str(error)


def _fault(sqlstate: str | None) -> str:
    return f"error {sqlstate or ''}".strip()


def _partitions(
    config: ClusterConfig | None, hashes: list[int] | str
) -> list[int] | None:
    if config is None or isinstance(hashes, str):
        return None
    return [config.partition_of(hash) for hash in hashes]


def _place(config: ClusterConfig, partition: int) -> str:
    """Return where a partition is, whoever connects to it."""
    parameters = dict(config.target(partition).parameters)
    host = parameters.get("hostaddr") or parameters.get("host", "")
    port = parameters.get("port") or "5432"
    return f"{parameters.get('dbname', '')} at {host}:{port}"
