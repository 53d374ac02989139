"""``router.stats()`` for Prometheus. Needs ``plproxy_py[prometheus]``.

The figures are read when Prometheus asks for them; between its visits nothing runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from plproxy_py._router_base import RouterBase

# Of the buckets, which double, every second one from 64 µs to 67 s.
FIRST, LAST, STEP = 6, 26, 2


class RouterCollector(Collector):
    """The figures of one router, or of several as one.

    ``REGISTRY.register(RouterCollector(router))``. Labels: ``target``, a connect string
    without its secrets, and ``sqlstate_class``, an error's first two characters.
    """

    def __init__(self, *routers: RouterBase) -> None:
        if not routers:
            raise TypeError("RouterCollector takes the routers whose figures it shows")
        self._routers = routers

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as a registry wants them."""
        targets: dict[str, list[Mapping[str, Any]]] = {}
        age = GaugeMetricFamily(
            "plproxy_config_age_seconds",
            "Seconds since the cluster definitions were last seen to be current.",
            labels=["source"],
        )
        for router in self._routers:
            stats = router.stats()
            if stats["config"].get("age") is not None:
                source = str(stats["config"].get("source"))
                age.add_metric([source], stats["config"]["age"])
            for target, figures in stats["targets"].items():
                targets.setdefault(target, []).append(figures)
        yield age
        yield from _metrics(targets)


def _metrics(targets: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[Metric]:
    calls = HistogramMetricFamily(
        "plproxy_call_duration_seconds",
        "Time from sending a call to a target to its end.",
        labels=["target"],
    )
    errors = CounterMetricFamily(
        "plproxy_errors",
        "Calls of a target that ended in an error.",
        labels=["target", "sqlstate_class"],
    )
    connections = GaugeMetricFamily(
        "plproxy_connections", "Open connections.", labels=["target", "state"]
    )
    for target, found in targets.items():
        latencies = [figures["latency"] for figures in found]
        counts = list(map(sum, zip(*(one["counts"] for one in latencies), strict=True)))
        running = list(accumulate(counts))
        bounds = latencies[0]["bounds"]
        buckets = [(str(bounds[n]), running[n]) for n in range(FIRST, LAST + 1, STEP)]
        seconds = sum(one["sum"] for one in latencies)
        calls.add_metric([target], [*buckets, ("+Inf", running[-1])], seconds)
        for group in sorted(
            {group for figures in found for group in figures["errors"]}
        ):
            count = sum(figures["errors"].get(group, 0) for figures in found)
            errors.add_metric([target, group], count)
        for state in ("in_use", "idle"):
            connections.add_metric([target, state], _sum(found, state))
    yield calls
    yield errors
    yield connections
    for name, key, text in (
        ("plproxy_connections_max", "size", "Connections that there may be."),
        ("plproxy_waiting", "waiting", "Callers that wait for a connection."),
    ):
        gauge = GaugeMetricFamily(name, text, labels=["target"])
        for target, found in targets.items():
            gauge.add_metric([target], _sum(found, key))
        yield gauge
    for name, key, text in (
        ("plproxy_connects", "connects", "Connections that were opened."),
        ("plproxy_connections_lost", "lost", "Connections that broke."),
    ):
        counter = CounterMetricFamily(name, text, labels=["target"])
        for target, found in targets.items():
            counter.add_metric([target], _sum(found, key))
        yield counter


def _sum(found: list[Mapping[str, Any]], key: str) -> float:
    return float(sum(figures[key] for figures in found))
