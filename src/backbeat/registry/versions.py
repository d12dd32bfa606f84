"""Versions of trained models, what the registry keeps of each, and in what two of them differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backbeat.dataset import REGISTERED_TASKS
from backbeat.errors import ConfigError
from backbeat.model import ModelSpec, split_hashes

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_METRIC = "metric."
#: Characters of a tag that is to be read on a page.
_SHORT = 1000


@dataclass(frozen=True)
class Version:
    """A registered model.

    Parameters
    ----------
    task, version
        "beat", and the number that the registry gave, "3".
    run, commit, data_hash, licence
        The thread back to the data, as the model's specification has it.
    registered
        When, in UTC.
    metrics
        Scores on the validation split, to six digits.
    trained_by
        The run that trained it: `run`, or one in another store, where `run` is the one that registered it here.
    """

    task: str
    version: str
    run: str
    commit: str
    data_hash: str
    licence: str
    registered: datetime
    metrics: dict[str, float] = field(default_factory=dict, hash=False)
    trained_by: str = ""

    @property
    def name(self) -> str:
        """What is shown: name and version."""
        return f"{registered_name(self.task)} {self.version}"


@dataclass(frozen=True)
class Difference:
    """A thing that two versions have, or one of them.

    Parameters
    ----------
    kind, name
        "metric" or "parameter" and which; "data" and the corpus; "model" and "commit" or "licence".
    before, after
        What the first and the second version have; None for nothing.
    change
        By how much, of a metric that both have.
    """

    kind: str
    name: str
    before: str | None
    after: str | None
    change: float | None = None


def check_task(task: str) -> str:
    """Return `task`; ConfigError unless the registry keeps models for it."""
    if task not in REGISTERED_TASKS:
        raise ConfigError(f"{task!r} is not a task; the registry has {', '.join(REGISTERED_TASKS)}")
    return task


def registered_name(task: str) -> str:
    """Return the name of a task's model in the registry."""
    return f"backbeat-{task}"


def tags_of(spec: ModelSpec) -> dict[str, str]:
    """Return what a version is tagged with."""
    tags = {"task": spec.task, "commit": spec.commit, "data_hash": spec.data_hash, "licence": spec.licence}
    if spec.run:
        tags["trained_by"] = spec.run
    settings = {"network": json.dumps(spec.network), "decoding": json.dumps(spec.decoding)}
    scores = {f"{_METRIC}{measure}": f"{value:.6g}" for measure, value in spec.metrics.items()}
    return {**tags, **{name: text for name, text in settings.items() if len(text) <= _SHORT}, **scores}


def version_of(made: ModelVersion) -> Version:
    """Return what MLflow tells of a version."""
    tags = made.tags
    return Version(
        task=tags.get("task", made.name.removeprefix("backbeat-")),
        version=str(made.version),
        run=made.run_id or "",
        commit=tags.get("commit", ""),
        data_hash=tags.get("data_hash", ""),
        licence=tags.get("licence", ""),
        registered=time_of(made),
        trained_by=tags.get("trained_by", made.run_id or ""),
        metrics={name.removeprefix(_METRIC): float(tags[name]) for name in sorted(tags) if name.startswith(_METRIC)},
    )


def time_of(made: ModelVersion) -> datetime:
    """Return when a version was made, in UTC, by the registry's clock."""
    return datetime.fromtimestamp(made.creation_timestamp / 1000, UTC)


def differences(
    first: Version, second: Version, parameters: tuple[Mapping[str, str], Mapping[str, str]]
) -> list[Difference]:
    """Return all metrics of two versions, and of their commit, licence, data and parameters those that differ."""
    told = [
        Difference("metric", name, _shown(first.metrics.get(name)), _shown(second.metrics.get(name)), change)
        for name, change in _changes(first.metrics, second.metrics).items()
    ]
    for kind, before, after in (
        (
            "model",
            {"commit": first.commit, "licence": first.licence},
            {"commit": second.commit, "licence": second.licence},
        ),
        ("data", split_hashes(first.data_hash), split_hashes(second.data_hash)),
        ("parameter", *parameters),
    ):
        told += [
            Difference(kind, name, before.get(name), after.get(name))
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        ]
    return told


def _changes(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float | None]:
    return {
        name: after[name] - before[name] if name in before and name in after else None
        for name in sorted({*before, *after})
    }


def _shown(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"
