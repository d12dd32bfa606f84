"""The service's application, asked in-process and without models."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from serving.app import create_app
from serving.recommending import Recommending
from serving.settings import Settings, load_settings


def settings_of(state: Path, mode: str = "production", **variables: str) -> Settings:
    environment = {f"BACKBEAT_SERVING__{name.upper()}": value for name, value in variables.items()}
    return load_settings({"BACKBEAT_SERVING__STATE": str(state), "BACKBEAT_SERVING__MODE": mode, **environment})


def ask(
    settings: Settings, *requests: dict[str, Any], address: str = "127.0.0.1", choosing: bool = False
) -> list[httpx.Response]:
    """Ask one application several times; each request may name method, url, headers.

    With `choosing` it has its catalogue, and what chooses from it.
    """

    async def main() -> list[httpx.Response]:
        app = create_app(settings)
        if choosing:
            app.state.recommending = recommending = Recommending(settings)
            recommending.start()
            await recommending.wait()
        transport = httpx.ASGITransport(app, client=(address, 5000))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return [
                    await client.request(**{"method": "GET", "url": "/v1/models", **request}) for request in requests
                ]
        finally:
            if choosing:
                await recommending.close()

    return asyncio.run(main())


def codes(answers: list[httpx.Response]) -> list[str]:
    return [answer.json()["error"]["code"] for answer in answers]
