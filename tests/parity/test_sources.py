"""Where definitions come from, for a role that may do little, and when home is down.

The router's home here is a server of its own: where the real PL/Proxy is down with its
database, a client still has the last good map.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from plproxy_py import ConfigError, Error, Router
from plproxy_py._embedded import Server
from plproxy_py._home_clusters import OLD
from tests.fix_plproxy import (
    BINDIR,
    PARTS,
    PROXY,
    ROLE,
    SOURCE,
    USER_MAPPING,
    Plproxy,
)
from tests.parity.compare import Both

FUNCTION = """
create or replace function whereabouts() returns setof name as $$
    cluster 'moving'; run on all; select current_database();
$$ language plproxy
"""


@pytest.fixture
def away(plproxy: Plproxy) -> Iterator[Server]:
    """A server that has nothing but definitions."""
    with (
        Server(bindir=BINDIR) as server,
        psycopg.connect(server.connstr(), autocommit=True) as conn,
    ):
        conn.execute(f"create role {ROLE} login")
        conn.execute(SOURCE.encode())
        for number, dbname in enumerate(PARTS[:2]):
            row = ("moving", number, plproxy.partition(dbname))
            conn.execute("insert into plproxy.partition values (%s, %s, %s)", row)
        conn.execute("insert into plproxy.cluster values ('moving', 1)")
        conn.close()
        yield server


def move(server: Server, plproxy: Plproxy) -> None:
    with psycopg.connect(server.connstr(), autocommit=True) as conn:
        conn.execute(
            "update plproxy.partition set connstr = %s where number = 1",
            (plproxy.partition(PARTS[2]),),
        )
        conn.execute("update plproxy.cluster set version = 2")


BEFORE, AFTER = list(PARTS[:2]), [PARTS[0], PARTS[2]]


@pytest.mark.parametrize("ttl", [0, 1.0])
def test_home_goes_down(away: Server, plproxy: Plproxy, ttl: float) -> None:
    connstr = away.connstr(user=ROLE)
    with Router.from_database(connstr, config_ttl=ttl) as router:
        whereabouts = router.define(FUNCTION)
        assert whereabouts() == BEFORE
        away.stop()
        for _ in range(3):
            assert whereabouts() == BEFORE
        away.start()
        assert whereabouts() == BEFORE
        move(away, plproxy)
        if ttl == 0:
            assert whereabouts() == AFTER


def test_home_is_down_from_the_start(away: Server, plproxy: Plproxy) -> None:
    with Router.from_database(away.connstr(user=ROLE), config_ttl=0) as router:
        whereabouts = router.define(FUNCTION)
        away.stop()
        with pytest.raises(Error) as caught:
            whereabouts()
        assert not caught.value.sent
        away.start()
        assert whereabouts() == BEFORE


def test_an_idle_routers_first_call_looks(away: Server, plproxy: Plproxy) -> None:
    """No call has asked meanwhile; a home that does not answer holds it up a second."""
    with Router.from_database(away.connstr(), config_ttl=0.1) as router:
        whereabouts = router.define(FUNCTION)
        assert whereabouts() == BEFORE
        move(away, plproxy)
        time.sleep(OLD + 0.3)
        assert whereabouts() == AFTER
        time.sleep(OLD + 0.3)
        away.freeze()
        try:
            assert whereabouts() == AFTER
            assert router.stats()["config"]["error"] is not None
        finally:
            away.thaw()


def test_bad_definition_leaves_the_old_one(away: Server, plproxy: Plproxy) -> None:
    with (
        Router.from_database(away.connstr(user=ROLE), config_ttl=0) as router,
        psycopg.connect(away.connstr(), autocommit=True) as conn,
    ):
        whereabouts = router.define(FUNCTION)
        assert whereabouts() == BEFORE
        conn.execute("insert into plproxy.partition values ('moving', 2, 'x y z')")
        conn.execute("update plproxy.cluster set version = 2")
        assert whereabouts() == BEFORE
        conn.execute("delete from plproxy.partition where number = 2")
        conn.execute("update plproxy.cluster set version = 3")
        move(away, plproxy)
        assert whereabouts() == AFTER


def test_lower_version_counts(both: Both, plproxy: Plproxy) -> None:
    plproxy.cluster("moving", PARTS[:2], version=7)
    both.create(FUNCTION)
    assert both.call("whereabouts") == [(name,) for name in PARTS[:2]]
    # Without another version nothing is noticed, up or down.
    plproxy.cluster("moving", PARTS[2:], version=7)
    assert both.call("whereabouts") == [(name,) for name in PARTS[:2]]
    plproxy.cluster("moving", PARTS[2:], version=-7)
    assert both.call("whereabouts") == [(name,) for name in PARTS[2:]]


def test_role_may_execute_only(both: Both, plproxy: Plproxy) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        both.real.query("select * from plproxy.partition")
    plproxy.cluster("moving", PARTS[:2], version=8)
    both.create(FUNCTION)
    assert len(both.call("whereabouts")) == 2
    function = "plproxy.get_cluster_version(text)"
    plproxy.admin(PROXY, f"revoke execute on function {function} from public")
    try:
        assert both.fail("whereabouts").sqlstate == "42501"
    finally:
        plproxy.admin(PROXY, f"grant execute on function {function} to public")
    assert len(both.call("whereabouts")) == 2


def test_public_mapping_without_its_function(plproxy: Plproxy) -> None:
    # A difference: see "PUBLIC user mappings".
    plproxy.create_database("bare")
    plproxy.admin("bare", SOURCE)
    part = plproxy.partition(PARTS[0])
    plproxy.admin(
        "bare",
        f"create server moving foreign data wrapper plproxy options (p0 '{part}');"
        "create user mapping for public server moving options (user 'postgres');"
        f"grant usage on foreign server moving to {ROLE}",
    )
    both = Both(plproxy, home="bare")
    try:
        both.create(FUNCTION)
        assert both.real.call("whereabouts", (), None).rows == [(PARTS[0],)]
        error = both.ours_error("whereabouts")
        assert isinstance(error, ConfigError)
        assert error.sqlstate == "42501"
        assert "sql/user_mapping.sql" in str(error)
        plproxy.admin("bare", USER_MAPPING.read_text(encoding="utf-8"))
        assert both.call("whereabouts") == [(PARTS[0],)]
    finally:
        both.close()
        plproxy.drop_database("bare")
