"""Imports point downward: every file of the package stands on one floor."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import plproxy_py

PACKAGE = Path(plproxy_py.__file__).parent
PURE_FLOORS = Path(__file__).with_name("pure_floors.txt")

# A file of no floor fails: say here where it stands.
FLOORS = [
    "_version errors _record",
    "_lookup3 _lanes _pure _speedups _native _hash_numbers hashing _hash_many arrays"
    " pgtypes signature language language/* _scalars values _casts _defaults query"
    " expression tagging result fits hints made_rows hint_types answers clauses gather"
    " options function evaluation compiler comparison ordering aggregates combine"
    " discretion",
    "config keys sources sources/* stubs stubs/*",
    "_wire _pipeline _waiting _links _connector _rows _notices _leases _prepared"
    " _collect _versions _promises _forks _discreet _stats _dialling _knocking"
    " _passwords _parity _sessions _libpq _roundtrip"
    " _alerts",
    "_steps _loans _servers _moves _targets _conversations _pools"
    " _statements _waves _explain _catalog _exchange _routing"
    " _clusters"
    " _home _home_clusters _preparing _scatter _streams _parts _lines _windows"
    " _batches _connections _calls _retrying _plain _observing _observed"
    " _figures _flights _direct _router_base",
    "decorators streams proxycall _many _handles",
    "router router_async",
    "cli cli/* ops ops/* demo _embedded _reaper prometheus otel testing testing/*",
    "__init__",
]
PURE, WIRE, APART = 2, 3, 7
KINDS = (".py", ".pyi")

# What a floor may import besides the standard library. psycopg.x stands for the
# module and for the name.
OUTSIDE = {
    0: {"psycopg", "psycopg.errors", "psycopg_pool"},
    1: {"mmh3"},
    2: {"psycopg.ProgrammingError", "psycopg.conninfo"},
}
# libpq, and what of psycopg is not its documented face.
WIRE_ONLY = {"psycopg.pq", "psycopg.generators", "psycopg.waiting"}


@dataclass(frozen=True)
class File:
    """A module of the package: ``language.body``, "" for the package itself."""

    path: Path

    @property
    def place(self) -> str:
        """The name in the table: ``language/body``, or ``language`` for its door."""
        place = self.path.relative_to(PACKAGE).with_suffix("").as_posix()
        return place.removesuffix("/__init__")

    @property
    def floors(self) -> list[int]:
        return [
            floor
            for floor, names in enumerate(FLOORS)
            if any(fnmatch(self.place, name) for name in names.split())
        ]

    @property
    def floor(self) -> int:
        (floor,) = self.floors
        return floor

    def imports(self, *, typing: bool) -> Iterator[str]:
        """Yield what is imported, ``a.b`` also for ``from a import b``.

        ``typing``: also what only type checkers import.
        """
        yield from _imports(_tree(self.path), typing)

    def ours(self) -> set[str]:
        """Return the places of the package's files that it imports."""
        found = set()
        for name in self.imports(typing=True):
            if name == "plproxy_py" or name.startswith("plproxy_py."):
                found.add(_place(name.split(".")[1:]))
        return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.AST, typing: bool) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) if not typing:
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, "the package is imported by its whole name"
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Attribute(value=ast.Name(id="psycopg"), attr=name):
                yield f"psycopg.{name}"
        yield from _imports(node, typing)


def _place(path: list[str]) -> str:
    """Return the file in which a dotted path ends; the rest are names in it."""
    while path:
        here = PACKAGE.joinpath(*path)
        if here.is_dir() or any(here.with_suffix(kind).exists() for kind in KINDS):
            return "/".join(path)
        path = path[:-1]
    return "__init__"


# A stub stands for what is compiled.
FILES = [File(path) for path in sorted(PACKAGE.rglob("*.py*")) if path.suffix in KINDS]
BY_PLACE = {file.place: file for file in FILES}


def test_the_table_is_of_files_that_are_there() -> None:
    places = list(BY_PLACE)
    for name in " ".join(FLOORS).split():
        assert any(fnmatch(place, name) for place in places), name


def test_every_file_has_one_floor() -> None:
    assert {file.place: file.floors for file in FILES if len(file.floors) != 1} == {}


def test_imports_point_downward() -> None:
    upward = [
        (file.place, place)
        for file in FILES
        for place in file.ours()
        if BY_PLACE[place].floor > file.floor
        # What stands apart uses the package by its door, as its users do.
        and (file.floor, place) != (APART, "__init__")
    ]
    assert upward == []


def test_no_circles() -> None:
    graph = {file.place: file.ours() - {file.place} for file in FILES}
    for place in graph:
        if BY_PLACE[place].floor == APART:
            graph[place] -= {"__init__"}
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(BY_PLACE)


def test_the_pure_floors_know_little() -> None:
    known = {"plproxy_py", *sys.stdlib_module_names}
    outside = [
        (file.place, name)
        for file in FILES
        if file.floor in OUTSIDE
        for name in file.imports(typing=True)
        if name.split(".")[0] not in known and not _allowed(name, OUTSIDE[file.floor])
    ]
    assert outside == []


def _allowed(name: str, allowed: set[str]) -> bool:
    return any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed)


def test_libpq_is_known_on_one_floor() -> None:
    knowing = [
        (file.place, name)
        for file in FILES
        if file.floor != WIRE
        for name in file.imports(typing=False)
        if _allowed(name, WIRE_ONLY)
    ]
    assert knowing == []


def test_coverage_is_asked_of_the_pure_floors() -> None:
    """The list that CI gives to coverage names their files, and no others."""
    pure = [f for f in FILES if f.floor <= PURE and f.path.suffix == ".py"]
    names = [f"plproxy_py/{file.path.relative_to(PACKAGE).as_posix()}" for file in pure]
    assert PURE_FLOORS.read_text().split() == names
