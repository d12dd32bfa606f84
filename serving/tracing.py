"""Traces (OpenTelemetry): a span for each request and each of its stages, sent where the settings say, or nowhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace

from backbeat import __version__
from serving.settings import Telemetry

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry.sdk.trace import TracerProvider

#: Its spans are nothing, and cost nothing, until `Tracing.begin`.
TRACER = trace.get_tracer("serving")


#: Where the path names a user, and the attributes of a span that hold a path.
_USERS = "/v1/users/"
_PATHS = {"http.url", "http.target", "http.route", "url.path", "url.full"}


class Tracing:
    """Sends the spans of a process to a collector, from its start to its end."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._address = telemetry.otlp.rstrip("/")
        self._provider: TracerProvider | None = None

    def follow(self, app: FastAPI) -> None:
        """Put a span round every request but those of machines that look after the service."""
        if self._address:
            from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

            # A large upload comes in a thousand pieces: no span for each.
            app.add_middleware(
                OpenTelemetryMiddleware,
                excluded_urls="livez,readyz,health,metrics",
                exclude_spans=["receive", "send"],
                server_request_hook=_nobody,
            )
            app.add_middleware(_Rooted)

    def begin(self) -> None:
        """Send from now on, in a thread; what cannot be sent is lost, and holds nobody up."""
        if not self._address:
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named = Resource.create({"service.name": "backbeat", "service.version": __version__})
        self._provider = TracerProvider(resource=named)
        exporter = OTLPSpanExporter(endpoint=f"{self._address}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(self._provider)

    def end(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def _nobody(span: trace.Span, scope: Any) -> None:
    """Leave out of a span who is forgotten: traces outlive what the service keeps of a user."""
    if not str(scope.get("path", "")).startswith(_USERS):
        return
    span.update_name(f"{scope['method']} {_USERS}")
    for name in _PATHS & set(getattr(span, "attributes", None) or ()):
        span.set_attribute(name, _USERS)


class _Rooted:
    """Leaves out of the traces what BentoML, which sends none, has put round the application."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request whose span has no parent but the one that the caller names."""
        token = context.attach(context.Context())
        try:
            await self.app(scope, receive, send)
        finally:
            context.detach(token)
