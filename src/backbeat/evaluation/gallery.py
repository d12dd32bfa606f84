"""The pictures of one task's results: charts of the whole, and the tracks that went worst."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backbeat.beat.tracker import BeatTracker
from backbeat.errors import ConfigError
from backbeat.evaluation import figures
from backbeat.evaluation.measures import BY_STYLE, style_name
from backbeat.evaluation.scoring import EvaluationSettings, Example, Model, genre_table, worst
from backbeat.evaluation.track_figures import Heard, draw_beats, draw_onsets
from backbeat.genre.score import score_genres
from backbeat.listening.model import ListeningModel
from backbeat.music import Beats, Onsets
from backbeat.onset.detector import OnsetDetector
from backbeat.pairing.model import PairingModel
from backbeat.separation.separator import Separator
from backbeat.statistics import Interval

#: Scores of a track that its picture names: column and how it is written.
_SUBTITLE: dict[str, dict[str, str]] = {
    "beat": {"beat_f": "beats F", "cmlt": "CMLt", "amlt": "AMLt", "downbeat_f": "downbeats F"},
    "onset": {
        "drums_f": "all drums F",
        "kick_f": "kick",
        "snare_f": "snare",
        "hihat_f": "hi-hat",
        "onset_f": "onsets F",
    },
}


@dataclass(frozen=True)
class Picture:
    """A picture among the results.

    Parameters
    ----------
    file
        Its name in the task's folder.
    kind
        "curves", "styles", "confusion", "reliability", "found" or "track".
    caption
        What it shows, in one line.
    """

    file: str
    kind: str
    caption: str


def draw_gallery(
    folder: Path,
    model: Model | Separator,
    examples: Sequence[Example],
    table: pd.DataFrame,
    groups: dict[str, dict[str, Interval]],
    settings: EvaluationSettings,
    curves: pd.DataFrame | None,
) -> list[Picture]:
    """Draw everything there is to see of one task's results to `folder`."""
    task = model.spec.task
    made: list[Picture] = []

    def add(file: str, kind: str, caption: str) -> Path:
        made.append(Picture(file, kind, caption))
        return folder / file

    figures.scores_by_style(
        add("styles.svg", "styles", f"Scores by style, {settings.confidence:.0%} intervals over tracks"),
        task,
        groups,
        BY_STYLE[task],
        settings.confidence,
    )
    if curves is not None:
        figures.learning_curves(add("curves.svg", "curves", "Loss by epoch"), task, curves)
    if task == "pairing":
        figures.found_within(
            add("found.svg", "found", "How soon the right beat comes among those offered"),
            table["rank"].to_numpy(dtype=np.float64),
            int(table["candidates"].max()),
        )
    if isinstance(model, Separator | PairingModel | ListeningModel):
        return made
    if task == "genre":
        truths, probabilities, classes = genre_table(table)
        scores = score_genres(truths, probabilities, classes)
        figures.confusion_matrix(add("confusion.svg", "confusion", "Which genre was taken for which"), scores)
        figures.reliability(
            add("reliability.svg", "reliability", "Stated confidence against the share of right answers"),
            probabilities.max(axis=1),
            table["correct"].to_numpy(dtype=np.float64),
            scores.calibration_error,
        )
        return made
    by_name = {(example.corpus, example.id): example for example in examples}
    rows = {(row["corpus"], row["id"]): row for row in table.to_dict("records")}
    for file, caption, name in shown_tracks(task, table, settings.pictures):
        draw_track(add(file, "track", caption), model, by_name[name], rows[name])
    return made


def shown_tracks(task: str, table: pd.DataFrame, count: int) -> list[tuple[str, str, tuple[str, str]]]:
    """Choose the tracks to draw: the `count` worst and the median one.

    Returns
    -------
    File name, caption, and the track's corpus and id.
    """
    ordered = list(worst(task, table, len(table)))
    ranks = ("Worst", "Second worst", "Third worst")
    chosen = [
        (f"worst{rank + 1}.png", ranks[rank] if rank < len(ranks) else f"Worst but {rank}", name)
        for rank, name in enumerate(ordered[:count])
    ]
    middle = ordered[len(ordered) // 2] if ordered else None
    if middle is not None and middle not in ordered[:count]:
        chosen.append(("median.png", "Median", middle))
    return [(file, f"{words} of {len(ordered)} tracks: {'/'.join(name)}", name) for file, words, name in chosen]


def draw_track(path: Path, model: Model, example: Example, scores: Mapping[Hashable, Any]) -> None:
    """Draw one track of a beat or onset model: activations with truth; `scores` is its row of the table."""
    if not isinstance(model, BeatTracker | OnsetDetector):
        raise ConfigError("only what beat and onset models hear can be drawn")
    log_mel = example.log_mel()
    parts = [
        f"{label} {scores[name]:.3f}"
        for name, label in _SUBTITLE[model.spec.task].items()
        if name in scores and scores[name] == scores[name]
    ]
    name = f"{example.corpus}/{example.id}" + (f"  ·  {style_name(example.style)}" if example.style else "")
    rate_hz = model.spec.features.frame_rate_hz
    activations = model.activations(log_mel)
    heard = Heard(name, "  ·  ".join(parts), log_mel, rate_hz, activations, model.frame_rate_hz)
    if isinstance(model, OnsetDetector) and isinstance(example.truth, Onsets):
        draw_onsets(path, heard, example.truth, *model.decode(activations))
    elif isinstance(model, BeatTracker) and isinstance(example.truth, Beats):
        draw_beats(path, heard, example.truth, model.decode(activations))
