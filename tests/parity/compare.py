"""The same CREATE FUNCTION text and the same arguments, on both sides.

`Both` lets the real extension and a router of ours do the same, and fails where rows,
order, column names, values, SQLSTATE, compile line or the text of a remote error
differ. It returns what both agree on, for the test to compare with what it expects:
two sides that fail alike for a silly reason would agree too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.types.json import Json, Jsonb

from plproxy_py import Error
from plproxy_py.result import Row
from tests.fix_plproxy import PROXY, Plproxy
from tests.parity.sqlstates import expected_sqlstate

VOID = 2278
_JSON = {"json": Json, "jsonb": Jsonb}
_LINE = re.compile(r"Compile error at line (\d+):")
_DATABASE = re.compile(r"\[[^]]*\]")
_NAME = re.compile(r"create\s+(?:or\s+replace\s+)?function\s+([^(]+?)\s*\(", re.I)


@dataclass(frozen=True)
class Answer:
    """``rows`` are canonical: equal values have equal reprs."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class Failure:
    """``message`` is the first line, ``line`` that of a compile error."""

    sqlstate: str | None
    message: str
    line: int | None
    error: Any

    @classmethod
    def of(cls, error: psycopg.Error) -> Failure:
        message = error.diag.message_primary if not isinstance(error, Error) else None
        message = message or str(error).partition("\n")[0]
        found = _LINE.search(message)
        line = int(found[1]) if found else None
        return cls(error.sqlstate, message, line, error)


Result = Answer | Failure


def canonical(value: Any) -> Any:
    """Return a value in a form in which equal ones have equal reprs."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, (list, tuple)):
        return type(value)(canonical(item) for item in value)
    return value


def attempt(action: Callable[[], Answer]) -> Result:
    """Return an answer, or the failure in its place."""
    try:
        return action()
    except psycopg.Error as error:
        return Failure.of(error)


class Real:
    """The extension: functions are created by the superuser, called by the role."""

    def __init__(self, plproxy: Plproxy, home: str, user: str) -> None:
        self._plproxy = plproxy
        self._home = home
        self.notices: list[str] = []
        self.conn = psycopg.connect(plproxy.connstr(home, user), autocommit=True)
        # A prepared statement would outlive the types of its columns.
        self.conn.prepare_threshold = None
        self.conn.add_notice_handler(
            lambda diag: self.notices.append(diag.message_primary or "")
        )
        self._types: dict[str, list[str]] = {}

    def create(self, sql: str) -> None:
        self._types.clear()
        self._plproxy.admin(self._home, sql)

    def exists(self, name: str) -> bool:
        query = "select to_regproc(%s) is not null"
        return bool(self._plproxy.admin(self._home, query, name)[0][0])

    def call(self, name: str, args: Sequence[Any], columns: str | None) -> Answer:
        # Without such a function, the server shall say so.
        types = self._argument_types(name) or ["text"] * len(args)
        casts = ", ".join(f"%t::{type}" for type in types)
        args = [
            _JSON[type](arg) if type in _JSON and arg is not None else arg
            for type, arg in zip(types, args, strict=True)
        ]
        call = f"select * from {name.replace('%', '%%')}({casts})"
        return self.query(call + (f" as ({columns})" if columns else ""), args)

    def query(self, sql: str, args: Sequence[Any] = ()) -> Answer:
        """Run any SQL as the role."""
        cursor = self.conn.execute(sql.encode(), args)
        described = cursor.description or []
        voids = [column.type_code == VOID for column in described]
        rows = [
            tuple(
                None if void else canonical(value)
                for value, void in zip(row, voids, strict=True)
            )
            for row in cursor.fetchall()
        ]
        return Answer(tuple(column.name for column in described), rows)

    def _argument_types(self, name: str) -> list[str]:
        if name not in self._types:
            query = (
                "select array(select format_type(type, -1)"
                " from unnest(proargtypes) with ordinality t (type, n) order by n)"
                " from pg_proc where oid = to_regproc(%s)"
            )
            found = self._plproxy.admin(self._home, query, name)
            self._types[name] = found[0][0] if found else []
        return self._types[name]

    def close(self) -> None:
        self.conn.close()


class Ours:
    """A router; with ``reflected`` it reads functions from the proxy's catalog."""

    def __init__(
        self, plproxy: Plproxy, home: str, *, reflected: bool, **options: Any
    ) -> None:
        self.notices: list[str] = []
        self.router = plproxy.router(
            home, on_notice=lambda notice: self.notices.append(str(notice)), **options
        )
        self._reflected = reflected
        self._functions: dict[str, Any] = {}

    def create(self, sql: str) -> None:
        function = self.router.define(sql)
        self._functions[_created(sql)] = function
        if self._reflected:
            self.reflect()

    def reflect(self) -> None:
        """Take the created functions from the catalog, in place of their texts."""
        found = {
            function.definition.signature.qname: function
            for function in self.router.reflect()
        }
        for name in self._functions:
            self._functions[name] = found.get(name) or found[f"public.{name}"]

    def exists(self, name: str) -> bool:
        return name in self._functions

    def call(self, name: str, args: Sequence[Any], columns: str | None) -> Answer:
        function = self._functions.get(name)
        if function is None:
            return self._answer(self.router.call(name, *args), name)
        if columns is not None:
            return self._answer(function.returning(columns)(*args), name)
        return self._answer(function(*args), name)

    def _answer(self, given: Any, name: str) -> Answer:
        definition = self._functions[name].definition
        signature = definition.signature
        values = given if signature.setof else [given]
        answer = definition.answer  # None for a dynamic record
        columns = answer.columns if answer else ()
        if columns is None:
            # A scalar's column is its only OUT argument, else the function.
            only = signature.outputs[0].name if signature.outputs else None
            columns = (only or signature.name,)
        for value in values:
            if isinstance(value, Row):
                columns = value._fields
        rows = [
            tuple(map(canonical, value)) if isinstance(value, Row) else (value,)
            for value in values
        ]
        return Answer(tuple(columns), [tuple(map(canonical, row)) for row in rows])

    def function(self, name: str) -> Any:
        """Return the function that was created under a name."""
        return self._functions[name]

    def close(self) -> None:
        self.router.close()


class Both:
    """The two sides. ``real`` and ``ours`` may be asked alone, too."""

    def __init__(
        self,
        plproxy: Plproxy,
        *,
        home: str = PROXY,
        user: str = "app",
        reflected: bool = False,
        **options: Any,
    ) -> None:
        self.plproxy = plproxy
        self.reflected = reflected
        self._again = {"home": home, "user": user, "reflected": reflected, **options}
        self.real = Real(plproxy, home, user)
        self.ours = Ours(
            plproxy, plproxy.connstr(home, user), reflected=reflected, **options
        )

    def another(self, **changed: Any) -> Both:
        """Return a second pair like this, in sessions of its own."""
        return Both(self.plproxy, **{**self._again, **changed})

    def close(self) -> None:
        self.real.close()
        self.ours.close()

    def create(self, *statements: str) -> None:
        """Create functions, which both sides take."""
        for sql in statements:
            self.real.create(sql)
            self.ours.create(sql)

    def refuse(self, sql: str) -> Failure:
        """Let both sides refuse a function alike; return how the real one did."""
        real = attempt(lambda: created(self.real, sql))
        ours = attempt(lambda: created(self.ours, sql))
        compare(real, ours, sql)
        assert isinstance(real, Failure), f"both took {sql}"
        # The error was not the only trace: no half-made function is left.
        name = _created(sql)
        assert not self.real.exists(name)
        assert not self.ours.exists(name)
        return real

    def call(
        self, name: str, *args: Any, columns: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Call a function; return the rows on which both sides agree."""
        result = self.agree(name, args, columns)
        assert isinstance(result, Answer), f"both failed: {result}"
        return result.rows

    def fail(self, name: str, *args: Any, columns: str | None = None) -> Failure:
        """Let a call fail alike on both sides; return how the real one failed."""
        result = self.agree(name, args, columns)
        assert isinstance(result, Failure), f"both succeeded: {result}"
        return result

    def ours_error(self, name: str, *args: Any, columns: str | None = None) -> Any:
        """Return how a call fails on our side alone."""
        result = attempt(lambda: self.ours.call(name, args, columns))
        assert isinstance(result, Failure), f"ours succeeded: {result}"
        return result.error

    def columns(self, name: str, *args: Any) -> tuple[str, ...]:
        """Return the column names on which both sides agree."""
        result = self.agree(name, args, None)
        assert isinstance(result, Answer), f"both failed: {result}"
        return result.columns

    def agree(self, name: str, args: Sequence[Any], columns: str | None) -> Result:
        """Call a function, which may succeed or fail; return what both agree on."""
        real = attempt(lambda: self.real.call(name, args, columns))
        ours = attempt(lambda: self.ours.call(name, args, columns))
        compare(real, ours, f"{name}{tuple(args)}")
        return real


def compare(real: Result, ours: Result, what: str) -> None:
    """Fail unless both results are the same, by the table where they are errors."""
    if isinstance(real, Failure) and isinstance(ours, Failure):
        _compare_failures(real, ours, what)
        return
    both = f"{what}\n real: {real}\n ours: {ours}"
    assert isinstance(real, Answer), f"only ours succeeds: {both}"
    assert isinstance(ours, Answer), f"only ours fails: {both}"
    if real.rows:
        # Without a row ours has no names to show for a dynamic record.
        assert real.columns == ours.columns, f"columns differ: {both}"
    assert len(real.rows) == len(ours.rows), f"row counts differ: {both}"
    for theirs, mine in zip(real.rows, ours.rows, strict=True):
        assert same(theirs, mine), f"values differ: {both}"


def same(real: Any, ours: Any) -> bool:
    """Tell whether values are the same; as texts where their types differ."""
    if isinstance(real, (tuple, list)) and type(real) is type(ours):
        return len(real) == len(ours) and all(map(same, real, ours))
    if isinstance(real, float) and isinstance(ours, float) and math.isnan(real):
        return math.isnan(ours)
    if type(real) is type(ours):
        # 1.0 and 1.00 are equal, and not the same numeric.
        return repr(real) == repr(ours) or (
            real == ours and not isinstance(real, (Decimal, float))
        )
    return real is not None and ours is not None and str(real) == str(ours)


def _compare_failures(real: Failure, ours: Failure, what: str) -> None:
    both = f"{what}\n real: {real}\n ours: {ours}"
    assert ours.sqlstate == expected_sqlstate(real.sqlstate, real.message), (
        f"SQLSTATEs differ: {both}"
    )
    assert ours.line == real.line, f"compile lines differ: {both}"
    if real.line is not None:
        assert ours.error.line == real.line, f"compile lines differ: {both}"
    if "] REMOTE " in real.message:
        theirs, mine = real.message, ours.message
        if len(ours.error.outcomes) > 1:
            # Of several failures the real one raises that which came first.
            theirs, mine = (_DATABASE.sub("[…]", text) for text in (theirs, mine))
        assert mine == theirs, f"remote messages differ: {both}"
        ours_diag, real_diag = ours.error.diag, real.error.diag
        for ours_field, real_field, prefix in (
            (ours_diag.message_detail, real_diag.message_detail, "Remote detail: "),
            (ours_diag.message_hint, real_diag.message_hint, "Remote hint: "),
            (ours_diag.context, _remote_context(real_diag.context), "Remote context: "),
        ):
            expected = ours_field and prefix + ours_field
            assert real_field == expected, f"remote details differ: {both}"


def _remote_context(context: str | None) -> str | None:
    return context if context and context.startswith("Remote context: ") else None


def _created(sql: str) -> str:
    found = _NAME.search(sql)
    assert found, sql
    return found[1]


def created(side: Real | Ours, sql: str) -> Answer:
    """Create a function on one side; return an answer that says no more than yes."""
    side.create(sql)
    return Answer((), [])
