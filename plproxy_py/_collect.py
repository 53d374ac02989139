"""From the partitions' results to the caller's answer.

What was committed is loaded, merged or combined as the function declares, and made
into the rows that its hint names.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from plproxy_py import _rows
from plproxy_py._links import Link
from plproxy_py.errors import Error, ResultError
from plproxy_py.function import ProxyFunction
from plproxy_py.gather import Custom
from plproxy_py.ordering import OutOfOrder, window
from plproxy_py.result import Answer

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

Answered = tuple[int, Link, "PGresult"]
"""A partition, the link that it answered on, and its result."""


def answer_of(
    function: ProxyFunction,
    answer: Answer,
    normals: Sequence[Any],
    answered: Sequence[Answered],
    rows: MutableMapping[int, list[Any]],
    loaded: Mapping[int, list[Any] | Exception] = MappingProxyType({}),
) -> Any:
    """Return the answer made of the results, which come in tag order.

    ``rows`` takes each partition's own rows, as far as they could be loaded.
    ``loaded``: what `load` gave of a partition, or raised, if that was done already.
    Raise a `ResultError` for what does not fit the declaration.
    """

    def load_once(partition: int, link: Link, result: PGresult) -> list[Any]:
        if partition not in loaded:
            return load(function, answer, link, result)
        found = loaded[partition]
        if isinstance(found, Exception):
            raise found
        return found

    sent, gather = function.sent or answer, function.gather
    for _, _, result in answered:
        _rows.check_rows(result)
    if gather is None:
        answer.check_count(sum(result.ntuples for _, _, result in answered))
        for partition, link, result in answered:
            rows[partition] = load_once(partition, link, result)
        return answer.collect(list(rows.values()))
    if isinstance(gather, Custom):
        for partition, link, result in answered:
            gather.each.check_count(result.ntuples)
            rows[partition] = load_once(partition, link, result)
        answers = [gather.each.collect([own]) for own in rows.values()]
        try:
            return gather.function(answers)
        except Error:
            raise
        except Exception as error:
            kind = type(error).__name__
            raise ResultError(f"combine= raised {kind}: {error}") from error
    keyed = []
    for partition, link, result in answered:
        own = load_once(partition, link, result)
        keyed.append(own)
        rows[partition] = [sent.make_row(values) for _, values in own]
    try:
        merged = window(gather.rows(keyed), *function.window(normals))
        made = [answer.make_row(values) for values in merged]
    except OutOfOrder as error:
        error.partition = answered[error.source][0]
        raise
    answer.check_count(len(made))
    return answer.collect([made])


def load(
    function: ProxyFunction, answer: Answer, link: Link, result: PGresult
) -> list[Any]:
    """Return one partition's rows in the form that `answer_of` needs."""
    gather = function.gather
    if gather is None:
        return _rows.load_rows(link, result, function.sent or answer)
    if isinstance(gather, Custom):
        return _rows.load_rows(link, result, gather.each)
    return keyed_rows(function, link, result)


def keyed_rows(
    function: ProxyFunction, link: Link, result: PGresult
) -> list[tuple[tuple[Any, ...], Sequence[Any]]]:
    """Return one partition's rows with the keys by which they are merged."""
    sent, gather = function.sent, function.gather
    assert sent is not None
    assert gather is not None
    assert not isinstance(gather, Custom)
    return _rows.load_keyed(link, result, sent, gather.keys)


def rows_of(
    function: ProxyFunction, answer: Answer, link: Link, result: PGresult
) -> list[Any]:
    """Return one partition's own rows, as it sent them."""
    sent = function.sent or answer
    if isinstance(function.gather, Custom):
        sent = function.gather.each
    _rows.check_rows(result)
    return _rows.load_rows(link, result, sent)
