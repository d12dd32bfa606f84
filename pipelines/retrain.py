"""What `make retrain` does: train again if there is a reason, and have the gate decide on what came of it.

`python -m pipelines.retrain --because drift`
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from hydra import compose, initialize_config_dir

from backbeat.dataset import REGISTERED_TASKS
from backbeat.errors import ConfigError
from backbeat.monitoring.settings import load_monitoring
from backbeat.retraining.flow import REFUSED, Ways
from backbeat.retraining.parties import Case, Parties, Verdict
from backbeat.retraining.reasons import Reasons, Signs
from backbeat.retraining.running import Asked, Site, retrain
from backbeat.retraining.workspace import PARAMS, checkout_root
from backbeat.settings import read_settings
from backbeat.tracking import Tracking, sqlite_file
from pipelines.errors import errors_in_a_line
from pipelines.settings import CONF, plain, read, trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from omegaconf import DictConfig

    from backbeat.monitoring.store import MonitoringStore
    from backbeat.recommend.catalogue import Catalogue
    from backbeat.registry import Registry

ALL_REFUSED = 3


@dataclass(frozen=True)
class RetrainSettings:
    """What conf/retrain has.

    Parameters
    ----------
    tasks
        What is trained, of what the pipeline has.
    reasons, ways
        As `backbeat.retraining` has them.
    fine_tune
        Whether training goes on from the champions.
    """

    tasks: tuple[str, ...]
    reasons: Reasons
    ways: Ways
    fine_tune: bool


def main(
    because: Annotated[
        str,
        typer.Option(help="drift, corrections or schedule: look for this reason alone. Other words are a reason."),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Train, whether there is a reason or not.")] = False,
    fine_tune: Annotated[bool, typer.Option("--fine-tune", help="Go on from the champions' weights.")] = False,
    task: Annotated[list[str] | None, typer.Option(help="Only this task. May be given for each.")] = None,
    experiment: Annotated[str, typer.Option(help="How much of everything: demo, full, smoke.")] = "",
    restart: Annotated[bool, typer.Option("--restart", help="Throw away a run that was not finished.")] = False,
    commit: Annotated[bool, typer.Option("--commit/--no-commit", help="Commit and tag what came of it.")] = True,
    push: Annotated[bool, typer.Option("--push", help="Push data, branch and tags.")] = False,
) -> None:
    """Train again if there is a reason, and promote what is better than the champion.

    A run that was killed is carried on. Nothing in this checkout changes before all is decided.

        python -m pipelines.retrain

        python -m pipelines.retrain --because corrections --task beat --fine-tune

        python -m pipelines.retrain --because "new kit samples" --experiment full

    Exit codes: 0 promoted, or nothing to do; 3 all challengers refused; 6 another retraining is at work; 1 an error.
    """
    with errors_in_a_line():
        root = checkout_root(Path.cwd())
        os.chdir(root)
        with initialize_config_dir(CONF, version_base="1.3"):
            config = compose("config")
        settings = read_settings(RetrainSettings, plain(config.retrain))
        tracking = absolute(read(Tracking, config.tracking), root)
        asked = Asked(
            tasks=tasks_asked(root, settings, task or []),
            because=because.strip(),
            force=force,
            fine_tune=fine_tune or settings.fine_tune,
            experiment=_experiment(experiment),
            commit=commit,
            restart=restart,
        )
        ways = replace(settings.ways, push=settings.ways.push or push)
        site = Site(root, settings.reasons, ways, {"MLFLOW_TRACKING_URI": tracking.uri})
        with _Real(config, tracking) as real:
            outcome = retrain(site, asked, lambda: real.signs(asked.tasks), real.parties, _say)
    raise typer.Exit(ALL_REFUSED if outcome == REFUSED else 0)


def tasks_asked(root: Path, settings: RetrainSettings, asked: list[str]) -> tuple[str, ...]:
    """Return what is to be trained.

    Raises
    ------
    ConfigError
        If a task is asked for that the pipeline has not, or none is left.
    """
    has = yaml.safe_load((root / PARAMS).read_text(encoding="utf-8")).get("tasks") or {}
    known = [name for name in REGISTERED_TASKS if name in has]
    for name in asked:
        if name not in known:
            raise ConfigError(f"--task {name}: the pipeline trains {', '.join(known) or 'nothing'} (tasks in {PARAMS})")
    found = tuple(name for name in known if name in (asked or settings.tasks))
    if not found:
        raise ConfigError(f"there is nothing to train: conf/retrain names no task that {PARAMS} has")
    return found


def absolute(tracking: Tracking, root: Path) -> Tracking:
    """Return where runs are kept in words that mean the same in every folder; ConfigError without tracking."""
    if not tracking.uri:
        raise ConfigError("retraining needs a registry: MLFLOW_TRACKING_URI, or tracking=local")
    file = sqlite_file(tracking.uri)
    return tracking if file is None else replace(tracking, uri=f"sqlite:///{root / file}")


def _experiment(name: str) -> str:
    known = sorted(path.stem for path in (Path(CONF) / "experiment").glob("*.yaml"))
    if name and name not in known:
        raise ConfigError(f"--experiment {name}: there are {', '.join(known)}")
    return name


class _Real:
    """Registry, gate, corrections and catalogue as they are; opened when asked for."""

    def __init__(self, config: DictConfig, tracking: Tracking) -> None:
        self.config = config
        self.tracking = tracking
        self.watched = load_monitoring()
        self._registry: Registry | None = None
        self._monitoring: MonitoringStore | None = None
        self._catalogue: Catalogue | None = None

    def __enter__(self) -> _Real:
        return self

    def __exit__(self, *_: object) -> None:
        if self._monitoring is not None:
            self._monitoring.close()
        if self._catalogue is not None:
            self._catalogue.close()

    def registry(self) -> Registry:
        from backbeat.registry import Registry
        from backbeat.tracking import prepare_store

        if self._registry is None:
            prepare_store(self.tracking)
            self._registry = Registry(self.tracking.uri)
        return self._registry

    def monitoring(self) -> MonitoringStore | None:
        """Return the monitoring database; None where no service has made one."""
        if self._monitoring is None and self.watched.there:
            self._monitoring = self.watched.open_store()
        return self._monitoring

    def catalogue(self) -> Catalogue | None:
        """Return the catalogue; None where there is none."""
        from backbeat.errors import CatalogueError
        from backbeat.recommend.catalogue import Catalogue

        if self._catalogue is None:
            try:
                self._catalogue = Catalogue.open()
            except CatalogueError:
                return None
        return self._catalogue

    def signs(self, tasks: tuple[str, ...]) -> Signs:
        """Return what there is to decide by."""
        from backbeat.monitoring import feedback

        monitoring = self.monitoring()
        latest = monitoring.checks(1) if monitoring else []
        decided = {task: self._decided(task) for task in tasks}
        return Signs(
            decided=decided,
            drifted=datetime.fromtimestamp(latest[0]["at"], UTC) if latest and latest[0]["verdict"]["drift"] else None,
            pending=feedback.pending(monitoring) if monitoring else 0,
            checked=bool(latest),
            unwatched="" if monitoring else self.watched.nothing_here(),
            interactions=self._new_interactions(decided.get("listening")),
        )

    def _new_interactions(self, since: datetime | None) -> int | None:
        catalogue = self.catalogue()
        return None if catalogue is None else len(catalogue.interactions(since=since.timestamp() if since else None))

    def parties(self) -> Parties:
        """Return whom a retraining works with."""
        from backbeat.registry.ledger import author

        monitoring = self.monitoring()
        corrections = _Corrections(monitoring, self.watched.place("corrections")) if monitoring else None
        catalogue = self.catalogue()
        listeners = _Listeners(catalogue, self._genre_model) if catalogue else None
        return Parties(self.registry(), self._decide, corrections, author(), listeners)

    def _genre_model(self) -> Path:
        """Return the folder of the genre model that is served: the champion, or the one that ships."""
        from backbeat.analysis.analyzer import shipped_models

        champion = self.registry().champion("genre")
        if champion is None:
            return shipped_models()["genre"]
        return self.registry().fetch(champion, Path(self.config.paths.models) / ".versions")

    def _decided(self, task: str) -> datetime | None:
        made = [event.at for event in self.registry().history(task) if event.action in ("promote", "refuse")]
        champion = self.registry().champion(task)
        return max(made) if made else champion.registered if champion else None

    def _decide(self, case: Case) -> Verdict:
        import torch

        from backbeat.gate import GateSettings
        from backbeat.gate.flow import decide_and_record
        from pipelines.promote import gate_places

        torch.set_num_threads(trainer(self.config.trainer).threads)
        settings = read(GateSettings, self.config.gate)
        decision = decide_and_record(
            self.registry(),
            case.task,
            replace(settings, focus=tuple(dict.fromkeys([*settings.focus, *case.focus]))),
            gate_places(self.config.paths, case.tree, case.reports),
            self.tracking,
            challenger=case.challenger,
            who=case.who,
        )
        return Verdict(decision.promoted, decision.sentence)


class _Corrections:
    """The corrections of the monitoring database."""

    def __init__(self, monitoring: MonitoringStore, audio: Path) -> None:
        self.monitoring = monitoring
        self.audio = audio

    def pending(self) -> int:
        from backbeat.monitoring import feedback

        return feedback.pending(self.monitoring)

    def write(self, folder: Path) -> str:
        from backbeat.monitoring import feedback

        if not feedback.corrections(self.monitoring):
            return ""
        return feedback.write_corpus(self.monitoring, self.audio, folder)

    def mark(self, folder: Path) -> int:
        from backbeat.monitoring import feedback

        return feedback.mark(self.monitoring, folder)


class _Listeners:
    """What the listeners of the catalogue did, and the tracks as the genre model that is served hears them."""

    def __init__(self, catalogue: Catalogue, model: Callable[[], Path]) -> None:
        self.catalogue = catalogue
        self.model = model

    def write(self, folder: Path) -> str:
        from backbeat.files import sha256_file
        from backbeat.model import WEIGHTS, load_spec, space_of
        from backbeat.recommend.exporting import export_listeners

        if not len(self.catalogue.interactions()):
            return ""
        model = self.model()
        space, features = space_of("genre", sha256_file(model / WEIGHTS)), load_spec(model, "genre").features
        return export_listeners(self.catalogue, folder, space, features)


def _say(line: str) -> None:
    print(line, flush=True)


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    # To end what was begun, when told to stop.
    signal.signal(signal.SIGTERM, _leave)
    typer.run(main)
