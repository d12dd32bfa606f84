"""Stage `evaluate`: one trained task on the test split, to scores, intervals and pictures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from omegaconf import DictConfig
from rich.progress import track

from backbeat.dataset import FeatureStore, read_labels
from backbeat.evaluation.results import check_features, corpus_facts, write_results
from backbeat.evaluation.scoring import (
    EvaluationSettings,
    Example,
    Model,
    examples_from_features,
    examples_of_listeners,
    load,
    score,
)
from backbeat.separation.separator import Separator
from backbeat.separation.stems import StemStore
from backbeat.tracking import Tracking, tracked_run
from pipelines.settings import places, read, stage, trainer


@stage
def main(config: DictConfig) -> None:
    torch.set_num_threads(trainer(config.trainer).threads)
    task, where, reports = config.task.name, places(config), Path(config.paths.reports)
    tracks = read_labels(where.labels, task)
    model: Model | Separator
    store: FeatureStore | StemStore | None
    examples: list[Example] = []
    if task == "separation":
        model, store = Separator.from_folder(where.output), StemStore(where.stems)
        chosen = [item for item in tracks if item.split == "test"]
        table = model.score(track(chosen, description=f"scoring {task}"), store)
    else:
        model = load(task, where.output)
        if task == "listening":
            store, examples = None, examples_of_listeners(tracks, where.listening)
        else:
            store = FeatureStore(where.features)
            check_features(model.spec, store, sorted({item.corpus for item in tracks}))
            examples = examples_from_features(task, tracks, store)
        table = score(model, track(examples, description=f"scoring {task}"))
    curves = pd.read_csv(where.curves) if where.curves.is_file() else None
    results = write_results(
        reports / task,
        reports / "metrics" / f"{task}.json",
        model,
        examples,
        table,
        read(EvaluationSettings, config.evaluation),
        corpus_facts(task, tracks, store),
        curves,
    )
    spec = model.spec
    tags = {"task": task, "commit": spec.commit, "data": spec.data_hash}
    with tracked_run(read(Tracking, config.tracking), f"{task}-evaluation", tags, run_id=spec.run) as run:
        run.metrics({f"test_{name}": found.value for name, found in results.groups["all"].items()})
        run.files(reports / task, "evaluation")
    whole = results.groups["all"]
    shown = [name for name in whole if "sdr" in name] if task == "separation" else list(whole)[:4]
    print(f"{spec.name}: test " + ", ".join(f"{name} {whole[name]}" for name in shown))


if __name__ == "__main__":
    main()
