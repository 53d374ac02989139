"""Clusters from a PL/Proxy database: which questions to ask, and what rows mean.

Interface: `cluster_question` begins the load of one cluster; one to three questions
later the answer is a `Loaded`, whose ``check`` is the one cheap question that tells
whether the definition is still the same (True) or has to be loaded anew (False):

    loaded = ask(cluster_question("userdb"))    # Loaded, or ConfigError
    ask(loaded.check)                           # bool; may be asked any number of times

A foreign server of the cluster's name comes first, of whatever wrapper, else the three
functions plproxy.get_cluster_version, _config and _partitions. Rights are looked at in
every load and in every check. Knows no connection and no pool; errors that the server
raises, the version function's own among them, are its caller's to pass on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plproxy_py.config import ClusterConfig
from plproxy_py.sources.question import Question


@dataclass(frozen=True, slots=True)
class Loaded:
    """A cluster as the database defines it.

    ``version`` is for people: the functions' version, or a digest of what the foreign
    server says, passwords left out. ``is_server``: it comes from SQL/MED. ``ignored``
    names the options that were given and have no effect here. ``check`` answers True
    while the definition is the same, whatever the direction of a change.
    """

    config: ClusterConfig
    version: str
    is_server: bool
    check: Question[bool] = field(repr=False)
    ignored: tuple[str, ...] = ()


def cluster_question(name: str) -> Question[Loaded]:
    """Return the first question of a cluster's load.

    Its answers raise `NoSuchCluster` if no source defines the cluster; `ConfigError`
    42501 without USAGE on the foreign server, or if its PUBLIC user mapping can't be
    read (``sql/user_mapping.sql`` lets it); 42704 without a user mapping; otherwise
    `ConfigError` or `PartitionCountError` for what is wrong in the definition.
    """
    raise NotImplementedError
