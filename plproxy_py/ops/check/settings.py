"""What partitions are, held against each other and against what calls need.

Encodings, collations, time zones, clocks, rights on tables, and connect strings that
lead to one place. Knows no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from plproxy_py.config import ClusterConfig
from plproxy_py.ops.check.catalog import Catalog, Facts
from plproxy_py.ops.check.findings import Finding, holders, named, outliers
from plproxy_py.pgtypes import quote_identifier

# Seconds. now() and timestamps of different partitions are compared by people and
# programs; NTP keeps to a few milliseconds.
MOST_SKEW = 1.0

# What a fact that differs is called, how it is read, and what to do.
_SAME: tuple[tuple[str, Callable[[Facts], str], str], ...] = (
    (
        "server version",
        lambda facts: facts.version.split(".")[0],
        "Upgrade it as well, once the others are: until then, use what both have.",
    ),
    (
        "encoding",
        lambda facts: facts.encoding,
        "Dump it and restore it into a database in the others' encoding, UTF8 at best.",
    ),
    (
        "collation",
        lambda facts: facts.collation,
        "Texts are sorted and compared otherwise there: restore its dump into a "
        "database with the others' collation, or say COLLATE in the functions.",
    ),
    (
        "TimeZone",
        lambda facts: facts.timezone,
        "ALTER DATABASE … SET timezone as on the others, or set the cluster's.",
    ),
    (
        "DateStyle",
        lambda facts: facts.datestyle,
        "ALTER DATABASE … SET datestyle as on the others.",
    ),
)


def differing(facts: Mapping[int, Facts]) -> Iterator[Finding]:
    """Yield what is not the same on all partitions."""
    for problem, value_of, remedy in _SAME:
        values = {number: value_of(found) for number, found in facts.items()}
        usual, others = outliers(values)
        for partition, value in others.items():
            reason = f"{value}, on {holders(values, str(usual))} {usual}"
            yield Finding(problem, partition, problem, reason, remedy)
    yield from _timeouts(facts)
    yield from _collation_versions(facts)


def _timeouts(facts: Mapping[int, Facts]) -> Iterator[Finding]:
    subject = "statement_timeout"
    set_ones = {n: found.timeout for n, found in facts.items() if found.timeout}
    usual, others = outliers(set_ones)
    for partition, value in others.items():
        reason = f"{value}, on {holders(set_ones, usual)} {usual}"
        role = quote_identifier(facts[partition].role)
        remedy = f"ALTER ROLE {role} SET statement_timeout = '{usual}';"
        yield Finding(subject, partition, subject, reason, remedy)
    for partition, found in facts.items():
        role = quote_identifier(found.role)
        if found.timeout is None:
            yield Finding(
                subject,
                partition,
                subject,
                f"the role {found.role} has none",
                f"ALTER ROLE {role} SET statement_timeout = '{usual or '30s'}';",
            )


def _collation_versions(facts: Mapping[int, Facts]) -> Iterator[Finding]:
    problem = "collation version"
    for partition, found in facts.items():
        recorded, actual = found.recorded_version, found.collation_version
        if recorded and actual and recorded != actual:
            yield Finding(
                problem,
                partition,
                problem,
                f"{found.collation} had version {recorded} when the database was made, "
                f"and is {actual} by now: indexes on texts may be in a wrong order",
                "REINDEX what has texts, then ALTER DATABASE "
                f"{quote_identifier(found.database)} REFRESH COLLATION VERSION.",
            )
    by_collation: dict[str, dict[int, str]] = {}
    for partition, found in facts.items():
        if found.collation_version:
            versions = by_collation.setdefault(found.collation, {})
            versions[partition] = found.collation_version
    for collation, versions in by_collation.items():
        usual, others = outliers(versions)
        for partition, version in others.items():
            yield Finding(
                problem,
                partition,
                problem,
                f"{collation} is {version}, on {holders(versions, str(usual))} {usual}",
                "Give all servers one operating system and ICU: until then they sort "
                'otherwise, but for COLLATE "C".',
            )


def alone(partition: int, catalog: Catalog) -> Iterator[Finding]:
    """Yield what is wrong with a partition by itself."""
    facts = catalog.facts
    if facts.superuser:
        yield Finding(
            "superuser",
            partition,
            "superuser",
            f"the role {facts.role} is a superuser",
            "Connect as a role that may EXECUTE and no more: sql/roles.sql makes one.",
        )
    if catalog.tables:
        more = catalog.tables - len(catalog.rights)
        listed = ", ".join(catalog.rights) + (f", {more} more" if more else "")
        yield Finding(
            "table rights",
            partition,
            "table rights",
            f"the role {facts.role} has rights on tables: {listed}",
            f"REVOKE them from {quote_identifier(facts.role)} or PUBLIC; functions "
            "that read tables are SECURITY DEFINER then (sql/roles.sql).",
        )
    if abs(facts.skew) - facts.uncertainty > MOST_SKEW:
        ahead = "ahead of" if facts.skew > 0 else "behind"
        yield Finding(
            "clock",
            partition,
            "clock",
            f"{abs(facts.skew):.1f} s {ahead} this machine's",
            "Let both follow one time server (chrony, NTP).",
        )


def same_places(
    cluster: ClusterConfig, facts: Mapping[int, Facts]
) -> Iterator[Finding]:
    """Yield partitions that lead where an earlier one leads, in other words."""
    first: dict[tuple[str, int], int] = {}
    for partition, found in sorted(facts.items()):
        earlier = first.setdefault(found.place, partition)
        target = cluster.target(partition)
        if earlier == partition or target == cluster.target(earlier):
            continue
        yield Finding(
            "same target",
            partition,
            "same target",
            f"{target.redacted} is the database of {named([earlier])}, "
            f"{cluster.target(earlier).redacted}: RUN ON ALL asks it twice",
            "Write both in the same words, and they are one target; or correct the one "
            "that is wrong.",
        )
