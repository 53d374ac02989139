"""Databases for the examples: made on a server of yours, dropped at the end.

The server is given as the first argument or as PLPROXY_EXAMPLE_CONNSTR: a connect
string, or the path of the config file that ``plproxy demo --keep`` prints.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from plproxy_py import Router

PARTITION_SQL = Path(__file__).with_name("partition.sql").read_text()


def find_server() -> str:
    """Return a connect string to the server."""
    server = "".join(sys.argv[1:2]) or os.environ.get("PLPROXY_EXAMPLE_CONNSTR")
    if not server:
        sys.exit(
            f"usage: {sys.argv[0]} SERVER, where databases may be created: a connect "
            "string, or the config file that `plproxy demo --keep` prints"
        )
    if server.endswith(".toml"):
        cluster, *_ = Router.from_config(server).clusters.values()
        return cluster.target(0).conninfo()
    return server


@contextmanager
def partitions(count: int) -> Iterator[list[str]]:
    """Yield the connect strings of new databases, each set up by partition.sql."""
    server = find_server()
    with ExitStack() as stack:
        admin = stack.enter_context(psycopg.connect(server, autocommit=True))
        connstrs = []
        for number in range(count):
            name = f"plproxy_example_{os.getpid()}_{number}"
            admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
            drop = SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name))
            stack.callback(admin.execute, drop)
            connstrs.append(make_conninfo(server, dbname=name))
            with psycopg.connect(connstrs[-1]) as conn:
                conn.execute(PARTITION_SQL)
        yield connstrs
