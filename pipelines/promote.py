"""The gate: a challenger against the champion, on the test splits; it is promoted or refused, and the registry told.

`python -m pipelines.promote task=beat` decides on the registry's challenger, `+version=4` on that version,
`model=FOLDER` on a folder, which is registered first. Exit code 0: promoted; 3: refused; 1: an error, nothing decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.progress import track

from backbeat.evaluation.scoring import Example
from backbeat.gate import GateSettings
from backbeat.gate.flow import GatePlaces, decide_and_record
from backbeat.model import load_spec
from backbeat.registry import Registry, Version
from backbeat.tracking import Tracking
from pipelines.settings import read, stage, trainer

REFUSED = 3


@stage
def main(config: DictConfig) -> None:
    settings = trainer(config.trainer)
    torch.set_num_threads(settings.threads)
    task, tracking = config.task.name, read(Tracking, config.tracking)
    registry = Registry(tracking.uri)

    def progress(items: Sequence[Example], what: str) -> Iterable[Example]:
        return track(items, description=what) if settings.progress else items

    decision = decide_and_record(
        registry,
        task,
        read(GateSettings, config.gate),
        gate_places(config.paths),
        tracking,
        challenger=_named(registry, task, config.get("version"), config.model),
        progress=progress,
    )
    print(f"{decision.challenger}: {decision.sentence}")
    if not decision.promoted:
        raise SystemExit(REFUSED)


def gate_places(paths: DictConfig, tree: Path = Path(), reports: Path | None = None) -> GatePlaces:
    """Return where the gate finds and puts things: in another tree than this, and its reports elsewhere, if told so."""
    return GatePlaces(
        labels=tree / paths.labels,
        features=tree / paths.features,
        listening=tree / paths.listening,
        corpora=tree / paths.corpora,
        reports=reports or tree / paths.reports,
        models=tree / paths.models / ".versions",
    )


def _named(registry: Registry, task: str, version: int | str | None, folder: str | None) -> Version | None:
    """Return the version that the command line names; None where it names none."""
    if folder is not None:
        load_spec(Path(folder), task)
        return registry.register(Path(folder))
    return None if version is None else registry.get(task, str(version))


if __name__ == "__main__":
    main()
