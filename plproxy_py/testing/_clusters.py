"""Which clusters a fake has, and how they stand in for a router's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from plproxy_py import sources
from plproxy_py._pools import Wired
from plproxy_py._router_base import RouterBase
from plproxy_py.config import ClusterConfig, Target
from plproxy_py.errors import ConfigError, NoSuchCluster, nearest
from plproxy_py.function import Named
from plproxy_py.testing._scripts import HOME, Place


@dataclass(frozen=True, slots=True)
class Outline:
    """A cluster without its servers.

    ``targets``: for each partition the first one with its target, and its label;
    ``options``: all but the partitions, as `RouterBase.configure` takes them.
    """

    targets: tuple[tuple[int, str], ...]
    options: Mapping[str, Any]


def given_outline(name: str, given: int | Mapping[str, Any]) -> Outline:
    """Return what a test says of a cluster. Raise `ConfigError`."""
    options = dict(given) if isinstance(given, Mapping) else {"partitions": given}
    count = options.pop("partitions", None)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ConfigError(
            f"cluster {name!r}: partitions is the number of them, not {count!r}"
        )
    targets = tuple((number, f"{name}{number:02}") for number in range(count))
    return Outline(targets, options)


def like(config: ClusterConfig) -> Outline:
    """Return the outline of a cluster that is configured."""
    first: dict[Any, int] = {}
    targets = tuple(
        (first.setdefault(each.target, each.number), each.target.label)
        for each in config.partitions
    )
    options: dict[str, Any] = {
        "connection_lifetime": config.connection_lifetime or 0,
        "query_timeout": config.query_timeout or 0,
        "modular_mapping": config.modular_mapping,
        "pooler": config.pooler,
    }
    if config.timezone is not None:
        options["timezone"] = config.timezone
    return Outline(targets, options)


def places(
    outlines: Mapping[str, Outline], cluster: str | None, partition: int | None
) -> list[Place]:
    """Return the partitions that are meant, None for all.

    Raise `NoSuchCluster`, or ValueError for a number that none has.
    """
    if cluster is not None and cluster not in outlines:
        hint = nearest(cluster, outlines)
        raise NoSuchCluster(f"cluster not found: {cluster}{hint}", cluster=cluster)
    found = [
        Place(name, number)
        for name in (outlines if cluster is None else [cluster])
        for number, _ in outlines[name].targets
        if partition in (None, number)
    ]
    if not found:
        raise ValueError(f"there is no partition {partition!r}")
    return list(dict.fromkeys(found))


@contextmanager
def installed(
    router: RouterBase,
    outlines: Mapping[str, Outline],
    connstr: Callable[[Place, str], str],
) -> Iterator[None]:
    """Put these clusters in force, and a home database if the router has one.

    ``connstr`` leads to a place, under a label. CONNECT leads to places as well, whose
    cluster is the connect string without its password. Behind the block those that were
    in force before are again.
    """
    mapping = {
        name: {
            **outline.options,
            "partitions": [
                connstr(Place(name, number), label) for number, label in outline.targets
            ],
        }
        for name, outline in outlines.items()
    }
    preparer, routing, catalog = router._preparer, router._routing, router._catalog
    clusters, configs = preparer.clusters, router.clusters
    home, homeless, reflected = routing.home, catalog.homeless, preparer.reflected
    connects: dict[Target, Wired] = {}
    connect = routing._connect

    def connect_here(text: str, named: Named) -> Wired:
        # The router's own way says what may be reached, and opens nothing yet.
        target = connect(text, named).config.target(0)
        if target not in connects:
            place = Place(target.redacted, 0)
            fake = sources.private_cluster(connstr(place, target.label))
            connects[target] = router._pools.wire(fake)
        return connects[target]

    routing._connect = connect_here  # type: ignore[method-assign, assignment]
    try:
        if home is not None:
            fake = sources.private_cluster(connstr(HOME, "home"))
            routing.home = router._pools.wire(fake)
        # Neither is asked while the fake stands in for it.
        preparer.reflected = preparer._row_types = None
        router.configure(mapping)
        yield
    finally:
        routing._connect = connect  # type: ignore[method-assign]
        if routing.home is not None and routing.home is not home:
            router._pools.unwire(routing.home)
        for wired in connects.values():
            router._pools.unwire(wired)
        routing.home, catalog.homeless = home, homeless
        preparer.reflected, preparer._row_types = reflected, None
        preparer.clusters = clusters
        router._map.swap(configs)
