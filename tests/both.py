"""What a test does on either kind of router: declare, stream, borrow, look."""

from __future__ import annotations

import inspect
import itertools
import time
import types
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.fix_router import Driver
from tests.fix_server import Pg

_numbers = itertools.count()


def face(
    driver: Driver,
    returns: Any,
    parameters: Mapping[str, Any] | None = None,
    text: str | None = None,
    **keywords: Any,
) -> Any:
    """Declare a Python function on userdb, on all partitions unless told otherwise.

    ``returns`` and ``parameters`` are its hints; ``Iterator[X]`` is the other iterator
    on AsyncRouter. Return the callable as the router gives it.
    """
    hints = dict(parameters or {})
    if driver.is_async and typing.get_origin(returns) is Iterator:
        returns = types.GenericAlias(AsyncIterator, typing.get_args(returns))

    def call(*args: Any, **kwargs: Any) -> Any: ...

    async def async_call(*args: Any, **kwargs: Any) -> Any: ...

    is_stream = typing.get_origin(returns) in (Iterator, AsyncIterator)
    python: Any = async_call if driver.is_async and not is_stream else call
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    python.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kind) for name in hints]
    )
    python.__annotations__ = {**hints, "return": returns}
    python.__name__ = f"face{next(_numbers)}"
    given = {"cluster": "userdb", "run_on": "ALL", **keywords}
    return driver.router.proxy(text, **given)(python)


def next_row(driver: Driver, stream: Any) -> Any:
    """Return a stream's next row. Raise StopIteration at its end."""
    if not driver.is_async:
        return next(stream)
    try:
        return driver.run(stream.__anext__())
    except StopAsyncIteration:
        raise StopIteration from None


def rows(driver: Driver, stream: Any) -> list[Any]:
    """Read a stream to its end."""
    if not driver.is_async:
        return list(stream)

    async def read() -> list[Any]:
        return [row async for row in stream]

    return typing.cast("list[Any]", driver.run(read()))


def drained(driver: Driver, stream: Any) -> tuple[list[Any], BaseException | None]:
    """Read a stream to its end; return its rows, and its error if it has one."""
    got: list[Any] = []

    async def read() -> None:
        async for row in stream:
            got.append(row)

    try:
        if driver.is_async:
            driver.run(read())
        else:
            got.extend(stream)
    except Exception as error:
        return got, error
    return got, None


def close(driver: Driver, stream: Any) -> None:
    driver.run(stream.aclose() if driver.is_async else stream.close())


@contextmanager
def lent(driver: Driver, *args: Any, **kwargs: Any) -> Iterator[Any]:
    """Borrow a connection of the router's; its methods still have to be `run`."""
    manager: Any = driver.router.connection(*args, **kwargs)
    if not driver.is_async:
        with manager as connection:
            yield connection
        return
    connection = driver.run(manager.__aenter__())
    try:
        yield connection
    except BaseException as error:
        if not driver.run(manager.__aexit__(type(error), error, error.__traceback__)):
            raise
    else:
        driver.run(manager.__aexit__(None, None, None))


def wait_until(is_true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Look again and again until it is true; fail after some seconds."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.01)


def backends(pg: Pg, name: str, state: str = "%") -> int:
    """Return how many sessions of a router there are; ``name`` is its own."""
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name LIKE %s || '%%' AND state LIKE %s"
    )
    found: list[tuple[int]] = pg.execute("postgres", query, [name, state])
    return found[0][0]


def check_idle(driver: Driver, pg: Pg) -> None:
    """Wait until no session of userdb works any more, and call all four again."""
    name = driver.router._pools.connector._application_name
    wait_until(lambda: backends(pg, name, "active") == 0)
    answers = driver.execute("userdb", "SELECT 7 AS seven", timeout=3)
    assert [answers[place] for place in range(4)] == [[(7,)]] * 4
    wait_until(lambda: backends(pg, name) == 4)
