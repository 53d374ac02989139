"""Values of types that only a server or an adapter knows: mood, point, a composite."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

import pytest

from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.values import codec, opaque


class Word(StrEnum):
    FIRST = "first"


class OldWord(str, Enum):  # noqa: UP042 - what StrEnum has put right
    """Its str() is OldWord.FIRST."""

    FIRST = "first"


def test_no_codec() -> None:
    assert codec(PgType("public.mood")) is None
    assert codec(parse_type("point[]")) is None
    assert opaque(Word.FIRST) == "first"
    assert type(opaque(Word.FIRST)) is str
    value = object()
    assert opaque(value) is value
    with pytest.raises(ValueError, match="NUL"):
        opaque("\0")
    with pytest.raises(ValueError, match="surrogate"):
        opaque("\ud800")


@dataclass
class Point:
    x: object
    y: object = "y"


@pytest.mark.parametrize(
    ("value", "is_array", "sent"),
    [
        # a composite
        (Point(1), False, (1, "y")),
        (Point(Point(1, None), [2]), False, ((1, None), [2])),
        (Point(OldWord.FIRST), False, ("first", "y")),
        # its class is no value of it
        (Point, False, Point),
        # a tuple is a composite, or an array where one is declared
        ((1, "a"), False, (1, "a")),
        ((1, None), True, [1, None]),
        ([Point(1), (2, "b"), None], True, [(1, "y"), (2, "b"), None]),
        # PostgreSQL reads the text of any type
        ("{1,2}", True, "{1,2}"),
        (None, True, None),
    ],
)
def test_what_adapters_dump(value: object, is_array: bool, sent: object) -> None:
    assert opaque(value, is_array) == sent


@pytest.mark.parametrize("value", [Point("\0"), Point(Point("\ud800"))])
def test_texts_within_a_composite_must_be_sendable(value: object) -> None:
    for given, is_array in ((value, False), ([value], True)):
        with pytest.raises(ValueError, match=r"NUL|surrogate"):
            opaque(given, is_array)
