"""Horizontal partitioning: one table, on four databases by its key.

Run: python examples/horizontal.py SERVER (see playground.py)

The key is an integer, and an integer is a hash: `run_on="user_id"`. (sync.py has a text
and hashtext.) What belongs to a user has the user's key, and so is on the same
partition: foreign keys and joins work there as ever.
"""

# mypy: disable-error-code=empty-body

from typing import NamedTuple

from install import install
from playground import partitions

from plproxy_py import RemoteError, Router

PARTITION = """
CREATE TABLE members (user_id int8 PRIMARY KEY, name text NOT NULL);
CREATE TABLE messages (user_id int8 NOT NULL REFERENCES members, body text NOT NULL);

CREATE FUNCTION add_member(i_user_id int8, i_name text) RETURNS void LANGUAGE sql
AS $$ INSERT INTO members VALUES (i_user_id, i_name) $$;

CREATE FUNCTION send_message(i_user_id int8, i_body text) RETURNS void LANGUAGE sql
AS $$ INSERT INTO messages VALUES (i_user_id, i_body) $$;

CREATE FUNCTION get_messages(i_user_id int8) RETURNS SETOF text LANGUAGE sql STABLE
AS $$
    SELECT name || ': ' || body FROM members JOIN messages USING (user_id)
    WHERE user_id = i_user_id ORDER BY body
$$;

CREATE FUNCTION count_rows(OUT members int8, OUT messages int8) LANGUAGE sql STABLE
AS $$ SELECT (SELECT count(*) FROM members), (SELECT count(*) FROM messages) $$;
"""


class Count(NamedTuple):
    members: int
    messages: int


router = Router()


@router.proxy(cluster="userdb", run_on="user_id")
def add_member(user_id: int, name: str) -> None: ...


@router.proxy(cluster="userdb", run_on="user_id")
def send_message(user_id: int, body: str) -> None: ...


@router.proxy(cluster="userdb", run_on="user_id")
def get_messages(user_id: int) -> list[str]: ...


@router.proxy(cluster="userdb", run_on="ALL")
def count_rows() -> list[Count]: ...


def main() -> None:
    with partitions(4) as connstrs, router:
        install(PARTITION, connstrs)
        router.configure({"userdb": connstrs})

        for user_id in range(1, 11):
            add_member(user_id, f"member {user_id}")
        for user_id in (7, 3, 7):
            send_message(user_id, f"hello, {user_id}")
        print("7 is on partition", *get_messages.plan(7).partitions)
        print("messages:", get_messages(7))

        for partition, (members, messages) in enumerate(count_rows()):
            print(f"partition {partition}: {members} members, {messages} messages")

        try:
            send_message(11, "is anybody there?")
        except RemoteError as error:
            print(f"no member: {error.sqlstate} from partition {error.partition}")


if __name__ == "__main__":
    main()
