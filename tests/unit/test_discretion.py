"""Texts without the values that must not stand in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from plproxy_py.discretion import MOST_TEXTS, hidden, hider


@dataclass
class Person:
    name: str
    born: datetime


BORN = datetime(1970, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("123-45-6789", "Key (ssn)=(123-45-6789) exists", "Key (ssn)=(***) exists"),
        ("O'Hara", "VALUES ('O''Hara')", "VALUES ('***')"),
        ("Grüße\n", '"Gr\\u00fc\\u00dfe\\n" is invalid', '"***" is invalid'),
        ("Grüße\n", "it was 'Grüße\\n'", "it was '***'"),
        ("SECRET", "lowered to secret", "lowered to ***"),
        (7, "value 7 is taken", "value *** is taken"),
        (123456789, "x123456789y", "x***y"),
        (Decimal("12.50"), "numeric 12.50", "numeric ***"),
        (1.25, "float 1.25", "float ***"),
        (UUID(int=5), f"uuid {UUID(int=5)}", "uuid ***"),
        (b"\x01\xffab", r"bytea \x01ff6162", r"bytea \x***"),
        (bytearray(b"plain"), "it is plain", "it is ***"),
        (memoryview(b"a\x00bc"), "b'a\\x00bc'", "b'***'"),
        (BORN, "1970-02-03 04:05:00+00", "***"),
        (BORN, BORN.isoformat(), "***"),
        (["one1", ["two2", None, True]], "{one1,{two2,NULL,t}}", "{***,{***,NULL,t}}"),
        ({"card": {"pin1": 4711}}, '{"card": {"pin1": 4711}}', '{"***": {"***": ***}}'),
        (Person("Mia Marko", BORN), "(Mia Marko,1970-02-03 04:05:00+00)", "(***,***)"),
    ],
)
def test_values_are_taken_out(value: object, text: str, shown: str) -> None:
    assert hidden(text, [value]) == shown


def test_short_texts_are_hidden_where_they_stand_alone() -> None:
    assert hidden("a=7 in 70 of 17, 7", [7]) == "a=*** in 70 of 17, ***"
    assert hidden("no x in xerox", ["x"]) == "no *** in xerox"


@pytest.mark.parametrize("value", [None, True, "", "  ", [], {}])
def test_nothing_to_hide(value: object) -> None:
    assert hider([value]) is None
    assert hidden("None True  []", [value]) == "None True  []"


def test_of_very_many_values_all_is_hidden() -> None:
    assert hidden("line\nline", [list(range(MOST_TEXTS + 2))]) == "***"


def test_the_longest_goes_first() -> None:
    assert hidden("abcdef abcd", ["abcd", "abcdef"]) == "*** ***"


class Raising:
    """A value whose own methods raise."""

    def __str__(self) -> str:
        raise RuntimeError("not told")


def test_a_value_that_raises_hides_all() -> None:
    assert hidden("nobody knows what of this it is", [Raising()]) == "***"
