"""Two configurations side by side: what differs, and which rows would not be found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction

from plproxy_py.config import ClusterConfig
from plproxy_py.ops.configuration.routes import Arrival, arrivals
from plproxy_py.ops.numbers import spans

OPTIONS = tuple(
    field.name
    for field in dataclasses.fields(ClusterConfig)
    if field.default is not dataclasses.MISSING and field.name != "version"
)

Clusters = Mapping[str, ClusterConfig]


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. ``subject``: an option, or ``partition 3``.

    ``moved_percent``: of the cluster's keys, those that would be looked for where their
    rows are not; None where no key is concerned. ``problem``: why the new one can't
    just be put in force, None if it can.
    """

    cluster: str
    subject: str
    old: object
    new: object
    moved_percent: float | None = None
    problem: str | None = None


def differences(old: Clusters, new: Clusters) -> list[Difference]:
    """Return what differs, by cluster, in the new one's order. [] if nothing does."""
    found: list[Difference] = []
    for name, config in new.items():
        if name in old:
            found += compare(old[name], config)
        else:
            found.append(Difference(name, "cluster", None, _count(config)))
    for name, config in old.items():
        if name not in new:
            problem = "calls on it would fail: there is no such cluster any more"
            found.append(
                Difference(name, "cluster", _count(config), None, None, problem)
            )
    return found


def compare(old: ClusterConfig, new: ClusterConfig) -> list[Difference]:
    """Return what differs between two definitions of a cluster."""
    name = new.name
    came = arrivals(old, new)
    missing = sum((arrival.missing for arrival in came), Fraction(0))
    found = []
    if missing or _mapping(old) != _mapping(new):
        problem = _problem(old, new, missing) if missing else None
        found.append(
            Difference(
                name,
                "partitions",
                old.part_count,
                new.part_count,
                _percent(missing),
                problem,
            )
        )
    for option in OPTIONS:
        before, after = getattr(old, option), getattr(new, option)
        if before != after:
            found.append(Difference(name, option, before, after))
    found += [
        found_here
        for arrival in came
        if (found_here := _partition(old, new, arrival)) is not None
    ]
    changed = [
        arrival.partition
        for arrival in came
        if len(arrival.homes) == 1
        and old.target(arrival.homes[0]).secrets
        != new.target(arrival.partition).secrets
    ]
    if changed:
        numbers = f"other ones: partitions {spans(changed)}"
        found.append(Difference(name, "passwords", None, numbers))
    return found


def _mapping(cluster: ClusterConfig) -> tuple[int, bool]:
    return cluster.part_count, cluster.modular_mapping


def _count(cluster: ClusterConfig) -> str:
    return f"{cluster.part_count} partition" + "s" * (cluster.part_count != 1)


def _percent(share: Fraction) -> float:
    # The smallest share, of one partition in 65,536, is 0.0015 %.
    return round(float(share * 100), 4)


def _problem(old: ClusterConfig, new: ClusterConfig, missing: Fraction) -> str:
    looked = f"{_percent(missing):g} % of the keys would be looked for where their "
    if _mapping(old) == _mapping(new):
        return f"{looked}rows are not: move these rows first"
    times, rest = divmod(new.part_count, old.part_count)
    if not rest and old.modular_mapping == new.modular_mapping:
        return (
            f"{looked}rows are not: first list the {old.part_count} connect strings "
            f"{times} times over, then move one partition at a time"
        )
    return f"{looked}rows are not: these rows have to be moved while no call is made"


def _partition(
    old: ClusterConfig, new: ClusterConfig, arrival: Arrival
) -> Difference | None:
    """Return what differs for a new partition: its rows, or how one connects."""
    target = new.target(arrival.partition)
    if arrival.missing:
        return Difference(
            new.name,
            f"partition {arrival.partition}",
            _texts(old, arrival),
            target.redacted,
            _percent(arrival.missing),
            f"move the rows of the old {_listed(arrival)} here first, unless they are "
            "here by another name",
        )
    before = old.target(arrival.homes[0])
    if len(arrival.homes) > 1 or before == target:
        return None
    return Difference(
        new.name,
        f"partition {arrival.partition}",
        before.redacted,
        target.redacted,
        0.0,
    )


def _listed(arrival: Arrival) -> str:
    numbers = ", ".join(map(str, arrival.first_strangers))
    return f"partition{'s' * (arrival.strangers > 1)} {numbers}{_rest(arrival)}"


def _texts(old: ClusterConfig, arrival: Arrival) -> str:
    texts = [old.target(number).redacted for number in arrival.first_strangers]
    return "; ".join(dict.fromkeys(texts)) + _rest(arrival)


def _rest(arrival: Arrival) -> str:
    rest = arrival.strangers - len(arrival.first_strangers)
    return f" and {rest} more" if rest else ""
