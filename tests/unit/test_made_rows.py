"""Values of the class that was hinted, and hints that would lose something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Annotated, Any, NamedTuple, NewType
from uuid import UUID

import pytest

from plproxy_py.errors import SignatureError
from plproxy_py.hints import Timestamp
from plproxy_py.pgtypes import PgType
from plproxy_py.result import scalar_row
from plproxy_py.signature import Columns, parse_columns
from tests.unit.test_return_hints import answer_of

TEXT = PgType("text")
Price = NewType("Price", float)
Lossy = Annotated[float, "numeric"]
NUMERIC, KEY = PgType("numeric"), UUID(int=5)


@dataclass
class Item:
    id: Annotated[str, "uuid"]
    price: Lossy | None
    address: IPv4Address
    parts: list[Lossy] = field(default_factory=list)


class Total(NamedTuple):
    total: Annotated[Price, "numeric"]


@dataclass
class Keyed:
    key: Annotated[str, "uuid"]


ITEM = parse_columns("address inet, price numeric(20,10), id uuid, parts numeric[]")


@pytest.mark.parametrize(
    ("hint", "columns", "values", "made"),
    [
        (Lossy, NUMERIC, (Decimal("1.5"),), 1.5),
        (Lossy | None, NUMERIC, (None,), None),
        (list[Lossy], PgType("numeric", "(3)"), (Decimal(7),), 7.0),
        (Iterator[Annotated[Price, "numeric"]], NUMERIC, (Decimal(7),), 7.0),
        (Annotated[str, "numeric"], NUMERIC, (Decimal("1.50"),), "1.50"),
        (Annotated[str, "uuid"], PgType("uuid"), (KEY,), str(KEY)),
        (Annotated[float, "int8"], PgType("int8"), (7,), 7.0),
        (
            Annotated[list[float], "numeric[]"],
            PgType("numeric", is_array=True),
            ([Decimal(1), None, Decimal("2.5")],),
            [1.0, None, 2.5],
        ),
        (
            list[list[Lossy]],
            PgType("numeric", is_array=True),
            ([[Decimal(1)], [None]],),
            [[1.0], [None]],
        ),
        (
            Item,
            ITEM,
            ("::1", Decimal("0.1"), KEY, [Decimal(2)]),
            Item(str(KEY), 0.1, "::1", [2.0]),  # type: ignore[arg-type]
        ),
        (Item, ITEM[:3], ("::1", None, KEY), Item(str(KEY), None, "::1", [])),  # type: ignore[arg-type]
        (Item | None, ITEM[:3], (None, None, None), None),
        (Total, NUMERIC, (Decimal(3),), Total(Price(3.0))),
        (list[Keyed | None], PgType("uuid"), (KEY,), Keyed(str(KEY))),
        # as they are
        (Decimal, NUMERIC, (Decimal(3),), Decimal(3)),
        (Annotated[int, "numeric"], NUMERIC, (Decimal(3),), Decimal(3)),
        (Annotated[str, "jsonb"], PgType("jsonb"), ({"a": 1},), {"a": 1}),
        (Annotated[str, "bytea"], PgType("bytea"), (b"a",), b"a"),
        (Annotated[str, "mood"], PgType("mood"), (5,), 5),
        (Annotated[float, "text"], TEXT, ("a",), "a"),
        (Annotated[float, "inet[]"], PgType("inet", is_array=True), ([5],), [5]),
        (Annotated[str, "inet[]"], PgType("inet", is_array=True), ([5],), [5]),
    ],
    ids=str,
)
def test_values_of_the_hinted_class(
    hint: Any, columns: Columns | PgType, values: tuple[Any, ...], made: object
) -> None:
    row = answer_of(hint, columns).make_row(values)
    assert row == made
    assert repr(row) == repr(made)


def test_nothing_is_converted_in_vain() -> None:
    """Where psycopg gives what the hint says, rows are made at once."""
    for hint, type in ((float, "float8"), (str, "text"), (int, "int4")):
        answer = answer_of(hint, PgType(type))
        assert answer.make_row is scalar_row


@dataclass
class Stamped:
    at: datetime


@dataclass
class Priced:
    """A field that nobody knows the type of hides no other."""

    address: IPv4Address
    price: float


@pytest.mark.parametrize(
    ("hint", "columns", "reason"),
    [
        (float, NUMERIC, r'the return hint: .*Annotated\[float, "numeric"\]'),
        (list[float], NUMERIC, "the return hint: .* has numeric"),
        (Iterator[float], NUMERIC, "the return hint: .* has numeric"),
        (datetime, PgType("timestamp"), "the return hint: .* is a Timestamp"),
        (Stamped, PgType("timestamp"), "the return hint: .* is a Timestamp"),
        (Timestamp, PgType("timestamptz"), "is a plain datetime"),
        (
            Priced,
            parse_columns("address inet, price numeric"),
            "the return hint's field 'price': .* has numeric",
        ),
    ],
    ids=str,
)
def test_what_would_be_lost_is_refused(hint: Any, columns: Any, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        answer_of(hint, columns)


def test_a_timestamp_that_is_said() -> None:
    for hint in (Timestamp, Annotated[datetime, "timestamp without time zone"]):
        assert answer_of(hint, PgType("timestamp")).make_row((5,)) == 5
