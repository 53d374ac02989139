"""Read-only replicas: writes to one database, reads spread over its copies by weight.

Run: python examples/replicas.py SERVER (see playground.py)

A connect string that stands three times in a cluster is three partitions, and
RUN ON ANY picks it three times as often. Here a loop makes the copies, where otherwise
PostgreSQL's replication does.
"""

# mypy: disable-error-code=empty-body

from collections import Counter

from playground import partitions

from plproxy_py import Router

router = Router()


@router.proxy(cluster="primary", run_on="ANY")
def create_user(username: str, email: str) -> None: ...


@router.proxy(cluster="replicas", run_on="ANY")
def get_user_email(username: str) -> str | None: ...


@router.proxy(cluster="replicas", run_on="ANY", select="current_database()::text")
def who_answers() -> str: ...


@router.proxy(cluster="replicas", run_on="ALL")
def count_users() -> list[int]: ...


def replicate(replicas: set[str]) -> None:
    users = router.execute("primary", "SELECT username, email FROM users")[0]
    with Router({name: [name] for name in replicas}) as copies:
        for name in replicas:
            for user in users:
                copies.execute(name, "SELECT create_user($1, $2)", *user)


def main() -> None:
    with partitions(3) as (primary, small, large), router:
        router.configure(
            {
                "primary": [primary],
                # The large one can bear three times as much. As many entries as make a
                # power of two, unless the cluster has modular_mapping.
                "replicas": [small, large, large, large],
            }
        )
        create_user("marko", "marko@example.com")
        print("not copied yet:", get_user_email("marko"))
        replicate({small, large})
        print("from a replica:", get_user_email("marko"))

        answers = Counter(who_answers() for _ in range(400))
        times = max(answers.values()) / min(answers.values())
        print("databases that answer:", len(answers))
        print("the large one about three times as often:", 1.8 < times < 4.7)

        # Equal connect strings are one database: ALL asks each of them once.
        print("users on each replica:", count_users())


if __name__ == "__main__":
    main()
