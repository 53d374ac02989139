"""A registry of prometheus_client shows what ``router.stats()`` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from plproxy_py import Router
from plproxy_py._stats import TargetStats, figures
from plproxy_py.prometheus import RouterCollector
from tests.fix_router import Driver


def exposed(*routers: Any) -> tuple[str, dict[tuple[str, ...], float]]:
    """Return the exposition, and its samples by name and labels' values."""
    registry = CollectorRegistry()
    registry.register(RouterCollector(*routers))
    text = generate_latest(registry).decode()
    return text, {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Still(Router):
    """A router whose figures do not move."""

    def stats(self) -> Mapping[str, Any]:
        stats = TargetStats()
        for seconds in (0.00001, 0.00007, 0.002, 0.002, 100.0):
            stats.record(seconds)
        stats.record(0.5, "40001")
        stats.connects, stats.lost = 3, 1
        slots = {"in_use": 2, "idle": 1, "waiting": 4, "size": 8}
        return {
            "config": {"source": "plproxy.toml", "age": 1.5, "error": None},
            "targets": {"host=db0 password=****": {**slots, **figures([stats])}},
        }


TARGET = "host=db0 password=****"


def test_exposition() -> None:
    text, samples = exposed(Still())
    lines = text.splitlines()
    target = f'target="{TARGET}"'
    for line in (
        "# TYPE plproxy_call_duration_seconds histogram",
        f'plproxy_call_duration_seconds_bucket{{le="6.4e-05",{target}}} 1.0',
        f'plproxy_call_duration_seconds_bucket{{le="0.000256",{target}}} 2.0',
        f'plproxy_call_duration_seconds_bucket{{le="0.004096",{target}}} 4.0',
        f'plproxy_call_duration_seconds_bucket{{le="67.108864",{target}}} 5.0',
        f'plproxy_call_duration_seconds_bucket{{le="+Inf",{target}}} 6.0',
        f"plproxy_call_duration_seconds_count{{{target}}} 6.0",
        f'plproxy_errors_total{{sqlstate_class="40",{target}}} 1.0',
        f'plproxy_connections{{state="in_use",{target}}} 2.0',
        f'plproxy_connections{{state="idle",{target}}} 1.0',
        f"plproxy_connections_max{{{target}}} 8.0",
        f"plproxy_waiting{{{target}}} 4.0",
        f"plproxy_connects_total{{{target}}} 3.0",
        f"plproxy_connections_lost_total{{{target}}} 1.0",
        'plproxy_config_age_seconds{source="plproxy.toml"} 1.5',
    ):
        assert line in lines, text
    total = samples["plproxy_call_duration_seconds_sum", TARGET]
    assert total == pytest.approx(100.50408)


def test_several_routers_are_one() -> None:
    _, samples = exposed(Still(), Still())
    assert samples["plproxy_connects_total", TARGET] == 6
    assert samples["plproxy_call_duration_seconds_count", TARGET] == 12
    assert samples["plproxy_errors_total", "40", TARGET] == 2
    with pytest.raises(TypeError, match="takes the routers"):
        RouterCollector()


def test_both_routers(userdb: Driver) -> None:
    _, samples = exposed(userdb.router)
    assert {samples[place] for place in samples if place[0][-6:] == "_count"} == {0}
    userdb.execute("userdb", "SELECT 1")
    text, samples = exposed(userdb.router)
    for target, found in userdb.router.stats()["targets"].items():
        place = "plproxy_call_duration_seconds_count", target
        assert samples[place] == found["calls"], text
        assert samples["plproxy_connections", "idle", target] == 1
        assert samples["plproxy_connections_max", target] == 8
    with Router() as router:
        exposed(router)
