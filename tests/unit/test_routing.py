"""Where a call would go, found without a server: CONNECT, DEFAULTs, no home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plproxy_py import ConfigError, Router, RoutingError, UnsupportedError

USERDB = {"userdb": [f"dbname=part{n}" for n in range(4)]}


def define(router: Router, head: str, body: str) -> Any:
    return router.define(f"CREATE FUNCTION {head} LANGUAGE plproxy AS $$ {body} $$")


@pytest.mark.parametrize(
    ("patterns", "connstr", "allowed"),
    [
        ((), "host=h dbname=x", False),
        (False, "host=h dbname=x", False),
        (True, "host=h dbname=x", True),
        (["h"], "host=h dbname=x", True),
        (["h"], "postgresql://h/x", True),
        (["h"], "host=g dbname=x", False),
        (["db*", "/run/*"], "host=db17", True),
        (["db*", "/run/*"], "host=/run/postgresql", True),
        # each host of a list; the address counts where there is one
        (["a", "b"], "host=a,b", True),
        (["a", "b"], "host=a,c", False),
        (["a"], "host=a hostaddr=10.0.0.1", False),
        (["10.*"], "host=a hostaddr=10.0.0.1", True),
        # libpq's own default has no name
        (["a"], "dbname=x", False),
        (["*"], "dbname=x", True),
    ],
)
def test_connect_from_data(patterns: Any, connstr: str, allowed: bool) -> None:
    router = Router(allow_connect=patterns)
    call = define(router, "f(a text) RETURNS int", "CONNECT a;")
    if allowed:
        assert call.plan(connstr).partitions == (0,)
        return
    with pytest.raises(
        ConfigError, match=r"^public.f\(1\): .*allow_connect="
    ) as caught:
        call.plan(connstr)
    assert caught.value.sqlstate == "42501"


def test_what_the_application_named_is_not_open_to_data() -> None:
    """Whether or not a literal CONNECT went there before."""
    router = Router()
    literal = define(router, "f() RETURNS int", "CONNECT 'host=h dbname=x';")
    from_data = define(router, "g(a text) RETURNS int", "CONNECT a;")
    for _ in range(2):
        assert literal.plan().partitions == (0,)
        with pytest.raises(ConfigError, match="allow_connect="):
            from_data.plan("host=h dbname=x")


@pytest.mark.parametrize("pattern", ["db*", "", "db1"])
def test_one_pattern_stands_in_a_list(pattern: str) -> None:
    """A text would be one pattern for each of its characters, \"*\" among them."""
    with pytest.raises(ConfigError, match="allow_connect"):
        Router(allow_connect=pattern)


@pytest.mark.parametrize(("value", "given"), [(None, "NULL"), (5, "int")])
def test_a_name_is_a_text(value: object, given: str) -> None:
    router = Router(USERDB, hashes={"name": lambda: value})
    for keyword, body in (
        ("CLUSTER", "CLUSTER name(); RUN ON 0;"),
        ("CONNECT", "CONNECT name();"),
    ):
        call = define(router, "f() RETURNS int", body)
        with pytest.raises(
            RoutingError, match=f"{keyword} takes a text, it got {given}"
        ):
            call.plan()


def test_a_default_without_a_home_to_compute_it() -> None:
    router = Router(USERDB)
    call = define(
        router,
        "f(a int, b int DEFAULT 1 + 1, int DEFAULT 7) RETURNS int",
        "CLUSTER 'userdb'; RUN ON 0;",
    )
    assert call.plan(1, 2).params == (1, 2, 7)
    with pytest.raises(
        TypeError, match=r"^public.f\(3\): argument b is missing.*home="
    ) as caught:
        call.plan(1)
    assert "1 + 1" in str(caught.value)


def test_a_home_that_comes_later(tmp_path: Path) -> None:
    """Refused without a home, welcome as soon as a configuration names one."""
    router = Router(USERDB)
    head, body = "f(a text) RETURNS int", "CLUSTER 'userdb'; RUN ON lower(a);"
    with pytest.raises(UnsupportedError, match="home="):
        define(router, head, body)
    file = tmp_path / "plproxy.toml"
    file.write_text("home = 'dbname=x'\n[clusters]\nuserdb = ['dbname=y']")
    router.configure(file)
    assert define(router, head, body).__name__ == "f"


def test_split_gives_each_partition_its_own_parameters() -> None:
    """The plan shows the whole call: each partition once, all hashes, whole arrays."""
    router = Router(USERDB)
    call = define(
        router,
        "f(keys int4[], note text) RETURNS SETOF int",
        "CLUSTER 'userdb'; SPLIT keys; RUN ON keys;",
    )
    plan = call.plan([3, 0, 7, None][:3], "x")
    assert plan.partitions == (3, 0)
    assert plan.hashes == (3, 0, 7)
    assert plan.params == ([3, 0, 7], "x")
    assert call.plan([], "x").partitions == call.plan(None, "x").partitions == ()
    with pytest.raises(RoutingError, match=r"^public.f\(2\): the hash is NULL"):
        call.plan([3, None], "x")
