"""What SQL means to a partition that has no tables: which function it calls.

The router's own functions say which SQL is theirs, what `$1` is and which columns come
back; what is scripted says the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from plproxy_py import _explain
from plproxy_py._catalog import Catalog
from plproxy_py.compiler import returning
from plproxy_py.errors import Error
from plproxy_py.function import ProxyFunction
from plproxy_py.pgtypes import PgType
from plproxy_py.query import WINDOW, automatic_query
from plproxy_py.signature import parse_columns
from plproxy_py.sources.rowtypes import row_type_question
from plproxy_py.testing import _home
from plproxy_py.testing._protocol import Param
from plproxy_py.testing._rowsets import Column, Rowset, Shape, Texts, untyped
from plproxy_py.testing._scripts import (
    HOME,
    Answer,
    Call,
    Kind,
    Place,
    Refusal,
    Scripts,
)
from plproxy_py.testing._statements import (
    Done,
    Lost,
    Plain,
    Session,
    Statement,
    command,
    is_command,
)
from plproxy_py.testing._values import TEXT_OID, Values


@dataclass
class Playbook:
    """What is scripted, and what partitions were asked.

    ``handed``: functions that a test named by themselves, which the catalog may not
    have. ``faults``: exceptions of the test's own code, to be raised where it sees
    them.
    """

    catalog: Catalog
    values: Values
    handed: list[ProxyFunction] = field(default_factory=list)
    scripts: Scripts = field(default_factory=Scripts)
    calls: list[Call] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)

    def functions(self) -> Iterator[ProxyFunction]:
        """Yield all functions that are known, as they are now."""
        # Another thread may declare a function meanwhile.
        yield from [entry.function for entry in list(self.catalog.entries.values())]
        yield from list(self.handed)

    def find(self, sql: bytes, place: Place) -> Statement:
        """Return what a statement means. Raise `Refusal`."""
        text = sql.decode(errors="replace").strip().rstrip(";").strip()
        if self.scripts.has(Kind.SQL, text, place):
            return _Scripted(self, text)
        if text.lower() == "select":
            return Plain([[]])
        if sql == _explain.CANDIDATES:
            return Plain([], (TEXT_OID, TEXT_OID))
        if not text or is_command(sql):
            return command(text)
        if place == HOME:
            return self._at_home(sql, text)
        functions = [found for each in self.functions() for found in _asked(each, sql)]
        if not functions:
            raise Refusal(
                "42883",
                f"no declared function sends {text!r}, and nothing is scripted for it "
                f"as a statement; {self.scripted()}",
                _CONTEXT,
            )
        near = [
            each
            for each in functions
            if not isinstance(each.cluster, str) or each.cluster == place.cluster
        ]
        return _Asked(self, near or functions)

    def _at_home(self, sql: bytes, text: str) -> Statement:
        if sql == row_type_question("").sql:
            # Whatever is asked for, nobody knows its columns.
            return Plain([[b"[]"]], (TEXT_OID,), [Column("columns", TEXT_OID)])
        asked = _home.question(sql, self.functions())
        if asked is None:
            raise Refusal("42883", f"no declared function asks {text!r}", _CONTEXT)
        return _AtHome(self, asked)

    def scripted(self) -> str:
        """Say what is scripted."""
        listed = [
            subject
            for kind in (Kind.ANSWER, Kind.SQL)
            for subject in self.scripts.subjects(kind)
        ]
        return f"scripted are: {', '.join(listed) or 'none'}"

    def answered(
        self,
        label: str,
        answer: Answer,
        args: Sequence[Any],
        rowset: Callable[[Any], Rowset],
    ) -> Done:
        """Return an answer's rows. Raise `Refusal`; faults of the test are kept."""
        try:
            value = answer.value
            if callable(value):
                value = value(*args)
            found = rowset(value)
        except BaseException as error:
            raise self._refusal(label, error) from None
        return Done(None, Rowset(found.columns, self._watched(label, found.rows)))

    def _watched(self, label: str, rows: Iterator[Texts]) -> Iterator[Texts]:
        try:
            yield from rows
        except GeneratorExit:
            raise
        except BaseException as error:
            raise self._refusal(label, error) from None

    def _refusal(self, label: str, error: BaseException) -> Refusal:
        """Return the server's error for what a test's code raised.

        An error of psycopg's with an SQLSTATE is one that it wants to see.
        """
        if isinstance(error, psycopg.Error) and error.sqlstate:
            return Refusal(error.sqlstate, str(error))
        self.faults.append(error)
        return Refusal(
            "XX000", f"what is scripted for {label} raised {error!r}", _CONTEXT
        )


# With a context, a router doesn't ask the partition which functions it has.
_CONTEXT = {"W": "plproxy_py.testing.FakeCluster"}


def _asked(function: ProxyFunction, sql: bytes) -> Iterator[ProxyFunction]:
    """Yield the function if the statement is its own, its records' columns listed."""
    if function.answer is not None:
        if function.query.sql == sql:
            yield function
        return
    plain = automatic_query(function.signature, (), function.body.target).sql
    head = plain.removeprefix(b"SELECT ") + b" AS ("
    # A column may be called whatever it likes.
    for found in re.finditer(re.escape(head), sql):
        try:
            listed = sql[found.end() : -1].decode()
            described = returning(function, parse_columns(listed))
        except (Error, UnicodeError):
            continue
        if described.query.sql == sql:
            yield described
            return


def name_of(function: ProxyFunction) -> str:
    """Return how a call's function is named."""
    signature = function.signature
    return signature.qname.removeprefix("public.")


@dataclass
class _Asked:
    """A call of a declared function; several may send the same SQL."""

    book: Playbook
    functions: Sequence[ProxyFunction]

    @property
    def oids(self) -> Sequence[int]:
        return [self.book.values.oid(type) or 0 for type in _types(self.functions[0])]

    async def run(self, params: Sequence[Param], session: Session) -> Done:
        book, place = self.book, session.place
        scripts = book.scripts

        def is_scripted(function: ProxyFunction) -> bool:
            return scripts.has(Kind.ANSWER, function.signature.key, place)

        function = next(filter(is_scripted, self.functions), self.functions[0])
        key = function.signature.key
        is_executed = scripts.take(Kind.LOSS, key, place)
        if is_executed is False:
            raise Lost
        args, limit = _arguments(function, params, book.values)
        book.calls.append(Call(*place, name_of(function), args))
        await session.pause(scripts.take(Kind.DELAY, key, place, 0.0))
        answer = scripts.take(Kind.ANSWER, key, place)
        if isinstance(answer, Answer):
            shape = Shape(function, book.values)
            done = book.answered(
                key,
                answer,
                args,
                lambda value: shape.rowset(value, answer.is_rows, limit),
            )
        if is_executed:
            raise Lost
        if isinstance(answer, Refusal):
            raise answer
        if answer is None:
            raise Refusal(
                "42883",
                f"nothing is scripted for {key} on partition {place.partition} of "
                f"{place.cluster}; {book.scripted()}",
                _CONTEXT,
            )
        return done


def _types(function: ProxyFunction) -> list[PgType]:
    inputs = function.signature.inputs
    return [
        PgType("int8") if index == WINDOW else inputs[index].type
        for index in function.query.feeds
    ]


def _arguments(
    function: ProxyFunction, params: Sequence[Param], values: Values
) -> tuple[tuple[Any, ...], int | None]:
    """Return the arguments in declared order, and LIMIT."""
    loaded = map(values.load, _types(function), params)
    by_index = dict(zip(function.query.feeds, loaded, strict=True))
    limit = by_index.pop(WINDOW, None)
    return tuple(by_index[index] for index in sorted(by_index)), limit


@dataclass
class _Scripted:
    """A statement that is scripted by its text."""

    book: Playbook
    text: str
    oids: Sequence[int] = ()

    async def run(self, params: Sequence[Param], session: Session) -> Done:
        answer = self.book.scripts.take(Kind.SQL, self.text, session.place)
        texts = [self.book.values.load(PgType("text"), param) for param in params]
        return self.book.answered(
            self.text, answer, texts, lambda rows: untyped(rows, self.book.values)
        )


@dataclass
class _AtHome:
    """An expression that the home database evaluates."""

    book: Playbook
    question: _home.Question
    oids: Sequence[int] = ()

    async def run(self, params: Sequence[Param], session: Session) -> Done:
        book, question = self.book, self.question
        place, text = session.place, question.text
        answer = book.scripts.take(Kind.HOME, text, place)
        if answer is None:
            raise Refusal(
                "42883",
                f"nothing is scripted for {text!r}, which the home database evaluates: "
                "fake.home(…) does",
                _CONTEXT,
            )
        args = [
            book.values.load(type, param)
            for type, param in zip(question.types, params, strict=True)
        ]
        whole = Answer(lambda: question.rows(answer.value, args), is_rows=True)
        return book.answered(
            text, whole, (), lambda rows: untyped(rows, self.book.values)
        )
