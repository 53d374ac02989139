"""Values go through a fake cluster as they go through a server: there and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plproxy_py import Error, Router
from plproxy_py.pgtypes import parse_type
from plproxy_py.testing import FakeCluster
from tests.fix_server import Pg
from tests.strategies import FITTING, fitting

SCALARS = list(FITTING)
TYPES = [*SCALARS, *(f"{name}[]" for name in SCALARS)]
# What comes back of it: modifiers are applied to results, not to arguments.
DECLARED = [
    *TYPES,
    *("numeric(8,3)", "numeric(3)", "numeric(3,-1)", "varchar(3)", "char(3)"),
    *("timestamp(2)", "timestamptz(0)", "numeric(8,3)[]", "varchar(3)[]"),
]


def echo(type: str) -> str:
    cast = parse_type(type).cast
    return (
        f"CREATE FUNCTION echo(x {cast}) RETURNS {type} AS "
        "$$ CLUSTER 'c'; RUN ON 0; $$ LANGUAGE plproxy;"
    )


Call = Callable[[Any], Any]


@pytest.fixture(scope="module")
def real(pg: Pg) -> Iterator[Callable[[str], Call]]:
    """By type, what sends a value to a server and gets it back."""
    connstr = pg.connstr("fake_values")
    for cast in dict.fromkeys(parse_type(type).cast for type in DECLARED):
        pg.execute(
            "fake_values",
            f"CREATE FUNCTION echo({cast}) RETURNS {cast} LANGUAGE sql AS 'SELECT $1'",
        )
    with Router({"c": {"partitions": [connstr], "timezone": "UTC"}}) as router:
        yield {type: router.define(echo(type)) for type in DECLARED}.__getitem__


@pytest.fixture(scope="module")
def fake() -> Iterator[Callable[[str], Call]]:
    """The same by a fake partition, which gives back what it was sent."""
    with Router() as router, FakeCluster(router, {"c": 1}) as cluster:
        calls = {type: router.define(echo(type)) for type in DECLARED}

        def call(type: str) -> Call:
            def call(value: Any) -> Any:
                seen: list[Any] = []
                cluster.answer(calls[type], lambda x: seen.append(x), times=1)
                calls[type](value)
                cluster.answer(calls[type], seen[0], times=1)
                return calls[type](value)

            return call

        yield call


def outcome(call: Call, value: Any) -> tuple[str, str]:
    """Return what came and its type, or which error."""
    try:
        answer = call(value)
    except Error as error:
        return type(error).__name__, str(error.sqlstate)
    return type(answer).__name__, repr(answer)


@pytest.mark.parametrize("type", DECLARED)
@settings(max_examples=25)
@given(data=st.data())
def test_values_come_back_as_from_a_server(
    type: str, data: st.DataObject, real: Any, fake: Any
) -> None:
    value = data.draw(fitting(replace(parse_type(type), modifiers="")))
    expected = outcome(real(type), value)
    if expected[1] == "22003":
        with pytest.raises(ValueError, match="does not fit"):
            fake(type)(value)
        return
    assert outcome(fake(type), value) == expected


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("numeric", Decimal("0E+3")),
        ("numeric(3,-1)", 15),
        ("numeric(3,-1)", 9994),
        ("numeric(8,3)", Decimal("-0.0005")),
        ("timestamptz(0)", datetime(1999, 12, 31, 23, 59, 59, 500000, UTC)),
        ("timestamp(2)", datetime(2024, 2, 29, 23, 59, 59, 995000)),
        ("float4", 3.4028234663852886e38),
        ("jsonb", {"a": [1e22, 1.5e-9, "1e5", '\\"1e5']}),
        ("int8[]", [[], []]),
        ("interval[]", [timedelta(-1, 5, 7), None]),
        ("bpchar", "a  "),
    ],
)
def test_corners(type: str, value: Any, real: Any, fake: Any) -> None:
    assert outcome(fake(type), value) == outcome(real(type), value)
