"""Clusters defined in a database, and a partition that moves while the router runs.

Run: python examples/from_database.py SERVER (see playground.py)

A team without PL/Proxy's configuration functions installs sql/config_tables.sql, once.
Routers then follow what the tables say. What is not here: keeping writers away between
the copy and the switch.
"""

# mypy: disable-error-code=empty-body

import logging
import sys
from pathlib import Path

import psycopg
from playground import partitions
from psycopg.conninfo import conninfo_to_dict

from plproxy_py import Router

CONFIG_TABLES = Path(__file__).parents[1] / "sql" / "config_tables.sql"
NAMES = ["marko", "sven", "asko", "ann", "mari", "peeter", "kristo"]


def define(home: str, connstrs: list[str]) -> None:
    """Say which partitions the cluster has; the array's order numbers them from 0."""
    with psycopg.connect(home) as conn:
        conn.execute("SELECT plproxy.set_cluster('userdb', %s)", [connstrs])


def copy_users(source: str, target: str) -> None:
    with psycopg.connect(source) as old, psycopg.connect(target) as new:
        for row in old.execute("SELECT username, email FROM users"):
            new.execute("INSERT INTO users VALUES (%s, %s)", row)


def main() -> None:
    logging.basicConfig(stream=sys.stdout, format="logged: %(message)s")
    # config_ttl=0 asks in each call whether the definition is current, so that there is
    # nothing to wait for. By default that is asked once a second, in the background.
    with (
        partitions(4) as (home, first, second, spare),
        Router.from_database(home, config_ttl=0) as router,
    ):
        with psycopg.connect(home, autocommit=True) as conn:
            conn.execute(CONFIG_TABLES.read_text())
        define(home, [first, second])

        @router.proxy(cluster="userdb", run_on="hashtext(username)")
        def create_user(username: str, email: str) -> None: ...

        @router.proxy(cluster="userdb", run_on="hashtext(username)")
        def get_user_email(username: str) -> str | None: ...

        @router.proxy(cluster="userdb", run_on="ALL")
        def count_users() -> list[int]: ...

        @router.proxy(cluster="userdb", run_on="ALL", select="current_database()::text")
        def databases() -> list[str]: ...

        labels = {
            conninfo_to_dict(connstr)["dbname"]: label
            for connstr, label in [
                (first, "first"),
                (second, "second"),
                (spare, "spare"),
            ]
        }

        def show() -> None:
            print("partitions:", *[labels[name] for name in databases()])
            found = sum(get_user_email(name) is not None for name in NAMES)
            print(f"users: {count_users()}, found by key: {found}")

        for name in NAMES:
            create_user(name, f"{name}@example.com")
        show()

        # Partition 1 moves to another database: the rows first, then the definition.
        copy_users(second, spare)
        define(home, [first, spare])
        show()

        # Three partitions can't be a cluster: that is logged, and the last good
        # definition goes on serving.
        define(home, [first, spare, second])
        show()
        print("not in force:", router.stats()["config"]["error"] is not None)


if __name__ == "__main__":
    main()
