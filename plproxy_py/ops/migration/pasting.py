"""What to paste into an application in the place of a PL/Proxy function."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from plproxy_py.errors import DeclarationError
from plproxy_py.function import ProxyFunction
from plproxy_py.language.create import read_functions
from plproxy_py.ops.migration.catalog import Found
from plproxy_py.stubs.literals import block, comment
from plproxy_py.stubs.module import Module, write_module

COMMAND = "plproxy migrate-report HOME --paste"
_ROUTER = "router"


def text_to_paste(found: Found, function: ProxyFunction, *, is_secret: bool) -> str:
    """Return a declaration for a module that has a ``router``, with its imports.

    A decorated def where there can be one, else `define` with the database's own text.
    ``is_secret``: that text holds a password, and "" is returned.
    """
    module = write_module([function], command=COMMAND, router=_ROUTER)
    if not module.unwritten:
        return _without_head(module.text)
    if is_secret or not _is_readable(found.definition):
        return ""
    return f"{_ROUTER}.define({block(found.definition.rstrip())})\n"


def module_to_paste(
    functions: Iterable[ProxyFunction],
    refused: Iterable[DeclarationError],
    remarks: Iterable[str],
) -> Module:
    """Return a whole module, its remarks at the end."""
    module = write_module(functions, refused, command=COMMAND, router=_ROUTER)
    lines = "\n".join(map(comment, remarks))
    text = module.text + (lines and f"\n\n# Differences from PL/Proxy:\n{lines}\n")
    return Module(text, module.unwritten)


def _is_readable(definition: str) -> bool:
    try:
        return len(read_functions(definition)) == 1
    except DeclarationError:
        return False


def _without_head(text: str) -> str:
    """Return a module's text without docstring and router, which one has already."""
    lines = text.splitlines(keepends=True)
    kept = lines.copy()
    for node in ast.parse(text).body:
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        is_docstring = isinstance(node, ast.Expr) and isinstance(
            node.value, ast.Constant
        )
        is_router = isinstance(node, ast.Assign) and ast.unparse(node).startswith(
            f"{_ROUTER} = "
        )
        if is_docstring or is_router:
            kept[first:last] = [""] * (last - first)
        elif isinstance(node, ast.ImportFrom) and node.module == "plproxy_py":
            names = [
                f"{each.name} as {each.asname}" if each.asname else each.name
                for each in node.names
                if each.name != "Router"
            ]
            line = f"from plproxy_py import {', '.join(names)}\n" if names else ""
            kept[first:last] = [line, *[""] * (last - first - 1)]
    # As between the parts of the module.
    return re.sub("\n{4,}", "\n\n\n", "".join(kept).strip()) + "\n"
