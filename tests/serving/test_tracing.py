"""Traces arrive at a collector as spans of requests and stages, under the caller's own trace."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from services import http_server

from serving import metrics
from serving.settings import Telemetry
from serving.tracing import Tracing

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """A collector: its address, and the spans that came."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http_server(Handler) as url:
        yield url, spans


def test_spans_of_a_request_and_its_stages_arrive(collector: tuple[str, list[Any]]) -> None:
    address, spans = collector
    tracing = Tracing(Telemetry(address + "/"))
    app = FastAPI()

    @app.get("/v1/song")
    async def song() -> str:
        with metrics.stage("hear"):
            return "heard"

    @app.delete("/v1/users/{user}")
    async def forget(user: str) -> str:
        return "gone"

    @app.get("/livez")
    async def livez() -> str:
        return "ok"

    tracing.follow(app)
    tracing.begin()

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            await client.get("/v1/song", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
            await client.get("/livez")
            await client.delete("/v1/users/anna-karenina")

    asyncio.run(main())
    tracing.end()
    stage, request, forgotten = spans
    assert (stage.name, request.name) == ("hear", "GET /v1/song")
    assert {span.trace_id.hex() for span in (stage, request)} == {TRACE}
    assert request.parent_span_id.hex() == PARENT
    assert stage.parent_span_id == request.span_id
    # Who is to be forgotten stays in no trace.
    assert forgotten.name == "DELETE /v1/users/"
    assert "anna" not in str(forgotten)


def test_without_an_address_nothing_is_put_round_requests() -> None:
    app = FastAPI()
    tracing = Tracing(Telemetry(""))
    tracing.follow(app)
    tracing.begin()
    tracing.end()
    assert app.user_middleware == []
