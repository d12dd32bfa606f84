"""Separation as the work of jobs: an engine that stays, with the cache of stems."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from serving import metrics
from serving.jobs import INPUT, KINDS, Job
from serving.settings import Settings
from serving.working import Report

if TYPE_CHECKING:
    from backbeat.separation.engine import SeparationEngine


class Separating:
    """Makes stems (`serving.working.Kind`)."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: SeparationEngine | None = None
        self._cache_asked: Counter[tuple[str, str]] = Counter()

    def _engine(self) -> SeparationEngine:
        """Return the engine, made when the first job comes: until then its libraries would only delay the service."""
        from backbeat.separation.allocator import keep_freed_memory
        from backbeat.separation.cache import StemCache
        from backbeat.separation.engine import SeparationEngine

        if self._loaded is None:
            keep_freed_memory()
            jobs = self._settings.jobs
            place, redis_url = self._settings.place("stems"), jobs.cache_redis or None
            cache = StemCache(place, disk_bytes=jobs.cache_bytes, redis_url=redis_url)
            self._loaded = SeparationEngine(cache=cache, limits=self._settings.limits.audio)
        return self._loaded

    async def run(self, job: Job, place: Path, report: Report) -> dict[str, str]:
        """Separate the file of a job; return its stems."""
        engine = await asyncio.to_thread(self._engine)
        from backbeat.separation.files import SeparationOptions

        def heard(_: object, done_s: float, total_s: float) -> None:
            report(done_s / total_s if total_s else 0.0)

        made = await engine.separate(
            place / INPUT,
            job.request["model"],
            place / KINDS["separate"],
            SeparationOptions.from_dict(job.request["options"]),
            progress=heard,
        )
        return {stem: path.name for stem, path in made.stems.items()}

    def count(self) -> None:
        """Tell how often the caches had what was asked."""
        if self._loaded is None or self._loaded.cache is None:
            return
        for level, numbers in self._loaded.cache.stats().items():
            for outcome, name in (("hit", "hits"), ("miss", "misses")):
                new = numbers[name] - self._cache_asked[level, outcome]
                metrics.CACHE.labels(level, outcome).inc(new)
                self._cache_asked[level, outcome] += new
