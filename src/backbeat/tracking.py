"""Experiments in MLflow: one run a training, with everything that says where its model came from.

With this module, `registry` and `monitoring` alone know MLflow. The default store is SQLite in the working directory;
any tracking server goes by its URI.
"""

from __future__ import annotations

import copy
import fcntl
import logging
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from backbeat.errors import ConfigError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

_QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_NOISY = ("store.db.utils", "store.model_registry", "tracking.fluent")
#: Where training logs the model folder, among the artifacts of its run.
MODEL_FOLDER = "folder"
#: Seconds and tries of a question.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


def hush_mlflow() -> None:
    """Let MLflow, which is to be imported after this, tell nothing that the user could not act on."""
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    for logger in (*(f"mlflow.{name}" for name in _NOISY), "alembic.runtime.migration"):
        logging.getLogger(logger).setLevel(logging.WARNING)


def hurry_mlflow() -> None:
    """Let a question to a server that may be away end soon, where nobody trains and waits for it."""
    for variable, value in _PATIENCE.items():
        os.environ.setdefault(variable, value)


@dataclass(frozen=True)
class Tracking:
    """Where runs are kept.

    Parameters
    ----------
    uri
        An MLflow tracking URI; empty for no tracking at all.
    experiment
        The experiment that runs belong to.
    """

    uri: str
    experiment: str


def unusable(uri: str, error: Exception) -> str:
    """Say in one line that a store cannot be used and why, without a password that may be in its address."""
    why = next(iter(str(error).splitlines()), "") or type(error).__name__
    return unsecret(f"MLflow at {uri} cannot be used: {why}")


def unsecret(text: str) -> str:
    """Return a text without the names and passwords that are in its addresses."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def git_commit() -> str:
    """Return the commit of the working directory, "+" behind it when tracked files differ; "" outside git."""
    git = ["git", "rev-parse", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False)  # noqa: S603
    if found.returncode:
        return ""
    status = ["git", "status", "--porcelain", "--untracked-files=no"]
    changed = subprocess.run(status, capture_output=True, text=True, check=False).stdout  # noqa: S603
    # dvc.lock changes while the pipeline runs; that is its result, not a change of the code.
    changes = [line for line in changed.splitlines() if not line.endswith(" dvc.lock")]
    return found.stdout.strip() + ("+" if changes else "")


def environment() -> str:
    """Return the interpreter, the machine and every installed package with its version, a line each."""
    packages = sorted({f"{item.metadata['Name']}=={item.version}" for item in distributions()}, key=str.lower)
    head = f"# Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} processors"
    return "\n".join([head, *packages]) + "\n"


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a store that is one; None for a server."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


@contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Let one process at a time open a SQLite store: migrating a fresh one twice at once breaks it."""
    path = sqlite_file(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def _terminate_as_exit() -> Iterator[None]:
    """Turn SIGTERM to SystemExit, so that a run that is told to stop ends as FAILED and not as running for ever."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not in the main thread: signals are not ours to handle
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def prepare_store(tracking: Tracking) -> None:
    """Make the store and its experiment, so that whoever works elsewhere finds both.

    Raises
    ------
    ConfigError
        If the store cannot be used.
    """
    hush_mlflow()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    with store_lock(tracking.uri):
        try:
            _experiment_id(MlflowClient(tracking_uri=tracking.uri), tracking)
        except MlflowException as error:
            raise ConfigError(unusable(tracking.uri, error)) from error


class Run:
    """A run in progress; without a run id (no tracking), everything is a no-op."""

    def __init__(self, run_id: str = "") -> None:
        self.run_id = run_id

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Record numbers; those that are NaN are left out."""
        if self.run_id:
            import mlflow

            mlflow.log_metrics({name: float(value) for name, value in values.items() if value == value}, step=step)

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters, nested ones by dotted names."""
        if self.run_id:
            import mlflow

            mlflow.log_params(_flatten(values))

    def text(self, text: str, name: str) -> None:
        """Record a text as an artifact."""
        if self.run_id:
            import mlflow

            mlflow.log_text(text, name)

    def files(self, folder: Path, name: str) -> None:
        """Record a folder's files as artifacts under `name`."""
        if self.run_id:
            import mlflow

            mlflow.log_artifacts(str(folder), name)

    def corpus(self, name: str, digest: str, context: str) -> None:
        """Record a corpus as an input, by name and hash."""
        if self.run_id:
            import mlflow
            from mlflow.data.code_dataset_source import CodeDatasetSource
            from mlflow.data.meta_dataset import MetaDataset

            source = CodeDatasetSource(tags={"corpus": name, "hash": digest})
            # MLflow takes 36 characters, which is what a DVC folder hash has.
            mlflow.log_input(MetaDataset(source, name=name, digest=digest[:36]), context=context)

    def model(self, network: nn.Module, example: np.ndarray, name: str) -> None:
        """Record a network that maps one array to one array, with its signature.

        Parameters
        ----------
        network
            In evaluation mode.
        example
            An input, float32, of a batch of at least 2. The batch is free; so are the frames of spectrograms, shape
            (batch, frames, mel_bands), and what is last of the answer to them.
        """
        if not self.run_id:
            return
        import mlflow
        import torch
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        # Exporting warns of weights whose channels lie innermost; the copy has them in the plain order.
        network = copy.deepcopy(network)
        for value in network.parameters():
            value.data = value.data.contiguous()
        with torch.inference_mode():
            output = network(torch.from_numpy(example)).numpy()
        taken, given = (-1, *example.shape[1:]), (-1, *output.shape[1:])
        if example.ndim == 3:
            taken, given = (-1, -1, example.shape[2]), (*given[:-1], -1)
        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.float32), taken)]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), given)]),
        )
        # Of export's internals, and that the environment has no pip: nothing that the reader could act on.
        with _hushed("torch.export", "mlflow.utils.environment"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            mlflow.pytorch.log_model(
                network,
                name=name,
                input_example=example,
                signature=signature,
                serialization_format="pt2",
                pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "numpy"],
            )


@contextmanager
def _hushed(*names: str) -> Iterator[None]:
    """Let loggers speak of errors only."""
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _experiment_id(client: MlflowClient, tracking: Tracking) -> str:
    """Return an experiment's id; it is made if there is none.

    Of a database that is a file the artifacts lie beside it; MLflow would put them wherever the first process works.
    """
    found = client.get_experiment_by_name(tracking.experiment)
    if found:
        return str(found.experiment_id)
    file = sqlite_file(tracking.uri)
    place = None if file is None else str(file.absolute().parent / "mlruns" / tracking.experiment)
    return str(client.create_experiment(tracking.experiment, place))


@contextmanager
def tracked_run(tracking: Tracking, name: str, tags: Mapping[str, str], run_id: str = "") -> Iterator[Run]:
    """Open a run, or go on with the one of `run_id` if the store knows it; it ends as FAILED when the block raises.

    Under `mlflow run`, which opens a run and names it in the environment, a new run is that one, in its experiment.

    Raises
    ------
    ConfigError
        If the tracking server cannot be reached or the URI makes no sense.
    """
    if not tracking.uri:
        yield Run()
        return
    hush_mlflow()
    import mlflow
    from mlflow.exceptions import MlflowException

    with store_lock(tracking.uri):
        try:
            mlflow.set_tracking_uri(tracking.uri)
            known = known_run(mlflow.MlflowClient(), run_id) is not None
            # Not `set_experiment`, which would hold for the process and refuse runs of any other experiment.
            opened = bool(os.environ.get("MLFLOW_RUN_ID"))
            experiment_id = None if known or opened else _experiment_id(mlflow.MlflowClient(), tracking)
        except MlflowException as error:
            raise ConfigError(unusable(tracking.uri, error)) from error
    with (
        _terminate_as_exit(),
        mlflow.start_run(
            run_id=run_id if known else None, experiment_id=experiment_id, run_name=None if known else name
        ) as run,
    ):
        if not known:
            mlflow.set_tags({**tags, **({"model_run": run_id} if run_id else {})})
        yield Run(run.info.run_id)


@dataclass(frozen=True)
class LoggedRun:
    """A run of before: its identity, its tags, and what it recorded."""

    run_id: str
    tags: Mapping[str, str]
    tracking: Tracking

    def file(self, name: str, folder: Path) -> Path | None:
        """Bring an artifact, a file or a folder, by its place among the artifacts; None where the run has none such.

        Raises
        ------
        ConfigError
            If the tracking server cannot be reached.
        """
        with _asked(self.tracking) as client:
            return logged_file(client, self.run_id, name, folder)

    def text(self, name: str) -> str | None:
        """Return an artifact that is a text; None where the run has none such. Errors as of `file`."""
        with tempfile.TemporaryDirectory(prefix="backbeat-artifact-") as temporary:
            path = self.file(name, Path(temporary))
            return None if path is None else path.read_text(encoding="utf-8")


def logged_run(tracking: Tracking, run_id: str) -> LoggedRun | None:
    """Return a run; None where it is not known.

    Raises
    ------
    ConfigError
        If the tracking server cannot be reached or the URI makes no sense.
    """
    if not tracking.uri:
        return None
    with _asked(tracking) as client:
        known = known_run(client, run_id)
        return LoggedRun(run_id, dict(known.data.tags), tracking) if known else None


def known_run(client: MlflowClient, run_id: str) -> MlflowRun | None:
    """Return a run that a store has, whatever experiment it is of; None for one that it has not, or has deleted."""
    if not re.fullmatch(r"[0-9a-zA-Z]+", run_id):
        return None
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = client.search_runs(experiments, f"attributes.run_id = '{run_id}'")
    return found[0] if found else None


def logged_file(client: MlflowClient, run_id: str, name: str, folder: Path) -> Path | None:
    """Bring an artifact of a run into a folder; return where it is, None where the run has none such."""
    if not any(one.path == name for one in client.list_artifacts(run_id, name.rpartition("/")[0] or None)):
        return None
    return Path(client.download_artifacts(run_id, name, str(folder)))


@contextmanager
def _asked(tracking: Tracking) -> Iterator[MlflowClient]:
    hush_mlflow()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        with store_lock(tracking.uri):
            client = MlflowClient(tracking_uri=tracking.uri)
        yield client
    except (MlflowException, OSError) as error:
        raise ConfigError(unusable(tracking.uri, error)) from error
