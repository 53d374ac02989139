"""A function's statements in the words of its declaration."""

from __future__ import annotations

from plproxy_py.config import parse_connstr
from plproxy_py.errors import ConfigError, scrubbed
from plproxy_py.function import ProxyFunction
from plproxy_py.language.body import ArgumentValue, Cluster, Connect, Expression, RunAny
from plproxy_py.tagging import RunHash

_PYTHON = "(a Python function)"


def cluster_text(function: ProxyFunction) -> str:
    """Return what stands behind CLUSTER, or CONNECT's connect string, redacted."""
    if isinstance(function.cluster, str):
        return scrubbed(function.cluster)
    if isinstance(function.connect, str):
        try:
            return f"CONNECT {parse_connstr(function.connect).redacted}"
        except ConfigError:
            return "CONNECT (no connect string)"
    prefix = ""
    value: Connect | Cluster | None = function.body.cluster
    if function.connect is not None:
        prefix, value = "CONNECT ", function.body.connect
    if isinstance(value, Expression):
        return prefix + _expression_text(function, value)
    if isinstance(value, ArgumentValue):
        return prefix + (function.names[value.index] or str(value))
    return prefix + _PYTHON


def run_on_text(function: ProxyFunction) -> str:
    """Return what stands behind RUN ON, with the arguments' names."""
    run_on = function.body.run_on
    if isinstance(run_on, RunAny) and isinstance(function.run_on, RunHash):
        return _PYTHON
    if isinstance(run_on, Expression):
        return _expression_text(function, run_on)
    return str(run_on)


def _expression_text(function: ProxyFunction, expression: Expression) -> str:
    names = function.names
    return expression.sql(lambda index: names[index] or f"${index + 1}")
