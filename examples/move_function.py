"""A function moves to another cluster while the application runs, and does not notice.

Run: python examples/move_function.py SERVER (see playground.py)

The application has typed faces: names and types. Where a function runs stands in a file
that belongs to the DBA. What is not here: keeping writers away between copy and switch.
"""

# mypy: disable-error-code=empty-body

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from playground import partitions

from plproxy_py import Router

FUNCTIONS = """
CREATE FUNCTION create_user(i_username text, i_email text) RETURNS void AS $$
    CLUSTER 'maindb';
    RUN ON hashtext(i_username);
$$ LANGUAGE plproxy;

CREATE FUNCTION get_user_email(i_username text) RETURNS text AS $$
    CLUSTER 'maindb';
    RUN ON hashtext(i_username);
$$ LANGUAGE plproxy;
"""
NAMES = ["marko", "sven", "asko", "ann", "mari", "peeter", "kristo"]


def toml_text(connstr: str) -> str:
    return json.dumps(connstr.replace("$", "$$"))


def write_config(folder: Path, maindb: str, userdb: list[str]) -> Path:
    (folder / "functions.sql").write_text(FUNCTIONS)
    config = folder / "plproxy.toml"
    config.write_text(
        'functions = ["functions.sql"]\n'
        f"[clusters.maindb]\npartitions = [{toml_text(maindb)}]\n"
        f"[clusters.userdb]\npartitions = [{', '.join(map(toml_text, userdb))}]\n"
    )
    return config


def move_users(config: Path, maindb: str, userdb: list[str]) -> None:
    """Do what the DBA does: copy the rows, then change the file."""
    with psycopg.connect(maindb) as conn:
        users = conn.execute("SELECT username, email FROM users").fetchall()
    functions = FUNCTIONS.replace("'maindb'", "'userdb'")
    # The functions, as they will be, know where each row goes.
    with Router({"userdb": userdb}) as router:
        scratch = config.with_name("new.sql")
        scratch.write_text(functions)
        router.load(scratch)
        for user in users:
            router.call("create_user", *user)
    scratch.replace(config.with_name("functions.sql"))


def main() -> None:
    with partitions(3) as (maindb, *userdb), TemporaryDirectory() as folder:
        config = write_config(Path(folder), maindb, userdb)

        with Router.from_config(config) as router:
            # The application, from here to its last line.
            @router.proxy
            def create_user(i_username: str, i_email: str) -> None: ...

            @router.proxy
            def get_user_email(i_username: str) -> str | None: ...

            def show() -> None:
                found = sum(get_user_email(name) is not None for name in NAMES)
                print(f"{get_user_email.plan('marko').cluster}: found {found}")

            for name in NAMES:
                create_user(name, f"{name}@example.com")
            show()

            move_users(config, maindb, userdb)
            # Files are looked at in a call, once a second at most.
            while get_user_email.plan("marko").cluster == "maindb":
                time.sleep(0.1)
            show()
            create_user("lotte", "lotte@example.com")

            counts = "SELECT count(*) FROM users"
            for cluster in router.clusters:
                rows = router.execute(cluster, counts).values()
                print(f"users in {cluster}:", [row.count for (row,) in rows])


if __name__ == "__main__":
    main()
