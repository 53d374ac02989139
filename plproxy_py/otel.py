"""Calls as OpenTelemetry spans. Needs ``plproxy_py[otel]``.

A span for each call, and under it one for each partition that had part in it, with the
semantic conventions for databases. They are written when the call has ended, with the
times that it had. No arguments, no rows, no message texts: what could hold a value.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider
from opentelemetry.util.types import AttributeValue

from plproxy_py._observing import Watch
from plproxy_py._router_base import RouterBase
from plproxy_py._version import __version__
from plproxy_py.errors import Outcome

DEFAULT_PORT = 5432


def instrument(
    router: RouterBase, tracer_provider: TracerProvider | None = None
) -> None:
    """Write spans of all calls of the router from now on.

    ``tracer_provider``: the global one unless said. A span's parent is the current one
    of whoever made the call. With further attempts, partitions show the last one.
    """
    tracer = trace.get_tracer("plproxy_py", __version__, tracer_provider)
    router._calls.observers.add(_Spans(tracer).write, in_detail=True)


class _Spans:
    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def write(self, watch: Watch) -> None:
        """Write the spans of one call."""
        name, attributes = _operation(watch.function)
        called = watch.called()
        if called.cluster is not None:
            attributes["plproxy.cluster"] = called.cluster
        end = watch.began + int(watch.seconds * 1e9)
        whole = self._tracer.start_span(
            name,
            kind=SpanKind.INTERNAL,
            start_time=watch.began,
            attributes={
                **attributes,
                "plproxy.outcome": called.outcome,
                "plproxy.partitions": called.partitions,
                "db.response.returned_rows": called.rows,
            },
        )
        if watch.failed is not None:
            _fail(whole, called.error or "", called.sqlstate)
        context = trace.set_span_in_context(whole)
        for partition in watch.partitions:
            outcome = (watch.outcomes or {}).get(partition)
            if outcome is None and len(watch.partitions) > 1:
                continue  # broken off: nobody saw how it went there
            start, until = _times(watch, partition, outcome)
            span = self._tracer.start_span(
                name,
                context=context,
                kind=SpanKind.CLIENT,
                start_time=start,
                attributes={**attributes, **_place(watch, partition)},
            )
            if outcome is not None:
                span.set_attribute("plproxy.outcome", outcome.state)
                if outcome.error is not None:
                    error = outcome.error
                    _fail(span, type(error).__name__, error.sqlstate)
            elif watch.failed is not None:
                _fail(span, called.error or "", called.sqlstate)
            span.end(until)
        whole.end(end)


def _operation(function: str) -> tuple[str, dict[str, AttributeValue]]:
    """Return a span's name, and what all spans of the call have."""
    attributes: dict[str, AttributeValue] = {"db.system.name": "postgresql"}
    if "(" not in function:
        return function, attributes
    procedure = function.rpartition("(")[0]
    attributes["db.operation.name"] = "SELECT"
    attributes["db.stored_procedure.name"] = procedure
    return f"SELECT {procedure}", attributes


def _place(watch: Watch, partition: int) -> dict[str, AttributeValue]:
    assert watch.wired is not None
    known = dict(watch.wired.config.target(partition).parameters)
    place: dict[str, AttributeValue] = {"plproxy.partition": partition}
    if "dbname" in known:
        place["db.namespace"] = known["dbname"]
    # Several hosts are tried in turn: which one it was is not known here.
    address, port = known.get("host") or known.get("hostaddr"), known.get("port", "")
    if address and "," not in address:
        place["server.address"] = address
        place["server.port"] = int(port) if port.isdecimal() else DEFAULT_PORT
    return place


def _times(
    watch: Watch, partition: int, outcome: Outcome[object] | None
) -> tuple[int, int]:
    """Return when a partition's part began and ended, nanoseconds."""
    end = watch.began + int(watch.seconds * 1e9)
    sent = watch.sent.get(partition)
    if outcome is None:
        return watch.began, end
    start = end if sent is None else watch.began + int(sent * 1e9)
    return start, start + int(outcome.seconds * 1e9)


def _fail(span: Span, error: str, sqlstate: str | None) -> None:
    span.set_attribute("error.type", sqlstate or error)
    if sqlstate is not None:
        span.set_attribute("db.response.status_code", sqlstate)
    span.set_status(StatusCode.ERROR, error)
