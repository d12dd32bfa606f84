"""The endpoints: one FastAPI application that BentoML serves; other routes join it as routers in the same style."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opentelemetry import trace
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from backbeat import __version__
from backbeat.errors import BackbeatError
from backbeat.logs import configure
from serving import metrics
from serving.access import Doorkeeper, RateKeeper
from serving.analysing import Hearing
from serving.logs import AuditLog
from serving.problems import CODES, JOBS_AWAY, PROBLEM_SCHEMA, Problem, body_of, code_of, problem_of
from serving.recommending import Recommending
from serving.records import Kept, Recorder
from serving.routes import (
    analysis,
    catalogue,
    charts,
    feedback,
    interactions,
    jobs,
    monitoring,
    recommend,
    separation,
    system,
)
from serving.settings import Settings
from serving.tracing import Tracing
from serving.uploads import limited, sweep, too_large

_LOG = structlog.get_logger("serving")
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
#: The service answers programs, not browsers: nothing of it may be framed, guessed at or kept.
_SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# The page that shows the API has its program from elsewhere.
_DOCS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: https://fastapi.tiangolo.com; style-src 'self' 'unsafe-inline' "
        "https://cdn.jsdelivr.net; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; frame-ancestors 'none'"
    )
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]


class Envelope:
    """Round every request: its id, the limits of its body, the last word on errors, headers, logs and metrics."""

    def __init__(self, app: Callable[..., Awaitable[None]], settings: Settings, audit: AuditLog) -> None:
        self.app, self.settings, self.audit = app, settings, audit

    async def __call__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        told = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = told if _REQUEST_ID.fullmatch(told) else secrets.token_hex(16)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        trace.get_current_span().set_attribute("backbeat.request_id", request_id)
        begun, status = time.perf_counter(), 0
        extra = _DOCS if scope["path"] in ("/docs", "/redoc") else {}
        added = [
            (name.lower().encode(), value.encode())
            for name, value in {**_SECURITY, **extra, "X-Request-ID": request_id}.items()
        ]

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        limits = self.settings.limits
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                told_bytes = headers.get(b"content-length", b"0")
                if told_bytes.isdigit() and int(told_bytes) > limits.max_bytes:
                    raise too_large(limits.max_bytes)
                await self.app(scope, limited(receive, limits.max_bytes, limits.upload_s), answer)
            except ClientDisconnect:
                # Nobody reads it; but what stands round this waits for an answer.
                await Response(status_code=_GONE)(scope, receive, answer)
            except Exception as error:
                if not isinstance(error, Problem):
                    _LOG.exception("fault")
                if not status:
                    told_problem = error if isinstance(error, Problem) else Problem("fault", "the service is at fault")
                    await _response(scope, told_problem)(scope, receive, answer)
            self._tell(scope, status, time.perf_counter() - begun)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        state = scope["state"]
        metrics.REQUESTS.labels(route, method, str(status)).inc()
        metrics.LATENCY.labels(route).observe(seconds)
        if code := state.get("code"):
            metrics.ERRORS.labels(code).inc()
        facts = {
            "route": route,
            "method": method,
            "status": status,
            "caller": state.get("caller"),
            **({"code": code} if code else {}),
            **state.get("facts", {}),
        }
        if route not in _QUIET or status in (401, 403):
            _LOG.info("request", seconds=round(seconds, 4), **facts)
            self.audit.write(**facts, request_id=state["request_id"])


_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
#: The caller went away before the answer; nobody sees it but the logs.
_GONE = 499
#: Asked every few seconds by machines.
_QUIET = {"/health", "/livez", "/readyz", "/metrics"}


def _response(scope: Scope, problem: Problem) -> Response:
    state = scope["state"]
    state["code"] = problem.code
    body = body_of(problem.code, problem.detail, state["request_id"])
    return JSONResponse(body, problem.status_code, dict(problem.headers or {}))


async def _on_problem(request: Request, error: Exception) -> Response:
    if isinstance(error, BackbeatError):
        problem = problem_of(error)
        if problem.status_code >= 500:
            _LOG.error("failed", cause=type(error).__name__, message=str(error))
        return _response(request.scope, problem)
    if isinstance(error, Problem):
        return _response(request.scope, error)
    if isinstance(error, OperationalError):
        _LOG.error("jobs_away", cause=type(error.orig).__name__)
        return _response(request.scope, JOBS_AWAY)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"][1:])
        if first["type"] == "json_invalid":
            return _response(request.scope, Problem("bad_request", "the body is not JSON"))
        return _response(
            request.scope, Problem("wrong_value", f"{where}: {first['msg']}" if where else str(first["msg"]))
        )
    assert isinstance(error, HTTPException)  # noqa: S101
    problem = Problem(code_of(error.status_code), str(error.detail))
    problem.status_code = error.status_code
    problem.headers = error.headers
    return _response(request.scope, problem)


def create_app(settings: Settings) -> FastAPI:
    """Make the application of some settings."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure(settings.logs.level)
        tracing.begin()
        audit.open()
        await asyncio.to_thread(sweep, 2 * (settings.limits.upload_s + settings.limits.request_s))
        app.state.recorder.start()
        app.state.hearing = hearing = Hearing(settings)
        # The process answers meanwhile that it is alive and not ready.
        hearing.start()
        app.state.recommending = recommending = Recommending(settings)
        recommending.start()
        yield
        await recommending.close()
        await hearing.close()
        app.state.recorder.close()
        if app.state.jobs is not None:
            app.state.jobs.close()
        if app.state.monitoring is not None:
            app.state.monitoring.close()
        audit.close()
        await asyncio.to_thread(tracing.end)

    local = settings.mode == "local"
    app = FastAPI(
        title="Backbeat",
        version=__version__,
        summary="Hear music: beats and bars, drums and onsets, genre, key, tempo, loudness, stems, drum charts; "
        "choose the beat that fits, and the next track.",
        lifespan=lifespan,
        openapi_url="/openapi.json" if local else None,
        docs_url="/docs" if local else None,
        redoc_url=None,
    )
    tracing = Tracing(settings.telemetry)
    audit = AuditLog(settings.place(settings.logs.audit) if settings.logs.audit else None)
    app.state.settings = settings
    app.state.hearing = app.state.recommending = app.state.jobs = app.state.monitoring = None
    app.state.doorkeeper = Doorkeeper(settings)
    app.state.rates = RateKeeper(settings.rates)
    app.state.recorder = Recorder.of(settings)
    app.state.kept = Kept(settings.place("heard"), settings.monitoring.keep_audio_s)
    for kind in (Problem, BackbeatError, RequestValidationError, HTTPException, OperationalError):
        app.add_exception_handler(kind, _on_problem)
    app.include_router(analysis.router)
    app.include_router(separation.router)
    app.include_router(charts.router)
    app.include_router(recommend.router)
    app.include_router(catalogue.router)
    app.include_router(interactions.router)
    app.include_router(jobs.router)
    app.include_router(feedback.router)
    app.include_router(monitoring.router)
    app.include_router(system.router)
    if settings.access.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.access.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
        )
    app.add_middleware(Envelope, settings=settings, audit=audit)
    tracing.follow(app)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Put the one shape of errors and the ways to be let in into the OpenAPI document."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = make()
        parts = document.setdefault("components", {})
        schemas = parts.setdefault("schemas", {})
        schemas["Problem"] = PROBLEM_SCHEMA
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        parts["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        }
        for methods in document["paths"].values():
            for operation in methods.values():
                codes = operation.pop("x-problems", [])
                operation["responses"].pop("422", None)
                for code in codes:
                    status, meaning = CODES[code]
                    known = operation["responses"].setdefault(
                        str(status),
                        {
                            "description": "",
                            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                        },
                    )
                    known["description"] = f"{known['description']} `{code}`: {meaning}".strip()
                if "no_access" in codes:
                    operation["security"] = [{"key": []}, {"bearer": []}]
        app.openapi_schema = document
        return document

    app.openapi = openapi  # type: ignore[method-assign]
