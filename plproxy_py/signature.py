"""What a function takes and returns, from the head of its CREATE FUNCTION.

Knows argument modes, result shapes and PL/Proxy's rules on both; a `Signature` made
in any way obeys them. Knows neither bodies nor Python hints nor catalogs: whether a
name that is not built in means a scalar or a table is for the caller to say.
Source: PostgreSQL parser/gram.y, ``func_arg``; commands/functioncmds.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from enum import Enum
from typing import NoReturn, TypeVar

from plproxy_py._record import record
from plproxy_py.errors import SignatureError
from plproxy_py.language.sqltokens import Cursor, Kind, shorten, tokenize
from plproxy_py.pgtypes import (
    MULTIRANGE_TYPES,
    PSEUDO_TYPES,
    PgType,
    quote_identifier,
    read_type,
)

T = TypeVar("T")

VOID = PgType("void")
RECORD = PgType("record")


class Mode(Enum):
    """How an argument is passed."""

    IN = "IN"
    OUT = "OUT"
    INOUT = "INOUT"
    TABLE = "TABLE"


@record
class Argument:
    """One argument; ``name`` is unquoted, ``default`` the SQL text of an expression."""

    name: str | None
    type: PgType
    mode: Mode = Mode.IN
    default: str | None = None

    @property
    def is_input(self) -> bool:
        """Tell whether a caller passes it."""
        return self.mode in (Mode.IN, Mode.INOUT)

    def __str__(self) -> str:
        words = [] if self.mode in (Mode.IN, Mode.TABLE) else [self.mode.value]
        if self.name is not None:
            words.append(quote_identifier(self.name))
        words.append(self.type.declared)
        if self.default is not None:
            words.append(f"DEFAULT {self.default}")
        return " ".join(words)


Columns = tuple[tuple[str, PgType], ...]


@record
class Scalar:
    """One column, whatever its name; ``column`` is that of an only OUT argument."""

    type: PgType
    column: str | None = None


@record
class Record:
    """Columns that are found by name."""

    columns: Columns


@record
class Dynamic:
    """A record whose columns the call has to list; () until a caller says them."""

    columns: Columns = ()


@record
class Void:
    """One column without a value."""


Shape = Scalar | Record | Dynamic | Void


@record
class Signature:
    """A function's name, arguments and result.

    ``schema`` and ``name`` are unquoted. ``returns`` is None where no RETURNS was
    said, or RETURNS TABLE, whose columns are arguments of that mode. ``inputs`` are
    the IN and INOUT arguments in order, to which ``$1`` and so on refer; ``outputs``
    all others and INOUT. ``qname`` is the name as SQL writes it. Raise
    `SignatureError` for what PL/Proxy or PostgreSQL refuse to create.
    """

    schema: str
    name: str
    arguments: tuple[Argument, ...] = ()
    returns: PgType | None = None
    setof: bool = False
    inputs: tuple[Argument, ...] = field(init=False, repr=False, compare=False)
    outputs: tuple[Argument, ...] = field(init=False, repr=False, compare=False)
    qname: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        def keep(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        keep("inputs", tuple(a for a in self.arguments if a.is_input))
        keep("outputs", tuple(a for a in self.arguments if a.mode is not Mode.IN))
        keep("qname", f"{quote_identifier(self.schema)}.{quote_identifier(self.name)}")
        self._check_types()
        self._check_names()
        self._check_defaults()
        self._check_returns()

    @property
    def label(self) -> str:
        """``schema.name(number of inputs)``, as PL/Proxy's errors name a function."""
        return f"{self.qname}({len(self.inputs)})"

    @property
    def key(self) -> str:
        """``schema.name(type,type)``: what tells overloaded functions apart."""
        return f"{self.qname}({','.join(a.type.cast for a in self.inputs)})"

    def shape(self, columns: Iterable[tuple[str, PgType]] = ()) -> Shape:
        """Return what a call answers with.

        ``columns`` are those of a composite type or of a record, where the caller
        knows them; a type that is not built in is taken for a scalar without.
        Raise `SignatureError` if neither RETURNS nor an OUT argument was said.
        """
        outputs, columns = self.outputs, tuple(columns)
        if len(outputs) == 1:
            return Scalar(outputs[0].type, outputs[0].name)
        if outputs:
            columns = tuple(
                (a.name or f"column{i}", a.type) for i, a in enumerate(outputs, 1)
            )
            # PL/Proxy sees a catalog row without names, and lists the columns.
            named = any(a.name for a in self.arguments)
            return Record(columns) if named else Dynamic(columns)
        if self.returns is None:
            self._refuse("function result type must be specified")
        if self.returns == VOID:
            return Void()
        if self.returns == RECORD:
            return Dynamic(columns)
        if columns and not (self.returns.is_builtin or self.returns.is_array):
            return Record(columns)
        return Scalar(self.returns)

    def __str__(self) -> str:
        given = [a for a in self.arguments if a.mode is not Mode.TABLE]
        table = [a for a in self.arguments if a.mode is Mode.TABLE]
        text = f"{self.qname}({', '.join(map(str, given))})"
        if table:
            return f"{text} RETURNS TABLE({', '.join(map(str, table))})"
        result = self.returns
        if result is None and self.setof and self.outputs:
            result = self.outputs[0].type if len(self.outputs) == 1 else RECORD
        if result is None:
            return text
        return f"{text} RETURNS {'SETOF ' if self.setof else ''}{result}"

    def _check_types(self) -> None:
        results = [] if self.returns in (None, VOID, RECORD) else [self.returns]
        for found in (*(argument.type for argument in self.arguments), *results):
            if found is not None and (fault := _find_fault(found)):
                self._refuse(fault, found.cast)

    def _check_names(self) -> None:
        for side in (self.inputs, self.outputs):
            if name := _find_repeated(argument.name for argument in side):
                self._refuse(f'parameter name "{name}" used more than once', name)

    def _check_defaults(self) -> None:
        needed = False
        for argument in self.arguments:
            if argument.default is not None:
                needed = True
                if not argument.is_input:
                    reason = "only input parameters can have default values"
                    self._refuse(reason, argument.default)
            elif needed and argument.is_input:
                reason = "input parameters after one with a default need one too"
                self._refuse(reason, argument.name or argument.type.cast)

    def _check_returns(self) -> None:
        modes = {argument.mode for argument in self.outputs}
        if Mode.TABLE in modes:
            if len(modes) > 1:
                self._refuse("OUT and INOUT arguments aren't allowed in RETURNS TABLE")
            if self.returns is not None or not self.setof:
                self._refuse(
                    "RETURNS TABLE is a set, and no other RETURNS goes with it"
                )
        elif modes and self.returns is not None:
            one, result = self.outputs[0].type, self.returns
            wanted = one if len(self.outputs) == 1 else RECORD
            # public.mood and mood may be one type: only a server could tell.
            unknown = not (wanted.is_builtin or result.is_builtin)
            if wanted.cast != result.cast and not unknown:
                self._refuse(
                    f"function result type must be {wanted.cast} because of OUT"
                    " parameters",
                    result.cast,
                )

    def _refuse(self, reason: str, token: str | None = None) -> NoReturn:
        reason = f"{self.label}: {reason}"
        raise SignatureError(reason, token=token, function=self.label)


def _find_fault(found: PgType) -> str | None:
    bare = found.name.strip('"')
    if bare in PSEUDO_TYPES:
        return f"unsupported pseudo type: {found.cast}"
    if bare in MULTIRANGE_TYPES:
        return f"unsupported type code: {found.cast}"
    return None


def _find_repeated(names: Iterable[str | None]) -> str | None:
    seen: set[str | None] = {None}
    for name in names:
        if name is not None and name in seen:
            return name
        seen.add(name)
    return None


def parse_signature(text: str, *, schema: str = "public") -> Signature:
    """Return the signature of ``name(arguments) [RETURNS ...]``.

    ``schema`` is for a name that says none. Raise `SignatureError` if the text is
    none, or says what PL/Proxy or PostgreSQL refuse to create.
    """
    cursor = tokenize(text, SignatureError, f"signature {shorten(text)!r}: ")
    found = read_signature(cursor, schema=schema)
    cursor.end()
    return found


def parse_declaration(text: str, *, schema: str) -> tuple[Signature, bool]:
    """Return the signature, and whether STABLE or IMMUTABLE behind it says: read-only.

    A decorator's text may say so, though no LANGUAGE plproxy function may. Raise
    `SignatureError`.
    """
    cursor = tokenize(text, SignatureError, f"signature {shorten(text)!r}: ")
    found = read_signature(cursor, schema=schema)
    read_only = cursor.accept("stable") or cursor.accept("immutable")
    if not read_only:
        cursor.accept("volatile")
    cursor.end()
    return found, read_only


def parse_columns(text: str) -> Columns:
    """Return the columns of a list such as ``id integer, username text``.

    Raise `SignatureError` if it is none, names one twice, or has an unusable type.
    """
    cursor = tokenize(text, SignatureError, f"columns {shorten(text)!r}: ")
    columns = [_read_column(cursor)]
    while cursor.accept(","):
        columns.append(_read_column(cursor))
    cursor.end()
    if name := _find_repeated(name for name, _ in columns):
        cursor.refuse(f'column name "{name}" specified more than once')
    return tuple(columns)


def read_signature(cursor: Cursor, *, schema: str) -> Signature:
    """Take a function's name, arguments and RETURNS; see `parse_signature`."""
    line = cursor.peek().line
    name = cursor.name()
    if cursor.accept("."):
        schema, name = name, cursor.label()
    cursor.expect("(")
    arguments: list[Argument] = []
    if not cursor.accept(")"):
        arguments = _read_list(cursor, _read_argument)
    returns, setof = None, False
    # RETURNS NULL ON NULL INPUT is a clause, and may follow at once.
    if not cursor.at("returns", "null") and cursor.accept("returns"):
        if cursor.accept("table"):
            cursor.expect("(")
            columns = _read_list(cursor, _read_column)
            arguments += [Argument(*column, Mode.TABLE) for column in columns]
            setof = True
        else:
            setof = cursor.accept("setof")
            returns = read_type(cursor)
    try:
        return Signature(schema, name, tuple(arguments), returns, setof)
    except SignatureError as error:
        error.line = line
        raise


def _read_list(cursor: Cursor, read: Callable[[Cursor], T]) -> list[T]:
    found = [read(cursor)]
    while not cursor.accept(")"):
        cursor.expect(",")
        found.append(read(cursor))
    return found


def _read_column(cursor: Cursor) -> tuple[str, PgType]:
    return cursor.name(), _read_usable(cursor)


def _read_usable(cursor: Cursor) -> PgType:
    # `Signature` looks at types too, but no longer knows their lines.
    start = cursor.peek()
    found = read_type(cursor)
    if fault := _find_fault(found):
        cursor.refuse(fault, start)
    return found


def _read_argument(cursor: Cursor) -> Argument:
    name = None
    mode = _accept_mode(cursor)
    if _at_argument_name(cursor):
        name = cursor.name()
        mode = mode or _accept_mode(cursor)
    if cursor.at("setof"):
        cursor.refuse("functions cannot accept set arguments")
    found = _read_usable(cursor)
    default = None
    if cursor.accept("default") or cursor.accept("="):
        default = _read_expression(cursor)
    return Argument(name, found, mode or Mode.IN, default)


def _accept_mode(cursor: Cursor) -> Mode | None:
    if cursor.at("variadic"):
        cursor.refuse("PL/Proxy does not support VARIADIC arguments")
    if cursor.accept("in", "out"):
        return Mode.INOUT
    for mode in (Mode.IN, Mode.OUT, Mode.INOUT):
        if cursor.accept(mode.value.lower()):
            return mode
    return None


def _at_argument_name(cursor: Cursor) -> bool:
    # A name, if a type or a mode can still follow; double alone may be a name.
    following = cursor.peek(1)
    if not cursor.at_name() or cursor.at("double", "precision"):
        return False
    if following.kind is Kind.WORD:
        return following.key not in ("array", "default")
    return following.kind is Kind.QUOTED


def _read_expression(cursor: Cursor) -> str:
    start = end = cursor.peek()
    depth = 0
    while depth or cursor.peek().key not in (",", ")"):
        end = cursor.peek()
        if end.kind is Kind.END or end.key == ";":
            cursor.fail()
        depth += (end.key in ("(", "[")) - (end.key in (")", "]"))
        cursor.take()
    if cursor.peek() is start:
        cursor.fail()
    return cursor.text[start.start : end.end]
