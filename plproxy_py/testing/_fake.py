"""`FakeCluster`: a router's clusters for the time of a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, Self

from psycopg.conninfo import make_conninfo

from plproxy_py._router_base import RouterBase
from plproxy_py.errors import ConfigError, Error
from plproxy_py.function import ProxyFunction
from plproxy_py.testing import _home
from plproxy_py.testing._clusters import given_outline, installed, like, places
from plproxy_py.testing._playbook import Playbook, name_of
from plproxy_py.testing._rowsets import Shape, untyped
from plproxy_py.testing._scripts import Answer, Call, Kind, Place, Refusal
from plproxy_py.testing._server import Server
from plproxy_py.testing._values import Values


class Declared(Protocol):
    """What a declaration gave: a decorated function, or what `define` returned."""

    definition: ProxyFunction


class FakeCluster:
    """Partitions without a server, which answer a router's calls as they are told.

    Within its ``with`` block the router's clusters are these, and behind it those that
    it had before. Everything else is the router's own: what is routed, sent, waited
    for, cancelled and raised, over connections of PostgreSQL's protocol to a thread of
    this process. ``clusters``: by name how many partitions, or a table of options as
    `configure` takes it, its ``partitions`` a number; None for the clusters that the
    router is configured with.

    ``calls``: what partitions were asked, in order; it may be cleared.

    Scripts are for a declared function, by name as in ``router.call`` or as the
    callable itself. ``cluster`` and ``partition`` say where, None is everywhere;
    ``times`` how often. What is scripted with ``times`` is used up first, in order;
    then what was scripted last holds.
    """

    def __init__(
        self,
        router: RouterBase,
        clusters: Mapping[str, int | Mapping[str, Any]] | None = None,
    ) -> None:
        self._router = router
        self._outlines = (
            {name: like(config) for name, config in router.clusters.items()}
            if clusters is None
            else {name: given_outline(name, given) for name, given in clusters.items()}
        )
        if not self._outlines:
            raise ConfigError("say which clusters there are, {name: partitions}")
        self._book = Playbook(router._catalog, Values(router.adapters))
        self._server: Server | None = None
        self._left = ExitStack()
        self.calls: list[Call] = self._book.calls

    def __enter__(self) -> Self:
        with ExitStack() as left:
            self._server = Server(self._book)
            left.callback(self._server.stop)
            left.enter_context(installed(self._router, self._outlines, self._connstr))
            self._left = left.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.close()
        self._server = None
        faults = self._book.faults
        if not faults:
            return
        fault, others = faults[0], len(faults) - 1
        faults.clear()
        if others:
            fault.add_note(f"{others} more were raised by what is scripted")
        # It is why a call failed; what a test itself says of that comes first.
        if error is None or isinstance(error, Error):
            raise fault

    def answer(
        self,
        function: str | Declared,
        value: Any = None,
        *,
        cluster: str | None = None,
        partition: int | None = None,
        times: int | None = None,
    ) -> None:
        """Answer calls with ``value``, or with what a callable gives for the arguments.

        What one partition sends: a value or a row; of a set-returning function a list.
        Rows are tuples, mappings, dataclasses or NamedTuples; None is NULL, or a row
        of NULLs. A callable gets what was sent, in declared order, as values of their
        declared types; it runs on a thread of the fake's and must not call the router.
        What it raises is raised at the end of the ``with`` block, but for psycopg's
        errors with an SQLSTATE: they are the partition's own. Raise TypeError or
        ValueError for a value that is not of the declared type.
        """
        self._answer(function, Answer(value, False), cluster, partition, times)

    def rows(
        self,
        function: str | Declared,
        rows: Sequence[Any],
        *,
        cluster: str | None = None,
        partition: int | None = None,
        times: int | None = None,
    ) -> None:
        """Answer with just these rows where one is declared: with none, or with two."""
        self._answer(function, Answer(rows, True), cluster, partition, times)

    def fail(
        self,
        function: str | Declared,
        sqlstate: str,
        message: str = "scripted",
        *,
        detail: str | None = None,
        hint: str | None = None,
        constraint: str | None = None,
        cluster: str | None = None,
        partition: int | None = None,
        times: int | None = None,
    ) -> None:
        """Answer with an error of the server's.

        57P01 and other ends of a session close the connection as well.
        """
        fields = {"D": detail, "H": hint, "n": constraint}
        refusal = Refusal(sqlstate, message, fields)
        key = self._subject(function).signature.key
        self._add(Kind.ANSWER, key, refusal, cluster, partition, times)

    def delay(
        self,
        function: str | Declared,
        seconds: float,
        *,
        cluster: str | None = None,
        partition: int | None = None,
        times: int | None = None,
    ) -> None:
        """Answer late, ``math.inf`` for never; a cancel ends the wait with 57014."""
        if not seconds >= 0 or isinstance(seconds, bool):
            raise ValueError("seconds are 0 or more")
        key = self._subject(function).signature.key
        self._add(Kind.DELAY, key, seconds, cluster, partition, times)

    def disconnect(
        self,
        function: str | Declared,
        *,
        executed: bool = True,
        cluster: str | None = None,
        partition: int | None = None,
        times: int | None = None,
    ) -> None:
        """Break the connection off where the answer should come.

        ``executed``: the call was made, and its answer is lost; else it was not even
        read. The caller can't know which. For what is lost before anything is sent,
        see `down`.
        """
        key = self._subject(function).signature.key
        self._add(Kind.LOSS, key, executed, cluster, partition, times)

    def sql(
        self,
        text: str,
        rows: Sequence[Mapping[str, Any]] | Callable[..., Any],
        *,
        cluster: str | None = None,
        partition: int | None = None,
        times: int | None = None,
    ) -> None:
        """Answer a statement of ``router.execute``, or of a connection on loan.

        ``text`` is the statement as it is sent, ``rows`` mappings from column to value
        or a callable that gives them for ``$1…``, as texts.
        """
        if not callable(rows):
            untyped(rows, self._book.values)
        subject = text.strip().rstrip(";").strip()
        what = Answer(rows, True)
        self._add(Kind.SQL, subject, what, cluster, partition, times)

    def home(self, expression: str, value: Any) -> None:
        """Give the value of an expression that the home database evaluates.

        ``expression``: as RUN ON, CLUSTER, CONNECT or a DEFAULT have it. ``value``: a
        hash, a list of them, a name; or a callable that gives it for the arguments.
        """
        subject = _home.normal(expression)
        self._add(Kind.HOME, subject, Answer(value, True), None, None, None)

    def down(self, partition: int | None = None, *, cluster: str | None = None) -> None:
        """Stop a partition, or all: connections break off and new ones are refused.

        What was not sent yet fails unsent; calls under way lose their answer.
        """
        for place in places(self._outlines, cluster, partition):
            self._running().close(place)

    def up(self, partition: int | None = None, *, cluster: str | None = None) -> None:
        """Start a partition again, or all.

        Returns when the router would try it again, at most some seconds.
        """
        for place in places(self._outlines, cluster, partition):
            self._running().open(place)
            wired = self._router._map.wired[place.cluster]
            session = wired.pools[place.partition].session
            while self._router._pools.connector.is_knocking_vain(session):
                time.sleep(0.005)

    def calls_of(self, function: str | Declared) -> list[Call]:
        """Return the calls of one function."""
        name = name_of(self._subject(function))
        return [call for call in list(self.calls) if call.function == name]

    def _answer(
        self,
        function: str | Declared,
        answer: Answer,
        cluster: str | None,
        partition: int | None,
        times: int | None,
    ) -> None:
        found = self._subject(function)
        Shape(found, self._book.values).check(answer)
        key = found.signature.key
        self._add(Kind.ANSWER, key, answer, cluster, partition, times)

    def _add(
        self,
        kind: Kind,
        subject: str,
        what: Any,
        cluster: str | None,
        partition: int | None,
        times: int | None,
    ) -> None:
        if cluster is not None or partition is not None:
            places(self._outlines, cluster, partition)
        self._book.scripts.add(kind, subject, what, cluster, partition, times)

    def _subject(self, function: str | Declared) -> ProxyFunction:
        """Return a declared function. Raise `SignatureError` where there is none."""
        if isinstance(function, str):
            return self._book.catalog.find(function).current()
        definition = function.definition
        if all(definition is not known for known in self._book.functions()):
            self._book.handed.append(definition)
        return definition

    def _running(self) -> Server:
        if self._server is None:
            raise ConfigError("partitions are there within the with block only")
        return self._server

    def _connstr(self, place: Place, label: str) -> str:
        host, port = self._running().open(place)
        return make_conninfo("", host=host, port=port, dbname=label, user="fake")
