"""Models on annotated recordings that are no part of the pipeline, with a well-known program beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backbeat.beat import score as beat_score
from backbeat.dataset import TASKS
from backbeat.errors import ConfigError, ModelError
from backbeat.evaluation.scoring import (
    HEADLINES,
    EvaluationSettings,
    Example,
    Model,
    examples_from_audio,
    load,
    score,
    summary,
)
from backbeat.model import SPEC
from backbeat.music import NOTE, Beats, Onsets
from backbeat.onset import score as onset_score
from backbeat.onset.detector import OnsetDetector
from backbeat.statistics import Interval, summarise

if TYPE_CHECKING:
    from backbeat.corpus.annotated import AnnotatedTrack

#: What the peer's rows are called, and what its scores cover.
PEER = "librosa"
PEER_MEASURES: dict[str, tuple[str, ...]] = {
    "beat": ("beat_f", "cmlt", "amlt", "tempo_acc1", "tempo_acc2"),
    "onset": ("onset_micro_f",),
}

#: Shows that tracks are being worked through: the tracks, and what is done with them.
Progress = Callable[[Sequence[Any], str], Iterable[Any]]


@dataclass(frozen=True, eq=False)
class SetScores:
    """One task's scores on one set of recordings.

    Parameters
    ----------
    task, name
        The task, and the set's name.
    model
        Name and version of what was scored.
    tracks, known
        Recordings annotated for the task, and how many of them could be scored (genres that the model knows).
    groups
        As `scoring.summary` gives them.
    peer
        The whole set's scores of librosa; empty where it does not compete.
    note
        What to know when reading the scores; "" for nothing.
    table
        A row a track.
    """

    task: str
    name: str
    model: str
    tracks: int
    known: int
    groups: dict[str, dict[str, Interval]]
    peer: dict[str, Interval]
    note: str
    table: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain values for JSON, without the table."""
        return {
            "set": self.name,
            "task": self.task,
            "model": self.model,
            "tracks": self.tracks,
            "scored": self.known,
            "note": self.note,
            "scores": {
                group: {name: interval.to_dict() for name, interval in values.items()}
                for group, values in self.groups.items()
            },
            PEER: {name: interval.to_dict() for name, interval in self.peer.items()},
        }


class DrumsAsOnsets(OnsetDetector):
    """An onset model whose drum hits are its onsets: for songs of which only the drums are annotated."""

    def decode(self, activations: NDArray[np.float32]) -> tuple[Onsets, Onsets]:
        """Map what `activations` gave to drum hits, twice."""
        drums = super().decode(activations)[1]
        return drums, drums


def load_models(folder: Path, tasks: Sequence[str] = TASKS) -> dict[str, Model]:
    """Load the models in `folder`/<task>, for every one of `tasks` that is there; ModelError when none is."""
    unknown = sorted(set(tasks) - set(TASKS))
    if unknown:
        raise ConfigError(f"there is no task {unknown[0]!r}; the tasks are {', '.join(TASKS)}")
    models = {task: load(task, folder / task) for task in tasks if (folder / task / SPEC).is_file()}
    if not models:
        raise ModelError(f"{folder}: holds no model for {' or '.join(tasks)}; `dvc repro` trains them")
    return models


def only_drums_annotated(tracks: Sequence[AnnotatedTrack]) -> bool:
    """Whether a set's onsets are those of drums while other instruments may sound as well.

    MDB Drums says by its folders what sounds; of other recordings it is assumed when no annotation holds anything but
    drums.
    """
    folders = {track.audio_path.parent.name for track in tracks}
    if folders in ({"drum_only"}, {"full_mix"}):
        return folders == {"full_mix"}
    return not any(track.onsets is not None and NOTE in track.onsets.classes for track in tracks)


def score_sets(
    models: Mapping[str, Model],
    sets: Mapping[str, Sequence[AnnotatedTrack]],
    settings: EvaluationSettings,
    *,
    peer: bool = True,
    progress: Progress | None = None,
) -> list[SetScores]:
    """Score each model on each set that is annotated for its task; sets of which it knows no genre are left out.

    Parameters
    ----------
    models
        By task.
    sets
        By name, as `backbeat.corpus.sources.evaluation_sets` finds them.
    settings
        Of the intervals.
    peer
        Whether to run librosa's beat tracker and onset detector as well.
    progress
        Wraps the tracks as they are worked through.

    Returns
    -------
    By task, then in the order of `sets`.

    Raises
    ------
    AudioError
        If a recording cannot be heard.
    """
    shown: Progress = progress or (lambda items, _: items)
    scores = []
    for task, model in models.items():
        for name, tracks in sets.items():
            examples = examples_from_audio(task, name, tracks, model.spec.features)
            if not examples:
                continue
            chosen, note = model, ""
            if isinstance(model, OnsetDetector) and only_drums_annotated([t for t in tracks if t.onsets is not None]):
                chosen = DrumsAsOnsets(model.network, model.spec)
                note = "only drums are annotated: the onsets scored are the drum hits found"
            table = score(chosen, shown(examples, f"{task}: {name}"))
            if table.empty:
                continue
            if len(table) < len(examples):
                others = len(examples) - len(table)
                note = f"the model does not know the genre of {others} other track{'s' if others > 1 else ''}"
            competitor: dict[str, Interval] = {}
            if peer and task in PEER_MEASURES:
                competitor = _peer_scores(task, examples, tracks, settings, shown)
            spec = model.spec
            groups = summary(task, table, settings)
            scores.append(
                SetScores(
                    task,
                    name,
                    f"{spec.name} {spec.version}",
                    len(examples),
                    len(table),
                    groups,
                    competitor,
                    note,
                    table,
                )
            )
    return scores


def _peer_scores(
    task: str,
    examples: Sequence[Example],
    tracks: Sequence[AnnotatedTrack],
    settings: EvaluationSettings,
    progress: Progress,
) -> dict[str, Interval]:
    """Score librosa on the same tracks, by the same measures."""
    from backbeat.audio import decode
    from backbeat.evaluation.baseline import RATE_HZ, librosa_beats, librosa_onsets

    paths = {track.id: track.audio_path for track in tracks}
    rows: list[dict[str, float]] = []
    for example in progress(examples, f"{task}: {examples[0].corpus}, {PEER}"):
        mono = decode(paths[example.id], sample_rate_hz=RATE_HZ, mono=True).mono
        if isinstance(example.truth, Beats):
            rows.append(beat_score.score_track(example.truth, librosa_beats(mono, RATE_HZ)))
        elif isinstance(example.truth, Onsets):
            rows.append(onset_score.score_track(example.truth, librosa_onsets(mono, RATE_HZ), None))
    made = summarise(
        pd.DataFrame(rows), confidence=settings.confidence, resamples=settings.resamples, seed=settings.seed
    )
    found = {
        str(row["measure"]): Interval(row["value"], row["low"], row["high"], int(row["count"]))
        for row in made.to_dict("records")
        if row["count"]
    }
    return {name: found[name] for name in HEADLINES[task] if name in PEER_MEASURES[task] and name in found}
