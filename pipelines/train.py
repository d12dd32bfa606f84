"""Stage `train`: one task, from labels and features to a model folder.

Alone: `python -m pipelines.train task=onset`;
a sweep: `python -m pipelines.train task=onset sweep=optimisation --multirun`;
going on from a model that there is: `python -m pipelines.train task=onset task.start_from=RUN`, or a model folder.
"""

from __future__ import annotations

from dataclasses import asdict, replace

from omegaconf import DictConfig

from backbeat.starting import going_on, started
from backbeat.tracking import Tracking
from backbeat.training import settings_class, task_class, train
from pipelines.settings import places, plain, read, stage, trainer


@stage
def main(config: DictConfig) -> float:
    tracking = read(Tracking, config.tracking)
    recorded = {name: plain(config[name]) for name in ("task", "trainer", "features")}
    task = read(settings_class(config.task.name), config.task)
    with started(task.start_from, tracking) as start:
        if start is not None:
            task = replace(task, optimisation=going_on(task.optimisation))
            recorded["task"]["optimisation"] = asdict(task.optimisation)
        spec = train(task, trainer(config.trainer), tracking, places(config), recorded, start)
    scores = ", ".join(f"{name} {value:.3f}" for name, value in spec.metrics.items())
    print(f"{spec.name}: validation {scores}")
    # For a sweep to maximise; NaN, which fails the trial, when validation tracks have nothing to score.
    return spec.metrics.get(task_class(spec.task).objective, float("nan"))


if __name__ == "__main__":
    main()
