"""What comes before a call is sent: its function, its arguments, its partitions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from plproxy_py._catalog import Catalog
from plproxy_py._clusters import Clusters
from plproxy_py._discreet import hide_in
from plproxy_py._exchange import Exchange, Statement
from plproxy_py._home import Home, RowTypes
from plproxy_py._pools import Wired
from plproxy_py._record import record
from plproxy_py._routing import Routed, Routing
from plproxy_py._steps import Steps
from plproxy_py._waiting import INFINITE
from plproxy_py.answers import Bound, Partial
from plproxy_py.errors import ConfigError, RoutingError, SignatureError
from plproxy_py.function import Plan, ProxyFunction
from plproxy_py.options import Options
from plproxy_py.result import Answer

if TYPE_CHECKING:
    from plproxy_py._home_clusters import HomeClusters


@record
class Callee:
    """Which function is called, and how.

    ``find`` gives it, of the map in force. ``overrides``: fields of its `Options`.
    """

    find: Callable[[], ProxyFunction]
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def options(self, function: ProxyFunction) -> Options:
        """Return the function's options, overridden."""
        if not self.overrides:
            return function.options
        return replace(function.options, **self.overrides)


@record
class Prepared:
    """A call that can be sent: arguments are read, partitions are tagged.

    ``routed`` None: a NULL argument of a strict function, nobody is called.
    """

    function: ProxyFunction
    answer: Answer
    options: Options
    normals: list[Any]
    routed: Routed | None

    @property
    def nothing(self) -> Any:
        """What a strict function answers to NULL."""
        if self.options.partial:
            return Partial([], (), {})
        return [] if self.answer.setof else None

    def check_need(self) -> None:
        """Raise `RoutingError` if fewer partitions are reached than must answer."""
        count = len(self.routed.tags.partitions) if self.routed else 0
        need = self.options.need
        if self.options.partial and 0 < count < need:
            raise RoutingError(
                f"{self.function.label}: need={need}, and the call reaches {count} "
                "partitions"
            )

    def statement(self, routed: Routed) -> Statement:
        return Statement(
            self.function.label,
            self.function.query.sql,
            routed.params,
            routed.deadline,
            self.options.settle,
            is_repeated=True,
        )


class Preparer:
    """Finds functions and clusters as they are now, and reads a call's arguments.

    ``clusters``: where they are looked up, None before `configure`; ``reflected``:
    what else keeps functions current. ``config_ttl`` as on the router.
    """

    def __init__(self, catalog: Catalog, routing: Routing, exchange: Exchange) -> None:
        self.clusters: Clusters | None = None
        self.reflected: HomeClusters | None = None
        self.config_ttl = 1.0
        self.routing = routing
        self._catalog = catalog
        self._exchange = exchange
        self._row_types: RowTypes | None = None

    def cluster(self, name: str, deadline: float = INFINITE) -> Steps[Wired]:
        if self.clusters is None:
            raise ConfigError("this router has no configuration yet: call configure()")
        return (yield from self.clusters.get(name, deadline))

    def plan(
        self, callee: Callee, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Steps[Plan]:
        yield from self.refresh(INFINITE)
        function = yield from self._described(callee.find(), INFINITE)
        routing = self.routing
        normals = yield from routing.arguments(function, args, kwargs, INFINITE)
        started = time.monotonic()
        options = callee.options(function)
        try:
            routed = yield from routing.route(
                function, normals, self.cluster, started, None
            )
        except Exception as error:
            hide_in(error, function, options, normals)
            raise
        config, tags = routed.wired.config, routed.tags
        return Plan(
            function.label,
            config.name,
            function.query.sql.decode(),
            function.fed(normals),
            tags.partitions,
            tuple(tags.hashes),
            tuple(config.target(partition).redacted for partition in tags.partitions),
            function.sensitive_feeds(options),
        )

    def refresh(self, deadline: float) -> Steps[None]:
        for source in (self.clusters, self.reflected):
            if source is not None:
                yield from source.refresh(deadline)

    def _described(
        self, function: ProxyFunction, deadline: float
    ) -> Steps[ProxyFunction]:
        """Return the function with its row type's columns, which home may know."""
        home = self.routing.home
        if function.row_type is None or home is None:
            return function
        if self._row_types is None:
            self._row_types = RowTypes(
                Home(home, self._exchange),
                self._exchange.pools.connector,
                self.config_ttl,
                self._catalog.describe,
            )
        return (yield from self._row_types.described(function, deadline))

    def prepare(
        self, callee: Callee, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Steps[Prepared]:
        """Do what comes before sending."""
        started = time.monotonic()
        function, answer, options, deadline = yield from self.opened(callee, started)
        normals = yield from self.routing.arguments(function, args, kwargs, deadline)
        if function.strict and any(normal is None for normal in normals):
            return Prepared(function, answer, options, normals, None)
        try:
            function.window(normals)
            routed = yield from self.routing.route(
                function, normals, self.cluster, started, options.timeout
            )
        except Exception as error:
            hide_in(error, function, options, normals)
            raise
        prepared = Prepared(function, answer, options, normals, routed)
        prepared.check_need()
        return prepared

    def opened(
        self, callee: Callee, started: float
    ) -> Steps[tuple[ProxyFunction, Answer, Options, float]]:
        """Return the function of the map in force, and until when it may take."""
        timeout = callee.overrides.get("timeout")
        yield from self.refresh(started + (timeout or INFINITE))
        function = callee.find()
        options = callee.options(function)
        deadline = started + (options.timeout or INFINITE)
        function = yield from self._described(function, deadline)
        answer = function.answer
        if answer is None:
            raise SignatureError(
                f"{function.label} returns records: list their columns, returning()",
                sqlstate="42601",
            )
        if options.partial and options.first:
            raise TypeError(
                f"{function.label}: on_error='partial' does not go with first="
            )
        if options.partial and (not answer.setof or answer.stream):
            raise TypeError(
                f"{function.label}: on_error='partial' is for functions that return a "
                "list"
            )
        return function, answer, options, deadline


def arguments_of(
    item: object, label: str, place: str
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return positional and named arguments out of one item of several calls.

    Raise TypeError, naming the item's ``place``, for what is none.
    """
    if isinstance(item, Bound):
        if item.label != label:
            raise TypeError(f"{label}: {place} is bound to {item.label}")
        return item.args, item.kwargs
    if isinstance(item, Mapping):
        return (), item
    if isinstance(item, Sequence) and not isinstance(item, (str, bytes, bytearray)):
        return item, {}
    raise TypeError(
        f"{label}: {place} is {type(item).__name__}: pass a tuple of arguments, a dict "
        "of named ones, or what bind() gives"
    )
