"""Errors that somebody asked about: what they say now, and what the partitions hold."""

from __future__ import annotations

from typing import Any

import pytest

from plproxy_py import RemoteError, RoutingError
from tests.both import lent, wait_until
from tests.fix_router import Driver
from tests.fix_server import Pg


@pytest.mark.parametrize("sql", ["begin", "start transaction read only"])
def test_a_statement_that_leaves_a_transaction_open(
    userdb: Driver, pg: Pg, sql: str
) -> None:
    with pytest.raises(RemoteError, match="left a transaction open") as caught:
        userdb.execute("userdb", sql)
    error = caught.value
    assert (error.sqlstate, error.sent, error.partition) == ("25001", True, 0)
    assert {outcome.state for outcome in error.outcomes.values()} == {"failed"}
    assert "unknown" not in str(error)
    assert "connection() lends" in str(error)
    # Nobody gets such a connection.
    assert userdb.execute("userdb", "SELECT 7", run_on=0) == {0: [(7,)]}
    idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in trans%'"
    wait_until(lambda: pg.execute("postgres", idle) == [(0,)])


@pytest.mark.parametrize(
    ("given", "kind", "reason"),
    [
        ({"key": 1.5}, TypeError, "key of type float for hashtext: .* hash= names"),
        ({"key": b"x"}, TypeError, "key of type bytes for hashtext"),
        ({"key": True}, TypeError, "key of type bool for hashint8"),
        ({"key": 2**70}, ValueError, "key of type int for hashint8: out of range"),
        ({"key": "a\0"}, ValueError, "key of type str for hashtext: NUL"),
        ({"key": "a", "hash": "hashint4"}, ValueError, "type str for hashint4: [^;]*$"),
        ({"key": "a", "hash": 5}, TypeError, "hash is a hash function's name, not int"),
        ({"key": None}, RoutingError, "takes key= or partition="),
    ],
    ids=str,
)
def test_keys_of_connections(
    userdb: Driver, given: dict[str, Any], kind: type[Exception], reason: str
) -> None:
    with (
        pytest.raises(kind, match=f"^connection: .*{reason}"),
        lent(userdb, "userdb", **given),
    ):
        pass
