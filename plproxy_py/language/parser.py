"""The grammar: which tokens make a statement, and which statements a body.

A name is looked up among the function's arguments here, so that a `Body` needs no
names. What concerns types, the result or other statements' meaning (volatility, a
dynamic record with SELECT, RUN ON ALL in a function that returns one row) is
checked by whoever knows them. Every error is a `ParseError`; its line is where
PL/Proxy reports the same, since each token is read only when it is needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Literal as Exactly
from typing import TypeAlias, TypeVar

from plproxy_py.errors import ParseError, scrubbed
from plproxy_py.language.body import (
    ArgumentValue,
    Body,
    Cluster,
    Connect,
    Expression,
    Literal,
    Part,
    Reference,
    RunAll,
    RunAny,
    RunNumber,
    RunOn,
)
from plproxy_py.language.scanner import Kind, Token, is_reserved, scan

T = TypeVar("T")
Value: TypeAlias = Connect | RunOn | tuple[int, ...] | str
Names = Sequence[str | None]
Arrays = Sequence[bool]
Keyword = Exactly["CONNECT", "CLUSTER", "RUN ON", "SPLIT", "TARGET", "SELECT"]

_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")
_MAX_INT32 = 2**31 - 1

_STATEMENT = "a statement begins with CONNECT, CLUSTER, RUN ON, SPLIT, TARGET or SELECT"
_CONNECT = "CONNECT takes 'a connect string', an argument or a function call"
_CLUSTER = "CLUSTER takes 'a name' or a function call, text(arg) for an argument"
_RUN_ON = "RUN ON takes ALL, ANY, a partition number, an argument or a function call"
_SPLIT = "SPLIT takes ALL, or array arguments with commas between"
_TARGET = "TARGET takes a function's name, without quotes or parentheses"
_MISSING = "CLUSTER missing: write CLUSTER 'name'; or CONNECT 'connect string';"
_COMBINED = "{} cannot be combined with {}, leave one of them out"
_MISPLACED = {
    "'": "the string is not closed",
    '"': "quoted names are known only in SQL, write $n for an argument",
}


def parse_body(text: str, names: Names, arrays: Arrays) -> Body:
    """Return what a function body says.

    ``names``: of the IN and INOUT arguments in order, None for an unnamed one.
    ``arrays``: which of them are arrays, by position. Errors: `ParseError`, with
    ``line`` None for an argument that can't be split. Source: PL/Proxy 2.12, parser.y.
    """
    parser = _Parser(names, arrays)
    parser.read(text)
    while (token := parser.take()).kind is not Kind.END:
        parser.statement(token)
    return parser.body(parser.token.line)


def parse_statements(
    texts: Mapping[Keyword, str], names: Names, arrays: Arrays
) -> Body:
    """Return what a body of these statements says, each text as `parse_statement`'s.

    Errors: as `parse_body`; ``line`` is the text's, None for an illegal combination.
    """
    parser = _Parser(names, arrays)
    for keyword, text in texts.items():
        parser.only_statement(keyword, text)
    return parser.body(None)


def parse_statement(keyword: Keyword, text: str, names: Names, arrays: Arrays) -> Value:
    """Return what one statement says, as the field of `Body` that holds it.

    ``text`` is what follows the keyword; its ";" may be left out, and a query may
    begin with SELECT. Errors: as `parse_body`, also for an incomplete statement or
    a second one.
    """
    parser = _Parser(names, arrays)
    parser.only_statement(keyword, text)
    value: Value = getattr(parser, keyword.lower().replace(" ", "_"))
    return value


class _Parser:
    """Statements found so far. ``token`` is the last one read: there is no other."""

    def __init__(self, names: Names, arrays: Arrays) -> None:
        self.connect: Connect | None = None
        self.cluster: Cluster | None = None
        self.run_on: RunOn | None = None
        self.split: tuple[int, ...] | None = None
        self.target: str | None = None
        self.select: Expression | None = None
        self.token = Token(Kind.END, "", 1)
        self._tokens = scan("")
        self._arrays = arrays
        self._count = len(names)
        self._ends = {";"}
        self._split_all = False
        self._is_split: set[int] = set()
        self._indexes: dict[str, int] = {}
        for index, name in enumerate(names):
            if name is not None:
                self._indexes.setdefault(name.translate(_FOLD), index)

    def read(self, text: str) -> None:
        """Take the next tokens from ``text``."""
        if found := _UNSENDABLE.search(text):
            raise ParseError(
                f"syntax error: PostgreSQL's text can't hold {found[0]!a}",
                line=1 + text.count("\n", 0, found.start()),
                token=found[0],
            )
        self._tokens = scan(text)

    def only_statement(self, keyword: Keyword, text: str) -> None:
        """Read all of ``text`` as the rest of one statement."""
        source = f"{keyword} {text}"
        first = next(scan(text)).kind
        if first is Kind.END:
            # The space behind SELECT would pass for a query.
            source = keyword
        elif first is Kind.SELECT and keyword == "SELECT":
            source = text
        self.read(source)
        self._ends = {";", ""}
        self.statement(self.take())
        if self.token.kind is not Kind.END and self.take().kind is not Kind.END:
            raise self.error(f"only the {keyword} statement can stand here")

    def take(self) -> Token:
        """Read the next token. There is none behind END."""
        self.token = next(self._tokens)
        return self.token

    def error(self, reason: str) -> ParseError:
        """Return an error at the last token."""
        return ParseError(reason, line=self.token.line, token=self.token.text or None)

    def statement(self, keyword: Token) -> None:
        """Read the rest of a statement, the ";" included."""
        match keyword.kind:
            case Kind.CONNECT:
                self.connect = self._only(self.connect, self._connect(), "CONNECT")
            case Kind.CLUSTER:
                self.cluster = self._only(self.cluster, self._cluster(), "CLUSTER")
            case Kind.RUN:
                self.run_on = self._only(self.run_on, self._run_on(), "RUN ON")
            case Kind.SPLIT:
                self.split = self._only(self.split, self._split(), "SPLIT")
            case Kind.TARGET:
                self.target = self._only(self.target, self._target(), "TARGET")
            case Kind.SELECT:
                if self.select is not None:
                    raise self.error("only one SELECT statement is allowed")
                self.select = self._sql(keyword)
            case _:
                raise self._unexpected(_STATEMENT)

    def body(self, line: int | None) -> Body:
        """Return all that was found; ``line`` is for errors."""
        if self.connect is None and self.cluster is None:
            raise ParseError(_MISSING, line=line)
        if self.connect is not None and self.cluster is not None:
            raise ParseError(_COMBINED.format("CONNECT", "CLUSTER"), line=line)
        if self.connect is not None and self.run_on is not None:
            raise ParseError(_COMBINED.format("CONNECT", "RUN ON"), line=line)
        if self.target is not None and self.select is not None:
            raise ParseError(_COMBINED.format("TARGET", "SELECT"), line=line)
        return Body(
            connect=self.connect,
            cluster=self.cluster,
            run_on=RunAny() if self.run_on is None else self.run_on,
            split=self.split,
            split_all=self._split_all,
            target=self.target,
            select=self.select,
        )

    def _only(self, earlier: T | None, value: T, keyword: str) -> T:
        if earlier is not None:
            raise self.error(f"only one {keyword} statement is allowed")
        return value

    def _connect(self) -> Connect:
        token = self.take()
        if token.kind is Kind.STRING:
            return self._literal(token)
        return self._value(token, _CONNECT)

    def _cluster(self) -> Cluster:
        token = self.take()
        match token.kind:
            case Kind.STRING:
                return self._literal(token)
            case Kind.CALL:
                return self._sql(token)
            case _:
                raise self._unexpected(_CLUSTER)

    def _run_on(self) -> RunOn:
        if self.take().kind is not Kind.ON:
            raise self._unexpected("RUN is followed by ON")
        token = self.take()
        match token.kind:
            case Kind.ALL:
                return self._ended(RunAll())
            case Kind.ANY:
                return self._ended(RunAny())
            case Kind.NUMBER:
                number = _int32(token.text)
                if number is None:
                    shown = _shown(token.text)
                    raise self.error(f"partition number out of range: {shown}")
                return self._ended(RunNumber(number, token.line))
            case _:
                return self._value(token, _RUN_ON)

    def _split(self) -> tuple[int, ...]:
        token = self.take()
        if token.kind is Kind.ALL:
            self._split_all = True
            every = tuple(i for i, array in enumerate(self._arrays) if array)
            self._is_split.update(every)
            return self._ended(every)
        indexes = [self._split_argument(token)]
        while self.take().text == ",":
            indexes.append(self._split_argument(self.take()))
        self._end()
        return tuple(indexes)

    def _split_argument(self, token: Token) -> int:
        if token.kind is not Kind.NAME:
            raise self._not_an_argument(_SPLIT)
        index, shown = self._index(token), _shown(token.text)
        if index is None:
            reason = f"bad argument reference: {shown}, no argument has this name"
            raise self.error(reason)
        if index in self._is_split:
            reason = f"SPLIT argument specified more than once: {shown}"
            raise ParseError(reason, token=token.text)
        if not self._arrays[index]:
            reason = f"SPLIT argument is not an array: {shown}"
            raise ParseError(reason, token=token.text)
        self._is_split.add(index)
        return index

    def _target(self) -> str:
        token = self.take()
        if token.kind is not Kind.NAME:
            raise self._unexpected(_TARGET)
        return self._ended(token.text)

    def _literal(self, token: Token) -> Literal:
        value = token.text[1:-1].replace("''", "'")
        return self._ended(Literal(value, token.line))

    def _value(self, token: Token, expected: str) -> ArgumentValue | Expression:
        match token.kind:
            case Kind.CALL:
                return self._sql(token)
            case Kind.NAME:
                index = self._index(token)
                if index is None:
                    return self._ended(Expression((token.text,), token.line))
                return self._ended(ArgumentValue(index, token.line))
            case _:
                raise self._not_an_argument(expected)

    def _sql(self, head: Token) -> Expression:
        parts: list[Part] = []
        text = [head.text]
        while self.take().kind in (Kind.NAME, Kind.TEXT):
            token = self.token
            index = self._index(token) if token.kind is Kind.NAME else None
            # A dot gets a part of its own where the comment that kept it from the
            # name before it has become a space.
            if text and (index is not None or {text[-1], token.text} == {" ", "."}):
                parts.append("".join(text))
                text = []
            if index is None:
                text.append(token.text)
            else:
                parts.append(Reference(index))
        if text:
            parts.append("".join(text))
        if self.token.kind is Kind.SYMBOL and self.token.text != ";":
            raise self._unexpected("SQL text can hold it only within quotes")
        if parts == [head.text]:
            raise self._unexpected(f"nothing follows {_shown(head.text)}")
        self._end()
        return Expression(tuple(parts), head.line)

    def _index(self, token: Token) -> int | None:
        """Return an argument's index, None for a name that no argument has."""
        if not token.text.startswith("$"):
            return self._indexes.get(token.text.translate(_FOLD))
        number = _int32(token.text[1:])
        if not number or number > self._count:
            known = f"{self._count} argument{'' if self._count == 1 else 's'}"
            reason = f"bad argument reference: {_shown(token.text)}"
            raise self.error(f"{reason}, the function has {known}")
        return number - 1

    def _ended(self, value: T) -> T:
        self.take()
        self._end()
        return value

    def _end(self) -> None:
        if self.token.text not in self._ends:
            raise self._unexpected('";" expected')

    def _not_an_argument(self, expected: str) -> ParseError:
        text = self.token.text
        index = self._indexes.get(text.translate(_FOLD))
        if index is not None:
            expected += f", ${index + 1} for the argument {text}"
        return self._unexpected(expected)

    def _unexpected(self, expected: str) -> ParseError:
        kind, text, _ = self.token
        if kind is Kind.CALL and is_reserved(name := text[:-1].rstrip()):
            expected = f'{name} before "(" is read as a function, leave the "(" out'
        elif kind is Kind.SYMBOL:
            expected = _MISPLACED.get(text, expected)
        place = f'"{_shown(text)}"' if text else "the end"
        return self.error(f"syntax error at {scrubbed(place)}: {expected}")


def _int32(digits: str) -> int | None:
    # int() of more than 4300 digits raises ValueError.
    digits = digits.lstrip("0")
    if len(digits) > len(str(_MAX_INT32)):
        return None
    number = int(digits or "0")
    return number if number <= _MAX_INT32 else None


def _shown(text: str) -> str:
    """Return a token as one short printable line."""
    text = re.sub(r"[ \t\n\r]+", " ", text)
    text = text if len(text) <= 40 else text[:37] + "..."
    return text if text.isprintable() else repr(text)[1:-1]
