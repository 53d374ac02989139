"""Who could read or forge what goes to a partition: how far TLS verifies servers."""

from __future__ import annotations

import os
from itertools import groupby

from plproxy_py.config import ClusterConfig, Target

VERIFYING = ("verify-full", "verify-ca")


def tls_text(cluster: ClusterConfig) -> str:
    """Return how the cluster's connections are verified, by partition if they differ.

    ``local``: by Unix socket, so that nothing leaves the machine.
    """
    found = [target_text(partition.target) for partition in cluster.partitions]
    if len(set(found)) == 1:
        return found[0]
    texts = []
    for text, group in groupby(enumerate(found), key=lambda item: item[1]):
        numbers = [str(number) for number, _ in group]
        span = numbers[0] if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        texts.append(f"{span}: {text}")
    return ", ".join(texts)


def target_text(target: Target) -> str:
    """Return ``local``, the sslmode if it verifies, or ``not verified`` and why."""
    said = dict(target.parameters)

    def value(keyword: str, variable: str) -> str:
        return said.get(keyword) or os.environ.get(variable, "")

    if value("service", "PGSERVICE"):
        return "not verified (the service file decides)"
    hosts = value("host", "PGHOST").split(",")
    is_local = all(not host or host[0] in "/@" for host in hosts)
    if is_local and not value("hostaddr", "PGHOSTADDR"):
        return "local"
    sslmode = value("sslmode", "PGSSLMODE")
    if not sslmode:
        is_system = value("sslrootcert", "PGSSLROOTCERT") == "system"
        sslmode = "verify-full" if is_system else "prefer"
    return sslmode if sslmode in VERIFYING else f"not verified (sslmode {sslmode})"
