"""The contract's declarations on a `Router`, and what a caller gets from each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, assert_type
from uuid import UUID

from plproxy_py import (
    Called,
    ClusterConfig,
    Float4,
    Int2,
    Int4,
    Json,
    Notice,
    Plan,
    ProxyCall,
    Router,
    Row,
    Timestamp,
    Varchar,
    log_slow_calls,
)


class User(NamedTuple):
    id: Int4
    username: str


@dataclass
class Balance:
    bdate: date
    balance: Decimal


router = Router(
    {"userdb": ["host=db0 dbname=part00", "host=db1 dbname=part01"]},
    pool_size=4,
    max_waiting=100,
    application_name="app",
    hashes={"namehash": len},
)
assert_type(router, Router)
assert_type(Router.from_config("plproxy.toml"), Router)
assert_type(Router.from_config("plproxy.toml", pool_size=4), Router)
later = Router()
later.configure("plproxy.toml")
later.configure({"userdb": {"partitions": ["dbname=part00"], "query_timeout": 5}})
assert_type(router.clusters, Mapping[str, ClusterConfig])


@router.proxy(cluster="userdb", run_on="hashtext(username)")
def get_user_email(username: str) -> str | None: ...


@router.proxy(cluster="userdb", run_on="ALL")
def list_users(min_id: Int4) -> list[User]: ...


@router.proxy(
    "get_data(IN first_name text, IN last_name text, "
    "OUT bdate date, OUT balance numeric(20,10))",
    cluster="userdb",
    run_on="hashtext(first_name)",
)
def get_data(first_name: str, last_name: str) -> Balance: ...


f = router.define(
    "CREATE FUNCTION f(i_user text) RETURNS SETOF text AS "
    "$$ CLUSTER 'userdb'; RUN ON hashtext(i_user); $$ LANGUAGE plproxy;"
)
fs = router.load("functions.sql")


@router.proxy
def get_user(i_user: str) -> User: ...


dynamic_query = router.define(
    "CREATE FUNCTION dynamic_query(q text) RETURNS SETOF record AS "
    "$$ CLUSTER 'userdb'; RUN ON ALL; $$ LANGUAGE plproxy;"
)


@router.proxy(
    "query_one(q text, key text) RETURNS record",
    cluster="userdb",
    run_on="hashtext(key)",
)
def query_one(q: str, key: str) -> Any: ...


@router.proxy(cluster="userdb", run_on=3, schema="app", name="count_them")
def count_on_three(min_id: int = 0, *, active: bool = True) -> int: ...


def first_letter(key: str) -> int:
    return ord(key[0])


@router.proxy(cluster="userdb", run_on=first_letter, timeout=0.5)
def touch(key: Annotated[str, "citext"]) -> None: ...


def pick_cluster(key: UUID) -> str:
    return f"cluster{key.int % 2}"


@router.proxy(cluster=pick_cluster, run_on="uuid_hash(key)")
def blob(key: UUID, part: Int2, scale: Float4, tag: Varchar) -> bytes: ...


def place_of(key: str) -> str:
    return f"host=db{len(key) % 2} dbname=part00"


@router.proxy(connect=place_of)
def count_there(key: str) -> int: ...


@router.proxy(cluster="userdb", run_on="hashtext(keys)", split="keys")
def add_keys(keys: list[str], note: str) -> list[int]: ...


@router.proxy(connect="host=db0 dbname=part00")
def events(since: Timestamp, filters: dict[str, Any]) -> list[Row]: ...


@router.proxy(cluster="userdb", run_on="ANY", select="now()")
def server_time() -> datetime: ...


@router.proxy(
    cluster="userdb", run_on="ALL", retry=3, idempotent=True, sensitive=("ssn",)
)
def find_people(ssn: str) -> list[str]: ...


@router.proxy(cluster="userdb", run_on="ANY", target="app.settings_v2")
def settings(keys: list[str]) -> Json: ...


assert_type(get_user_email("marko"), str | None)
assert_type(get_user_email(username="marko"), str | None)
assert_type(list_users(10), list[User])
assert_type(list_users(10)[0].username, str)
assert_type(get_data("marko", last_name="kreen"), Balance)
assert_type(get_data("marko", "kreen").balance, Decimal)
assert_type(f, ProxyCall[..., Any])
assert_type(f("marko"), Any)
assert_type(fs, list[ProxyCall[..., Any]])
assert_type(get_user("marko"), User)
assert_type(count_there("x"), int)
assert_type(add_keys(["a", "b"], note="x"), list[int])
assert_type(count_on_three(), int)
assert_type(count_on_three(7, active=False), int)
assert_type(blob(UUID(int=1), 2, 0.5, "x"), bytes)
assert_type(events(datetime(2024, 1, 1), {"kind": "login"}), list[Row])
assert_type(server_time(), datetime)
assert_type(settings(["a", "b"]), Any)
touch("x")

assert_type(get_user_email.plan("marko"), Plan)
plan = get_user_email.plan(username="marko")
assert_type(plan.sql, str)
assert_type(plan.params, tuple[Any, ...])
assert_type(plan.cluster, str)
assert_type(plan.partitions, tuple[int, ...])
assert_type(plan.hashes, tuple[int, ...])
assert_type(plan.connstrs, tuple[str, ...])

assert_type(list_users.with_options(timeout=0.5)(10), list[User])
safe = list_users.with_options(retry=3, idempotent=True, sensitive=("min_id",))
assert_type(safe(10), list[User])
assert_type(list_users.with_options(timeout=None).plan(min_id=10), Plan)

listed = dynamic_query.returning("id integer, username text")
assert_type(listed, ProxyCall[..., Any])
assert_type(listed("select …"), Any)
assert_type(query_one.returning("n int8")("select 1", key="marko"), Any)
one_plan: Plan = query_one.returning("n int8").with_options(timeout=1).plan("", "")

assert_type(router.call("get_user_email", "marko"), Any)
assert_type(router.call("public.get_user_email(text)", username="marko"), Any)
size = router.execute("userdb", "select pg_database_size($1)", "x", run_on="ALL")
assert_type(size, dict[int, list[Row]])
one = router.execute("userdb", "select 1", run_on=0, timeout=1)
assert_type(one, dict[int, list[Row]])
assert_type(size[0][0]["pg_database_size"], Any)
assert_type(size[0][0][0], Any)
assert_type(router.functions, Mapping[str, ProxyCall[..., Any]])

# A decorated function goes wherever a function goes.
emails: Callable[[str], str | None] = get_user_email
assert_type(list(map(get_user_email, ["marko", "sven"])), list[str | None])
assert_type(get_user_email.__name__, str)
assert_type(get_user_email.__doc__, str | None)


def print_notice(notice: Notice) -> None:
    print(notice.function, notice.partition, notice.diag.message_primary)


def print_call(called: Called) -> None:
    assert_type(called.partitions, tuple[int, ...])
    print(called.function, called.seconds, called.outcome, called.sqlstate)


watched = Router(on_call=print_call)
logged = Router(on_call=log_slow_calls(0.5))
with Router({"userdb": ["dbname=part00"]}, on_notice=print_notice) as opened:
    assert_type(opened, Router)
    opened.close(timeout=3)
