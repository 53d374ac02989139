"""The configuration in force as rows: each option, its value, and who said so."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from plproxy_py._router_base import RouterBase
from plproxy_py.config import CONNECTION_DEFAULTS, ClusterConfig
from plproxy_py.ops.configuration.comparing import OPTIONS
from plproxy_py.ops.configuration.reading import Configuration, Defined
from plproxy_py.ops.numbers import spans


@dataclass(frozen=True, slots=True)
class Setting:
    """One option. ``cluster``: None for what concerns all. ``source``: None if default.

    ``value``: None for none, without end, or libpq's own.
    """

    cluster: str | None
    option: str
    value: object
    state: str
    source: str | None


def _setting(
    cluster: str | None, option: str, value: object, source: str | None
) -> Setting:
    state = "default" if source is None else "set"
    return Setting(cluster, option, value, state, source)


def shown(configuration: Configuration) -> Iterator[Setting]:
    """Yield what is in force, cluster by cluster."""
    home, source = configuration.home, configuration.source
    said = None if home is None else source
    yield _setting(None, "home", None if home is None else home.redacted, said)
    functions = ", ".join(configuration.functions) or None
    yield _setting(None, "functions", functions, source if functions else None)
    for defined in configuration.clusters.values():
        yield from _of_cluster(defined)


def _of_cluster(defined: Defined) -> Iterator[Setting]:
    config = defined.config
    for partition in config.partitions:
        subject, text = f"partition {partition.number}", partition.target.redacted
        yield _setting(config.name, subject, text, defined.origin)
    for option in OPTIONS:
        value, said = getattr(config, option), defined.said.get(option)
        yield _setting(config.name, option, value, said)
    for keyword, default in CONNECTION_DEFAULTS.items():
        values = _by_partition(config, keyword)
        if values is None:
            yield _setting(config.name, f"connection.{keyword}", default, None)
        else:
            option = f"connection.{keyword}"
            yield _setting(config.name, option, values, defined.origin)


def _by_partition(config: ClusterConfig, keyword: str) -> str | None:
    """Return what partitions say, by number if not all the same; None if nothing."""
    numbers: dict[str, list[int]] = {}
    said = False
    for partition in config.partitions:
        value = partition.target.keywords()[keyword]
        said = said or keyword in dict(partition.target.parameters)
        numbers.setdefault(value, []).append(partition.number)
    if not said:
        return None
    if len(numbers) == 1:
        return next(iter(numbers))
    return "; ".join(f"{spans(found)}: {value}" for value, found in numbers.items())


def router_settings(router: RouterBase, source: str) -> Iterator[Setting]:
    """Yield what an application gave its router beside clusters."""
    # Only an application knows them, and its router has no public names for them.
    pools = router._pools
    in_force = {
        "pool_size": pools._size,
        "max_waiting": pools._max_waiting,
        "max_connections_per_server": pools._servers.most,
        "application_name": pools.connector._application_name,
    }
    defaults = inspect.signature(RouterBase.__init__).parameters
    for option, value in in_force.items():
        is_default = value == defaults[option].default
        yield _setting(None, option, value, None if is_default else source)
