"""SPLIT of two text arrays over 16 partitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks.child import Child
from tests.benchmarks.fanout import declare
from tests.benchmarks.groups import Race, Ratio, Size, Stage
from tests.benchmarks.rounds import Contender, Sample, timed


def arrays(elements: int) -> tuple[list[str], list[str]]:
    """Return keys of 16 bytes, and values."""
    keys = [f"user{number:012}" for number in range(elements)]
    return keys, [f"value {number}" for number in range(elements)]


def router_calls(router: Any, elements: int) -> Callable[[int], None]:
    """Return what makes calls of the split function on a router."""
    put = declare(router, "put")
    keys, values = arrays(elements)

    def calls(count: int) -> None:
        for _ in range(count):
            _check(sum(put(keys, values)), elements)

    return calls


def _check(stored: int, elements: int) -> None:
    assert stored == 2 * elements, f"{stored} elements arrived, not {2 * elements}"


def enter(stage: Stage) -> list[Contender]:
    elements = stage.size.elements
    pure = stage.exits.enter_context(
        Child(
            "split",
            {"PLPROXY_PY_PURE": "1"},
            connstrs=stage.servers.connstrs(),
            elements=elements,
        )
    )
    calls = router_calls(stage.router(), elements)
    contenders = [
        Contender("Router", timed(calls)),
        Contender("Router, pure Python", lambda count: Sample(*pure.ask(count))),
    ]
    if proxy := stage.proxy_cursor():
        keys, values = arrays(elements)

        def plproxy(count: int) -> None:
            for _ in range(count):
                proxy.execute("select sum(n) from put(%s, %s) n", (keys, values))
                _check(proxy.fetchone()[0], elements)  # type: ignore[index]

        contenders.append(Contender("PL/Proxy", timed(plproxy)))
    return contenders


GROUPS = (
    Race(
        "SPLIT of two text arrays over 16",
        enter,
        (
            Ratio("split_1m.vs_plproxy", "Router", "PL/Proxy", 0.05),
            Ratio("split_1m_pure.vs_plproxy", "Router, pure Python", "PL/Proxy", 0.8),
        ),
        # One call takes seconds, what warms up in it milliseconds.
        full=Size(rounds=3, calls=1, elements=1_000_000, warm_rounds=0),
        # Its names stay: how much it was stands in "n".
        quick=Size(rounds=3, calls=1, elements=30_000),
    ),
)
