"""Versions of trained models in MLflow's registry, and which of each task is the champion.

A task's model is registered as `backbeat-TASK`. A version's artifacts are the model folder itself, as training logged
it with its run; the alias `champion` marks the one to serve.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from backbeat.analysis.analyzer import Analyzer
from backbeat.analysis.result import TASKS, check_task
from backbeat.errors import ConfigError, ModelError, RegistryError
from backbeat.files import atomic_path, write_json
from backbeat.model import SPEC, WEIGHTS, ModelSpec, load_spec
from backbeat.tracking import QUIET, Tracking, store_lock, tracked_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
#: Where training logs the model folder, among the artifacts of its run.
FOLDER = "folder"
_PLAIN = re.compile(r"[A-Za-z0-9]+")
#: Seconds and tries of a question to a registry that may be away.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


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
    """

    task: str
    version: str
    run: str
    commit: str
    data_hash: str
    licence: str
    registered: datetime

    @property
    def name(self) -> str:
        """What is shown: name and version."""
        return f"{_registered(self.task)} {self.version}"


class Registry:
    """Models of an MLflow registry.

    Parameters
    ----------
    uri
        MLflow's tracking URI: an address, or SQLite as `sqlite:///mlflow.db`.

    Raises
    ------
    RegistryError
        If it cannot be used.
    """

    def __init__(self, uri: str) -> None:
        if not uri:
            raise ConfigError("a registry has a tracking URI, such as sqlite:///mlflow.db or http://localhost:5000")
        self.uri = uri
        for name, value in {**QUIET, **_PATIENCE}.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        for noisy in ("mlflow.store.db.utils", "mlflow.store.model_registry", "alembic.runtime.migration"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        with self._asked(), store_lock(uri):
            self._client: MlflowClient = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def register(self, folder: Path) -> Version:
        """Register the model of a folder, by the run that trained it; one that was not tracked gets a run of its own.

        Raises
        ------
        ModelError
            If the folder holds no model that loads, or not what the run logged.
        RegistryError
            If the registry cannot be used.
        """
        spec = load_spec(folder)
        if spec.task not in TASKS:
            raise ModelError(f"{folder}: is a model for {spec.task}; registered are those for {', '.join(TASKS)}")
        # Whoever follows the registry would find out otherwise.
        Analyzer.load({spec.task: folder})
        with self._asked():
            run = spec.run if self._was_logged(folder, spec.run) else self._log(folder, spec)
            name = _registered(spec.task)
            if not self._client.search_registered_models(f"name = '{name}'"):
                self._client.create_registered_model(name)
            scores = {f"metric.{measure}": f"{value:.6g}" for measure, value in spec.metrics.items()}
            tags = {"task": spec.task, "commit": spec.commit, "data_hash": spec.data_hash, "licence": spec.licence}
            made = self._client.create_model_version(name, f"runs:/{run}/{FOLDER}", run, tags={**tags, **scores})
        return _version(made)

    def champion(self, task: str) -> Version | None:
        """Return the model that is to be served for a task; None when there is none."""
        name = _registered(check_task(task))
        with self._asked():
            found = self._client.search_registered_models(f"name = '{name}'")
            if not found or CHAMPION not in found[0].aliases:
                return None
            return _version(self._client.get_model_version(name, str(found[0].aliases[CHAMPION])))

    def get(self, task: str, version: str) -> Version:
        """Return a version; RegistryError when there is none of that number."""
        with self._asked():
            return _version(self._client.get_model_version(_registered(check_task(task)), version))

    def promote(self, version: Version, *, instead_of: str | None) -> None:
        """Make a version the champion of its task.

        Parameters
        ----------
        instead_of
            The version that is champion now, as the promoter knows it; None where there is none.

        Raises
        ------
        RegistryError
            If another has become champion meanwhile.
        """
        with self._asked(), store_lock(self.uri):
            now = self.champion(version.task)
            if (now.version if now else None) != instead_of:
                raise RegistryError(f"{now.name if now else 'none'} is the champion by now: compare with that one")
            self._client.set_registered_model_alias(_registered(version.task), CHAMPION, version.version)

    def fetch(self, version: Version, places: Path) -> Path:
        """Bring a version's folder under `places`, unless it is there; its specification tells the registry's number.

        Raises
        ------
        ModelError
            If what the registry keeps is no model for the task.
        RegistryError
            If the registry cannot be used.
        """
        # The run is in the name because a registry that was made anew counts from 1 again.
        folder = places / version.task / f"{version.version}-{version.run[:12]}"
        if not _PLAIN.fullmatch(version.run):
            raise ModelError(f"{version.name}: the registry tells a run that is none: {version.run[:40]!r}")
        if not (folder / SPEC).is_file():
            with atomic_path(folder) as place:
                with self._asked():
                    come = Path(self._client.download_artifacts(version.run, FOLDER, str(place.parent)))
                spec = load_spec(come, version.task)
                write_json(come / SPEC, replace(spec, version=version.version, run=version.run).to_dict())
                come.rename(place)
        return folder

    def _was_logged(self, folder: Path, run: str) -> bool:
        """Tell whether a run of this registry logged the model of a folder; ModelError when it logged another."""
        experiments = [one.experiment_id for one in self._client.search_experiments()]
        if not run or not self._client.search_runs(experiments, f"attributes.run_id = '{run}'"):
            return False
        if not any(one.path == f"{FOLDER}/{SPEC}" for one in self._client.list_artifacts(run, FOLDER)):
            return False
        with tempfile.TemporaryDirectory(prefix="backbeat-registry-") as temporary:
            logged = Path(self._client.download_artifacts(run, FOLDER, temporary))
            if _content(logged) != _content(folder):
                raise ModelError(f"{folder}: is not the model that run {run} logged; train it again to register it")
        return True

    def _log(self, folder: Path, spec: ModelSpec) -> str:
        # The run that trained it is in another store, if anywhere.
        tags = {"task": spec.task, "commit": spec.commit, "data_hash": spec.data_hash, "trained_by": spec.run}
        with tracked_run(Tracking(self.uri, "backbeat"), f"{spec.name} {spec.version}", tags) as run:
            run.params({"network": spec.network, "decoding": spec.decoding})
            run.metrics(spec.metrics)
            run.files(folder, FOLDER)
        return run.run_id

    @contextmanager
    def _asked(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise RegistryError(f"the registry at {_shown(self.uri)} cannot be used: {lines[0]}") from error


def _registered(task: str) -> str:
    return f"backbeat-{task}"


def _content(folder: Path) -> tuple[ModelSpec, bytes]:
    """Return what makes a model: all but the numbers that a registry gave it."""
    return replace(load_spec(folder), version="", run=""), (folder / WEIGHTS).read_bytes()


def _version(made: ModelVersion) -> Version:
    tags = made.tags
    return Version(
        task=tags.get("task", made.name.removeprefix("backbeat-")),
        version=str(made.version),
        run=made.run_id or "",
        commit=tags.get("commit", ""),
        data_hash=tags.get("data_hash", ""),
        licence=tags.get("licence", ""),
        registered=datetime.fromtimestamp(made.creation_timestamp / 1000, UTC),
    )


def _shown(uri: str) -> str:
    """Return an address without the password that may be in it."""
    return re.sub(r"//[^/@]*@", "//", uri)
