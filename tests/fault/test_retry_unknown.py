"""Retries where an answer was cut off behind COMMIT: what is there stays told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from plproxy_py import ConnectionLost, Error
from tests.both import face
from tests.fix_network import Fault, FaultProxy
from tests.fix_router import Driver
from tests.fix_server import Pg

REMOTE = """
CREATE TABLE IF NOT EXISTS noted (n int8);
TRUNCATE noted;
CREATE OR REPLACE FUNCTION note(most int8) RETURNS int8 LANGUAGE plpgsql AS $$
DECLARE found int8 := (SELECT count(*) + 1 FROM noted);
BEGIN
    IF found > most THEN
        RAISE EXCEPTION 'no room' USING ERRCODE = '53100';
    END IF;
    INSERT INTO noted VALUES (found);
    RETURN found;
END $$;
"""


@pytest.fixture
def proxy(pg: Pg) -> Iterator[FaultProxy]:
    """A network before the server of part00."""
    given = conninfo_to_dict(pg.connstr("part00"))
    host, port = str(given["host"]), int(given["port"] or 5432)
    with FaultProxy(
        f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
    ) as proxy:
        yield proxy


@pytest.fixture
def note(
    make_router: Callable[..., Driver], pg: Pg, proxy: FaultProxy
) -> Callable[..., Any]:
    """Return what declares the function, its statement prepared."""
    pg.execute("part00", REMOTE)
    there = pg.connstr("part00", host="127.0.0.1", port=proxy.port)
    driver = make_router({"userdb": [there]}, pool_size=1)

    def declare(**keywords: Any) -> Callable[[int], Any]:
        call = face(driver, int, {"most": int}, name="note", run_on=0, **keywords)
        for number in (1, 2, 3):
            assert driver.run(call(99)) == number
        return lambda most: driver.run(call(most))

    return declare


CUT = Fault("cut", at="answer", after=1)


def states(error: Error) -> list[str]:
    return [outcome.state for outcome in error.outcomes.values()]


def test_it_is_called_again_if_idempotent(
    note: Callable[..., Any], proxy: FaultProxy
) -> None:
    call = note(retry=2, idempotent=True)
    proxy.fault(CUT, "old")
    assert call(99) == 5  # the fourth is there, and nobody saw it


def test_it_is_not_called_again_otherwise(
    note: Callable[..., Any], proxy: FaultProxy, pg: Pg
) -> None:
    call = note(retry=2)
    proxy.fault(CUT, "old")
    with pytest.raises(ConnectionLost) as caught:
        call(99)
    assert states(caught.value) == ["unknown"]
    assert pg.execute("part00", "SELECT count(*) FROM noted") == [(4,)]


def test_later_attempts_do_not_make_it_known(
    note: Callable[..., Any], proxy: FaultProxy, pg: Pg
) -> None:
    """The second attempt rolled back; the first one did not."""
    call = note(retry=2, idempotent=True)
    proxy.fault(CUT, "old")
    with pytest.raises(psycopg.errors.DiskFull, match="2 attempts were made") as caught:
        call(4)
    assert isinstance(caught.value, Error)
    assert states(caught.value) == ["unknown"]
    assert "look before you repeat it" in str(caught.value)
    assert pg.execute("part00", "SELECT count(*) FROM noted") == [(4,)]
