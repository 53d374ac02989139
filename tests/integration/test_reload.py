"""New maps and definitions take the old ones' places while calls go on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from plproxy_py import ConfigError, Error, Router, SignatureError, _clusters
from tests.fix_router import Driver

FUNCTION = """
CREATE FUNCTION spot() RETURNS text LANGUAGE plproxy AS
$$ CLUSTER 'userdb'; RUN ON %s; SELECT right(current_database()::text, 2); $$;
"""


@pytest.fixture
def files(tmp_path: Path, databases4: list[str], monkeypatch: pytest.MonkeyPatch):
    """Write the two files anew; the router looks at every call."""
    monkeypatch.setattr(_clusters, "FILE_TTL", 0.0)
    written = 0

    def write(
        partitions: list[str] | None = None,
        run_on: str = "0",
        text: str = "",
        home: str = "",
    ) -> Path:
        nonlocal written
        config = tmp_path / "plproxy.toml"
        listed = ", ".join(repr(c) for c in partitions or databases4)
        config.write_text(
            f"{home}\nfunctions = ['f.sql']\n"
            f"[clusters.userdb]\npartitions = [{listed}]\n{text}"
        )
        (tmp_path / "f.sql").write_text(FUNCTION % run_on)
        written += 1
        for path in (config, tmp_path / "f.sql"):
            os.utime(path, (written, written))
        return config

    return write


def test_clusters_and_functions_swap_together(
    make_router: Callable[..., Driver],
    files: Callable[..., Path],
    databases4: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "plproxy_py")
    driver = make_router()
    driver.router.configure(files())
    spot = driver.router.functions["public.spot()"]
    assert driver.run(spot()) == "00"
    files(run_on="1")
    assert driver.run(spot()) == "01"
    files([databases4[1], databases4[0]], run_on="1")
    assert driver.run(spot()) == "00"
    assert "4 partitions became 2" in caplog.text
    assert "partition 0 moved from" in caplog.text


def test_a_bad_file_leaves_the_old_one_serving(
    make_router: Callable[..., Driver],
    files: Callable[..., Path],
    databases4: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver = make_router()
    driver.router.configure(files())
    for bad in (
        {"text": "nonsense = 1"},
        {"partitions": databases4[:3]},
        {"run_on": "nothing_known(x)"},
        {"text": "]"},
        {"home": "home = 5"},
        {"home": "home = 'dbname=elsewhere'"},
    ):
        files(**bad)
        caplog.clear()
        for _ in range(3):
            assert driver.run(driver.router.call("spot")) == "00"
        assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1
        assert driver.router.stats()["config"]["error"]
    files(run_on="2")
    assert driver.run(driver.router.call("spot")) == "02"
    assert driver.router.stats()["config"]["error"] is None


def test_a_typed_face_follows_its_function(
    files: Callable[..., Path], databases4: list[str]
) -> None:
    """A DBA moves the function elsewhere; the Python file stays as it is."""
    with Router.from_config(files()) as router:

        @router.proxy
        def spot() -> str: ...

        assert spot() == "00"
        files(run_on="3")
        assert spot() == "03"
        assert spot.__name__ == "spot"


def test_a_dropped_function_says_so(files: Callable[..., Path]) -> None:
    config = files()
    with Router.from_config(config) as router:
        spot = router.functions["public.spot()"]
        assert spot() == "00"
        sql = config.with_name("f.sql")
        sql.write_text("SELECT 1;")
        os.utime(sql, (99, 99))
        with pytest.raises(Error, match="not defined any longer") as caught:
            spot()
        assert caught.value.sqlstate == "42883"


def test_a_mapping_is_swapped_at_run_time(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    driver = make_router({"userdb": databases4})
    place = "SELECT right(current_database()::text, 2) AS p"
    assert driver.execute("userdb", place, run_on=0)[0][0].p == "00"
    driver.router.configure({"userdb": databases4[::-1]})
    assert driver.execute("userdb", place, run_on=0)[0][0].p == "03"
    with pytest.raises(ConfigError):
        driver.router.configure({"userdb": databases4[:3]})
    assert driver.execute("userdb", place, run_on=0)[0][0].p == "03"


def test_a_file_and_a_catalog_do_not_displace_each_other(
    files: Callable[..., Path], databases4: list[str]
) -> None:
    """What one origin defines anew leaves what the other defines."""
    with Router.from_config(files()) as router:
        router._catalog.replace(
            "catalog", router._catalog.read(FUNCTION.replace("spot", "other") % "2")
        )
        assert router.call("spot") == "00"
        assert router.call("other") == "02"
        files(run_on="1")
        assert router.call("spot") == "01"
        assert router.call("other") == "02"


def test_execute_follows_the_map(
    make_router: Callable[..., Driver],
    files: Callable[..., Path],
    databases4: list[str],
) -> None:
    driver = make_router()
    driver.router.configure(files())
    place = "SELECT right(current_database()::text, 2) AS p"
    assert driver.execute("userdb", place, run_on=0)[0][0].p == "00"
    files(databases4[::-1])
    assert driver.execute("userdb", place, run_on=0)[0][0].p == "03"


@pytest.mark.parametrize(
    ("hint", "problem"),
    [
        ("def f(n: str, t: str) -> str: ...", "parameter n: the hint stands for text"),
        ("def f(n: int, t: int) -> str: ...", "parameter t: the hint stands for int8"),
        ("def f(n: int, t: str) -> int: ...", "the return hint: .* int8"),
        ("def f(n: int, t: str) -> list[str]: ...", "SETOF"),
        ("def f(n: int) -> str: ...", "1 parameters, the signature 2"),
    ],
)
def test_hints_that_do_not_fit_are_refused_by_name(
    databases4: list[str], hint: str, problem: str
) -> None:
    with Router({"userdb": databases4}) as router:
        router.define(
            "CREATE FUNCTION f(n int4, t varchar(3)) RETURNS text LANGUAGE plproxy "
            "AS $$ CLUSTER 'userdb'; RUN ON 0; SELECT $2::text; $$"
        )
        namespace: dict[str, object] = {}
        exec(hint, namespace)
        with pytest.raises(SignatureError, match=rf"f\(2\): .*{problem}"):
            router.proxy(namespace["f"])


def test_pools_stay_as_long_as_anybody_needs_them(
    make_router: Callable[..., Driver], databases4: list[str]
) -> None:
    """A map that goes must not take the home's pool along, nor another cluster's."""
    home, other = databases4[:2]
    driver = make_router({"c": [home], "d": [other], "e": [other]}, home=home)
    pid = "SELECT pg_backend_pid() AS pid"
    before = driver.execute("d", pid)
    driver.define(
        "CREATE FUNCTION at_home(n int4) RETURNS int4 LANGUAGE plproxy AS "
        "$$ CLUSTER 'd'; RUN ON abs(n); SELECT pg_backend_pid(); $$"
    )
    assert driver.run(driver.router.call("at_home", 1)) == before[0][0].pid
    driver.router.configure({"d": [other]})
    pools = driver.router._pools._pools
    assert sorted(pool.users for pool in pools.values()) == [1, 1]
    assert driver.execute("d", pid) == before
    assert driver.run(driver.router.call("at_home", 1)) == before[0][0].pid
    assert [len(pool.idle) for pool in pools.values()] == [1, 1]
    driver.router.configure({"d": [home]})
    assert [pool.users for pool in pools.values()] == [2]
