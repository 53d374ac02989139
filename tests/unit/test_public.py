"""What users import: complete, documented, and the same in both routers."""

from __future__ import annotations

import ast
import inspect
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import plproxy_py
from plproxy_py import (
    AsyncProxyCall,
    AsyncRouter,
    AsyncStreamCall,
    ProxyCall,
    Router,
    StreamCall,
    errors,
)
from plproxy_py._handles import METHODS, _AsyncHandle

ROOT = Path(__file__).parents[2]
PACKAGE = Path(plproxy_py.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
CHANGELOG = ROOT / "CHANGELOG.md"
EXPORTS = {name: getattr(plproxy_py, name) for name in plproxy_py.__all__}


def public(cls: type[Any]) -> dict[str, Any]:
    """Return what a class offers, without what every object has."""
    return {
        name: inspect.getattr_static(cls, name)
        for name in dir(cls)
        if not name.startswith("_")
    }


def test_all_is_sorted_and_complete() -> None:
    assert plproxy_py.__all__ == sorted(plproxy_py.__all__)
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(plproxy_py.__all__) == imported


def test_the_whole_error_tree_is_exported() -> None:
    tree = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.Error)
    }
    assert tree <= set(plproxy_py.__all__)


def test_exports_come_from_the_package() -> None:
    for name, value in EXPORTS.items():
        if isinstance(value, type):
            assert (value.__module__, value.__name__) == ("plproxy_py", name)


def test_one_version() -> None:
    assert plproxy_py.__version__ == metadata.version("plproxy-py")
    latest = re.search(
        r"^## \[?(\d+\.\d+\.\d+)\]?", CHANGELOG.read_text(), re.MULTILINE
    )
    assert latest is not None
    assert latest[1] == plproxy_py.__version__


def test_both_routers_have_the_same_names() -> None:
    both = {"__enter__", "__exit__"}, {"__aenter__", "__aexit__"}
    assert set(public(Router)) == set(public(AsyncRouter))
    for router, context in zip((Router, AsyncRouter), both, strict=True):
        assert context <= set(dir(router))


# What may do I/O is awaited, `connection` by `async with`; the rest is plain in both.
AWAITED = {"call", "execute", "ping", "reflect", "close"}


@pytest.mark.parametrize("name", [*public(Router), "__init__"])
def test_both_routers_have_the_same_signatures(name: str) -> None:
    plain, awaited = (
        inspect.getattr_static(router, name) for router in (Router, AsyncRouter)
    )
    assert type(plain) is type(awaited)
    if isinstance(plain, property):
        plain, awaited = plain.fget, awaited.fget
    if isinstance(plain, classmethod):
        plain, awaited = plain.__func__, awaited.__func__
    if not callable(plain):
        return
    assert _without_async(awaited) == _without_async(plain)
    assert not inspect.iscoroutinefunction(plain)
    assert inspect.iscoroutinefunction(awaited) == (name in AWAITED)


def test_both_kinds_of_calls_have_the_same_methods() -> None:
    assert set(public(ProxyCall)) == set(public(AsyncProxyCall)) == set(METHODS)
    assert set(public(StreamCall)) == set(public(AsyncStreamCall)) <= set(METHODS)
    awaited = {
        name
        for name in METHODS
        if inspect.iscoroutinefunction(getattr(_AsyncHandle, name))
    }
    assert awaited == {"plan", "call_outcomes", "call_many", "call_each"}


def _without_async(function: Any) -> inspect.Signature:
    signature = inspect.signature(function)
    returns = str(signature.return_annotation).replace("Async", "")
    return signature.replace(return_annotation=returns)


def test_exports_are_documented() -> None:
    bare = [name for name, value in EXPORTS.items() if not inspect.getdoc(value)]
    for name, value in EXPORTS.items():
        if isinstance(value, type):
            bare += [
                f"{name}.{member}"
                for member, found in public(value).items()
                if callable(found) or isinstance(found, (property, classmethod))
                if not inspect.getdoc(getattr(value, member))
            ]
    assert bare == []


def test_public_names_are_documented() -> None:
    bare = []
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = path.relative_to(PACKAGE)
        nodes: list[Any] = [tree]
        if not path.name.startswith("_") and place.parts[0] not in ("cli", "demo.py"):
            nodes += [node for node in tree.body if _is_public(node)]
        bare += [
            (place.as_posix(), getattr(node, "name", "the module"))
            for node in nodes
            if not ast.get_docstring(node)
        ]
    assert bare == []


def _is_public(node: ast.AST) -> bool:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, kinds) and not node.name.startswith("_")


def test_no_file_is_long() -> None:
    """A file over 400 lines is split by subject before it grows."""
    lengths = {path.name: path.read_bytes().count(b"\n") for path in FILES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
