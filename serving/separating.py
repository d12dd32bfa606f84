"""The worker of separation jobs, in a process of its own: long work starves no request, and dies alone."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import OperationalError

from backbeat.errors import BackbeatError, ConfigError, ModelError
from serving import metrics
from serving.jobs import INPUT, OUTPUT, Job, JobStore
from serving.problems import problem_of
from serving.settings import Settings

if TYPE_CHECKING:
    from backbeat.separation.engine import SeparationEngine

_LOG = structlog.get_logger("serving.separating")
_LOOK_S = 0.5
_BEAT_S = 1.0
_FORGET_S = 60.0
_COUNT_S = 2.0


class Worker:
    """Takes separation jobs, one after the other, until it is stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._opened: JobStore | None = None
        self._loaded: SeparationEngine | None = None
        self._cache_asked: Counter[tuple[str, str]] = Counter()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), name="backbeat-jobs", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Leave the job at hand to another worker, and end."""
        self._stopping.set()
        self._thread.join(30)

    @property
    def _store(self) -> JobStore:
        """The jobs; their database may be away when the service starts."""
        if self._opened is None:
            self._opened = JobStore.of(self._settings)
        return self._opened

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

    async def _work(self) -> None:
        forgot = counted = 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() - forgot > _FORGET_S:
                    await asyncio.to_thread(lambda: self._store.forget())
                    forgot = time.monotonic()
                if time.monotonic() - counted > _COUNT_S:
                    await asyncio.to_thread(self._count)
                    counted = time.monotonic()
                job = await asyncio.to_thread(self._store.claim, self._name)
                if job is None:
                    await asyncio.sleep(_LOOK_S)
                else:
                    await self._do(job)
            except (ConfigError, OperationalError) as error:
                # The database is away; the jobs wait in it.
                _LOG.error("jobs_not_taken", message=str(error).splitlines()[0])
                await asyncio.sleep(5.0)
            except Exception:
                _LOG.exception("jobs_not_taken")
                await asyncio.sleep(5.0)

    def _count(self) -> None:
        """Tell how many jobs there are, and how often the caches had what was asked."""
        counts = self._store.counts()
        for state in ("queued", "running"):
            metrics.JOBS.labels(state).set(counts.get(state, 0))
        if self._loaded is None or self._loaded.cache is None:
            return
        for level, numbers in self._loaded.cache.stats().items():
            for outcome, name in (("hit", "hits"), ("miss", "misses")):
                new = numbers[name] - self._cache_asked[level, outcome]
                metrics.CACHE.labels(level, outcome).inc(new)
                self._cache_asked[level, outcome] += new

    async def _do(self, job: Job) -> None:
        share = 0.0

        def heard(_: object, done_s: float, total_s: float) -> None:
            nonlocal share
            share = done_s / total_s if total_s else 0.0

        place = self._store.place(job.id)
        begun = time.monotonic()
        engine = await asyncio.to_thread(self._engine)
        from backbeat.separation.files import SeparationOptions

        work = asyncio.create_task(
            engine.separate(
                place / INPUT,
                job.request["model"],
                place / OUTPUT,
                SeparationOptions.from_dict(job.request["options"]),
                timeout_s=self._settings.jobs.timeout_s,
                progress=heard,
            )
        )
        try:
            while not work.done():
                await asyncio.wait([work], timeout=_BEAT_S)
                if self._stopping.is_set() or not await asyncio.to_thread(self._store.beat, job.id, self._name, share):
                    work.cancel()
                    await asyncio.wait([work])
                    break
                await asyncio.to_thread(self._count)
            made = work.result()
        except asyncio.CancelledError:
            outcome = "left"
            if not self._stopping.is_set():
                outcome = "cancelled"
                shutil.rmtree(place, ignore_errors=True)
        except BackbeatError as error:
            problem = problem_of(error)
            outcome = problem.code
            if isinstance(error, ModelError):
                _LOG.error("model_missing", message=str(error))
            await asyncio.to_thread(self._store.fail, job.id, self._name, problem.code, problem.detail)
        except Exception:
            outcome = "fault"
            _LOG.exception("fault", job=job.id)
            await asyncio.to_thread(self._store.fail, job.id, self._name, "fault", "the service is at fault")
        else:
            outcome = "done"
            files = {stem: path.name for stem, path in made.stems.items()}
            (place / INPUT).unlink(missing_ok=True)
            await asyncio.to_thread(self._store.finish, job.id, self._name, files)
        _LOG.info("job", job=job.id, outcome=outcome, seconds=round(time.monotonic() - begun, 2))
