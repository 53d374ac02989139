"""What SECURITY.md says: its SQL and its Python, on a real server with passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from plproxy_py import Error, Router
from tests.fix_servers import Servers
from tests.snippets import ROOT, read_snippets

DOCUMENT = ROOT / "SECURITY.md"
PASSWORD = "a 'secret' of the test"
OWNERS = """
CREATE TABLE users (username text, email text);
INSERT INTO users VALUES ('marko', 'marko@example.org');
CREATE FUNCTION get_user_email(username text) RETURNS text LANGUAGE sql AS
    'SELECT u.email FROM users u WHERE u.username = $1';
CREATE FUNCTION all_users() RETURNS SETOF users LANGUAGE sql AS 'SELECT * FROM users';
"""


def snippet(language: str) -> str:
    (found,) = (s.text for s in read_snippets(DOCUMENT) if s.language == language)
    return found


@pytest.fixture(scope="module")
def partition(four_servers: Servers) -> Iterator[str]:
    """A partition after the document's SQL, reached over TCP as the role app."""
    maintenance = four_servers.tcp(0)
    owner = make_conninfo(maintenance, dbname="security")
    with psycopg.connect(maintenance, autocommit=True) as conn:
        conn.execute("CREATE DATABASE security")
        try:
            with psycopg.connect(owner, autocommit=True) as own:
                own.execute(OWNERS.encode())
                own.execute(snippet("sql").replace("part00", "security").encode())
                given = sql.Literal(PASSWORD)
                own.execute(sql.SQL("ALTER ROLE app PASSWORD {}").format(given))
                own.execute("CREATE FUNCTION later() RETURNS int RETURN 1")
            yield make_conninfo(owner, user="app", password=None)
        finally:
            conn.execute("DROP DATABASE security WITH (FORCE)")
            conn.execute("DROP ROLE IF EXISTS app")


@pytest.fixture
def router(servers: Servers, partition: str, tmp_path: Path) -> Iterator[Router]:
    """The router of the document's Python."""
    secret = tmp_path / "app"
    secret.write_text(PASSWORD + "\n")
    text = snippet("python").replace("/run/secrets/app", str(secret))
    connstr = "host=db0 dbname=part00 user=app sslmode=verify-full"
    assert connstr in text
    namespace: dict[str, Any] = {}
    exec(compile(text.replace(connstr, partition), str(DOCUMENT), "exec"), namespace)
    with namespace["router"] as router:
        yield router


def declared(router: Router, function: str, returns: str) -> Any:
    return router.define(
        f"CREATE FUNCTION {function} RETURNS {returns} LANGUAGE plproxy AS "
        "$$ CLUSTER 'userdb'; RUN ON 0; $$"
    )


def test_the_role_calls_what_it_was_given(router: Router) -> None:
    get_user_email = declared(router, "get_user_email(username text)", "text")
    assert get_user_email("marko") == "marko@example.org"


@pytest.mark.parametrize("function", ["all_users()", "later()"])
def test_it_calls_nothing_else(router: Router, function: str) -> None:
    """Functions that were there, and such as come later."""
    call = declared(router, function, "SETOF text")
    with pytest.raises(errors.InsufficientPrivilege) as caught:
        call()
    assert isinstance(caught.value, Error)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM users",
        "INSERT INTO users VALUES ('x', 'y')",
        "CREATE TABLE mine (id int)",
        "CREATE TEMP TABLE users (username text, email text)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int RETURN 1",
    ],
)
def test_it_touches_nothing(router: Router, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        router.execute("userdb", statement)


def test_its_statements_end(router: Router) -> None:
    for name, value in (
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "1min"),
    ):
        assert router.execute("userdb", f"SHOW {name}") == {0: [(value,)]}


def test_without_the_callable_there_is_no_way_in(partition: str) -> None:
    with Router({"userdb": [partition]}) as router, pytest.raises(Error) as caught:
        router.execute("userdb", "SELECT 7")
    assert not caught.value.sent
    assert PASSWORD not in str(caught.value)
