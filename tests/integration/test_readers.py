"""Columns of another type than declared, which an explicit SELECT may bring."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from uuid import UUID

import pytest

from plproxy_py import ColumnMismatch, ResultError
from tests.fix_router import Driver


def asked(driver: Driver, declared: str, expression: str) -> object:
    function = driver.define(
        f"CREATE FUNCTION e() RETURNS {declared} LANGUAGE plproxy AS "
        f"$$ CLUSTER 'userdb'; RUN ON 0; SELECT {expression}; $$"
    )
    return function()


@pytest.mark.parametrize(
    ("declared", "expression", "value"),
    [
        ("bool", "'yes'::text", True),
        ("bool", "'TRUE'::text", True),
        ("bool", "1", True),
        ("bool", "'off'::text", False),
        ("int4", "12::int8", 12),
        ("int2", "'7'::text", 7),
        ("int8", "12::numeric", 12),
        ("float8", "1::int4", 1.0),
        ("numeric", "1.50::float8::text", Decimal("1.5")),
        ("text", "12", "12"),
        ("text", "'a'::name", "a"),
        ("uuid", "'00000000-0000-0000-0000-000000000001'::text", UUID(int=1)),
        ("date", "'2026-11-21'::text", dt.date(2026, 11, 21)),
        ("int8[]", "ARRAY[1, NULL, 3]::int4[]", [1, None, 3]),
        ("jsonb", """'{"a": [1]}'::text""", {"a": [1]}),
        ("int4", "NULL::text", None),
    ],
)
def test_read_as_the_declared_type(
    userdb: Driver, declared: str, expression: str, value: object
) -> None:
    answer = asked(userdb, declared, expression)
    assert (answer, type(answer)) == (value, type(value))


@pytest.mark.parametrize(
    ("declared", "expression", "sqlstate"),
    [
        ("bool", "'junk'::text", "22P02"),
        ("bool", "'{}'::text", "22P02"),
        ("int2", "70000", "22003"),
        ("int4", "'99999999999'::text", "22003"),
        ("int4", "'1_000'::text", "22P02"),
        ("float8", "'1_0'::text", "22P02"),
        ("int4", "2.5::numeric", "22P02"),
        ("int2[]", "ARRAY[70000]", "22003"),
        ("interval", "5", "42804"),
        ("inet", "'::1'::text", "42804"),
    ],
)
def test_never_another_value(
    userdb: Driver, declared: str, expression: str, sqlstate: str
) -> None:
    """What the input function would refuse, or we can't read, is no answer."""
    with pytest.raises(ResultError) as caught:
        asked(userdb, declared, expression)
    assert caught.value.sqlstate == sqlstate
    assert caught.value.outcomes[0].state == "committed"
    assert isinstance(caught.value, ColumnMismatch) == (sqlstate == "42804")
