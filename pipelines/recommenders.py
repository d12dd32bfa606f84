"""Stage `recommenders`: every way to choose beats and tracks beside the others, on what no model has learnt from.

Beats: takes of the test split look for their own among others by chance, by tempo and key, by all rules, by the pairing
model and by both together; the weights of the rules are fitted on the validation split. Listeners: each recommender
says what comes next at the beginning of the test period.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from rich.progress import Progress

from backbeat.analysis.analyzer import Analyzer
from backbeat.dataset import TASKS, read_labels, read_lines
from backbeat.evaluation.scoring import EvaluationSettings
from backbeat.files import atomic_path, write_json
from backbeat.listening.data import gather, read_items
from backbeat.listening.evaluation import Judged, evaluate
from backbeat.listening.model import ListeningModel
from backbeat.pairing.model import PairingModel
from backbeat.recommend.beats.fitting import FOLDS
from backbeat.recommend.beats.judging import WAYS, Ear, Hears, Told, fitted_on, rendered, table_of_ways
from backbeat.recommend.beats.scoring import FITTED, read_weights
from backbeat.statistics import bootstrap_interval, paired_bootstrap
from backbeat.tracking import Tracking, tracked_run
from pipelines.settings import read, stage, trainer

BEATS, LISTENERS, WEIGHTS = "beats.csv", "listeners.csv", "weights.json"
_OF_BEATS = ("found_1", "found_5", "reciprocal_rank")
_OF_LISTENERS = ("ndcg_10", "recall_10", "novelty")


def beats(folders: Sequence[Path], ear: Hears) -> tuple[pd.DataFrame, dict[str, object]]:
    """Return a row a take and way of the test splits, with ``question``, and the weights fitted on validation."""
    known = [question for folder in folders for question in rendered(folder, "valid", ear)]
    if sum(len(question.takes) for question in known) < FOLDS:
        print(f"fewer than {FOLDS} takes in the valid split: rules are weighed as those that ship were fitted")
        weights = read_weights(FITTED)
    else:
        told = {"corpora": [folder.name for folder in folders], "split": "valid"}
        weights = fitted_on(known, told, with_model=True)
    asked = [question for folder in folders for question in rendered(folder, "test", ear)]
    tables = [table_of_ways(question, weights, WAYS).assign(question=question.name) for question in asked]
    return pd.concat(tables, ignore_index=True), {name: found.to_dict() for name, found in weights.items()}


@contextmanager
def shown(ear: Ear, files: int) -> Iterator[Hears]:
    """Give an ear that shows how many of so many files it has heard."""
    with Progress() as bar:
        task = bar.add_task("takes and beats", total=files)

        def hears(path: Path, name: str, label: str) -> Told:
            told = ear(path, name, label)
            bar.advance(task)
            return told

        yield hears


def summed(
    table: pd.DataFrame, by: Sequence[str], measures: Sequence[str], settings: EvaluationSettings
) -> pd.DataFrame:
    """Return a row a group and measure: ``value`` with its interval ``low`` to ``high``, and ``count``."""
    rows = []
    for names, group in table.groupby(list(by), sort=False):
        for measure in measures:
            values = group[measure].dropna().to_numpy(dtype=np.float64)
            found = bootstrap_interval(
                values, confidence=settings.confidence, resamples=settings.resamples, seed=settings.seed
            )
            rows.append({**dict(zip(by, names, strict=True)), "measure": measure, **found.to_dict()})
    return pd.DataFrame(rows)


def of_listeners(judged: Judged, settings: EvaluationSettings) -> pd.DataFrame:
    """Return a row a recommender and measure, coverage among them, and by how much each differs from popularity."""
    table = judged.listeners
    rows = []
    for name, covered in judged.coverage.items():
        for measure in _OF_LISTENERS:
            values = table[f"{name}_{measure}"].to_numpy(dtype=np.float64)
            over = paired_bootstrap(
                values,
                table[f"popularity_{measure}"].to_numpy(dtype=np.float64),
                confidence=settings.confidence,
                resamples=settings.resamples,
                seed=settings.seed,
            )
            interval = bootstrap_interval(
                values, confidence=settings.confidence, resamples=settings.resamples, seed=settings.seed
            )
            told = {"over_popularity": over.value, "over_low": over.low, "over_high": over.high}
            rows.append({"recommender": name, "measure": measure, **interval.to_dict(), **told})
        rows.append({"recommender": name, "measure": "coverage", "value": covered, "count": len(table)})
    return pd.DataFrame(rows)


def named(table: pd.DataFrame, by: Sequence[str]) -> dict[str, float]:
    """Return the values of a table under names that DVC and MLflow take."""
    found = {}
    for row in table.to_dict("records"):
        words = "_".join(str(row[name]) for name in (*by, "measure"))
        found[re.sub(r"\W+", "_", words)] = round(float(row["value"]), 6)
    return found


@stage
def main(config: DictConfig) -> None:
    torch.set_num_threads(trainer(config.trainer).threads)
    paths, settings = config.paths, read(EvaluationSettings, config.evaluation)
    labels, models, folder = Path(paths.labels), Path(paths.models), Path(paths.reports) / "recommenders"
    corpora = sorted(path.stem for path in (labels / "pairing").glob("*.jsonl") if read_lines(path))
    analyzer = Analyzer.load({task: models / task for task in TASKS})
    pairing, listening = PairingModel.from_folder(models / "pairing"), ListeningModel.from_folder(models / "listening")
    files = 2 * sum(take.split != "train" for take in read_labels(labels, "pairing"))
    with shown(Ear(analyzer, pairing), files) as ear:
        takes, weights = beats([Path(paths.corpora) / name for name in corpora], ear)
    found_beats = summed(takes, ("question", "way"), _OF_BEATS, settings)
    told = gather(read_labels(labels, "listening"), read_items(Path(paths.listening)))
    found_listeners = of_listeners(evaluate(told, "test", listening.factors, listening), settings)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, table in ((BEATS, found_beats), (LISTENERS, found_listeners)):
            table.to_csv(temporary / name, index=False, float_format="%.6g", lineterminator="\n")
        write_json(temporary / WEIGHTS, weights)
    metrics = {**named(found_beats, ("question", "way")), **named(found_listeners, ("recommender",))}
    write_json(Path(paths.reports) / "metrics" / "recommenders.json", metrics)
    for model in (pairing, listening):
        spec = model.spec
        tags = {"task": spec.task, "commit": spec.commit, "data": spec.data_hash}
        with tracked_run(read(Tracking, config.tracking), f"{spec.task}-recommenders", tags, run_id=spec.run) as run:
            run.metrics(metrics)
            run.files(folder, "recommenders")
    print(found_beats[found_beats["measure"] == "found_5"].to_string(index=False))
    print(found_listeners[found_listeners["measure"] == "ndcg_10"].to_string(index=False))


if __name__ == "__main__":
    main()
