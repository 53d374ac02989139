"""Users on four databases, called as if they were on one.

Run: python examples/sync.py SERVER (see playground.py)
"""

# mypy: disable-error-code=empty-body

from typing import NamedTuple

from playground import partitions

from plproxy_py import RemoteError, Router


class User(NamedTuple):
    username: str
    email: str


router = Router()


@router.proxy(cluster="userdb", run_on="hashtext(username)")
def create_user(username: str, email: str) -> None: ...


@router.proxy(cluster="userdb", run_on="hashtext(username)")
def get_user_email(username: str) -> str | None: ...


@router.proxy(cluster="userdb", run_on="ALL")
def find_users(prefix: str) -> list[User]: ...


def main() -> None:
    with partitions(4) as connstrs, router:
        router.configure({"userdb": connstrs})

        for name in ["marko", "sven", "asko", "ann", "mari", "peeter", "kristo"]:
            create_user(name, email=f"{name}@example.com")

        # One key, one partition: the same hash as PostgreSQL's own, computed here.
        plan = get_user_email.plan("marko")
        print("sent:", plan.sql)
        print("to partition", *plan.partitions)
        print("marko:", get_user_email("marko"))
        print("nobody:", get_user_email("nobody"))

        # All partitions at once, on one thread; rows come in partition order.
        print("with an m:", sorted(user.username for user in find_users("m")))

        # Plain SQL, where a function would be too much.
        counts = router.execute("userdb", "SELECT count(*) FROM users")
        for partition, rows in counts.items():
            print(f"partition {partition} holds {rows[0][0]}")

        # The server's own error, with the partition it came from.
        try:
            create_user("marko", "somebody.else@example.com")
        except RemoteError as error:
            print(f"refused by partition {error.partition}: {error.sqlstate}")


if __name__ == "__main__":
    main()
