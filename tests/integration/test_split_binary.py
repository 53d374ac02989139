"""Split arrays go in binary format: what arrives is what the text would have been."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from plproxy_py import RoutingError, hashing
from tests.fix_router import Driver
from tests.fix_server import Pg

ROWS = 300
WORDS = [
    "",
    "a",
    "Grüße",
    "中文 🐘",
    '{"}',
    "NULL",
    "\\",
    "a,b ",
    "e\u0301",
    "x" * 5000,
]
TEXTS = [f"{n} {WORDS[n % len(WORDS)]}" for n in range(ROWS)]

VALUES: dict[str, list[Any]] = {
    "text": TEXTS,
    "varchar": TEXTS,
    "bpchar": [f"{n}  " for n in range(ROWS)],
    "int2": [n * 218 - 2**15 for n in range(ROWS)] + [2**15 - 1],
    "int4": [n * n * 7919 - 2**31 for n in range(ROWS)] + [2**31 - 1],
    "int8": [n * 3**35 - 2**63 for n in range(ROWS)] + [2**63 - 1],
    "uuid": [UUID(int=n * 3**70) for n in range(ROWS)],
    "bytea": [bytes([n % 256, 0, 255]) * (n % 5) + b"%d" % n for n in range(ROWS)],
    "bool": [n % 3 == 0 for n in range(ROWS)],
    "float8": [1e308 / (n + 1) - n for n in range(ROWS)] + [-0.0, math.inf, 5e-324],
}
HASHES = {
    "text": "hashtext",
    "varchar": "hashtext",
    "int2": "hashint2",
    "int4": "hashint4",
    "int8": "hashint8",
    "uuid": "uuid_hash",
    "bytea": "hashbytea",
}
HEAD = (
    "(keys {keys}[], more {more}[], OUT place text, OUT x {keys}[], OUT y {more}[], "
    "OUT shown text) RETURNS SETOF record"
)

Declare = Callable[[str, str, str], Callable[..., list[Any]]]


@pytest.fixture(autouse=True, scope="module")
def _remote(pg: Pg, databases4: list[str]) -> None:
    for number in range(4):
        pg.execute(
            f"part{number:02}",
            "".join(
                f"CREATE FUNCTION echo{HEAD.format(keys=keys, more=type)} LANGUAGE sql "
                "AS 'SELECT right(current_database()::text, 2), keys, more, "
                "row(keys, more, array_dims(keys), array_dims(more))::text';"
                for type in VALUES
                for keys in {type, "int4"}
            ),
        )


@pytest.fixture
def split(make_router: Callable[..., Driver], databases4: list[str]) -> Declare:
    """Return what declares ``echo``: types of both arrays, and a hash of the keys."""
    one_by_one = {
        f"slow_{name}": getattr(hashing, name) for name in set(HASHES.values())
    }
    driver = make_router({"userdb": databases4}, hashes=one_by_one)

    def declare(keys: str, more: str, hash: str) -> Callable[..., list[Any]]:
        return driver.define(
            f"CREATE FUNCTION echo{HEAD.format(keys=keys, more=more)} LANGUAGE plproxy "
            f"AS $$ CLUSTER 'userdb'; SPLIT keys, more; RUN ON {hash}(keys); $$"
        )

    return declare


@pytest.mark.parametrize(("type", "hash"), HASHES.items())
def test_many_rows_arrive_as_row_by_row(split: Declare, type: str, hash: str) -> None:
    """The same partitions in the same order, and the same arrays in their words."""
    keys = VALUES[type]
    more = [None if n % 4 == 0 else value for n, value in enumerate(reversed(keys))]
    rows = split(type, type, hash)(keys, more)
    assert rows == split(type, type, f"slow_{hash}")(keys, more)
    assert len(rows) == 4
    assert sorted(key for row in rows for key in row.x) == sorted(keys)
    beside = dict(zip(keys, more, strict=True))
    for row in rows:
        assert row.y == [beside[key] for key in row.x]


@pytest.mark.parametrize("type", VALUES)
def test_each_type_arrives(split: Declare, type: str) -> None:
    """With NULLs, as nothing but NULLs, and without."""
    values = VALUES[type]
    for more in ([None, *values, None], [None, None], values):
        keys = [5] * len(more)
        (row,) = split("int4", type, "hashint4")(keys, more)
        assert (row.x, row.y) == (keys, more)
        assert [row] == split("int4", type, "slow_hashint4")(keys, more)


def test_what_does_not_fit_is_refused_by_name(split: Declare) -> None:
    texts = split("text", "text", "hashtext")
    ints = split("int4", "int4", "hashint4")
    for function, keys, error, reason in (
        (texts, ["a", "b\0"], ValueError, r"keys \(text\[\]\): NUL character"),
        (texts, ["a", "\ud800"], ValueError, r"keys \(text\[\]\): lone surrogate"),
        (texts, ["a", 1.5], TypeError, r"keys \(text\[\]\): expected str, got float"),
        (ints, [1, True], TypeError, r"keys \(int4\[\]\): expected int, got bool"),
        (ints, [1, 2**31], ValueError, r"keys \(int4\[\]\): out of range"),
    ):
        with pytest.raises(error, match=rf"^public.echo\(2\): argument {reason}"):
            function(keys, [None, None])
    with pytest.raises(RoutingError, match="the hash is NULL"):
        texts(["a", None], ["x", "y"])
