"""One task's results as files: what `evaluate` writes and the report, the summary and the tracker read.

::

    reports/<task>/summary.json   model, thread to its data, corpora, scores with intervals, pictures
    reports/<task>/tracks.csv     a row a track
    reports/<task>/styles.csv     a row a style, for `dvc plots`
    reports/<task>/confusion.csv  genre: a row a track, for `dvc plots`
    reports/<task>/*.svg, *.png   pictures
    reports/metrics/<task>.json   the whole set's scores, for `dvc metrics`
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from backbeat.dataset import FeatureStore, LabelledTrack
from backbeat.errors import CorpusError, ModelError
from backbeat.evaluation.gallery import Picture, draw_gallery
from backbeat.evaluation.measures import BY_STYLE
from backbeat.evaluation.scoring import EvaluationSettings, Example, Model, summary, to_metrics
from backbeat.files import atomic_path, write_json, write_text
from backbeat.model import ModelSpec
from backbeat.separation.separator import Separator
from backbeat.separation.stems import StemStore
from backbeat.statistics import Interval

SUMMARY, TRACKS, STYLES, CONFUSION = "summary.json", "tracks.csv", "styles.csv", "confusion.csv"
#: Fields of a specification that differ between two trainings of one model.
_VOLATILE = ("run", "commit")
_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Results:
    """What `summary.json` holds.

    Parameters
    ----------
    task
        "beat", "onset" or "genre".
    model
        The specification, without what differs between two trainings of one model.
    thread
        That: the MLflow run and the git commit; empty where there is none.
    corpora
        What was trained and tested on, as `corpus_facts` gives it.
    confidence
        Of the intervals.
    groups
        For "all" and for each style, each measure with its interval.
    pictures
        In the order in which to show them.
    """

    task: str
    model: dict[str, Any]
    thread: dict[str, str]
    corpora: dict[str, dict[str, Any]]
    confidence: float
    groups: dict[str, dict[str, Interval]]
    pictures: tuple[Picture, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain values for JSON."""
        groups = {
            name: {measure: _rounded(interval) for measure, interval in values.items()}
            for name, values in self.groups.items()
        }
        return {**asdict(self), "groups": groups, "pictures": [asdict(picture) for picture in self.pictures]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Results:
        """Read what `to_dict` gave."""
        groups = {
            name: {measure: _interval(x) for measure, x in found.items()} for name, found in values["groups"].items()
        }
        pictures = tuple(Picture(**picture) for picture in values["pictures"])
        return cls(**{**values, "groups": groups, "pictures": pictures})


def _interval(values: Mapping[str, Any]) -> Interval:
    value, low, high = (math.nan if values[key] is None else values[key] for key in ("value", "low", "high"))
    return Interval(value, low, high, values["count"])


def _rounded(interval: Interval) -> dict[str, float | int | None]:
    return {name: round(x, 6) if isinstance(x, float) else x for name, x in interval.to_dict().items()}


def read_results(folder: Path) -> Results:
    """Read `summary.json` of a task's folder; CorpusError when it is missing or damaged."""
    path = folder / SUMMARY
    try:
        return Results.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise CorpusError(f"{path}: is missing; `dvc repro` makes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path}: is damaged: {error}") from None


def read_tracks(folder: Path) -> pd.DataFrame:
    """Read `tracks.csv` of a task's folder; CorpusError when it is missing."""
    path = folder / TRACKS
    try:
        return pd.read_csv(path, dtype={"corpus": str, "id": str, "style": str}, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise CorpusError(f"{path}: is missing; `dvc repro` makes it") from None


def corpus_facts(
    task: str, tracks: Sequence[LabelledTrack], store: FeatureStore | StemStore | None
) -> dict[str, dict[str, Any]]:
    """Count what a task's corpora hold.

    Returns
    -------
    For each corpus: ``tracks`` and ``hours`` by split, ``styles`` (tracks by style and split), for beats ``meters``
    (tracks), for onsets ``hits`` (events by class); all splits together in the last two. Listeners, who have no
    `store`, count as tracks, and what they did is ``interactions``.
    """
    facts: dict[str, dict[str, Any]] = {}
    for name in sorted({track.corpus for track in tracks}):
        chosen = [track for track in tracks if track.corpus == name]
        by_split = {split: [track for track in chosen if track.split == split] for split in _SPLITS}
        hours = {
            split: round(sum(store.seconds(name, track.id) for track in found) / 3600, 4) if store else 0.0
            for split, found in by_split.items()
        }
        styles = {
            style: {split: sum(track.genre == style for track in found) for split, found in by_split.items()}
            for style in sorted({track.genre for track in chosen})
        }
        facts[name] = {
            "tracks": {split: len(found) for split, found in by_split.items()},
            "hours": hours,
            "styles": styles,
        }
        if task == "beat":
            meters = Counter(track.values.get("time_signature") or "not known" for track in chosen)
            facts[name]["meters"] = dict(sorted(meters.items(), key=lambda item: (-item[1], item[0])))
        if task == "listening":
            facts[name]["interactions"] = sum(len(track.values["events"]) for track in chosen)
        if task == "onset":
            hits = Counter(event for track in chosen for event in track.values["classes"])
            facts[name]["hits"] = dict(sorted(hits.items(), key=lambda item: (-item[1], item[0])))
    return facts


def write_results(
    folder: Path,
    metrics: Path,
    model: Model | Separator,
    examples: Sequence[Example],
    table: pd.DataFrame,
    settings: EvaluationSettings,
    corpora: dict[str, dict[str, Any]],
    curves: pd.DataFrame | None = None,
) -> Results:
    """Write one task's folder of results and its metrics, each atomically.

    Parameters
    ----------
    folder, metrics
        `reports/<task>` and `reports/metrics/<task>.json`.
    model
        What was scored.
    examples, table
        The tracks and their scores, as `scoring.score` gives them.
    settings
        Of the intervals and pictures.
    corpora
        From `corpus_facts`.
    curves
        Learning curves, if there are any.

    Raises
    ------
    CorpusError
        If no track could be scored.
    """
    spec = model.spec
    if table.empty:
        raise CorpusError(f"no track of the test split can be scored for {spec.task}")
    groups = summary(spec.task, table, settings)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        table.to_csv(temporary / TRACKS, index=False, float_format="%.6g", lineterminator="\n")
        write_text(temporary / STYLES, _styles_csv(spec.task, groups))
        if spec.task == "genre":
            answers = table[["corpus", "id", "style", "answer"]].rename(
                columns={"style": "actual", "answer": "predicted"}
            )
            answers.to_csv(temporary / CONFUSION, index=False, lineterminator="\n")
        pictures = draw_gallery(temporary, model, examples, table, groups, settings, curves)
        results = Results(
            task=spec.task,
            model={name: value for name, value in spec.to_dict().items() if name not in _VOLATILE},
            thread={name: str(getattr(spec, name)) for name in _VOLATILE},
            corpora=corpora,
            confidence=settings.confidence,
            groups=groups,
            pictures=tuple(pictures),
        )
        write_json(temporary / SUMMARY, results.to_dict())
    write_json(metrics, to_metrics(groups))
    return results


def _styles_csv(task: str, groups: Mapping[str, Mapping[str, Interval]]) -> str:
    """Give a row a style, a column a measure; "all" is no style."""
    measures = [name for name in BY_STYLE[task] if name in groups["all"]]
    rows = [
        ",".join(
            [f'"{style or "none"}"', *(f"{values[name].value:.6f}" if name in values else "" for name in measures)]
        )
        for style, values in groups.items()
        if style != "all"
    ]
    return "\n".join([",".join(["style", *measures]), *rows]) + "\n"


def check_features(spec: ModelSpec, store: FeatureStore, corpora: Sequence[str]) -> None:
    """Refuse features of another front end than the model's; ModelError names both."""
    found = store.params(corpora)
    if found != spec.features:
        raise ModelError(f"{spec.name} was trained on {spec.features}, the features are {found}; `dvc repro` mends it")
