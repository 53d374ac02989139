"""Clusters from Python values: ``{"userdb": [connstrs]}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plproxy_py.config import ClusterConfig, Partition, cluster_config, parse_connstr
from plproxy_py.errors import ConfigError


def from_mapping(
    clusters: Mapping[str, Any], *, substitute: Callable[[str], str] = str
) -> dict[str, ClusterConfig]:
    """Return the clusters of a mapping from name to connstrs or a table of options.

    Raise `ConfigError`, or `PartitionCountError`, naming cluster and key.
    """
    for name, definition in clusters.items():
        if not isinstance(name, str):
            raise ConfigError(f"a cluster's name is a text, not {name!r}")
        if not isinstance(definition, (Mapping, list, tuple)):
            raise ConfigError(
                f"cluster {name!r}: a list of connect strings or a table of options "
                "is needed",
                cluster=name,
            )
    return {
        name: cluster_config(name, definition, substitute=substitute)
        for name, definition in clusters.items()
    }


def private_cluster(
    connstr: str,
    *,
    user: str | None = None,
    substitute: Callable[[str], str] = str,
) -> ClusterConfig:
    """Return a cluster of one partition: what CONNECT names, or the home database.

    ``user``: for a connect string that names none.
    """
    under = {} if user is None else {"user": user}
    target = parse_connstr(connstr, under=under, substitute=substitute)
    return ClusterConfig("", (Partition(0, (target,)),))
