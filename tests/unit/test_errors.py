"""The error tree: what catches what, what each error knows, and that all pickle."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import psycopg_pool
import pytest
from psycopg import errors as psycopg_errors
from psycopg.errors import Diagnostic
from psycopg.pq import DiagnosticField

import plproxy_py
from plproxy_py import errors
from plproxy_py.errors import Error, Outcome, RemoteError, placed, remote_error_class

# class, its parent, its SQLSTATE
TREE: list[tuple[type[Error], type[Exception], str | None]] = [
    (errors.Error, psycopg.Error, None),
    (errors.DeclarationError, errors.Error, None),
    (errors.ParseError, errors.DeclarationError, "42601"),
    (errors.SignatureError, errors.DeclarationError, "42P13"),
    (errors.UnsupportedError, errors.DeclarationError, "0A000"),
    (errors.ConfigError, errors.Error, "F0000"),
    (errors.NoSuchCluster, errors.ConfigError, "F0000"),
    (errors.PartitionCountError, errors.ConfigError, "F0000"),
    (errors.HashMismatch, errors.ConfigError, "F0000"),
    (errors.RoutingError, errors.Error, "22023"),
    (errors.ResultError, errors.Error, "22000"),
    (errors.NoDataFound, errors.ResultError, "P0002"),
    (errors.TooManyRows, errors.ResultError, "P0003"),
    (errors.ColumnMismatch, errors.ResultError, "42804"),
    (errors.PartitionError, errors.Error, "08000"),
    (errors.ConnectError, errors.PartitionError, "08001"),
    (errors.ConnectionLost, errors.PartitionError, "08006"),
    (errors.QueryTimeout, errors.PartitionError, "57014"),
    (errors.PoolTimeout, errors.QueryTimeout, "57014"),
    (errors.RemoteError, errors.Error, None),
    (errors.RouterClosed, errors.Error, "08003"),
]
CLASSES = [cls for cls, _, _ in TREE]


def subclasses(cls: type[Error]) -> Iterator[type[Error]]:
    for child in cls.__subclasses__():
        if child.__module__ == "plproxy_py" and hasattr(errors, child.__name__):
            yield child
            yield from subclasses(child)


@pytest.mark.parametrize(("cls", "parent", "sqlstate"), TREE)
def test_the_tree(
    cls: type[Error], parent: type[Exception], sqlstate: str | None
) -> None:
    assert cls.__bases__[0] is parent
    error = cls("text")
    assert (str(error), error.args, error.sqlstate) == ("text", ("text",), sqlstate)
    assert cls("text", sqlstate="XX000").sqlstate == "XX000"
    assert cls.__module__ == "plproxy_py"
    assert getattr(plproxy_py, cls.__name__) is cls


def test_the_tree_is_whole_and_drawn() -> None:
    assert {errors.Error, *subclasses(errors.Error)} == set(CLASSES)
    pattern = r"^[ │├└─]+(\w+)(?:\(psycopg.Error\))?(?:$|  +([0-9A-Z]{5}\b)?)"
    drawn = dict(re.findall(pattern, errors.__doc__ or "", re.MULTILINE))
    assert list(drawn) == [cls.__name__ for cls in CLASSES]
    for cls, parent, sqlstate in TREE:
        if drawn[cls.__name__] or sqlstate != getattr(parent, "default_sqlstate", None):
            assert drawn[cls.__name__] == (sqlstate or "")


@pytest.mark.parametrize(
    ("cls", "also"),
    [
        (errors.PartitionError, psycopg.OperationalError),
        (errors.ConnectError, psycopg.OperationalError),
        (errors.ConnectionLost, psycopg.OperationalError),
        (errors.QueryTimeout, psycopg.OperationalError),
        (errors.QueryTimeout, TimeoutError),
        (errors.PoolTimeout, psycopg_pool.PoolTimeout),
        (errors.PoolTimeout, TimeoutError),
    ],
)
def test_what_else_catches_it(cls: type[Error], also: type[Exception]) -> None:
    with pytest.raises(also):
        raise cls("text")


def test_what_an_error_knows() -> None:
    error = Error("text")
    assert (error.function, error.cluster, error.partition) == (None, None, None)
    assert (error.sent, error.outcomes) == (False, {})
    outcomes = {3: Outcome("unknown", [], None, True, 0.5)}
    error = Error(
        "text", function="f(1)", cluster="c", partition=3, sent=True, outcomes=outcomes
    )
    assert (error.function, error.cluster, error.partition) == ("f(1)", "c", 3)
    assert (error.sent, error.outcomes) == (True, outcomes)
    parse = errors.ParseError("text", line=3, token="x", cluster="c")
    assert (parse.line, parse.token, parse.cluster) == (3, "x", "c")
    assert (errors.ParseError("").line, errors.ParseError("").token) == (None, None)
    assert errors.QueryTimeout("text").phase == "read"
    assert errors.QueryTimeout("text", phase="send", partition=3).phase == "send"
    assert errors.PoolTimeout("text").phase == "checkout"


def test_a_text_may_be_replaced() -> None:
    """TimeoutError is an OSError, whose text is made in a way of its own."""
    for cls in CLASSES:
        error = cls("text")
        error.args = ("another",)
        assert str(error) == "another"


def test_the_servers_diagnostics_are_kept() -> None:
    info = {
        DiagnosticField.SQLSTATE: b"23505",
        DiagnosticField.MESSAGE_PRIMARY: b"twice",
        DiagnosticField.TABLE_NAME: b"t",
    }
    error = RemoteError("text", info=info)
    assert error.sqlstate == "23505"
    assert error.diag.message_primary == "twice"
    assert error.diag.table_name == "t"
    assert error.diag.message_hint is None
    assert RemoteError("text", info=info, sqlstate="XX000").sqlstate == "XX000"
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again.diag, Diagnostic)
    assert (again.diag.message_primary, again.diag.table_name) == ("twice", "t")


@pytest.mark.parametrize("sqlstate", ["23505", "57014", "40001", "P0001", "42883"])
def test_a_remote_error_is_also_psycopgs(sqlstate: str) -> None:
    cls = remote_error_class(sqlstate)
    theirs = psycopg_errors.lookup(sqlstate)
    assert issubclass(cls, RemoteError)
    assert issubclass(cls, theirs)
    assert cls.__name__ == theirs.__name__
    assert cls.__module__ == "plproxy_py"
    assert cls("text", sqlstate=sqlstate).sqlstate == sqlstate
    assert remote_error_class(sqlstate) is cls


@pytest.mark.parametrize("sqlstate", ["ZZ999", "", None])
def test_an_unknown_sqlstate_is_a_plain_remote_error(sqlstate: str | None) -> None:
    assert remote_error_class(sqlstate) is RemoteError


def made() -> Iterator[Error]:
    for cls in CLASSES:
        yield cls("text")
        yield cls("text", "more", sqlstate="XX000", partition=3, cluster="c", sent=True)
    yield errors.ParseError("text", line=3, token="x")
    yield errors.QueryTimeout("text", phase="connect")
    yield remote_error_class("23505")("text", sqlstate="23505", function="f(1)")
    yield remote_error_class("57014")("text", sqlstate="57014")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(protocol: int) -> None:
    for error in made():
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is type(error)
        assert vars(again) == vars(error)
        assert (again.args, str(again)) == (error.args, str(error))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy])
def test_copies(again: Any) -> None:
    for error in made():
        assert type(again(error)) is type(error)
        assert vars(again(error)) == vars(error)


def test_an_error_among_its_own_outcomes_pickles() -> None:
    error = remote_error_class("23505")("text", sqlstate="23505")
    other = errors.ConnectionLost("lost")
    error.outcomes = {
        0: Outcome("committed", [(1, "a")], None, True, 0.1),
        1: Outcome("failed", [], error, True, 0.2),
        2: Outcome("unknown", [], other, True, 0.3),
    }
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert again.outcomes[1].error is again
        assert again.outcomes[0] == error.outcomes[0]
        assert isinstance(again.outcomes[2].error, errors.ConnectionLost)


def test_a_function_is_named_once() -> None:
    error = errors.RoutingError("the hash is NULL")
    assert placed(error, "public.f(1)") is error
    assert str(error) == "public.f(1): the hash is NULL"
    assert placed(error, "public.g(2)").function == "public.f(1)"
    assert str(error) == "public.f(1): the hash is NULL"
    compiled = placed(errors.ParseError("bad"), "f(0)", "PL/Proxy function ")
    assert str(compiled) == "PL/Proxy function f(0): bad"


def test_outcomes_are_values() -> None:
    outcome: Outcome[int] = Outcome("committed", [1], None, True, 0.5)
    assert outcome == Outcome("committed", [1], None, True, 0.5)
    with pytest.raises(AttributeError):
        outcome.state = "failed"
