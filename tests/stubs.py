"""Modules of compiled functions, imported without a file, and what they declare."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from plproxy_py.function import HomeDefault, ProxyFunction
from plproxy_py.stubs.module import Module, write_module

COMMAND = "plproxy --home CONNSTR stubs"


def write(*functions: ProxyFunction, **options: Any) -> Module:
    return write_module(functions, command=COMMAND, **options)


def run(module: Module) -> dict[str, Any]:
    """Import a module, as it were; return its names."""
    namespace: dict[str, Any] = {"__name__": "made"}
    exec(compile(module.text, "made.py", "exec", dont_inherit=True), namespace)
    return namespace


def face(*functions: ProxyFunction) -> str:
    """Return the last function's def as one line."""
    made = write(*functions)
    assert made.unwritten == ()
    run(made)
    tree = ast.parse(made.text)
    defs = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    defs[-1].decorator_list = []
    return ast.unparse(defs[-1]).split("\n")[0].removeprefix("def ").removesuffix(":")


def assert_same(made: ProxyFunction, wanted: ProxyFunction) -> None:
    """Hold a function to the one that its declaration was written for."""
    assert made.signature.key == wanted.signature.key
    assert made.signature.setof == wanted.signature.setof
    assert made.query == wanted.query
    assert made.body == wanted.body
    assert made.split == wanted.split
    assert made.strict == wanted.strict
    assert isinstance(made.run_on, type(wanted.run_on))
    assert made.defaults.keys() == wanted.defaults.keys()
    for index, default in wanted.defaults.items():
        if isinstance(default, HomeDefault):
            assert made.defaults[index] == default
    constants = [not isinstance(each, HomeDefault) for each in wanted.defaults.values()]
    if all(constants) and len(constants) == len(wanted.names):
        assert made.arguments([], {}) == wanted.arguments([], {})


def check(module: Module, functions: Sequence[ProxyFunction]) -> dict[str, Any]:
    """Run a module; what it declares is exactly these functions."""
    names = run(module)
    declared = names["router"].functions
    assert declared.keys() == {each.signature.key for each in functions}
    for function in functions:
        assert_same(declared[function.signature.key].definition, function)
    return names
