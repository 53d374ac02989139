"""Streams, and faces of functions that say more than PL/Proxy's statements."""

from __future__ import annotations

import asyncio
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from plproxy_py import AsyncRouter, Router
from plproxy_py.gather import Combined, Custom, Ordered
from tests.unit.test_decorated_clauses import (
    CONFIG,
    cities,
    declared,
    one,
    partly,
    row_stream,
    rows,
    strange,
    stream,
)


@pytest.fixture
def router() -> Router:
    """A router that will never connect."""
    return Router(CONFIG)


def old_stream() -> typing.Iterator[int]: ...
def any_rows() -> Any: ...


@pytest.mark.parametrize("python", [stream, old_stream])
def test_a_stream(router: Router, python: Callable[..., Any]) -> None:
    answer = declared(router, python).answer
    assert answer is not None
    assert answer.stream
    assert answer.setof
    function = declared(router, python, order_by=("r desc",), limit=3)
    assert isinstance(function.gather, Ordered)


async def async_stream() -> AsyncIterator[int]: ...
def plain_stream() -> typing.AsyncIterator[int]: ...
async def wrong_stream() -> Iterator[int]: ...


def test_a_stream_of_an_async_router() -> None:
    router = AsyncRouter(CONFIG)
    proxy = router.proxy(cluster="userdb", run_on="ALL")
    for python in (async_stream, plain_stream):
        answer = proxy(python).definition.answer
        assert answer.stream
        assert answer.setof


def test_a_stream_of_the_other_router(router: Router) -> None:
    other = AsyncRouter(CONFIG).proxy(cluster="userdb", run_on="ALL")
    for python in (stream, wrong_stream):
        with pytest.raises(TypeError, match="an AsyncRouter streams AsyncIterator"):
            other(python)
    with pytest.raises(TypeError, match="plain_stream: a Router streams Iterator"):
        declared(router, plain_stream)
    with pytest.raises(TypeError, match="async_stream: a Router decorates def"):
        declared(router, async_stream)


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


def test_a_body_that_seems_to_run(router: Router) -> None:
    many = AsyncRouter(CONFIG)
    for python in (generator, async_generator):
        for proxy in (router.proxy, many.proxy):
            with pytest.raises(TypeError, match=r"body never runs: write \.\.\. in"):
                proxy(cluster="userdb", run_on="ALL")(python)
            with pytest.raises(TypeError, match=f"^{python.__name__}: the body never"):
                proxy(python)
    asyncio.run(many.close())


def test_faces_keep_what_was_declared(router: Router) -> None:
    """And say by their own hint what becomes of missing partitions."""
    declared(
        router, cities, name="partly", order_by=["total"], limit=3, settle=2, need=2
    )
    face = router.proxy(partly).definition
    assert face.gather == router.functions["public.partly()"].definition.gather
    assert isinstance(face.gather, Ordered)
    assert face.window([]) == (0, 3)
    assert b" ORDER BY total LIMIT $1" in face.query.sql
    assert (face.options.settle, face.options.need) == (2, 2)
    assert face.options.partial
    declared(router, partly, name="cities")
    assert not router.proxy(cities).definition.options.partial


def test_faces_of_what_is_combined(router: Router) -> None:
    declared(router, one, combine="sum")
    assert isinstance(router.proxy(one).definition.gather, Combined)
    declared(router, strange, "strange() returns int", combine=max)
    face = router.proxy(strange).definition
    assert face.gather == Custom(max, face.sent)


def test_a_face_streams(router: Router) -> None:
    router.define(
        "CREATE FUNCTION stream() RETURNS SETOF bigint AS $$ CLUSTER 'userdb';"
        " RUN ON ALL; $$ LANGUAGE plproxy"
    )
    answer = router.proxy(stream).definition.answer
    assert answer.stream


@pytest.mark.parametrize(
    ("python", "stream", "partial"),
    [
        (rows, False, False),
        (row_stream, True, False),
        (any_rows, False, False),
    ],
)
def test_records_whose_columns_are_listed(
    router: Router, python: Callable[..., Any], stream: bool, partial: bool
) -> None:
    """The hint is about the rows, whatever their columns."""
    proxy = router.proxy("f() returns setof record", cluster="userdb", run_on="ALL")
    call = proxy(python)
    assert call.definition.answer is call.definition.sent is None
    listed = call.returning("id int, name text").definition
    assert listed.sent is listed.answer
    assert (listed.answer.stream, listed.answer.partial) == (stream, partial)
    assert listed.answer.make_row((1, "a")).name == "a"
