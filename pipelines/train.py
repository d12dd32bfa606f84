"""Stage `train`: one task, from labels and features to a model folder.

Alone: `python -m pipelines.train task=onset`;
a sweep: `python -m pipelines.train task=onset sweep=optimisation --multirun`.
"""

from __future__ import annotations

from omegaconf import DictConfig

from backbeat.tracking import Tracking
from backbeat.training import settings_class, task_class, train
from pipelines.settings import places, plain, read, stage, trainer


@stage
def main(config: DictConfig) -> float:
    spec = train(
        read(settings_class(config.task.name), config.task),
        trainer(config.trainer),
        read(Tracking, config.tracking),
        places(config),
        {name: plain(config[name]) for name in ("task", "trainer", "features")},
    )
    scores = ", ".join(f"{name} {value:.3f}" for name, value in spec.metrics.items())
    print(f"{spec.name}: validation {scores}")
    # For a sweep to maximise; NaN, which fails the trial, when validation tracks have nothing to score.
    return spec.metrics.get(task_class(spec.task).objective, float("nan"))


if __name__ == "__main__":
    main()
