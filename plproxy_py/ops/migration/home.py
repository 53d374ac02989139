"""A PL/Proxy database, looked at and never written to.

Each question runs in a READ ONLY transaction with its own settings, which end with it:
a pooler between may hand the session to somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

from plproxy_py.config import Target, parse_connstr
from plproxy_py.errors import ConfigError
from plproxy_py.query import RemoteQuery
from plproxy_py.sources.question import Question

T = TypeVar("T")

# The texts of the catalog depend on these, whoever asks; and nobody waits for ever.
_SETTINGS = {
    "quote_all_identifiers": "off",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "statement_timeout": "60s",
}


class HomeDatabase:
    """A connection to the database, for one transaction at a time."""

    def __init__(self, connection: psycopg.Connection[Any], target: Target) -> None:
        self._connection = connection
        self._target = target

    @property
    def is_utf8(self) -> bool:
        """Whether the server hashes the same bytes of a text as Python does."""
        return self._connection.info.parameter_status("server_encoding") == "UTF8"

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Keep to one state of the database; errors within come out as ours.

        Names in the catalog's texts are qualified: the path is pg_catalog alone.
        """
        with self._errors(), self._connection.transaction():
            self._set({**_SETTINGS, "search_path": "pg_catalog"})
            yield

    def rows(self, sql: str | bytes, *params: Any) -> list[Any]:
        """Return what a statement answers. Parameters are ``$1…``."""
        text = sql.encode() if isinstance(sql, str) else sql
        return psycopg.RawCursor(self._connection).execute(text, params).fetchall()

    def ask(self, question: Question[T]) -> T:
        """Ask a question, and those that its answer leads to."""
        step: Question[T] | T = question
        while isinstance(step, Question):
            params = [param and param.decode() for param in step.params]
            step = step.read(self.rows(step.sql, *params))
        return step

    def attempt(self, question: Question[T]) -> T:
        """Ask within a savepoint, on the caller's own path, for what may fail.

        Raise psycopg's errors, and those of the question.
        """
        with self._connection.transaction():
            self._connection.execute("RESET search_path")
            found = self.ask(question)
            self._set({"search_path": "pg_catalog"})
            return found

    def fault(self, query: RemoteQuery) -> str | None:
        """Return why the database can't prepare a query, None where it can."""
        try:
            with self._connection.transaction():
                self._connection.execute("RESET search_path")
                self._connection.execute(b"PREPARE plproxy_report AS " + query.sql)
                self._connection.execute("DEALLOCATE plproxy_report")
                self._set({"search_path": "pg_catalog"})
        except psycopg.Error as error:
            if self._connection.closed:
                raise
            return error.diag.message_primary or str(error)
        return None

    def hashes(self, sql: bytes, keys: Sequence[str]) -> list[Any]:
        """Return what a query answers for many keys, its parameter, committed at once.

        Raise psycopg's own errors but for a lost connection.
        """
        try:
            with self._connection.transaction():
                self._set(_SETTINGS)
                return self.rows(sql, list(keys))
        except psycopg.Error as error:
            if self._connection.closed:
                raise self._told(error) from None
            raise

    def _set(self, settings: dict[str, str]) -> None:
        # In one round trip: keys may come to be asked for one by one.
        self._connection.execute(
            "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) "
            "AS s (name, value)",
            (list(settings), list(settings.values())),
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if isinstance(error, ConfigError):
                raise
            raise self._told(error) from None

    def _told(self, error: psycopg.Error) -> ConfigError:
        text = self._target.scrub(str(error).strip())
        return ConfigError(
            f"the home database can't be asked: {text}", sqlstate=error.sqlstate
        )


@contextmanager
def home_database(connstr: str) -> Iterator[HomeDatabase]:
    """Connect to a database. Raise `ConfigError` if it can't be asked."""
    target = parse_connstr(connstr)
    given = {"client_encoding": "utf8", "fallback_application_name": "plproxy_py"}
    try:
        connection = psycopg.connect(target.conninfo(**given))
    except psycopg.Error as error:
        text = target.scrub(str(error).strip())
        raise ConfigError(
            f"the home database can't be asked: {text}", sqlstate=error.sqlstate
        ) from None
    with connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        yield HomeDatabase(connection, target)
