"""DEFAULTs that are constants, as the Python values that a caller would pass.

PL/Proxy's caller is a server, which computes any default. Here only a constant of the
argument's own type can be filled in: where a server would cast or compute, the caller
has to give the argument.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from plproxy_py import values
from plproxy_py.errors import SignatureError
from plproxy_py.pgtypes import PgType, parse_type
from plproxy_py.signature import Argument

_CONSTANT = re.compile(
    r"""(?:
        (?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?)
      | '(?P<string>(?:[^']|'')*)'
      | (?P<word>null|true|false)
    )(?:\s*::(?P<cast>.*))?""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_NUMBERS = ("int2", "int4", "int8", "oid", "float4", "float8", "numeric")


def constant_defaults(arguments: Sequence[Argument]) -> dict[int, Any]:
    """Return the constant defaults by position, each a value that fits its type."""
    defaults: dict[int, Any] = {}
    for index, argument in enumerate(arguments):
        match = _CONSTANT.fullmatch(argument.default or "")
        if match is not None:
            with suppress(TypeError, ValueError, RecursionError, SignatureError):
                defaults[index] = _constant(match, argument.type)
    return defaults


def _constant(match: re.Match[str], type: PgType) -> Any:
    """Return the value. Raise what reading it raises, ValueError if it is none."""
    number, string, word = match["number"], match["string"], match["word"]
    cast = None if match["cast"] is None else parse_type(match["cast"])
    if word is not None and word.lower() == "null":
        return None
    if cast is not None and cast.declared != type.cast:
        raise ValueError("cast to another type, or cut by a modifier")
    value: Any
    if string is not None:
        value = _string(string.replace("''", "'"), type)
    elif type.cast in (_NUMBERS if number is not None else ("bool",)):
        value = number or word
    else:
        raise ValueError("the server casts it to the argument's type")
    codec = values.codec(type)
    if codec is not None:
        codec.normal(value)
    return value


def _string(text: str, type: PgType) -> Any:
    if type.is_array:
        if text != "{}":
            raise ValueError("the server reads an array's items")
        return []
    if type.name not in ("json", "jsonb"):
        return values.opaque(text)
    value = json.loads(text, parse_float=_exact)
    if value is None:
        raise ValueError("JSON's null, which is no NULL")
    return value


def _exact(text: str) -> float:
    number = float(text)
    if Decimal(text) != Decimal(repr(number)):
        raise ValueError("more digits than a float keeps")
    return number
