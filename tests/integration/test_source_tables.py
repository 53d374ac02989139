"""Clusters from the three functions, tables, and roles."""

from __future__ import annotations

import subprocess

import psycopg
import pytest

from plproxy_py.errors import NoSuchCluster
from plproxy_py.sources.database import cluster_question
from tests.fix_proxydb import (
    APP,
    MED,
    OTHER,
    ProxyDb,
    answer,
    refused,
    users,
)


@pytest.fixture
def tables(proxydb: ProxyDb) -> ProxyDb:
    """Return the home database with the configuration tables and one cluster."""
    proxydb.psql("config_tables.sql")
    proxydb.psql("roles.sql", "-v", f"role={APP}")
    proxydb.run("SELECT plproxy.set_cluster('c', ARRAY['dbname=a', 'dbname=b user=u'])")
    return proxydb


def test_configuration_tables(tables: ProxyDb) -> None:
    loaded = tables.load("c")
    assert not loaded.is_server
    assert users(loaded) == [APP, "u"]
    assert tables.ask(loaded.check) is True
    assert tables.run("SELECT plproxy.get_cluster_version('c')::text", APP) == [
        (loaded.version,)
    ]


@pytest.mark.parametrize(
    "change",
    [
        "SELECT plproxy.set_cluster('c', ARRAY['dbname=z'])",
        "UPDATE plproxy.cluster_partition SET connstr = 'dbname=z' WHERE number = 0",
        "INSERT INTO plproxy.cluster_config VALUES ('c', 'query_timeout', '5')",
        "DELETE FROM plproxy.cluster_partition WHERE number = 1",
        "TRUNCATE plproxy.cluster_config",
        "TRUNCATE plproxy.cluster_partition",
        "DELETE FROM plproxy.cluster; SELECT plproxy.set_cluster('c', '{dbname=z}')",
    ],
)
def test_every_change_is_a_new_version(tables: ProxyDb, change: str) -> None:
    loaded = tables.load("c")
    tables.run("SELECT plproxy.set_cluster('d', ARRAY['dbname=z'])")
    assert tables.ask(loaded.check) is True
    tables.run(change)
    assert tables.ask(loaded.check) is False


def test_a_cluster_that_is_dropped_or_renamed(tables: ProxyDb) -> None:
    check = tables.load("c").check
    tables.run("UPDATE plproxy.cluster SET name = 'e'")
    assert users(tables.load("e")) == [APP, "u"]
    for step in (check, cluster_question("c")):
        with pytest.raises(psycopg.errors.UndefinedObject, match="no such cluster: c"):
            tables.ask(step)


def test_configuration_of_the_tables(tables: ProxyDb) -> None:
    tables.run(
        "INSERT INTO plproxy.cluster_config VALUES ('c', 'query_timeout', '5'), "
        "('c', 'connect_timeout', '7')"
    )
    config = tables.load("c").config
    assert config.query_timeout == 5.0
    assert "connect_timeout=7" in config.target(0).redacted
    with pytest.raises(psycopg.errors.CheckViolation):
        tables.run("INSERT INTO plproxy.cluster_config VALUES ('c', 'timeout', '5')")


def test_a_gap_is_refused_rather_than_closed(tables: ProxyDb) -> None:
    tables.run("DELETE FROM plproxy.cluster_partition WHERE number = 0")
    with pytest.raises(psycopg.errors.ConfigFileError, match="number is missing"):
        tables.load("c")


def test_the_tables_are_installed_as_a_whole_or_not(proxydb: ProxyDb) -> None:
    proxydb.run(
        "CREATE SCHEMA plproxy; CREATE FUNCTION plproxy.get_cluster_version(text) "
        "RETURNS int LANGUAGE sql AS 'SELECT 1'"
    )
    with pytest.raises(subprocess.CalledProcessError) as caught:
        proxydb.psql("config_tables.sql")
    assert "already exists" in caught.value.stderr
    assert proxydb.run("SELECT to_regclass('plproxy.cluster')::text") == [(None,)]
    assert proxydb.run("SELECT plproxy.get_cluster_version('c')") == [(1,)]


def test_a_foreign_server_goes_first_and_its_end_falls_back(tables: ProxyDb) -> None:
    from_functions = tables.load("c")
    tables.run(
        f"CREATE SERVER c FOREIGN DATA WRAPPER {tables.wrapper()} "
        "OPTIONS (p0 'dbname=med')"
    )
    tables.run(f"CREATE USER MAPPING FOR {APP} SERVER c")
    tables.run(f"GRANT USAGE ON FOREIGN SERVER c TO {APP}")
    assert tables.ask(from_functions.check) is False
    from_server = tables.load("c")
    assert from_server.is_server
    assert from_server.config.part_count == 1
    tables.run("DROP SERVER c CASCADE")
    assert tables.ask(from_server.check) is False
    assert tables.load("c").config == from_functions.config


def test_the_user_of_set_role_and_of_the_session(tables: ProxyDb) -> None:
    tables.run(f"GRANT {OTHER} TO {APP}")
    tables.psql("roles.sql", "-v", f"role={OTHER}")
    with tables.connect(APP, options=f"-c role={OTHER}") as conn:
        assert users(answer(conn, cluster_question("c"))) == [OTHER, "u"]
        tables.run(
            "INSERT INTO plproxy.cluster_config "
            "VALUES ('c', 'default_user', 'session_user')"
        )
        assert users(answer(conn, cluster_question("c"))) == [APP, "u"]


def test_without_any_source(proxydb: ProxyDb) -> None:
    with pytest.raises(NoSuchCluster, match="cluster not found: c"):
        proxydb.load("c")


def test_without_the_right_to_execute(proxydb: ProxyDb) -> None:
    proxydb.psql("config_tables.sql")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        proxydb.load("c")


def create_functions(proxydb: ProxyDb, **results: str) -> None:
    """Create the three functions, each with RETURNS and body in one text."""
    proxydb.run(
        "CREATE SCHEMA IF NOT EXISTS plproxy; GRANT USAGE ON SCHEMA plproxy TO public"
    )
    given = {
        "version": "RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "config": "RETURNS TABLE (k text, v text) LANGUAGE sql AS 'SELECT '''', '''' "
        "LIMIT 0'",
        "partitions": "RETURNS SETOF text LANGUAGE sql AS 'SELECT ''dbname=a''::text'",
    } | results
    for name, text in given.items():
        proxydb.run(
            f"CREATE OR REPLACE FUNCTION plproxy.get_cluster_{name}(text) {text}"
        )


def test_functions_of_ones_own(proxydb: ProxyDb) -> None:
    create_functions(proxydb, version="RETURNS text LANGUAGE sql AS $$SELECT 'v'||$1$$")
    assert proxydb.load("c").version == "vc"


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "RETURNS int LANGUAGE sql AS 'SELECT NULL::int'"},
        {"version": "RETURNS SETOF int LANGUAGE sql AS 'VALUES (1), (2)'"},
        {"version": "RETURNS SETOF int LANGUAGE sql AS 'SELECT 1 LIMIT 0'"},
        {"config": "RETURNS SETOF text LANGUAGE sql AS 'SELECT ''a'' LIMIT 0'"},
        {"config": "RETURNS TABLE (k text, v int) LANGUAGE sql AS 'SELECT ''a'', 1'"},
        {
            "config": "RETURNS TABLE (k text, v text) LANGUAGE sql "
            "AS 'SELECT ''query_timeout'', NULL'"
        },
        {"partitions": "RETURNS varchar LANGUAGE sql AS 'SELECT ''a''::varchar'"},
        {"partitions": "RETURNS SETOF text LANGUAGE sql AS 'SELECT NULL::text'"},
        {"partitions": "RETURNS SETOF text LANGUAGE sql AS 'SELECT '''' LIMIT 0'"},
    ],
)
def test_functions_that_break_their_contract(
    proxydb: ProxyDb, changed: dict[str, str]
) -> None:
    create_functions(proxydb, **changed)
    assert refused(proxydb, "c") == "F0000"


def test_functions_of_another_signature_are_none(proxydb: ProxyDb) -> None:
    create_functions(proxydb)
    proxydb.run(
        "DROP FUNCTION plproxy.get_cluster_config(text);"
        "CREATE FUNCTION plproxy.get_cluster_config(varchar) RETURNS int "
        "LANGUAGE sql AS 'SELECT 1'"
    )
    with pytest.raises(NoSuchCluster):
        proxydb.load("c")


def test_columns_of_a_composite_type(proxydb: ProxyDb) -> None:
    proxydb.run(
        "CREATE TABLE part (gone int, connstr text, number int);"
        "ALTER TABLE part DROP gone; INSERT INTO part VALUES ('dbname=a', 0);"
        "GRANT SELECT ON part TO public"
    )
    create_functions(
        proxydb,
        partitions="RETURNS SETOF public.part LANGUAGE sql AS 'TABLE public.part'",
    )
    assert proxydb.load("c").config.target(0).label == "a"


# Roles


def test_the_application_role_executes_and_nothing_else(proxydb: ProxyDb) -> None:
    proxydb.run(
        "CREATE SCHEMA api; CREATE TABLE api.data AS SELECT 1 AS id;"
        f"GRANT ALL ON api.data TO {APP};"
        "CREATE FUNCTION api.before() RETURNS int LANGUAGE sql SECURITY DEFINER "
        "AS 'SELECT id FROM api.data'; REVOKE ALL ON FUNCTION api.before FROM public"
    )
    for _ in range(2):  # it can be run again
        proxydb.psql("roles.sql", "-v", f"role={APP}", "-v", "schema=api")
    proxydb.run(
        "CREATE FUNCTION api.after() RETURNS int LANGUAGE sql SECURITY DEFINER "
        "AS 'SELECT id FROM api.data'; REVOKE ALL ON FUNCTION api.after FROM public"
    )
    assert proxydb.run("SELECT api.before(), api.after()", APP) == [(1, 1)]
    for statement in (
        "SELECT * FROM api.data",
        "CREATE TABLE api.mine ()",
        "CREATE TABLE public.mine ()",
        "CREATE SCHEMA mine",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            proxydb.run(statement, APP)


def test_the_role_is_created_and_may_use_a_foreign_server(med: ProxyDb) -> None:
    med.run(f"DROP ROLE {OTHER}")
    med.psql("roles.sql", "-v", f"role={OTHER}", "-v", f"server={MED}")
    assert med.run(
        f"SELECT rolcanlogin, rolsuper, has_server_privilege('{OTHER}', '{MED}', "
        f"'USAGE') FROM pg_roles WHERE rolname = '{OTHER}'"
    ) == [(True, False, True)]
    med.run(f"DROP OWNED BY {OTHER}")
