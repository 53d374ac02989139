"""SQL of one example, installed beside what every database of `playground` has."""

from collections.abc import Iterable

import psycopg


def install(sql: str, connstrs: Iterable[str]) -> None:
    """Run SQL on each of the databases."""
    for connstr in connstrs:
        with psycopg.connect(connstr) as conn:
            conn.execute(sql)
