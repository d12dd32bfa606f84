"""A user's own annotated audio to a model, by the pipeline's own steps: import, validate, features, train, score.

A model is scored before and after on tracks that it was not shown. Beat and onset models go on learning from weights
that there are; a genre model learns the user's genres with a linear head on a trained network (`genre.head`), so that
forty recordings are enough. Without weights to begin with, a model is trained from nothing as the pipeline does.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import yaml

import backbeat
from backbeat.augment import Augmentation
from backbeat.corpus.contract import ANNOTATIONS, Corpus
from backbeat.corpus.folder import import_folder
from backbeat.corpus.problems import Problem
from backbeat.corpus.validate import validate_folder
from backbeat.dataset import FeatureStore, LabelledTrack, read_labels, read_lines, write_features, write_labels
from backbeat.errors import ConfigError, CorpusError
from backbeat.evaluation.scoring import EvaluationSettings, examples_from_features, genre_row, load, score, summary
from backbeat.features import FeatureParams
from backbeat.genre.classifier import GenreClassifier
from backbeat.genre.head import fit_own_genres, heard
from backbeat.learning import Optimisation
from backbeat.model import join_hashes, load_spec, save_model
from backbeat.spectrograms import spectrograms
from backbeat.starting import EPOCHS_ANEW, EPOCHS_ON, going_on
from backbeat.statistics import Interval
from backbeat.tracking import MODEL_FOLDER, Tracking, environment, git_commit, tracked_run
from backbeat.training import Places, TaskSettings, TrainerSettings, card, data_hashes, licences, train

Scores = dict[str, Interval]


@dataclass(frozen=True)
class Lesson:
    """What came of it.

    Parameters
    ----------
    before, after
        Scores of the model that there was, empty where it cannot be compared, and of the new one.
    held_out
        On what they were scored.
    tracks
        How many tracks that was.
    """

    before: Scores
    after: Scores
    held_out: str
    tracks: int


def settings_of(task: str) -> dict[str, Any]:
    """Return the pipeline's settings of a task and of the front end ("features"), as plain values."""
    here = Path(__file__).resolve().parent
    # In the package when it is installed; beside src/ in a checkout.
    conf = next((folder for folder in (here / "conf", here.parents[1] / "conf") if folder.is_dir()), None)
    if conf is None:
        raise ConfigError("the package has no conf/: install it again")
    found = yaml.safe_load((conf / "task" / f"{task}.yaml").read_text(encoding="utf-8"))
    found["features"] = yaml.safe_load((conf / "features" / "log_mel.yaml").read_text(encoding="utf-8"))
    return cast("dict[str, Any]", found)


def prepare(
    source: Path, work: Path, start: Path | None, report: Callable[[Problem], None], *, progress: bool = True
) -> tuple[Corpus, bool]:
    """Import, validate and featurise a folder under `work`; what an interrupted run left there is replaced.

    Parameters
    ----------
    source
        A corpus, or any folder that `corpus.folder` reads.
    work
        Where the corpus, labels and features go.
    start
        The model to begin with, whose front end is used; the pipeline's when None.
    report
        Called with each thing that is wrong, its path relative to the imported corpus.
    progress
        Whether to show progress bars.

    Returns
    -------
    The corpus, and whether it came divided into splits.

    Raises
    ------
    CorpusError
        If the folder cannot be taken, or has errors.
    """
    corpus = import_folder(source, work / "corpora" / "own")
    found = validate_folder(corpus.root)
    for problem in found.problems:
        report(replace(problem, path=problem.path.removeprefix(f"{corpus.root}/")))
    if not found.ok:
        count = len(found.errors)
        raise CorpusError(f"{source}: has {count} error{'s' if count > 1 else ''}, shown above; nothing was trained")
    write_labels(work / "labels", corpus)
    params = FeatureParams(**settings_of("beat")["features"]) if start is None else load_spec(start).features
    lines = read_lines(work / "labels" / "audio" / f"{corpus.name}.jsonl")
    write_features(work / "features" / corpus.name, params, spectrograms(corpus.root, lines, params, progress=progress))
    divided = (source / ANNOTATIONS).is_file() and len({track.split for track in corpus.tracks}) > 1
    return corpus, divided


def learn(
    task: str,
    source: Path,
    output: Path,
    *,
    start: Path | None,
    trainer: TrainerSettings,
    tracking: Tracking,
    evaluation: EvaluationSettings,
    epochs: int | None = None,
    report: Callable[[Problem], None] = lambda _: None,
) -> Lesson:
    """Train or fine-tune one task on a folder of annotated audio.

    Parameters
    ----------
    task
        "beat", "onset" or "genre".
    source, output
        The audio, and the model folder to write.
    start
        A model folder to begin with; None to begin with nothing.
    epochs
        Of training; `EPOCHS_ON` or `EPOCHS_ANEW` when left out. A genre head needs none.
    report
        Called with each thing that is wrong with the corpus.

    Raises
    ------
    CorpusError, AnnotationError
        If the audio or its annotations will not do.
    ModelError
        If `start` is no model of the task.
    """
    if start is not None:
        load_spec(start, task)
    work = output.parent / f".{output.name}.training"
    work.mkdir(parents=True, exist_ok=True)
    try:
        _, divided = prepare(source, work, start, report, progress=trainer.progress)
    except BaseException:
        # What an interrupted training has learnt stays, to go on from.
        if not (work / "checkpoints").exists():
            shutil.rmtree(work, ignore_errors=True)
        raise
    places = Places(
        labels=work / "labels",
        features=work / "features",
        stems=work / "stems",
        listening=work / "listening",
        output=output,
        checkpoints=work / "checkpoints",
        curves=work / "curves.csv",
        lock=work / "dvc.lock",
    )
    tracks = read_labels(places.labels, task)
    if task == "genre" and start is not None:
        lesson = _learn_genres(tracks, places, start, trainer, tracking, evaluation, divided=divided)
    else:
        lesson = _learn_events(task, tracks, places, start, trainer, tracking, evaluation, epochs)
    shutil.rmtree(work)
    return lesson


def _learn_events(
    task: str,
    tracks: Sequence[LabelledTrack],
    places: Places,
    start: Path | None,
    trainer: TrainerSettings,
    tracking: Tracking,
    evaluation: EvaluationSettings,
    epochs: int | None,
) -> Lesson:
    found = settings_of(task)
    optimisation = Optimisation(**{**found["optimisation"], "epochs": epochs or EPOCHS_ANEW})
    network = found["network"]
    if start is not None:
        network = load_spec(start, task).network
        optimisation = going_on(optimisation, epochs or EPOCHS_ON)
    settings = TaskSettings(
        task, network, found["loss"], found["decoding"], optimisation, Augmentation(**found["augmentation"])
    )
    split = "test" if any(track.split == "test" for track in tracks) else "valid"
    store = FeatureStore(places.features)

    def scores(folder: Path) -> Scores:
        table = score(load(task, folder), examples_from_features(task, tracks, store, split))
        return summary(task, table, evaluation)["all"]

    before = {} if start is None else scores(start)
    recorded = {"task": {**found, "optimisation": asdict(optimisation), "network": network}, "start": str(start or "")}
    train(settings, trainer, tracking, places, recorded, start)
    held = sum(track.split == split for track in tracks)
    return Lesson(before, scores(places.output), f"the {split} split", held)


def _learn_genres(
    tracks: Sequence[LabelledTrack],
    places: Places,
    start: Path,
    trainer: TrainerSettings,
    tracking: Tracking,
    evaluation: EvaluationSettings,
    *,
    divided: bool,
) -> Lesson:
    """Fit a head to the user's genres: to all tracks, or to those that the user's own division leaves for learning."""
    model = GenreClassifier.from_folder(start)
    store = FeatureStore(places.features)
    known = [track for track in tracks if not divided or track.split != "test"]
    groups = _groups(known, places)
    measures = heard(model, [store.get(track.corpus, track.id).astype(np.float32) for track in known])
    own = fit_own_genres(model, measures, [track.genre for track in known], groups, trainer.seed)
    classes = own.classifier.spec.classes
    hashes = data_hashes(places, "genre")
    commit = git_commit()
    names = join_hashes(hashes)
    tags = {"task": "genre", "commit": commit, "data": names, "start": model.spec.run}
    with tracked_run(tracking, f"genre-head-{trainer.seed}", tags) as run:
        run.params({"start": str(start), "seed": trainer.seed, "tracks": len(known), "classes": ", ".join(classes)})
        run.text(environment(), "environment.txt")
        for name, value in hashes.items():
            run.corpus(name, value.partition(":")[2], "training")
        table = pd.DataFrame(
            [
                {"corpus": track.corpus, "id": track.id, "style": track.genre}
                | genre_row(track.genre, dict(zip(classes, shares, strict=True)))
                for track, shares in zip(known, own.probabilities.tolist(), strict=True)
            ]
        )
        held_out, count = "each track by a head that had not heard it", len(known)
        cross = summary("genre", table, evaluation)["all"]
        spec = replace(
            own.classifier.spec,
            name=places.output.name,
            version=backbeat.__version__,
            run=run.run_id,
            data_hash=",".join(filter(None, [model.spec.data_hash, names])),
            commit=commit,
            licence=" AND ".join(filter(None, [model.spec.licence, licences(known)])),
            start_from=model.spec.run or str(start),
            metrics={"accuracy": round(cross["accuracy"].value, 6)},
        )
        save_model(places.output, own.classifier.network, spec, card(spec, known, divided=False))
        run.metrics({f"cross_validated_{name}": found.value for name, found in cross.items()})
        run.files(places.output, MODEL_FOLDER)
    after, examples = cross, []
    if divided and any(track.split == "test" for track in tracks):
        examples = examples_from_features("genre", tracks, store)
        after = summary("genre", score(load("genre", places.output), examples), evaluation)["all"]
        held_out, count = "the test split", len(examples)
    before: Scores = {}
    if set(classes) <= set(model.spec.classes):
        chosen = examples or examples_from_features("genre", [replace(t, split="test") for t in known], store)
        before = summary("genre", score(model, chosen), evaluation)["all"]
    return Lesson(before, after, held_out, count)


def _groups(tracks: Sequence[LabelledTrack], places: Places) -> list[str]:
    """Return what may not be divided, for each track: the corpus's sources."""
    from backbeat.corpus.contract import read_corpus

    corpus = read_corpus(places.labels.parent / "corpora" / tracks[0].corpus)
    groups = {track.id: track.group for track in corpus.tracks}
    return [groups[track.id] for track in tracks]
