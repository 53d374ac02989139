"""The declared calls, prepared before and after the statements of a deploy.

What a caller sends may fail though no function was touched: a second function of the
same name makes it ambiguous. Only what worked before and would fail now counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from plproxy_py._router_base import RouterBase
from plproxy_py.errors import ConfigError
from plproxy_py.function import ProxyFunction
from plproxy_py.ops.preparing import prepared
from plproxy_py.ops.sessions import Session


@dataclass(frozen=True, eq=False)
class Call:
    """A function that is called, and the file that says so, if it is not ours."""

    function: ProxyFunction
    file: str | None = None

    def broken(self, error: psycopg.Error) -> str:
        """Say that it fails, and why."""
        of = f" of {self.file}" if self.file else ""
        name = self.function.signature.key
        return f"{name}{of}: {error.sqlstate} {error.diag.message_primary}"


def declared_calls(
    router: RouterBase,
    cluster: str,
    functions: Iterable[ProxyFunction],
    old_files: Iterable[Path] = (),
) -> list[Call]:
    """Return the calls that go to a cluster: ours, and those that files declare.

    Raise `ConfigError` for a file that declares none.
    """
    calls = [Call(function) for function in functions if function.cluster == cluster]
    for path in old_files:
        # Compiled with the router's hash functions, and not declared: the functions
        # of an older version have the names of ours.
        read = router._catalog.read_file(path)
        old = [Call(found, path.name) for found in read if found.cluster == cluster]
        if not old:
            raise ConfigError(f"{path}: declares no function of cluster {cluster!r}")
        calls += old
    return calls


Broken = Mapping[Call, psycopg.Error]


async def broken_calls(connection: Session, calls: Sequence[Call]) -> Broken:
    """Return the calls that the server would refuse. In a transaction or not."""
    by_function = {id(call.function): call for call in calls}
    found = await prepared(connection, [call.function for call in calls])
    return {by_function[id(function)]: error for function, error in found}


def newly_broken(before: Broken, after: Broken) -> Broken:
    """Return what broke in between."""
    return {call: error for call, error in after.items() if call not in before}
