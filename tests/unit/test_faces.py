"""Declared in SQL, called from Python: typed faces, handles, and listed columns."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plproxy_py import AsyncRouter, Int4, Router, Row, hashing
from plproxy_py.errors import SignatureError

CONFIG = {"userdb": [f"dbname=part{n}" for n in range(4)]}


@dataclass
class User:
    id: Int4
    name: str


@pytest.fixture
def router() -> Router:
    """A router that will never connect."""
    return Router(CONFIG)


def email(username: str) -> str | None:
    """Return a user's email."""


BODY = "AS $$ CLUSTER 'userdb'; RUN ON hashtext(i_user); $$ LANGUAGE plproxy"


def test_a_typed_face(router: Router) -> None:
    router.define(
        "CREATE FUNCTION get_user(i_user varchar, OUT id int, OUT name text) STRICT"
        f" {BODY}"
    )

    @router.proxy
    def get_user(user: Any) -> User: ...

    assert list(router.functions) == ["public.get_user(varchar)"]
    assert get_user.plan(user="a").hashes == (hashing.hashtext("a"),)
    assert get_user.definition.answer.make_row((1, "a")) == User(1, "a")
    assert get_user.definition.strict
    assert (
        router.functions["public.get_user(varchar)"].definition is get_user.definition
    )


def test_a_face_keeps_what_only_python_knows(router: Router) -> None:
    router.proxy(cluster=str.lower, run_on=lambda name: 2, timeout=5)(email)
    face = router.proxy(email)
    assert face.plan("USERDB").partitions == (2,)
    assert face.plan("USERDB").cluster == "userdb"
    assert face.definition.options.timeout == 5


@pytest.mark.parametrize(
    ("sql", "kind", "reason"),
    [
        ("f() RETURNS text", SignatureError, "no function email is declared"),
        ("emai() RETURNS text", SignatureError, "did you mean 'emai'?"),
        ("email(i_user text) RETURNS SETOF text", SignatureError, "go together"),
        ("email() RETURNS text", SignatureError, "has 1 parameters"),
        ("email(i_user text) RETURNS void", SignatureError, "returns void"),
    ],
)
def test_faces_that_do_not_fit(
    router: Router, sql: str, kind: type[Exception], reason: str
) -> None:
    body = BODY.replace("hashtext(i_user)", "0")
    router.define(f"CREATE FUNCTION {sql} {body}")
    with pytest.raises(kind, match=reason):
        router.proxy(email)


def test_defined_functions_have_a_name_and_a_doc(router: Router) -> None:
    call = router.define(f'CREATE FUNCTION "Get User"(i_user text) RETURNS text {BODY}')
    assert call.__name__ == call.__qualname__ == "Get User"
    assert call.__doc__ == 'Call public."Get User"(i_user text) RETURNS text.'
    assert call.definition.answer.make_row(("a",)) == "a"
    row = router.define(f"CREATE FUNCTION g(i_user text, OUT a int, OUT b int) {BODY}")
    assert isinstance(row.definition.answer.make_row((1, 2)), Row)


class Files:
    """A configuration whose functions are written anew."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "plproxy.toml"
        self.functions = folder / "functions.sql"
        self.config.write_text(
            "functions = ['functions.sql']\n[clusters]\nuserdb = ['dbname=x']"
        )

    def write(self, router: Router | None, *texts: str) -> Router:
        self.functions.write_text("\n".join(texts))
        if router is None:
            return Router.from_config(self.config)
        router.configure(self.config)
        return router


def test_a_face_follows_its_definition(tmp_path: Path) -> None:
    """So does what ``with_options`` made of it, and the handle by name."""
    files = Files(tmp_path)
    sql = f"CREATE FUNCTION email(i_user text) RETURNS text {BODY};"
    router = files.write(None, sql)
    face = router.proxy(email)
    calls = [face, face.with_options(timeout=1), router.functions["public.email(text)"]]
    files.write(router, sql.replace("CLUSTER", "TARGET other.fn; CLUSTER"))
    for call in calls:
        assert call.plan(username="a").sql == "SELECT r::text FROM other.fn($1::text) r"
    files.write(router)
    assert router.functions == {}
    for call in calls:
        with pytest.raises(SignatureError, match="is not defined any longer"):
            call.plan("a")
    files.write(router, sql)
    assert face.plan(username="a").sql == "SELECT r::text FROM public.email($1::text) r"


DYNAMIC = f"CREATE FUNCTION q(i_user text) RETURNS SETOF record {BODY}"


def test_columns_that_a_call_lists(router: Router) -> None:
    call = router.define(DYNAMIC)
    assert call.definition.answer is None
    listed = call.returning('id integer, "b B" text')
    assert listed.plan("a").sql == (
        'SELECT id::int4, "b B"::text FROM public.q($1::text) AS (id int4, "b B" text)'
    )
    assert listed.plan("a").partitions == (hashing.hashtext("a") & 3,)
    assert listed.definition.answer.make_row((1, "x")) == (1, "x")
    assert listed.with_options(timeout=1).plan("a") == listed.plan("a")
    assert (listed.__name__, listed.__doc__) == (call.__name__, call.__doc__)
    with pytest.raises(SignatureError, match=r"public.q\(1\) returns records: list"):
        call("a")
    with pytest.raises(SignatureError, match="syntax error"):
        call.returning("id")
    for declared in (listed, router.define(f"CREATE FUNCTION e(i_user int) {SCALAR}")):
        with pytest.raises(SignatureError, match="the columns are declared"):
            declared.returning("id int")


SCALAR = f"RETURNS text {BODY.replace('hashtext(i_user)', 'i_user')}"


def test_columns_that_an_async_call_lists() -> None:
    call = AsyncRouter(CONFIG).define(DYNAMIC)
    listed = call.returning("id integer")
    assert inspect.iscoroutinefunction(listed)
    assert inspect.iscoroutinefunction(listed.with_options(timeout=1))
    assert b" AS (id int4)" in listed.definition.query.sql


def test_a_decorated_function_may_list_columns(router: Router) -> None:
    @router.proxy("q(i text) returns setof record", cluster="userdb", run_on="ANY")
    def q(text: str) -> list[Any]:
        """Run any query."""

    listed = q.returning("id integer")
    assert listed.__wrapped__ is q.__wrapped__
    assert listed.__doc__ == "Run any query."
    assert listed.plan(text="x").params == ("x",)
