"""What counts as even; keys and numbers, made, folded and computed."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest

from plproxy_py.config import cluster_config
from plproxy_py.errors import RoutingError
from plproxy_py.hashing import hashint8, hashtext, mmh3
from plproxy_py.ops.balance import count_keys, keys_balance, made_keys, numbering
from plproxy_py.ops.placing.hashes import KeyHash, Numbering, default_hash_name
from plproxy_py.ops.placing.places import places_of, server_name, united
from plproxy_py.ops.placing.spread import Spread, even_shares
from plproxy_py.ops.placing.tables import Wanted

CLUSTER = cluster_config("c", [f"host=db{n % 2} dbname=part{n}" for n in range(4)])
QUARTERS = even_shares([1] * 4)


def key_hash(name: str, column: str | None = None) -> KeyHash:
    return KeyHash(name, CLUSTER, {"own": len}, column)


@pytest.mark.parametrize(
    ("amounts", "independent", "uneven"),
    [
        ((250, 250, 250, 250), 1000, []),
        ((270, 240, 245, 245), 1000, []),  # within 10 %
        ((300, 233, 233, 234), 1000, []),  # 3.7 standard deviations
        ((320, 226, 227, 227), 1000, [0]),  # 5.1 of them
        ((200, 200, 200, 400), 1000, [3]),  # the others are 0.8 of theirs
        ((0, 3, 0, 0), 3, []),  # three keys prove nothing
        ((0, 30, 0, 0), 30, [1]),
        ((0, 334, 333, 333), 1000, [0, 1, 2, 3]),
        ((27, 25, 24, 24), None, []),
        ((40, 20, 20, 20), None, [0, 1, 2, 3]),  # no throwing of keys: no chance
        ((0, 0, 0, 0), 0, []),
    ],
)
def test_uneven(
    amounts: tuple[int, ...], independent: int | None, uneven: list[int]
) -> None:
    assert sorted(Spread(amounts, QUARTERS, independent).uneven) == sorted(uneven)


def test_the_worst_comes_first() -> None:
    spread = Spread((2000, 1000, 500, 500), QUARTERS, 4000)
    assert spread.uneven == [0, 2, 3]
    assert (spread.furthest, spread.times(0), spread.times(1)) == (0, 2.0, 1.0)


def test_chance_is_what_is_just_called_even() -> None:
    spread = Spread((0,) * 4, QUARTERS, 10_000)
    assert spread.chance is not None
    edge = round(2500 * (1 + spread.chance))
    for amount, uneven in ((edge - 30, []), (edge + 30, [0])):
        rest = (10_000 - amount) // 3
        amounts = (amount, rest, rest, 10_000 - amount - 2 * rest)
        assert Spread(amounts, QUARTERS, 10_000, tolerance=0).uneven == uneven


def test_shares_of_databases_that_are_several_partitions() -> None:
    assert even_shares([1, 1, 2]) == (0.25, 0.25, 0.5)
    assert Spread((250, 250, 500), even_shares([1, 1, 2]), 1000).uneven == []


@pytest.mark.parametrize("planned", [None, 1, 2, 8, 32])
def test_keys_here_and_as_planned(planned: int | None) -> None:
    keys = [f"user{number}" for number in range(500)]
    counts = count_keys(keys, key_hash("hashtext"), numbering(CLUSTER, planned))
    found = keys_balance(CLUSTER, counts, planned)
    expected = Counter(hashtext(key) & 3 for key in keys)
    assert [one.keys for one in found.partitions.held] == [
        expected[n] for n in range(4)
    ]
    assert [one.server for one in found.servers.held] == ["db0:5432", "db1:5432"]
    assert [one.keys for one in found.servers.held] == [
        expected[0] + expected[2],
        expected[1] + expected[3],
    ]
    if planned is None:
        assert found.planned is None
        return
    assert found.planned is not None
    expected = Counter(hashtext(key) & (planned - 1) for key in keys)
    assert [one.keys for one in found.planned.held] == [
        expected[number] for number in range(planned)
    ]


def test_modular_counts_fold_too() -> None:
    cluster = cluster_config(
        "m",
        {"partitions": ["dbname=a", "dbname=b", "dbname=c"], "modular_mapping": True},
    )
    hash = KeyHash("hashint8", cluster, {})
    counts = count_keys(range(-300, 300), hash, numbering(cluster, 4))
    found = keys_balance(cluster, counts, 4)
    assert found.planned is not None
    for count, group in ((3, found.partitions), (4, found.planned)):
        expected = Counter(abs(hashint8(key)) % count for key in range(-300, 300))
        assert [one.keys for one in group.held] == [expected[n] for n in range(count)]


@pytest.mark.parametrize(
    ("name", "column", "keys", "hashes"),
    [
        ("hashtext", "text", ["a", ""], [hashtext("a"), hashtext("")]),
        ("hashint8", "int4", [5, "-7"], [hashint8(5), hashint8(-7)]),
        ("mmh3", "text", ["é"], [mmh3("é")]),
        ("mmh3", "bytea", [b"\xff"], [mmh3(b"\xff")]),
        ("hashtextextended", None, ["a"], None),
        ("own", "text", ["abc"], [3]),
    ],
)
def test_hashes(
    name: str, column: str | None, keys: list[object], hashes: list[int] | None
) -> None:
    hash = key_hash(name, column)
    found = list(hash.hashes([hash.normal(key) for key in keys]))
    if hashes is None:
        (key,) = keys
        _, expected, _ = hash.key.partition(key, CLUSTER, {})
        hashes = [expected]
    assert found == hashes


@pytest.mark.parametrize(
    ("name", "column", "sql", "signature"),
    [
        (
            "hashtext",
            'a "b',
            'pg_catalog.hashtext(("a ""b"::text) COLLATE pg_catalog."C")',
            "pg_catalog.hashtext(text)",
        ),
        (
            "hashint8",
            "id",
            'pg_catalog.hashint8("id"::int8)',
            "pg_catalog.hashint8(int8)",
        ),
        (
            "hashint8extended",
            "id",
            'pg_catalog.hashint8extended("id"::int8, 0)',
            "pg_catalog.hashint8extended(int8, int8)",
        ),
        (
            "mmh3",
            "id",
            'plproxy.mmh3(("id"::text) COLLATE pg_catalog."C")',
            "plproxy.mmh3(text)",
        ),
    ],
)
def test_hashes_in_sql(name: str, column: str, sql: str, signature: str) -> None:
    hash = key_hash(name)
    assert (hash.sql(column), hash.signature) == (sql, signature)


def test_where_a_server_would_hash_other_bytes() -> None:
    assert key_hash("hashtext").agrees("UTF8")
    assert not key_hash("hashtext").agrees("LATIN1")
    assert key_hash("hashint8").agrees("LATIN1")
    assert key_hash("mmh3").agrees("LATIN1")
    assert key_hash("own").signature is None


def test_own_hash_functions_that_fail() -> None:
    def own(key: str) -> object:
        return None if key == "none" else int(key)

    hash = KeyHash("own", CLUSTER, {"own": own})
    assert hash.hashes(["3"]) == [3]
    with pytest.raises(RoutingError, match="own failed on a key: ValueError"):
        hash.hashes(["sekret"])
    with pytest.raises(RoutingError, match="NULL"):
        hash.hashes(["none"])


@pytest.mark.parametrize(
    ("type", "name"),
    [("int2", "hashint8"), ("int8", "hashint8"), ("varchar", "hashtext")],
)
def test_default_hash(type: str, name: str) -> None:
    assert default_hash_name("c", type) == name


@pytest.mark.parametrize(
    ("type", "told"),
    [
        ("uuid", "uuid_hash or hashtext"),
        ("bytea", "hashbytea or"),
        ("citext", "hashtext"),
    ],
)
def test_types_that_may_be_hashed_in_two_ways(type: str, told: str) -> None:
    with pytest.raises(RoutingError, match=f"column c is of type {type}.*{told}"):
        default_hash_name("c", type)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("users", ("users",)),
        ("shop.Orders", ("shop", "Orders")),
        ('"a.b"."c ""d"', ("a.b", 'c "d')),
    ],
)
def test_names_of_tables(text: str, path: tuple[str, ...]) -> None:
    assert Wanted(text, "k", None).path == path


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", 'a"b', '"a', "a..b"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(RoutingError, match="no table's name"):
        _ = Wanted(text, "k", None).path


def test_places() -> None:
    cluster = cluster_config(
        "c", ["dbname=a port=1", "dbname=b", "port=1 dbname=a", "dbname=b port=5432"]
    )
    places = places_of(cluster)
    assert [place.partitions for place in places] == [(0, 2), (1,), (3,)]
    same = united(places, {0: "one", 1: "two", 3: "two"})
    assert [place.partitions for place in same] == [(0, 2), (1, 3)]
    # Nobody knows of those that could not be asked.
    assert len(united(places, {1: "two"})) == 3


@pytest.mark.parametrize(
    ("connstr", "name"),
    [
        ("host=db0 dbname=a", "db0:5432"),
        ("host=db0 hostaddr=10.0.0.1 port=6432 dbname=a", "db0:6432"),
        ("hostaddr=10.0.0.1 dbname=a", "10.0.0.1:5432"),
        ("dbname=a", "local:5432"),
    ],
)
def test_server_names(connstr: str, name: str) -> None:
    assert server_name(cluster_config("c", [connstr]).target(0)) == name


def test_made_keys() -> None:
    assert list(made_keys(key_hash("hashtext"), 2)) == ["key1", "key2"]
    assert list(made_keys(key_hash("hashint4"), 2)) == [1, 2]
    assert list(made_keys(key_hash("crc32"), 1)) == [b"key1"]
    uuids = list(made_keys(key_hash("uuid_hash"), 3))
    assert len(set(uuids)) == 3
    assert all(isinstance(key, UUID) for key in uuids)
    with pytest.raises(RoutingError, match="takes date, of which no keys are made"):
        made_keys(key_hash("hashdate"), 1)


def test_a_key_that_does_not_fit_is_told_by_its_position() -> None:
    with pytest.raises(RoutingError, match="key 3: "):
        count_keys(["1", "2", "x"], key_hash("hashint4"), Numbering(4, False))
