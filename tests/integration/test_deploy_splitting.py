"""Statements end for us where they end for the server."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plproxy_py.ops.deploy.splitting import split
from tests.fix_server import Pg

ROUTINE = "CREATE OR REPLACE FUNCTION pg_temp.f{}(a int) RETURNS int LANGUAGE sql "
STATEMENTS = [
    "SELECT ';' AS \";\", E'\\';', 'it''s;'",
    "SELECT $$;$$ || $a$ ; $$ ' $a$",
    "SELECT 1 /* ; /* ' */ ; */ + -- ; $$ '\n 1",
    "SELECT 'one'\n';two', B'1', U&'\\003b', N';'",
    "SELECT (1), ARRAY[1, 2], 1.5e3, 0 = 1, 1 - -1",
    "SELECT CASE WHEN true THEN 1 END AS end",
    "DO $$ BEGIN PERFORM 1; IF true THEN NULL; END IF; END; $$",
    ROUTINE.format(1) + "BEGIN ATOMIC SELECT 1; SELECT CASE a WHEN 1 THEN 2 END; END",
    ROUTINE.format(2) + "BEGIN ATOMIC SELECT x.end AS end FROM "
    '(SELECT 1 AS end, (CASE WHEN true THEN 2 END) AS "case") x; END',
    ROUTINE.format(3) + "RETURN a + $1",
    ROUTINE.format(4) + "AS $body$ SELECT 1; $body$",
    "CREATE OR REPLACE PROCEDURE pg_temp.p() BEGIN ATOMIC END",
    "CREATE OR REPLACE FUNCTION pg_temp.begin() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE TEMP VIEW v AS SELECT 1 AS begin, 2 AS atomic",
    "CREATE OR REPLACE RULE r AS ON UPDATE TO pg_temp.t DO ALSO (SELECT 1; SELECT 2)",
]


@pytest.fixture(scope="module")
def connection(pg: Pg) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    if pg.version < 140000:
        pytest.skip("BEGIN ATOMIC is of 14")
    with psycopg.connect(pg.connstr("splitting"), autocommit=True) as conn:
        conn.execute("CREATE TEMP TABLE t (a int)")
        yield conn


@settings(max_examples=60)
@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(STATEMENTS), st.sampled_from([";", "\n;\n", " ;; -- ;\n"])
        ),
        min_size=1,
        max_size=6,
    )
)
def test_as_the_server(
    connection: psycopg.Connection[tuple[object, ...]], parts: list[tuple[str, str]]
) -> None:
    text = "".join(statement + end for statement, end in parts)
    cursor = connection.execute(text.encode())
    count = 1
    while cursor.nextset():
        count += 1
    found = list(split(text))
    assert len(found) == count == len(parts)
    for statement in found:
        # The extended protocol refuses a text of several.
        psycopg.RawCursor(connection).execute(statement.text.encode(), [0])
