"""The application of `grow`: it knows a cluster's name, and not how large it is."""

# mypy: disable-error-code=empty-body

from plproxy_py import Router

router = Router()


@router.proxy(cluster="userdb", run_on="hashtext(username)")
def create_user(username: str, email: str) -> None: ...


@router.proxy(cluster="userdb", run_on="hashtext(username)")
def get_user_email(username: str) -> str | None: ...


@router.proxy(cluster="userdb", run_on="ALL")
def count_users() -> list[int]: ...
