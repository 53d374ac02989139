"""Errors and notices of functions with sensitive arguments: without the values.

What a server says beside its message (DETAIL, HINT, CONTEXT, the query) is dropped as a
whole; out of the message itself, and out of our own texts, the values are taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from psycopg.errors import Diagnostic
from psycopg.pq import DiagnosticField as Field

from plproxy_py import _wire
from plproxy_py._notices import Notice
from plproxy_py.answers import Partial
from plproxy_py.discretion import HIDDEN, hider
from plproxy_py.errors import Error, Outcome
from plproxy_py.function import ProxyFunction
from plproxy_py.options import Options

# What names things and places, never values.
NAMES = frozenset(Field) - {
    Field.MESSAGE_PRIMARY,
    Field.MESSAGE_DETAIL,
    Field.MESSAGE_HINT,
    Field.CONTEXT,
    Field.INTERNAL_QUERY,
}


def hide_in(answer: Any, function: ProxyFunction, options: Options, own: Any) -> None:
    """Take a call's sensitive values out of the errors that an answer, or error, holds.

    ``own``: the call's arguments by position, as given or in normal form. An answer is
    a `Partial`, a mapping of outcomes, or anything else, which holds none.
    """
    if not options.sensitive:
        return
    pattern = hider(
        [
            value
            for name, value in zip(function.names, own, strict=False)
            if name in options.sensitive
        ]
    )
    for error in _errors(answer):
        _clean(error, pattern)


def _errors(found: Any) -> list[BaseException]:
    if isinstance(found, Error):
        return [found, *_errors(found.outcomes)]
    if isinstance(found, BaseException):
        return [found]
    if isinstance(found, Partial):
        return [one for error in found.errors.values() for one in _errors(error)]
    if isinstance(found, Mapping):
        outcomes = [out for out in found.values() if isinstance(out, Outcome)]
        return [out.error for out in outcomes if out.error is not None]
    return []


def _clean(error: BaseException, pattern: re.Pattern[str] | None) -> None:
    def hidden(text: Any) -> Any:
        if pattern is None or not isinstance(text, str):
            return text
        return pattern.sub(HIDDEN, text)

    if isinstance(error, Error):
        if error._info is not None:
            primary, severity = error.diag.message_primary or "", error.diag.severity
            if error.pgresult is not None:
                # As a whole: what stands in it may be a value in any form.
                whole, brief = _wire.remote_text(error.pgresult), f"REMOTE {severity}:"
                error.args = tuple(
                    str(text).replace(whole, f"{brief} {primary}")
                    for text in error.args
                )
            # The result itself would be in reach; psycopg reads a mapping as well.
            error._info = _bare(error.diag, hidden(primary))
        error.cluster = hidden(error.cluster)  # CLUSTER may compute it of a value
    if isinstance(error, (Error, TypeError, ValueError)):
        error.args = tuple(map(hidden, error.args))
    notes = getattr(error, "__notes__", None)
    if notes:
        notes[:] = map(hidden, notes)


def _bare(diag: Diagnostic, primary: str) -> dict[int, bytes | None]:
    """Return the fields of a server's message that hold no value, and its text."""
    fields = {field: diag._error_message(field) for field in NAMES}
    return {
        Field.MESSAGE_PRIMARY: primary.encode(),
        **{f: text if text is None else text.encode() for f, text in fields.items()},
    }


class DiscreetNotices:
    """The notices' callback, which gets none of the text where it may hold values.

    ``labels``: of the functions with sensitive arguments.
    """

    def __init__(self, on_notice: Callable[[Notice], None]) -> None:
        self.labels: set[str] = set()
        self._on_notice = on_notice

    def __call__(self, notice: Notice) -> None:
        if notice.function in self.labels:
            text = "(not shown: the function has sensitive arguments)"
            diag = Diagnostic(_bare(notice.diag, text))
            notice = Notice(notice.function, notice.partition, diag)
        self._on_notice(notice)
