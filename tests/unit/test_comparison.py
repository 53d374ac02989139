"""Keys of wire texts: order and equality of each type, and what is refused."""

from __future__ import annotations

from itertools import combinations

import pytest

from plproxy_py.comparison import comparable, distinguishable, read_collation
from plproxy_py.errors import ResultError, SignatureError
from plproxy_py.language.sqltokens import tokenize
from plproxy_py.pgtypes import parse_type

# Ascending; texts of one line are equal.
ORDER = {
    "int2": ["-32768", "-9", "0", "7", "10"],
    "int4": ["-10", "-9", "2147483647"],
    "int8": ["-9223372036854775808", "9", "10", "9223372036854775807"],
    "oid": ["0", "9", "4294967295"],
    "float4": ["-Infinity", "-1", "-0 0", "1e-45", "3.4e+38", "Infinity", "NaN NaN"],
    "float8": ["-Infinity", "-2e-05", "0 -0", "0.1", "1e+300", "Infinity", "NaN NaN"],
    "numeric(9,3)": ["-Infinity", "-9.5", "0 0.000", "1.0 1.00", "Infinity", "NaN NaN"],
    "bool": ["f", "t"],
    "uuid": [
        "00000000-0000-0000-0000-00000000000a",
        "00000000-0000-0000-0000-0000000000a0",
        "a0000000-0000-0000-0000-000000000000",
    ],
    "bytea": ["\\x", "\\x00", "\\x0000", "\\x09", "\\x0a", "\\xff"],
    "time": ["00:00:00", "00:00:00.000001", "00:00:00.1", "12:00:00", "24:00:00"],
    "text": ["", " ", "A", "Z", "a", "ab", "b", "é", "\uffff", "\U0001f600"],
    "varchar(3)": ["", "A", "a"],
    "name": ["A", "a"],
    "date": [
        "-infinity",
        "4713-01-01|BC",
        "0002-12-31|BC",
        "0001-01-01|BC",
        "0001-12-31|BC",
        "0001-01-01",
        "9999-12-31",
        "10000-01-01",
        "infinity",
    ],
    "timestamp": [
        "-infinity",
        "0002-01-01|00:00:00|BC",
        "0001-01-01|23:59:59.5|BC",
        "0001-01-01|00:00:00",
        "2024-02-29|00:00:00",
        "2024-02-29|00:00:00.1",
        "2024-02-29|00:00:00.10001",
        "120000-01-01|00:00:00",
        "infinity",
    ],
    "timestamptz": [
        "-infinity",
        "4713-01-01|00:00:00+00|BC",
        "0001-12-31|23:59:59.999999+00|BC",
        "0001-01-01|00:00:00+00 0001-12-31|19:32:16-04:27:44|BC",
        "2024-02-29|23:00:00+00 2024-03-01|00:00:00+01 2024-03-01|04:30:00+05:30",
        "2024-02-29|23:00:00.000001+00",
        "2024-02-29|23:00:00.1+00",
        "9999-12-31|23:59:59+00",
        "10000-01-01|00:00:00+00",
        "9999-12-31|23:00:00-01:00:01",
        "10000-01-01|00:00:00-01",
        "infinity",
    ],
    "timetz": [
        "01:00:00+02",
        "00:00:00+00",
        # The same moment, but not the same value.
        "03:00:00+02",
        "02:00:00+01",
        "01:00:00+00",
        "00:32:16-00:27:44",
        "24:00:00-12",
    ],
    "interval": [
        "-infinity",
        "-1|years|-1|mons|-1|days|-00:00:01 -1|years|-1|mons|-1|days|-00:00:01.000",
        "-1|years|+2|mons -300|days",
        "-1|days|+02:03:00",
        "-00:00:00.1",
        "00:00:00",
        "00:00:00.000001",
        "24:00:00 1|day",
        "1|mon 30|days 720:00:00",
        "1|year 12|mons 360|days",
        "178000000|years",
        "infinity",
    ],
}


def ranked(declared: str) -> list[tuple[int, bytes]]:
    return [
        (rank, text.replace("|", " ").encode())
        for rank, line in enumerate(ORDER[declared])
        for text in (line.split() or [line])
    ]


@pytest.mark.parametrize("declared", ORDER)
def test_order_and_equality(declared: str) -> None:
    type = parse_type(declared)
    textual = type.name in ("text", "varchar")
    key = comparable(type, "C" if textual else None)
    same = distinguishable(type)
    for (low, one), (high, other) in combinations(ranked(declared), 2):
        assert (key(one) < key(other)) is (low < high), (one, other)
        assert (key(other) < key(one)) is False, (one, other)
        assert (key(one) == key(other)) is (low == high), (one, other)
        assert (same(one) == same(other)) is (low == high), (one, other)
        assert len({same(one), same(other)}) == 1 + (low < high)


@pytest.mark.parametrize("collation", ["C", "POSIX", "ucs_basic"])
def test_blanks_behind_bpchar_do_not_count(collation: str) -> None:
    key = comparable(parse_type("char(4)"), collation)
    assert key(b"a   ") == key(b"a") < key(b"a b ")
    assert distinguishable(parse_type("char(4)"))(b"a   ") == b"a"


def test_a_name_has_its_own_collation() -> None:
    assert comparable(parse_type("name"), "C")(b"a") == b"a"


@pytest.mark.parametrize(
    ("declared", "collation", "reason"),
    [
        ("text", None, 'text is sorted by a collation that only .* write COLLATE "C"'),
        ("varchar(3)", "de-x-icu", 'collation "de-x-icu" is known .* COLLATE "C"'),
        ("char(3)", None, "bpchar is sorted by a collation"),
        ("int4", "C", "int4 has no collations"),
        ("json", None, "json can't be sorted here, .* let the function return a sort"),
        ("jsonb", None, "jsonb can't be sorted here"),
        ("int4[]", None, r"int4\[\] can't be sorted here"),
        ("text[]", "C", r"text\[\] can't be sorted here"),
        ("inet", None, "inet can't be sorted here"),
        ("s.mood", None, r"s\.mood can't be sorted here"),
    ],
)
def test_no_order(declared: str, collation: str | None, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        comparable(parse_type(declared), collation)


@pytest.mark.parametrize(
    "declared",
    [
        "text",
        "inet",
        "cidr",
        "macaddr8",
        '"char"',
        "bit(3)",
        "int4[]",
        "text[]",
        "uuid[]",
    ],
)
def test_equal_texts_are_equal_values(declared: str) -> None:
    assert distinguishable(parse_type(declared)) is bytes


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ("json", "json can't be told apart here, since its equality has no"),
        ("jsonb", "jsonb can't be told apart here"),
        ("numeric[]", r"numeric\[\] can't be told apart here"),
        ("timestamptz[]", r"timestamptz\[\] can't be told apart here"),
        ("money", "money can't be told apart here"),
        ("mood", "mood can't be told apart here"),
    ],
)
def test_no_equality(declared: str, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        distinguishable(parse_type(declared))


@pytest.mark.parametrize(
    ("declared", "text", "reason"),
    [
        ("date", "24.12.2023", "DateStyle is not ISO"),
        ("timestamp", "Sun Dec 24 00:00:00 2023", "DateStyle is not ISO"),
        ("timestamptz", "24/12/2023 00:00:00 CET", "DateStyle is not ISO"),
        ("timetz", "12:00:00 CET", "DateStyle is not ISO"),
        ("interval", "P1D", "IntervalStyle is not postgres"),
        ("interval", "@ 1 day", "IntervalStyle is not postgres"),
        ("bytea", "\\000", "bytea_output is not hex"),
        ("bytea", "\\\\x00", "bytea_output is not hex"),
    ],
)
def test_another_style_is_refused(declared: str, text: str, reason: str) -> None:
    with pytest.raises(ResultError, match=reason) as raised:
        comparable(parse_type(declared))(text.encode())
    # Values may be secrets.
    assert text not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "collation"),
    [
        ("", None),
        ("desc", None),
        ('collate "C"', "C"),
        ("COLLATE C", "c"),
        ('collate pg_catalog."C"', "C"),
        ('collate pg_catalog . "POSIX"', "POSIX"),
        ("collate pg_catalog", "pg_catalog"),
    ],
)
def test_read_collation(text: str, collation: str | None) -> None:
    assert read_collation(tokenize(text, SignatureError, "")) == collation
