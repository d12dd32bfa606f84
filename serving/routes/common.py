"""What endpoints share: who calls, what went wrong, the files of a request."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import structlog
from fastapi import Depends
from starlette.datastructures import FormData
from starlette.requests import Request

from backbeat.errors import ConfigError, MonitoringError
from backbeat.monitoring.store import MonitoringStore
from serving.access import Caller
from serving.analysing import NOT_READY, Hearing
from serving.problems import MONITORING_AWAY, Problem
from serving.recommending import Recommending
from serving.records import store_of
from serving.scan import Scanner
from serving.uploads import Upload, uploads

_LOG = structlog.get_logger("serving.monitoring")
#: What every endpoint that asks who calls can answer.
GUARDED = ["bad_request", "no_access", "not_allowed", "too_many", "fault"]
#: And every one that takes a file.
FILES = [
    *GUARDED,
    "too_slow",
    "too_large",
    "unsupported_audio",
    "wrong_type",
    "unheard_audio",
    "refused_file",
    "wrong_value",
    "not_ready",
    "no_room",
    "timed_out",
]


def allowed(*scopes: str) -> Any:
    """Return the dependency that lets in who may do something, by one scope of several, and counts their calls."""

    async def caller(request: Request) -> Caller:
        state = request.app.state
        address = request.client.host if request.client else ""
        try:
            found: Caller = await state.doorkeeper.caller(request)
        except Problem:
            await state.rates.check(address, None)
            raise
        request.state.caller = found.name
        await state.rates.check(address, found)
        if found.scopes.isdisjoint(scopes):
            raise Problem("not_allowed", f"this needs the scope {' or '.join(map(repr, scopes))}")
        return found

    return Depends(caller)


def hearing_of(request: Request) -> Hearing:
    """Return what hears; Problem until it can."""
    hearing: Hearing | None = request.app.state.hearing
    if hearing is None or not hearing.ready:
        raise NOT_READY
    return hearing


HearingThere = Annotated[Hearing, Depends(hearing_of)]


def recommending_of(request: Request) -> Recommending:
    """Return what recommends; Problem until it can."""
    recommending: Recommending | None = request.app.state.recommending
    if recommending is None:
        raise NOT_READY
    recommending.chooser  # noqa: B018 (says why it cannot)
    return recommending


RecommendingThere = Annotated[Recommending, Depends(recommending_of)]


async def monitoring_of(request: Request) -> MonitoringStore:
    """Return the monitoring database; it is opened when it is first asked for."""
    state = request.app.state
    if not state.settings.monitoring.records:
        raise Problem("conflict", "this service keeps no records (monitoring.records)")
    found: MonitoringStore | None = state.monitoring
    if found is None:
        try:
            opened = await anyio.to_thread.run_sync(store_of, state.settings)
        except (ConfigError, MonitoringError) as error:
            _LOG.error("monitoring_away", message=str(error))
            raise MONITORING_AWAY from None
        found = state.monitoring = state.monitoring or opened
        if found is not opened:
            opened.close()  # another request was quicker
    return found


MonitoringThere = Annotated[MonitoringStore, Depends(monitoring_of)]


@asynccontextmanager
async def scanned(request: Request, max_files: int = 1) -> AsyncIterator[tuple[list[Upload], FormData]]:
    """Take the files of a request (`uploads`), each of which the scanner has let pass."""
    scanner = Scanner(request.app.state.settings.scan)
    async with uploads(request, max_files) as (files, form):
        request.state.facts = {"bytes": sum(file.size for file in files), "files": len(files)}
        for file in files:
            await scanner.check(file.path)
        yield files, form


def line(name: str, text: str | None) -> str | None:
    """Return a line of text without the spaces round it, None for an empty one; Problem where it is no line."""
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in text or ""):
        raise Problem("wrong_value", f"{name}: is one line of text, without control characters")
    return (text or "").strip() or None


def body(multiple: bool = False, required: bool = True, **fields: Any) -> dict[str, Any]:
    """Return the OpenAPI description of a body with a file, or several, and fields beside it."""
    binary = {"type": "string", "format": "binary"}
    file: dict[str, Any] = {"type": "array", "items": binary} if multiple else binary
    form = {"type": "object", "required": ["file"], "properties": {"file": file, **fields}}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if not multiple:
        content["application/octet-stream"] = {"schema": binary}
    return {"requestBody": {"required": required, "content": content}}


def described(codes: list[str], **extra: Any) -> dict[str, Any]:
    """Return what the OpenAPI document says of an endpoint beside its own: its errors, and its body."""
    return {"x-problems": codes, **extra}
