"""Decoding in processes of its own: what a hostile file does there ends there.

Each process has a limit on memory, each file one on time. A process that dies or hangs is replaced, and the file that
it worked on is answered for.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from pebble import CONSTS, ProcessExpired, ProcessPool

from backbeat.analysis.hearing import Heard
from backbeat.audio.limits import AudioLimits
from backbeat.errors import AudioLimitError, DamagedAudioError, ResourceError, TimeLimitError
from serving.settings import sockets_fit

if TYPE_CHECKING:
    from backbeat.features import LogMel

_LOG = structlog.get_logger("serving.hearing")
_front_end: LogMel | None = None
# What is told to end does not listen (`preloaded`): it is killed, soon.
CONSTS.term_timeout = 0.1


def _begin(model: Path, extra_bytes: int) -> None:
    """Get a process ready: load the front end, then limit the memory that may come on top."""
    global _front_end
    import serving.preloaded  # noqa: F401 (is there, unless the process was spawned)
    from backbeat.features import LogMel
    from backbeat.model import load_spec

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this
    _front_end = LogMel(load_spec(model, "beat").features)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with Path("/proc/self/statm").open() as stream:
        used = int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + extra_bytes, used + extra_bytes))


def _ready() -> bool:
    return _front_end is not None


def _hear(path: str, limits: AudioLimits, describe: bool, fingerprints: bool) -> Heard:
    from backbeat.analysis.hearing import hear

    assert _front_end is not None  # noqa: S101 (the initializer has run)
    with _stderr_shut():
        return hear(path, _front_end, limits, outline_points=0, describe=describe, fingerprints=fingerprints)


@contextmanager
def _stderr_shut() -> Iterator[None]:
    """Keep what the C libraries say of a damaged file out of the logs: it can be much, and of the caller's choosing."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class HearingPool:
    """Processes that hear files.

    Parameters
    ----------
    model
        The folder of a beat model, whose front end all models share.
    processes
        How many.
    seconds, extra_bytes
        The longest that a file may take, and the memory that it may need.
    """

    def __init__(self, model: Path, processes: int, seconds: float, extra_bytes: int) -> None:
        self._seconds = seconds
        # Forks of a process that has imported what is needed and has no threads: a new one is ready at once.
        forked = sockets_fit()
        context = multiprocessing.get_context("forkserver" if forked else "spawn")
        if forked:
            context.set_forkserver_preload(["serving.preloaded"])
        self._make = partial(
            ProcessPool,
            processes,
            max_tasks=500,  # so that what a library leaks goes with its process
            initializer=_begin,
            initargs=(model, extra_bytes),
            context=context,
        )
        self._pool = self._make()
        self._closed = False

    async def start(self) -> None:
        """Wait until one of the processes is ready; the others come by themselves.

        Raises
        ------
        ResourceError
            If they do not start.
        """
        await self._run(_ready)

    async def _run(self, work: Callable[..., Any], *args: object, seconds: float | None = None) -> Any:
        """Have work done by a process; where the pool is broken, by a new one.

        It breaks when one dies that has nothing to do, or that starts: killed because memory is short, say.
        """
        for _ in range(2):
            pool = self._pool
            try:
                # In a thread: the first of a pool waits until there is something to fork.
                job = await asyncio.to_thread(pool.schedule, work, args=args, timeout=seconds)
            except RuntimeError:  # as it says that it is broken
                self._replace(pool)
                continue
            try:
                return await asyncio.wrap_future(job)
            except BrokenProcessPool:
                self._replace(pool)
        raise ResourceError("the processes that decode do not start")

    def _replace(self, pool: ProcessPool) -> None:
        """Put a new pool in the place of a broken one, unless another request has."""
        if self._pool is pool and not self._closed:
            _LOG.error("hearing_broken")
            self._pool = self._make()
            threading.Thread(target=_end, args=(pool,), name="backbeat-hearing-end", daemon=True).start()

    async def hear(
        self, path: Path, limits: AudioLimits, *, describe: bool = False, fingerprints: bool = False
    ) -> Heard:
        """Hear a file; `describe` and `fingerprints` are those of `backbeat.analysis.hearing.hear`.

        Raises
        ------
        AudioError
            If it cannot be heard, is over the limits, or brought its process down.
        TimeLimitError
            If it took too long.
        ResourceError
            If there is no process to hear it.
        """
        try:
            heard: Heard = await self._run(_hear, str(path), limits, describe, fingerprints, seconds=self._seconds)
            return heard
        except TimeoutError:
            raise TimeLimitError(f"the file was not decoded within {self._seconds:g} s") from None
        except ProcessExpired:
            raise DamagedAudioError(path, "made the decoder fail") from None
        except MemoryError:
            raise AudioLimitError(path, "needs more memory to decode than is allowed") from None
        except RuntimeError as error:
            if "memory" in str(error).lower():  # as torch says it
                raise AudioLimitError(path, "needs more memory to decode than is allowed") from None
            raise

    def close(self) -> None:
        """End the processes."""
        self._closed = True
        _end(self._pool)


def _end(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()
