"""Answers in spite of missing partitions: as a hint, and as an option."""

from collections.abc import Mapping
from typing import NamedTuple, assert_type

import async_faces
from async_faces import User as AsyncUser
from faces import User, add_keys, get_user_email, list_users, router

from plproxy_py import Error, Int4, Outcome, Partial, ProxyCall, Results


class Total(NamedTuple):
    city: str
    total: int


@router.proxy(cluster="userdb", run_on="ALL", need=2, combine="sum", group_by=("city",))
def totals(min_id: Int4) -> Partial[Total]: ...


@router.proxy(cluster="userdb", run_on="ALL")
def names() -> Partial[str | None]: ...


answer = totals(10)
assert_type(answer, Partial[Total])
assert_type(answer[0], Total)
assert_type(answer[0].total, int)
assert_type(answer.missing, tuple[int, ...])
assert_type(answer.errors, Mapping[int, Error])
as_list: list[Total] = answer
assert_type(names(), Partial[str | None])
for name in names():
    assert_type(name, str | None)

partial = list_users.with_options(on_error="partial")
assert_type(partial(10), Partial[User])
assert_type(partial(min_id=10)[0].username, str)
assert_type(partial.plan(10).cluster, str)
typed: ProxyCall[..., Partial[User]] = partial
hurried = list_users.with_options(on_error="partial", timeout=0.5, need=2, settle=0)
assert_type(hurried(10), Partial[User])
assert_type(hurried.with_options(timeout=1)(10), Partial[User])
assert_type(add_keys.with_options(on_error="partial")(["a"], "x"), Partial[int])
assert_type(list_users.with_options(on_error="raise")(10), list[User])
assert_type(list_users.with_options(settle=None)(10), list[User])
assert_type(partial.call_outcomes(10), dict[int, Outcome[User]])
assert_type(totals.call_outcomes(10), dict[int, Outcome[Total]])
assert_type(totals.call_each({0: (10,)}), Partial[Total])
assert_type(totals.call_many([(10,)]), Results[Partial[Total]])
assert_type(totals.with_options(timeout=1)(10), Partial[Total])


async def main() -> None:
    partial = async_faces.list_users.with_options(on_error="partial")
    assert_type(await partial(10), Partial[AsyncUser])
    assert_type((await partial(10)).missing, tuple[int, ...])
    assert_type(await partial.call_outcomes(10), dict[int, Outcome[AsyncUser]])
    calm = async_faces.list_users.with_options(timeout=1, settle=None)
    assert_type(await calm(10), list[AsyncUser])


totals()  # expect-error
totals("10")  # expect-error
totals(10).errors["0"]  # expect-error
print(totals(10)[0].name)  # expect-error
number: int = names()  # expect-error
partial("10")  # expect-error
list_users.with_options(on_error="ignore")  # expect-error
list_users.with_options(on_error="partial", need="2")  # expect-error
print(list_users(10).missing)  # expect-error
print(get_user_email.with_options(on_error="raise")("marko").missing)  # expect-error
