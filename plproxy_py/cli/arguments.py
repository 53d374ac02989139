"""Arguments as they are typed in a shell: texts, read by the declared type.

``\\N`` is NULL, as in COPY. Arrays, json and jsonb are read as JSON; every other type
takes the text that PostgreSQL reads. Knows no router and no connection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import click
from psycopg.types.json import Jsonb

from plproxy_py.cli.common import Failure
from plproxy_py.function import ProxyFunction
from plproxy_py.pgtypes import PgType


class ArgumentsCommand(click.Command):
    """A command that takes ``-5`` for an argument, other unknown options for errors."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.ignore_unknown_options = any(re.match(r"-\.?\d", arg) for arg in args)
        return super().parse_args(ctx, args)


@contextmanager
def misfits() -> Iterator[None]:
    """Let arguments that do not fit end the command as one line, like an `Error`."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise Failure(str(error), "22023") from None


def read_arguments(function: ProxyFunction, texts: Sequence[str]) -> list[Any]:
    """Return the values of a call. Raise ValueError naming function and argument.

    Texts beyond the declared arguments stay as they are, for the call to refuse.
    """
    read: list[Any] = list(texts)
    arguments = function.signature.inputs
    for index, (argument, text) in enumerate(zip(arguments, texts, strict=False)):
        try:
            read[index] = read_text(argument.type, text)
        except ValueError as error:
            name = argument.name or f"${index + 1}"
            raise ValueError(
                f"{function.label}: argument {name} ({argument.type.cast}): {error}"
            ) from None
    return read


def read_text(type: PgType, text: str) -> Any:
    """Return the value of a text. Raise ValueError where JSON is needed."""
    if text == r"\N":
        return None
    if text == r"\\N":
        return r"\N"
    if type.is_array:
        return _read_array(type, text)
    if type.name in ("json", "jsonb"):
        # Wrapped, since JSON's null is no NULL.
        return Jsonb(_read_json(text))
    return text


def _read_array(type: PgType, text: str) -> Any:
    # JSON's own numbers stay floats; an array of numeric keeps every digit.
    is_json = type.name in ("json", "jsonb")
    items = _read_json(text, parse_float=float if is_json else Decimal)
    if not isinstance(items, list):
        raise ValueError("""an array is written as a JSON list, like '["a", "b"]'""")
    return items


def _read_json(text: str, **options: Any) -> Any:
    try:
        return json.loads(text, **options)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deep") from None
