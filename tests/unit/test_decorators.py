"""Decorated functions: what is declared, what is refused, and what stays as it was."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from plproxy_py import AsyncRouter, Int4, Router, hashing
from plproxy_py.errors import (
    ConfigError,
    DeclarationError,
    NoSuchCluster,
    ParseError,
    RoutingError,
    SignatureError,
    UnsupportedError,
)

# What `email` sends, and where "marko" lives.
SQL = "SELECT r::text FROM public.email($1::text) r"
MARKO = (hashing.hashtext("marko") & 3,)
CONFIG = {"userdb": [f"dbname=part{n}" for n in range(4)], "it's": ["dbname=x"]}


@dataclass
class User:
    id: Int4
    name: str


@pytest.fixture
def router() -> Router:
    """A router that will never connect."""
    return Router(CONFIG, hashes={"NameHash": len})


def email(username: str) -> str | None:
    """Return a user's email."""


async def async_email(username: str) -> str | None:
    """Return a user's email."""


def declared(router: Router, *signature: str, **keywords: Any) -> Callable[..., Any]:
    """Return `email` as a proxy function."""
    keywords = {"cluster": "userdb", "run_on": "hashtext(username)"} | keywords
    given = {key: value for key, value in keywords.items() if value is not ...}
    return router.proxy(*signature, **given)(email)


@pytest.mark.parametrize(
    ("keywords", "sql", "partitions"),
    [
        ({}, SQL, MARKO),
        ({"run_on": "ANY"}, SQL, None),
        ({"run_on": " any "}, SQL, None),
        ({"run_on": 3}, SQL, (3,)),
        ({"run_on": "3"}, SQL, (3,)),
        ({"run_on": len}, SQL, (1,)),
        ({"run_on": "namehash(username);"}, SQL, (1,)),
        ({"run_on": "hashtext(username) -- by name"}, SQL, MARKO),
        (
            {"name": "get email", "schema": "My"},
            'SELECT r::text FROM "My"."get email"($1::text) r',
            MARKO,
        ),
        ({"target": "other.fn"}, "SELECT r::text FROM other.fn($1::text) r", MARKO),
        ({"target": "fn -- new"}, "SELECT r::text FROM fn($1::text) r", MARKO),
        ({"select": "1, username"}, "SELECT 1, $1::text", MARKO),
        ({"select": "SELECT 1"}, "SELECT 1", MARKO),
        ({"select": "select $1;"}, "select $1::text", MARKO),
        ({"cluster": ..., "run_on": ..., "connect": "dbname=x"}, SQL, (0,)),
    ],
    ids=str,
)
def test_keywords(
    router: Router,
    keywords: dict[str, Any],
    sql: str,
    partitions: tuple[int, ...] | None,
) -> None:
    plan = declared(router, **keywords).plan("marko")
    assert plan.sql == sql
    assert plan.params == ("marko",) * ("$1" in sql)
    if partitions is not None:
        assert plan.partitions == partitions


@pytest.mark.parametrize(
    ("cluster", "name"),
    [
        ("userdb", "userdb"),
        ("'userdb'", "userdb"),
        ("it's", "it's"),
        ("'it''s'", "it's"),
        ("text(username)", "userdb"),
        ("text (username) -- there", "userdb"),
        (str.lower, "userdb"),
    ],
)
def test_clusters(router: Router, cluster: Any, name: str) -> None:
    call = declared(router, cluster=cluster, run_on=0)
    assert call.plan("userdb").cluster == name


def test_connect_strings(router: Router) -> None:
    for connect in (
        "host='a b' dbname=x password=hush",
        "postgresql://u:p@h/x",
        "'dbname=x'",
    ):
        call = declared(router, cluster=..., run_on=..., connect=connect)
        assert call.plan("a").cluster == ""
        assert "dbname=x" in call.plan("a").connstrs[0]
        assert "hush" not in repr(call.plan("a"))


def test_connect_strings_from_arguments() -> None:
    """An argument by its name, what is computed here, a Python callable."""
    router = Router(allow_connect=["h"])
    for connect in ("username", "$1", "text(username)", "host=h dbname={}".format):
        call = declared(router, cluster=..., run_on=..., connect=connect)
        given = "x" if callable(connect) else "host=h dbname=x"
        assert call.plan(given).connstrs == ("dbname=x host=h",)
        with pytest.raises(ConfigError, match="CONNECT from data may not reach"):
            declared(Router(), cluster=..., run_on=..., connect=connect).plan(given)


@pytest.mark.parametrize(
    ("keywords", "kind", "reason"),
    [
        # nobody shall write to a random partition by mistake
        ({"run_on": ...}, SignatureError, "say run_on="),
        ({"run_on": None}, SignatureError, "say run_on="),
        ({"run_on": True}, RoutingError, "run_on is a text, .* not bool"),
        ({"run_on": 1.0}, RoutingError, "run_on is a text, .* not float"),
        ({"run_on": b"ALL"}, RoutingError, "run_on is a text, .* not bytes"),
        ({"run_on": -1}, ParseError, 'syntax error at "-"'),
        ({"run_on": ""}, ParseError, "syntax error at the end"),
        ({"run_on": "ALL"}, ParseError, "RUN ON ALL needs a set-returning"),
        ({"run_on": "4294967296"}, ParseError, "out of range"),
        ({"cluster": ...}, SignatureError, "say where it runs"),
        ({"connect": "dbname=x"}, ParseError, "CONNECT cannot be combined with"),
        (
            {"connect": "dbname=x", "cluster": ...},
            ParseError,
            "CONNECT cannot be combined with RUN ON",
        ),
        (
            {"connect": "dbname=x", "cluster": ..., "run_on": len},
            ParseError,
            "CONNECT cannot be combined with RUN ON",
        ),
        (
            {"connect": str.lower, "cluster": "userdb", "run_on": ...},
            ParseError,
            "CONNECT cannot be combined with CLUSTER",
        ),
        (
            {"connect": "dbname=x", "cluster": str.lower, "run_on": ...},
            ParseError,
            "CONNECT cannot be combined with CLUSTER",
        ),
        ({"target": "f", "select": "1"}, ParseError, "TARGET cannot be combined"),
        ({"target": "f()"}, ParseError, "without quotes or parentheses"),
        ({"split": "username"}, ParseError, "not an array"),
        # a second statement within a text
        ({"run_on": "0; TARGET evil"}, ParseError, "only the RUN ON statement"),
        ({"run_on": "0;;"}, ParseError, "only the RUN ON statement"),
        ({"target": "f; SELECT 1"}, ParseError, "only the TARGET statement"),
        ({"select": "1; RUN ON ALL"}, ParseError, "only the SELECT statement"),
        ({"cluster": "'a'; CONNECT 'b'"}, ParseError, "only the CLUSTER statement"),
        ({"cluster": "text(username"}, UnsupportedError, r"text\(\$1 can't be"),
        # what needs a home
        ({"run_on": "lower(username)"}, UnsupportedError, "no function lower"),
        ({"cluster": "f(username)", "run_on": 0}, UnsupportedError, "no function f"),
        (
            {"connect": "f(username)", "cluster": ..., "run_on": ...},
            UnsupportedError,
            "CONNECT.s expression can.t be computed here.*home=",
        ),
    ],
    ids=str,
)
def test_refused(
    router: Router, keywords: dict[str, Any], kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=rf"public.email\(1\): .*{reason}"):
        declared(router, **keywords)
    assert router.functions == {}


@pytest.mark.parametrize("keyword", ["cluster", "connect", "split", "target", "select"])
def test_a_text_is_wanted(router: Router, keyword: str) -> None:
    with pytest.raises(TypeError, match=f"{keyword} is a text, not int"):
        router.proxy(**{keyword: 5})
    with pytest.raises(TypeError, match="signature is a text, not int"):
        router.proxy(5)
    with pytest.raises(TypeError, match="nonsense"):
        router.proxy(nonsense=5)


@pytest.mark.parametrize("result", [True, None, "7", 7.0])
def test_a_callable_that_gives_no_hash(router: Router, result: object) -> None:
    call = declared(router, run_on=lambda username: result)
    with pytest.raises(RoutingError, match=r"^public.email\(1\): "):
        call.plan("marko")


def test_a_callable_that_gives_several(router: Router) -> None:
    @router.proxy(cluster="userdb", run_on=lambda ids: ids)
    def some(ids: list[int]) -> list[str]: ...

    assert some.plan([3, 0, 7]).partitions == (3, 0)
    assert some.plan([3, 0, 7]).hashes == (3, 0, 7)


@pytest.mark.parametrize(
    ("signature", "key", "sql"),
    [
        (
            "email(i_name varchar(3))",
            "public.email(varchar)",
            "SELECT r::text FROM public.email($1::varchar) r",
        ),
        (
            "s.email(i_name varchar) returns varchar(3)",
            "s.email(varchar)",
            "SELECT r::varchar(3) FROM s.email($1::varchar) r",
        ),
        (
            "email(i_name text, out mail varchar(3))",
            "public.email(text)",
            "SELECT r::varchar(3) FROM public.email($1::text) r",
        ),
    ],
)
def test_signature_texts(router: Router, signature: str, key: str, sql: str) -> None:
    call = declared(router, signature, run_on="mmh3(i_name)")
    assert list(router.functions) == [key]
    plan = call.plan(username="marko")
    assert plan.sql == sql
    assert plan.hashes == (hashing.mmh3("marko"),)


def test_a_list_makes_out_arguments_a_set(router: Router) -> None:
    @router.proxy("users(out id int, out name text)", cluster="userdb", run_on="ALL")
    def users() -> list[User]: ...

    assert users.plan().partitions == (0, 1, 2, 3)
    assert users.definition.answer.make_row((1, "a")) == User(1, "a")
    assert str(users.definition.signature).endswith("RETURNS SETOF record")


def test_a_signature_text_that_does_not_fit(router: Router) -> None:
    for signature, reason in (
        ("email(", "^signature 'email\\('"),
        ("email()", "has 1 parameters, the signature 0"),
        ("email(username text) returns setof text", "go together"),
        ("email(username text) returns void", "returns void"),
        ("email(username text, out a int, out b int)", "several columns"),
    ):
        with pytest.raises(DeclarationError, match=reason):
            declared(router, signature)


def test_what_a_decorated_function_keeps(router: Router) -> None:
    def get(username: str, limit: Int4 = 5, *, active: bool = True) -> list[User]:
        """Return users."""

    get.mark = "kept"
    call = router.proxy(cluster="userdb", run_on="hashtext(username)")(get)
    assert call.__wrapped__ is get
    assert (call.__name__, call.__doc__) == ("get", "Return users.")
    assert call.__module__ == __name__
    assert call.mark == "kept"
    assert inspect.signature(call) == inspect.signature(get)
    assert call.plan("a").params == ("a", 5, True)
    assert call.plan("a", active=False).params == ("a", 5, False)
    assert call.plan(limit=7, username="a").params == ("a", 7, True)
    with pytest.raises(TypeError, match="argument username is missing"):
        call.plan()
    again = call.with_options(timeout=0.5)
    assert again.__wrapped__ is get
    assert again.plan("a") == call.plan("a")


def test_coroutine_functions(router: Router) -> None:
    many = AsyncRouter(CONFIG)
    call = many.proxy(cluster="userdb", run_on=0)(async_email)
    assert inspect.iscoroutinefunction(call)
    assert inspect.iscoroutinefunction(call.plan)
    assert inspect.iscoroutinefunction(call.with_options(timeout=1))
    assert call.__wrapped__ is async_email
    assert not inspect.iscoroutinefunction(declared(router))
    with pytest.raises(TypeError, match="email: an AsyncRouter decorates async def"):
        many.proxy(cluster="userdb", run_on=0)(email)
    with pytest.raises(TypeError, match="async_email: a Router decorates def"):
        router.proxy(cluster="userdb", run_on=0)(async_email)
    with pytest.raises(TypeError, match="a Router decorates def"):
        router.proxy(async_email)
    many.proxy(cluster="userdb", run_on=0, name="email")(async_email)
    with pytest.raises(TypeError, match="an AsyncRouter decorates async def"):
        many.proxy(email)


def test_a_call_comes_to_the_same_route(router: Router) -> None:
    many = AsyncRouter(CONFIG)
    call = declared(router, cluster="nobody")
    async_call = many.proxy(cluster="nobody", run_on=0)(async_email)
    with pytest.raises(NoSuchCluster, match="nobody"):
        call("marko")
    with asyncio.Runner() as runner:
        with pytest.raises(NoSuchCluster, match="nobody"):
            runner.run(async_call("marko"))
        with pytest.raises(NoSuchCluster, match="nobody"):
            runner.run(async_call.plan("marko"))


def test_hints_of_the_callers_locals(router: Router) -> None:
    Key = Annotated[str, "varchar"]

    @dataclass
    class Local:
        id: int

    @router.proxy(cluster="userdb", run_on="hashtext(key)")
    def f(key: Key) -> Local: ...

    assert f.definition.signature.key == "public.f(varchar)"
    assert f.definition.answer.make_row((7,)) == Local(7)


def method(self, a: str) -> None: ...
def no_hint(a) -> None: ...
def no_return(a: str): ...
def many_arguments(*args: str) -> None: ...
def any_keywords(**kwargs: str) -> None: ...


@pytest.mark.parametrize(
    "python",
    [method, no_hint, no_return, many_arguments, any_keywords],
)
def test_functions_that_are_refused(router: Router, python: Callable[..., Any]) -> None:
    with pytest.raises(SignatureError, match=f"^{python.__name__}"):
        router.proxy(cluster="userdb", run_on=0)(python)
    assert router.functions == {}
