"""Functions that Hypothesis wrote, on both sides: any answer, but the same."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, assume, given, note, settings

from tests.fix_plproxy import PARTS, Plproxy
from tests.parity.compare import (
    Answer,
    Both,
    Failure,
    Result,
    attempt,
    compare,
    created,
)
from tests.parity.generate import Drawn, functions
from tests.strategies import bodies, body_texts

EXAMPLES = int(os.environ.get("PLPROXY_PARITY_EXAMPLES", "400"))
_numbers = itertools.count()


@pytest.fixture(scope="module")
def pair(plproxy: Plproxy) -> Iterator[Both]:
    pair = Both(plproxy)
    yield pair
    pair.close()


def run(pair: Both, drawn: Drawn) -> tuple[str, Result]:
    """Create a function under a name of its own and call it on both sides."""
    number = next(_numbers)
    name, target = f'"Gen é {number}"', f"gen_target_{number}"
    proxy = drawn.proxy.format(name=name, target=target)
    note(proxy)
    if drawn.remote is not None:
        remote = drawn.remote.format(name=name, target=target)
        note(remote)
        for dbname in PARTS:
            pair.plproxy.admin(dbname, remote)
    pair.create(proxy)
    return name, pair.agree(name, drawn.args, drawn.columns)


def test_generated(pair: Both) -> None:
    calls: list[tuple[str, Drawn, Result]] = []

    @settings(
        max_examples=EXAMPLES,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(functions())
    def generated(drawn: Drawn) -> None:
        name, result = run(pair, drawn)
        calls.append((name, drawn, result))

    generated()
    assert len(calls) >= 300
    answers = [result for _, _, result in calls if isinstance(result, Answer)]
    # Functions that only fail would prove little.
    assert len(answers) > len(calls) / 2
    # Once more, as the catalog has them.
    pair.ours.reflect()
    for name, drawn, result in calls:
        again = attempt(partial(pair.ours.call, name, drawn.args, drawn.columns))
        compare(result, again, f"reflected {drawn.proxy} {drawn.args}")


# The arguments for which the strategies write.
HEAD = 'a int, "Key" text, int[], tags text[], "t.c" text, target int'


@settings(max_examples=EXAMPLES, print_blob=True)
@given(body=body_texts | bodies().map(str))
def test_generated_bodies(pair: Both, body: str) -> None:
    """Any text as a body: both sides take it, or refuse it at the same line."""
    assume(not re.search("[\0\ud800-\udfff]", body) and "$fn$" not in body)
    sql = (
        f"create or replace function bodied({HEAD}) returns setof int as"
        f" $fn${body}$fn$ language plproxy"
    )
    real = attempt(lambda: created(pair.real, sql))
    ours = attempt(lambda: created(pair.ours, sql))
    if isinstance(real, Answer) and isinstance(ours, Failure):
        assert ONLY_HERE.search(ours.message), f"only ours fails: {body!r} {ours}"
    else:
        compare(real, ours, repr(body))


# A difference: see "Refused at once".
ONLY_HERE = re.compile(
    "CONNECT takes a text|RUN ON takes a hash|number out of range|is not closed"
)
