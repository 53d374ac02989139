"""Values that do not fit their declared type: which error, and what it hides."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.unit.test_values import A_UUID, EAST, encoded, nested


@pytest.mark.parametrize(
    ("declared", "value", "reason"),
    [
        *(
            (declared, True, "got bool")
            for declared in "text int2 int4 int8 oid float4 float8 numeric".split()
        ),
        *(
            (declared, object(), "got object")
            for declared in (
                'text varchar bpchar name "char" int2 int4 int8 oid float4 float8 '
                "numeric bool bytea date time timetz timestamp timestamptz interval "
                "uuid int4[] jsonb[]"
            ).split()
        ),
        ("text", 1.5, "expected str, got float"),
        ("text", b"a", "expected str, got bytes"),
        ("int4", 1.0, "expected int, got float"),
        ("int4", Decimal(1), "expected int, got Decimal"),
        ("float8", "".join, "expected float, got builtin_function"),
        ("bool", 1, "expected bool, got int"),
        ("bytea", "ab", "expected bytes, got str"),
        ("date", datetime(2007, 3, 12), "expected date, got datetime"),
        ("timestamp", date(2007, 3, 12), "expected datetime, got date"),
        ("uuid", 7, "expected UUID, got int"),
        ("jsonb", {1, 2}, "a value that JSON does not know"),
        ("jsonb", {(1,): 2}, "a value that JSON does not know"),
        ("jsonb", Decimal(1), "a value that JSON does not know"),
        ("int4[]", "{1}", r"expected a list for int4\[\], got str"),
        ("int4[]", [[1], 2], r"expected a list for int4\[\], got int"),
        ("int4[]", [[1], None], r"expected a list for int4\[\], got NoneType"),
        ("jsonb[]", {}, r"expected a list for jsonb\[\], got dict"),
    ],
)
def test_another_type(declared: str, value: object, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        encoded(declared, value)


@pytest.mark.parametrize(
    ("declared", "value", "reason"),
    [
        ("text", "a\0b", "NUL character"),
        ("interval", "1\0", "NUL character"),
        ("text", "a\ud800", "lone surrogate at character 1"),
        ("name", "\ud83d\ude00", "lone surrogate at character 0"),
        ("interval", "\udfff", "lone surrogate at character 0"),
        ("json", ["\ud800"], "lone surrogate at character 2"),
        ("jsonb", {"\ud800": 1}, "lone surrogate at character 2"),
        ("text[]", ["\ud800"], "lone surrogate"),
        ('"char"', "ab", "more than the one byte"),
        ('"char"', "é", "more than the one byte"),
        *(
            (f"int{bits // 8}", 2 ** (bits - 1), "out of range")
            for bits in (16, 32, 64)
        ),
        *((f"int{bits // 8}", -(2 ** (bits - 1)) - 1, "out") for bits in (16, 32, 64)),
        ("oid", -1, "out of range for type oid"),
        ("oid", 2**32, "out of range for type oid"),
        ("int4", "9" * 5000, "out of range for type int4"),
        ("int4", "", "not an integer of type int4"),
        ("int4", "1.0", "not an integer of type int4"),
        ("int4", "1_0", "not an integer of type int4"),
        ("int4", "\u0663", "not an integer of type int4"),
        ("float8", "", "not a number"),
        ("float8", "1_0", "not a number"),
        ("numeric", "0x10", "not a number"),
        # what the server refuses, and Python would make zero or infinity
        ("float8", "1e400", "out of range for type float8"),
        ("float8", "-1e-400", "out of range for type float8"),
        ("float8", Decimal("1e400"), "out of range for type float8"),
        ("float8", 10**400, "out of range for type float8"),
        ("float8", "1e99999999999999999999", "out of range"),
        ("float4", 1e39, "out of range for type float4"),
        ("float4", -1e39, "out of range for type float4"),
        ("float4", 1e-50, "out of range for type float4"),
        ("numeric", Decimal("1e131072"), "out of range for type numeric"),
        ("numeric", Decimal("1e-16384"), "out of range for type numeric"),
        ("numeric", Decimal("1.5e-16383"), "out of range for type numeric"),
        ("numeric", "1e99999999999999999999", "out of range"),
        ("bool", "maybe", "not a boolean"),
        ("bytea", "\\xfg", "hexadecimal"),
        ("date", "12.3.2007", "not an ISO 8601 value of type date"),
        ("time", "infinity", "not an ISO 8601 value of type time"),
        ("timestamp", "yesterday", "not an ISO 8601 value of type timestamp"),
        ("time", time(1, tzinfo=UTC), "a time zone for a type without one"),
        ("timestamp", "2007-03-12T00:00Z", "a time zone for a type without one"),
        ("timetz", time(1), "without a fixed offset"),
        ("timetz", time(1, tzinfo=ZoneInfo("Europe/Berlin")), "without a fixed offset"),
        ("timetz", time(1, tzinfo=timezone(timedelta(hours=16))), "can't hold"),
        ("timetz", time(1, tzinfo=timezone(timedelta(hours=-16))), "can't hold"),
        ("timetz", time(1, tzinfo=timezone(timedelta(microseconds=1))), "can't hold"),
        ("timestamptz", datetime.min.replace(tzinfo=EAST), "out of range"),
        ("uuid", "", "not a uuid"),
        ("uuid", "urn:uuid:" + str(A_UUID), "not a uuid"),
        ("uuid", "{" + str(A_UUID), "not a uuid"),
        ("uuid", "1_3e4567e89b12d3a456426614174000", "not a uuid"),
        ("uuid", "12-3e4567e89b12d3a456426614174000", "not a uuid"),
        ("jsonb", math.nan, "which JSON can't hold"),
        ("jsonb", [math.inf], "which JSON can't hold"),
        ("jsonb", 10**5000, "which JSON can't hold"),
        ("jsonb", ["\0"], "NUL character, which jsonb can't hold"),
        ("jsonb", {"\\\0": 1}, "NUL character, which jsonb can't hold"),
        ("json", nested(100_000), "nested too deep"),
        ("int4[]", [[1], [2, 3]], "sub-arrays of different lengths"),
        ("int4[]", [[[1]], [[2, 3]]], "sub-arrays of different lengths"),
        ("int4[]", [[1], [[2]]], "sub-arrays of different lengths"),
        ("int4[]", nested(7), "more than 6 dimensions"),
        ("int4[]", nested(100_000), "more than 6 dimensions"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_out_of_range(declared: str, value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        encoded(declared, value)
    # Nobody wants to find a key in a log, least of all a secret one.
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("declared", ["int4[]", "json", "jsonb"])
def test_a_list_within_itself(declared: str) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match=r"itself|dimensions"):
        encoded(declared, endless)
