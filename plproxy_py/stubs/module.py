"""The module: a router, and for each function a decorated def.

A function is declared in the first of three ways that carries all of it:

- ``@router.proxy("signature", cluster=…)`` on the def;
- ``router.define("CREATE FUNCTION …")`` and a bare ``@router.proxy``, its typed face,
  for what no keyword says, such as STRICT;
- the same text bound to the name, the face for type checkers only, where a face could
  not find its function by name, or would lose a DEFAULT that a database computes.

The same functions, in whatever order, make the same text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from plproxy_py.errors import DeclarationError, UnsupportedError
from plproxy_py.function import HomeDefault, ProxyFunction
from plproxy_py.pgtypes import quote_identifier
from plproxy_py.signature import Argument, Dynamic, Record, Scalar, Signature, Void
from plproxy_py.stubs.hinting import DEFAULT, RESERVED, Hints
from plproxy_py.stubs.literals import block, comment, plain, quoted
from plproxy_py.stubs.names import (
    Names,
    class_name,
    function_names,
    is_field,
    parameter_names,
)
from plproxy_py.stubs.statements import (
    create_text,
    keywords,
    signature_text,
    spelled_out,
    statements,
    without_defaults,
)

_WIDTH = 88
_INDENT = " " * 4
_DOCSTRING = """\
Functions of a database, typed.

Made by this command, and made anew by it: what is changed by hand gets lost.

    {command}

Configure the router before the first call: {router}.configure("plproxy.toml").
"""
_DEFAULTS = f"""

if TYPE_CHECKING:
    # Stands for a DEFAULT that a database computes.
    {DEFAULT} = cast(Any, ...)"""


@dataclass(frozen=True, slots=True)
class Module:
    """The text, and what is not in it: a function and the reason, a line for each."""

    text: str
    unwritten: tuple[str, ...]


def write_module(
    functions: Iterable[ProxyFunction],
    refused: Iterable[DeclarationError] = (),
    *,
    command: str,
    router: str = "router",
    is_async: bool = False,
) -> Module:
    """Return the module of these functions, in the order of their names.

    ``refused``: what could not be compiled, for the module to mention. ``command``:
    what makes it again.
    """
    ordered = sorted(functions, key=lambda function: _order(function.signature))
    signatures = [function.signature for function in ordered]
    writer = _Writer(signatures, router, is_async)
    unwritten = [plain(str(error)) for error in refused]
    blocks: list[str] = []
    for function, name in zip(ordered, writer.names, strict=True):
        try:
            blocks += writer.declare(function, name)
        except UnsupportedError as error:
            unwritten.append(plain(f"{function.signature.key}: {error}"))
    unwritten.sort()
    docstring = block(_DOCSTRING.format(command=plain(command), router=router))
    head = f"{docstring}\n\n{writer.imports()}\n\n{writer.head()}"
    if unwritten:
        blocks.append("\n".join(comment(f"Not written: {each}") for each in unwritten))
    return Module("\n\n\n".join([head, *blocks]) + "\n", tuple(unwritten))


def _order(signature: Signature) -> tuple[str, str, list[str]]:
    types = [argument.type.cast for argument in signature.inputs]
    return signature.schema, signature.name, types


class _Writer:
    """Declares one function after the other, and keeps what they share."""

    def __init__(
        self, signatures: Sequence[Signature], router: str, is_async: bool
    ) -> None:
        self._router = router
        self._def = "async def" if is_async else "def"
        self._scope = Names({*RESERVED, router})
        self.names = function_names(signatures, self._scope)
        self._hints = Hints(self._scope.taken)
        self._class = self._hints.name("AsyncRouter" if is_async else "Router")
        self._rows: dict[tuple[str, ...], str] = {}
        self._has_default = False

    def imports(self) -> str:
        return self._hints.imports()

    def head(self) -> str:
        """Return the router, and the mark of defaults that a database computes."""
        text = f"{self._router} = {self._class}()"
        if self._has_default:
            text += _DEFAULTS
        return text

    def declare(self, function: ProxyFunction, name: str) -> list[str]:
        """Return a function's blocks: perhaps a class for its rows, and itself.

        Raise `UnsupportedError` for what can't be written.
        """
        before = self._hints.used.copy()
        try:
            blocks = self._declare(function, name)
        except UnsupportedError:
            self._hints.used = before
            raise
        if function.needs_home is not None:
            blocks[-1] = f"# Needs a home database.\n{blocks[-1]}"
        return blocks

    def _declare(self, function: ProxyFunction, name: str) -> list[str]:
        texts = statements(function)
        signature = spelled_out(function)
        given = keywords(function.body, texts)
        defaults = self._defaults(function)
        # Under a Python function's hints these would be compiled to something else.
        is_plain = (
            function.row_type is None
            and None not in defaults.values()
            and not _lists_columns(signature)
        )
        if is_plain and given is not None and not function.strict:
            text = signature_text(without_defaults(signature))
            items = [quoted(text), *(_keyword(*item) for item in given.items())]
            decorator = _call(f"@{self._router}.proxy", items)
            rows, result = self._result(signature, function, name)
            face = self._face(name, signature, defaults, result)
            return [*rows, f"{decorator}\n{face}"]
        created = block("\n" + create_text(function, signature, texts))
        defined = f"{self._router}.define({created})"
        if is_plain and _is_found(signature, name):
            rows, result = self._result(signature, function, name)
            face = self._face(name, signature, defaults, result)
            return [*rows, f"{defined}\n\n\n@{self._router}.proxy\n{face}"]
        result = self._untyped_result(signature, function)
        face = self._face(name, signature, defaults, result, is_run=False)
        return [
            f"if {self._hints.name('TYPE_CHECKING')}:\n\n"
            f"{_INDENT}@{self._router}.proxy\n{face}\n\n"
            f"else:\n{_INDENT}{name} = {defined}"
        ]

    def _defaults(self, function: ProxyFunction) -> dict[int, str | None]:
        """Return the DEFAULTs as Python, None for those that only SQL can say."""
        inputs = function.signature.inputs
        return {
            index: None
            if isinstance(value, HomeDefault)
            else self._hints.default(inputs[index].type, value)
            for index, value in function.defaults.items()
        }

    def _face(
        self,
        name: str,
        signature: Signature,
        defaults: Mapping[int, str | None],
        result: str,
        *,
        is_run: bool = True,
    ) -> str:
        """Return the def, indented where only checkers read it."""
        names = parameter_names(signature)
        parameters = [
            f"{name}: {self._parameter(argument, defaults, index)}"
            for index, (name, argument) in enumerate(
                zip(names, signature.inputs, strict=True)
            )
        ]
        if not is_run:
            # What runs knows the SQL names only: no others are keywords.
            for index in reversed(range(len(names))):
                if names[index] != signature.inputs[index].name:
                    parameters.insert(index + 1, "/")
                    break
        indent = "" if is_run else _INDENT
        head = _call(f"{self._def} {name}", parameters, f" -> {result}:", indent)
        return f"{head}\n{indent}{_INDENT}raise NotImplementedError"

    def _parameter(
        self, argument: Argument, defaults: Mapping[int, str | None], index: int
    ) -> str:
        hint = self._hints.plain(argument.type)
        if index not in defaults:
            return hint
        default = defaults[index]
        if default is None:
            self._has_default = True
            for used in ("TYPE_CHECKING", "Any", "cast"):
                self._hints.name(used)
            return f"{hint} = {DEFAULT}"
        if default == "None":
            hint = self._hints.nullable(argument.type)
        return f"{hint} = {default}"

    def _result(
        self, signature: Signature, function: ProxyFunction, name: str
    ) -> tuple[list[str], str]:
        """Return the block of a new class for rows, if there is one, and the hint."""
        shape = signature.shape(function.columns)
        if not isinstance(shape, Record) or not all(
            is_field(column) for column, _ in shape.columns
        ):
            return [], self._untyped_result(signature, function)
        exact = not signature.outputs
        base = name
        if function.columns and function.signature.returns is not None:
            base = function.signature.returns.name.rpartition(".")[2].strip('"')
        wanted = class_name(base)
        fields = self._hints.fields(shape.columns, exact=exact)
        key = (wanted, *fields)
        blocks = []
        if key not in self._rows:
            self._rows[key] = self._scope.take(wanted)
            decorator = f"@{self._hints.name('dataclass')}(frozen=True, slots=True)"
            lines = [decorator, f"class {self._rows[key]}:"]
            blocks = ["\n".join([*lines, *(_INDENT + field for field in fields)])]
        return blocks, self._wrapped(self._rows[key], signature)

    def _untyped_result(self, signature: Signature, function: ProxyFunction) -> str:
        shape = signature.shape(function.columns)
        if isinstance(shape, Void):
            return "None"
        if isinstance(shape, Scalar):
            hint = self._hints.result(shape.type)
            if signature.setof:
                return f"{self._hints.name('list')}[{hint}]"
            return hint
        if function.columns and not signature.outputs:
            raise UnsupportedError("no Python class can have its only column")
        return self._wrapped(self._hints.name("Row"), signature)

    def _wrapped(self, row: str, signature: Signature) -> str:
        if signature.setof:
            return f"{self._hints.name('list')}[{row}]"
        return f"{row} | None"


def _is_found(signature: Signature, name: str) -> bool:
    """Tell whether a bare face of this name finds its function.

    One without arguments stands before its overloads, all others have longer names.
    """
    return name == signature.name == quote_identifier(signature.name)


def _lists_columns(signature: Signature) -> bool:
    """Tell whether there are columns only for lack of names: PL/Proxy sees a record."""
    shape = signature.shape()
    return isinstance(shape, Dynamic) and bool(shape.columns)


def _keyword(name: str, value: str | int) -> str:
    return f"{name}={value if isinstance(value, int) else quoted(value)}"


def _call(head: str, items: Sequence[str], tail: str = "", indent: str = "") -> str:
    """Return a call or a def's head: on one line if it fits, else an item on each."""
    line = f"{indent}{head}({', '.join(items)}){tail}"
    if not items or _width(line) <= _WIDTH:
        return line
    lines = (f"{indent}{_INDENT}{item},\n" for item in items)
    return f"{indent}{head}(\n{''.join(lines)}{indent}){tail}"


def _width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)
