"""Rows as they come, on both kinds of routers: the types of what is iterated over."""

import typing
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple, assert_type

from plproxy_py import (
    AsyncRouter,
    AsyncStream,
    AsyncStreamCall,
    Int4,
    Plan,
    Router,
    Row,
    Stream,
    StreamCall,
)


class User(NamedTuple):
    id: Int4
    username: str | None


router = Router({"userdb": ["dbname=part00"]})
async_router = AsyncRouter({"userdb": ["dbname=part00"]})


@router.proxy(cluster="userdb", run_on="ALL", order_by=("id",), limit="most")
def list_users(min_id: Int4, most: Int4 = 100) -> Iterator[User]: ...


@router.proxy(cluster="userdb", run_on="ALL")
def list_names() -> typing.Iterator[str | None]: ...


@router.proxy
def anything(key: str) -> Any: ...


@router.proxy(cluster="userdb", run_on="ANY")
def nothing(key: str) -> None: ...


@router.proxy
def list_known(key: str) -> Iterator[Row]: ...


@async_router.proxy(cluster="userdb", run_on="ALL", limit=10)
async def async_users(min_id: Int4) -> AsyncIterator[User]: ...


@async_router.proxy(cluster="userdb", run_on="ALL")
def plain_users(min_id: Int4) -> AsyncIterator[User]: ...


@async_router.proxy
async def async_anything(key: str) -> Any: ...


@async_router.proxy(cluster="userdb", run_on="ANY")
async def async_nothing(key: str) -> None: ...


@async_router.proxy
async def async_known(key: str) -> AsyncIterator[Row]: ...


users: StreamCall[..., User] = list_users
assert_type(list_users(10), Stream[User])
assert_type(list_users(min_id=10, most=5), Stream[User])
assert_type(list_names(), Stream[str | None])
assert_type(list_known("marko"), Stream[Row])
assert_type(next(list_users(10)), User)
assert_type(list(list_users(10)), list[User])
assert_type(list_users.plan(10), Plan)
assert_type(list_users.__name__, str)
# Any is anything, and no stream.
assert_type(anything("marko"), Any)
planned: Plan = anything.plan("marko")
of_nothing: Callable[[str], None] = nothing
for user in list_users(10):
    assert_type(user, User)
    assert_type(user.username, str | None)
for name in list_names():
    assert_type(name, str | None)
with list_users(10) as opened:
    assert_type(opened, Stream[User])
    for user in opened:
        assert_type(user.id, int)
opened.close()
as_iterator: Iterator[User] = list_users(10)
hurried = list_users.with_options(timeout=0.5, settle=None)
assert_type(next(hurried(10)), User)


async def main() -> None:
    wanted: AsyncStreamCall[..., User] = async_users
    assert_type(async_users(10), AsyncStream[User])
    assert_type(plain_users(min_id=10), AsyncStream[User])
    assert_type(async_known("marko"), AsyncStream[Row])
    async for user in async_users(10):
        assert_type(user, User)
        assert_type(user.username, str | None)
    async for user in plain_users(10):
        assert_type(user.id, int)
    async with async_users(10) as opened:
        assert_type(opened, AsyncStream[User])
        assert_type([user.id async for user in opened], list[int])
    await opened.aclose()
    assert_type(await anext(async_users(10)), User)
    assert_type(await async_users.plan(10), Plan)
    assert_type(await async_anything("marko"), Any)
    await async_nothing("marko")
    assert_type(await anext(async_users.with_options(timeout=1)(10)), User)
    as_iterator: AsyncIterator[User] = async_users(10)
    print(wanted, as_iterator)


list_users()  # expect-error
list_users("10")  # expect-error
list_users(10)[0]  # expect-error
len(list_users(10))  # expect-error
number: int = next(list_users(10))  # expect-error
print(next(list_users(10)).name)  # expect-error
list_users.call_many([(10,)])  # expect-error
list_users.call_outcomes(10)  # expect-error
list_users.with_options(on_error="partial")  # expect-error
list_users.with_options(timeout="1")  # expect-error


async def wrong() -> None:
    for _ in async_users(10):  # expect-error
        pass
    async for _ in list_users(10):  # expect-error
        pass
    async for _ in await async_users(10):  # expect-error
        pass
    with async_users(10):  # expect-error
        pass
    async with list_users(10):  # expect-error
        pass
    await async_users()  # expect-error
    async_users(10).close()  # expect-error
    list_users(10).aclose()  # expect-error
    async_users("10")  # expect-error
