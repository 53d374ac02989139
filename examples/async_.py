"""Users on four databases, from asyncio: many calls at once, and a deadline.

Run: python examples/async_.py SERVER (see playground.py)
"""

# mypy: disable-error-code=empty-body

import asyncio
import time

from playground import partitions

from plproxy_py import AsyncRouter, QueryTimeout

router = AsyncRouter()


@router.proxy(cluster="userdb", run_on="hashtext(username)")
async def create_user(username: str, email: str) -> None: ...


@router.proxy(cluster="userdb", run_on="hashtext(username)")
async def get_user_email(username: str) -> str | None: ...


@router.proxy(cluster="userdb", run_on="ALL")
async def count_users(delay: float = 0) -> list[int]: ...


async def main() -> None:
    with partitions(4) as connstrs:
        async with router:
            router.configure({"userdb": connstrs})
            await show()


async def show() -> None:
    # A hundred tasks share the connections: eight for each database, unless said.
    async with asyncio.TaskGroup() as group:
        for number in range(100):
            email = f"user{number}@example.com"
            group.create_task(create_user(f"user{number}", email))
    print("users:", sum(await count_users()))

    first, last = await asyncio.gather(
        get_user_email("user0"), get_user_email("user99")
    )
    print("first and last:", first, last)

    # Each of the four sleeps for half a second, all at the same time.
    started = time.monotonic()
    await count_users(delay=0.5)
    print(f"four half seconds took less than one: {time.monotonic() - started < 1}")

    # Time is up: the statements are cancelled, and the error says what became of each.
    try:
        await count_users.with_options(timeout=0.2)(delay=30)
    except QueryTimeout as error:
        states = [outcome.state for outcome in error.outcomes.values()]
        print("too slow:", *states)
    print("and all is well:", sum(await count_users()))


if __name__ == "__main__":
    asyncio.run(main())
