"""10,000 single-key calls: by call_many, and one by one."""

from __future__ import annotations

from tests.benchmarks.calls import email_function, hot_keys, partition
from tests.benchmarks.groups import EMAIL_QUERY, Race, Ratio, Size, Stage
from tests.benchmarks.rounds import Contender, timed


def enter(stage: Stage) -> list[Contender]:
    keys = list(hot_keys(stage.size.elements))
    cursors = stage.cursors()
    chosen = [(cursors[partition(key)], (key,)) for key in keys]

    def one_by_one(count: int) -> None:
        for _ in range(count):
            for cursor, args in chosen:
                cursor.execute(EMAIL_QUERY, args)
                cursor.fetchone()[0]  # type: ignore[index]

    contenders = [Contender("psycopg cursors, one by one", timed(one_by_one))]
    call_many = getattr(email_function(stage.router()), "call_many", None)
    if call_many is None:
        stage.notes.append("call_many is not available in this version")
    else:
        args = [(key,) for key in keys]

        def many(count: int) -> None:
            for _ in range(count):
                results = call_many(args)
                results.raise_first()
                assert len(results) == len(args)

        contenders.insert(0, Contender("Router, call_many", timed(many)))
    if proxy := stage.proxy_cursor():

        def plproxy(count: int) -> None:
            for _ in range(count):
                for key in keys:
                    proxy.execute("select get_user_email(%s)", (key,))
                    proxy.fetchone()[0]  # type: ignore[index]

        contenders.append(Contender("PL/Proxy, one by one", timed(plproxy)))
    return contenders


OURS = "Router, call_many"

GROUPS = (
    Race(
        "many single-key calls",
        enter,
        (
            Ratio("call_many_10k.vs_plproxy", OURS, "PL/Proxy, one by one", 0.05),
            Ratio(
                "call_many_10k.vs_one_by_one", OURS, "psycopg cursors, one by one", 0.1
            ),
        ),
        full=Size(rounds=5, calls=1, elements=10_000),
        quick=Size(rounds=3, calls=1, elements=1_000),
    ),
)
