"""SQL text → statements, as psql would send them.

Knows where a statement ends: semicolons in quotes, comments, parentheses and BEGIN
ATOMIC bodies end none. Refuses what is psql's own. Runs nothing. Source:
fe_utils/psqlscan.l.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from plproxy_py.errors import ParseError
from plproxy_py.language.sqltokens import Kind, Scanner, Token

_LITERALS = (Kind.PLAIN, Kind.ESCAPED, Kind.DOLLAR)
_HEAD = 60


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, without its semicolon. ``line`` counts from 1 in its text."""

    text: str
    tokens: tuple[Token, ...]

    @property
    def line(self) -> int:
        """The line of its first word."""
        return self.tokens[0].line

    @property
    def keys(self) -> list[str]:
        """Its words and symbols, folded; "" for all else."""
        return [token.key for token in self.tokens]

    @property
    def head(self) -> str:
        """Its beginning, up to the first literal: a password may be one."""
        kept = list(_before_literals(self.tokens))
        text = _spaced(kept) + (" …" if len(kept) < len(self.tokens) else "")
        return text if len(text) <= _HEAD else text[: _HEAD - 1] + "…"

    @property
    def digest(self) -> str:
        """SHA-256 of what it says: white space and comments count as one blank."""
        return hashlib.sha256(_spaced(self.tokens).encode()).hexdigest()

    @property
    def shown(self) -> str:
        """Its text with stars for the literals that hold a password."""
        start = self.tokens[0].start
        pieces: list[str] = []
        done = 0
        for before, token in pairwise(self.tokens):
            if token.kind in _LITERALS and _is_secret(before, token):
                pieces += [self.text[done : token.start - start], "'****'"]
                done = token.end - start
        return "".join([*pieces, self.text[done:]])

    def line_at(self, position: int) -> int:
        """Return the line of a character, from 1, as servers count them."""
        return self.line + self.text.count("\n", 0, max(0, position - 1))


def _is_secret(before: Token, literal: Token) -> bool:
    """Tell whether it stands behind PASSWORD, or is a connect string with one."""
    named = before.text.strip('"').lower().endswith("password")
    return named or (
        literal.kind is not Kind.DOLLAR and "password=" in literal.text.lower()
    )


def _before_literals(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.kind in _LITERALS:
            return
        yield token


def _spaced(tokens: Sequence[Token] | Iterator[Token]) -> str:
    pieces: list[str] = []
    end: int | None = None
    for token in tokens:
        if end is not None and token.start > end:
            pieces.append(" ")
        pieces.append(token.text)
        end = token.end
    return "".join(pieces)


def split(text: str) -> Iterator[Statement]:
    """Yield the statements of a text, empty ones left out, each as it is read.

    Raise `ParseError` for psql's own commands, and for what is unterminated.
    """
    # Kept, a byte order mark would be a letter of the first word.
    scanner = Scanner(text.removeprefix("\ufeff"), ParseError)
    while True:
        tokens, is_last = _read(scanner)
        if tokens:
            start, end = tokens[0].start, tokens[-1].end
            yield Statement(scanner.text[start:end], tuple(tokens))
        if is_last:
            return


def _read(scanner: Scanner) -> tuple[list[Token], bool]:
    """Return a statement's tokens, and whether the text ends behind it."""
    tokens: list[Token] = []
    opened: list[Token] = []
    blocks = 0  # BEGIN ATOMIC, and each CASE in it
    while True:
        token = scanner.next()
        key = token.key
        if key == "\\":
            command = f"\\{scanner.skip_line().strip()}"
            raise ParseError(
                f"{command.split()[0]} is a command of psql's own, no SQL",
                line=token.line,
                token="\\",
            )
        if token.kind is Kind.END:
            if opened:
                line = opened[0].line
                raise ParseError('unterminated "("', line=line, token="(")
            return tokens, True
        if key == ";" and not opened and not blocks:
            return tokens, False
        before = tokens[-1].key if tokens else ""
        tokens.append(token)
        if key == "(":
            opened.append(token)
        elif key == ")":
            del opened[-1:]
        elif opened or before in (".", "as"):
            continue  # a name there may be any word
        elif key == "case" if blocks else _begins_body(tokens):
            blocks += 1
        elif key == "end" and blocks:
            blocks -= 1


def _begins_body(tokens: Sequence[Token]) -> bool:
    keys = [token.key for token in tokens[-2:]]
    return keys == ["begin", "atomic"] and creates_routine(tokens)


def creates_routine(tokens: Sequence[Token]) -> bool:
    """Tell whether it is CREATE [OR REPLACE] FUNCTION or PROCEDURE."""
    keys = [token.key for token in tokens[:4]]
    if keys[1:3] == ["or", "replace"]:
        del keys[1:3]
    return keys[:2] in (["create", "function"], ["create", "procedure"])


_OWN_TRANSACTION = (
    ("begin",),
    ("start", "transaction"),
    ("commit",),
    ("end",),
    ("rollback",),
    ("abort",),
    ("savepoint",),
    ("release",),
    ("prepare", "transaction"),
)


def controls_transaction(statement: Statement) -> bool:
    """Tell whether it begins or ends a transaction, or a part of one."""
    return _begins_with(statement, *_OWN_TRANSACTION)


def copies_through_client(statement: Statement) -> bool:
    """Tell whether it is a COPY whose data would come from, or go to, the client."""
    keys = statement.keys
    return keys[0] == "copy" and any(
        pair in (("from", "stdin"), ("to", "stdout"), ("to", "stdin"))
        for pair in pairwise(keys)
    )


def has_parameter(statement: Statement) -> bool:
    """Tell whether it has a $1 that nothing will ever be given for."""
    if creates_routine(statement.tokens) or statement.keys[0] == "prepare":
        return False
    return any(
        token.key == "$" and following.kind is Kind.NUMBER
        for token, following in pairwise(statement.tokens)
    )


def sets_session(statement: Statement) -> bool:
    """Tell whether it only changes how the statements after it are understood."""
    return _begins_with(
        statement,
        ("set",),
        ("reset",),
        ("load",),
        ("select", "set_config", "("),
        ("select", "pg_catalog", ".", "set_config", "("),
    )


def _begins_with(statement: Statement, *beginnings: tuple[str, ...]) -> bool:
    keys = statement.keys
    return any(tuple(keys[: len(words)]) == words for words in beginnings)
