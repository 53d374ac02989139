"""The twins against models and each other; SPLIT of many rows against row by row."""

from __future__ import annotations

import dataclasses
import struct
from array import array
from collections.abc import Callable
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plproxy_py import _lookup3, _pure, values
from plproxy_py.arrays import ELEMENTS, Binary
from plproxy_py.config import ClusterConfig, cluster_config
from plproxy_py.errors import RoutingError
from plproxy_py.function import ProxyFunction
from plproxy_py.pgtypes import PgType
from plproxy_py.tagging import RunHash, Tags
from tests.binary import unpacked
from tests.compiled import define, pick
from tests.strategies import FITTING, texts

INT8S = st.integers(-(2**63), 2**63 - 1)
SHORT_INT8S = st.integers(-9, 9) | INT8S | st.sampled_from([-(2**63), 2**63 - 1])
# Of all lengths about a block of twelve bytes, and long ones.
KEYS = st.binary(max_size=40) | st.integers(0, 300).map(lambda size: b"ab\xff" * size)
ANY_TEXT = st.text(st.characters(), max_size=30)
MASKS = st.integers(0, 7).map(lambda bits: (2**bits, False))
COUNTS = MASKS | st.tuples(st.integers(1, 99), st.just(True))


def int8s(data: bytes) -> list[int]:
    return array("q", data).tolist()


def many_of(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, max_size=25)


@given(st.one_of(many_of(texts), many_of(KEYS), many_of(SHORT_INT8S)))
def test_many_are_hashed_as_each_is(twin: ModuleType, items: list[Any]) -> None:
    def each(item: Any) -> int:
        if isinstance(item, int):
            return _lookup3.hash_uint32(_lookup3.fold(item))
        return _lookup3.hash_bytes(item.encode() if isinstance(item, str) else item)

    hashes = list(map(each, items))
    assert int8s(twin.hash_all(items)) == hashes
    by_type: dict[type, Callable[[Any], int]] = {
        str: twin.hashtext,
        bytes: twin.hash_bytes,
        int: twin.hashint8,
    }
    assert [by_type[type(item)](item) for item in items] == hashes


@given(many_of(SHORT_INT8S), COUNTS)
def test_rows_are_dealt_as_each_is(
    twin: ModuleType, hashes: list[int], how: tuple[int, bool]
) -> None:
    part_count, modular = how
    partitions = [
        abs(hash) % part_count if modular else hash & part_count - 1 for hash in hashes
    ]
    seen, places = twin.deal(array("q", hashes).tobytes(), part_count, modular)
    assert seen == list(dict.fromkeys(partitions))
    assert [seen[place] for place in array("I", places)] == partitions


def data_of(item: Any) -> bytes | None:
    if isinstance(item, str):
        return item.encode()
    return item.to_bytes(8, "big", signed=True) if isinstance(item, int) else item


@given(st.data(), st.integers(1, 5), st.sampled_from([texts, KEYS, SHORT_INT8S]))
def test_parts_are_packed(
    twin: ModuleType, data: st.DataObject, count: int, items: st.SearchStrategy[Any]
) -> None:
    place = st.integers(0, count - 1)
    rows = data.draw(many_of(st.tuples(items | st.none(), place)))
    given = [item for item, _ in rows]
    places = array("I", [place for _, place in rows]).tobytes()
    packed = twin.pack(given, 1234, 8, places, count)
    assert packed == _pure.pack(given, 1234, 8, places, count)
    assert list(map(unpacked, packed)) == [
        (1234, [data_of(item) for item, at in rows if at == number])
        for number in range(count)
    ]


@given(many_of(ANY_TEXT | st.none()))
def test_texts_are_those_that_can_be_sent(
    twin: ModuleType, items: list[str | None]
) -> None:
    text = values.codec(PgType("text"))
    assert text is not None
    try:
        normals = [None if item is None else text.normal(item) for item in items]
    except ValueError:
        normals = []
        assert not twin.are_texts(items)
    else:
        assert twin.are_texts(items)
        assert normals == items


@given(many_of(st.none() | st.integers() | SHORT_INT8S), SHORT_INT8S, SHORT_INT8S)
def test_ints_are_those_within_limits(
    twin: ModuleType, items: list[int | None], low: int, high: int
) -> None:
    fit = all(item is None or low <= item <= high for item in items)
    assert twin.are_ints(items, low, high) is fit


# SPLIT of many rows at once, against row by row: what is sent, and where to.

HASHES = {
    "hashtext": ["text", "varchar", "name"],
    "hashint2": ["int2"],
    "hashint4": ["int2", "int4"],
    "hashint8": ["int2", "int4", "int8"],
    "uuid_hash": ["uuid"],
    "hashbytea": ["bytea"],
    "plproxy.mmh3": ["text", "bytea"],
    "": ["int2", "int4", "int8"],
}
PLAIN = [(hash, type) for hash, types in HASHES.items() for type in types]
OTHERS = [*ELEMENTS, "numeric", "date", "jsonb"]
READ: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(("text", "varchar", "bpchar"), bytes.decode),
    **dict.fromkeys(
        ("int2", "int4", "int8"), lambda data: int.from_bytes(data, "big", signed=True)
    ),
    "float8": lambda data: struct.unpack(">d", data)[0],
    "bool": lambda data: {b"\0": False, b"\1": True}[data],
    "bytea": bytes,
    "uuid": lambda data: UUID(bytes=data),
}


@st.composite
def clusters(draw: st.DrawFn) -> ClusterConfig:
    """Draw a cluster in which several partitions may have the same target."""
    part_count, modular = draw(MASKS | st.tuples(st.integers(1, 9), st.just(True)))
    different = draw(st.integers(1, part_count))
    return cluster_config(
        "userdb",
        {
            "partitions": [f"dbname=p{n % different}" for n in range(part_count)],
            "modular_mapping": modular,
        },
    )


def attempt(call: Callable[[], Tags]) -> Tags | str:
    try:
        return call()
    except RoutingError as error:
        return str(error)


def same(one: Any, other: Any) -> bool:
    # NaN is not equal to itself, and -0.0 is to 0.0.
    return type(one) is type(other) and repr(one) == repr(other)


@pytest.mark.parametrize(("hash", "type"), PLAIN)
@settings(max_examples=20)
@given(data=st.data(), cluster=clusters())
def test_many_rows_go_where_each_would(
    hash: str, type: str, data: st.DataObject, cluster: ClusterConfig
) -> None:
    other = data.draw(st.sampled_from(OTHERS))
    function = define(
        f"f(note text, keys {type}[], more {other}[]) returns setof int",
        f"CLUSTER 'userdb'; SPLIT more, keys; RUN ON {hash}"
        f"{'(keys)' if hash else 'keys'};",
    )
    assert isinstance(function.run_on, RunHash)
    assert function.run_on.by is not None
    keys = FITTING[type] | st.none() if data.draw(st.booleans()) else FITTING[type]
    rows = data.draw(st.lists(st.tuples(keys, FITTING[other] | st.none()), max_size=9))
    given = ["x", [key for key, _ in rows], [more for _, more in rows]]
    slow = dataclasses.replace(
        function, run_on=dataclasses.replace(function.run_on, by=None)
    )
    normals = function.arguments(given, {})
    one_by_one = attempt(lambda: slow.tag(normals, cluster, pick))
    at_once = attempt(lambda: function.tag(normals, cluster, pick))
    if isinstance(one_by_one, str) or isinstance(at_once, str):
        assert at_once == one_by_one
        return
    assert at_once.partitions == one_by_one.partitions
    assert tuple(at_once.hashes) == one_by_one.hashes
    assert at_once.arguments is not None
    assert one_by_one.arguments is not None
    for packed, plain in zip(at_once.arguments, one_by_one.arguments, strict=True):
        _compare(function, packed, plain)


def _compare(function: ProxyFunction, packed: list[Any], plain: list[Any]) -> None:
    assert packed[0] == plain[0]
    for index in (1, 2):
        name = function.signature.inputs[index].type.name
        if name in ELEMENTS:
            assert isinstance(packed[index], Binary)
            assert function.params(packed, [index]) == [packed[index]]
            oid, elements = unpacked(packed[index])
            assert oid == ELEMENTS[name].oid
            read = [None if it is None else READ[name](it) for it in elements]
        else:
            read = packed[index]
        assert len(read) == len(plain[index])
        assert all(map(same, read, plain[index]))
