"""SQL text around a function body: tokens with their lines, and a place among them.

Knows PostgreSQL's lexical rules (nested comments, the four kinds of quotes, case
folding of ASCII letters only) and its keywords. Knows nothing of statements, types
or functions, and nothing of the body's own two modes: those are scanner.py's.
Values of strings are decoded on demand, so that statements which are only passed
over never fail on an escape. Source: PostgreSQL parser/scan.l, parser/kwlist.h.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from enum import Enum
from functools import cache
from typing import NamedTuple, NoReturn

from plproxy_py.errors import DeclarationError, SignatureError


def words(text: str) -> frozenset[str]:
    """Return the words of a table such as those below."""
    return frozenset(text.split())


RESERVED = words(
    """
    all analyse analyze and any array as asc asymmetric both case cast check collate
    column constraint create current_catalog current_date current_role current_time
    current_timestamp current_user default deferrable desc distinct do else end except
    false fetch for foreign from grant group having in initially intersect into lateral
    leading limit localtime localtimestamp not null offset on only or order placing
    primary references returning select session_user some symmetric system_user table
    then to trailing true union unique user using variadic when where window with
    """
)
COLUMN_NAME = words(
    """
    between bigint bit boolean char character coalesce dec decimal exists extract float
    greatest grouping inout int integer interval json json_array json_arrayagg
    json_exists json_object json_objectagg json_query json_scalar json_serialize
    json_table json_value least merge_action national nchar none normalize nullif
    numeric out overlay position precision real row setof smallint substring time
    timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists
    xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
    """
)
TYPE_OR_FUNCTION = words(
    """
    authorization binary collation concurrently cross current_schema freeze full ilike
    inner is isnull join left like natural notnull outer overlaps right similar
    tablesample verbose
    """
)
# Names of arguments and types may be none of these. What PostgreSQL 16 to 18 added
# is left out: a function written for 15 with an argument called json stays readable.
_NOT_NAMES = (RESERVED | COLUMN_NAME) - {
    word
    for word in RESERVED | COLUMN_NAME
    if word.startswith("json") or word in ("merge_action", "system_user")
}

_BLANK = r"[ \t\n\r\f\v]"
# Two strings with nothing but a line break between them are one.
_GAP = rf"[ \t\f\v]*+[\n\r]{_BLANK}*+"
# All beyond ASCII is a letter; see the scanner.
_LETTER = r"[^\x00-@\[-^`\x7b-\x7f]"
_LETTER_OR_DIGIT = r"[^\x00-/:-@\[-^`\x7b-\x7f]"
_IN_WORD = r"[^\x00-#%-/:-@\[-^`\x7b-\x7f]"
# Possessive throughout: an unterminated quote is looked at once, never again.
_PLAIN = r"'(?:[^']++|'')*+'"
_ESCAPED = r"'(?:[^'\\]++|''|\\.)*+'"
_NESTING = re.compile(r"/\*|\*/")


@cache
def _token() -> re.Pattern[str]:
    return re.compile(
        rf"""
      (?P<BLANK>(?:{_BLANK}++|--[^\n\r]*+)++)
    | (?P<COMMENT>/\*)
    | (?P<ESCAPED>[eE]{_ESCAPED}(?:{_GAP}{_ESCAPED})*+)
    | (?P<WORD>(?![eE]'){_LETTER}{_IN_WORD}*+)
    | (?P<NUMBER>[0-9][0-9A-Za-z_.]*+)
    | (?P<QUOTED>"(?:[^"]++|"")*+")
    | (?P<PLAIN>{_PLAIN}(?:{_GAP}{_PLAIN})*+)
    | (?P<DOLLAR>\$(?:{_LETTER}{_LETTER_OR_DIGIT}*+)?\$)
    | (?P<SYMBOL>[eE]'|.)
    """,
        re.DOTALL | re.VERBOSE,
    )


@cache
def _escapes() -> re.Pattern[bytes]:
    return re.compile(
        rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})"
        rb"|([uU])|(.))|''",
        re.DOTALL,
    )


_CONTROL = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
# PostgreSQL's text holds neither; refused here, they can't fail later on the wire.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Kind(Enum):
    """What a token is."""

    WORD = "identifier or keyword, unquoted"
    QUOTED = "quoted identifier"
    PLAIN = "quoted string"
    ESCAPED = "quoted string with backslash escapes"
    DOLLAR = "dollar-quoted string"
    NUMBER = "number"
    SYMBOL = "one character"
    END = "end of input"


_PARTS = {Kind.PLAIN: _PLAIN, Kind.ESCAPED: _ESCAPED}


@cache
def _part(kind: Kind) -> re.Pattern[str]:
    return re.compile(rf"(?:{_GAP})?+({_PARTS[kind]})", re.DOTALL)


class Token(NamedTuple):
    """A piece of SQL.

    ``text`` is verbatim; ``key`` is what keywords and symbols are compared with: the
    folded word, the symbol, and "" for all other kinds. ``start`` is an offset,
    ``line`` counts from 1.
    """

    kind: Kind
    text: str
    key: str
    start: int
    line: int

    @property
    def end(self) -> int:
        """The offset after the token."""
        return self.start + len(self.text)


def shorten(text: str) -> str:
    """Return ``text``, or its beginning where it is too long for an error."""
    return text if len(text) <= 80 else text[:77] + "..."


class Scanner:
    """Cut SQL into tokens, one at a time: a caller may jump over what is no SQL.

    Raise ``error`` if the text holds what PostgreSQL's text can't, or a quote or
    comment is unterminated (``line`` is where it began); ``subject`` begins its text.
    """

    def __init__(
        self, text: str, error: type[DeclarationError], subject: str = ""
    ) -> None:
        self.text = text
        self.position = 0
        self.line = 1
        self._error = error
        self._subject = subject
        if found := _UNSTORABLE.search(text):
            line = text.count("\n", 0, found.start()) + 1
            reason = f"character {found[0]!r} is not allowed in SQL"
            raise error(subject + reason, line=line)

    def jump(self, position: int) -> None:
        """Go on at ``position``, further on in the text."""
        self.line += self.text.count("\n", self.position, position)
        self.position = position

    def skip_line(self) -> str:
        """Return the rest of the line and go on behind it."""
        end = self.text.find("\n", self.position) + 1 or len(self.text)
        rest = self.text[self.position : end]
        self.jump(end)
        return rest

    def next(self) -> Token:
        """Return the next token; at the end of the text, ``END`` again and again."""
        while match := _token().match(self.text, self.position):
            if match.lastgroup == "BLANK":
                self.jump(match.end())
            elif match.lastgroup == "COMMENT":
                self._skip_comment()
            else:
                return self._cut(Kind[str(match.lastgroup)], match[0])
        return Token(Kind.END, "", "", self.position, self.line)

    def _skip_comment(self) -> None:
        depth = 0
        for mark in _NESTING.finditer(self.text, self.position):
            depth += 1 if mark[0] == "/*" else -1
            if not depth:
                self.jump(mark.end())
                return
        self._unterminated("comment", "/*")

    def _cut(self, kind: Kind, text: str) -> Token:
        start, line = self.position, self.line
        if kind is Kind.WORD:
            self.position += len(text)
            return Token(kind, text, text.translate(_FOLD), start, line)
        if kind is Kind.SYMBOL:
            if text == '"':
                self._unterminated(Kind.QUOTED.value, text)
            if text[-1] == "'":
                self._unterminated(Kind.PLAIN.value, text)
            self.position += 1
            return Token(kind, text, text, start, line)
        if kind is Kind.DOLLAR:
            end = self.text.find(text, start + len(text))
            if end < 0:
                self._unterminated(kind.value, text)
            text = self.text[start : end + len(text)]
        self.jump(start + len(text))
        return Token(kind, text, "", start, line)

    def _unterminated(self, what: str, token: str) -> NoReturn:
        reason = f"{self._subject}unterminated {what}"
        raise self._error(reason, line=self.line, token=token)


class Cursor:
    """A place among the tokens of one text, for reading by recursive descent.

    ``error`` is the class for text that can't be read, ``subject`` the beginning of
    its message.
    """

    def __init__(
        self,
        text: str,
        tokens: Sequence[Token],
        error: type[DeclarationError],
        subject: str = "",
    ) -> None:
        self.text = text
        self.error = error
        self._tokens = tokens
        self._subject = subject
        self._index = 0

    def peek(self, ahead: int = 0) -> Token:
        """Return a token ahead without taking it; the last is always ``END``."""
        return self._tokens[min(self._index + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Return the next token and go on behind it."""
        token = self.peek()
        self._index += 1
        return token

    def at(self, *keys: str) -> bool:
        """Tell whether these keywords and symbols come next, in this order."""
        if self.peek().key != keys[0]:
            return False
        return all(self.peek(i).key == key for i, key in enumerate(keys[1:], 1))

    def accept(self, *keys: str) -> bool:
        """Take these keywords and symbols if they come next."""
        found = self.at(*keys)
        if found:
            self._index += len(keys)
        return found

    def expect(self, *keys: str) -> None:
        """Take these keywords and symbols, or fail at the first that is another."""
        for key in keys:
            if not self.accept(key):
                self.fail()

    def at_name(self) -> bool:
        """Tell whether a name comes next: quoted, or a word that SQL has not taken."""
        token = self.peek()
        if token.kind is Kind.WORD:
            return token.key not in _NOT_NAMES
        return token.kind is Kind.QUOTED

    def name(self) -> str:
        """Take a name; return it folded or unquoted."""
        if not self.at_name():
            self.fail()
        return self.label()

    def label(self) -> str:
        """Take a name where any keyword may be one, as behind a dot."""
        token = self.peek()
        if token.kind is Kind.WORD:
            return self.take().key
        if token.kind is not Kind.QUOTED:
            self.fail()
        if token.text == '""':
            self.fail("zero-length quoted identifier")
        return self.take().text[1:-1].replace('""', '"')

    def string(self) -> str:
        """Take a string of any kind; return its value."""
        token = self.peek()
        if token.kind is Kind.DOLLAR:
            tag = token.text.index("$", 1) + 1
            value = token.text[tag:-tag]
        elif token.kind not in _PARTS:
            self.fail()
        else:
            parts = _part(token.kind).findall(token.text)
            value = "".join(part[1:-1] for part in parts)
            try:
                value = _DECODE[token.kind](value)
            except (ValueError, OverflowError):
                self.fail("invalid escape in a string")
        self.take()
        return value

    def constant(self) -> str:
        """Take a number with its sign, a word or a string; return its text."""
        sign = "-" if self.accept("-") else ""
        kind = self.peek().kind
        if kind in (Kind.SYMBOL, Kind.END) or (sign and kind is not Kind.NUMBER):
            self.fail()
        return sign + self.take().text

    def end(self) -> None:
        """Fail unless the text ends here."""
        if self.peek().kind is not Kind.END:
            self.fail()

    def fail(self, reason: str = "syntax error") -> NoReturn:
        """Raise ``error`` at the next token."""
        token = self.peek()
        shown = shorten(token.text)
        where = f'at or near "{shown}"' if shown else "at end of input"
        raise self.error(
            f"{self._subject}{reason} {where}", line=token.line, token=shown or None
        )

    def refuse(self, reason: str, token: Token | None = None) -> NoReturn:
        """Raise `SignatureError` at ``token`` or the next: it reads, but can't be."""
        token = token or self.peek()
        raise SignatureError(
            f"{self._subject}{reason}", line=token.line, token=shorten(token.text)
        )


def tokenize(text: str, error: type[DeclarationError], subject: str) -> Cursor:
    """Return a cursor at the beginning of ``text``; see `Cursor` for the rest."""
    scanner = Scanner(text, error, subject)
    tokens = [scanner.next()]
    while tokens[-1].kind is not Kind.END:
        tokens.append(scanner.next())
    return Cursor(text, tokens, error, subject)


def _unescape(body: str) -> str:
    raw = _escapes().sub(_escape, body.encode())
    # Through UTF-16, which joins the halves of a pair and refuses a lonely one.
    halves = raw.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
    value = halves.decode("utf-16-le")
    if "\0" in value:
        raise ValueError(value)
    return value


def _escape(match: re.Match[bytes]) -> bytes:
    octal, two, four, eight, broken, other = match.groups()
    if octal:
        return bytes([int(octal, 8) & 0xFF])
    if two:
        return bytes([int(two, 16)])
    if digits := four or eight:
        return chr(int(digits, 16)).encode("utf-8", "surrogatepass")
    if broken:
        raise ValueError(broken)
    return _CONTROL.get(other, other) if other else b"'"


_DECODE = {
    Kind.PLAIN: lambda body: body.replace("''", "'"),
    Kind.ESCAPED: _unescape,
}
