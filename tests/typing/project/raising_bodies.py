"""Bodies for those who keep mypy's empty-body check on."""

from typing import assert_type

from plproxy_py import AsyncRouter, Router

router = Router()
async_router = AsyncRouter()


@router.proxy(cluster="userdb", run_on="hashtext(username)")
def get_user_email(username: str) -> str | None:
    raise NotImplementedError


@async_router.proxy(cluster="userdb", run_on="ALL")
async def list_emails() -> list[str]:
    """Return the addresses of all users."""
    raise NotImplementedError


async def main() -> None:
    assert_type(get_user_email("marko"), str | None)
    assert_type(await list_emails(), list[str])
