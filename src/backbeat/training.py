"""Training any task: from labels, features and settings to a model folder, tracked and resumable."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from torch import Tensor, nn

import backbeat
from backbeat.augment import Augmentation
from backbeat.dataset import PIPELINE_TASKS, FeatureStore, LabelledTrack, content_hashes, read_labels
from backbeat.errors import ConfigError, CorpusError
from backbeat.features import FeatureParams
from backbeat.files import write_text
from backbeat.learning import Optimisation, TaskModule, WindowTask
from backbeat.model import ModelSpec, join_hashes, save_model, weights_of
from backbeat.separation.score import score_track
from backbeat.separation.stems import StemStore
from backbeat.separation.store import SeparatorSpec
from backbeat.separation.task import BatchFirst, SegmentData, SeparationSettings, SeparationTask
from backbeat.starting import take_weights
from backbeat.tracking import MODEL_FOLDER, Run, Tracking, environment, git_commit, tracked_run


@dataclass(frozen=True)
class TaskSettings:
    """What is trained.

    Parameters
    ----------
    name
        One of `dataset.REGISTERED_TASKS`.
    network, loss, decoding
        Keyword arguments of the task's network, loss and decoder.
    optimisation, augmentation
        How it is trained, and how training windows are varied.
    start_from
        What training goes on from: an MLflow run or a model folder; empty for new weights.
    """

    name: str
    network: dict[str, Any]
    loss: dict[str, Any]
    decoding: dict[str, Any]
    optimisation: Optimisation
    augmentation: Augmentation
    start_from: str = ""


@dataclass(frozen=True)
class TrainerSettings:
    """Where and how training runs.

    Parameters
    ----------
    seed
        Of the weights, the windows and the augmentation.
    accelerator, devices, precision
        As Lightning takes them: "auto" uses a GPU where there is one.
    threads
        Processor threads; results are the same only for the same number.
    progress
        Whether to show progress bars.

    Raises
    ------
    ConfigError
        If there are no threads.
    """

    seed: int
    accelerator: str
    devices: str
    precision: str
    threads: int
    progress: bool

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ConfigError("threads must be 1 or more")


@dataclass(frozen=True)
class Places:
    """Folders that training reads and writes.

    Parameters
    ----------
    labels, features
        As in `backbeat.dataset`.
    stems
        As in `backbeat.separation.stems`.
    listening
        As in `backbeat.listening.data`.
    output
        The model folder to write.
    checkpoints
        Where an interrupted training is found again.
    curves
        Learning curves, as CSV.
    lock
        The pipeline's `dvc.lock`, where the hashes of the corpora stand.
    """

    labels: Path
    features: Path
    stems: Path
    listening: Path
    output: Path
    checkpoints: Path
    curves: Path
    lock: Path


def task_class(name: str) -> type[TaskModule]:
    """Return the Lightning module of a task; ConfigError when there is no such task."""
    if name not in PIPELINE_TASKS:
        raise ConfigError(f"there is no task {name!r}; the tasks are {', '.join(PIPELINE_TASKS)}")
    module = import_module(f"backbeat.{name}.task")
    chosen: type[TaskModule] = getattr(module, f"{name.capitalize()}Task")
    return chosen


def data_hashes(places: Places, task: str) -> dict[str, str]:
    """Return each corpus's hash: DVC's for its folder where the pipeline has one, else of its labels' content."""
    hashes = {name: f"sha256:{value}" for name, value in content_hashes(places.labels, task).items()}
    if places.lock.is_file():
        stages = (yaml.safe_load(places.lock.read_text(encoding="utf-8")) or {}).get("stages", {})
        for name in hashes:
            for output in stages.get(f"corpus@{name}", {}).get("outs", []):
                if "md5" in output:
                    hashes[name] = f"md5:{output['md5']}"
    return hashes


def settings_class(name: str) -> type[TaskSettings] | type[SeparationSettings]:
    """Return the class of a task's settings."""
    return SeparationSettings if name == "separation" else TaskSettings


def train(
    task: TaskSettings | SeparationSettings,
    trainer: TrainerSettings,
    tracking: Tracking,
    places: Places,
    recorded: dict[str, Any],
    start: Path | None = None,
) -> ModelSpec | SeparatorSpec:
    """Train one task and write its model folder.

    A training that was interrupted goes on from its last epoch, provided that data and settings are the same; the
    result is the same as without the interruption.

    Parameters
    ----------
    recorded
        Parameters to record with the run: the whole configuration.
    start
        A model folder whose weights training begins with, of the same network; new weights when left out. Where its
        classes are others, its head is not taken.

    Raises
    ------
    CorpusError
        If labels, features or stems are missing, or a split that training needs is empty.
    ConfigError
        If settings do not fit the task.
    ModelError
        If the weights to begin with do not fit the network.
    """
    # One thread count, one order of additions: the same seed gives the same weights.
    torch.set_num_threads(trainer.threads)
    # Weights that decay towards nothing become denormal numbers, with which a processor is many times slower.
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    pl.seed_everything(trainer.seed, verbose=False)
    tracks = read_labels(places.labels, task.name)
    for split in ("train", "valid"):
        if not any(track.split == split for track in tracks):
            raise CorpusError(
                f"{places.labels / task.name}: the {split} split is empty, so {task.name} cannot be trained"
            )
    work = _prepare(task, tracks, places, trainer.seed)
    start_from = "" if start is None else take_weights(start, work.module, task.name, work.features)
    hashes = data_hashes(places, task.name)
    commit = git_commit()
    tags = {"task": task.name, "commit": commit, "data": join_hashes(hashes), "start": start_from}
    with tracked_run(tracking, f"{task.name}-{trainer.seed}", tags) as run:
        run.params(recorded)
        run.text(environment(), "environment.txt")
        for name, value in hashes.items():
            run.corpus(name, value.partition(":")[2], "training")
        history = _fit(work, task, trainer, places, {**hashes, "start": start_from}, run)
        work.module.eval()
        spec = work.finish(Origin(run.run_id, join_hashes(hashes), commit, licences(tracks), start_from))
        run.metrics({f"valid_{name}": value for name, value in spec.metrics.items()})
        run.model(*work.export(), "model")
        _write_curves(places.curves, history)
        save_model(places.output, work.module.network, spec, card(spec, tracks))
        run.files(places.output, MODEL_FOLDER)
    shutil.rmtree(places.checkpoints, ignore_errors=True)
    return spec


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, by the names of `ModelSpec`."""

    run: str
    data_hash: str
    commit: str
    licence: str
    start_from: str = ""


@dataclass(frozen=True)
class _Work:
    """What is trained on what, how its specification is made once that is done, and what the run keeps of it."""

    module: TaskModule
    data: pl.LightningDataModule
    finish: Callable[[Origin], ModelSpec | SeparatorSpec]
    #: A network that maps one tensor to one, and an example of its input.
    export: Callable[[], tuple[nn.Module, np.ndarray]]
    #: Of the spectrograms that it hears, where it hears such.
    features: FeatureParams | None = None


def _prepare(
    task: TaskSettings | SeparationSettings, tracks: Sequence[LabelledTrack], places: Places, seed: int
) -> _Work:
    if isinstance(task, SeparationSettings):
        return _prepare_separation(task, tracks, places, seed)
    if task.name == "listening":
        return _prepare_listening(task, tracks, places, seed)
    store = FeatureStore(places.features)
    features = store.params({track.corpus for track in tracks})
    try:
        made = task_class(task.name)(task.network, task.loss, task.optimisation, tracks, features, seed)  # type: ignore[call-arg, arg-type]
    except TypeError as error:
        raise ConfigError(f"the settings of task {task.name} do not fit it: {error}") from error
    module = cast(WindowTask, made)
    data = module.data(store, tracks, task.augmentation, seed)
    chosen_on = [track for track in tracks if track.split == "valid"]

    def finish(origin: Origin) -> ModelSpec:
        spec = _spec_of(task, module, features, origin)
        return _settled(spec, *module.settle(spec, store, chosen_on))

    # Two windows of silence.
    frames = round(task.optimisation.window_s * features.frame_rate_hz)
    silence = np.zeros((2, frames, features.mel_bands), dtype=np.float32)
    return _Work(module, data, finish, lambda: (module.exportable(), silence), features)


def _spec_of(task: TaskSettings, module: TaskModule, features: FeatureParams, origin: Origin) -> ModelSpec:
    return ModelSpec(
        task=task.name,
        name=f"backbeat-{task.name}",
        version=backbeat.__version__,
        network=dict(task.network),
        features=features,
        classes=tuple(module.classes),
        decoding=dict(task.decoding),
        **vars(origin),
    )


def _settled(spec: ModelSpec, decoding: dict[str, Any], metrics: Mapping[str, float]) -> ModelSpec:
    # As JSON gives it back, so that the specification in hand is the one on disk.
    return replace(spec, decoding=json.loads(json.dumps(decoding)), metrics=_rounded(metrics))


def _prepare_listening(task: TaskSettings, tracks: Sequence[LabelledTrack], places: Places, seed: int) -> _Work:
    from backbeat.listening.task import prepare

    module, data = prepare(task, tracks, places.listening, seed)

    def finish(origin: Origin) -> ModelSpec:
        spec = _spec_of(task, module, module.features, origin)
        return _settled(spec, *module.settle(spec, tracks))

    return _Work(module, data, finish, lambda: (module.exportable(), module.example()), module.features)


def _prepare_separation(task: SeparationSettings, tracks: Sequence[LabelledTrack], places: Places, seed: int) -> _Work:
    store = StemStore(places.stems)
    module = SeparationTask(task, seed)
    data = SegmentData(module, store, tracks, task.augmentation, seed)

    def finish(origin: Origin) -> SeparatorSpec:
        table = pd.DataFrame([score_track(module.network, module.instruments, store, one) for one in data.valid_tracks])
        return SeparatorSpec(
            name="backbeat-separation",
            version=backbeat.__version__,
            network=module.params,
            sha256=hashlib.sha256(weights_of(module.network)).hexdigest(),
            provenance={"instruments": " ".join(task.instruments)},
            metrics=_rounded({str(name): float(table[name].mean()) for name in table}),
            **vars(origin),
        )

    silence = np.zeros((2, 2, module.params.segment_frames, module.params.bins), dtype=np.float32)
    return _Work(module, data, finish, lambda: (BatchFirst(module.network), silence))


def _rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in metrics.items()}


def licences(tracks: Sequence[LabelledTrack]) -> str:
    """Join the licences of the tracks that the weights were made from, each named once."""
    named = {part for track in tracks if track.split != "test" for part in track.licence.split(" AND ") if part}
    return " AND ".join(sorted(named))


class _History(Callback):
    """Keeps each epoch's numbers and sends them to the run."""

    def __init__(self, run: Run, seen: list[dict[str, float]]) -> None:
        self.run = run
        self.rows = seen

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if isinstance(value, Tensor) and not name.endswith("_step")
        }
        self.rows.append({"epoch": trainer.current_epoch, **values})
        self.run.metrics(values, step=trainer.current_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows[:] = state_dict["rows"]


def _fit(
    work: _Work,
    task: TaskSettings | SeparationSettings,
    trainer: TrainerSettings,
    places: Places,
    origin: dict[str, str],
    run: Run,
) -> list[dict[str, float]]:
    """Run the epochs, load the best weights into the module, and return each epoch's numbers."""
    stamp = json.dumps([asdict(task), asdict(trainer), origin, backbeat.__version__], sort_keys=True)
    folder = places.checkpoints / hashlib.sha256(stamp.encode()).hexdigest()[:16]
    best = ModelCheckpoint(
        folder,
        "best",
        monitor="valid_loss",
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )
    # By itself: `save_last` would keep no epoch that is not better than all before.
    latest = ModelCheckpoint(folder, "last", enable_version_counter=False)
    history: list[dict[str, float]] = []
    callbacks: list[Callback] = [best, latest, _History(run, history)]
    if task.optimisation.patience:
        callbacks.append(EarlyStopping("valid_loss", patience=task.optimisation.patience))
    if trainer.progress:
        callbacks.append(RichProgressBar(leave=False))
    # Which processors there are, and what else one might install, is no news to who trains.
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Lightning's advice about loader workers and log intervals; batches are made in this process on purpose.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*use_deterministic_algorithms.*")
        warnings.filterwarnings("ignore", category=FutureWarning, module="pytorch_lightning.*")
        fitter = pl.Trainer(
            accelerator=trainer.accelerator,
            devices=trainer.devices,
            precision=trainer.precision,
            max_epochs=task.optimisation.epochs,
            gradient_clip_val=task.optimisation.clip,
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=trainer.progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            benchmark=False,
        )
        last = folder / "last.ckpt"
        fitter.fit(work.module, datamodule=work.data, ckpt_path=last if last.exists() else None, weights_only=False)
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=False)["state_dict"]
    work.module.load_state_dict(state)
    work.module.cpu()
    return history


def _write_curves(path: Path, history: list[dict[str, float]]) -> None:
    """Write learning curves as CSV, a row an epoch."""
    names = sorted({name for row in history for name in row} - {"epoch"})
    lines = [",".join(["epoch", *names])]
    lines += [
        ",".join([f"{row['epoch']:g}", *(f"{row.get(name, float('nan')):.6g}" for name in names)]) for row in history
    ]
    write_text(path, "\n".join(lines) + "\n")


def card(spec: ModelSpec | SeparatorSpec, tracks: Sequence[LabelledTrack], divided: bool = True) -> str:
    """Write a model's card: what it does, what it was trained on, and what it scores.

    With tracks that were not divided, the model learnt from all, and each was scored by one that had not heard it.
    """
    counts = {split: sum(track.split == split for track in tracks) for split in ("train", "valid", "test")}
    if divided:
        data = f"{counts['train']} tracks, chosen on {counts['valid']}; {counts['test']} were held out for the test"
    else:
        data = f"{len(tracks)} tracks, each of them scored by a model that was not shown it"
    scores = "\n".join(f"| {name} | {value:.3f} |" for name, value in spec.metrics.items())
    return f"""# {spec.name} {spec.version}

Task: {spec.task}. Classes: {", ".join(spec.classes)}.

Trained on {data}.

| {"on the validation split" if divided else "on tracks not shown"} | |
| --- | --- |
{scores}

- Data: `{spec.data_hash}`
- Licences of the data: {spec.licence or "not stated"}
- Commit: `{spec.commit or "none"}`
- Run: `{spec.run or "not tracked"}`
- Training began from: {f"the weights of `{spec.start_from}`" if spec.start_from else "nothing"}
"""
