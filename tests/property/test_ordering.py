"""Merging is sorting; what is out of order is found, and nothing read in vain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plproxy_py.ordering import OutOfOrder, merged, parse_order_by, window
from plproxy_py.signature import parse_columns

COLUMNS = parse_columns("a int, b numeric")
_numbers = st.none() | st.integers(-3, 3).map(lambda number: b"%d" % number)
_rows = st.lists(st.tuples(_numbers, _numbers), max_size=8)
_items = st.permutations(["a", "b"]).flatmap(
    lambda names: st.tuples(
        *(
            st.sampled_from(["", " desc", " nulls first", " desc nulls last"]).map(
                name.__add__
            )
            for name in names
        )
    )
)


@given(partitions=st.lists(_rows, max_size=5), items=_items)
def test_merging_is_sorting(partitions: Any, items: tuple[str, ...]) -> None:
    """Equal rows stay as they came: source by source, and within each."""
    keys = parse_order_by(items, COLUMNS)

    def key(row: tuple[bytes | None, ...]) -> tuple[object, ...]:
        return tuple(key.key(row[key.column]) for key in keys)

    sources = [sorted(rows, key=key) for rows in partitions]
    whole = sorted((row for rows in sources for row in rows), key=key)
    found = merged([[(key(row), row) for row in rows] for rows in sources])
    assert list(found) == whole


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=4))
def test_disorder_is_found(sources: list[list[int]]) -> None:
    """What came before the error was in order, and so was each source up to there."""
    found: list[tuple[int, int, int]] = []
    rows = merged(
        [
            [((key,), (source, place, key)) for place, key in enumerate(keys, 1)]
            for source, keys in enumerate(sources)
        ]
    )
    if all(sorted(keys) == keys for keys in sources):
        assert [key for _, _, key in rows] == sorted(chain(*sources))
        return
    with pytest.raises(OutOfOrder) as raised:
        found.extend(rows)
    source, row = raised.value.source, raised.value.row
    keys = sources[source]
    assert keys[row - 1] < keys[row - 2]
    assert sorted(keys[: row - 1]) == keys[: row - 1]
    for one, other in pairwise(key for _, _, key in found):
        assert one <= other
    # Neither of the two that show it was given away.
    assert not {(source, row - 1, keys[row - 2]), (source, row, keys[row - 1])} & {
        *found
    }


@given(
    sources=st.lists(st.lists(st.integers(), max_size=9).map(sorted), max_size=4),
    offset=st.integers(0, 12),
    limit=st.none() | st.integers(0, 12),
)
def test_no_more_is_read_than_needed(
    sources: list[list[int]], offset: int, limit: int | None
) -> None:
    read = [0] * len(sources)

    def source(place: int) -> Iterator[tuple[tuple[int], int]]:
        for key in sources[place]:
            read[place] += 1
            yield (key,), place

    rows = merged([source(place) for place in range(len(sources))])
    whole = sorted((key, n) for n, keys in enumerate(sources) for key in keys)
    end = None if limit is None else offset + limit
    assert list(window(rows, offset, limit)) == [n for _, n in whole[offset:end]]
    passed = [n for _, n in whole[:end]] if limit != 0 else []
    for place, count in enumerate(read):
        assert count <= passed.count(place) + 1
