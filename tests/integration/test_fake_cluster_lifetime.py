"""Where a fake cluster stands in, and what is left of it behind its block."""

from __future__ import annotations

import gc
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from plproxy_py import ConfigError, ConnectError, QueryTimeout
from plproxy_py.testing import FakeCluster
from tests.both import face
from tests.fix_fake import declare
from tests.fix_router import Driver


def test_connect_leads_to_the_fake(make_router: Callable[..., Driver]) -> None:
    driver = make_router(allow_connect=["db7", "127.0.0.1"])
    text = (
        "CREATE FUNCTION h(c text) RETURNS text AS $$ CONNECT c; $$ LANGUAGE plproxy;"
    )
    h = driver.define(text)
    with FakeCluster(driver.router, {"userdb": 1}) as fake:
        fake.answer("h", "here")
        assert h("host=db7 dbname=x password=secret") == "here"
        assert fake.calls[0].cluster == "dbname=x host=db7 password=****"
        with pytest.raises(ConfigError, match="may not reach"):
            h("host=db8")
        assert h("host=127.0.0.1 port=1") == "here"
    with pytest.raises(ConnectError, match="port 1 failed"):
        h("host=127.0.0.1 port=1")


def test_expressions_of_the_home_database(make_router: Callable[..., Driver]) -> None:
    nowhere = "host=127.0.0.1 port=1"
    driver = make_router({"userdb": [nowhere]}, home=nowhere)
    plain = declare(driver, "p", run_on="my_hash( x,  7)")
    split = face(
        driver, list[str], {"k": list[str]}, name="s", run_on="their_hash(k)", split="k"
    )
    text = (
        "CREATE FUNCTION d(x int4 DEFAULT one_more(1)) RETURNS int4 AS "
        "$$ CLUSTER which(x); RUN ON 0; $$ LANGUAGE plproxy;"
    )
    default = driver.define(text)
    with FakeCluster(driver.router, {"userdb": 4}) as fake:
        fake.answer("p", "x")
        fake.answer("s", lambda k: k)
        fake.answer("d", lambda x: x)
        fake.home("my_hash(x, 7)", lambda x: x + 1)
        fake.home("their_hash(k)", len)
        fake.home("which(x)", "userdb")
        fake.home("one_more(1)", 2)
        assert plain(5) == "x"
        assert driver.run(split(["a", "bb", "", "c"])) == ["a", "c", "bb", ""]
        assert default() == 2
        places = sorted((call.function, call.partition) for call in fake.calls)
        assert places == [("d", 0), ("p", 2), ("s", 0), ("s", 1), ("s", 2)]
    with pytest.raises(ConnectError, match="port 1 failed"):
        plain(5)  # at home again, which is not there


def test_the_routers_own_clusters(
    make_router: Callable[..., Driver], tmp_path: Path
) -> None:
    """None are named: those that are configured, and they are back afterwards."""
    config = tmp_path / "plproxy.toml"
    config.write_text(
        "[clusters.userdb]\nmodular_mapping = true\nquery_timeout = 5\n"
        'partitions = ["host=127.0.0.1 port=1 dbname=a", '
        '"host=127.0.0.1 port=1 dbname=b", "host=127.0.0.1 port=1 dbname=a"]\n'
    )
    driver = make_router()
    driver.router.configure(config)
    before = driver.router.clusters
    f = declare(driver, "f", list[int], run_on="ALL")
    with FakeCluster(driver.router) as fake:
        fake.answer("f", [1])
        assert f(0) == [1, 1]  # equal targets are called once
        assert driver.router.clusters["userdb"].query_timeout == 5
        fake.down(1)
        with pytest.raises(ConnectError, match=r"\[b\]"):
            f(0)
    assert driver.router.clusters == before
    with pytest.raises(ConnectError, match="port 1"):
        f(0)


def test_a_router_without_clusters(make_router: Callable[..., Driver]) -> None:
    driver = make_router()
    with pytest.raises(ConfigError, match="say which clusters"):
        FakeCluster(driver.router)
    with FakeCluster(
        driver.router, {"userdb": {"partitions": 3, "modular_mapping": True}}
    ):
        assert driver.router.clusters["userdb"].part_count == 3
    assert driver.router.clusters == {}
    with pytest.raises(ConfigError, match="configure"):
        driver.execute("userdb", "SELECT 1")
    with pytest.raises(ConfigError, match="power of two"):
        FakeCluster(driver.router, {"userdb": 3}).__enter__()


def leftovers() -> tuple[int, set[str]]:
    gc.collect()
    names = {thread.name for thread in threading.enumerate()}
    return len(os.listdir("/proc/self/fd")), {name for name in names if "fake" in name}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize("router_first", [True, False])
def test_nothing_is_left(
    make_router: Callable[..., Driver], router_first: bool
) -> None:
    before = None
    for _ in range(3):
        driver = make_router()
        f = face(driver, list[int], {"x": int}, name="f", run_on="ALL")
        with FakeCluster(driver.router, {"userdb": 4}) as fake:
            fake.answer("f", [1])
            assert driver.run(f(1)) == [1] * 4
            fake.delay("f", math.inf, partition=2, times=1)
            with pytest.raises(QueryTimeout):
                driver.run(f.with_options(timeout=0.2)(1))
            assert driver.run(f(1)) == [1] * 4
            if router_first:
                driver.close()
        driver.close()
        # The first round loads modules, and an event loop of the test's own.
        if before is not None:
            assert leftovers() == before
        before = leftovers()
        assert before[1] == set()
