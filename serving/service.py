"""The BentoML service: `bentoml serve`, or `make serve`; and what `bentoml build` packs."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import bentoml

from serving.app import create_app
from serving.settings import load_settings

settings = load_settings()
app = create_app(settings)


class Everything:
    """Hands every request to the application: BentoML's own pages and probes would tell more than is wanted."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.inner = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve a request, or, for the life of the process, let BentoML do it."""
        await (app if scope["type"] == "http" else self.inner)(scope, receive, send)


@bentoml.service(
    name="backbeat",
    workers=int(os.environ.get("BACKBEAT_WORKERS", "1")),
    # Time limits and places in the queue are the application's own; this is only for what they do not see.
    traffic={"timeout": 2 * (settings.limits.upload_s + settings.limits.request_s)},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    http={"port": 8000},
)
@bentoml.asgi_app(app, path="/")
class Backbeat:
    """Hears music: beats and bars, drums and onsets, genre, key, tempo, loudness, stems."""


Backbeat.add_asgi_middleware(Everything)  # type: ignore[attr-defined]
