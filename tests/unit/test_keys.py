"""Keys and where they live."""

from __future__ import annotations

from datetime import datetime

import pytest

from plproxy_py.config import cluster_config
from plproxy_py.errors import RoutingError
from plproxy_py.keys import default_hash, key_of

CLUSTER = cluster_config("userdb", [f"dbname=p{n}" for n in range(4)])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("hashtext", "marko", ("marko", 1416933399, 3)),
        ("hashint8", 42, (42, 1509752520, 0)),
        ("hashint4", "42", (42, 1509752520, 0)),
        ("mmh3", "marko", ("marko", -1014612699, 1)),
        ("own", "marko", ("marko", 6, 2)),
    ],
)
def test_a_key_has_its_partition(
    name: str, value: object, expected: tuple[object, int, int]
) -> None:
    registered = {"own": lambda key: len(key) + 1}
    assert key_of(name, registered).partition(value, CLUSTER, registered) == expected


def test_a_naive_datetime_is_placed_in_the_clusters_zone() -> None:
    zoned = cluster_config(
        "userdb", {"partitions": ["dbname=a", "dbname=b"], "timezone": "Asia/Tokyo"}
    )
    key = key_of("timestamptz_hash", {})
    naive = datetime(2020, 1, 1, 9)
    placed, hash, _ = key.partition(naive, zoned, {})
    assert placed.isoformat() == "2020-01-01T00:00:00+00:00"
    assert key.partition(placed, CLUSTER, {})[1] == hash
    with pytest.raises(ValueError, match="naive"):
        key.partition(naive, CLUSTER, {})


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("hashtext", None, RoutingError), ("hashint4", 2**31, ValueError)],
)
def test_some_values_are_no_keys(
    name: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        key_of(name, {}).partition(value, CLUSTER, {})


def test_an_unknown_hash_names_the_nearest() -> None:
    with pytest.raises(RoutingError, match="did you mean 'hashtext'"):
        key_of("hashtxt", {})


def test_the_hash_of_a_key_by_its_type() -> None:
    assert [default_hash(key) for key in ("a", 1)] == ["hashtext", "hashint8"]
