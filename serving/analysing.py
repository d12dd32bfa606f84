"""From an upload to an answer: heard in processes, judged by models that requests share, a bounded number at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from backbeat.analysis import Analyzer, GenreGuess, ModelOrigin
from backbeat.analysis.analyzer import shipped_models
from backbeat.analysis.hearing import Heard
from serving import metrics
from serving.hearing import HearingPool
from serving.problems import Problem
from serving.settings import Settings

NOT_READY = Problem("not_ready", "the models are being loaded", {"Retry-After": "2"})


class Queue:
    """Lets so many requests work at once, and so many wait; all others are told to come again."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._most = at_once + waiting
        self._turns = asyncio.Semaphore(at_once)
        self._here = 0
        self._mean_s = 1.0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Take a place in the queue, for as long as the request lasts; Problem when there is none."""
        if self._here >= self._most:
            wait_s = max(1, round(self._mean_s * self._most / 4))
            raise Problem("too_many", "the service is busy", {"Retry-After": str(wait_s)})
        self._here += 1
        metrics.WAITING.inc()
        try:
            yield
        finally:
            metrics.WAITING.dec()
            self._here -= 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn, and work."""
        async with self._turns:
            metrics.AT_WORK.inc()
            begun = asyncio.get_running_loop().time()
            try:
                yield
            finally:
                metrics.AT_WORK.dec()
                self._mean_s += 0.1 * (asyncio.get_running_loop().time() - begun - self._mean_s)


class Hearing:
    """The models, and the processes that decode for them; nothing is loaded before `start`."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self._settings = settings
        self._audio = limits.audio
        self.queue = Queue(limits.at_once, limits.waiting)
        self._threads = ThreadPoolExecutor(limits.at_once, "backbeat-judging")
        self._loaded: Analyzer | None = None
        self._pool: HearingPool | None = None
        self.ready = False

    @property
    def _analyzer(self) -> Analyzer:
        if self._loaded is None:
            raise NOT_READY
        return self._loaded

    @property
    def models(self) -> dict[str, ModelOrigin]:
        """Where answers come from, by task."""
        return self._analyzer.models

    async def start(self) -> None:
        """Load the models and start the processes, side by side.

        Raises
        ------
        ModelError
            If a model is missing or damaged.
        """
        limits = self._settings.limits
        folders = {task: Path(folder) for task, folder in self._settings.models.folders.items()}
        hears_for = {**shipped_models(), **folders}["beat"]
        self._pool = HearingPool(hears_for, limits.hearing_processes, limits.hearing_s, limits.hearing_bytes)
        _, self._loaded = await asyncio.gather(self._pool.start(), asyncio.to_thread(self._load, folders))
        for task, origin in self.models.items():
            metrics.MODEL.labels(task, origin.name, origin.version).set(1)
        self.ready = True

    def _load(self, folders: dict[str, Path]) -> Analyzer:
        import torch

        torch.set_num_threads(self._settings.models.threads)
        analyzer = Analyzer.load(folders)
        analyzer.share(
            self._settings.models.batch_windows, lambda task, rows: metrics.BATCHES.labels(task).observe(rows)
        )
        return analyzer

    async def close(self) -> None:
        """Stop, once what is at work is done."""
        self.ready = False
        await asyncio.to_thread(self._threads.shutdown)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.close)

    async def hear(self, path: Path) -> Heard:
        """Decode a file and make its spectrogram; errors as `HearingPool.hear`."""
        if self._pool is None:
            raise NOT_READY
        with metrics.stage("hear"):
            heard = await self._pool.hear(path, self._audio)
        metrics.AUDIO.inc(heard.duration_s)
        return heard

    async def judge(self, heard: Heard, fields: Collection[str]) -> dict[str, Any]:
        """Return fields of the analysis of what was heard."""
        with metrics.stage("judge"):
            answer: dict[str, Any] = await self._apart(partial(self._analyzer.judge_fields, heard, fields))
        return answer

    async def embed(self, heard: Heard) -> list[float]:
        """Return the numbers that the genre is told by, of what was heard."""
        with metrics.stage("judge"):
            features = await self._apart(partial(self._analyzer.genre_features, heard))
        return [round(float(value), 6) for value in features]

    def genre(self, features: list[float]) -> GenreGuess:
        """Return the genre that such numbers tell, in microseconds; ConfigError for another number of them."""
        return self._analyzer.genre_of(np.array(features, np.float32))

    async def _apart(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
