"""Many calls, calls of single partitions and outcomes: exact types of results."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import async_faces
import psycopg
from async_faces import User as AsyncUser
from faces import User, add_keys, get_user_email, list_users, router, touch

from plproxy_py import Bound, Error, Outcome, Results

bound = get_user_email.bind("marko")
assert_type(bound, Bound[str | None])
assert_type(get_user_email.bind(username="marko"), Bound[str | None])
assert_type(list_users.bind(10), Bound[list[User]])

emails = get_user_email.call_many([("marko",), {"username": "sven"}, bound])
assert_type(emails, Results[str | None])
assert_type(emails[0], str | Error | None)
assert_type(emails.errors, dict[int, Error])
assert_type(emails.raise_first(), list[str | None])
as_list: list[str | Error | None] = emails
for email in emails:
    if isinstance(email, Error):
        print(email.sqlstate)
    else:
        assert_type(email, str | None)

assert_type(list_users.call_many([(1,), (2,)]).raise_first(), list[list[User]])
assert_type(touch.call_many([("a",)]).raise_first(), list[None])
tuples: list[tuple[str]] = [("marko",)]
assert_type(get_user_email.call_many(tuples), Results[str | None])
by_name: list[dict[str, str]] = [{"username": "marko"}]
assert_type(get_user_email.call_many(by_name), Results[str | None])
assert_type(get_user_email.call_many((name,) for name in "ab"), Results[str | None])
assert_type(get_user_email.call_many([bound, bound]), Results[str | None])

lazily = get_user_email.iter_many((name,) for name in "ab")
assert_type(lazily, Iterator[str | Error | None])
for one in lazily:
    assert_type(one, str | Error | None)

assert_type(get_user_email.call_outcomes("marko"), dict[int, Outcome[str | None]])
assert_type(list_users.call_outcomes(10), dict[int, Outcome[User]])
assert_type(list_users.call_outcomes(min_id=10)[0].rows, list[User])
assert_type(list_users.call_outcomes(10)[0].error, Error | None)
assert_type(add_keys.call_outcomes(["a"], note="x")[0].rows, list[int])

assert_type(list_users.call_each({0: (10,), 1: {"min_id": 20}}), list[User])
assert_type(list_users.call_each({2: list_users.bind(10)}), list[User])
assert_type(get_user_email.call_each({0: ("marko",)}), str | None)

assert_type(router.ping("userdb"), dict[int, float | Error])
assert_type(router.ping("userdb", timeout=1), dict[int, float | Error])
with router.connection("userdb", key="marko") as connection:
    of_psycopg: psycopg.Connection = connection
    connection.execute("select 1")
with router.connection("userdb", partition=3, timeout=1):
    pass
with router.connection("userdb", key=7, hash="hashint4"):
    pass


async def main() -> None:
    get_user_email = async_faces.get_user_email
    list_users = async_faces.list_users
    assert_type(get_user_email.bind("marko"), Bound[str | None])
    emails = await get_user_email.call_many([("marko",), get_user_email.bind("ann")])
    assert_type(emails, Results[str | None])
    assert_type(emails.raise_first(), list[str | None])

    async def names() -> AsyncIterator[tuple[str]]:
        yield ("marko",)

    assert_type(await get_user_email.call_many(names()), Results[str | None])
    async for email in get_user_email.iter_many(names()):
        assert_type(email, str | Error | None)
    assert_type(await list_users.call_outcomes(10), dict[int, Outcome[AsyncUser]])
    outcomes = await get_user_email.call_outcomes("marko")
    assert_type(outcomes, dict[int, Outcome[str | None]])
    assert_type(await list_users.call_each({0: (10,)}), list[AsyncUser])
    assert_type(await async_faces.router.ping("userdb"), dict[int, float | Error])
    async with async_faces.router.connection("userdb", partition=1) as connection:
        of_psycopg: psycopg.AsyncConnection = connection
        await connection.execute("select 1")
    print(of_psycopg)


get_user_email.call_many()  # expect-error
get_user_email.call_many(5)  # expect-error
get_user_email.call_many([5])  # expect-error
get_user_email.call_each([("marko",)])  # expect-error
get_user_email.call_each({"0": ("marko",)})  # expect-error
get_user_email.call_each({0: 5})  # expect-error
get_user_email.bind()  # expect-error
get_user_email.bind(5)  # expect-error
get_user_email.call_outcomes()  # expect-error
get_user_email.call_outcomes(5)  # expect-error
emails[0].upper()  # expect-error
emails.raise_first()[0].upper()  # expect-error
numbers: list[int] = emails.raise_first()  # expect-error
print(list_users.call_outcomes(10)[0].rows[0].name)  # expect-error
rows: list[User] = list_users.call_outcomes(10)  # expect-error
router.ping()  # expect-error
router.ping("userdb")[0].total_seconds()  # expect-error
router.connection()  # expect-error
router.connection("userdb", partition="1")  # expect-error


async def wrong() -> None:
    async_faces.get_user_email.call_many([("a",)]).raise_first()  # expect-error
    await async_faces.get_user_email.iter_many([("a",)])  # expect-error
    async for _ in get_user_email.iter_many([("a",)]):  # expect-error
        pass
    with async_faces.router.connection("userdb", partition=1):  # expect-error
        pass
    await async_faces.get_user_email.call_outcomes(5)  # expect-error
