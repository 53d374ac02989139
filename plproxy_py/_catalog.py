"""The functions a router knows, found as SQL names them.

Keys are ``schema.name(argtypes)``; a later declaration of the same key replaces the
earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plproxy_py.config import nearest
from plproxy_py.errors import ConfigError, DeclarationError, SignatureError
from plproxy_py.function import ProxyFunction, compile_error, compile_function
from plproxy_py.language.create import CreateFunction, read_functions
from plproxy_py.language.parser import parse_body
from plproxy_py.signature import Signature, parse_signature


class Catalog:
    """Compiled functions by key, and the Python hash functions they may name."""

    def __init__(self, hashes: Mapping[str, Callable[..., Any]]) -> None:
        # As SQL folds names that stand without quotes.
        self.hashes = {name.lower(): function for name, function in hashes.items()}
        self.functions: dict[str, ProxyFunction] = {}

    def add(self, function: ProxyFunction) -> None:
        """Declare a function, in place of an earlier one of its key."""
        self.functions[function.signature.key] = function

    def define(self, text: str) -> list[ProxyFunction]:
        """Compile every function of a SQL text; declare all of them or none."""
        functions = [self._compile(found) for found in read_functions(text)]
        for function in functions:
            self.add(function)
        return functions

    def load(self, path: Path) -> list[ProxyFunction]:
        """Compile every function of a SQL file. Errors name the file."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{path}: can't be read: {reason}") from None
        try:
            return self.define(text)
        except DeclarationError as error:
            error.args = (f"{path}: {error}",)
            raise

    def _compile(self, found: CreateFunction) -> ProxyFunction:
        signature = found.signature
        names = [argument.name for argument in signature.inputs]
        arrays = [argument.type.is_array for argument in signature.inputs]
        try:
            body = parse_body(found.body, names, arrays)
        except DeclarationError as error:
            raise compile_error(error, signature.label) from None
        return compile_function(
            signature, body, registered=self.hashes, strict=found.strict
        )

    def find(self, name: str) -> ProxyFunction:
        """Return the function called ``name``, ``schema.name`` or ``name(argtypes)``.

        Raise `SignatureError` 42883 where there is none, 42725 where there are several.
        """
        with_types = name.rstrip().endswith(")")
        wanted = parse_signature(name if with_types else f"{name}()", schema="")
        found = list(self._matching(wanted, with_types))
        if not found:
            names = {function.signature.name for function in self.functions.values()}
            raise SignatureError(
                f"no function {name} is declared{nearest(wanted.name, names)}",
                sqlstate="42883",
            )
        if len(found) > 1:
            keys = ", ".join(function.signature.key for function in found)
            raise SignatureError(
                f"function {name} is overloaded, say which: {keys}", sqlstate="42725"
            )
        return found[0]

    def _matching(self, wanted: Signature, with_types: bool) -> Iterator[ProxyFunction]:
        for function in self.functions.values():
            signature = function.signature
            if (
                signature.name == wanted.name
                and wanted.schema in ("", signature.schema)
                and (not with_types or _types(signature) == _types(wanted))
            ):
                yield function


def _types(signature: Signature) -> list[str]:
    return [argument.type.cast for argument in signature.inputs]
