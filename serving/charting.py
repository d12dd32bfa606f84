"""Chart making as the work of jobs: by the models that the service analyses with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backbeat.analysis.result import TASKS
from backbeat.files import write_json
from serving.champions import folders_that_worked
from serving.jobs import INPUT, KINDS, REPORT, Job
from serving.settings import Settings
from serving.working import Report

if TYPE_CHECKING:
    from backbeat.charts.making import ChartMaker


class _GiveUpError(Exception):
    """Unwinds a thread whose result nobody waits for any more."""


class Charting:
    """Makes drum charts (`serving.working.Kind`).

    Parameters
    ----------
    settings
        Of the service.
    load
        Makes what makes charts, from folders of models by task; those that ship serve the tasks without one.
    """

    def __init__(self, settings: Settings, load: Callable[[Mapping[str, Path]], ChartMaker] | None = None) -> None:
        self._settings = settings
        self._load = load or self._loaded
        self._maker: tuple[dict[str, Path], ChartMaker] | None = None
        self._threads = ThreadPoolExecutor(1, "backbeat-charting")

    async def run(self, job: Job, place: Path, report: Report) -> dict[str, str]:
        """Chart the file of a job; return all files of the chart, by their names."""
        stop = threading.Event()
        making = asyncio.get_running_loop().run_in_executor(self._threads, self._make, job, place, report, stop)
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            stop.set()
            # The worker is told when nothing is written any more.
            await asyncio.wait([making])
            making.exception()
            raise

    def count(self) -> None:
        """Tell nothing beyond the number of jobs."""

    def _make(self, job: Job, place: Path, report: Report, stop: threading.Event) -> dict[str, str]:
        # Here, since torch comes with it: the service is to start before that is there.
        from backbeat.charts.making import ChartOptions, labels_of
        from backbeat.separation.engine import in_the_tree

        def step(_: str, share: float) -> None:
            if stop.is_set():
                raise _GiveUpError
            report(share)

        song, folder = place / INPUT, place / KINDS["chart"]
        try:
            options = ChartOptions.from_dict(job.request["options"])
            title, _ = labels_of(song, options)
            if title == INPUT:  # neither asked for nor in its tags: here it has a name of ours
                options = replace(options, title=job.request["name"])
            # What a worker that died has left may be made by other models.
            made = self._ready().make(song, folder, options, replace=True, progress=step)
            write_json(place / REPORT, made.report)
        except (MemoryError, OSError, RuntimeError) as error:
            if (known := in_the_tree(error, song, folder)) is not error:
                raise known from error
            raise
        return {path.name: path.name for path in made.folder.iterdir() if path.is_file()}

    def _ready(self) -> ChartMaker:
        """Return what makes charts, with the models in use now: those of the settings and, before them, champions."""
        models = self._settings.models
        folders = {task: Path(folder) for task, folder in models.folders.items() if task in TASKS}
        if models.registry:
            # Those that the service itself has taken into use, not those that it might refuse.
            folders |= folders_that_worked(self._settings)
        if self._maker is None or self._maker[0] != folders:
            self._maker = folders, self._load(folders)
        return self._maker[1]

    def _loaded(self, folders: Mapping[str, Path]) -> ChartMaker:
        from backbeat.charts.making import ChartMaker

        return ChartMaker.load(folders, limits=self._settings.limits.audio)
