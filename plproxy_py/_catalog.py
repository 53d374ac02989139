"""The functions a router knows, found as SQL names them.

Keys are ``schema.name(argtypes)``; a later declaration of the same key replaces the
earlier one. What a file or a database defines is an `Entry` whose function changes when
the definition does: callables that were handed out follow it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plproxy_py.compiler import compile_error, compile_function
from plproxy_py.errors import ConfigError, DeclarationError, SignatureError, nearest
from plproxy_py.function import ProxyFunction
from plproxy_py.hints import Hints
from plproxy_py.language.create import read_functions
from plproxy_py.language.parser import parse_body
from plproxy_py.signature import Columns, Signature, parse_signature


class Entry:
    """A declared function.

    ``wraps``: the Python function that it was made of; ``hints``: of a typed face.
    """

    __slots__ = ("function", "gone", "hints", "wraps")

    def __init__(
        self,
        function: ProxyFunction,
        hints: Hints | None = None,
        wraps: Callable[..., Any] | None = None,
    ) -> None:
        self.function = function
        self.hints = hints
        self.wraps = wraps
        self.gone = False

    def current(self) -> ProxyFunction:
        """Return the function. Raise `SignatureError` if its definition was dropped."""
        if self.gone:
            raise SignatureError(
                f"{self.function.label} is not defined any longer", sqlstate="42883"
            )
        return self.function


class _Origin:
    """What one file or database defines: each key's own entry, and faces before it.

    ``dropped``: the same of definitions that went; handles live on when they come back.
    """

    __slots__ = ("defined", "dropped")

    def __init__(self) -> None:
        self.defined: dict[str, list[Entry]] = {}
        self.dropped: dict[str, list[Entry]] = {}


class Catalog:
    """Compiled functions by key, and the Python hash functions they may name."""

    def __init__(self, hashes: Mapping[str, Callable[..., Any]]) -> None:
        # As SQL folds names that stand without quotes.
        self.hashes = {name.lower(): function for name, function in hashes.items()}
        self.entries: dict[str, Entry] = {}
        self.homeless = False
        self._origins: dict[str, _Origin] = {}

    def refuse_home(self) -> None:
        """Say that there is no home database, for functions here and to come.

        Raise the `UnsupportedError` of the first one that needs it.
        """
        self.homeless = True
        for entry in self.entries.values():
            self._check_home(entry.function)

    def _check_home(self, function: ProxyFunction) -> None:
        if self.homeless and function.needs_home is not None:
            raise copy.copy(function.needs_home)

    def add(
        self,
        function: ProxyFunction,
        hints: Hints | None = None,
        wraps: Callable[..., Any] | None = None,
    ) -> Entry:
        """Declare a function, in place of an earlier one of its key."""
        self._check_home(function)
        key = function.signature.key
        before, entry = self.entries.get(key), Entry(function, hints, wraps)
        self.entries[key] = entry
        for origin in self._origins.values():
            if hints is None:
                origin.defined.pop(key, None)
            elif before in origin.defined.get(key, ()):
                origin.defined[key].append(entry)
        return entry

    def define(self, text: str) -> list[Entry]:
        """Compile every function of a SQL text; declare all of them or none."""
        functions = self.read(text)
        for function in functions:
            self._check_home(function)
        return [self.add(function) for function in functions]

    def load(self, path: Path) -> list[Entry]:
        """Compile every function of a SQL file. Errors name the file."""
        functions = self.read_file(path)
        for function in functions:
            self._check_home(function)
        return [self.add(function) for function in functions]

    def read(self, text: str) -> list[ProxyFunction]:
        """Compile every function of a SQL text, without declaring it."""
        return [
            self.compile(found.signature, found.body, found.strict)
            for found in read_functions(text)
        ]

    def read_file(self, path: Path) -> list[ProxyFunction]:
        """Compile every function of a SQL file, without declaring it."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{path}: can't be read: {reason}") from None
        try:
            return self.read(text)
        except DeclarationError as error:
            error.args = (f"{path}: {error}",)
            raise

    def compile(
        self,
        signature: Signature,
        text: str,
        strict: bool = False,
        columns: Columns = (),
    ) -> ProxyFunction:
        """Compile a body's text. ``columns``: of a composite result."""
        names = [argument.name for argument in signature.inputs]
        arrays = [argument.type.is_array for argument in signature.inputs]
        try:
            body = parse_body(text, names, arrays)
        except DeclarationError as error:
            raise compile_error(error, signature.label) from None
        return compile_function(
            signature, body, registered=self.hashes, strict=strict, columns=columns
        )

    def replace(
        self, origin_name: str, functions: Iterable[ProxyFunction]
    ) -> list[Entry]:
        """Take an origin's new set of definitions, in place of its last one.

        Faces are compiled anew with theirs. All of it is done, or nothing. Raise a
        `DeclarationError` for what does not fit.
        """
        origin = self._origins.setdefault(origin_name, _Origin())
        known = origin.dropped | origin.defined
        changes: list[tuple[Entry, ProxyFunction]] = []
        defined: dict[str, list[Entry]] = {}
        for function in functions:
            self._check_home(function)
            key = function.signature.key
            defined[key] = known.get(key) or [Entry(function)]
            for entry in defined[key]:
                hints = entry.hints
                compiled = self.face(function, hints) if hints else function
                changes.append((entry, compiled))
        # Nothing can fail from here on.
        for entry, function in changes:
            entry.function = function
            entry.gone = False
        origin.dropped = {
            key: entries for key, entries in known.items() if key not in defined
        }
        for key in origin.defined.keys() - defined.keys():
            for entry in origin.defined[key]:
                entry.gone = True
            if self.entries.get(key) in origin.defined[key]:
                del self.entries[key]
        for key, entries in defined.items():
            if key not in origin.defined:
                self.entries[key] = entries[-1]
        origin.defined = defined
        return [entries[0] for entries in defined.values()]

    def face(self, found: ProxyFunction, hints: Hints) -> ProxyFunction:
        """Compile a declared function once more, under a Python function's hints."""
        function = compile_function(
            found.signature,
            found.body,
            registered=self.hashes,
            hints=hints,
            strict=found.strict,
            columns=found.columns,
            options=found.options,
            clauses=found.clauses,
        )
        # A callable's are not in the body.
        return dataclasses.replace(
            function,
            run_on=found.run_on,
            cluster=found.cluster,
            connect=found.connect,
        )

    def describe(self, function: ProxyFunction, columns: Columns) -> ProxyFunction:
        """Compile a declared function once more, its row type's columns known."""
        return compile_function(
            function.signature,
            function.body,
            registered=self.hashes,
            strict=function.strict,
            columns=columns,
            options=function.options,
        )

    def find(self, name: str) -> Entry:
        """Return the function called ``name``, ``schema.name`` or ``name(argtypes)``.

        Raise `SignatureError` 42883 where there is none, 42725 where there are several.
        """
        with_types = name.rstrip().endswith(")")
        wanted = parse_signature(name if with_types else f"{name}()", schema="")
        found = list(self._matching(wanted, with_types))
        if not found:
            entries = list(self.entries.values())
            names = {entry.function.signature.name for entry in entries}
            raise SignatureError(
                f"no function {name} is declared{nearest(wanted.name, names)}",
                sqlstate="42883",
            )
        if len(found) > 1:
            keys = ", ".join(entry.function.signature.key for entry in found)
            raise SignatureError(
                f"function {name} is overloaded, say which: {keys}", sqlstate="42725"
            )
        return found[0]

    def _matching(self, wanted: Signature, with_types: bool) -> Iterator[Entry]:
        # Another thread may declare a function meanwhile.
        for entry in list(self.entries.values()):
            signature = entry.function.signature
            if (
                signature.name == wanted.name
                and wanted.schema in ("", signature.schema)
                and (not with_types or _types(signature) == _types(wanted))
            ):
                yield entry


def _types(signature: Signature) -> list[str]:
    return [argument.type.cast for argument in signature.inputs]
