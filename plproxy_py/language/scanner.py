"""PL/Proxy's language as tokens with line numbers.

A body is written in two languages. The *statements* have keywords, names, numbers
and strings; from SELECT or a function call's "(" up to the next ";" it is *SQL*,
which is passed on and only folded: white space and comments become one space.
Which words may follow each other, and which names are arguments, is the parser's.

The patterns read each character a bounded number of times. Groups are not repeated
possessively, since Python before 3.11.5 matches some of those wrongly (gh-106052).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from functools import cache
from typing import NamedTuple

from plproxy_py.errors import ParseError


class Kind(Enum):
    """What a token is. Those from CONNECT to SELECT are the reserved words."""

    CONNECT = auto()
    CLUSTER = auto()
    RUN = auto()
    ON = auto()
    ALL = auto()
    ANY = auto()
    SPLIT = auto()
    TARGET = auto()
    SELECT = auto()
    NAME = auto()  # a word, words joined by dots, or $n; in both languages
    CALL = auto()  # a function's name with the "(" behind it
    NUMBER = auto()
    STRING = auto()  # with its quotes
    TEXT = auto()  # any other piece of SQL
    SYMBOL = auto()  # one character: ";", ",", or one that has no place there
    END = auto()


class Token(NamedTuple):
    """A token; ``line`` is that of its last character, as PL/Proxy counts."""

    kind: Kind
    text: str
    line: int


_RESERVED = {k.name.lower(): k for k in Kind if k.value <= Kind.SELECT.value}

# No body can hold it.
SEAM = "\0"

_SPACE = r"[ \t\n\r]*+"
# All beyond ASCII is a letter. Said by what is none: a class of all that is took 4 ms
# to compile, wherever it stood.
_LETTER = r"[^\x00-@\[-^`\x7b-\x7f]"
_LETTER_OR_DIGIT = r"[^\x00-/:-@\[-^`\x7b-\x7f]"
_WORD = rf"{_LETTER}{_LETTER_OR_DIGIT}*+"
_NAME = rf"{_WORD}(?:{_SPACE}\.{_SPACE}{_WORD})*"
_COMMENT = r"/\*[^*]*+(?:\*(?!/)[^*]*+)*\*/"


# SELECT is a call only as the end of a longer name: "SELECT (" begins a query.
# A STRING that is not closed ends before its last quote, where PL/Proxy stumbles.
@cache
def _statements() -> re.Pattern[str]:
    return re.compile(
        rf"""
    (?P<SKIP> [ \t\n\r]++ | --[^\n]*+ | {_COMMENT} )
  | (?P<OPEN> /\* )
  | (?P<SELECT> (?ai:select)(?!{_LETTER_OR_DIGIT})(?!{_SPACE}\.{_SPACE}{_LETTER}) )
  | (?P<CALL> {_NAME}{_SPACE}\( )
  | (?P<NAME> {_NAME} | \$[0-9]++ )
  | (?P<NUMBER> [0-9]++ )
  | (?P<STRING> '[^']*+(?:''[^']*+)*' )
  | (?P<SYMBOL> . )
""",
        re.DOTALL | re.VERBOSE,
    )


# A closing quote is not followed by another, or a match could go back from the end
# of the text and take half of a doubled quote for it.
@cache
def _sql() -> re.Pattern[str]:
    return re.compile(
        rf"""
    (?P<SKIP> --[^\n]*+ )
  | (?P<SPACE> [ \t\n\r]++ | {_COMMENT} )
  | (?P<QUOTED>
        '[^']*+(?:''[^']*+)*'(?!')
      | [Ee]'[^'\\]*+(?:(?:''|\\.)[^'\\]*+)*'(?!')
      | "[^"]*+(?:""[^"]*+)*"(?!")
      | (?P<tag>\$(?:{_WORD})?\$).*?(?P=tag)
    )
  | (?P<OPEN> /\* | [Ee]?' | " | \$(?:{_WORD})?\$ )
  | (?P<NAME> {_NAME} | \$[0-9]++ )
  | (?P<TEXT> [0-9][.0-9]*+ | [-!\#%&()*+,/:<=>?@\[\]^{{|}}~.] )
  | (?P<SYMBOL> . )
""",
        re.DOTALL | re.VERBOSE,
    )


def scan(text: str) -> Iterator[Token]:
    """Yield the tokens of a body, END last, reading no further than it is asked to.

    Errors: `ParseError` at the end of a text that ends within a comment or, in SQL,
    within a quote. Source: PL/Proxy 2.12, scanner.l.
    """
    rules = _statements()
    position, line = 0, 1
    while found := rules.match(text, position):
        group, piece, first_line = found.lastgroup, found[0], line
        position = found.end()
        line += piece.count("\n")
        match group:
            case "SKIP":
                continue
            case "OPEN":
                # PL/Proxy takes an open comment between statements for the end of
                # the body, and with it silently drops what was meant to follow.
                raise ParseError(
                    f"syntax error at the end: {piece:.20} of line {first_line} "
                    "is not closed",
                    line=line + text.count("\n", position),
                )
            case "SPACE":
                kind, piece = Kind.TEXT, " "
            case "QUOTED":
                kind = Kind.TEXT
            case "NAME" if rules is _statements():
                kind = _RESERVED.get(piece.lower(), Kind.NAME)
            case _:
                kind = Kind[str(group)]
        if kind is Kind.SELECT or kind is Kind.CALL:
            rules = _sql()
        elif piece == ";":
            rules = _statements()
        yield Token(kind, piece, line)
    yield Token(Kind.END, "", line)


def is_reserved(word: str) -> bool:
    """Tell whether a word is a keyword, so that no argument is known by it."""
    return word.lower() in _RESERVED


def unfold(sql: str) -> str:
    """Return a text that is folded to ``sql`` in turn, where each space counts.

    A `SEAM` is no part of the SQL: it keeps apart what would be read as one name.
    """
    return _sql().sub(_unfolded, sql)


def _unfolded(found: re.Match[str]) -> str:
    sql, start, end = found.string, found.start(), found.end()
    match found.lastgroup:
        case "SPACE":
            at_seam = SEAM in sql[max(start - 1, 0) : end + 1]
            return ("/**/" if at_seam else " ") + "/**/" * (end - start - 1)
        case "SYMBOL":
            return ""
        case _:
            return found[0]
