"""A compiled function's declaration, in texts that are read back the same.

Nothing is handed out unread: each text goes through the parser that will read it, and
must say what the function says.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator

from plproxy_py.config import parse_connstr
from plproxy_py.errors import ConfigError, DeclarationError, UnsupportedError
from plproxy_py.function import ProxyFunction
from plproxy_py.language.body import ArgumentValue, Body, Expression, Literal
from plproxy_py.language.create import read_functions
from plproxy_py.language.parser import Keyword, parse_body, parse_statements
from plproxy_py.pgtypes import quote_identifier
from plproxy_py.signature import Argument, Mode, Signature, parse_signature

Texts = dict[Keyword, str]

# What the decorator takes for a cluster's name, and for a call.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
_CALL = re.compile(r"[A-Za-z_][\w.]*\s*\(")
_INDENT = " " * 4


def spelled_out(function: ProxyFunction) -> Signature:
    """Return the signature with the columns of a named row type as OUT arguments.

    A row type of one column stays as it is: as an OUT argument it would be a scalar.
    """
    signature, columns = function.signature, function.columns
    if len(columns) < 2 or signature.outputs:
        return signature
    outputs = tuple(Argument(name, type, Mode.OUT) for name, type in columns)
    arguments = (*signature.arguments, *outputs)
    return dataclasses.replace(signature, arguments=arguments, returns=None)


def without_defaults(signature: Signature) -> Signature:
    """Return the signature without its DEFAULTs."""
    arguments = (
        dataclasses.replace(argument, default=None) for argument in signature.arguments
    )
    return dataclasses.replace(signature, arguments=tuple(arguments))


def signature_text(signature: Signature) -> str:
    """Return the text of a signature. Raise `UnsupportedError`."""
    text = str(signature)
    if signature.schema == "public":
        text = quote_identifier(signature.name) + text.removeprefix(signature.qname)
    if _read(lambda: str(parse_signature(text))) != str(signature):
        raise UnsupportedError("its signature can't be written as text")
    return text


def statements(function: ProxyFunction) -> Texts:
    """Return what stands behind each keyword of the body. Raise `UnsupportedError`."""
    _check_secrets(function.body)
    inputs = function.signature.inputs
    names: list[str | None] = [argument.name for argument in inputs]
    arrays = [argument.type.is_array for argument in inputs]
    unnamed: list[str | None] = [None] * len(names)
    # By name where that reads the same, else by number.
    for known in (names, unnamed):
        texts = dict(_texts(function.body, known))
        read = functools.partial(parse_statements, texts, names, arrays)
        if _read(read) == function.body:
            return texts
    raise UnsupportedError("its body can't be written as text")


def _read(read: Callable[[], object]) -> object:
    try:
        return read()
    except DeclarationError:
        return None


def _check_secrets(body: Body) -> None:
    """Refuse a password, which has no place in a file of source code."""
    if isinstance(body.connect, Literal):
        try:
            secrets = parse_connstr(body.connect.value).secrets
        except ConfigError as error:
            raise UnsupportedError(f"CONNECT has {error}") from None
        if secrets:
            raise UnsupportedError("CONNECT has a password in its connect string")
    elif isinstance(body.connect, Expression) and "'" in str(body.connect):
        raise UnsupportedError(
            "CONNECT has a text in its expression, which may be a password"
        )


def _texts(body: Body, names: list[str | None]) -> Iterator[tuple[Keyword, str]]:
    def name(index: int) -> str:
        return names[index] or f"${index + 1}"

    def text(value: object) -> str:
        if isinstance(value, Expression) and any(names):
            return value.sql(name)
        return name(value.index) if isinstance(value, ArgumentValue) else str(value)

    if body.connect is not None:
        yield "CONNECT", text(body.connect)
    if body.cluster is not None:
        yield "CLUSTER", text(body.cluster)
        yield "RUN ON", text(body.run_on)
    if body.split is not None:
        is_all = body.split_all or not body.split
        yield "SPLIT", "ALL" if is_all else ", ".join(map(name, body.split))
    if body.target is not None:
        yield "TARGET", body.target
    if body.select is not None:
        yield "SELECT", text(body.select)


def keywords(body: Body, texts: Texts) -> dict[str, str | int] | None:
    """Return the texts as the decorator's keywords, None where it can't take them."""
    given: dict[str, str | int] = {
        keyword.lower().replace(" ", "_"): text for keyword, text in texts.items()
    }
    match body.cluster:
        case Literal(value=value) if _PLAIN_NAME.fullmatch(value):
            given["cluster"] = value
        case Expression() if not _CALL.match(texts["CLUSTER"]):
            return None
    if isinstance(body.connect, Expression):
        text = texts["CONNECT"]
        if ("=" in text or "://" in text) and not _CALL.match(text):
            return None
    if texts.get("RUN ON", "").isdecimal():
        given["run_on"] = int(texts["RUN ON"])
    return given


def create_text(function: ProxyFunction, signature: Signature, texts: Texts) -> str:
    """Return the CREATE FUNCTION statement. Raise `UnsupportedError`."""
    body = "".join(
        f"{_INDENT}{_statement(keyword, text)};\n" for keyword, text in texts.items()
    )
    tag = "$$"
    while tag in body:
        tag = f"$_{tag[1:]}"
    strict = " STRICT" if function.strict else ""
    text = (
        f"CREATE FUNCTION {signature}\n"
        f"LANGUAGE plproxy{strict} AS {tag}\n{body}{tag};\n"
    )
    said = (str(signature), function.strict, function.body)
    if _read(lambda: _reading(text)) != said:
        raise UnsupportedError("its definition can't be written as text")
    return text


def _statement(keyword: Keyword, text: str) -> str:
    return text if keyword == "SELECT" else f"{keyword} {text}"


def _reading(text: str) -> tuple[str, bool, Body]:
    (found,) = read_functions(text)
    inputs = found.signature.inputs
    body = parse_body(
        found.body,
        [argument.name for argument in inputs],
        [argument.type.is_array for argument in inputs],
    )
    return str(found.signature), found.strict, body
