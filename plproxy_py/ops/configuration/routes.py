"""Which keys another map would look for where their rows are not: exact shares.

No key is sampled and none is enumerated. A hash's partition depends on the hash modulo
the count of partitions, and on its sign where one map masks and the other takes the
modulus; so two maps meet in the residue classes of their counts' greatest common
divisor, and counting goes by class: time grows with the partitions, not with their
common multiple. Hashes are taken to be spread evenly.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from plproxy_py.config import ClusterConfig, Target

_HALF = Fraction(1, 2)
_SIGNS = (1, -1)
FIRST = 3
Endpoint = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a new map sends to one partition.

    ``missing``: the share of all keys of the cluster that it would look for there in
    vain. ``homes``: the old partitions that hold the rows of all keys it sends there;
    ``strangers``: how many of these are other databases, ``first_strangers`` the first
    of them. All in ascending order.
    """

    partition: int
    missing: Fraction
    homes: tuple[int, ...]
    strangers: int
    first_strangers: tuple[int, ...]


def arrivals(old: ClusterConfig, new: ClusterConfig) -> list[Arrival]:
    """Return what becomes of the keys, a row for each new partition, in order."""
    places = Places(_targets(old) + _targets(new))
    had = [places.of(target) for target in _targets(old)]
    common = math.gcd(old.part_count, new.part_count)
    # Of each sign: the old partitions of each residue class, and how many are where.
    members: dict[int, list[list[int]]] = {}
    counts: dict[int, list[Counter[Endpoint]]] = {}
    for sign in _SIGNS:
        members[sign] = [[] for _ in range(common)]
        for number in range(old.part_count):
            members[sign][_residue(old, number, sign) % common].append(number)
        counts[sign] = [Counter(had[n] for n in found) for found in members[sign]]
    cell = _HALF / math.lcm(old.part_count, new.part_count)
    # Shared by partitions, or many partitions would be many times as many numbers.
    unions: dict[tuple[int, ...], tuple[tuple[int, ...], Counter[Endpoint]]] = {}
    found = []
    for number, target in enumerate(_targets(new)):
        place = places.of(target)
        kinds = tuple(_residue(new, number, sign) % common for sign in _SIGNS)
        both = list(zip(_SIGNS, kinds, strict=True))
        if kinds not in unions:
            union = set().union(*(members[sign][kind] for sign, kind in both))
            unions[kinds] = tuple(sorted(union)), Counter(had[n] for n in union)
        away = sum(
            len(members[sign][kind]) - counts[sign][kind][place] for sign, kind in both
        )
        homes, where = unions[kinds]
        strangers = (home for home in homes if had[home] != place)
        found.append(
            Arrival(
                number,
                cell * away,
                homes,
                len(homes) - where[place],
                tuple(islice(strangers, FIRST)) if away else (),
            )
        )
    return found


def _targets(cluster: ClusterConfig) -> list[Target]:
    return [partition.target for partition in cluster.partitions]


def _residue(cluster: ClusterConfig, number: int, sign: int) -> int:
    """Return the remainder of the absolute hashes of this sign in a partition.

    A mask takes -1 to the last partition, the modulus to partition 1.
    """
    if sign > 0 or cluster.modular_mapping:
        return number
    return -number % cluster.part_count


class Places:
    """Databases as far as connect strings tell: equal numbers are one database.

    As whom or how one connects makes no difference. Targets that share one host and
    port of a database are that database, since the hosts of a list hold the same.
    """

    def __init__(self, targets: Iterable[Target]) -> None:
        self._leads: dict[Endpoint, Endpoint] = {}
        for target in targets:
            first, *others = _endpoints(target)
            root = self._root(first)
            for other in others:
                self._leads[self._root(other)] = root

    def of(self, target: Target) -> Endpoint:
        """Return what stands for the target's database."""
        return self._root(next(_endpoints(target)))

    def _root(self, endpoint: Endpoint) -> Endpoint:
        while (leads := self._leads.setdefault(endpoint, endpoint)) != endpoint:
            endpoint = leads
        return endpoint


def _endpoints(target: Target) -> Iterator[Endpoint]:
    said = dict(target.parameters)
    dbname = said.get("dbname") or said.get("user", "")
    if "service" in said:
        yield (f"service {said['service']}", said.get("port", ""), dbname)
        return
    ports = said.get("port", "").split(",")
    for keyword in ("host", "hostaddr"):
        if keyword == "host" and not said.get("host") and said.get("hostaddr"):
            continue
        if keyword == "hostaddr" and not said.get("hostaddr"):
            continue
        for number, host in enumerate(said.get(keyword, "").split(",")):
            port = ports[number] if number < len(ports) else ports[-1]
            port = port.strip() or os.environ.get("PGPORT", "5432")
            yield (host, port, dbname)
