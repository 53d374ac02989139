"""CREATE FUNCTION statements of this language, out of any SQL file.

Knows where a statement of psql ends, which lines are no SQL, and the clauses around a
body. Runs nothing and includes nothing: variables, ``\\if`` and ``\\i`` of psql are
passed over like any other statement, and so are functions of other languages. The
body is handed on as it is. Source: PostgreSQL parser/gram.y, ``CreateFunctionStmt``;
fe_utils/psqlscan.l.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from plproxy_py._record import record
from plproxy_py.errors import ParseError
from plproxy_py.language.sqltokens import Cursor, Kind, Scanner, Token
from plproxy_py.pgtypes import read_type
from plproxy_py.signature import VOID, Signature, read_signature

_END_OF_DATA = re.compile(r"^\\\.\r?(?:\n|\Z)", re.MULTILINE)
_COPY_COMMAND = re.compile(r"copy\b.*\bfrom\s+stdin\b", re.IGNORECASE)
# psql's commands that send what has been typed so far, as a semicolon does.
_SENDING = ("g", "crosstabview", "watch")
_CLAUSES: dict[tuple[str, ...], tuple[str, str | bool]] = {
    ("immutable",): ("volatility", "immutable"),
    ("stable",): ("volatility", "stable"),
    ("volatile",): ("volatility", "volatile"),
    ("strict",): ("strict", True),
    ("returns", "null", "on", "null", "input"): ("strict", True),
    ("called", "on", "null", "input"): ("strict", False),
    ("security", "definer"): ("security_definer", True),
    ("security", "invoker"): ("security_definer", False),
    ("external", "security", "definer"): ("security_definer", True),
    ("external", "security", "invoker"): ("security_definer", False),
    ("leakproof",): ("leakproof", True),
    ("not", "leakproof"): ("leakproof", False),
    ("window",): ("window", True),
}
_KEPT = ("security_definer", "settings", "strict", "volatility")
_OF_PROCEDURES = ("body", "language", "security_definer", "settings", "transform")


@record
class CreateFunction:
    """One CREATE FUNCTION or CREATE PROCEDURE of this language.

    ``body`` is what stands in the quotes; its first line is line ``body_line`` of the
    file, ``line`` that of CREATE, both from 1. ``volatility`` is always "volatile":
    others are refused. ``settings`` names the parameters that the function SETs.
    ``procedure`` tells CREATE PROCEDURE, which is called like a function that returns
    its INOUT arguments, or void.
    """

    signature: Signature
    body: str
    line: int
    body_line: int
    strict: bool = False
    volatility: str = "volatile"
    security_definer: bool = False
    settings: tuple[str, ...] = ()
    procedure: bool = False


def read_functions(text: str, *, schema: str = "public") -> tuple[CreateFunction, ...]:
    """Return every function of this language in a file of SQL, in its order.

    ``schema`` is for names that say none. All other statements, psql's own lines and
    the data of COPY are passed over. Raise `ParseError` if a function's statement is
    malformed or anything is unterminated (``line`` is where it began), and
    `SignatureError` for what PL/Proxy refuses to create. Takes linear time.
    """
    # Kept, a byte order mark would be a letter of the first word, and hide it.
    scanner = Scanner(text.removeprefix("\ufeff"), ParseError)
    return tuple(_read_all(scanner, schema))


def _read_all(scanner: Scanner, schema: str) -> Iterator[CreateFunction]:
    while True:
        tokens = _read_statement(scanner)
        if _creates_routine(tokens) and _is_ours(tokens):
            yield _read_create(Cursor(scanner.text, tokens, ParseError), schema)
        if _is_copy(tokens):
            scanner.skip_line()
            _skip_data(scanner, tokens[0].line)
        if not tokens[-1].text:
            return


def _read_statement(scanner: Scanner) -> list[Token]:
    """Return a statement's tokens; END stands last, in place of the semicolon.

    A semicolon in parentheses ends nothing. In BEGIN ATOMIC it does, unlike in psql:
    what is left of such a body can't be taken for a function or for COPY.
    """
    tokens: list[Token] = []
    opened: list[Token] = []
    while True:
        token = scanner.next()
        key = token.key
        if key == "\\":
            ended = _skip_command(scanner, token, bool(tokens))
        elif token.kind is Kind.END:
            if opened:
                line = opened[0].line
                raise ParseError('unterminated "("', line=line, token="(")
            ended = True
        else:
            ended = key == ";" and not opened
        if ended:
            return [*tokens, token._replace(kind=Kind.END, key="")]
        if key == "(":
            opened.append(token)
        elif key == ")" and opened:
            opened.pop()
        # A command in the midst is kept, so that a function around it is refused.
        if key != "\\" or tokens:
            tokens.append(token)


def _skip_command(scanner: Scanner, token: Token, within: bool) -> bool:
    """Pass over a line of psql's own; tell whether it ends the statement it is in."""
    if scanner.text.startswith(";", scanner.position):
        return True
    command = scanner.skip_line()
    if not within and _COPY_COMMAND.match(command):
        _skip_data(scanner, token.line)
    return command.startswith(_SENDING)


def _creates_routine(tokens: list[Token]) -> bool:
    keys = [token.key for token in tokens[:4]]
    if keys[1:3] == ["or", "replace"]:
        del keys[1:3]
    return keys[:2] in (["create", "function"], ["create", "procedure"])


def _is_copy(tokens: list[Token]) -> bool:
    if tokens[0].key != "copy" or tokens[1].key == "(":
        return False
    return ("from", "stdin") in pairwise(token.key for token in tokens)


def _skip_data(scanner: Scanner, line: int) -> None:
    end = _END_OF_DATA.search(scanner.text, scanner.position)
    if end is None:
        raise ParseError("unterminated data of COPY", line=line, token="COPY")
    scanner.jump(end.end())


def _is_ours(tokens: list[Token]) -> bool:
    # Leniently, since clauses of other languages are none of our business.
    depth = 0
    spoken = False
    for token, following in pairwise(tokens):
        depth += (token.key == "(") - (token.key == ")")
        if depth:
            continue
        if token.key in ("begin", "return"):
            return False
        if token.key == "language":
            spoken = True
            if following.text.strip("'\"$").lower() == "plproxy":
                return True
    if not spoken:
        create = tokens[0]
        raise ParseError("no language specified", line=create.line, token=create.text)
    return False


def _read_create(cursor: Cursor, schema: str) -> CreateFunction:
    create = cursor.take()
    cursor.accept("or", "replace")
    procedure = cursor.take().key == "procedure"
    signature = read_signature(cursor, schema=schema)
    if procedure and (signature.returns or signature.setof):
        cursor.refuse("a procedure has no RETURNS", create)
    if not signature.returns and not signature.outputs:
        if not procedure:
            cursor.refuse("function result type must be specified", create)
        signature = replace(signature, returns=VOID)
    given: dict[str, Any] = {"settings": ()}
    while (token := cursor.peek()).kind is not Kind.END:
        name, value = _read_clause(cursor)
        if procedure and name not in _OF_PROCEDURES:
            cursor.refuse("invalid attribute in procedure definition", token)
        if name == "volatility" and value != "volatile":
            cursor.refuse("PL/Proxy functions must be volatile", token)
        if name == "settings":
            value = (*given["settings"], value)
        elif name in given:
            reason = "conflicting or redundant options"
            raise ParseError(reason, line=token.line, token=token.text)
        given[name] = value
    if "body" not in given:
        reason = "no function body specified"
        raise ParseError(reason, line=create.line, token=create.text)
    kept = {name: given[name] for name in _KEPT if name in given}
    body, body_line = given["body"]
    return CreateFunction(
        signature, body, create.line, body_line, procedure=procedure, **kept
    )


def _read_clause(cursor: Cursor) -> tuple[str, object]:
    for words, clause in _CLAUSES.items():
        if cursor.accept(*words):
            return clause
    word = cursor.peek().key
    if cursor.accept("as"):
        line = cursor.peek().line
        return "body", (cursor.string(), line)
    if cursor.accept("set"):
        return "settings", _read_setting(cursor)
    if word in ("cost", "language", "parallel", "rows"):
        cursor.take()
        cursor.constant()
    elif cursor.accept("support"):
        _read_path(cursor)
    elif cursor.accept("transform"):
        _read_transformed(cursor)
        while cursor.accept(","):
            _read_transformed(cursor)
    else:
        cursor.fail()
    return word, None


def _read_transformed(cursor: Cursor) -> None:
    cursor.expect("for", "type")
    read_type(cursor)


def _read_setting(cursor: Cursor) -> str:
    name = _read_path(cursor)
    if cursor.accept("from", "current"):
        return name
    if cursor.accept("to") or cursor.accept("="):
        cursor.constant()
        while cursor.accept(","):
            cursor.constant()
        return name
    # The forms without TO, as SET TIME ZONE 'UTC' and SET ROLE app.
    if name in ("session", "time", "xml"):
        name = f"{name} {cursor.label()}"
    cursor.constant()
    return name


def _read_path(cursor: Cursor) -> str:
    path = [cursor.label()]
    while cursor.accept("."):
        path.append(cursor.label())
    return ".".join(path)
