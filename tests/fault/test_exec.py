"""What `exec` says of a change whose connection broke, by when it did."""

from __future__ import annotations

import asyncio

import pytest

from plproxy_py import AsyncRouter, ConnectionLost
from plproxy_py.cli.common import find_cluster
from plproxy_py.ops.executing import execute, one_statement
from tests.fix_network import Fault, FaultProxy
from tests.fix_servers import Servers


@pytest.mark.parametrize(
    ("after", "is_unknown"), [(5, False), (20, True)], ids=["before", "in it"]
)
def test_a_change_is_unknown_once_it_was_sent(
    servers: Servers, fault_proxy: FaultProxy, after: int, is_unknown: bool
) -> None:
    """``after``: bytes of answers; SET statement_timeout, which comes first, has 15."""
    last = servers.unix(3, host="127.0.0.1", port=fault_proxy.port)

    async def change() -> object:
        async with AsyncRouter({"userdb": [last]}) as router:
            assert await router.execute("userdb", "SELECT 1", run_on=0)
            fault_proxy.fault(Fault("cut", "answer", after), "old")
            statement = one_statement("SELECT pg_sleep(0)", write=True)
            config = find_cluster(router, "userdb")
            found = await execute(
                router, config, statement, [0], write=True, timeout=5.0
            )
            return found[0]

    error = asyncio.run(change())
    assert isinstance(error, ConnectionLost)
    assert ("whether it took effect is unknown" in str(error)) == is_unknown
