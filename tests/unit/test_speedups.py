"""The compiled part and its twin: golden hashes and bytes, and what they refuse."""

from __future__ import annotations

import gc
import importlib.util
import struct
import sys
import tracemalloc
from array import array
from collections.abc import Callable
from enum import IntEnum, StrEnum
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from plproxy_py import _native, _pure
from plproxy_py.cli import main
from tests.fix_twins import compiled
from tests.unit.test_hashing import GOLDEN, HASHTEXT, PANGRAM


class Number(IntEnum):
    """Ints that are more than that."""

    SEVEN = 7


class Word(StrEnum):
    """Texts that are more than that."""

    NAME = "marko"


def int8s(*numbers: int) -> bytes:
    return array("q", numbers).tobytes()


def places(*numbers: int) -> bytes:
    return array("I", numbers).tobytes()


TEXTS = [PANGRAM[:length] for length in range(41)]
TEXT_HASHES = list(map(int, HASHTEXT.split()))


def test_golden_hashes(twin: ModuleType) -> None:
    assert list(map(twin.hashtext, TEXTS)) == TEXT_HASHES
    assert [twin.hash_bytes(text.encode()) for text in TEXTS] == TEXT_HASHES
    for hash, type in (
        (twin.hashtext, "text"),
        (twin.hash_bytes, "bytea"),
        (twin.hashint4, "int4"),
        (twin.hashint4, "oid"),
        (twin.hashint8, "int8"),
    ):
        for value, golden, _ in GOLDEN[type]:
            assert hash(value) == golden, (type, value)


@pytest.mark.parametrize("times", [1, 3, 60])
def test_golden_hashes_of_many(twin: ModuleType, times: int) -> None:
    """Few of a length, several, and more than there are lanes in one int."""
    many = int8s(*TEXT_HASHES * times)
    assert twin.hash_all(TEXTS * times) == many
    assert twin.hash_all([text.encode() for text in TEXTS] * times) == many
    numbers = [value for value, _, _ in GOLDEN["int8"]] * times
    assert twin.hash_all(numbers) == int8s(*map(twin.hashint8, numbers))
    assert twin.hash_all([]) == b""


def test_a_null_has_no_hash(twin: ModuleType) -> None:
    for items in ([None], ["a", None], [None, 1], [b"", b"x", None]):
        assert twin.hash_all(items) is None


def test_what_has_no_hash(twin: ModuleType) -> None:
    for items in ([1.5], [object()]):
        with pytest.raises((TypeError, AttributeError)):
            twin.hash_all(items)
    for hash in (twin.hashtext, twin.hash_bytes, twin.hashint4, twin.hashint8):
        with pytest.raises((TypeError, AttributeError)):
            hash(None)
    with pytest.raises(UnicodeEncodeError):
        twin.hashtext("\ud800")
    with pytest.raises(UnicodeEncodeError):
        twin.hash_all(["a", "\udfff"])


@pytest.mark.parametrize(
    ("items", "fit"),
    [
        ([], True),
        (["", "a", None, "é", "中", "🐘"], True),
        ([None, None], True),
        (["a\0"], False),
        (["é\0"], False),
        (["\ud83d", "\ude00"], False),
        (["a", Word.NAME], False),
        (["a", 1], False),
        ([b"a"], False),
    ],
)
def test_texts(twin: ModuleType, items: list[Any], fit: bool) -> None:
    assert twin.are_texts(items) is fit


@pytest.mark.parametrize(
    ("items", "fit"),
    [
        ([], True),
        ([None], True),
        ([-8, None, 7], True),
        ([8], False),
        ([0, -9], False),
        ([2**63], False),
        ([-(2**63) - 1], False),
        ([10**30], False),
        ([True], False),
        ([Number.SEVEN], False),
        ([1.0], False),
        (["1"], False),
    ],
)
def test_ints(twin: ModuleType, items: list[Any], fit: bool) -> None:
    assert twin.are_ints(items, -8, 7) is fit


def test_all_int8s(twin: ModuleType) -> None:
    low, high = -(2**63), 2**63 - 1
    assert twin.are_ints([low, high], low, high) is True
    assert twin.are_ints([high + 1], low, high) is False


@pytest.mark.parametrize(
    ("hashes", "part_count", "modular", "partitions", "dealt"),
    [
        ((), 4, False, [], ()),
        ((5, 0, -1, 5, 4), 4, False, [1, 0, 3], (0, 1, 2, 0, 1)),
        ((-1, -5, 2**63 - 1, -(2**63)), 4, False, [3, 0], (0, 0, 0, 1)),
        # as C has it: the remainder's size does not depend on the sign
        ((-1, -4, 1, -(2**63), 0), 3, True, [1, 2, 0], (0, 0, 0, 1, 2)),
        ((9, -9), 1, True, [0], (0, 0)),
        ((65535, 65536, 70000), 131072, False, [65535, 65536, 70000], (0, 1, 2)),
    ],
)
def test_deal(
    twin: ModuleType,
    hashes: tuple[int, ...],
    part_count: int,
    modular: bool,
    partitions: list[int],
    dealt: tuple[int, ...],
) -> None:
    found = twin.deal(int8s(*hashes), part_count, modular)
    assert found == (partitions, places(*dealt))


def header(oid: int, length: int, nulls: bool = False) -> bytes:
    return struct.pack(">iiIii", 1, nulls, oid, length, 1)


@pytest.mark.parametrize(
    ("items", "oid", "width", "packed"),
    [
        (["a", "", "é"], 25, 8, b"\0\0\0\1a\0\0\0\0\0\0\0\2\xc3\xa9"),
        (["a", None], 25, 8, b"\0\0\0\1a\xff\xff\xff\xff"),
        ([None], 25, 8, b"\xff\xff\xff\xff"),
        ([b"\0\xff", b""], 17, 8, b"\0\0\0\2\0\xff\0\0\0\0"),
        ([1, -2], 21, 2, b"\0\0\0\2\0\1\0\0\0\2\xff\xfe"),
        ([1, None], 23, 4, b"\0\0\0\4\0\0\0\1\xff\xff\xff\xff"),
        ([-(2**63)], 20, 8, b"\0\0\0\x08\x80\0\0\0\0\0\0\0"),
        (["x" * 300], 25, 8, b"\0\0\1\x2c" + b"x" * 300),
        ([2**31 - 1, -(2**31)], 23, 4, b"\0\0\0\4\x7f\xff\xff\xff\0\0\0\4\x80\0\0\0"),
    ],
)
def test_one_array(
    twin: ModuleType, items: list[Any], oid: int, width: int, packed: bytes
) -> None:
    whole = header(oid, len(items), None in items) + packed
    assert twin.pack(items, oid, width, places(*[0] * len(items)), 1) == [whole]


def test_each_place_gets_its_array(twin: ModuleType) -> None:
    """In order; also one that no item goes to, and a NULL is flagged where it is."""
    assert twin.pack(["a", None, "c", "d"], 25, 8, places(2, 0, 2, 0), 3) == [
        header(25, 2, nulls=True) + b"\xff\xff\xff\xff\0\0\0\1d",
        struct.pack(">iiI", 0, 0, 25),
        header(25, 2) + b"\0\0\0\1a\0\0\0\1c",
    ]


@pytest.mark.parametrize("items", [[2**31], [0, -(2**31) - 1], [None, 2**31], [2**63]])
def test_an_int_that_is_too_wide(twin: ModuleType, items: list[Any]) -> None:
    with pytest.raises((OverflowError, struct.error)):
        twin.pack(items, 23, 4, places(*[0] * len(items)), 1)


def test_places_that_do_not_fit(twin: ModuleType) -> None:
    for given in (places(0), places(0, 0, 0), b""):
        with pytest.raises(ValueError):  # noqa: PT011 - the twins' own words
            twin.pack(["a", "b"], 25, 8, given, 1)
    with pytest.raises((ValueError, IndexError)):
        twin.pack(["a", "b"], 25, 8, places(0, 1), 1)


BAD_CALLS: list[Callable[[ModuleType], Any]] = [
    lambda part: part.hash_all(None),
    lambda part: part.hash_all(("a",)),
    lambda part: part.hash_all(["a", 1.5]),
    lambda part: part.hash_all(["a", "\ud800"]),
    lambda part: part.hash_all([1, 2**63]),
    lambda part: part.hash_bytes("a"),
    lambda part: part.hashtext(b"a"),
    lambda part: part.hashint8(2**63),
    lambda part: part.are_texts(("a",)),
    lambda part: part.are_ints(("a",), 1, 2),
    lambda part: part.are_ints([1], 1, 2**63),
    lambda part: part.deal("", 1, False),
    lambda part: part.deal(b"12345678", 0, False),
    lambda part: part.deal(b"12345678", -1, True),
    lambda part: part.deal(b"12345678", 2**40, True),
    lambda part: part.pack(["a"], 25, 8, b"", 1),
    lambda part: part.pack(["a"], 25, 8, b"123", 1),
    lambda part: part.pack(["a"], 25, 8, places(1), 1),
    lambda part: part.pack(["a"], 25, 8, places(2**32 - 1), 1),
    lambda part: part.pack(["a"], 25, 8, places(0), 0),
    lambda part: part.pack(["a"], 25, 8, places(0), -1),
    lambda part: part.pack(["a", 1.5], 25, 8, places(0, 1), 2),
    lambda part: part.pack(["a", "\ud800"], 25, 8, places(0, 1), 2),
    lambda part: part.pack([1], 25, 0, places(0), 1),
    lambda part: part.pack([1], 25, 9, places(0), 1),
    lambda part: part.pack([2**15], 25, 2, places(0), 1),
    lambda part: part.pack((1,), 25, 4, places(0), 1),
]


def good_calls(part: ModuleType) -> None:
    """Call all functions with what they take, the texts new ones."""
    keys = [f"é{n}" for n in range(50)] + [None]
    hashes = part.hash_all(keys[:-1])
    partitions, dealt = part.deal(hashes, 7, True)
    assert len(part.pack(keys[:-1], 25, 8, dealt, len(partitions))) == len(partitions)
    # Small numbers are shared objects: take others as well.
    assert part.deal(int8s(2**20, 300), 2**21, False)[0] == [2**20, 300]
    assert part.pack([1, None], 20, 8, places(0, 1), 2)
    assert part.are_texts(keys)
    assert part.are_ints([1, None], 0, 5)
    assert not part.are_texts(["\ud800"])
    assert not part.are_ints([2**70], 0, 5)
    assert part.hash_all([10**15]) == int8s(part.hashint8(10**15))
    assert part.hash_all(keys) is None
    assert part.hashtext("ä") == part.hash_bytes("ä".encode())


def test_the_compiled_part_refuses_what_it_can_not_read() -> None:
    part = compiled()
    for call in BAD_CALLS:
        with pytest.raises((TypeError, ValueError, OverflowError, MemoryError)):
            call(part)


def test_the_compiled_part_keeps_no_memory() -> None:
    part = compiled()

    def some(times: int) -> None:
        for _ in range(times):
            good_calls(part)
            for call in BAD_CALLS:
                try:
                    call(part)
                except Exception:
                    continue
                raise AssertionError("nothing was refused")

    some(3)
    references = [sys.getrefcount(shared) for shared in (None, 7, "", b"")]
    tracemalloc.start()
    try:
        some(3)
        before, _ = tracemalloc.get_traced_memory()
        some(100)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # One lost object of the smallest in each round were 2,400 bytes.
    assert after - before < 2000
    for shared, count in zip((None, 7, "", b""), references, strict=True):
        assert abs(sys.getrefcount(shared) - count) < 50


class Saboteur:
    """In a circle with itself; when it is collected, the list is not what it was."""

    def __init__(self, items: list[Any], then: Callable[[list[Any]], None]) -> None:
        self.itself = self
        self.items = items
        self.then = then

    def __del__(self) -> None:
        self.then(self.items)


@pytest.mark.parametrize("then", [list.clear, lambda items: items.extend("xyz" * 99)])
@pytest.mark.parametrize("function", ["pack", "hash_all", "are_texts"])
def test_a_list_may_change_whenever_garbage_is_collected(
    twin: ModuleType, function: str, then: Callable[[list[Any]], None]
) -> None:
    """Wherever in a call that is: the collector comes after some allocations."""
    further = (25, 8, places(*range(40)), 40) if function == "pack" else ()
    thresholds = gc.get_threshold()
    held: list[list[list[int]]] = []
    for allocations in range(1, 8):
        items: list[Any] = [f"é{n}" for n in range(40)]
        call = partial(getattr(twin, function), items, *further)
        # Python keeps 80 lists that were freed, and gives them out again uncounted.
        held.append([[] for _ in range(100)])
        gc.collect(0)
        Saboteur(items, then)
        refused = ""
        gc.set_threshold(allocations)
        try:
            call()
        except ValueError as error:
            refused = str(error)
        finally:
            gc.set_threshold(*thresholds)
        gc.collect(1)
        assert len(items) != 40
        # Nothing behind the places' end was read.
        assert "beyond" not in refused
    assert held


def chosen() -> ModuleType:
    """Return `_native` as a process begins with it."""
    spec = importlib.util.spec_from_file_location("native", _native.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_compiled_part_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    part = compiled()
    monkeypatch.delenv("PLPROXY_PY_PURE", raising=False)
    module = chosen()
    assert module.COMPILED is True
    assert module.hashtext is part.hashtext


def test_python_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLPROXY_PY_PURE", "1")
    module = chosen()
    assert module.COMPILED is False
    assert module.hashtext is _pure.hashtext


def test_python_is_chosen_where_nothing_was_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PLPROXY_PY_PURE", raising=False)
    monkeypatch.setitem(sys.modules, "plproxy_py._speedups", None)
    module = chosen()
    assert module.COMPILED is False
    assert module.pack is _pure.pack


def test_the_twins_have_the_same_functions() -> None:
    part = compiled()
    for name in _native.__all__:
        if name != "COMPILED":
            assert callable(getattr(_pure, name))
            assert callable(getattr(part, name))


def test_the_version_says_which_is_in_use() -> None:
    result = CliRunner().invoke(main, ["--version"], prog_name="plproxy")
    assert result.exit_code == 0
    answer = "yes" if _native.COMPILED else "no"
    assert result.stdout.startswith("plproxy 0.1.0, psycopg 3.")
    assert (
        f", Python {sys.version.split()[0]}, compiled part: {answer}\n" in result.stdout
    )
