"""Whatever was done to a connection on loan, the next finds it as new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from plproxy_py import Notice
from tests.both import backends, lent, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg

PARTITIONS = [f"part{number:02}" for number in range(4)]
SEEN: list[Notice | str] = []


@pytest.fixture
def driver(make_router: Callable[..., Driver], databases4: list[str], pg: Pg) -> Driver:
    for name in PARTITIONS:
        pg.execute(name, "CREATE TABLE IF NOT EXISTS lent (id int4); TRUNCATE lent")
    SEEN.clear()
    return make_router(
        {"userdb": databases4},
        pool_size=1,
        application_name="lending",
        on_notice=SEEN.append,
    )


def run(driver: Driver, connection: Any, sql: str, *params: Any) -> Any:
    """Run SQL on a lent connection; return its rows, if any."""
    cursor = driver.run(connection.execute(sql, params or None))
    return driver.run(cursor.fetchall()) if cursor.description else None


def _set(driver: Driver, connection: Any) -> None:
    run(driver, connection, "SET SESSION search_path = nowhere")
    run(driver, connection, "SET SESSION DateStyle = German")
    run(driver, connection, "SET SESSION IntervalStyle = sql_standard")
    run(driver, connection, "SET SESSION client_encoding = 'LATIN1'")
    run(driver, connection, "SET SESSION TimeZone = 'Asia/Tokyo'")
    run(driver, connection, "SET SESSION default_transaction_read_only = on")
    run(driver, connection, "SET SESSION client_min_messages = debug5")


def _listen(driver: Driver, connection: Any) -> None:
    run(driver, connection, "LISTEN lent_channel")
    driver.run(connection.commit())
    run(driver, connection, "NOTIFY lent_channel, 'late'")


def _temp_table(driver: Driver, connection: Any) -> None:
    run(driver, connection, "CREATE TEMP TABLE lent (id text)")


def _advisory_lock(driver: Driver, connection: Any) -> None:
    run(driver, connection, "SELECT pg_advisory_lock(4711)")


def _prepared(driver: Driver, connection: Any) -> None:
    run(driver, connection, "PREPARE stays AS SELECT 1")
    connection.prepare_threshold = 0
    run(driver, connection, "SELECT %s::int4", 1)


def _session_authorization(driver: Driver, connection: Any) -> None:
    run(driver, connection, "SET SESSION AUTHORIZATION pg_monitor")


def _role(driver: Driver, connection: Any) -> None:
    run(driver, connection, "SET ROLE pg_monitor")


def _autocommit(driver: Driver, connection: Any) -> None:
    driver.run(connection.set_autocommit(True) if driver.is_async else None)
    if not driver.is_async:
        connection.autocommit = True
    run(driver, connection, "BEGIN")


def _isolation(driver: Driver, connection: Any) -> None:
    run(driver, connection, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")


def _failed(driver: Driver, connection: Any) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        run(driver, connection, "SELECT 1 / 0")


def _savepoint(driver: Driver, connection: Any) -> None:
    run(driver, connection, "SAVEPOINT one")


def _open_cursor(driver: Driver, connection: Any) -> None:
    run(driver, connection, "DECLARE here CURSOR WITH HOLD FOR SELECT 1 FROM lent")
    run(driver, connection, "DECLARE there CURSOR FOR SELECT 1 FROM lent")
    cursor = connection.cursor()
    driver.run(cursor.execute("SELECT generate_series(1, 1000)"))
    driver.run(cursor.fetchone())


def _pipeline(driver: Driver, connection: Any) -> None:
    pipeline = connection.pipeline()
    driver.run(pipeline.__aenter__() if driver.is_async else pipeline.__enter__())
    driver.run(connection.execute("SELECT 1"))


def _closed(driver: Driver, connection: Any) -> None:
    driver.run(connection.close())


def _handlers(driver: Driver, connection: Any) -> None:
    connection.add_notice_handler(lambda diag: SEEN.append("a borrower's"))
    connection.add_notify_handler(lambda notify: SEEN.append("a borrower's"))
    run(driver, connection, "LISTEN lent_channel")


def _adapters(driver: Driver, connection: Any) -> None:
    connection.adapters.register_loader("int4", psycopg.types.string.TextLoader)
    connection.row_factory = psycopg.rows.dict_row


def _sequence(driver: Driver, connection: Any) -> None:
    run(driver, connection, "CREATE SEQUENCE IF NOT EXISTS lent_seq")
    run(driver, connection, "SELECT nextval('lent_seq')")


def _local(driver: Driver, connection: Any) -> None:
    run(driver, connection, "SET LOCAL statement_timeout = 1")


DEEDS = [
    _set,
    _listen,
    _temp_table,
    _advisory_lock,
    _prepared,
    _session_authorization,
    _role,
    _autocommit,
    _isolation,
    _failed,
    _savepoint,
    _open_cursor,
    _pipeline,
    _closed,
    _handlers,
    _adapters,
    _sequence,
    _local,
]

FRESH = """
SELECT current_setting('search_path') AS path, current_setting('DateStyle') AS style,
    current_setting('IntervalStyle') AS intervals,
    current_setting('client_encoding') AS encoding,
    current_setting('TimeZone') AS zone,
    current_setting('transaction_read_only') AS read_only,
    current_setting('statement_timeout') AS timeout,
    current_user::text AS "user", session_user::text AS session,
    to_regclass('pg_temp.lent')::text AS temp,
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS locks,
    (SELECT count(*) FROM pg_listening_channels()) AS channels,
    (SELECT count(*) FROM pg_cursors WHERE name <> '') AS cursors,
    (SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'plproxy%') AS p,
    (SELECT count(*) FROM lent) AS rows, 1::int4 AS one, date '2026-02-03' AS d
"""


@pytest.mark.parametrize("how", ["end", "error"])
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__.strip("_"))
def test_the_next_finds_it_as_new(
    driver: Driver, pg: Pg, deed: Callable[[Driver, Any], None], how: str
) -> None:
    """The next call, and the next borrower; and no more than one connection is used."""
    fresh = driver.execute("userdb", FRESH, run_on=0)[0]
    SEEN.clear()

    def work() -> None:
        with lent(driver, "userdb", partition=0) as connection:
            deed(driver, connection)
            if how == "error":
                raise ArithmeticError

    if how == "error":
        with pytest.raises(ArithmeticError):
            work()
    else:
        try:
            work()
        except psycopg.Error:
            assert deed in (_failed, _pipeline)
    # A statement of this one's own would be forgotten with the others.
    assert driver.execute("userdb", FRESH, run_on=0, timeout=3)[0] == fresh
    with lent(driver, "userdb", partition=0, timeout=3) as connection:
        assert not connection.closed
        assert not connection.autocommit
        assert connection.row_factory is psycopg.rows.tuple_row
        assert run(driver, connection, FRESH) == [tuple(row) for row in fresh]
        pg.execute("part00", "NOTIFY lent_channel, 'too late'")
        found = connection.notifies(timeout=0)
        if driver.is_async:

            async def all_of(notifies: Any) -> list[Any]:
                return [notify async for notify in notifies]

            assert driver.run(all_of(found)) == []
        else:
            assert list(found) == []
    assert SEEN == []
    wait_until(lambda: backends(pg, "lending") == 1)
