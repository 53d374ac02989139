"""Each marked line must be refused by both checkers, and no other line."""

from async_faces import User, get_user_email, list_users

from plproxy_py import AsyncRouter

router = AsyncRouter()


async def main() -> None:
    get_user_email("marko")  # expect-error
    email: str | None = get_user_email("marko")  # expect-error
    get_user_email("marko").upper()  # expect-error
    users: list[User] = list_users(10)  # expect-error
    list(list_users(10))  # expect-error
    print(get_user_email.plan("marko").sql)  # expect-error
    router.execute("userdb", "select 1")[0]  # expect-error
    router.call("get_user_email", "marko")  # expect-error
    router.close()  # expect-error

    await get_user_email()  # expect-error
    await get_user_email(5)  # expect-error
    await get_user_email(user="marko")  # expect-error
    await get_user_email.plan(5)  # expect-error
    get_user_email.returning("id int")("marko")  # expect-error
    await get_user_email.returning(5)("marko")  # expect-error
    await get_user_email.with_options(timeout="1")("marko")  # expect-error
    always: str = await get_user_email("marko")  # expect-error
    print((await list_users(10))[0].name)  # expect-error

    with AsyncRouter():  # expect-error
        print(email, users, always)


@router.proxy(cluster="userdb", run_on="hashtext(username)")  # expect-error
def not_async(username: str) -> str | None: ...


@router.proxy  # expect-error
def bare(username: str) -> str | None: ...


@router.proxy(cluster="userdb", runon="ALL")  # expect-error
async def misspelt(key: str) -> list[str]: ...
