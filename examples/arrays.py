"""Arrays, split over partitions: many rows written and read, a statement for each.

Run: python examples/arrays.py SERVER (see playground.py)
"""

# mypy: disable-error-code=empty-body

from typing import NamedTuple

from install import install
from playground import partitions

from plproxy_py import RemoteError, Router

PARTITION = """
CREATE FUNCTION create_users(i_usernames text[], i_emails text[]) RETURNS SETOF int8
LANGUAGE sql AS $$
    WITH created AS (
        INSERT INTO users SELECT * FROM unnest(i_usernames, i_emails) RETURNING 1
    )
    SELECT count(*) FROM created
$$;

CREATE FUNCTION get_emails(i_usernames text[], i_domain text)
RETURNS TABLE (username text, email text) LANGUAGE sql STABLE
AS $$
    SELECT username, email FROM unnest(i_usernames) username JOIN users USING (username)
    WHERE email LIKE '%@' || i_domain
$$;
"""


class User(NamedTuple):
    username: str
    email: str


router = Router()


# Both arrays are split, side by side: an element's partition gets its email as well.
@router.proxy(cluster="userdb", split="usernames, emails", run_on="hashtext(usernames)")
def create_users(usernames: list[str], emails: list[str]) -> list[int]: ...


# One is split; what is not goes whole to each partition.
@router.proxy(cluster="userdb", split="usernames", run_on="hashtext(usernames)")
def get_emails(usernames: list[str], domain: str) -> list[User]: ...


def main() -> None:
    with partitions(4) as connstrs, router:
        install(PARTITION, connstrs)
        router.configure({"userdb": connstrs})

        names = [f"user{number}" for number in range(1000)]
        emails = [
            f"{name}@example.{'com' if name < 'user5' else 'org'}" for name in names
        ]
        counts = create_users(names, emails)
        print(f"{sum(counts)} users in {len(counts)} statements: {counts}")

        some = ["user1", "user2", "user3", "user7", "nobody"]
        for partition, outcome in get_emails.call_outcomes(some, "example.com").items():
            found = [user.username for user in outcome.rows or []]
            print(f"partition {partition} found {found}")
        print("together:", [user.username for user in get_emails(some, "example.com")])
        print("no names, nobody asked:", get_emails([], "example.com"))

        # Each partition commits, or refuses, its own part.
        try:
            create_users(["user0", "new1", "new2", "new3"], ["new@example.com"] * 4)
        except RemoteError as error:
            states = {number: out.state for number, out in error.outcomes.items()}
            print(f"{error.sqlstate}: {states}")


if __name__ == "__main__":
    main()
