"""Two levels: an argument names the cluster, another the partition in it.

Run: python examples/two_level.py SERVER (see playground.py)

Customers of the EU are on two databases, those of the US on one. A call says which
region, and no address. In PL/Proxy's text it is CLUSTER users_of(i_region), a function
of the home database.
"""

# mypy: disable-error-code=empty-body

from playground import partitions

from plproxy_py import NoSuchCluster, Router

router = Router()


def users_of(region: str, *_: object) -> str:
    """Return the cluster for a call; it gets the call's arguments."""
    return f"users_{region}"


@router.proxy(
    cluster=users_of,
    run_on="hashtext(username)",
    select="create_user(username, email)",
)
def create_user(region: str, username: str, email: str) -> None: ...


@router.proxy(
    cluster=users_of,
    run_on="hashtext(username)",
    select="get_user_email(username)",
)
def get_user_email(region: str, username: str) -> str | None: ...


@router.proxy(cluster=users_of, run_on="ALL", select="count_users()")
def count_users(region: str) -> list[int]: ...


def main() -> None:
    with partitions(3) as (first, second, third), router:
        router.configure({"users_eu": [first, second], "users_us": [third]})

        for name in ["marko", "sven", "asko", "ann", "mari", "peeter", "kristo"]:
            create_user("eu", name, f"{name}@example.com")
        for name in ["josh", "ann"]:
            create_user("us", name, f"{name}@example.net")

        for region in ("eu", "us"):
            plan = get_user_email.plan(region, "ann")
            email = get_user_email(region, "ann")
            print(f"{plan.cluster}, partition {plan.partitions[0]}: {email}")
            print("users:", count_users(region))

        try:
            get_user_email("mars", "ann")
        except NoSuchCluster as error:
            print("nothing sent:", error)


if __name__ == "__main__":
    main()
