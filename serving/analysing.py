"""From an upload to an answer: heard in processes, judged by models that requests share, a bounded number at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from backbeat.analysis import Analyzer, GenreGuess, ModelOrigin
from backbeat.analysis.analyzer import Judgement, shipped_models
from backbeat.analysis.hearing import Heard
from backbeat.analysis.result import TASKS
from backbeat.audio.limits import AudioLimits
from backbeat.errors import BackbeatError
from backbeat.monitoring.rows import lineage_of
from serving import metrics
from serving.champions import folders_that_worked, folders_told, remember
from serving.hearing import HearingPool
from serving.problems import Problem
from serving.settings import Settings

if TYPE_CHECKING:
    from backbeat.analysis.describing import Described
    from backbeat.features import FeatureParams
    from backbeat.pairing.model import PairingModel

_LOG = structlog.get_logger("serving.analysing")
_LOOK_S, _AGAIN_S = 1.0, 10.0
#: Rate, and samples, of the second of noise that models are tried on.
_TRIAL_HZ = 22050

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


class Ears:
    """Models of one moment, and the processes that decode for them: a request keeps them to its end.

    `lineage` leads from each model back to its data.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        sources: dict[str, str],
        pool: HearingPool,
        workers: ThreadPoolExecutor,
        audio: AudioLimits,
    ) -> None:
        self.analyzer, self.sources, self.pool = analyzer, sources, pool
        self.lineage = lineage_of(analyzer.models, analyzer.specs, sources)
        self._workers, self._audio = workers, audio
        self._users = 0
        self._free = asyncio.Event()
        self._free.set()

    @property
    def models(self) -> dict[str, ModelOrigin]:
        """Where answers come from, by task."""
        return self.analyzer.models

    @property
    def features(self) -> FeatureParams:
        """The spectrograms that the models were trained on."""
        return self.analyzer.specs["beat"].features

    @contextmanager
    def used(self) -> Iterator[None]:
        """Hold them for the length of a block."""
        self._users += 1
        self._free.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._free.set()

    async def close(self, pool: bool) -> None:
        """Wait until nobody holds them, and end them; the processes too, if others do not go on with them."""
        await self._free.wait()
        await asyncio.to_thread(self.analyzer.close)
        if pool:
            await asyncio.to_thread(self.pool.close)

    async def hear(self, path: Path, *, describe: bool = False, fingerprints: bool = False) -> Heard:
        """Decode a file and make its spectrogram, or more than that; arguments and errors as `HearingPool.hear`."""
        with metrics.stage("hear"):
            heard = await self.pool.hear(path, self._audio, describe=describe, fingerprints=fingerprints)
        metrics.AUDIO.inc(heard.duration_s)
        return heard

    async def judge(self, heard: Heard, fields: Collection[str]) -> Judgement:
        """Return fields of the analysis of what was heard."""
        with metrics.stage("judge"):
            judgement: Judgement = await self._apart(partial(self.analyzer.judge_fields, heard, fields))
        return judgement

    async def describe(self, heard: Heard, sha256: str, pairing: PairingModel | None) -> tuple[Described, Judgement]:
        """Return what is told of a recording that was heard with `describe`, and what monitoring keeps of it."""

        def work() -> tuple[Described, Judgement]:
            from backbeat.analysis.describing import Describer

            return Describer(self.analyzer, pairing).judged(heard, sha256)

        with metrics.stage("judge"):
            found: tuple[Described, Judgement] = await self._apart(work)
        return found

    async def embed(self, heard: Heard) -> list[float]:
        """Return the numbers that the genre is told by, of what was heard."""
        with metrics.stage("judge"):
            features = await self._apart(partial(self.analyzer.genre_features, heard))
        return [round(float(value), 6) for value in features]

    def genre(self, features: list[float]) -> GenreGuess:
        """Return the genre that such numbers tell, in microseconds; ConfigError for another number of them."""
        return self.analyzer.genre_of(np.array(features, np.float32))

    async def _apart(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)


class Hearing:
    """The ears that are in use, and the queue of those who want them; nothing is loaded before `start`."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self._settings = settings
        self.queue = Queue(limits.at_once, limits.waiting)
        self._threads = ThreadPoolExecutor(limits.at_once, "backbeat-judging")
        self._ears: Ears | None = None
        self._watch: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        for outcome in ("done", "refused"):
            metrics.MODEL_CHANGES.labels(outcome)  # counts from 0, so that the first is seen to be one

    @property
    def ready(self) -> bool:
        """Whether there are ears."""
        return self._ears is not None

    @property
    def ears(self) -> Ears:
        """Those in use now; Problem until there are some."""
        if self._ears is None:
            raise NOT_READY
        return self._ears

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Ears]:
        """Wait for one's turn, and get the ears for it; the place in the queue is the caller's."""
        async with self.queue.turn():
            ears = self.ears
            with ears.used():
                yield ears

    def start(self) -> None:
        """Load the models and start the processes, and again whenever the registry has another champion; at once."""
        self._watch = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Stop, once what is at work is done."""
        if self._watch is not None:
            self._watch.cancel()
        ears, self._ears = self._ears, None
        if ears is not None:
            await ears.close(pool=True)
        if self._retiring:
            await asyncio.wait(self._retiring)
        await asyncio.to_thread(self._threads.shutdown)

    async def _keep(self) -> None:
        """See to it that the ears are those that they should be."""
        seen: dict[str, Path] | None = None
        tried = 0.0
        by_registry = bool(self._settings.models.registry)
        while True:
            told = folders_told(self._settings, TASKS) if by_registry else {}
            # A champion that was refused is tried no more; but with no ears at all it may help to wait and try again.
            again = not self.ready and time.monotonic() - tried > _AGAIN_S
            if (told != seen or again) and told is not None:
                seen, tried = told, time.monotonic()
                if not await self._tried(told) and by_registry and not self.ready:
                    # Rather those before, or those without a registry, than none.
                    await self._tried(folders_that_worked(self._settings)) or await self._tried({})
            if self.ready and not by_registry:
                return
            await asyncio.sleep(_LOOK_S)

    async def _tried(self, champions: dict[str, Path]) -> bool:
        """Tell whether champions, and the models of the other tasks, could be taken into use."""
        try:
            await self._renew(champions)
        except BackbeatError as error:
            _LOG.error("models_not_loaded", message=str(error))
        except Exception:
            _LOG.exception("models_not_loaded")
        else:
            return True
        metrics.MODEL_CHANGES.labels("refused").inc()
        return False

    async def _renew(self, champions: dict[str, Path]) -> None:
        """Load what is to be used and, once it works, put it in the place of what is used.

        Raises
        ------
        ModelError
            If a model is missing or damaged; then all stays as it was.
        """
        own = {task: Path(folder) for task, folder in self._settings.models.folders.items() if task in TASKS}
        folders = own | champions
        beat = {**shipped_models(), **folders}["beat"]
        old = self._ears
        if old is not None and await asyncio.to_thread(_features, beat) == old.features:
            pool = old.pool
        else:
            # The processes make spectrograms: others only for models that were trained on others.
            pool = self._pool(beat)
        loading = asyncio.create_task(asyncio.to_thread(self._load, folders))
        try:
            await pool.start()
            analyzer = await loading
            # Before anybody is answered by them: who stops right after that has not forgotten them.
            if champions:
                await asyncio.to_thread(remember, self._settings, champions)
        except BaseException:
            if old is None or pool is not old.pool:
                await asyncio.to_thread(pool.close)
            with suppress(Exception):
                (await loading).close()
            raise
        sources = {task: "registry" if task in champions else "folder" if task in own else "package" for task in TASKS}
        self._ears = Ears(analyzer, sources, pool, self._threads, self._settings.limits.audio)
        if old is not None:
            for task, origin in old.models.items():
                metrics.MODEL.labels(task, origin.name, origin.version).set(0)
            retiring = asyncio.create_task(old.close(pool=pool is not old.pool))
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
            metrics.MODEL_CHANGES.labels("done").inc()
        for task, origin in self._ears.models.items():
            metrics.MODEL.labels(task, origin.name, origin.version).set(1)
        _LOG.info("ready", models={task: f"{one.name} {one.version}" for task, one in self._ears.models.items()})

    def _pool(self, model: Path) -> HearingPool:
        limits = self._settings.limits
        return HearingPool(model, limits.hearing_processes, limits.hearing_s, limits.hearing_bytes)

    def _load(self, folders: dict[str, Path]) -> Analyzer:
        import torch

        torch.set_num_threads(self._settings.models.threads)
        analyzer = Analyzer.load(folders)
        analyzer.share(
            self._settings.models.batch_windows, lambda task, rows: metrics.BATCHES.labels(task).observe(rows)
        )
        # Whoever comes first would wait for what is compiled at its first use; and a model that cannot is found out.
        noise = np.random.default_rng(0).standard_normal(_TRIAL_HZ).astype(np.float32)
        analyzer.analyze_audio(0.1 * noise, _TRIAL_HZ)
        return analyzer


def _features(folder: Path) -> FeatureParams:
    from backbeat.model import load_spec

    return load_spec(folder, "beat").features
