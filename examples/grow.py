"""From one database to four, without a change to the application.

Run: python examples/grow.py SERVER (see playground.py)

A single database is a cluster of one partition: every hash leads to it. Growing is
copying the rows to where their hash will lead, then starting the application with the
new configuration. What is not here: keeping writers away in the meantime.
"""

import importlib
import sys
from contextlib import ExitStack
from types import ModuleType

import psycopg
from playground import partitions

NAMES = [f"user{number}" for number in range(200)]


def start(connstrs: list[str]) -> ModuleType:
    """Import the application anew, as a restart would, with these partitions."""
    sys.modules.pop("grow_app", None)
    app = importlib.import_module("grow_app")
    app.router.configure({"userdb": connstrs})
    return app


def show(app: ModuleType) -> None:
    found = sum(app.get_user_email(name) == f"{name}@example.com" for name in NAMES)
    print(f"rows on the partitions: {app.count_users()}, found by key: {found}")


def copy_rows(app: ModuleType, connstrs: list[str]) -> None:
    """Copy each row of the first database to the partition that will own it."""
    owned = [0] * len(connstrs)
    # The stack commits in reverse, the first database last: a crash in between leaves
    # a row in two places, and never in none.
    with ExitStack() as stack:
        conns = [stack.enter_context(psycopg.connect(text)) for text in connstrs]
        for row in conns[0].execute("SELECT username, email FROM users").fetchall():
            # A plan goes the same way as a call, and sends nothing.
            (partition,) = app.get_user_email.plan(row[0]).partitions
            owned[partition] += 1
            if partition != 0:
                conns[partition].execute("INSERT INTO users VALUES (%s, %s)", row)
                conns[0].execute("DELETE FROM users WHERE username = %s", row[:1])
    print(f"rows by owner: {owned}")


def main() -> None:
    with partitions(4) as connstrs:
        small = start(connstrs[:1])
        for name in NAMES:
            small.create_user(name, f"{name}@example.com")
        show(small)
        small.router.close()

        large = start(connstrs)
        copy_rows(large, connstrs)
        show(large)
        large.router.close()


if __name__ == "__main__":
    main()
