"""The same declarations on an `AsyncRouter`: what may do I/O is awaited."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, assert_type

from plproxy_py import AsyncProxyCall, AsyncRouter, Int4, Plan, Row


class User(NamedTuple):
    id: Int4
    username: str


@dataclass
class Balance:
    bdate: date
    balance: Decimal


router = AsyncRouter({"userdb": ["host=db0 dbname=part00", "host=db1 dbname=part01"]})
assert_type(router, AsyncRouter)
assert_type(AsyncRouter.from_config("plproxy.toml"), AsyncRouter)
later = AsyncRouter(pool_size=4)
later.configure("plproxy.toml")


@router.proxy(cluster="userdb", run_on="hashtext(username)")
async def get_user_email(username: str) -> str | None: ...


@router.proxy(cluster="userdb", run_on="ALL")
async def list_users(min_id: Int4 = 0) -> list[User]: ...


@router.proxy(
    "get_data(IN first_name text, IN last_name text, "
    "OUT bdate date, OUT balance numeric(20,10))",
    cluster="userdb",
    run_on="hashtext(first_name)",
)
async def get_data(first_name: str, last_name: str) -> Balance: ...


f = router.define(
    "CREATE FUNCTION f(i_user text) RETURNS SETOF text AS "
    "$$ CLUSTER 'userdb'; RUN ON hashtext(i_user); $$ LANGUAGE plproxy;"
)
fs = router.load("functions.sql")


dynamic_query = router.define(
    "CREATE FUNCTION dynamic_query(q text) RETURNS SETOF record AS "
    "$$ CLUSTER 'userdb'; RUN ON ALL; $$ LANGUAGE plproxy;"
)


@router.proxy
async def get_user(i_user: str) -> User: ...


@router.proxy(cluster="userdb", run_on="hashtext(key)")
async def touch(key: str) -> None: ...


async def main() -> None:
    coroutine: Coroutine[Any, Any, str | None] = get_user_email("marko")
    assert_type(await coroutine, str | None)
    assert_type(await get_user_email(username="marko"), str | None)
    assert_type(await list_users(), list[User])
    assert_type((await list_users(10))[0].id, int)
    assert_type(await get_data("marko", last_name="kreen"), Balance)
    assert_type(f, AsyncProxyCall[..., Any])
    assert_type(fs, list[AsyncProxyCall[..., Any]])
    assert_type(await f("marko"), Any)
    assert_type(await get_user("marko"), User)
    await touch("x")

    assert_type(await get_user_email.plan("marko"), Plan)
    assert_type(await list_users.with_options(timeout=0.5)(10), list[User])
    listed = dynamic_query.returning("id integer, username text")
    assert_type(listed, AsyncProxyCall[..., Any])
    assert_type(await listed("select …"), Any)
    assert_type(await listed.plan("select …"), Plan)
    assert_type(await router.call("get_user_email", "marko"), Any)
    size = await router.execute("userdb", "select $1::text", "x", run_on="ANY")
    assert_type(size, dict[int, list[Row]])
    assert_type(router.functions, Mapping[str, AsyncProxyCall[..., Any]])

    # A coroutine function goes wherever one goes.
    call: Callable[[str], Awaitable[str | None]] = get_user_email
    assert_type(await call("marko"), str | None)
    both = await asyncio.gather(get_user_email("marko"), list_users())
    assert_type(both, tuple[str | None, list[User]])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(get_user_email("marko"))
    assert_type(task.result(), str | None)

    async with AsyncRouter({"userdb": ["dbname=part00"]}) as opened:
        assert_type(opened, AsyncRouter)
        await opened.close(timeout=3)
