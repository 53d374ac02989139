"""Whether a hint fits a declared type."""

from __future__ import annotations

import re

import pytest

from plproxy_py.errors import SignatureError
from plproxy_py.fits import check_fit
from plproxy_py.pgtypes import parse_type


@pytest.mark.parametrize(
    ("hinted", "declared"),
    [
        ("text", "varchar(3)"),
        ("text", "char(5)"),
        ("text", '"char"'),
        ("int8", "int2"),
        ("int4", "bigint"),
        ("float8", "real"),
        ("numeric", "numeric(20,10)"),
        ("time", "timetz"),
        ("text[]", "varchar(3)[]"),
        # any value may be JSON
        ("jsonb", "json"),
        ("text", "jsonb"),
        ("int8[]", "jsonb"),
        ("json[]", "jsonb[]"),
        # no hint stands for these
        ("text", "inet"),
        ("int8", "public.mood"),
        ("text[]", "int4range"),
    ],
)
def test_fits(hinted: str, declared: str) -> None:
    check_fit(parse_type(hinted), parse_type(declared), "here")
    assert parse_type(hinted) != parse_type(declared)


@pytest.mark.parametrize(
    ("hinted", "declared"),
    [
        ("int8", "text"),
        ("text", "int4"),
        ("int8", "numeric"),
        ("bool", "int4"),
        ("date", "timestamp"),
        ("text", "text[]"),
        ("text[]", "text"),
        ("text[]", "jsonb[]"),
        ("public.mood", "text"),
    ],
)
def test_does_not_fit(hinted: str, declared: str) -> None:
    with pytest.raises(SignatureError) as caught:
        check_fit(parse_type(hinted), parse_type(declared), "parameter x")
    assert str(caught.value) == (
        f"parameter x: the hint stands for {parse_type(hinted).cast}, the signature "
        f"has {parse_type(declared).cast}"
    )


@pytest.mark.parametrize(
    ("hinted", "declared", "remedy"),
    [
        ("float8", "numeric(20,10)", 'Annotated[float, "numeric"]'),
        ("float8[]", "numeric[]", 'Annotated[float, "numeric"]'),
        ("timestamptz", "timestamp(3)", "is a Timestamp"),
        ("timestamptz[]", "timestamp[]", "is a Timestamp"),
        ("timestamp", "timestamptz", "is a plain datetime"),
    ],
)
def test_what_loses_something_does_not_fit(
    hinted: str, declared: str, remedy: str
) -> None:
    with pytest.raises(SignatureError, match=re.escape(remedy)):
        check_fit(parse_type(hinted), parse_type(declared), "here")
    check_fit(parse_type(declared), parse_type(declared), "here")
