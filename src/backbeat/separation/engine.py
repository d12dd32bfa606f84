"""Separation for programs that do several things at once: files in, stems out, without blocking the event loop.

::

    engine = SeparationEngine()
    await engine.initialize("spleeter:4stems")
    made = await engine.separate("song.mp3", "spleeter:4stems", "out")
    results = await engine.batch_separate(songs, "spleeter:2stems", "out", progress=print)

Work runs on threads, as many files at once as asked for; torch and the codecs let go of the interpreter while they
work. A call that is cancelled, or over its time, stops at the next segment and leaves nothing behind. A program that
does little else should call `allocator.keep_freed_memory` when it begins.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backbeat.audio.limits import AudioLimits
from backbeat.errors import BackbeatError, ConfigError, ResourceError, TimeLimitError
from backbeat.separation.cache import StemCache
from backbeat.separation.files import LONG, USUAL, Separated, SeparationOptions, separate_file, song_folders
from backbeat.separation.network import SeparatorNetwork
from backbeat.separation.store import SeparatorSpec, installed, load_network, locate, read_spec

#: Called with the file, the seconds of it that are done and the seconds in all.
EngineProgress = Callable[[Path, float, float], None]

#: Segments that go through the network together where nobody says otherwise.
USUAL_SEGMENTS = {"cpu": 1, "cuda": 4}

_LOG = logging.getLogger(__name__)
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Outcome:
    """What came of one file of a batch: stems, or the error: a `BackbeatError` unless this package is at fault."""

    path: Path
    separated: Separated | None = None
    error: Exception | None = None


@dataclass
class EngineStats:
    """What an engine has done since it was made.

    Parameters
    ----------
    files, skipped, cached, cancelled
        Files separated, left alone since they were done already, brought from the cache, and given up on request.
    failed
        Number of errors of each class.
    audio_s, work_s
        Seconds of audio separated, and the seconds that took.
    models
        Models in memory.
    """

    files: int = 0
    skipped: int = 0
    cached: int = 0
    cancelled: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    audio_s: float = 0.0
    work_s: float = 0.0
    models: tuple[str, ...] = ()


class _GiveUpError(Exception):
    """Unwinds a thread whose result nobody waits for any more."""


def chosen_device(name: str) -> str:
    """Return "cpu" or "cuda" for "auto", "cpu" or "cuda"; ConfigError where that is not to be had."""
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {name!r} is none of auto, cpu and cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device here: say cpu or auto")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


class SeparationEngine:
    """Separates files with models that stay in memory.

    Parameters
    ----------
    concurrency
        Files at once. One uses all cores already; two keep them busy while a file is decoded or written.
    device
        "auto", "cpu" or "cuda".
    segments_at_once
        See `separate_blocks`; None for 1 on a processor and 4 on a GPU.
    cache
        Where stems are looked for before they are made, and kept after.
    root
        Where pulled models lie; `models_folder()` when left out.
    limits
        The bytes and seconds that a file may have.

    Raises
    ------
    ConfigError
        If a number or the device makes no sense here.
    """

    def __init__(
        self,
        *,
        concurrency: int = 1,
        device: str = "auto",
        segments_at_once: int | None = None,
        cache: StemCache | None = None,
        root: Path | None = None,
        limits: AudioLimits = LONG,
    ) -> None:
        if concurrency < 1 or (segments_at_once is not None and segments_at_once < 1):
            raise ConfigError("concurrency and segments_at_once must be 1 or more")
        self.device = chosen_device(device)
        self.segments_at_once = segments_at_once or USUAL_SEGMENTS[self.device]
        self.cache = cache
        self._root = root
        self._limits = limits
        self._threads = ThreadPoolExecutor(concurrency, "backbeat-separation")
        self._networks: dict[Path, tuple[SeparatorSpec, SeparatorNetwork]] = {}
        self._loading = threading.Lock()
        self._closed = False
        self._counting = threading.Lock()
        self._stats = EngineStats()
        self._failed: Counter[str] = Counter()

    async def initialize(self, *models: str) -> None:
        """Load models, so that the first file need not wait; ModelError when one is not installed."""
        for model in models:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._network, model)

    def available_models(self) -> list[SeparatorSpec]:
        """Return the specifications of all models that are installed."""
        return [read_spec(folder) for folder in installed(self._root)]

    def stats(self) -> EngineStats:
        """Return what has been done so far."""
        with self._counting:
            told = EngineStats(**{**vars(self._stats), "failed": dict(self._failed)})
        told.models = tuple(spec.label for spec, _ in self._networks.values())
        return told

    async def close(self) -> None:
        """Wait for what runs and let the models go."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)
        self._networks.clear()

    async def __aenter__(self) -> SeparationEngine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def separate(
        self,
        path: Path | str,
        model: str,
        output_dir: Path | str,
        options: SeparationOptions = USUAL,
        *,
        timeout_s: float | None = None,
        progress: EngineProgress | None = None,
    ) -> Separated:
        """Separate one file into `output_dir`, a file a stem (`separate_file`).

        Parameters
        ----------
        path, model, output_dir
            The audio, "spleeter:4stems" or a model folder, and where the stems go.
        options
            What is wanted.
        timeout_s
            The longest that it may run, not counting the wait for its turn.
        progress
            Called from a thread.

        Raises
        ------
        AudioError, ModelError, ConfigError
            As `separate_file` and `store.find` say.
        ResourceError
            If memory or the disk is full, or a folder cannot be written.
        TimeLimitError
            If it took longer than `timeout_s`.
        """
        if timeout_s is not None and not timeout_s > 0:
            raise ConfigError(f"a time limit of {timeout_s:g} s leaves no time")
        if self._closed:
            raise ConfigError("the engine was closed")
        stop = threading.Event()
        job = self._threads.submit(self._work, Path(path), model, Path(output_dir), options, timeout_s, progress, stop)
        working = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            stop.set()
            if job.cancel():  # its turn had not come
                with self._counting:
                    self._stats.cancelled += 1
            else:
                # The caller is told when nothing is written any more.
                await asyncio.wait([working])
                working.exception()
            raise

    async def batch_separate(
        self,
        paths: Sequence[Path | str],
        model: str,
        output_dir: Path | str,
        options: SeparationOptions = USUAL,
        *,
        timeout_s: float | None = None,
        progress: EngineProgress | None = None,
        finished: Callable[[Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Separate several files, each into a folder of its own under `output_dir` (`song_folders`).

        Parameters
        ----------
        paths, model, output_dir, options, timeout_s, progress
            As for `separate`.
        finished
            Called with each outcome as it comes.

        Returns
        -------
        An outcome for each file, in their order; one that fails stops none of the others.
        """
        if isinstance(paths, str | Path):
            raise ConfigError("several files are asked for: give a list of them")
        songs = [Path(path) for path in paths]

        async def one(song: Path, name: str) -> Outcome:
            try:
                place = Path(output_dir) / name
                done = await self.separate(song, model, place, options, timeout_s=timeout_s, progress=progress)
                outcome = Outcome(song, done)
            except Exception as error:  # the other files have no part in a fault, of `progress` say
                if not isinstance(error, BackbeatError):
                    _LOG.exception("%s: failed for a reason that nobody foresaw", song)
                outcome = Outcome(song, error=error)
            if finished:
                finished(outcome)
            return outcome

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(*pair)) for pair in zip(songs, song_folders(songs), strict=True)]
        return [task.result() for task in tasks]

    def _network(self, model: str) -> tuple[SeparatorSpec, SeparatorNetwork]:
        folder = locate(model, self._root).resolve()
        with self._loading:
            if folder not in self._networks:
                self._networks[folder] = read_spec(folder), load_network(folder).to(self.device)
            return self._networks[folder]

    def _work(
        self,
        path: Path,
        model: str,
        folder: Path,
        options: SeparationOptions,
        timeout_s: float | None,
        progress: EngineProgress | None,
        stop: threading.Event,
    ) -> Separated:
        begun = time.monotonic()
        heard_s = 0.0

        def step(done_s: float, total_s: float) -> None:
            nonlocal heard_s
            heard_s = done_s
            if stop.is_set():
                raise _GiveUpError
            if timeout_s is not None and time.monotonic() - begun > timeout_s:
                raise TimeLimitError(
                    f"{path}: was not separated within {timeout_s:g} s: {done_s:.0f} s of {total_s:.0f} s were done"
                )
            if progress:
                progress(path, done_s, total_s)

        try:
            spec, network = self._network(model)
            done = separate_file(
                path,
                folder,
                network,
                spec.label,
                options,
                segments_at_once=self.segments_at_once,
                cache=self.cache,
                progress=step,
                limits=self._limits,
            )
        except BaseException as error:
            told = in_the_tree(error, path, folder)
            with self._counting:
                if isinstance(told, _GiveUpError):
                    self._stats.cancelled += 1
                else:
                    self._failed[type(told).__name__] += 1
            if told is error:
                raise
            raise told from error
        with self._counting:
            self._stats.files += not (done.skipped or done.cached)
            self._stats.skipped += done.skipped
            self._stats.cached += done.cached
            self._stats.audio_s += heard_s
            self._stats.work_s += time.monotonic() - begun
        return done


def in_the_tree(error: BaseException, path: Path, folder: Path) -> BaseException:
    """Return what an error is for who called: what the machine lacks is a `ResourceError`, all else as it is."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return ResourceError(f"{path}: does not fit into memory: separate fewer files or segments at once")
    if isinstance(error, OSError):
        cause = "the disk is full" if error.errno in _NO_ROOM else f"cannot be written: {error.strerror or error}"
        return ResourceError(f"{folder}: {cause}")
    return error


def describe(stats: EngineStats) -> dict[str, Any]:
    """Return statistics as plain values for JSON, with the seconds of work for a second of audio."""
    return {**vars(stats), "s_per_s": round(stats.work_s / stats.audio_s, 5) if stats.audio_s else None}
