"""Normal forms and texts of any value: clear refusals, and nothing lost on the way."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plproxy_py.pgtypes import PgType
from plproxy_py.values import Codec, codec, localized
from tests.strategies import FITTING, anything, fitting

SCALARS = [PgType(name) for name in FITTING]
TYPES = [*SCALARS, *(PgType(name, is_array=True) for name in FITTING)]


def of(type: PgType) -> Codec:
    found = codec(type)
    assert found is not None
    return found


def same(one: Any, other: Any) -> bool:
    """Compare as `==` does, with NaN equal to NaN and -0.0 another than 0.0."""
    if isinstance(one, (float, Decimal)) and isinstance(other, (float, Decimal)):
        return str(one) == str(other) or (one == other and one != 0)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def parsed(text: str) -> Any:
    """Read an array's text: items as str, NULL as None."""
    items = read(iter(text))
    assert text.startswith("{")
    return next(items)


def read(chars: Iterator[str]) -> Iterator[Any]:
    """Yield the items up to the closing brace, each once its comma has come."""
    for char in chars:
        if char == "{":
            yield list(read(chars))
        elif char == '"':
            item = ""
            while (char := next(chars)) != '"':
                item += next(chars) if char == "\\" else char
            yield item
        elif char == "N":
            assert [next(chars) for _ in "ULL"] == list("ULL")
            yield None
        elif char == "}":
            return
        else:
            assert char == ","


def attempt(type: PgType, value: Any) -> str | TypeError | ValueError:
    try:
        return of(type).text(localized(of(type).normal(value), "UTC"))
    except (TypeError, ValueError) as error:
        return error


@settings(max_examples=200)
@given(declared=st.sampled_from(TYPES), value=anything)
def test_fits_or_is_refused(declared: PgType, value: Any) -> None:
    """Nothing but TypeError and ValueError; what fits can be sent."""
    found = attempt(declared, value)
    if isinstance(found, str):
        assert b"\0" not in found.encode()
    else:
        assert isinstance(found, (TypeError, ValueError))
        # No value in the text, and so no secret.
        assert len(str(found)) < 120


@pytest.mark.parametrize("type", TYPES, ids=str)
@settings(max_examples=5)
@given(data=st.data())
def test_what_fits_is_not_refused(type: PgType, data: st.DataObject) -> None:
    value = data.draw(fitting(type))
    of(type).text(of(type).normal(value)).encode()


@given(data=st.data(), type=st.sampled_from(SCALARS))
@settings(max_examples=100)
def test_the_text_reads_back(data: st.DataObject, type: PgType) -> None:
    """A text in place of the value gives the same normal form."""
    normal = of(type).normal(data.draw(fitting(type)))
    text = of(type).text(normal)
    if type.name in ("json", "jsonb"):
        assert of(type).normal(json.loads(text)) == text
    elif type.name == "interval":
        assert of(type).normal(text) == text
    else:
        assert same(of(type).normal(text), normal)


@given(data=st.data(), type=st.sampled_from(SCALARS))
@settings(max_examples=100)
def test_a_normal_form_stays(data: st.DataObject, type: PgType) -> None:
    if type.name not in ("json", "jsonb"):
        normal = of(type).normal(data.draw(fitting(type)))
        assert same(of(type).normal(normal), normal)


@given(data=st.data(), type=st.sampled_from(SCALARS))
@settings(max_examples=100)
def test_an_arrays_text_reads_back(data: st.DataObject, type: PgType) -> None:
    array = PgType(type.name, is_array=True)
    normal = of(array).normal(data.draw(fitting(array)))
    assert same(parsed(of(array).text(normal)), texts_of(normal, of(type)))


def texts_of(normal: Any, scalar: Codec) -> Any:
    if isinstance(normal, list):
        return [texts_of(item, scalar) for item in normal]
    return None if normal is None else scalar.text(normal)


@settings(max_examples=50)
@given(st.floats())
def test_a_float4_is_what_the_server_keeps(value: float) -> None:
    try:
        narrowed = of(PgType("float4")).normal(value)
    except ValueError:
        # Only what is beyond float4: too large, or nearer to 0 than to any other.
        assert math.isfinite(value)
        assert abs(value) > 3.4e38 or 0 < abs(value) < 1e-45
    else:
        assert same(of(PgType("float4")).normal(narrowed), narrowed)
        assert (
            math.isnan(value)
            or math.isclose(value, narrowed, rel_tol=1e-7)
            or (abs(value - narrowed) < 1e-45)
        )
