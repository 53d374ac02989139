"""Arguments as large as nobody should make them: they come back as they went."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.both import face, lent, rows
from tests.fix_hostile import define, pids
from tests.fix_router import Driver


@pytest.fixture
def driver(hostile: Driver) -> Driver:
    return hostile


@pytest.fixture(scope="module")
def hundred() -> str:
    return "é" * 50_000_000


def test_a_hundred_megabytes(driver: Driver, hundred: str) -> None:
    if driver.is_async:
        hundred = hundred[: 10**7]
    f = define(driver, "same(v text)", "text")
    before = pids(driver)
    assert driver.run(f(hundred)) == hundred
    assert driver.run(f("a")) == "a"
    assert pids(driver) == before


def test_ten_megabytes_by_every_way(driver: Driver) -> None:
    big = "é" * 5_000_000
    f = define(driver, "same(v text)", "text")
    bytea = define(driver, "same(v bytea)", "bytea", "RUN ON hashbytea(v)")
    texts = define(
        driver, "parts(v text[])", "SETOF text", "SPLIT v; RUN ON hashtext(v)"
    )
    stream = face(driver, Iterator[str], {"v": str}, name="all_of")
    before = pids(driver)
    for _ in range(2):
        assert driver.run(f.call_many([(big,), ("a",), (big,)])) == [big, "a", big]
        assert driver.run(bytea(big.encode())) == big.encode()
        assert rows(driver, stream(big)) == [big, big]
        assert sorted(driver.run(texts([big, "a"]))) == ["a", big]
    assert driver.execute("userdb", "SELECT length($1)", big)[1] == [(5_000_000,)]
    with lent(driver, "userdb", key=big) as connection:
        assert not connection.closed
    assert pids(driver) == before


def test_a_million_elements(driver: Driver) -> None:
    numbers = define(driver, "count_of(v int4[])", "int4", "RUN ON 0")
    words = define(driver, "count_of(v text[])", "int4", "RUN ON 0")
    parts = define(
        driver, "parts(v text[])", "SETOF text", "SPLIT v; RUN ON hashtext(v)"
    )
    before = pids(driver)
    assert driver.run(numbers(list(range(10**6)))) == 10**6
    assert driver.run(words(['a"\\,{}NULL'] * 10**6)) == 10**6
    million = [str(number) for number in range(10**6)]
    assert sorted(driver.run(parts(million)), key=int) == million
    assert pids(driver) == before
