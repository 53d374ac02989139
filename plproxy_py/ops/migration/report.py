"""Each function, each caller in SQL and each cluster, and a verdict on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from plproxy_py._catalog import Catalog
from plproxy_py.config import ClusterConfig
from plproxy_py.errors import DeclarationError
from plproxy_py.expression import HashFunction
from plproxy_py.function import ProxyFunction
from plproxy_py.ops.migration import clusters
from plproxy_py.ops.migration.callers import called_by
from plproxy_py.ops.migration.catalog import (
    Found,
    read_dependents,
    read_functions,
    read_named,
    read_servers,
    read_texts,
    title_of,
)
from plproxy_py.ops.migration.differences import Difference, Note
from plproxy_py.ops.migration.functions import (
    Surroundings,
    calls_of,
    expressions,
    notes_of,
    refused,
)
from plproxy_py.ops.migration.home import HomeDatabase
from plproxy_py.ops.migration.pasting import module_to_paste, text_to_paste
from plproxy_py.sources.functions import Reflected
from plproxy_py.stubs.module import Module


class Verdict(StrEnum):
    """What can be said of moving something."""

    SAME = "same"
    NOTE = "same with a note"
    UNSUPPORTED = "not supported"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the report. ``kind``: function, procedure, caller or cluster.

    ``execute``: who may call it, the owner aside. ``paste``: a declaration, "" where
    there is none.
    """

    kind: str
    name: str
    notes: tuple[Note, ...] = ()
    execute: tuple[str, ...] = ()
    paste: str = ""

    @property
    def verdict(self) -> Verdict:
        if any(note.is_obstacle for note in self.notes):
            return Verdict.UNSUPPORTED
        return Verdict.NOTE if self.notes else Verdict.SAME


@dataclass(frozen=True, slots=True)
class Move:
    """A function of the database with what it compiles to, or why it does not."""

    found: Found
    compiled: ProxyFunction | DeclarationError


@dataclass(frozen=True, slots=True)
class Report:
    """``searched``: the functions in other languages that were looked through."""

    entries: tuple[Entry, ...]
    moves: tuple[Move, ...]
    clusters: Mapping[str, ClusterConfig]
    searched: int

    @property
    def functions(self) -> list[Entry]:
        return [each for each in self.entries if each.kind in ("function", "procedure")]

    def of_kind(self, kind: str) -> list[Entry]:
        return [each for each in self.entries if each.kind == kind]

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing that is not supported."""
        return all(each.verdict is not Verdict.UNSUPPORTED for each in self.entries)

    def module(self) -> Module:
        """Return the module of all functions that can move."""
        compiled = [move.compiled for move in self.moves]
        remarks = [
            f"{entry.name}: {note.difference}: {note.text}"
            for entry in self.functions
            for note in entry.notes
        ]
        return module_to_paste(
            [each for each in compiled if isinstance(each, ProxyFunction)],
            [each for each in compiled if isinstance(each, DeclarationError)],
            remarks,
        )


def make_moves(
    home: HomeDatabase, hashes: Mapping[str, HashFunction]
) -> tuple[Move, ...]:
    """Return all functions of the language, compiled. ``hashes``: Python versions."""
    catalog = Catalog(hashes)
    return tuple(
        Move(found, _compiled(catalog, found.reflected))
        for found in read_functions(home)
    )


def _compiled(
    catalog: Catalog, reflected: Reflected | DeclarationError
) -> ProxyFunction | DeclarationError:
    if isinstance(reflected, DeclarationError):
        return reflected
    try:
        function = catalog.compile(
            reflected.signature, reflected.body, reflected.strict, reflected.columns
        )
    except DeclarationError as error:
        return error
    # The catalog has said what is a row type: no other is.
    return dataclasses.replace(function, row_type=None)


def make_report(home: HomeDatabase, hashes: Mapping[str, HashFunction]) -> Report:
    """Look at a PL/Proxy database. Raise `ConfigError` if it is none."""
    with home.snapshot():
        moves = make_moves(home, hashes)
        callers, searched = _callers(home, [move.found for move in moves])
        loaded, cluster_entries = load_clusters(home, moves)
        lost = {
            each.name: each.notes[0].text
            for each in cluster_entries
            if each.name not in loaded
        }
        around = _surroundings(home, moves, callers, hashes, lost)
        entries = [_function(move, around) for move in moves]
        entries += _caller_entries(callers, moves)
    return Report((*entries, *cluster_entries), moves, loaded, searched)


Callers = Mapping[str, tuple[set[int], str]]
"""By title: the oids of the functions that it calls, and how that is known."""


def _callers(home: HomeDatabase, found: Sequence[Found]) -> tuple[Callers, int]:
    callers: dict[str, tuple[set[int], str]] = {}
    for oid, title in read_dependents(home, found):
        callers.setdefault(title, (set(), "as the catalog says"))[0].add(oid)
    texts, searched = read_texts(home, (each.name for each in found))
    for text in texts:
        called = {each.oid for each in called_by(text, found)}
        if called and text.title not in callers:
            how = "by its text"
            if text.triggers:
                how += f"; called by {', '.join(text.triggers)}"
            callers[text.title] = (called, how)
    return callers, searched


def _caller_entries(callers: Callers, moves: Iterable[Move]) -> list[Entry]:
    titles = {move.found.oid: title_of(move.found) for move in moves}
    return [
        Entry(
            "caller",
            title,
            (
                Note(
                    Difference.IN_THE_APPLICATION,
                    f"calls {', '.join(sorted(titles[oid] for oid in oids))} in SQL "
                    f"({how}): it needs PL/Proxy, or moves to the application",
                    is_obstacle=True,
                ),
            ),
        )
        for title, (oids, how) in sorted(callers.items())
    ]


def _surroundings(
    home: HomeDatabase,
    moves: Sequence[Move],
    callers: Callers,
    hashes: Mapping[str, HashFunction],
    lost: Mapping[str, str],
) -> Surroundings:
    by_oid: dict[int, list[str]] = {}
    for title, (oids, _) in sorted(callers.items()):
        for oid in oids:
            by_oid.setdefault(oid, []).append(title)
    names = {
        call.name
        for move in moves
        if isinstance(move.compiled, ProxyFunction)
        for expression in expressions(move.compiled).values()
        for call in calls_of(expression)
    }
    return Surroundings(
        home.is_utf8,
        read_named(home, names),
        by_oid,
        {move.found.name: move.found for move in moves},
        frozenset(name.lower() for name in hashes),
        lost,
        home.fault,
    )


def _function(move: Move, around: Surroundings) -> Entry:
    found, compiled = move.found, move.compiled
    kind = "procedure" if found.is_procedure else "function"
    if isinstance(compiled, DeclarationError):
        return Entry(kind, title_of(found), (refused(compiled),), found.execute)
    notes = tuple(notes_of(found, compiled, around))
    is_secret = compiled.body.connect is not None
    paste = text_to_paste(found, compiled, is_secret=is_secret)
    return Entry(kind, compiled.signature.key, notes, found.execute, paste)


def load_clusters(
    home: HomeDatabase, moves: Iterable[Move]
) -> tuple[dict[str, ClusterConfig], list[Entry]]:
    """Return the clusters that functions and foreign servers name, as far as possible.

    Also a line of the report for each.
    """
    servers = read_servers(home)
    names = {
        move.compiled.cluster
        for move in moves
        if isinstance(move.compiled, ProxyFunction)
        and isinstance(move.compiled.cluster, str)
    }
    names.update(clusters.server_names(servers))
    found: dict[str, ClusterConfig] = {}
    entries = []
    for name in sorted(names):
        config, notes = clusters.load(home, name, servers)
        if config is not None:
            found[name] = config
        entries.append(Entry("cluster", name, tuple(notes)))
    return found, entries
