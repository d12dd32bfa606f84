"""What is recommended: the catalogue kept in memory, and the models that choose from it, replaced by new champions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import structlog

import backbeat
from backbeat.analysis.analyzer import origin_of
from backbeat.errors import BackbeatError, CatalogueError
from backbeat.monitoring.rows import lineage_of
from backbeat.recommend.items import KINDS
from serving import metrics
from serving.analysing import NOT_READY, Queue
from serving.cataloguing import open_catalogue
from serving.champions import CHOOSERS, folders_that_worked, folders_told, remember
from serving.problems import CATALOGUE_AWAY, Problem, problem_of
from serving.settings import CHOOSING, Settings

if TYPE_CHECKING:
    from backbeat.listening.model import ListeningModel
    from backbeat.model import ModelSpec
    from backbeat.pairing.model import PairingModel
    from backbeat.recommend.beats.selecting import BeatSelector
    from backbeat.recommend.catalogue import Catalogue
    from backbeat.recommend.catalogue.database import State
    from backbeat.recommend.tracks import TrackRecommender


_LOG = structlog.get_logger("serving.recommending")
_SHIPPED = Path(backbeat.__file__).parent / "weights"
_AGAIN_S = 5.0
T = TypeVar("T")
Model: TypeAlias = "PairingModel | ListeningModel"


@dataclass(frozen=True)
class Loaded:
    """A model, and where it is from: "registry", "folder" or "package"."""

    model: Model
    source: str


@dataclass(frozen=True, eq=False)
class Chooser:
    """The catalogue, and what chooses from it by the models of one moment: a request keeps it to its end.

    `lineage` leads from each model back to its data, `spaces` are those of the catalogue's vectors.
    """

    catalogue: Catalogue
    beats: BeatSelector
    tracks: TrackRecommender
    pairing: PairingModel | None
    specs: dict[str, ModelSpec]
    lineage: dict[str, dict[str, Any]]
    spaces: tuple[str, ...] = ()


class Recommending:
    """The chooser that is in use, and the queue of those who want it; nothing is opened before `start`."""

    def __init__(self, settings: Settings) -> None:
        wanted = settings.recommend
        self._settings = settings
        self._queue = Queue(wanted.at_once, wanted.waiting)
        self._threads = ThreadPoolExecutor(wanted.at_once, "backbeat-choosing")
        self._catalogue: Catalogue | None = None
        self._models: dict[str, Loaded | None] = {}
        self._told: dict[str, Path | None] = {}
        self._chooser: Chooser | None = None
        self._away: Problem = NOT_READY
        self._seen: State | None = None
        self._watch: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()

    @property
    def chooser(self) -> Chooser:
        """What chooses now; Problem until there is something."""
        if self._chooser is None:
            raise self._away
        return self._chooser

    @property
    def most(self) -> int:
        """The most answers of one request."""
        return self._settings.recommend.answers

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """The models in use by task: the way back to its data, and the scores, of each."""
        if self._chooser is None:
            return {}
        specs = self._chooser.specs
        return {task: {**told, "metrics": specs[task].metrics} for task, told in self._chooser.lineage.items()}

    async def choose(self, work: Callable[[Chooser], T]) -> T:
        """Wait for one's turn, and choose, in a thread.

        Raises
        ------
        Problem
            If there is nothing to choose from yet, too many wait, or it takes too long.
        """
        limit_s = self._settings.limits.request_s
        chooser = self.chooser
        async with self._queue.place(), self._queue.turn():
            try:
                async with asyncio.timeout(limit_s):
                    with metrics.stage("choose"):
                        return await asyncio.get_running_loop().run_in_executor(self._threads, _chosen, work, chooser)
            except TimeoutError:
                raise Problem("timed_out", f"the work took longer than {limit_s:g} s", {"Retry-After": "30"}) from None

    def start(self) -> None:
        """Open the catalogue, load the models, and keep both as they should be; at once."""
        self._watch = asyncio.create_task(self._keep())

    async def wait(self) -> None:
        """Wait until it is known whether there is something to choose from."""
        await self._looked.wait()

    async def close(self) -> None:
        """Stop, once what is at work is done."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        self._chooser = None
        await asyncio.to_thread(self._threads.shutdown)
        if self._catalogue is not None:
            await asyncio.to_thread(self._catalogue.close)

    async def _keep(self) -> None:
        """See to it that the chooser is what it should be."""
        by_registry = bool(self._settings.models.registry)
        told_away = 0.0
        while True:
            try:
                told = folders_told(self._settings, CHOOSING) if by_registry else {}
                if told is not None:
                    await asyncio.to_thread(self._renew, told)
                told_away = 0.0
            except BackbeatError as error:
                self._away = CATALOGUE_AWAY if isinstance(error, CatalogueError) else problem_of(error)
                if not told_away:
                    _LOG.error("recommending_away", message=str(error))
                told_away = time.monotonic()
            except Exception:
                _LOG.exception("fault")
            self._looked.set()
            await asyncio.sleep(_AGAIN_S if told_away else self._settings.recommend.fresh_s)

    def _renew(self, told: dict[str, Path]) -> None:
        """Take new champions into use, and the catalogue as it is now into memory."""
        if self._catalogue is None:
            import threadpoolctl

            # A product with the vectors of all items waits for memory: threads of BLAS only wait for each other.
            threadpoolctl.threadpool_limits(self._settings.models.threads, "blas")
            self._catalogue = open_catalogue(self._settings)
        changed = [task for task in CHOOSING if self._told.get(task, Path()) != told.get(task)]
        for task in changed:
            self._told[task] = told.get(task)
            self._take(task, told.get(task))
        with self._catalogue.still() as state:
            chooser = self._chooser
            if changed or chooser is None:
                chooser, self._seen = self._made(self._catalogue), None
            if self._seen is None or self._seen.items != state.items:
                chooser = replace(chooser, spaces=in_memory(self._catalogue))
            if self._seen is None or self._seen.revision != state.revision:
                try_out(chooser)
            self._chooser, self._seen = chooser, state

    def _take(self, task: str, champion: Path | None) -> None:
        """Load the model that a task should have; one that does not load is refused, and the one in use stays."""
        before = self._models.get(task)
        own = self._settings.models.folders.get(task)
        spare = [("folder", Path(own))] if own else [("package", _SHIPPED / task)]
        if champion is not None:
            worked = folders_that_worked(self._settings, CHOOSERS).get(task)
            rest = [] if before else [("registry", worked), *spare] if worked else spare
            spare = [("registry", champion), *rest]
        for source, folder in spare:
            if source == "package" and not folder.is_dir():
                break
            try:
                found = Loaded(load(task, folder), source)
            except Exception as error:
                metrics.MODEL_CHANGES.labels("refused").inc()
                _LOG.error("models_not_loaded", task=task, message=str(error))
                continue
            self._in_use(task, before, found)
            if source == "registry":
                others = folders_that_worked(self._settings, CHOOSERS)
                remember(self._settings, {**others, task: folder}, CHOOSERS)
            return
        self._models.setdefault(task, None)

    def _in_use(self, task: str, before: Loaded | None, found: Loaded) -> None:
        if before is not None:
            old = before.model.spec
            metrics.MODEL.labels(task, old.name, old.version).set(0)
            metrics.MODEL_CHANGES.labels("done").inc()
        self._models[task] = found
        spec = found.model.spec
        metrics.MODEL.labels(task, spec.name, spec.version).set(1)
        _LOG.info("ready", models={task: f"{spec.name} {spec.version}"})

    def _made(self, catalogue: Catalogue) -> Chooser:
        from backbeat.recommend.beats.selecting import BeatSelector
        from backbeat.recommend.tracks import TrackRecommender

        there = {task: found for task, found in self._models.items() if found is not None}
        models: dict[str, Any] = {task: found.model for task, found in there.items()}
        specs = {task: model.spec for task, model in models.items()}
        lineage = lineage_of(
            {task: origin_of(spec) for task, spec in specs.items()},
            specs,
            {task: found.source for task, found in there.items()},
        )
        return Chooser(
            catalogue=catalogue,
            beats=BeatSelector(catalogue, models.get("pairing")),
            tracks=TrackRecommender(catalogue, models.get("listening")),
            pairing=models.get("pairing"),
            specs=specs,
            lineage=lineage,
        )


def _chosen(work: Callable[[Chooser], T], chooser: Chooser) -> T:
    # Of one state of the catalogue, whatever others write meanwhile.
    with chooser.catalogue.still():
        return work(chooser)


def load(task: str, folder: Path) -> Model:
    """Load what beats or tracks are chosen by; ModelError where it is missing or damaged."""
    if task == "pairing":
        from backbeat.pairing.model import PairingModel

        return PairingModel.from_folder(folder)
    from backbeat.listening.model import ListeningModel

    return ListeningModel.from_folder(folder)


def in_memory(catalogue: Catalogue) -> tuple[str, ...]:
    """Bring the catalogue into memory, for which whoever comes first would wait; return its spaces."""
    spaces = tuple(catalogue.spaces())
    for kind in KINDS:
        metrics.CATALOGUE.labels(kind).set(len(catalogue.table(kind)))
        for space in spaces:
            catalogue.vectors(space, kind)
    return spaces


def try_out(chooser: Chooser) -> None:
    """Choose once of each kind, so that what is made at its first use is there."""
    beats, tracks = (chooser.catalogue.table(kind).ids[:1] for kind in ("beat", "track"))
    # It may be that nothing fits, or a model does not: whoever asks is told.
    for first in beats:
        with suppress(BackbeatError):
            chooser.beats.select(chooser.catalogue.get(first), count=1)
    for first in tracks:
        with suppress(BackbeatError):
            chooser.tracks.recommend(likes=(first,), count=1)
