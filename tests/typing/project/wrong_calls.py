"""Each marked line must be refused by both checkers, and no other line."""

import functools

from faces import User, get_user_email, list_users

from plproxy_py import Router

get_user_email()  # expect-error
get_user_email(5)  # expect-error
get_user_email(None)  # expect-error
get_user_email("marko", "kreen")  # expect-error
get_user_email(user="marko")  # expect-error
get_user_email.plan()  # expect-error
get_user_email.plan(5)  # expect-error
get_user_email.with_options(timeout="1")  # expect-error
get_user_email.with_options(patience=1)  # expect-error
get_user_email.with_options(timeout=1)(5)  # expect-error
get_user_email.returning(5)  # expect-error
get_user_email.returning(columns="id int")  # expect-error
get_user_email.returning("id int")(5)  # expect-error
get_user_email.explain("marko")  # expect-error
list_users("10")  # expect-error
functools.reduce(get_user_email, ["marko"])  # expect-error

always: str = get_user_email("marko")  # expect-error
get_user_email("marko").upper()  # expect-error
number: int = list_users(10)  # expect-error
print(list_users(10)[0].name)  # expect-error
users: list[User] = get_user_email.plan("marko")  # expect-error


async def main() -> None:
    await list_users(10)  # expect-error
    async with Router():  # expect-error
        pass


router = Router()
Router("host=db0 dbname=part00")  # expect-error
Router(pool_size="8")  # expect-error
Router(on_notice=5)  # expect-error
Router(poolsize=8)  # expect-error
Router(on_call=len)  # expect-error
list_users.with_options(retry="3")  # expect-error
list_users.with_options(sensitive=5)  # expect-error
router.configure(["host=db0 dbname=part00"])  # expect-error
router.define(None)  # expect-error
router.load(5)  # expect-error
router.call()  # expect-error
router.execute("userdb")  # expect-error
router.execute("userdb", "select 1", run_on=None)  # expect-error
router.execute("userdb", "select 1")["0"]  # expect-error


@router.proxy(cluster="userdb", runon="ALL")  # expect-error
def misspelt(key: str) -> list[str]: ...


@router.proxy(cluster="userdb", run_on="ALL", retry="once")  # expect-error
def once(key: str) -> list[str]: ...


@router.proxy(cluster="userdb", run_on=0.5)  # expect-error
def halved(key: str) -> list[str]: ...


@router.proxy(cluster=5, run_on="ALL")  # expect-error
def numbered(key: str) -> list[str]: ...


@router.proxy(cluster="userdb", run_on="ALL")
def unhinted(key): ...  # expect-error
