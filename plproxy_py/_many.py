"""Many calls of one function, for callers: in lists and as iterators."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any

from plproxy_py._batches import EAGER, Batch
from plproxy_py._calls import Calls
from plproxy_py._preparing import Callee
from plproxy_py._steps import run, run_async
from plproxy_py.answers import Results


def call_many(calls: Calls, callee: Callee, items: Iterable[Any]) -> Results[Any]:
    """Run the calls; return their results in input order, an error in its place.

    Raise TypeError for an item that holds no arguments.
    """
    batch = Batch(calls, callee, EAGER)
    return Results(_run(batch, iter(items), _check_all(batch, items)))


def iter_many(calls: Calls, callee: Callee, items: Iterable[Any]) -> Iterator[Any]:
    """Run the calls as their results are asked for, otherwise as `call_many`."""
    return _run(Batch(calls, callee), iter(items))


async def call_many_async(
    calls: Calls, callee: Callee, items: Iterable[Any] | AsyncIterable[Any]
) -> Results[Any]:
    """Do what `call_many` does, on this event loop."""
    batch = Batch(calls, callee, EAGER)
    is_ahead = _check_all(batch, items)
    return Results(
        [result async for result in _run_async(batch, _aiter(items), is_ahead)]
    )


def iter_many_async(
    calls: Calls, callee: Callee, items: Iterable[Any] | AsyncIterable[Any]
) -> AsyncIterator[Any]:
    """Do what `iter_many` does, on this event loop."""
    return _run_async(Batch(calls, callee), _aiter(items))


def _check_all(batch: Batch, items: object) -> bool:
    """Look at all items before the first call, where they are there; return that."""
    if not isinstance(items, (list, tuple)):
        return False
    for index, item in enumerate(items):
        if type(item) is not tuple:
            batch.check(index, item)
    return True


def _handed_out(results: list[Any]) -> Iterator[Any]:
    """Yield the results, and hold none that was taken."""
    results.reverse()
    while results:
        yield results.pop()


def _run(
    batch: Batch, items: Iterator[Any], is_ahead: bool = False
) -> Generator[Any, None, None]:
    """Yield the results, in input order.

    ``is_ahead``: no code of the caller's runs between items, so that a window may be
    on its way while the next one is prepared.
    """
    broken: Exception | None = None
    index = 0
    try:
        while True:
            try:
                item = next(items)
                is_full = batch.take(index, item)
                if is_full is None:
                    is_full = run(batch.add(index, item))
            except StopIteration:
                break
            except Exception as error:
                broken = error
                break
            index += 1
            if is_full and is_ahead:
                while batch.is_running:
                    yield from _handed_out(run(batch.flush()))
                batch.start()
            elif is_full:
                yield from _handed_out(run(batch.flush()))
        while batch.pending:
            yield from _handed_out(run(batch.flush()))
    except GeneratorExit:
        raise
    except BaseException as error:
        error.add_note(batch.tally())
        raise
    finally:
        batch.stop()
    if broken is not None:
        broken.add_note(batch.tally())
        raise broken


async def _run_async(
    batch: Batch, items: AsyncIterator[Any], is_ahead: bool = False
) -> AsyncGenerator[Any, None]:
    """Do what `_run` does, on this event loop."""
    broken: Exception | None = None
    index = 0
    try:
        while True:
            try:
                item = await anext(items)
                is_full = batch.take(index, item)
                if is_full is None:
                    is_full = await run_async(batch.add(index, item))
            except StopAsyncIteration:
                break
            except Exception as error:
                broken = error
                break
            index += 1
            if is_full and is_ahead:
                while batch.is_running:
                    for result in _handed_out(await run_async(batch.flush())):
                        yield result
                batch.start()
            elif is_full:
                for result in _handed_out(await run_async(batch.flush())):
                    yield result
        while batch.pending:
            for result in _handed_out(await run_async(batch.flush())):
                yield result
    except GeneratorExit:
        raise
    except BaseException as error:
        error.add_note(batch.tally())
        raise
    finally:
        batch.stop()
    if broken is not None:
        broken.add_note(batch.tally())
        raise broken


async def _each(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def _aiter(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        return aiter(items)
    return _each(iter(items))
