"""How the service is: alive, ready, its models, its metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from backbeat import __version__
from serving.metrics import exposition
from serving.routes.common import GUARDED, HearingThere, allowed, described, hearing_of

router = APIRouter(tags=["system"])


@router.get("/livez", response_class=PlainTextResponse)
async def livez() -> str:
    """Tell that the process answers."""
    return "ok"


@router.get("/readyz", response_class=PlainTextResponse, openapi_extra=described(["not_ready"]))
async def readyz(request: Request) -> str:
    """Tell that the models are loaded and files can be heard."""
    hearing_of(request)
    return "ok"


@router.get("/health", openapi_extra=described(["not_ready"]))
async def health(request: Request) -> dict[str, str]:
    """Tell that the service is well, and its version."""
    hearing_of(request)
    return {"status": "ok", "version": __version__}


@router.get("/v1/models", dependencies=[allowed("read")], openapi_extra=described([*GUARDED, "not_ready"]))
async def models(request: Request, hearing: HearingThere) -> dict[str, Any]:
    """List the models in use: where each is from (registry, folder, package), version, run, commit, data, licences."""
    ears = hearing.ears
    specs = ears.analyzer.specs
    found = {task: {**lineage, "metrics": specs[task].metrics} for task, lineage in ears.lineage.items()}
    recommending = request.app.state.recommending
    return {"models": found if recommending is None else found | recommending.models}


@router.get(
    "/metrics", dependencies=[allowed("read")], response_class=PlainTextResponse, openapi_extra=described(GUARDED)
)
def metrics() -> Response:
    """Give the metrics as Prometheus reads them."""
    return Response(exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
