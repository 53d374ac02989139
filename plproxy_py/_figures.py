"""A router's pools in figures, for ``router.stats()``."""

from __future__ import annotations

from typing import Any

from plproxy_py import _stats
from plproxy_py._pools import Pool, Pools


def targets(pools: Pools) -> dict[str, dict[str, Any]]:
    """Return the figures of each target, by its redacted connect string.

    Sessions of several kinds with one target, by time zone or pooler, are added up.
    """
    by_target: dict[str, list[Pool]] = {}
    # In one step, so that what is in use, idle and waiting goes together.
    with pools._lock:
        for pool in pools._pools.values():
            by_target.setdefault(pool.session.target.redacted, []).append(pool)
        slots = {
            name: {
                "in_use": sum(pool.in_use for pool in found),
                "idle": sum(len(pool.idle) for pool in found),
                "waiting": sum(len(pool.waiting) for pool in found),
                "size": sum(pool.size for pool in found),
            }
            for name, found in by_target.items()
        }
    return {
        name: {**slots[name], **_stats.figures(pool.stats for pool in found)}
        for name, found in by_target.items()
    }
