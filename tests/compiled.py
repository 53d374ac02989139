"""Compiled functions for tests of the pure floors: no router, no server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plproxy_py.compiler import compile_function
from plproxy_py.config import cluster_config
from plproxy_py.function import ProxyFunction
from plproxy_py.hints import read_hints
from plproxy_py.language.parser import parse_body
from plproxy_py.signature import parse_signature

FOUR = cluster_config("userdb", [f"dbname=part{n}" for n in range(4)])
CLUSTER = "CLUSTER 'userdb'; "


def define(head: str, body: str = CLUSTER, **options: Any) -> ProxyFunction:
    """Compile a function; ``head`` without RETURNS is one of void."""
    if "returns" not in head and "out " not in head:
        head += " returns void"
    signature = parse_signature(head)
    names = [argument.name for argument in signature.inputs]
    arrays = [argument.type.is_array for argument in signature.inputs]
    options.setdefault("registered", {})
    return compile_function(signature, parse_body(body, names, arrays), **options)


def with_hints(
    function: Callable[..., Any], head: str, **options: Any
) -> ProxyFunction:
    """Compile a function under the hints of a Python one."""
    return define(head, hints=read_hints(function, {}, typed=False), **options)


def pick(count: int) -> int:
    """Choose partition 1, always."""
    return 1
