"""Passwords: new ones take effect, wrong ones get nobody in, and none is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from plproxy_py import ConnectError, Router, UnsupportedError
from plproxy_py._embedded import EmbeddedError, Server
from tests.fix_router import Driver
from tests.fix_server import no_server


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that asks for a password."""
    try:
        server = Server(tcp=True)
    except EmbeddedError as error:
        no_server(str(error))
    with server:
        with psycopg.connect(server.connstr(), autocommit=True) as conn:
            conn.execute("CREATE ROLE app LOGIN PASSWORD 'first'")
        yield server


def connstr(server: Server, password: str) -> str:
    base = dict(psycopg.conninfo.conninfo_to_dict(server.connstr()))
    return psycopg.conninfo.make_conninfo(
        "", **{**base, "user": "app", "password": password}
    )


def test_a_rotated_password_takes_effect(
    make_router: Callable[..., Driver], guarded: Server
) -> None:
    driver = make_router({"c": [connstr(guarded, "wrong")]})
    with pytest.raises(ConnectError, match="password authentication") as caught:
        driver.execute("c", "SELECT 1 AS one")
    assert "wrong" not in str(caught.value)
    driver.router.configure({"c": [connstr(guarded, "first")]})
    assert driver.execute("c", "SELECT 1 AS one") == {0: [(1,)]}


def test_nobody_rides_on_anothers_password(guarded: Server) -> None:
    """CONNECT from data: neither in with a wrong one, nor kept out by a wrong one."""
    with Router({}, allow_connect=["127.0.0.1"]) as router:
        who = router.define(
            "CREATE FUNCTION who(c text) RETURNS text LANGUAGE plproxy AS "
            "$$ CONNECT c; SELECT current_user::text; $$"
        )
        with pytest.raises(ConnectError):
            who(connstr(guarded, "wrong"))
        assert who(connstr(guarded, "first")) == "app"
        with pytest.raises(ConnectError):
            who(connstr(guarded, "wrong"))


def test_no_text_tells_a_password(tmp_path: Path) -> None:
    with Router({"c": ["dbname=x password=sekret"]}) as router:
        connected = router.define(
            "CREATE FUNCTION f() RETURNS int4 LANGUAGE plproxy AS "
            "$$ CONNECT 'dbname=x password=sekret'; $$"
        )
        texts = [
            repr(connected.definition),
            repr(router.clusters),
            repr(router.stats()),
        ]
        texts.append(repr(connected.plan()))
        with pytest.raises(UnsupportedError) as caught:
            router.define(
                "CREATE FUNCTION g() RETURNS int4 LANGUAGE plproxy AS "
                "$$ CONNECT lower('dbname=x password=sekret'); $$"
            )
        texts += [repr(caught.value), str(caught.value.token)]
        assert not any("sekret" in text for text in texts)
