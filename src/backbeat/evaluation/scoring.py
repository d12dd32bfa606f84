"""Scoring a trained model on tracks whose truth is known: a row of measures a track, and intervals over all.

The tracks come from the pipeline's features (`examples_from_features`) or from any annotated audio
(`examples_from_audio`); both go through the same model, decoder and scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backbeat.beat import score as beat_score
from backbeat.beat.tracker import BeatTracker
from backbeat.dataset import FeatureStore, LabelledTrack
from backbeat.errors import CorpusError
from backbeat.features import FeatureParams, LogMel, log_mel
from backbeat.genre import score as genre_score
from backbeat.genre.classifier import GenreClassifier
from backbeat.listening.data import gather, read_items
from backbeat.listening.model import ListeningModel
from backbeat.listening.trial import Listener, Trial
from backbeat.music import DRUMS, Beats, Onsets
from backbeat.onset import score as onset_score
from backbeat.onset.detector import OnsetDetector
from backbeat.pairing import score as pairing_score
from backbeat.pairing.model import PairingModel
from backbeat.statistics import Interval, bootstrap_interval, proportion_interval, summarise

if TYPE_CHECKING:
    from backbeat.corpus.annotated import AnnotatedTrack

Model = BeatTracker | OnsetDetector | GenreClassifier | PairingModel | ListeningModel
Truth = Beats | Onsets | str | pairing_score.Partner | Listener

MODELS: dict[str, type[Model]] = {
    "beat": BeatTracker,
    "onset": OnsetDetector,
    "genre": GenreClassifier,
    "pairing": PairingModel,
    "listening": ListeningModel,
}

#: The measures that tables show, by task, in their order.
HEADLINES: dict[str, tuple[str, ...]] = {
    "beat": ("beat_f", "cmlt", "amlt", "downbeat_f", "meter_correct", "tempo_acc1", "tempo_acc2"),
    "onset": (
        "onset_micro_f",
        "kick_micro_f",
        "snare_micro_f",
        "hihat_micro_f",
        "toms_micro_f",
        "cymbals_micro_f",
        *(f"{name}_micro_f" for name in DRUMS if name not in ("kick", "snare")),
        "drums_micro_f",
        "velocity_mae",
    ),
    "genre": ("accuracy", "macro_f1", "calibration_error"),
    "pairing": ("found_1", "found_5", "reciprocal_rank"),
    "listening": ("ndcg_10", "recall_10"),
}

#: The measure by which a track is among the worst.
PRINCIPAL = {
    "beat": "beat_f",
    "onset": "drums_f",
    "genre": "truth_probability",
    "pairing": "reciprocal_rank",
    "listening": "ndcg_10",
    "separation": "sdr_gain",
}


@dataclass(frozen=True)
class EvaluationSettings:
    """How scores are summed up.

    Parameters
    ----------
    confidence, resamples, seed
        Of the bootstrap intervals over tracks.
    pictures
        How many of the worst tracks are drawn.
    """

    confidence: float
    resamples: int
    seed: int
    pictures: int


@dataclass(frozen=True, eq=False)
class Example:
    """A track to score: a way to its spectrogram, and its truth; of a listener, a way to the history, and what came."""

    corpus: str
    id: str
    style: str
    log_mel: Callable[[], NDArray[np.float32]]
    truth: Truth


def examples_from_features(
    task: str, tracks: Sequence[LabelledTrack], store: FeatureStore, split: str = "test"
) -> list[Example]:
    """Give one split of the pipeline's corpora; CorpusError when it is empty."""

    def reader(track: LabelledTrack) -> Callable[[], NDArray[np.float32]]:
        return lambda: store.get(track.corpus, track.id).astype(np.float32)

    chosen = [track for track in tracks if track.split == split]
    if not chosen:
        raise CorpusError(f"no track of the {split} split is annotated for {task}")
    truths = _truths(task, chosen, store)
    return [
        Example(track.corpus, track.id, track.genre, reader(track), truth)
        for track, truth in zip(chosen, truths, strict=True)
    ]


def examples_of_listeners(tracks: Sequence[LabelledTrack], folder: Path, split: str = "test") -> list[Example]:
    """Give the listeners of one split: what each had heard, and what each took to then.

    Parameters
    ----------
    tracks
        The label lines of all splits.
    folder
        data/listening.

    Raises
    ------
    CorpusError
        If the items are missing, or nobody heard anything new.
    """
    trial = Trial(gather(tracks, read_items(folder)), split)
    (corpus,) = {track.corpus for track in tracks}

    def reader(listener: Listener) -> Callable[[], NDArray[np.float32]]:
        return lambda: listener.history

    return [Example(corpus, one.name, "", reader(one), one) for one in trial.listeners]


def _truths(task: str, tracks: Sequence[LabelledTrack], store: FeatureStore) -> Sequence[Truth]:
    if task == "beat":
        return [track.beats() for track in tracks]
    if task == "onset":
        return [track.onsets() for track in tracks]
    if task == "pairing":
        return pairing_score.partners(tracks, store)
    return [track.genre for track in tracks]


def examples_from_audio(
    task: str, corpus: str, tracks: Iterable[AnnotatedTrack], params: FeatureParams
) -> list[Example]:
    """Give the tracks of a set of recordings that are annotated for `task`; there may be none."""
    from backbeat.audio import decode

    front_end = LogMel(params)

    def reader(path: Path) -> Callable[[], NDArray[np.float32]]:
        return lambda: log_mel(decode(path, sample_rate_hz=params.sample_rate_hz, mono=True).mono, front_end)

    examples = []
    for track in tracks:
        truth: Truth | None = {"beat": track.beats, "onset": track.onsets, "genre": track.genre or None}[task]
        if truth is not None:
            examples.append(Example(corpus, track.id, track.genre, reader(track.audio_path), truth))
    return examples


def load(task: str, folder: Path) -> Model:
    """Load a model of `task`; ModelError when it cannot be."""
    return MODELS[task].from_folder(folder)


def score(model: Model, examples: Iterable[Example]) -> pd.DataFrame:
    """Score every example: a row a track, with corpus, id, style and the task's measures.

    Genres that the model does not know are left out.
    """
    rows = []
    for example in examples:
        row: dict[str, Any] = {"corpus": example.corpus, "id": example.id, "style": example.style}
        if isinstance(model, BeatTracker) and isinstance(example.truth, Beats):
            row |= beat_score.score_track(example.truth, model.track(example.log_mel()))
        elif isinstance(model, OnsetDetector) and isinstance(example.truth, Onsets):
            row |= onset_score.score_track(example.truth, *model.detect(example.log_mel()))
        elif isinstance(model, GenreClassifier) and example.truth in model.spec.classes:
            row |= genre_row(str(example.truth), model.classify(example.log_mel()).probabilities)
        elif isinstance(model, PairingModel) and isinstance(example.truth, pairing_score.Partner):
            row |= pairing_score.score_track(example.truth, model, example.log_mel())
        elif isinstance(model, ListeningModel) and isinstance(example.truth, Listener):
            row |= example.truth.row(model)
        else:
            continue
        rows.append(row)
    return pd.DataFrame(rows)


def genre_row(truth: str, probabilities: Mapping[str, float]) -> dict[str, Any]:
    """Give one track's genre measures, from the probability of each genre; a truth that is none of them is wrong."""
    answer = max(probabilities, key=lambda name: probabilities[name])
    return {
        "answer": answer,
        "truth_probability": probabilities.get(truth, 0.0),
        "correct": float(answer == truth),
        **{f"p_{name}": share for name, share in sorted(probabilities.items())},
    }


def summary(task: str, table: pd.DataFrame, settings: EvaluationSettings) -> dict[str, dict[str, Interval]]:
    """Sum a table of scores up: for "all" and for each style, each measure with its interval."""
    if task == "genre":
        return _genre_summary(table, settings)
    made = summarise(
        table.drop(columns=["corpus", "id"]),
        by="style",
        confidence=settings.confidence,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    groups: dict[str, dict[str, Interval]] = {}
    # Measures of stems are called after the instruments, so that there is no list of them.
    headlines = HEADLINES.get(task, tuple(made["measure"].unique()))
    for group, measure, value, low, high, count in made.itertuples(index=False, name=None):
        if measure in headlines:
            groups.setdefault(group, {})[measure] = Interval(value, low, high, int(count))
    return {
        group: {name: values[name] for name in headlines if name in values and values[name].value == values[name].value}
        for group, values in groups.items()
    }


def genre_table(table: pd.DataFrame) -> tuple[list[str], NDArray[np.float64], tuple[str, ...]]:
    """Split a table of genre scores to truths, probabilities of shape (tracks, classes), and classes."""
    columns = [name for name in table.columns if name.startswith("p_")]
    return table["style"].tolist(), table[columns].to_numpy(), tuple(name.removeprefix("p_") for name in columns)


def _genre_summary(table: pd.DataFrame, settings: EvaluationSettings) -> dict[str, dict[str, Interval]]:
    truths, probabilities, classes = genre_table(table)

    def measure(name: str, value: Callable[[genre_score.GenreScore], float]) -> Interval:
        def statistic(rows: NDArray[np.float64]) -> float:
            chosen = rows.astype(np.int64)
            return value(genre_score.score_genres([truths[row] for row in chosen], probabilities[chosen], classes))

        return bootstrap_interval(
            np.arange(len(truths), dtype=np.float64),
            statistic=statistic,
            confidence=settings.confidence,
            # Each draw sorts out a confusion matrix; a few hundred settle the second decimal.
            resamples=min(settings.resamples, 500),
            seed=settings.seed,
            method="percentile",
        )

    correct = table["correct"].to_numpy()
    error = genre_score.score_genres(truths, probabilities, classes).calibration_error if truths else math.nan
    groups = {
        "all": {
            "accuracy": proportion_interval(correct, confidence=settings.confidence),
            "macro_f1": measure("macro_f1", lambda found: found.macro_f1),
            # Drawing with replacement raises it, so that a bootstrap's interval may lie above the value.
            "calibration_error": Interval(error, math.nan, math.nan, len(truths)),
        }
    }
    for style, rows in table.groupby("style"):
        groups[str(style)] = {"accuracy": proportion_interval(rows["correct"], confidence=settings.confidence)}
    return groups


def worst(task: str, table: pd.DataFrame, count: int) -> Iterator[tuple[str, str]]:
    """Name the tracks that scored worst, worst first: corpus and id."""
    ordered = table.dropna(subset=[PRINCIPAL[task]]).sort_values([PRINCIPAL[task], "id"], kind="stable")
    yield from ordered[["corpus", "id"]].head(count).itertuples(index=False, name=None)


def to_metrics(groups: dict[str, dict[str, Interval]]) -> dict[str, Any]:
    """Give the whole set's measures as JSON; without intervals (summary.json), as DVC makes a column of each number."""
    metrics: dict[str, Any] = {name: round(interval.value, 6) for name, interval in groups["all"].items()}
    metrics["tracks"] = max(interval.count for interval in groups["all"].values())
    return metrics
