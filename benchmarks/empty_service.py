"""A BentoML service that does nothing: the ceiling that `benchmarks/load.py` measures beside."""

from __future__ import annotations

import bentoml


@bentoml.service(name="empty", workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Empty:
    """Answers with nothing."""

    @bentoml.api
    async def nothing(self, features: list[float]) -> dict[str, str]:
        """Take numbers and give a word."""
        return {"label": "nothing"}
