"""The worker of jobs, in a process of its own: long work starves no request, and dies alone."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy.exc import OperationalError

from backbeat.errors import BackbeatError, ConfigError, ModelError, TimeLimitError
from serving import metrics
from serving.jobs import INPUT, Job, JobStore
from serving.problems import problem_of
from serving.settings import Settings

_LOG = structlog.get_logger("serving.working")
_LOOK_S, _AWAY_S = 0.5, 5.0
_BEAT_S = 1.0
_FORGET_S = 60.0
_COUNT_S = 2.0

#: Called with the share of a job that is done, from any thread.
Report = Callable[[float], None]


class Kind(Protocol):
    """What does the jobs of one kind, one after the other; it may keep what the next can use."""

    async def run(self, job: Job, place: Path, report: Report) -> dict[str, str]:
        """Do a job in its folder; return the files that it made by the names under which they are fetched.

        When it is cancelled it ends at its next step, and has by then stopped writing. Any `BackbeatError` is the
        caller's to read.
        """

    def count(self) -> None:
        """Tell Prometheus what there is to tell beyond the number of jobs."""


class _LeftError(Exception):
    """Unwinds from a job that is no longer this worker's to do."""


class Worker:
    """Takes jobs, one after the other, until it is stopped.

    Parameters
    ----------
    settings
        Of the service.
    kinds
        What does them, by the kind of job.
    """

    def __init__(self, settings: Settings, kinds: Mapping[str, Kind]) -> None:
        self._settings, self._kinds = settings, kinds
        self._name = f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._opened: JobStore | None = None
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
                await asyncio.sleep(_AWAY_S)
            except Exception:
                _LOG.exception("jobs_not_taken")
                await asyncio.sleep(_AWAY_S)

    def _count(self) -> None:
        """Tell how many jobs there are, and what each kind has to tell."""
        counts = self._store.at_hand()
        for name, kind in self._kinds.items():
            for state in ("queued", "running"):
                metrics.JOBS.labels(name, state).set(counts[name, state])
            kind.count()

    async def _do(self, job: Job) -> None:
        """Do a job, and write down how it ended."""
        begun = time.monotonic()
        place = self._store.place(job.id)
        try:
            files = await self._made(job, place)
            if await asyncio.to_thread(self._store.finish, job.id, self._name, files):
                outcome = "done"
                (place / INPUT).unlink(missing_ok=True)
            else:
                outcome = await self._left(job, place)
        except _LeftError:
            outcome = await self._left(job, place)
        except OperationalError:
            raise  # the job is given again when its heart has been still for long enough
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
        _LOG.info("job", job=job.id, kind=job.kind, outcome=outcome, seconds=round(time.monotonic() - begun, 2))

    async def _made(self, job: Job, place: Path) -> dict[str, str]:
        """Return the files of a job, whose heart beats meanwhile; nothing works on it any more when this ends.

        Raises
        ------
        _LeftError
            If it was cancelled or is another's by now, or this worker is to stop.
        TimeLimitError
            If it took too long.
        """
        share = 0.0

        def report(done: float) -> None:
            nonlocal share
            share = min(max(done, 0.0), 1.0)

        timeout_s = self._settings.jobs.timeout_s
        until = time.monotonic() + timeout_s
        work = asyncio.create_task(self._kinds[job.kind].run(job, place, report))
        try:
            while True:
                await asyncio.wait([work], timeout=_BEAT_S)
                if work.done():
                    return work.result()
                if self._stopping.is_set() or not await asyncio.to_thread(self._store.beat, job.id, self._name, share):
                    raise _LeftError
                if time.monotonic() > until:
                    raise TimeLimitError(f"the job took longer than {timeout_s:g} s")
                await asyncio.to_thread(self._count)
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait([work])

    async def _left(self, job: Job, place: Path) -> str:
        """Remove the files of a job that was cancelled; those of one that is another's now are needed."""
        now = await asyncio.to_thread(self._store.get, job.id)
        if now is not None and now.state != "cancelled":
            return "left"
        shutil.rmtree(place, ignore_errors=True)
        return "cancelled"
