"""Clusters from foreign servers, read by ordinary roles."""

from __future__ import annotations

import pytest

from plproxy_py.errors import ConfigError
from plproxy_py.sources.database import cluster_question
from tests.fix_proxydb import (
    APP,
    MED,
    OTHER,
    PASSWORD,
    ProxyDb,
    answer,
    map_user,
    passwords,
    refused,
    users,
)


def test_ones_own_mapping(med: ProxyDb) -> None:
    map_user(med, APP, "user 'mapped'", "password 'it''s s3cret'")
    map_user(med, "PUBLIC", "user 'public'")
    med.run(f"GRANT USAGE ON FOREIGN SERVER {MED} TO {APP}")
    loaded = med.load(MED)
    assert loaded.is_server
    assert users(loaded) == ["own", "mapped"]
    assert passwords(loaded) == [None, PASSWORD]
    assert loaded.config.connection_lifetime == 1800.0
    assert med.ask(loaded.check) is True


def test_a_mapping_without_options_is_the_role(med: ProxyDb) -> None:
    map_user(med, APP)
    med.run(f"GRANT USAGE ON FOREIGN SERVER {MED} TO {APP}")
    assert users(med.load(MED)) == ["own", APP]


def test_public_mapping_needs_the_view(med: ProxyDb) -> None:
    map_user(med, "PUBLIC", "user 'public'", "password 's3cret'")
    med.run(f"GRANT USAGE ON FOREIGN SERVER {MED} TO {APP}")
    with pytest.raises(ConfigError, match=r"sql/user_mapping\.sql") as caught:
        med.load(MED)
    assert caught.value.sqlstate == "42501"
    # A superuser needs nothing.
    assert users(med.load(MED, None)) == ["own", "public"]

    for _ in range(2):  # it can be run again
        med.psql("user_mapping.sql")
    loaded = med.load(MED)
    assert users(loaded) == ["own", "public"]
    assert passwords(loaded) == [None, "s3cret"]
    assert med.ask(loaded.check) is True
    med.run(f"ALTER USER MAPPING FOR PUBLIC SERVER {MED} OPTIONS (SET user 'other')")
    assert med.ask(loaded.check) is False
    assert users(med.load(MED)) == ["own", "other"]

    med.run("REVOKE SELECT ON plproxy.user_mapping FROM PUBLIC")
    assert refused(med, MED) == "42501"
    med.run(f"GRANT SELECT ON plproxy.user_mapping TO {APP}")
    assert users(med.load(MED)) == ["own", "other"]


def test_public_mapping_without_options(med: ProxyDb) -> None:
    map_user(med, "PUBLIC")
    med.run(f"GRANT USAGE ON FOREIGN SERVER {MED} TO {APP}")
    assert refused(med, MED) == "42501"
    med.psql("user_mapping.sql")
    assert users(med.load(MED)) == ["own", APP]


def test_public_mapping_that_nobody_needs(med: ProxyDb) -> None:
    map_user(med, "PUBLIC", "user 'public'")
    med.run(f"GRANT USAGE ON FOREIGN SERVER {MED} TO {APP}")
    med.run(f"ALTER SERVER {MED} OPTIONS (SET partition_1 'dbname=part01 user=own')")
    assert users(med.load(MED)) == ["own", "own"]


def test_rights_are_looked_at_every_time(med: ProxyDb) -> None:
    med.psql("user_mapping.sql")
    for _ in range(2):
        assert refused(med, MED) == "42501"
    med.run(f"GRANT USAGE ON FOREIGN SERVER {MED} TO {APP}")
    for _ in range(2):
        assert refused(med, MED) == "42704"
    map_user(med, "PUBLIC", "user 'public'")
    loaded = med.load(MED)
    med.run(f"REVOKE USAGE ON FOREIGN SERVER {MED} FROM {APP}")
    assert med.ask(loaded.check) is False
    assert refused(med, MED) == "42501"


def test_the_view_shows_ones_own_and_public_mappings_only(med: ProxyDb) -> None:
    map_user(med, "PUBLIC", "password 's3cret'")
    map_user(med, APP, "password 'own'")
    map_user(med, OTHER, "password 'other'")
    med.psql("user_mapping.sql")
    shown = "SELECT usename::text FROM plproxy.user_mapping ORDER BY 1"
    assert med.run(shown, APP) == []
    med.run(f"GRANT USAGE ON FOREIGN SERVER {MED} TO {APP}")
    assert med.run(shown, APP) == [(APP,), (None,)]


def test_nobody_reads_passwords_through_a_superuser(med: ProxyDb) -> None:
    """A function with another owner's rights sees what that owner may see."""
    map_user(med, "PUBLIC", "password 's3cret'")
    med.psql("user_mapping.sql")
    med.run(f"CREATE SCHEMA trap AUTHORIZATION {OTHER}")
    med.run(
        "CREATE FUNCTION trap.f() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS "
        "'SELECT count(*) FROM plproxy.user_mapping'",
        OTHER,
    )
    assert med.run("SELECT trap.f()") == [(0,)]
    assert med.run("SELECT count(*) FROM plproxy.user_mapping") == [(1,)]


def test_changes_of_the_server_are_noticed(med: ProxyDb) -> None:
    map_user(med, APP)
    med.run(f"GRANT USAGE ON FOREIGN SERVER {MED} TO {APP}")
    for change in (
        f"ALTER SERVER {MED} OPTIONS (SET partition_1 'dbname=moved')",
        "ALTER FOREIGN DATA WRAPPER plproxy OPTIONS (ADD query_timeout '3')",
        f"ALTER USER MAPPING FOR {APP} SERVER {MED} OPTIONS (ADD user 'new')",
    ):
        loaded = med.load(MED)
        med.run(change)
        assert med.ask(loaded.check) is False
    loaded = med.load(MED)
    assert loaded.config.target(1).redacted == "dbname=moved user=new"
    assert loaded.config.query_timeout == 3.0


def test_the_mapping_may_be_that_of_the_session(proxydb: ProxyDb) -> None:
    # PL/Proxy's own wrapper allows no default_user.
    proxydb.run(
        "CREATE FOREIGN DATA WRAPPER anything;"
        f"CREATE SERVER {MED} FOREIGN DATA WRAPPER anything "
        "OPTIONS (p0 'dbname=a', default_user 'session_user');"
        f"GRANT USAGE ON FOREIGN SERVER {MED} TO {APP}, {OTHER}; GRANT {OTHER} TO {APP}"
    )
    map_user(proxydb, APP, "user 'session'")
    map_user(proxydb, "PUBLIC", "user 'public'")
    proxydb.psql("user_mapping.sql")
    with proxydb.connect(APP) as conn:
        assert users(answer(conn, cluster_question(MED))) == ["session"]
        conn.execute(f"SET ROLE {OTHER}")
        # One's own mapping is not shown to another role, and PUBLIC's is not taken.
        with pytest.raises(ConfigError) as caught:
            answer(conn, cluster_question(MED))
    assert caught.value.sqlstate == "42501"


def test_a_wrapper_of_any_name(proxydb: ProxyDb) -> None:
    proxydb.run(
        "CREATE FOREIGN DATA WRAPPER anything;"
        "CREATE SERVER other FOREIGN DATA WRAPPER anything OPTIONS (host 'h')"
    )
    proxydb.run("CREATE USER MAPPING FOR PUBLIC SERVER other")
    assert refused(proxydb, "other", None) == "F0000"
