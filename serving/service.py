"""The BentoML service: `bentoml serve`, or `make serve`; and what `bentoml build` packs."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import bentoml

from backbeat.errors import ConfigError
from serving.settings import load_settings, sockets_fit

if not sockets_fit():  # BentoML's, between its processes
    os.environ["BENTOML_NO_UDS"] = "1"
# BentoML sets it in images, and then leaves workers dead that died: one that makes stems, and nobody would see it.
os.environ.pop("BENTOML_CONTAINERIZED", None)
try:
    settings = load_settings()
    settings.check_state()
except ConfigError as error:
    raise SystemExit(f"backbeat: error: {error}") from None


class Everything:
    """Hands every request to the application: BentoML's own pages and probes would tell more than is wanted."""

    #: Made in the process that answers; the others need not import it.
    app: Callable[..., Awaitable[None]]

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.inner = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve a request, or, for the life of the process, let BentoML do it."""
        await (Everything.app if scope["type"] == "http" else self.inner)(scope, receive, send)


@bentoml.service(name="backbeat-backstage", workers=1, metrics={"enabled": False})
class Backstage:
    """Does jobs, brings the registry's champions, tells Prometheus of drift and alerts; nobody calls it."""

    def __init__(self) -> None:
        from backbeat.logs import configure
        from serving.champions import Scout
        from serving.charting import Charting
        from serving.separating import Separating
        from serving.telling import Teller
        from serving.working import Worker

        configure(settings.logs.level)
        self._worker = Worker(settings, {"separate": Separating(settings), "chart": Charting(settings)})
        self._scout, self._teller = Scout(settings), Teller(settings)

    @bentoml.on_startup
    def begin(self) -> None:
        """Take jobs, look for champions, tell of drift."""
        self._scout.start()
        self._teller.start()
        self._worker.start()

    @bentoml.on_shutdown
    def end(self) -> None:
        """Leave the job at hand to whoever comes next."""
        self._scout.stop()
        self._teller.stop()
        self._worker.stop()


@bentoml.service(
    name="backbeat",
    workers=int(os.environ.get("BACKBEAT_WORKERS", "1")),
    # Time limits and places in the queue are the application's own; this is only for what they do not see.
    traffic={"timeout": 2 * (settings.limits.upload_s + settings.limits.request_s)},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    http={"port": 8000},
    # It is never called, so that requests do not depend on whether it is well.
    runner_probe={"enabled": False},
)
class Backbeat:
    """Hears music: beats and bars, drums and onsets, genre, key, tempo, loudness, stems, charts."""

    backstage = bentoml.depends(Backstage)

    @bentoml.on_startup
    async def begin(self) -> None:
        """Make the application, and begin its life."""
        from serving.app import create_app

        Everything.app = app = create_app(settings)
        self._life = app.router.lifespan_context(app)
        await self._life.__aenter__()

    @bentoml.on_shutdown
    async def end(self) -> None:
        """End the application's life."""
        await self._life.__aexit__(None, None, None)


Backbeat.add_asgi_middleware(Everything)  # type: ignore[attr-defined]
