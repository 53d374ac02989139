"""Calls as spans, read back from OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from plproxy_py import AsyncRouter, ConnectError, Error, Router
from plproxy_py.otel import instrument
from tests.both import face
from tests.fix_router import Driver
from tests.fix_server import Pg

SECRET = "123-45-6789"
REMOTE = """
CREATE OR REPLACE FUNCTION spell(word text, place text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
    IF right(current_database(), 2) = place THEN
        RAISE EXCEPTION 'full of %', word USING ERRCODE = '53100';
    END IF;
    RETURN NEXT word;
END $$;
"""
HINTS = {"word": str, "place": str}


@pytest.fixture
def provider() -> TracerProvider:
    return TracerProvider()


@pytest.fixture
def exporter(provider: TracerProvider) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def driver(
    userdb: Driver, pg: Pg, provider: TracerProvider, exporter: InMemorySpanExporter
) -> Driver:
    for number in range(4):
        pg.execute(f"part{number:02}", REMOTE)
    return userdb


def spell(driver: Driver, **keywords: Any) -> Any:
    return face(driver, list[str], HINTS, name="spell", **keywords)


def taken(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """Return the span of the one call, and those of its partitions in their order."""
    spans = exporter.get_finished_spans()
    exporter.clear()
    for span in spans:
        assert SECRET not in span.to_json()
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time
    (whole,) = (span for span in spans if span.kind is SpanKind.INTERNAL)
    parts = [span for span in spans if span.kind is SpanKind.CLIENT]
    for part in parts:
        assert part.parent is not None
        assert part.parent.span_id == whole.context.span_id
        assert whole.start_time <= part.start_time
        assert part.end_time <= whole.end_time + 10**6
    return whole, sorted(parts, key=lambda part: part.attributes["plproxy.partition"])


def test_a_span_per_call_and_partition(
    driver: Driver, pg: Pg, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    # Also what was declared before.
    call = spell(driver)
    one = spell(driver, run_on="hashtext(word)")
    driver.run(call(SECRET, ""))
    (here,) = driver.run(one.plan("xyz", "")).partitions
    instrument(driver.router, provider)
    place = driver.router.clusters["userdb"].target(2).parameters
    known = dict(place)
    for _ in range(4):
        assert driver.run(call(SECRET, "")) == [SECRET] * 4
        whole, parts = taken(exporter)
        assert whole.name == "SELECT public.spell"
        assert whole.parent is None
        assert dict(whole.attributes or {}) == {
            "db.system.name": "postgresql",
            "db.operation.name": "SELECT",
            "db.stored_procedure.name": "public.spell",
            "db.response.returned_rows": 4,
            "plproxy.cluster": "userdb",
            "plproxy.outcome": "committed",
            "plproxy.partitions": (0, 1, 2, 3),
        }
        assert len(parts) == 4
        assert dict(parts[2].attributes or {}) == {
            "db.system.name": "postgresql",
            "db.operation.name": "SELECT",
            "db.stored_procedure.name": "public.spell",
            "db.namespace": known["dbname"],
            "server.address": known["host"],
            "server.port": int(known["port"]),
            "plproxy.cluster": "userdb",
            "plproxy.outcome": "committed",
            "plproxy.partition": 2,
        }
        assert parts[2].status.status_code is StatusCode.UNSET
        # By the short way as by the long one.
        assert driver.run(one("xyz", "")) == ["xyz"]
        whole, parts = taken(exporter)
        assert [part.attributes["plproxy.partition"] for part in parts] == [here]
        assert whole.attributes["plproxy.partitions"] == (here,)


def test_errors(
    driver: Driver, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    instrument(driver.router, provider)
    with pytest.raises(Error):
        driver.run(spell(driver)(SECRET, "01"))
    whole, parts = taken(exporter)
    for span in (whole, parts[1]):
        assert span.attributes["error.type"] == "53100"
        assert span.attributes["db.response.status_code"] == "53100"
        assert span.attributes["plproxy.outcome"] == "failed"
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "DiskFull"
    assert parts[0].attributes["plproxy.outcome"] == "committed"
    assert "error.type" not in parts[0].attributes
    with pytest.raises(TypeError):
        driver.run(spell(driver)(SECRET))
    whole, parts = taken(exporter)
    assert parts == []
    assert whole.attributes["error.type"] == "TypeError"
    assert whole.attributes["plproxy.outcome"] == "not sent"
    driver.run(driver.router.execute("userdb", "SELECT 1", run_on=1))
    whole, parts = taken(exporter)
    assert (whole.name, len(parts)) == ("execute", 1)
    assert "db.operation.name" not in whole.attributes


def test_a_partition_that_is_down(
    make_router: Callable[..., Driver],
    pg: Pg,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
) -> None:
    pg.execute("part00", REMOTE)
    there = [pg.connstr("part00"), "host=127.0.0.1 port=1 dbname=x user=y"]
    driver = make_router({"userdb": there})
    instrument(driver.router, provider)
    with pytest.raises(ConnectError):
        driver.run(spell(driver)("x", ""))
    _, parts = taken(exporter)
    assert parts[1].attributes["server.address"] == "127.0.0.1"
    assert parts[1].attributes["server.port"] == 1
    assert parts[1].attributes["error.type"] == "08001"


def test_the_parent_is_the_callers_span(
    databases4: list[str],
    driver: Driver,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
) -> None:
    tracer = provider.get_tracer("app")
    with Router({"userdb": databases4}) as router:
        instrument(router, provider)
        call = router.define(SQL)
        with tracer.start_as_current_span("request") as request:
            call("x", "")
    spans = exporter.get_finished_spans()
    (whole,) = (
        span
        for span in spans
        if span.name == "SELECT public.spell" and span.kind is SpanKind.INTERNAL
    )
    assert whole.parent is not None
    assert whole.parent.span_id == request.get_span_context().span_id
    exporter.clear()

    async def request_of(name: str) -> None:
        with tracer.start_as_current_span(name):
            await async_call(name, "")

    async def main() -> None:
        nonlocal async_call
        async with AsyncRouter({"userdb": databases4}) as router:
            instrument(router, provider)
            async_call = router.define(SQL)
            await asyncio.gather(*[request_of(f"r{n}") for n in range(8)])

    async_call: Any = None
    asyncio.run(main())
    spans = exporter.get_finished_spans()
    requests = {s.context.span_id for s in spans if s.name[0] == "r"}
    calls = [s for s in spans if s.kind is SpanKind.INTERNAL and s.name[0] == "S"]
    assert len(calls) == len(requests) == 8
    assert {s.parent.span_id for s in calls if s.parent} == requests


SQL = (
    "CREATE FUNCTION spell(word text, place text) RETURNS SETOF text "
    "LANGUAGE plproxy AS $$ CLUSTER 'userdb'; RUN ON ALL; $$"
)
