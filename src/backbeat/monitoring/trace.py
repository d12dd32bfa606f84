"""The way back: from an answer that was served to the models, runs, parameters, code and data that it came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from backbeat.analysis.analyzer import shipped_models
from backbeat.errors import ModelError, MonitoringError
from backbeat.model import ModelSpec, load_spec, split_hashes
from backbeat.monitoring.rows import Row
from backbeat.monitoring.store import MonitoringStore

if TYPE_CHECKING:
    from backbeat.registry import Registry


@dataclass(frozen=True)
class Origin:
    """Where one model's part of an answer comes from.

    Parameters
    ----------
    task, name, version, source
        The model, and whether it was the registry's, a folder's or the package's.
    run, commit
        MLflow's run and the commit of the code that trained it; empty where it was not tracked.
    data
        The hash of each corpus that it learnt from, by name: {"rendered": "md5:6ffb..."}.
    licence
        Of the corpora.
    parameters
        Of the training, by dotted names.
    parameters_of
        Who tells them: "the run", "the package", or why nobody does.
    """

    task: str
    name: str
    version: str
    source: str
    run: str
    commit: str
    data: dict[str, str]
    licence: str
    parameters: dict[str, str]
    parameters_of: str


@dataclass(frozen=True)
class Answer:
    """An answer of the service.

    Parameters
    ----------
    request_id, item, route
        The request, the place of the file in it, and the endpoint.
    at
        When it was given.
    sha256
        Of the recording.
    origins
        A model's each.
    """

    request_id: str
    item: int
    route: str
    at: datetime
    sha256: str
    origins: tuple[Origin, ...]


def trace(store: MonitoringStore, request_id: str, registry: Registry | None = None) -> list[Answer]:
    """Return what a request was answered, a file each, and where the answers come from.

    Raises
    ------
    MonitoringError
        If there is no such answer.
    RegistryError
        If the registry cannot be used.
    """
    rows = store.of_request(request_id)
    if not rows:
        raise MonitoringError(
            f"no answer of the request {request_id!r} is recorded: rows come some seconds after their answers, "
            "and go after a while"
        )
    return [_answer(row, registry) for row in rows]


def _answer(row: Row, registry: Registry | None) -> Answer:
    at = datetime.fromtimestamp(row.at, UTC)
    origins = tuple(_origin(task, dict(lineage), registry) for task, lineage in row.models.items())
    return Answer(row.request_id, row.item, row.route, at, row.sha256, origins)


def _origin(task: str, lineage: dict[str, Any], registry: Registry | None) -> Origin:
    told = {name: str(lineage.get(name) or "") for name in ("name", "version", "source", "run", "commit", "licence")}
    parameters, parameters_of = _parameters(task, told, registry)
    return Origin(
        task=task,
        **told,
        data=split_hashes(str(lineage.get("data_hash") or "")),
        parameters=parameters,
        parameters_of=parameters_of,
    )


def _parameters(task: str, told: dict[str, str], registry: Registry | None) -> tuple[dict[str, str], str]:
    if registry is not None and told["run"]:
        found = registry.by_run(task, told["run"])
        if found is not None and (parameters := registry.parameters(found)):
            return parameters, "the run"
    try:
        shipped = load_spec(shipped_models()[task], task)
    except (ModelError, KeyError):
        return {}, "nobody: name the registry with --registry"
    if (shipped.version, shipped.run, shipped.commit) == (told["version"], told["run"], told["commit"]):
        return _told_by(shipped), "the package"
    return {}, "nobody: name the registry that knows the run with --registry"


def _told_by(spec: ModelSpec) -> dict[str, str]:
    sections = {"network": spec.network, "decoding": spec.decoding, "features": vars(spec.features)}
    return {f"{name}.{key}": str(value) for name, values in sections.items() for key, value in values.items()}
