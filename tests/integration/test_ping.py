"""How far away each partition is, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg.conninfo import make_conninfo

from plproxy_py import ConnectError, Error, PoolTimeout
from tests.both import lent
from tests.fix_router import Driver
from tests.fix_server import Pg


def test_ping(
    make_router: Callable[..., Driver], databases4: list[str], pg: Pg
) -> None:
    nowhere = make_conninfo(pg.connstr("postgres"), dbname="nowhere")
    driver = make_router({"userdb": [*databases4[:3], nowhere]}, pool_size=1)
    with lent(driver, "userdb", partition=1):
        answers = driver.run(driver.router.ping("userdb", timeout=1.0))
    assert list(answers) == [0, 1, 2, 3]
    assert all(0 < answers[number] < 1 for number in (0, 2))
    assert isinstance(answers[1], PoolTimeout)
    assert isinstance(answers[3], ConnectError)
    for number in (1, 3):
        error: Error = answers[number]
        assert (error.partition, error.cluster) == (number, "userdb")
    with pytest.raises(Error, match="userdc") as caught:
        driver.run(driver.router.ping("userdc"))
    assert caught.value.cluster == "userdc"
