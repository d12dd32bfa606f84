"""Which reference traffic is held against: that of the models that answered.

Training puts it with the runs of its models in MLflow, so that whoever knows an answer's run finds what it is to be
compared with. Files that are here already go before: what the pipeline made last, what comes with the package.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backbeat.errors import MonitoringError
from backbeat.files import atomic_path
from backbeat.monitoring.reference import REFERENCE, Reference
from backbeat.tracking import LoggedRun, Tracking, hurry_mlflow, logged_run

#: Where a run keeps it, among the artifacts.
FOLDER = "reference"

Runs = Mapping[str, str | None]


@dataclass(frozen=True)
class References:
    """Where references are.

    Parameters
    ----------
    files
        Those that are here; of equal ones the first is taken.
    registry
        MLflow's tracking URI; empty for none.
    cache
        Where those that were brought from it are kept.
    """

    files: Sequence[Path]
    registry: str
    cache: Path

    def fitting(self, runs: Runs) -> Reference:
        """Return the reference of most of the models that answered; the first there is where none is of any.

        Parameters
        ----------
        runs
            MLflow's run of each model, by task.

        Raises
        ------
        MonitoringError
            If there is none, or one is damaged.
        ConfigError
            If the registry cannot be reached.
        """
        known = {task: run for task, run in runs.items() if run}
        found = [_of_models(Reference.read(path), known, {}) for path in self.files if path.is_file()]
        if not any(len(matched) == len(known) for _, matched in found):
            found += self._from_registry(known)
        if not found:
            raise MonitoringError("there is no reference to hold traffic against: `dvc repro reference` makes it")
        reference, matched = max(found, key=lambda pair: len(pair[1]))
        threads = reference.about.get("models", {})
        told = {task: {**threads.get(task, {}), "run": known[task]} for task in matched}
        return replace(reference, about={**reference.about, "models": {**threads, **told}})

    def _from_registry(self, known: Mapping[str, str]) -> list[tuple[Reference, frozenset[str]]]:
        """Return references that the runs keep, and those of the runs by which their models were trained before."""
        if not self.registry:
            return []
        hurry_mlflow()
        before: dict[str, str] = {}
        paths = []
        for run in dict.fromkeys(known.values()):
            path = self.cache / f"{run}.parquet"
            logged = logged_run(Tracking(self.registry, ""), run)
            if logged is None:
                continue
            before[run] = logged.tags.get("trained_by", "")
            if not path.is_file():
                self._bring(logged, path)
            paths.append(path)
        return [_of_models(Reference.read(path), known, before) for path in (*paths, *self.files) if path.is_file()]

    def _bring(self, logged: LoggedRun, path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="backbeat-reference-") as temporary:
            come = logged.file(f"{FOLDER}/{REFERENCE}", Path(temporary))
            if come is not None:
                with atomic_path(path) as target:
                    shutil.copyfile(come, target)


def _of_models(
    reference: Reference, known: Mapping[str, str], before: Mapping[str, str]
) -> tuple[Reference, frozenset[str]]:
    """Return a reference, and the tasks whose runs, or the runs before those, made its models."""
    mine = reference.runs
    return reference, frozenset(
        task for task, run in known.items() if mine.get(task) and mine[task] in (run, before.get(run))
    )
