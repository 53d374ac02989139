"""Clusters and functions of a file: read anew when it changes, kept when it is bad."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from psycopg.adapt import AdaptersMap

from plproxy_py import ConfigError, DeclarationError, NoSuchCluster
from plproxy_py._catalog import Catalog
from plproxy_py._clusters import FILE_TTL, ClusterMap, FileClusters
from plproxy_py._connector import Connector
from plproxy_py._pools import Pools
from plproxy_py._steps import run


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class World:
    """A configuration file, its functions, and what serves them."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "plproxy.toml"
        self.functions = folder / "functions.sql"
        self.catalog = Catalog({})
        self.clock = Clock()
        self.map = ClusterMap(Pools(Connector(AdaptersMap()), 1, 1))
        self.count = 0
        self.write("a", "one")
        self.clusters = FileClusters(self.map, self.catalog, self.config, self.clock)

    def write(self, database: str, function: str) -> None:
        self.put(
            self.config,
            f"functions = ['functions.sql']\n[clusters]\nc = ['dbname={database}']",
        )
        self.put(
            self.functions,
            f"CREATE FUNCTION {function}() RETURNS int LANGUAGE plproxy AS "
            "$$ CLUSTER 'c'; $$;",
        )

    def put(self, path: Path, text: str) -> None:
        """Write a file, at a moment of its own."""
        path.write_text(text)
        self.count += 1
        os.utime(path, (self.count, self.count))

    def look(self) -> tuple[str, list[str]]:
        """Let the time to look come, look; return the database and the functions."""
        self.clock.now += FILE_TTL
        return self.seen()

    def seen(self) -> tuple[str, list[str]]:
        run(self.clusters.refresh(float("inf")))
        target = run(self.clusters.get("c", float("inf"))).config.target(0)
        return target.redacted.removeprefix("dbname="), list(self.catalog.entries)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_clusters_and_functions_change_together(world: World) -> None:
    assert world.look() == ("a", ["public.one()"])
    world.write("b", "two")
    # Not yet: it is looked at once in a second.
    assert world.seen() == ("a", ["public.one()"])
    assert world.look() == ("b", ["public.two()"])
    assert world.clusters.stats() == {
        "source": str(world.config),
        "age": 0.0,
        "error": None,
    }


def test_a_pool_lives_on_where_its_cluster_did_not_change(world: World) -> None:
    before = run(world.clusters.get("c", float("inf")))
    world.write("a", "two")
    world.look()
    assert run(world.clusters.get("c", float("inf"))) is before


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("config", "clusters = 5", "the key 'clusters' is missing"),
        ("config", "[clusters]\nc = ['a=b']", "libpq can't parse"),
        (
            "config",
            'functions = ["a\\u0000b"]\n[clusters]\nc = ["dbname=b"]',
            "can't be read",
        ),
        ("functions", "CREATE FUNCTION f( LANGUAGE plproxy", "unterminated"),
        (
            "functions",
            "CREATE FUNCTION f() RETURNS int LANGUAGE plproxy AS '';",
            "CLUSTER",
        ),
        ("functions", None, "can't be read"),
    ],
)
def test_what_is_bad_leaves_the_old_in_force(
    world: World,
    caplog: pytest.LogCaptureFixture,
    name: str,
    text: Any,
    reason: str,
) -> None:
    """It is logged once, and the next good one comes into force."""
    world.write("b", "two")
    path: Path = getattr(world, name)
    if text is None:
        path.unlink()
    else:
        world.put(path, text)
    for number in range(3):
        assert world.look() == ("a", ["public.one()"])
        stats = world.clusters.stats()
        assert reason in str(stats["error"])
        assert stats["age"] == (number + 1) * FILE_TTL
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert reason in caplog.text
    world.write("b", "two")
    assert world.look() == ("b", ["public.two()"])
    assert world.clusters.stats()["error"] is None


def test_the_first_file_must_be_good(world: World) -> None:
    world.put(world.functions, "CREATE FUNCTION f( LANGUAGE plproxy")
    with pytest.raises(DeclarationError, match="unterminated"):
        FileClusters(world.map, world.catalog, world.config)
    world.config.unlink()
    with pytest.raises(ConfigError, match="no such file"):
        FileClusters(world.map, world.catalog, world.config)
    assert world.seen() == ("a", ["public.one()"])


def test_a_cluster_that_is_not_there(world: World) -> None:
    with pytest.raises(NoSuchCluster, match="cluster not found: d") as caught:
        run(world.clusters.get("d", float("inf")))
    assert caught.value.cluster == "d"
